//! What became of messages, in words.

use crate::{
    cli::render,
    event::{Event, Reason, Recipient},
    failure::{Failure, FailureCode},
};

/// A failure in the middle must not hide what was done before it.
pub(super) fn told_with_kept(mut failure: Failure, stored: u64) -> Failure {
    if stored > 0 {
        let messages = if stored == 1 { "message" } else { "messages" };
        failure.why = format!("{}; {stored} {messages} before it kept", failure.why);
    }
    failure
}

pub(super) fn recipients(event: &Event) -> &[Recipient] {
    let Event::Sent { recipients, .. } = event else {
        return &[];
    };
    recipients
}

/// What became of many lines; each end with its count and one message that has it.
pub(super) fn summary(stored: u64, delivered: u64, ends: [(&str, u64, Option<&Event>); 2]) -> String {
    let lines = if stored == 1 { "line" } else { "lines" };
    if stored == delivered {
        return format!("  {stored} {lines} delivered");
    }
    let mut summary = format!("  {stored} {lines}: {delivered} delivered");
    for (end, count, event) in ends {
        if count > 0 {
            let people = render::waiting_for(event.map(recipients).unwrap_or_default());
            summary.push_str(&format!(", {count} {end} {people}"));
        }
    }
    summary
}

/// Nothing waits any more, and something was not delivered.
pub(super) fn given_up(recipients: &[Recipient]) -> Failure {
    let lacking = recipients
        .iter()
        .filter(|recipient| !recipient.state.has_arrived())
        .map(|recipient| match &recipient.reason {
            Some(reason) => format!("{}: {reason}", recipient.name),
            None => recipient.name.clone(),
        });
    let lacking: Vec<_> = lacking.collect();
    let (why, hint) = match recipients.first().and_then(|recipient| recipient.reason_code) {
        _ if lacking.is_empty() => (
            "deleted with the rest of the history".to_owned(),
            "meet again: qpq invite, or qpq join CODE",
        ),
        Some(Reason::TooOld) => (
            lacking.join(", "),
            "it is kept in the history, and not sent any more: send it again",
        ),
        Some(_) | None => (
            lacking.join(", "),
            "it is kept in the history, and not sent any more; meet again: qpq invite, or qpq join CODE",
        ),
    };
    Failure::new(FailureCode::NotDelivered, "not delivered", why, hint)
}

pub(super) fn not_delivered(waiting: &[Recipient]) -> Failure {
    Failure::new(
        FailureCode::NotDelivered,
        "accepted, but not delivered in time",
        format!("waiting for {}", render::waiting_for(waiting)),
        "it is kept here and delivered when both sides run qpq, such as: qpq listen",
    )
}

#[cfg(test)]
mod tests {
    use qpq_core::id::{MessageId, PeerId};

    use super::*;
    use crate::event::DeliveryState;

    fn to_ben(state: DeliveryState, reason: Reason) -> Event {
        Event::Sent {
            id: MessageId([0; 16]),
            chat: "ben".into(),
            state,
            recipients: vec![Recipient {
                name: "ben".into(),
                id: PeerId([0; 32]),
                state,
                reason: Some(reason.to_string()),
                reason_code: Some(reason),
            }],
        }
    }

    #[test]
    fn many_lines_have_one_summary() {
        let away = to_ben(DeliveryState::Here, Reason::Away);
        let removed = to_ben(DeliveryState::Failed, Reason::Removed);
        let told = |stored, delivered, here, unsent| {
            let here = ("here, waiting for", here, Some(&away));
            summary(
                stored,
                delivered,
                [here, ("not sent any more:", unsent, Some(&removed))],
            )
        };
        assert_eq!(told(1, 1, 0, 0), "  1 line delivered");
        assert_eq!(told(0, 0, 0, 0), "  0 lines delivered");
        assert_eq!(
            told(3, 1, 2, 0),
            "  3 lines: 1 delivered, 2 here, waiting for ben (away)"
        );
        assert_eq!(
            told(3, 1, 1, 1),
            "  3 lines: 1 delivered, 1 here, waiting for ben (away), 1 not sent any more: ben (removed by you)"
        );
    }

    #[test]
    fn what_was_given_up_is_not_said_to_wait() {
        let told = |event: &Event| given_up(recipients(event));
        let removed = told(&to_ben(DeliveryState::Failed, Reason::Removed));
        assert_eq!(removed.code.exit(), 7);
        assert_eq!(removed.why, "ben: removed by you");
        assert!(removed.hint.contains("qpq invite"), "{}", removed.hint);
        let old = told(&to_ben(DeliveryState::Expired, Reason::TooOld));
        assert_eq!(old.why, "ben: not delivered within 30 days");
        assert!(old.hint.ends_with("send it again"), "{}", old.hint);
        assert!(given_up(&[]).why.contains("history"));
    }
}
