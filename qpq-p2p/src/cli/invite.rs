//! `qpq invite`: a code for somebody on the same network.

use std::time::Duration;

use super::{Context, DONE, Exit, can_converse, chat, render};
use crate::{
    duration,
    event::Event,
    failure::{Failure, FailureCode},
    owner::Owner,
    request::Request,
};

/// Print a code, and wait until somebody on this network uses it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  qpq invite --expires 10m\n\n\
    The code lives as long as this command. On a terminal you are in the conversation then.")]
pub(super) struct Arguments {
    /// End when somebody has joined
    #[arg(long)]
    no_chat: bool,
    /// How long the code is valid
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "24h")]
    expires: Duration,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    if arguments.expires.is_zero() {
        return Err(Failure::usage(
            "no code was made",
            "it would expire at once",
            "qpq invite --expires 10m",
        ));
    }
    let owner = context.owner()?;
    let outcome = invite(&owner, &arguments, context).await;
    owner.close().await;
    outcome
}

async fn invite(owner: &Owner, arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let lifetime = arguments.expires;
    let joined = std::sync::OnceLock::new();
    let quiet = context.output.is_quiet();
    let mut printer = context.output.printer(|event| render(event, lifetime, quiet));
    let mut sink = chat::NoteJoined {
        sink: &mut printer,
        joined: &joined,
    };
    let request = Request::Invite {
        lifetime,
        patience: context.settings.timeout,
    };
    if let Err(failure) = owner.run(request, &mut sink).await {
        if failure.code == FailureCode::Interrupted {
            context.output.note("the code is cancelled");
        }
        return Err(failure);
    }
    match joined.get() {
        Some(contact) if !arguments.no_chat && can_converse() => chat::with(owner, contact, context).await,
        _ => Ok(DONE),
    }
}

fn render(event: &Event, lifetime: Duration, quiet: bool) -> Option<String> {
    if let Event::Invite { code, .. } = event {
        let code = format!("  Tell them:   qpq join {code}");
        if quiet {
            return Some(code);
        }
        let lifetime = duration::for_people(lifetime);
        return Some(format!(
            "{code}\n               waiting, {lifetime}, Ctrl+C cancels"
        ));
    }
    if let Event::GuessFailed { left } = event {
        let guesses = if *left == 1 { "guess" } else { "guesses" };
        return Some(format!("  somebody tried a wrong code: {left} {guesses} left"));
    }
    render::joined(event)
}

#[cfg(test)]
mod tests {
    use qpq_core::id::PeerId;

    use super::*;
    use crate::event::Time;

    #[test]
    fn the_lines_are_those_of_the_session_that_must_work() {
        let day = Duration::from_secs(86_400);
        let invite = Event::Invite {
            code: "4-otter-violin".into(),
            expires: Time(0),
        };
        assert_eq!(
            render(&invite, day, false).as_deref(),
            Some("  Tell them:   qpq join 4-otter-violin\n               waiting, 24 h, Ctrl+C cancels")
        );
        assert_eq!(
            render(&invite, day, true).as_deref(),
            Some("  Tell them:   qpq join 4-otter-violin")
        );
        let joined = Event::Joined {
            name: "ben".into(),
            id: PeerId([0; 32]),
            verified: true,
        };
        assert_eq!(
            render(&joined, day, false).as_deref(),
            Some("  ben joined · verified by code ✓")
        );
    }
}
