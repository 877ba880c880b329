//! Who is on this network, each once, as they are found.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use qpq_core::{
    contact::{NEW_KEY, Standing},
    id::PeerId,
    store::read::Reader,
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    event::{Event, Nearby},
    failure::Failure,
    lan::{Shown, Who},
    owner::Owner,
    sink::Sink,
};

/// It is looked so often: a flood of adverts costs no more than a quiet network.
const LOOK: Duration = Duration::from_millis(200);

/// Beside contacts so many are told of; those who come after are forgers, or not needed.
const MOST: usize = 256;

pub(super) async fn run(
    owner: &Owner,
    visible: bool,
    patience: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let people = People::of(&owner.profile().reader()?, owner.profile().peer_id())?;
    let lan = owner.node().await?.lan();
    let _visible = visible.then(|| lan.show());
    let mut told = Told::default();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let look = async {
        loop {
            tokio::select! {
                () = sink.closed() => return Ok(()),
                _ = looks.tick() => {}
            }
            for (who, addresses) in lan.neighbours() {
                let who = people.judge(who, addresses.first().copied());
                if told.takes(&who) {
                    let addresses = addresses.into_iter().collect();
                    sink.put(Event::Nearby(people.describe(who, addresses))).await?;
                }
            }
        }
    };
    timeout(patience, look).await.unwrap_or(Ok(()))
}

/// Who was told of.
#[derive(Default)]
struct Told {
    contacts: BTreeSet<PeerId>,
    others: BTreeSet<Who>,
}

impl Told {
    /// Whether somebody is to be told of now. No flood of others keeps a contact from it.
    fn takes(&mut self, who: &Who) -> bool {
        if let Who::Contact(peer) = who {
            return self.contacts.insert(*peer);
        }
        self.others.len() < MOST && self.others.insert(who.clone())
    }
}

/// Those who are known.
struct People {
    own: PeerId,
    contacts: BTreeMap<PeerId, String>,
}

impl People {
    fn of(reader: &Reader, own: PeerId) -> Result<Self, Failure> {
        let people = reader.people()?.into_iter();
        let contacts = people
            .filter(|person| person.standing != Standing::Removed)
            .map(|person| (person.peer, person.name));
        Ok(Self {
            own,
            contacts: contacts.collect(),
        })
    }

    /// Whoever shows the id of a contact, or ours, and has no token to go with it, is somebody else.
    fn judge(&self, who: Who, first: Option<std::net::SocketAddr>) -> Who {
        match (who, first) {
            (Who::Shown(Shown { peer, .. }), Some(first))
                if peer == self.own || self.contacts.contains_key(&peer) =>
            {
                Who::Unknown(first)
            }
            (who, _) => who,
        }
    }

    fn describe(&self, who: Who, addresses: Vec<std::net::SocketAddr>) -> Nearby {
        let (name, id, contact) = match who {
            Who::Contact(peer) => (self.contacts.get(&peer).cloned(), Some(peer), true),
            Who::Shown(Shown { peer, name }) => (Some(self.told_apart(name)), Some(peer), false),
            Who::Unknown(_) => (None, None, false),
        };
        Nearby {
            name,
            id,
            contact,
            addresses,
        }
    }

    /// Nobody passes for a contact by calling himself like one.
    fn told_apart(&self, name: String) -> String {
        let folded = name.to_lowercase();
        let is_taken = self
            .contacts
            .values()
            .any(|contact| contact.to_lowercase() == folded);
        if is_taken {
            format!("{name} {NEW_KEY}")
        } else {
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEN: PeerId = PeerId([2; 32]);
    const EVE: PeerId = PeerId([3; 32]);

    fn told(who: Who) -> (Option<String>, Option<PeerId>, bool) {
        let people = People {
            own: PeerId([1; 32]),
            contacts: [(BEN, "Ben".to_owned())].into(),
        };
        let address = ([10, 0, 0, 1], 1).into();
        let Nearby {
            name, id, contact, ..
        } = people.describe(people.judge(who, Some(address)), vec![address]);
        (name, id, contact)
    }

    fn shown(peer: PeerId, name: &str) -> Who {
        let name = name.to_owned();
        Who::Shown(Shown { peer, name })
    }

    #[test]
    fn only_a_token_makes_a_contact() {
        assert_eq!(told(Who::Contact(BEN)), (Some("Ben".into()), Some(BEN), true));
        assert_eq!(told(shown(BEN, "Ben")), (None, None, false));
        assert_eq!(told(shown(PeerId([1; 32]), "anna")), (None, None, false));
        assert_eq!(told(shown(EVE, "eve")), (Some("eve".into()), Some(EVE), false));
        assert_eq!(
            told(shown(EVE, "bEN")),
            (Some("bEN (new key)".into()), Some(EVE), false)
        );
    }

    #[test]
    fn a_flood_of_strangers_hides_no_contact() {
        let mut all = Told::default();
        let strangers = (0..u16::MAX).map(|port| Who::Unknown(([10, 0, 0, 9], port).into()));
        assert_eq!(strangers.filter(|who| all.takes(who)).count(), MOST);
        assert!(all.takes(&Who::Contact(BEN)));
        assert!(!all.takes(&Who::Contact(BEN)), "told already");
    }
}
