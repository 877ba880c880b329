//! What is told where a decision about people, or a message to them, is refused.

use qpq_core::{contact::Standing, engine, store::read::Reader};

use super::who::{Kind, Someone, find};
use crate::{
    failure::{Failure, FailureCode},
    request::Decision,
};

/// Somebody with a new key calls himself like a contact: to be told by every verb that meets it.
pub(crate) fn key_question(claimed: &str, shown: &str) -> Failure {
    Failure::new(
        FailureCode::KeyChanged,
        format!("{claimed} has a new key, or somebody else calls himself {claimed}"),
        format!("{shown} waits for your word; until then nothing is shown or sent"),
        format!(
            "ask {claimed} in person, then: qpq contact replace {}, or another name: qpq contact rename {} NAME",
            quoted(claimed),
            quoted(shown)
        ),
    )
}

/// Why nothing can be sent to somebody, with their name.
pub(in crate::run) fn barred(failure: engine::Failure, name: &str) -> Failure {
    match failure {
        engine::Failure::KeyQuestion => Failure::new(
            FailureCode::KeyChanged,
            "nothing was sent",
            format!("somebody with a new key calls himself {name}, and waits for your word"),
            format!(
                "see who: qpq contact list; then qpq contact replace {0}, or qpq contact refuse {0}",
                quoted(name)
            ),
        ),
        engine::Failure::Blocked => Failure::new(
            FailureCode::Blocked,
            "nothing was sent",
            format!("you have blocked {name}"),
            format!("let them in again: qpq contact unblock {}", quoted(name)),
        ),
        engine::Failure::UnknownContact => Failure::new(
            FailureCode::UnknownContact,
            "nothing was sent",
            format!("{name} is no contact any more: only the history is left"),
            "meet again: qpq invite",
        ),
        other @ (engine::Failure::UnknownChat
        | engine::Failure::AmbiguousChat(_)
        | engine::Failure::TextLength
        | engine::Failure::NotStored
        | engine::Failure::Damaged
        | _) => other.into(),
    }
}

/// Why there is no chat with somebody who is known all the same: one side has not answered yet.
pub(crate) fn no_chat_yet(reader: &Reader, name: &str) -> Option<Failure> {
    let someone = find(reader, name).ok()?;
    let (why, hint) = match someone.kind {
        Kind::Asked => (
            format!("{} was asked to be a contact, and has not answered", someone.name),
            "the answer comes while a qpq runs here and there, such as: qpq listen".to_owned(),
        ),
        Kind::Asking => (
            format!("{} asks to be a contact, and waits for your word", someone.name),
            format!("qpq contact accept {}", quoted(&someone.name)),
        ),
        Kind::Contact(_) => return None,
    };
    Some(Failure::new(
        FailureCode::UnknownChat,
        format!("there is no chat {name} yet"),
        why,
        hint,
    ))
}

/// A name as it can be typed in a shell.
pub(crate) fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

pub(super) fn mismatch(name: &str) -> Failure {
    Failure::new(
        FailureCode::NumberMismatch,
        format!("this is not the safety number with {name}"),
        "the numbers differ: a digit was misread, or somebody stands between you",
        "compare once more, digit by digit; when they differ, do not write here: meet and use qpq invite",
    )
}

/// An engine's refusal, with the names that it is about. Numbers are compared without a decision.
pub(super) fn explained(failure: engine::Failure, someone: &Someone, decision: Option<&Decision>) -> Failure {
    if failure == engine::Failure::NothingToDecide {
        let answers = matches!(
            decision,
            Some(Decision::Accept | Decision::Refuse | Decision::Replace)
        );
        return if answers || someone.kind == Kind::Contact(Standing::Known) {
            nothing_to_decide(&someone.name)
        } else {
            no_contact(&someone.name, someone.kind)
        };
    }
    if failure != engine::Failure::Name {
        return failure.into();
    }
    if decision == Some(&Decision::Accept) {
        return key_question(&someone.claimed, &someone.name);
    }
    Failure::new(
        FailureCode::NameTaken,
        "the name was not changed",
        "it is somebody else's, or cannot be a name",
        "choose another one; 1 to 64 bytes, without : and control characters",
    )
}

/// This can be done with contacts only: what somebody is instead.
fn no_contact(name: &str, kind: Kind) -> Failure {
    let shown = quoted(name);
    let (code, why, hint) = match kind {
        Kind::Contact(Standing::Held) => (
            FailureCode::KeyChanged,
            format!("{name} has a new key, and waits for your word"),
            format!("decide about them first: qpq contact accept {shown}, or qpq contact replace {shown}"),
        ),
        Kind::Asking => (
            FailureCode::UnknownContact,
            format!("{name} asks to be a contact, and waits for your word"),
            format!("decide about them first: qpq contact accept {shown}, or qpq contact refuse {shown}"),
        ),
        Kind::Asked => (
            FailureCode::UnknownContact,
            format!("{name} was asked to be a contact, and has not answered"),
            "wait for their answer: qpq listen".to_owned(),
        ),
        Kind::Contact(_) => (
            FailureCode::UnknownContact,
            format!("{name} was removed: only the history is left"),
            "meet again: qpq invite, or qpq join CODE".to_owned(),
        ),
    };
    Failure::new(code, "nothing was changed", why, hint)
}

pub(super) fn nothing_to_decide(name: &str) -> Failure {
    Failure::new(
        FailureCode::NothingToDecide,
        "nothing was changed",
        format!("there is no open question about {name}"),
        "see who asks and who is held: qpq contact list",
    )
}

#[cfg(test)]
mod tests {
    use qpq_core::id::PeerId;

    use super::*;

    #[test]
    fn what_only_a_contact_can_have_done_says_what_somebody_is_instead() {
        let told = |kind, decision: Option<Decision>| {
            let someone = Someone {
                peer: PeerId([2; 32]),
                name: "ben".into(),
                claimed: "ben".into(),
                kind,
            };
            let failure = explained(engine::Failure::NothingToDecide, &someone, decision.as_ref());
            (failure.code, failure.why)
        };
        let rename = || Some(Decision::Rename { name: "b".into() });
        let removed = "ben was removed: only the history is left".to_owned();
        assert_eq!(
            told(Kind::Contact(Standing::Removed), rename()),
            (FailureCode::UnknownContact, removed)
        );
        let (code, why) = told(Kind::Contact(Standing::Held), None);
        assert_eq!(code, FailureCode::KeyChanged);
        assert!(why.contains("new key"), "{why}");
        assert_eq!(told(Kind::Asking, None).0, FailureCode::UnknownContact);
        // Somebody else was faster.
        for kind in [Kind::Asking, Kind::Contact(Standing::Held)] {
            let (code, _) = told(kind, Some(Decision::Accept));
            assert_eq!(code, FailureCode::NothingToDecide);
        }
    }

    #[test]
    fn names_are_quoted_for_a_shell() {
        assert_eq!(quoted("ben"), "ben");
        assert_eq!(quoted("ben (new key)"), "'ben (new key)'");
        assert_eq!(quoted("o'neil; rm"), r"'o'\''neil; rm'");
    }
}
