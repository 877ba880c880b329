//! `qpq invite`: a code for somebody on the same network, a link for everybody else, and what became of links.

use std::{sync::OnceLock, time::Duration};

use qpq_core::{id::LinkId, sanitize};

use super::{Context, DONE, Exit, can_converse, chat, output::Output, qr, render};
use crate::{
    control::Client,
    duration,
    event::{Event, OwnerKind, Time},
    failure::{Failure, FailureCode},
    request::{Read, Request},
    sink::{Sink, SinkError},
};

/// Print a code and a link, and wait until somebody on this network uses the code
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  qpq invite --expires 10m\n  qpq invite --link\n  qpq invite list\n\n\
    The code lives as long as this command; on a terminal you are in the conversation then. A link\n\
    stays until it was used, taken back or has expired; it works on this network, while a qpq of\n\
    yours runs, such as: qpq listen"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print a link and end
    #[arg(long)]
    link: bool,
    /// End when somebody has joined
    #[arg(long)]
    no_chat: bool,
    /// How long code and link are valid
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "24h")]
    expires: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the links that can be used or were used
    #[command(after_help = "Example:\n  qpq invite list")]
    List,
    /// Take a link back
    #[command(after_help = "Example:\n  qpq invite cancel 7k2f9qxm3m8t0")]
    Cancel {
        /// As `qpq invite list` shows it
        id: LinkId,
    },
}

/// As long as somebody may take to answer a request. Whoever has the link is let in so long, as a stranger.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    match arguments.action {
        Some(Action::List) => return list(context).await,
        Some(Action::Cancel { id }) => return cancel(id, context).await,
        None => {}
    }
    if arguments.expires.is_zero() {
        return Err(Failure::usage(
            "nobody was invited",
            "the invite would expire at once",
            "qpq invite --expires 10m",
        ));
    }
    if arguments.expires > LONGEST {
        return Err(Failure::usage(
            "nobody was invited",
            "an invite is good for 30 days at most",
            "qpq invite --expires 30d",
        ));
    }
    if arguments.link {
        return link(arguments.expires, context).await;
    }
    let client = context.lasting_client(OwnerKind::Brief).await?;
    let outcome = invite(&client, &arguments, context).await;
    client.close().await;
    outcome
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let mut printer = context.output.printer(listed);
    context.read(Read::Links, &mut printer).await?;
    Ok(DONE)
}

async fn cancel(id: LinkId, context: &Context) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let mut printer = context
        .output
        .printer(|_| Some("  the link is taken back".to_owned()));
    let cancelled = client.run(Request::CancelLink { id }, &mut printer).await;
    client.close().await;
    cancelled?;
    Ok(DONE)
}

async fn link(lifetime: Duration, context: &Context) -> Result<Exit, Failure> {
    context.output.refuse_closed()?;
    let client = context.client().await?;
    let mut printer = context.output.printer(render);
    let mut sink = ShowQr {
        sink: &mut printer,
        output: &context.output,
        lifetime,
    };
    let made = client.run(Request::InviteLink { lifetime }, &mut sink).await;
    client.close().await;
    made?;
    context.output.note(
        "works on this network only: no relay is set up; and while a qpq of yours runs, such as: qpq listen",
    );
    Ok(DONE)
}

async fn invite(client: &Client, arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let lifetime = arguments.expires;
    let joined = OnceLock::new();
    let mut printer = context.output.printer(render);
    let mut noted = chat::NoteJoined {
        sink: &mut printer,
        joined: &joined,
    };
    let mut sink = ShowQr {
        sink: &mut noted,
        output: &context.output,
        lifetime,
    };
    let request = Request::Invite {
        lifetime,
        patience: context.settings.timeout,
        reopened: None,
    };
    if let Err(failure) = client.run(request, &mut sink).await {
        if failure.code == FailureCode::Interrupted {
            context
                .output
                .note("the code is cancelled; the link stays valid: qpq invite list");
        }
        return Err(failure);
    }
    match joined.get() {
        Some(contact) if !arguments.no_chat && can_converse() => chat::with(client, contact, context).await,
        _ => Ok(DONE),
    }
}

/// Passes events on, and shows a link as a QR code below its text where there is room.
struct ShowQr<'a, S> {
    sink: &'a mut S,
    output: &'a Output,
    lifetime: Duration,
}

