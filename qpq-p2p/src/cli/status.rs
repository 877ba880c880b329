//! `qpq status`: what runs, who can be reached and how, what waits and why.

use qpq_core::sanitize;

use super::{Context, DONE, Exit, render};
use crate::{
    event::{Event, Path, PeerStatus, Queued, Reason, Status},
    failure::Failure,
    request::Read,
};

/// Show whether qpq runs here, who can be reached, and what waits and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  qpq status\n  qpq status --json\n\n\
    Exit code 0, whatever the state is.")]
pub(super) struct Arguments {}

/// So many waiting messages are listed for people.
const LISTED: usize = 10;

pub(super) async fn run(_: Arguments, context: &Context) -> Result<Exit, Failure> {
    let mut printer = context.output.printer(|event| {
        let Event::Status(status) = event else {
            return None;
        };
        Some(described(status))
    });
    context.read(Read::Status, &mut printer).await?;
    Ok(DONE)
}

fn described(status: &Status) -> String {
    let mut lines = vec![running(status)];
    // Of each it would be said again.
    let told = |peer: &&PeerStatus| peer.reason_code != Some(Reason::NotRunning);
    lines.extend(status.peers.iter().filter(told).map(peer));
    lines.push(match status.outbox.len() {
        0 => "nothing waits".to_owned(),
        1 => "1 message waits:".to_owned(),
        count => format!("{count} messages wait, the oldest first:"),
    });
    lines.extend(status.outbox.iter().take(LISTED).map(queued));
    let left_out = status.outbox.len().saturating_sub(LISTED);
    if left_out > 0 {
        lines.push(format!("  and {left_out} more"));
    }
    lines.join("\n")
}

fn running(status: &Status) -> String {
    match (status.pid, status.ready) {
        (Some(pid), true) => format!("qpq runs here (process {pid})"),
        (Some(pid), false) => format!("qpq runs here (process {pid}), but no network is up"),
        (None, _) => "no qpq is running here: nothing is sent or received".to_owned(),
    }
}

/// `  ben · lan, 1 ms`, or why not.
fn peer(peer: &PeerStatus) -> String {
    let way = match peer.path {
        Path::Lan => "on this network",
        Path::Direct => "direct",
        Path::Relayed => "by a relay",
        Path::None => peer.reason.as_deref().unwrap_or("no link"),
    };
    let rtt = peer.rtt_ms.map(|ms| format!(", {ms} ms")).unwrap_or_default();
    format!("  {} · {way}{rtt}", sanitize::name(&peer.name))
}

/// `  01JD… to ben: away`
fn queued(message: &Queued) -> String {
    let waiting = message
        .waiting
        .iter()
        .map(|waiting| (waiting.name.as_str(), Some(waiting.reason.as_str())));
    format!(
        "  {} to {}, waiting for {}",
        message.id.to_text(),
        sanitize::name(&message.chat),
        render::names_with_reasons(waiting)
    )
}

#[cfg(test)]
mod tests {
    use qpq_core::id::{MessageId, PeerId};

    use super::*;
    use crate::event::Waiting;

    const BEN: PeerId = PeerId([2; 32]);

    fn status() -> Status {
        Status {
            ready: false,
            pid: None,
            id: PeerId([1; 32]),
            relays: [],
            peers: Vec::new(),
            outbox: Vec::new(),
        }
    }

    fn waiting(n: u8) -> Queued {
        Queued {
            id: MessageId([n; 16]),
            chat: "ben".into(),
            waiting: vec![Waiting {
                name: "ben".into(),
                id: BEN,
                reason: Reason::Away.to_string(),
                reason_code: Reason::Away,
            }],
        }
    }

    #[test]
    fn without_a_running_qpq_that_is_the_first_thing_told() {
        assert_eq!(
            described(&status()),
            "no qpq is running here: nothing is sent or received\nnothing waits"
        );
    }

    #[test]
    fn each_peer_has_a_line_with_the_way_or_the_reason() {
        let linked = PeerStatus {
            name: "b\u{1b}en".into(),
            id: BEN,
            path: Path::Lan,
            rtt_ms: Some(2),
            reason: None,
            reason_code: None,
        };
        let away = PeerStatus {
            name: "carla".into(),
            path: Path::None,
            rtt_ms: None,
            reason: Some(Reason::Closes.to_string()),
            reason_code: Some(Reason::Closes),
            ..linked
        };
        let status = Status {
            ready: true,
            pid: Some(47),
            peers: vec![linked, away],
            outbox: vec![waiting(0)],
            ..status()
        };
        assert_eq!(
            described(&status),
            "qpq runs here (process 47)\n  ben · on this network, 2 ms\n  \
            carla · closes the connection: they may have removed you\n1 message waits:\n  \
            00000000000000000000000000 to ben, waiting for ben (away)"
        );
    }

    #[test]
    fn a_long_queue_is_cut_for_people() {
        let status = Status {
            outbox: (0..22).map(waiting).collect(),
            ..status()
        };
        let lines = described(&status);
        assert!(lines.ends_with("\n  and 12 more"), "{lines}");
        assert_eq!(lines.lines().count(), 1 + 1 + LISTED + 1);
    }
}
