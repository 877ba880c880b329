//! People: who is known, who asks, and what the user decides about them.

use std::time::Duration;

use qpq_core::{
    contact::{Person, Standing},
    engine::{self, Command, ContactChange},
    id::PeerId,
    identity::SafetyNumber,
    store::read::Reader,
};

use self::who::{Kind, Someone, find, newcomer};
use super::{Wake, deadline, wake};
use crate::{
    event::{Event, Path, Time, Trust},
    failure::{Failure, FailureCode},
    node::Ways,
    owner::Owner,
    profile::Profile,
    request::Decision,
    sink::Sink,
};

mod who;

/// Whoever was accepted learns it at once where they are near; later otherwise.
const TELL: Duration = Duration::from_secs(2);

/// Everybody, or one: `Contact`, `Request` and `Asked` events.
pub(super) async fn list(
    reader: &Reader,
    who: Option<&str>,
    all: bool,
    ways: Option<&Ways>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let only = who.map(|who| find(reader, who)).transpose()?;
    let is_wanted = |peer: &PeerId| only.as_ref().is_none_or(|only| only.peer == *peer);
    let asking = reader.asking()?;
    let mut people = reader.people()?;
    // Of two with one name the one that is no contact any more comes last.
    people.sort_by_key(|person| person.standing == Standing::Removed);
    for person in people {
        let is_shown = only.is_some() || all || person.blocked || person.standing != Standing::Removed;
        if is_wanted(&person.peer) && is_shown {
            sink.put(contact(&person, ways)).await?;
        }
    }
    for (name, id) in asking.into_iter().map(|one| (one.name, one.peer)) {
        if is_wanted(&id) {
            sink.put(Event::Request { name, id }).await?;
        }
    }
    for (id, name) in reader.asked()? {
        if is_wanted(&id) {
            let name = name.unwrap_or_else(|| id.short());
            sink.put(Event::Asked { name, id }).await?;
        }
    }
    Ok(())
}

/// Carries a decision out, and tells what came of it.
pub(super) async fn decide(
    owner: &Owner,
    who: &str,
    decision: Decision,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let reader = owner.profile().reader()?;
    let someone = match decision {
        Decision::Accept | Decision::Refuse | Decision::Replace => newcomer(&reader, who)?,
        Decision::Rename { .. } | Decision::Block { .. } | Decision::Remove { .. } => find(&reader, who)?,
    };
    let before = person(&reader, &someone.peer)?;
    let mut events = owner.node().await?.events();
    let done = owner.node().await?.command(Command::Contact {
        peer: someone.peer,
        change: change_of(decision.clone()),
    });
    done.await
        .map_err(|failure| explained(failure, &someone, Some(&decision)))?;
    let ways = owner.ways().await;
    let event = outcome(&reader, &someone, &decision, before, ways.as_ref())?;
    sink.put(event).await?;
    // What came of it was told. Whoever is near learns it now, though this qpq may just have begun to look around;
    // who was refused learns it with the end of the link.
    if matches!(decision, Decision::Accept | Decision::Replace) {
        let until = deadline(TELL);
        loop {
            match wake(&mut events, Some(until), sink).await? {
                Wake::Event(engine::Event::Joined { peer, .. }) if peer == someone.peer => break,
                Wake::Event(_) | Wake::Lagged => {}
                Wake::TimeOver | Wake::Unwanted => break,
            }
        }
    }
    Ok(())
}

/// What a decision left: the person, or what is to be told where nobody is left.
fn outcome(
    reader: &Reader,
    someone: &Someone,
    decision: &Decision,
    before: Option<Person>,
    ways: Option<&Ways>,
) -> Result<Event, Failure> {
    let (name, id) = (someone.name.clone(), someone.peer);
    if *decision == Decision::Refuse {
        return Ok(Event::Refused { name, id });
    }
    if let Some(request) = reader.asking()?.into_iter().find(|request| request.peer == id) {
        let name = request.name;
        return Ok(Event::Request { name, id });
    }
    if let Some(person) = person(reader, &id)? {
        return Ok(contact(&person, ways));
    }
    Ok(before.map_or_else(
        || someone.taken_off(),
        |mut forgotten| {
            forgotten.standing = Standing::Removed;
            contact(&forgotten, None)
        },
    ))
}

