//! Events in the words people read.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use qpq_core::{contact::NEW_KEY, sanitize};

use crate::run::contact::quoted;

use crate::event::{DeliveryState, Event, Message, Recipient, Time};

/// Dashes after the name in the header of a conversation.
const RULE: usize = 30;

/// `ben, 10:02: hello`; later lines of a text are indented, so that none can pass for another message.
pub(crate) fn message(message: &Message) -> String {
    let zone = TimeZone::system();
    message_at(message, &Timestamp::now().to_zoned(zone.clone()), zone)
}

fn message_at(message: &Message, now: &Zoned, zone: TimeZone) -> String {
    let time = message.time.timestamp().to_zoned(zone);
    let format = if time.date() == now.date() {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    let about = if message.arrival_time { "~" } else { "" };
    let from = sanitize::name(&message.from);
    let text = sanitize::text(&message.text);
    if message.notice {
        return format!("  ({text})");
    }
    format!(
        "{from}, {about}{}: {}",
        time.strftime(format),
        text.replace('\n', "\n    ")
    )
}

/// `2026-11-22 10:02`, in the time zone of the system.
pub(crate) fn day(time: Time) -> String {
    time.timestamp()
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}

/// `── ben ──────────────────────────────`
pub(crate) fn header(chat: &str) -> String {
    format!("── {} {}", sanitize::name(chat), "─".repeat(RULE))
}

/// `ben`, or `ben, carla and 2 more`, with why they do not have it yet.
pub(crate) fn waiting_for(recipients: &[Recipient]) -> String {
    let waiting = recipients
        .iter()
        .filter(|recipient| !recipient.state.has_arrived());
    names_with_reasons(waiting.map(|recipient| (recipient.name.as_str(), recipient.reason.as_deref())))
}

/// `ben (away), carla`
pub(crate) fn names_with_reasons<'a>(people: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let names: Vec<_> = people
        .map(|(name, reason)| match reason {
            Some(reason) => format!("{} ({reason})", sanitize::name(name)),
            None => sanitize::name(name).into_owned(),
        })
        .collect();
    names.join(", ")
}

/// `ben joined · verified by code ✓`
pub(crate) fn joined(event: &Event) -> Option<String> {
    let Event::Joined { name, verified, .. } = event else {
        return None;
    };
    let trust = if *verified {
        "verified by code ✓"
    } else {
        "not verified"
    };
    Some(format!("  {} joined · {trust}", sanitize::name(name)))
}

/// What the user can say to somebody who asks; whoever has a contact's name is not just accepted.
pub(crate) fn answer(name: &str) -> String {
    let quoted = quoted(name);
    if name.contains(NEW_KEY) {
        return format!("qpq contact replace {quoted}, rename or refuse");
    }
    format!("qpq contact accept {quoted}")
}

/// Somebody was met, by whatever way.
pub(crate) fn met(event: &Event) -> Option<String> {
    let Event::Joined { name, verified, .. } = event else {
        return None;
    };
    let trust = if *verified { "verified ✓" } else { "not verified" };
    Some(format!("  {} is a contact · {trust}", sanitize::name(name)))
}

/// Somebody asks, refuses, or comes with a new key.
pub(crate) fn asks(event: &Event) -> Option<String> {
    let (name, news) = if let Event::Request { name, .. } = event {
        let news = format!("asks to be a contact · introduced by link: {}", answer(name));
        (name, news)
    } else if let Event::RequestDropped { name, .. } = event {
        (name, "asked to be a contact; too many do: dropped".to_owned())
    } else if let Event::Declined { name, .. } = event {
        (name, "does not want to be a contact".to_owned())
    } else if let Event::Held { name, .. } = event {
        let replace = format!("qpq contact replace {}", quoted(name));
        (name, format!("waits for your word: {replace}"))
    } else {
        return None;
    };
    Some(format!("  {} {}", sanitize::name(name), sanitize::name(&news)))
}

