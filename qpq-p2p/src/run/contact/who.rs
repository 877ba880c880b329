//! Whom the user means by a name or an id.

use qpq_core::{contact::Standing, id::PeerId, store::read::Reader};

use super::failures::nothing_to_decide;
use crate::{
    event::{Event, Path, Trust},
    failure::{Failure, FailureCode},
    run::{CANDIDATES, listed},
};

/// Somebody the user may mean by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Someone {
    pub(super) peer: PeerId,
    pub(super) name: String,
    /// As they call themselves.
    pub(super) claimed: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Contact(Standing),
    /// Asks to be one.
    Asking,
    /// Was asked, and has not answered.
    Asked,
}

impl Someone {
    /// Was never a contact, asked or was asked, and is not listed any more.
    pub(super) fn taken_off(&self) -> Event {
        Event::Contact {
            name: self.name.clone(),
            display_name: self.claimed.clone(),
            id: self.peer,
            trust: Trust::Link,
            blocked: false,
            path: Path::None,
            removed: true,
            last_seen: None,
        }
    }
}

impl Kind {
    /// Whether there is a key that waits for the user's word.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Asking | Self::Contact(Standing::Held))
    }

    pub(super) fn is_removed(self) -> bool {
        self == Self::Contact(Standing::Removed)
    }
}

fn everybody(reader: &Reader) -> Result<Vec<Someone>, Failure> {
    let contacts = reader.people()?.into_iter().map(|person| Someone {
        peer: person.peer,
        name: person.name,
        claimed: person.claimed,
        kind: Kind::Contact(person.standing),
    });
    let asking = reader.asking()?.into_iter().map(|asking| Someone {
        peer: asking.peer,
        name: asking.name,
        claimed: asking.claimed,
        kind: Kind::Asking,
    });
    let asked = reader.asked()?.into_iter().map(|(peer, name)| {
        let name = name.unwrap_or_else(|| peer.short());
        Someone {
            peer,
            claimed: name.clone(),
            name,
            kind: Kind::Asked,
        }
    });
    Ok(contacts.chain(asking).chain(asked).collect())
}

/// Whom the user means: by id, by name, by name without case; removed people last.
pub(super) fn find(reader: &Reader, wanted: &str) -> Result<Someone, Failure> {
    one_of(everybody(reader)?, wanted, false)
}

fn one_of(everybody: Vec<Someone>, wanted: &str, prefers_open: bool) -> Result<Someone, Failure> {
    let folded = wanted.to_lowercase();
    let rank = |one: &Someone| {
        let by_id = one.peer.to_text() == folded || one.peer.short() == folded;
        let matched = match () {
            () if by_id => 0,
            () if one.name == wanted => 1,
            () if one.name.to_lowercase() == folded => 2,
            () => return None,
        };
        let behind = (prefers_open && !one.kind.is_open(), one.kind.is_removed());
        Some((behind, matched))
    };
    let ranked: Vec<_> = everybody
        .iter()
        .filter_map(|one| Some((rank(one)?, one)))
        .collect();
    let best = ranked.iter().map(|(rank, _)| *rank).min();
    let found: Vec<_> = ranked
        .iter()
        .filter(|(rank, _)| Some(*rank) == best)
        .map(|(_, one)| *one)
        .collect();
    match found.as_slice() {
        [] => Err(unknown(&everybody, wanted)),
        [one] => Ok((*one).clone()),
        several => Err(ambiguous(wanted, several)),
    }
}

/// Who waits for the user's word: named as they are shown or, where a contact has that name, as they call themselves.
pub(super) fn newcomer(reader: &Reader, wanted: &str) -> Result<Someone, Failure> {
    let everybody = everybody(reader)?;
    let folded = wanted.to_lowercase();
    let claims: Vec<_> = everybody
        .iter()
        .filter(|one| {
            one.kind.is_open() && one.claimed.to_lowercase() == folded && one.name.to_lowercase() != folded
        })
        .collect();
    match claims.as_slice() {
        [] => {
            let one = one_of(everybody, wanted, true)?;
            if one.kind.is_open() {
                Ok(one)
            } else {
                Err(nothing_to_decide(&one.name))
            }
        }
        [one] => Ok((*one).clone()),
        several => Err(ambiguous(wanted, several)),
    }
}

fn unknown(everybody: &[Someone], wanted: &str) -> Failure {
    let names = everybody
        .iter()
        .filter(|one| !one.kind.is_removed())
        .map(|one| one.name.as_str());
    let names: Vec<_> = names.take(CANDIDATES.saturating_add(1)).collect();
    let hint = match names.len() {
        0 => "meet somebody first: qpq invite, or qpq join CODE".to_owned(),
        _ => format!("one of these: {}", listed(names.into_iter())),
    };
    let what = format!("there is nobody called {wanted}");
    Failure::new(
        FailureCode::UnknownContact,
        what,
        "nobody you know has this name or id",
        hint,
    )
}

fn ambiguous(wanted: &str, several: &[&Someone]) -> Failure {
    let lines: Vec<_> = several
        .iter()
        .map(|one| format!("{} · {}", one.name, one.peer.short()))
        .collect();
    Failure::new(
        FailureCode::AmbiguousContact,
        format!("{wanted} can be more than one person"),
        "several have this name",
        format!("say which, by id: {}", listed(lines.iter().map(String::as_str))),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn someone(id: u8, name: &str, claimed: &str, kind: Kind) -> Someone {
        Someone {
            peer: PeerId([id; 32]),
            name: name.into(),
            claimed: claimed.into(),
            kind,
        }
    }

    fn known(id: u8, name: &str) -> Someone {
        someone(id, name, name, Kind::Contact(Standing::Known))
    }

    #[test]
    fn ids_come_before_names_and_removed_people_last() {
        let removed = someone(3, "ben", "ben", Kind::Contact(Standing::Removed));
        let impostor = known(4, &PeerId([1; 32]).short());
        let all = vec![known(1, "ben"), known(2, "Carla"), removed, impostor];
        let found = |wanted: &str| one_of(all.clone(), wanted, false).unwrap().peer.0[0];
        assert_eq!(found("ben"), 1);
        assert_eq!(found("carla"), 2);
        assert_eq!(found(&PeerId([1; 32]).short()), 1);
        assert_eq!(one_of(all.clone(), "dora", false).unwrap_err().code.exit(), 6);
        let two = vec![known(1, "Ben"), known(2, "BEN")];
        assert_eq!(
            one_of(two, "ben", false).unwrap_err().code,
            FailureCode::AmbiguousContact
        );
    }

    #[test]
    fn whoever_asks_is_meant_where_a_question_is_answered() {
        let all = vec![known(1, "ben"), someone(2, "ben", "ben", Kind::Asking)];
        assert_eq!(one_of(all, "ben", true).unwrap().peer.0[0], 2);
    }
}
