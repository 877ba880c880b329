//! What is known at one moment about everybody a message may be for, and the one rule that makes a reason of it.

use std::collections::BTreeMap;

use qpq_core::{
    delivery::Delivery,
    id::{MessageId, PeerId},
    store::read::{Chat, Reader, Relation},
};

use crate::{
    event::{DeliveryState, Event, Reason, Recipient},
    failure::Failure,
    node::ways::{LastTry, Way, Ways},
};

/// A picture of the moment; taken anew for each answer.
#[derive(Debug)]
pub(crate) struct Moment {
    relations: BTreeMap<PeerId, Relation>,
    /// `None`: no node runs here.
    ways: Option<Ways>,
}

impl Moment {
    pub(super) fn new(reader: &Reader, ways: Option<Ways>) -> Result<Self, Failure> {
        let relations = reader.relations()?;
        Ok(Self { relations, ways })
    }

    pub(super) fn is_running(&self) -> bool {
        self.ways.is_some()
    }

    /// The way to somebody, as far as there is a link.
    pub(super) fn way(&self, peer: &PeerId) -> Option<&Way> {
        self.ways.as_ref()?.peers.get(peer)
    }

    /// Why somebody does not have a message of this chat yet.
    pub(super) fn why(&self, chat: i64, peer: &PeerId) -> Reason {
        let is_rolled_back = self
            .ways
            .as_ref()
            .is_some_and(|ways| ways.rolled_back.contains(&chat));
        if is_rolled_back {
            return Reason::OlderCopy;
        }
        let relation = self.relations.get(peer).copied();
        let way = self.ways.as_ref().map(|_| self.way(peer).copied());
        reason(relation, way.map(Option::unwrap_or_default))
    }

    /// How far a message got, with the reasons where it did not get further.
    pub(super) fn sent(&self, reader: &Reader, chat: &Chat, id: MessageId) -> Result<Event, Failure> {
        let recipients = reader.recipients(&id)?;
        // What was deleted with the history is not sent any more.
        let otherwise = match recipients {
            Some(_) => DeliveryState::Here,
            None => DeliveryState::Failed,
        };
        let recipients = recipients.unwrap_or_default().into_iter().map(|recipient| {
            let state = DeliveryState::from(recipient.state);
            let reason = match recipient.state {
                Delivery::Here | Delivery::OnRelay => Some(self.why(chat.id, &recipient.peer)),
                Delivery::Expired => Some(Reason::TooOld),
                Delivery::Failed(_) => Some(Reason::Removed),
                Delivery::Delivered | Delivery::Read | _ => None,
            };
            Recipient {
                name: recipient.name,
                id: recipient.peer,
                state,
                reason: reason.map(|reason| reason.to_string()),
                reason_code: reason,
            }
        });
        let recipients: Vec<_> = recipients.collect();
        let least = recipients
            .iter()
            .map(|recipient| recipient.state)
            .min_by_key(|state| state.progress());
        Ok(Event::Sent {
            id,
            chat: chat.name.clone(),
            state: least.unwrap_or(otherwise),
            recipients,
        })
    }
}

/// A chat of two is named by the other one.
pub(super) fn name_of(chat: &Chat, peer: &PeerId) -> String {
    if chat.members.len() == 1 {
        chat.name.clone()
    } else {
        peer.short()
    }
}

/// The most telling of what keeps a message: first what the user decided, then what the network says.
fn reason(relation: Option<Relation>, way: Option<Way>) -> Reason {
    match relation {
        Some(Relation::Blocked) => return Reason::Blocked,
        Some(Relation::Held) => return Reason::NewKey,
        Some(Relation::Removed) => return Reason::Removed,
        Some(Relation::Asked) => return Reason::NotAccepted,
        Some(Relation::Contact) | None => {}
    }
    let Some(way) = way else {
        return Reason::NotRunning;
    };
    if way.link.is_some() {
        return Reason::NotConfirmed;
    }
    match (way.last_try, way.seen) {
        (LastTry::Closed, _) => Reason::Closes,
        (LastTry::Older, _) => Reason::OlderQpq,
        (LastTry::Newer, _) => Reason::NewerQpq,
        (_, false) => Reason::Away,
        (LastTry::NoAnswer, true) => Reason::NoAnswer,
        (LastTry::Open, true) => Reason::Connecting,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::ways::{LinkWay, PathKind};

    #[test]
    fn the_most_telling_reason_is_given() {
        let link = Some(LinkWay {
            path: PathKind::Lan,
            rtt: Duration::from_millis(1),
        });
        let way = |seen, last_try| {
            Some(Way {
                link: None,
                seen,
                last_try,
            })
        };
        let linked = Some(Way {
            link,
            seen: true,
            last_try: LastTry::Closed,
        });
        let contact = Some(Relation::Contact);
        for (relation, way, expected) in [
            (Some(Relation::Blocked), linked, Reason::Blocked),
            (Some(Relation::Held), None, Reason::NewKey),
            (Some(Relation::Removed), None, Reason::Removed),
            (
                Some(Relation::Asked),
                way(true, LastTry::NoAnswer),
                Reason::NotAccepted,
            ),
            (contact, linked, Reason::NotConfirmed),
            (contact, way(true, LastTry::Closed), Reason::Closes),
            (contact, way(false, LastTry::Closed), Reason::Closes),
            (contact, way(true, LastTry::Older), Reason::OlderQpq),
            (contact, way(true, LastTry::Newer), Reason::NewerQpq),
            (contact, way(true, LastTry::NoAnswer), Reason::NoAnswer),
            (contact, way(true, LastTry::Open), Reason::Connecting),
            (contact, way(false, LastTry::NoAnswer), Reason::Away),
            (contact, way(false, LastTry::Open), Reason::Away),
            (contact, None, Reason::NotRunning),
        ] {
            assert_eq!(reason(relation, way), expected, "{relation:?} {way:?}");
        }
    }

    #[test]
    fn an_older_copy_of_a_profile_says_so_before_anything_else() {
        let ben = PeerId([2; 32]);
        let moment = Moment {
            relations: [(ben, Relation::Blocked)].into(),
            ways: Some(Ways {
                rolled_back: [7].into(),
                ..Ways::default()
            }),
        };
        assert_eq!(moment.why(7, &ben), Reason::OlderCopy);
        assert_eq!(moment.why(8, &ben), Reason::Blocked);
        assert_eq!(moment.why(8, &PeerId([3; 32])), Reason::Away);
    }
}
