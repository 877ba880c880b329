//! What must hold when a group is one again.

use std::collections::BTreeSet;

use qpq_core::{
    consensus::{Frame, What, mls::Mls},
    id::{EpochId, MemberId, MessageId},
};

use super::{
    World,
    network::Network,
    people::{People, Person},
};

/// The members at the end, if they are at one: everybody in the roster of anybody stands in the same epoch.
fn final_roster<W: World>(people: &People<W>) -> Option<Vec<usize>> {
    let live: Vec<usize> = (0..people.people.len())
        .filter(|who| people.is_live(*who))
        .collect();
    let roster = people.roster(*live.first()?);
    let epochs: BTreeSet<Option<EpochId>> = live.iter().map(|who| people.epoch(*who)).collect();
    let come = roster
        .iter()
        .all(|who| people.is_live(*who) || !people.people[*who].wants_in);
    (epochs.len() == 1 && come && live.iter().all(|who| roster.contains(who))).then_some(roster)
}

/// Whether there is nothing left to do.
pub(crate) fn is_healed<W: World>(people: &People<W>) -> bool {
    left_to_do(people).is_none()
}

/// What there is left to do, if anything.
pub(crate) fn left_to_do<W: World>(people: &People<W>) -> Option<String> {
    let Some(roster) = final_roster(people) else {
        return Some("they are not one".to_owned());
    };
    let all_live = roster.iter().all(|who| people.is_live(*who));
    let others_live = |who: &usize| roster.iter().any(|other| other != who && people.is_live(*other));
    roster.iter().filter(|who| people.is_live(**who)).find_map(|who| {
        let person = &people.people[*who];
        let group = &person.disk.group;
        let owed = group.outbox().iter().flat_map(|outgoing| &outgoing.need);
        let mut owed = owed.map(|member| people.number(member));
        // Whoever left is gone, unless the disk that knew of it is.
        if person.left && person.lost_disk.is_none() && others_live(who) {
            Some(format!("{who} left and is there"))
        } else if let Some(other) = owed.find(|other| roster.contains(other) && people.is_live(*other)) {
            Some(format!("{who} owes {other} a message"))
        } else if let Some(other) = unmet_removals(people, *who).first() {
            Some(format!("{who} removed {other}, who is there"))
        } else if all_live && group.slots().len() > 0 {
            Some(format!("{who} keeps old epochs"))
        } else {
            None
        }
    })
}

/// Whether nobody is left who could add anybody: each one lost the disk, left or was removed, or the last ones were led
/// away by a member who lies and signs it, and then lost its disk.
pub(crate) fn is_dead<W: World>(people: &People<W>) -> bool {
    let gone =
        |person: &Person<W>| person.lost_disk.is_some() || person.left || person.removed || !person.wants_in;
    let liar = people
        .people
        .iter()
        .take(2)
        .any(|rogue| rogue.lost_disk.is_some())
        && people.counts.rogue > 0;
    let none_live = (0..people.people.len()).all(|who| !people.is_live(who));
    none_live && (liar || people.people.iter().all(gone))
}

/// Everybody's state in a line each.
pub(crate) fn describe<W: World>(people: &People<W>) -> String {
    let lines = people.people.iter().enumerate().map(|(who, person)| {
        let group = &person.disk.group;
        let log: Vec<String> = group.log().iter().rev().take(4).map(|entry| format!("{:?}", entry.commit)).collect();
        let epoch = person.disk.mls.epoch();
        format!(
            "\n  {who}: epoch {:?} {:?}, roster {:?}, log {log:?}, slots {}, parked {}, outbox {}, intents {:?}, compared {}, left {}, removed {}, lost its disk {:?}",
            epoch.map(|epoch| epoch.number),
            epoch.map(|epoch| epoch.id),
            people.roster(who),
            group.slots().len(),
            group.parked().len(),
            group.outbox().len(),
            group.intents().iter().map(|intent| &intent.what).collect::<Vec<_>>(),
            group.is_compared(),
            person.left,
            person.removed,
            person.lost_disk,
        )
    });
    lines.collect()
}

/// I1..I4; I5 and I6 are checked as they happen.
pub(crate) fn check<W: World>(people: &mut People<W>, network: &mut Network) -> Result<(), String> {
    let Some(roster) = final_roster(people) else {
        return Err(format!("I1: {}", describe(people)));
    };
    let members: BTreeSet<MemberId> = roster.iter().map(|who| people.people[*who].member).collect();
    delivered(people, &roster, &members)?;
    removed(people, &roster)?;
    nobody_is_missing(people, &roster)?;
    // Where somebody left with a lost disk, the others wait for it as long as they have to.
    let all_live = roster.iter().all(|who| people.is_live(*who));
    let waits = |who: &&usize| people.people[**who].disk.group.slots().len() > 0;
    if let Some(who) = roster.iter().find(waits).filter(|_| all_live) {
        return Err(format!("slots left at {who}: {}", describe(people)));
    }
    outsiders(people, network, &roster)
}