/// What others said, or what is known of a chat through them.
pub(crate) fn heard(event: &Event) -> Option<String> {
    if let Event::RolledBack { chat } = event {
        return Some(rolled_back(chat));
    }
    if let Event::Missing { chat, count } = event {
        let messages = if *count == 1 { "message" } else { "messages" };
        return Some(format!(
            "  ({count} {messages} of {} missing)",
            sanitize::name(chat)
        ));
    }
    let Event::Message(message) = event else {
        return None;
    };
    Some(self::message(message))
}

/// Nothing is sent in a chat for a moment: the profile was put back to an older copy.
fn rolled_back(chat: &str) -> String {
    let chat = sanitize::name(chat);
    format!(
        "  (this profile is an older copy of itself: {chat} has messages from you that it does not know; the conversation is set up again before anything is sent there)"
    )
}

/// How far one message got: `01JD… delivered`.
pub(crate) fn sent(event: &Event) -> Option<String> {
    let Event::Sent {
        id,
        state,
        recipients,
        ..
    } = event
    else {
        return None;
    };
    Some(match state {
        DeliveryState::Delivered => format!("  {} delivered", id.to_text()),
        DeliveryState::Read => format!("  {} read", id.to_text()),
        DeliveryState::Here => format!("  {} here, waiting for {}", id.to_text(), waiting_for(recipients)),
        DeliveryState::OnRelay => format!(
            "  {} on relay, waiting for {}",
            id.to_text(),
            waiting_for(recipients)
        ),
        DeliveryState::Expired | DeliveryState::Failed => {
            format!(
                "  {} not sent any more: {}",
                id.to_text(),
                waiting_for(recipients)
            )
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use qpq_core::id::{MessageId, PeerId};

    use super::*;
    use crate::event::Time;

    fn shown(from: &str, text: &str, arrival_time: bool) -> String {
        let message = Message {
            id: MessageId([0; 16]),
            chat: "ben".into(),
            from: from.into(),
            from_id: PeerId([0; 32]),
            verified: true,
            time: Time(1_700_000_000_000),
            seq: 1,
            text: text.into(),
            own: false,
            late: false,
            notice: false,
            arrival_time,
        };
        let now = Timestamp::from_millisecond(1_700_000_100_000)
            .unwrap()
            .to_zoned(TimeZone::UTC);
        message_at(&message, &now, TimeZone::UTC)
    }

    #[test]
    fn a_message_of_today_has_a_time_and_one_of_another_day_a_date() {
        assert_eq!(shown("ben", "hello", false), "ben, 22:13: hello");
        assert_eq!(shown("ben", "hello", true), "ben, ~22:13: hello");
        let message = Message {
            time: Time(0),
            ..example()
        };
        let now = Timestamp::from_millisecond(1_700_000_100_000)
            .unwrap()
            .to_zoned(TimeZone::UTC);
        assert_eq!(
            message_at(&message, &now, TimeZone::UTC),
            "ben, 1970-01-01 00:00: hello"
        );
    }

    fn example() -> Message {
        Message {
            id: MessageId([0; 16]),
            chat: "ben".into(),
            from: "ben".into(),
            from_id: PeerId([0; 32]),
            verified: true,
            time: Time(0),
            seq: 1,
            text: "hello".into(),
            own: false,
            late: false,
            notice: false,
            arrival_time: false,
        }
    }

    #[test]
    fn what_nobody_wrote_has_no_author() {
        let notice = Message {
            text: "conversation set up again".into(),
            notice: true,
            ..example()
        };
        assert_eq!(message(&notice), "  (conversation set up again)");
    }

    #[test]
    fn a_second_line_cannot_pass_for_another_message() {
        assert_eq!(
            shown("ben", "a\ncarla, 22:13: b", false),
            "ben, 22:13: a\n    carla, 22:13: b"
        );
    }

    #[test]
    fn a_name_stays_on_one_line_and_controls_are_gone() {
        let line = shown("b\nen\u{1b}[2J", "x\u{1b}]0;y\u{7}", false);
        assert!(!line.contains(['\n', '\u{1b}', '\u{7}']), "{line:?}");
    }

    #[test]
    fn the_header_has_thirty_dashes() {
        assert_eq!(header("ben"), "── ben ──────────────────────────────");
    }
}
