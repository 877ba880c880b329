//! `qpq contact`: people, and what the user decides about them.

use clap::Subcommand;
use qpq_core::sanitize;

use super::{Context, DONE, Exit, render};
use crate::{
    event::{Event, Path, Trust},
    failure::Failure,
    request::{Decision, Read, Request},
    run::contact::quoted,
};

/// Show people, and decide about them: accept, refuse, rename, replace, block, unblock, remove
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq contact list\n  qpq contact accept carla\n  qpq contact rename ben benjamin\n\n\
    NAME is a name as `qpq contact list` shows it, or an id."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List contacts, who asks to be one, and who was asked
    #[command(after_help = "Example:\n  qpq contact list --all")]
    List {
        /// Show removed people, too
        #[arg(long)]
        all: bool,
    },
    /// Show one person
    #[command(after_help = "Example:\n  qpq contact show ben")]
    Show {
        /// Name or id
        name: String,
    },
    /// Accept somebody who asks to be a contact
    #[command(after_help = "Example:\n  qpq contact accept carla")]
    Accept {
        /// Name or id
        name: String,
    },
    /// Refuse somebody who asks to be a contact
    #[command(after_help = "Example:\n  qpq contact refuse mallory")]
    Refuse {
        /// Name or id
        name: String,
    },
    /// Show somebody under another name
    #[command(after_help = "Example:\n  qpq contact rename ben benjamin")]
    Rename {
        /// Name or id
        name: String,
        /// The name to show
        new_name: String,
    },
    /// Say that the new key under a known name is that person's
    #[command(after_help = "Example:\n  qpq contact replace ben\n\n\
        The conversation goes on with the new key, and what waits is sent to it. Ask in person first.")]
    Replace {
        /// Name of the contact, or of the newcomer
        name: String,
    },
    /// Have nothing to do with somebody
    #[command(
        after_help = "Example:\n  qpq contact block mallory\n\nThey are not told, but their connections are closed."
    )]
    Block {
        /// Name or id
        name: String,
    },
    /// Let somebody in again
    #[command(after_help = "Example:\n  qpq contact unblock mallory")]
    Unblock {
        /// Name or id
        name: String,
    },
    /// Forget somebody; the history stays unless it is purged
    #[command(
        after_help = "Example:\n  qpq contact remove ben --purge\n\nWhat waits for them is not sent any more."
    )]
    Remove {
        /// Name or id
        name: String,
        /// Delete the history, too
        #[arg(long)]
        purge: bool,
    },
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let (who, decision) = match arguments.action {
        Action::List { all } => return list(None, all, context).await,
        Action::Show { name } => return list(Some(name), true, context).await,
        Action::Accept { name } => (name, Decision::Accept),
        Action::Refuse { name } => (name, Decision::Refuse),
        Action::Rename { name, new_name } => (name, Decision::Rename { name: new_name }),
        Action::Replace { name } => (name, Decision::Replace),
        Action::Block { name } => (name, Decision::Block { blocked: true }),
        Action::Unblock { name } => (name, Decision::Block { blocked: false }),
        Action::Remove { name, purge } => (name, Decision::Remove { purge }),
    };
    let client = context.client().await?;
    let mut printer = context.output.printer(decided);
    let done = client.run(Request::Contact { who, decision }, &mut printer).await;
    client.close().await;
    done.map(|()| DONE)
}

async fn list(who: Option<String>, all: bool, context: &Context) -> Result<Exit, Failure> {
    let one = who.is_some();
    let mut printer = context.output.printer(|event| listed(event, one));
    let read = Read::Contacts { who, all };
    context.read(read, &mut printer).await?;
    Ok(DONE)
}

