//! `qpq nearby`: who is on this network.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use qpq_core::sanitize;

use super::{Context, DONE, Exit, INTERRUPTED};
use crate::{
    event::{Event, Nearby},
    failure::Failure,
    request::Request,
};

/// Show who is on this network
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq nearby\n  qpq nearby --visible --timeout 5m\n\n\
    Looks for 3 s, or for --timeout. Contacts are recognised by what only they and you know; of others\n\
    there is a name only while they invite somebody, or run this with --visible, and it proves nothing."
)]
pub(super) struct Arguments {
    /// Show your own name and id to everybody on the network meanwhile
    #[arg(long)]
    visible: bool,
}

/// How long people look.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let anybody = AtomicBool::new(false);
    let mut printer = context.output.printer(|event| {
        anybody.store(true, Ordering::Relaxed);
        described(event)
    });
    let request = Request::Nearby {
        visible: arguments.visible,
        patience: context.settings.timeout.unwrap_or(PATIENCE),
    };
    let looked = client.run(request, &mut printer).await;
    client.close().await;
    looked?;
    if !anybody.load(Ordering::Relaxed) {
        context.output.note("nobody was seen on this network");
    }
    Ok(if context.output.is_stopped() {
        INTERRUPTED
    } else {
        DONE
    })
}

fn described(event: &Event) -> Option<String> {
    let Event::Nearby(Nearby {
        name,
        id,
        contact,
        addresses,
    }) = event
    else {
        return None;
    };
    let place = addresses.first().map(ToString::to_string).unwrap_or_default();
    let (Some(name), Some(id)) = (name, id) else {
        return Some(format!("  somebody at {place}"));
    };
    let what = if *contact {
        "contact"
    } else {
        "unproved, no contact"
    };
    let name = sanitize::name(name);
    Some(format!("  {name} · {} · {what} · {place}", id.short()))
}

#[cfg(test)]
mod tests {
    use qpq_core::id::PeerId;

    use super::*;

    fn line(name: Option<&str>, contact: bool) -> Option<String> {
        described(&Event::Nearby(Nearby {
            name: name.map(str::to_owned),
            id: name.map(|_| PeerId([0; 32])),
            contact,
            addresses: vec![([10, 0, 0, 7], 4_711).into()],
        }))
    }

    #[test]
    fn a_name_that_proves_nothing_is_marked_and_stays_on_its_line() {
        let shown = [
            (Some("ben"), true, "  ben · 0000-0000 · contact · 10.0.0.7:4711"),
            (
                Some("e\u{1b}[2Jv\ne"),
                false,
                "  e[2Jv e · 0000-0000 · unproved, no contact · 10.0.0.7:4711",
            ),
            (None, false, "  somebody at 10.0.0.7:4711"),
        ];
        for (name, contact, expected) in shown {
            assert_eq!(line(name, contact).as_deref(), Some(expected));
        }
    }
}