fn change_of(decision: Decision) -> ContactChange {
    match decision {
        Decision::Accept => ContactChange::Accept,
        Decision::Refuse => ContactChange::Refuse,
        Decision::Rename { name } => ContactChange::Rename(name),
        Decision::Replace => ContactChange::Replace,
        Decision::Block { blocked } => ContactChange::Block(blocked),
        Decision::Remove { purge } => ContactChange::Remove { purge },
    }
}

/// The safety number with a person: `SafetyNumber`.
pub(super) async fn safety_number(
    profile: &Profile,
    reader: &Reader,
    who: &str,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let someone = find(reader, who)?;
    let person = person(reader, &someone.peer)?;
    let number = SafetyNumber::of(&profile.peer_id(), &someone.peer);
    Ok(sink
        .put(Event::SafetyNumber {
            verified: person.is_some_and(|person| is_verified(&person)),
            name: someone.name,
            id: someone.peer,
            number: number.digits(),
        })
        .await?)
}

/// The user compared the number with what the other side sees: `Contact`.
pub(super) async fn compare(
    owner: &Owner,
    who: &str,
    other: &str,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let other = other.parse().map_err(|_| {
        Failure::usage(
            "nothing was compared",
            "a safety number has 60 digits",
            "read them from `qpq verify` on the other side",
        )
    })?;
    let reader = owner.profile().reader()?;
    let someone = find(&reader, who)?;
    let own = SafetyNumber::of(&owner.profile().peer_id(), &someone.peer);
    if !own.matches(&other) {
        return Err(mismatch(&someone.name));
    }
    let (peer, change) = (someone.peer, ContactChange::Verified);
    let done = owner.node().await?.command(Command::Contact { peer, change });
    done.await.map_err(|failure| explained(failure, &someone, None))?;
    if let Some(person) = person(&reader, &peer)? {
        let ways = owner.ways().await;
        sink.put(contact(&person, ways.as_ref())).await?;
    }
    Ok(())
}

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

/// The same, where only what the newcomer is shown as is at hand.
pub(crate) fn held(shown: &str) -> Failure {
    let claimed = shown
        .split_once(" (new key)")
        .map_or(shown, |(claimed, _)| claimed);
    key_question(claimed, shown)
}

/// Why nothing can be sent to somebody, with their name.
pub(super) fn barred(failure: engine::Failure, name: &str) -> Failure {
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

fn mismatch(name: &str) -> Failure {
    Failure::new(
        FailureCode::NumberMismatch,
        format!("this is not the safety number with {name}"),
        "the numbers differ: a digit was misread, or somebody stands between you",
        "compare once more, digit by digit; when they differ, do not write here: meet and use qpq invite",
    )
}

/// An engine's refusal, with the names that it is about. Numbers are compared without a decision.
fn explained(failure: engine::Failure, someone: &Someone, decision: Option<&Decision>) -> Failure {
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

fn nothing_to_decide(name: &str) -> Failure {
    Failure::new(
        FailureCode::NothingToDecide,
        "nothing was changed",
        format!("there is no open question about {name}"),
        "see who asks and who is held: qpq contact list",
    )
}

fn person(reader: &Reader, peer: &PeerId) -> Result<Option<Person>, Failure> {
    Ok(reader.people()?.into_iter().find(|person| person.peer == *peer))
}

fn is_verified(person: &Person) -> bool {
    person.standing == Standing::Known && person.trust.is_verified()
}

fn contact(person: &Person, ways: Option<&Ways>) -> Event {
    let link = ways.and_then(|ways| ways.peers.get(&person.peer)?.link);
    Event::Contact {
        name: person.name.clone(),
        display_name: person.claimed.clone(),
        id: person.peer,
        trust: Trust::of(person),
        blocked: person.blocked,
        path: link.map_or(Path::None, |link| link.path.into()),
        removed: person.standing == Standing::Removed,
        last_seen: person.last_seen.map(Time),
    }
}

#[cfg(test)]
mod tests {
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