/// One person in one line; all that is known where one person was asked for.
fn listed(event: &Event, one: bool) -> Option<String> {
    if let Event::Request { name, id } = event {
        let answer = render::answer(name);
        let answer = sanitize::name(&answer).into_owned();
        let name = sanitize::name(name);
        return Some(format!(
            "{name} · {} · asks to be a contact: {answer}",
            id.short()
        ));
    }
    if let Event::Asked { name, id } = event {
        let name = sanitize::name(name);
        return Some(format!("{name} · {} · was asked, has not answered", id.short()));
    }
    let Event::Contact {
        name,
        display_name,
        id,
        path,
        last_seen,
        ..
    } = event
    else {
        return None;
    };
    let mut lines = format!("{} · {} · {}", sanitize::name(name), id.short(), standing(event)?);
    if one {
        lines.push_str(&format!("\n  id {}", id.to_text()));
        if name != display_name {
            lines.push_str(&format!("\n  calls themselves {}", sanitize::name(display_name)));
        }
        let seen = match (path, last_seen) {
            (Path::None, None) => "never".to_owned(),
            (Path::None, Some(time)) => render::day(*time),
            (_, _) => "connected now".to_owned(),
        };
        lines.push_str(&format!("\n  last seen: {seen}"));
    }
    Some(lines)
}

/// What came of a decision.
fn decided(event: &Event) -> Option<String> {
    if let Event::Refused { name, .. } = event {
        return Some(format!("  {} · refused", sanitize::name(name)));
    }
    if matches!(event, Event::Request { .. }) {
        return listed(event, false).map(|line| format!("  {line}"));
    }
    let Event::Contact { name, .. } = event else {
        return None;
    };
    Some(format!("  {} · {}", sanitize::name(name), standing(event)?))
}

/// What a person is, and how their key came to be believed.
fn standing(event: &Event) -> Option<String> {
    let Event::Contact {
        name,
        trust,
        blocked,
        removed,
        ..
    } = event
    else {
        return None;
    };
    let name = sanitize::name(&quoted(name)).into_owned();
    Some(match trust {
        _ if *blocked => "blocked".to_owned(),
        _ if *removed => "removed".to_owned(),
        Trust::Held => format!("a new key under a known name: qpq contact replace {name}, rename or refuse"),
        Trust::Link => format!("introduced by link, not verified (qpq verify {name})"),
        Trust::Code => "verified by code ✓".to_owned(),
        Trust::Number => "verified by safety number ✓".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use qpq_core::id::PeerId;

    use super::*;

    fn ben(trust: Trust, blocked: bool, removed: bool) -> Event {
        Event::Contact {
            name: "ben (new key)".into(),
            display_name: "ben".into(),
            id: PeerId([0; 32]),
            trust,
            blocked,
            path: Path::None,
            removed,
            last_seen: None,
        }
    }

    #[test]
    fn what_a_person_is_stands_in_one_line() {
        let line = |trust, blocked, removed| listed(&ben(trust, blocked, removed), false).unwrap_or_default();
        assert_eq!(
            line(Trust::Code, false, false),
            "ben (new key) · 0000-0000 · verified by code ✓"
        );
        assert!(line(Trust::Link, false, false).ends_with("not verified (qpq verify 'ben (new key)')"));
        assert!(line(Trust::Held, false, false).contains("qpq contact replace 'ben (new key)'"));
        assert!(line(Trust::Number, true, false).ends_with("· blocked"));
        assert!(line(Trust::Number, false, true).ends_with("· removed"));
    }

    #[test]
    fn a_refusal_says_who_was_refused() {
        let (name, id) = ("mal\u{1b}[2Jlory".to_owned(), PeerId([0; 32]));
        let line = decided(&Event::Refused { name, id }).unwrap_or_default();
        assert!(
            line.ends_with("lory · refused") && !line.contains('\u{1b}'),
            "{line:?}"
        );
    }

    #[test]
    fn one_person_is_shown_with_all_that_is_known() {
        let lines = listed(&ben(Trust::Code, false, false), true).unwrap_or_default();
        assert!(lines.contains("calls themselves ben") && lines.contains("last seen: never"));
        assert!(lines.contains(&PeerId([0; 32]).to_text()));
    }
}