/// A copy of a state is there for a slot or for a branch that may be entered again, or it is not there: its secrets
/// open what was written in its epoch.
pub(crate) fn no_forgotten_copies<W: World>(people: &People<W>) -> Result<(), String> {
    for (who, person) in people.people.iter().enumerate() {
        let group = &person.disk.group;
        let wanted: BTreeSet<EpochId> = group.slots().chain(group.parked()).collect();
        if let Some(copies) = people
            .world
            .copies(&person.disk.mls)
            .filter(|copies| *copies != wanted)
        {
            return Err(format!("copies: {who} has {copies:?} and needs {wanted:?}"));
        }
    }
    Ok(())
}

/// I7: whoever came, and neither left nor was removed by an admin, is there at the end.
fn nobody_is_missing<W: World>(people: &People<W>, roster: &[usize]) -> Result<(), String> {
    let missing = (0..people.founders).find(|who| {
        let person = &people.people[*who];
        !roster.contains(who) && person.wants_in && !person.left && !person.removed
    });
    missing.map_or(Ok(()), |who| {
        Err(format!("I7: {who} is missing: {}", describe(people)))
    })
}

/// I2: what `write` accepted is read by all who were members then and are at the end.
fn delivered<W: World>(
    people: &People<W>,
    roster: &[usize],
    members: &BTreeSet<MemberId>,
) -> Result<(), String> {
    for written in &people.written {
        let from = &people.people[written.from];
        // What was written into a disk that is gone since went with it.
        let lost =
            from.disk.group.stream() != written.stream || from.lost_disk.is_some_and(|at| at >= written.at);
        if lost || !roster.contains(&written.from) || !people.is_live(written.from) {
            continue;
        }
        for member in written.members.intersection(members) {
            let reader = &people.people[people.number(member)];
            let exempt = reader.lost_disk.is_some_and(|at| at >= written.at)
                || from.failed.contains(&(written.message, *member)) && reader.removed
                || !people.is_live(people.number(member));
            if !exempt && !reader.disk.shown.contains_key(&written.message) {
                return Err(format!(
                    "I2: {:?} of {} in step {} was lost at {}",
                    written.message,
                    written.from,
                    written.at,
                    people.number(member)
                ));
            }
        }
    }
    Ok(())
}

/// Whom an admin removed who is there all the same, and whom nobody else added since.
fn unmet_removals<W: World>(people: &People<W>, who: usize) -> Vec<usize> {
    let person = &people.people[who];
    let Some(epoch) = person
        .disk
        .mls
        .epoch()
        .filter(|epoch| epoch.is_admin(&person.member))
    else {
        return Vec::new();
    };
    let asked = person
        .disk
        .asked
        .iter()
        .filter(|what| !person.not_admin.contains(what));
    let there = asked.filter_map(|what| match what {
        What::Remove(member) if epoch.has(member) => Some(people.number(member)),
        _ => None,
    });
    let added = |other: &usize| {
        let add = What::Add(people.people[*other].member);
        *other >= people.founders
            && people
                .people
                .iter()
                .any(|person| person.disk.asked.contains(&add))
    };
    there.filter(|other| !added(other)).collect()
}

/// I4: a removal that an admin of the end asked for is in force.
fn removed<W: World>(people: &People<W>, roster: &[usize]) -> Result<(), String> {
    roster
        .iter()
        .try_for_each(|who| match unmet_removals(people, *who).first() {
            Some(other) => Err(format!("I4: {who} removed {other}, who is there")),
            None => Ok(()),
        })
}

/// I3: nobody else opens a message of the end with any state they still have.
fn outsiders<W: World>(
    people: &mut People<W>,
    network: &mut Network,
    roster: &[usize],
) -> Result<(), String> {
    let Some(sender) = roster.iter().copied().find(|who| people.is_live(*who)) else {
        return Ok(());
    };
    let message = MessageId([0xff; 16]);
    network.deliver_all(people);
    let body = b"final secret".to_vec();
    let written = people.act(sender, |step| step.write(message, body)).unwrap();
    written.map_err(|error| error.to_string())?;
    let sent = people.out.iter().find_map(|(_, _, frame)| match frame {
        Frame::App(app) => Some(app.clone()),
        _ => None,
    });
    let Some(app) = sent else {
        return if roster.len() == 1 {
            Ok(())
        } else {
            Err("I2: the last message did not leave".to_owned())
        };
    };
    for outsider in (0..people.people.len()).filter(|who| !roster.contains(who)) {
        let disk = &mut people.people[outsider].disk;
        let states: Vec<EpochId> = disk
            .group
            .slots()
            .chain(disk.group.parked())
            .chain(disk.mls.epoch().map(|epoch| epoch.id))
            .collect();
        for epoch in states {
            if disk.mls.open(&epoch, &app.bytes).unwrap().is_some() {
                return Err(format!("I3: {outsider} read a message of an epoch without it"));
            }
        }
    }
    for reader in roster.iter().filter(|who| **who != sender) {
        if !people.is_live(*reader) {
            continue;
        }
        let disk = &mut people.people[*reader].disk;
        let epoch = disk.mls.epoch().map(|epoch| epoch.id);
        let opened = epoch.map(|epoch| disk.mls.open(&epoch, &app.bytes).unwrap());
        if opened
            .flatten()
            .is_none_or(|opened| opened.plaintext != b"final secret")
        {
            return Err(format!("I1: {reader} cannot read a message of the last epoch"));
        }
    }
    Ok(())
}
