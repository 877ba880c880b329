//! `qpq listen`: messages as they come.

use super::{Context, DONE, Exit, INTERRUPTED, render};
use crate::{
    event::OwnerKind,
    failure::{Failure, FailureCode},
    request::Request,
};

/// Print messages of others: the unread ones first, then those that come
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq listen\n  qpq listen ben --count 1 --timeout 30s\n\n\
    Ends with Ctrl+C (exit code 130), after --count messages or after --timeout (0);\n\
    4 when --timeout was over before --count messages had come."
)]
pub(super) struct Arguments {
    /// Only this chat
    chat: Option<String>,
    /// End after N messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let Arguments { chat, count } = arguments;
    context.output.refuse_closed()?;
    let client = context.lasting_client(OwnerKind::Brief).await?;
    let mut printer = context.output.printer(|event| {
        render::heard(event)
            .or_else(|| render::met(event))
            .or_else(|| render::asks(event))
    });
    let request = Request::Listen {
        chat,
        count,
        patience: context.settings.timeout,
        after: None,
    };
    let heard = client.run(request, &mut printer).await;
    client.close().await;
    heard?;
    if context.output.is_stopped() {
        return Ok(INTERRUPTED);
    }
    match count.filter(|count| printer.messages() < *count) {
        Some(count) => Err(Failure::new(
            FailureCode::TooFewCame,
            "the time is over",
            format!("{} of {count} messages came", printer.messages()),
            "wait longer: --timeout 5m",
        )),
        None => Ok(DONE),
    }
}