impl<S: Sink> Sink for ShowQr<'_, S> {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        let Event::Invite { code, link, .. } = &event else {
            return self.sink.put(event).await;
        };
        let figure = link.as_ref().and_then(|link| qr::draw(&link.0));
        let is_code = code.is_some();
        let without_link = is_code && figure.is_none();
        self.sink.put(event).await?;
        if without_link {
            self.output
                .note("no link: as many as can be announced are open (qpq invite list)");
        }
        if self.output.is_quiet() || self.output.is_json() {
            return Ok(());
        }
        if let Some(figure) = figure.filter(|figure| self.output.has_room(figure.columns)) {
            self.output.figure(&figure.text)?;
        }
        self.output.lines(&waiting(is_code, self.lifetime))
    }

    async fn closed(&self) {
        self.sink.closed().await;
    }
}

/// How long what was printed is good, and how to end it.
fn waiting(is_code: bool, lifetime: Duration) -> String {
    let lifetime = duration::for_people(lifetime);
    if is_code {
        format!("               waiting, {lifetime}, Ctrl+C cancels")
    } else {
        format!("  for one person, {lifetime}")
    }
}

fn render(event: &Event) -> Option<String> {
    if let Event::Invite { code, link, .. } = event {
        let told = match (code, link) {
            (Some(code), None) => format!("  Tell them:   qpq join {code}"),
            (Some(code), Some(link)) => format!("  Tell them:   qpq join {code}\n  or link:     {link}"),
            (None, Some(link)) => format!("  Send them:   qpq join {link}"),
            (None, None) => return None,
        };
        return Some(told);
    }
    if let Event::GuessFailed { left } = event {
        let guesses = if *left == 1 { "guess" } else { "guesses" };
        return Some(format!("  somebody tried a wrong code: {left} {guesses} left"));
    }
    render::joined(event).or_else(|| render::asks(event))
}

/// `7k2f9qxm3m8t0  until 2026-03-01 10:02  used by ben, 2 others refused`
fn listed(event: &Event) -> Option<String> {
    let Event::Link {
        id,
        expires,
        used_by,
        used_by_name,
        refused,
    } = event
    else {
        return None;
    };
    let name = used_by_name
        .as_deref()
        .map(|name| sanitize::name(name).into_owned());
    let used = match (name, used_by) {
        (Some(name), _) => format!("used by {name}"),
        (None, Some(peer)) => format!("used by {}", peer.short()),
        (None, None) => "open".to_owned(),
    };
    let refused = match refused {
        0 => String::new(),
        more => format!(", refused {more} more"),
    };
    Some(format!(
        "  {}  until {}  {used}{refused}",
        id.to_text(),
        at(*expires)
    ))
}

fn at(time: Time) -> String {
    let zoned = time.timestamp().to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use qpq_core::id::PeerId;

    use super::*;

    #[test]
    fn the_lines_are_those_of_the_session_that_must_work() {
        let day = Duration::from_secs(86_400);
        let invite = |code: bool, link: bool| Event::Invite {
            code: code.then(|| "4-otter-violin".into()),
            link: link.then(|| "QPQ:06N".into()),
            expires: Time(0),
        };
        assert_eq!(
            render(&invite(true, true)).as_deref(),
            Some("  Tell them:   qpq join 4-otter-violin\n  or link:     QPQ:06N")
        );
        assert_eq!(
            render(&invite(true, false)).as_deref(),
            Some("  Tell them:   qpq join 4-otter-violin")
        );
        assert_eq!(
            render(&invite(false, true)).as_deref(),
            Some("  Send them:   qpq join QPQ:06N")
        );
        assert_eq!(waiting(true, day), "               waiting, 24 h, Ctrl+C cancels");
        assert_eq!(waiting(false, day), "  for one person, 24 h");
        let joined = Event::Joined {
            name: "ben".into(),
            id: PeerId([0; 32]),
            verified: true,
        };
        assert_eq!(
            render(&joined).as_deref(),
            Some("  ben joined · verified by code ✓")
        );
    }

    #[test]
    fn a_list_tells_who_used_a_link_and_how_many_came_later() {
        let link = |used_by: Option<PeerId>, name: Option<&str>, refused| Event::Link {
            id: LinkId([0xff; 8]),
            expires: Time(1_700_000_000_000),
            used_by,
            used_by_name: name.map(str::to_owned),
            refused,
        };
        let ben = Some(PeerId([0; 32]));
        for (event, end) in [
            (link(None, None, 0), "  open"),
            (link(ben, Some("b\nen"), 0), "  used by b en"),
            (link(ben, None, 2), "  used by 0000-0000, refused 2 more"),
        ] {
            let line = listed(&event).unwrap_or_default();
            assert!(line.starts_with("  zzzzzzzzzzzzy  until 2023-11-1"), "{line}");
            assert!(line.ends_with(end), "{line}");
        }
    }
}
