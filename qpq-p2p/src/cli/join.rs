//! `qpq join`: uses somebody's code or link.

use std::time::Duration;

use qpq_core::{
    invite::{Code, Link},
    sanitize,
};

use super::{Context, DONE, Exit, can_converse, chat};
use crate::{
    control::Client,
    event::{Event, Spoken},
    failure::Failure,
    request::Request,
};

/// Use the code that somebody on this network told you, or the link that they sent
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq join 4-otter-violin\n  qpq join QPQ:06JTB9D5MPJTB9D5MPJTB9D5MP\n\n\
    By a code you are contacts, on a terminal in the conversation. By a link you have asked: they decide.\n\
    Exit code 7: the request is kept here, and was not confirmed."
)]
pub(super) struct Arguments {
    /// As their `qpq invite` shows it; spaces do for dashes, and text around a link does no harm
    #[arg(required = true, num_args = 1.., value_name = "CODE|LINK")]
    invite: Vec<String>,
    /// End when you have joined
    #[arg(long)]
    no_chat: bool,
}

const LOOKING: &str = "looking on this network; is their qpq still waiting? Ctrl+C ends";

/// People get ready one after the other.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let text = arguments.invite.join(" ");
    if text.to_ascii_lowercase().contains("qpq:") {
        return ask(&text, context).await;
    }
    let code: Code = text.parse().map_err(|error: qpq_core::invite::CodeError| {
        Failure::usage(
            "this is no code",
            error.to_string(),
            "a code is a number and two words: qpq join 4-otter-violin",
        )
    })?;
    let client = context.client().await?;
    let outcome = join(&client, code, arguments.no_chat, context).await;
    client.close().await;
    outcome
}

/// By link. A damaged one is told before the profile is touched.
async fn ask(text: &str, context: &Context) -> Result<Exit, Failure> {
    let link: Link = text.parse().map_err(Failure::from)?;
    if link.relay().is_some() {
        let note = "this link names a relay: this version looks for its maker on this network only";
        context.output.note(note);
    }
    let client = context.client().await?;
    let mut printer = context.output.printer(render);
    let request = Request::JoinLink {
        link: Spoken(link.to_text().to_string()),
        patience: context.settings.timeout.unwrap_or(PATIENCE),
    };
    let waiting = context.output.waiting_for(LOOKING);
    let asked = client.run(request, &mut printer).await;
    drop(waiting);
    client.close().await;
    asked?;
    context
        .output
        .note("the answer comes while a qpq of yours runs, such as: qpq listen");
    Ok(DONE)
}

async fn join(client: &Client, code: Code, no_chat: bool, context: &Context) -> Result<Exit, Failure> {
    let joined = std::sync::OnceLock::new();
    let mut printer = context.output.printer(render);
    let mut sink = chat::NoteJoined {
        sink: &mut printer,
        joined: &joined,
    };
    let patience = context.settings.timeout.unwrap_or(PATIENCE);
    let waiting = context.output.waiting_for(LOOKING);
    let found = client
        .run(
            Request::Join {
                code,
                patience,
                resumed: None,
            },
            &mut sink,
        )
        .await;
    drop(waiting);
    found?;
    match joined.get() {
        Some(contact) if !no_chat && can_converse() => chat::with(client, contact, context).await,
        _ => Ok(DONE),
    }
}

fn render(event: &Event) -> Option<String> {
    if let Event::Asked { name, id } = event {
        let name = sanitize::name(name);
        return Some(format!(
            "  asked {name} · {}\n  waits for {name}'s word",
            id.short()
        ));
    }
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
        let asked = Event::Asked {
            name: "anna".into(),
            id: PeerId([0; 32]),
        };
        assert_eq!(
            render(&asked).as_deref(),
            Some("  asked anna · 0000-0000\n  waits for anna's word")
        );
    }
}
