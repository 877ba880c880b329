//! People: who is known, who asks, and what the user decides about them.

use std::time::Duration;

use qpq_core::{
    contact::{Person, Standing},
    engine::{self, Command, ContactChange},
    id::PeerId,
    identity::SafetyNumber,
    store::read::Reader,
};

pub(super) use self::failures::barred;
pub(crate) use self::failures::{key_question, no_chat_yet, quoted};
use self::{
    failures::{explained, mismatch},
    who::{Someone, find, newcomer},
};
use super::{Wake, deadline, wake};
use crate::{
    event::{Event, Path, Time, Trust},
    failure::Failure,
    node::Ways,
    owner::Owner,
    profile::Profile,
    request::Decision,
    sink::Sink,
};

mod failures;
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
