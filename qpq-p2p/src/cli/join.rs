//! `qpq join`: uses somebody's code.

use std::time::Duration;

use qpq_core::{invite::Code, sanitize};

use super::{Context, DONE, Exit, can_converse, chat};
use crate::{event::Event, failure::Failure, owner::Owner, request::Request};

/// Use the code that somebody on this network told you
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  qpq join 4-otter-violin\n\n\
    On a terminal you are in the conversation then.")]
pub(super) struct Arguments {
    /// As their `qpq invite` shows it; spaces do for dashes
    #[arg(required = true, num_args = 1..=3)]
    code: Vec<String>,
    /// End when you have joined
    #[arg(long)]
    no_chat: bool,
}

/// People get ready one after the other.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let code: Code = arguments
        .code
        .join(" ")
        .parse()
        .map_err(|error: qpq_core::invite::CodeError| {
            Failure::usage(
                "this is no code",
                error.to_string(),
                "a code is a number and two words: qpq join 4-otter-violin",
            )
        })?;
    let owner = context.owner()?;
    let outcome = join(&owner, code, arguments.no_chat, context).await;
    owner.close().await;
    outcome
}

async fn join(owner: &Owner, code: Code, no_chat: bool, context: &Context) -> Result<Exit, Failure> {
    let joined = std::sync::OnceLock::new();
    let mut printer = context.output.printer(render);
    let mut sink = chat::NoteJoined {
        sink: &mut printer,
        joined: &joined,
    };
    let patience = context.settings.timeout.unwrap_or(PATIENCE);
    owner.run(Request::Join { code, patience }, &mut sink).await?;
    match joined.get() {
        Some(contact) if !no_chat && can_converse() => chat::with(owner, contact, context).await,
        _ => {
            owner.settle().await;
            Ok(DONE)
        }
    }
}

fn render(event: &Event) -> Option<String> {
    let Event::Joined { name, id, verified } = event else {
        return None;
    };
    let name = sanitize::name(name);
    let trust = if *verified {
        "verified by code ✓"
    } else {
        "not verified"
    };
    Some(format!(
        "  found {name} on this network\n  {trust}   {name} · {}",
        id.short()
    ))
}

#[cfg(test)]
mod tests {
    use qpq_core::id::PeerId;

    use super::*;

    #[test]
    fn the_lines_are_those_of_the_session_that_must_work() {
        let joined = Event::Joined {
            name: "anna".into(),
            id: PeerId([0; 32]),
            verified: true,
        };
        assert_eq!(
            render(&joined).as_deref(),
            Some("  found anna on this network\n  verified by code ✓   anna · 0000-0000")
        );
    }
}
