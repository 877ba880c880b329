//! `qpq log`: earlier messages.

use jiff::Timestamp;

use super::{Context, DONE, Exit, INTERRUPTED, render};
use crate::{duration, event::Event, failure::Failure, request::Read};

/// Show earlier messages, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  qpq log ben\n  qpq log --since 24h --grep boat")]
pub(super) struct Arguments {
    /// Only this chat
    chat: Option<String>,
    /// Only the newest N; 0: all
    #[arg(short = 'n', value_name = "N", default_value_t = 50)]
    last: u32,
    /// Only what came since: a duration such as 24h, or a time such as 2026-03-01T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
    /// Only messages that contain this text (a-z and A-Z are the same)
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    grep: Option<String>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let Arguments {
        chat,
        last,
        since,
        grep,
    } = arguments;
    let mut printer = context.output.printer(|event| {
        let Event::Message(message) = event else {
            return None;
        };
        Some(render::message(message))
    });
    let request = Read::Log {
        chat,
        last: (last > 0).then_some(last),
        since,
        grep,
    };
    context.read(request, &mut printer).await?;
    Ok(if context.output.is_stopped() {
        INTERRUPTED
    } else {
        DONE
    })
}

/// A point in time, Unix milliseconds.
fn since(text: &str) -> Result<i64, String> {
    if let Ok(ago) = duration::parse(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::now().as_millisecond().saturating_sub(ago));
    }
    let time: Result<Timestamp, _> = text.parse();
    time.map(Timestamp::as_millisecond)
        .map_err(|_| "a duration such as 24h, or a time such as 2026-03-01T10:00:00Z, was expected".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn since_is_a_duration_or_a_time() {
        assert_eq!(since("1970-01-01T00:00:01.5Z").unwrap(), 1_500);
        assert_eq!(
            since("2026-03-01T12:00:00+02:00").unwrap(),
            since("2026-03-01T10:00:00Z").unwrap()
        );
        let day_ago = Timestamp::now().as_millisecond() - 86_400_000;
        assert!((day_ago..day_ago + 60_000).contains(&since("24h").unwrap()));
        for bad in ["", "yesterday", "2026-03-01", "10:00"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
