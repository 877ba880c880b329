//! Address cards between contacts: ours rides until it was heard to have come, theirs is kept when it is newer.

use super::{Engine, HandleError, SessionId};
use crate::{
    card::{Card, UnverifiedCard},
    id::PeerId,
    wire::{CardUpdate, Frame},
};

impl Engine {
    /// Our card for one contact.
    pub(super) fn own_card(&self, audience: &PeerId) -> Result<UnverifiedCard, HandleError> {
        let own = self.identity.peer_id();
        let lan_key = self.store.own_lan_key()?;
        let card = Card {
            member: own,
            audience: *audience,
            version: self.store.own_card_version()?,
            endpoint: own,
            lan_key,
        };
        Ok(card.sign(&self.identity))
    }

    /// Our card, to a contact that was not yet heard to have this version.
    pub(super) fn send_card(&mut self, id: SessionId, peer: &PeerId) -> Result<(), HandleError> {
        let Some(contact) = self.store.contact(peer)? else {
            return Ok(());
        };
        let answer = self.store.accepted_join(peer)?;
        let in_answer = answer.and_then(|join| self.card_version_in(peer, &join.done));
        if contact.card_seen.max(in_answer.unwrap_or(0)) < self.store.own_card_version()? {
            let update = CardUpdate {
                card: Some(self.own_card(peer)?),
                seen: contact.card_version,
            };
            self.post(id, &Frame::Card(update));
        }
        Ok(())
    }

    /// They answered one of our frames, and so they have the card in it.
    pub(super) fn note_card_seen(&self, peer: &PeerId, frame: &[u8]) -> Result<(), HandleError> {
        match self.card_version_in(peer, frame) {
            Some(version) => Ok(self.store.set_card_seen(peer, version)?),
            None => Ok(()),
        }
    }

    /// The version of our card in a request or an answer of ours.
    fn card_version_in(&self, peer: &PeerId, frame: &[u8]) -> Option<u64> {
        let frame = Frame::decode(frame).ok()?;
        let card = if let Frame::ContactRequest(request) = frame {
            request.card
        } else if let Frame::ContactAccept(accept) = frame {
            accept.card
        } else {
            return None;
        };
        let card = card.verify(&self.identity.peer_id(), peer).ok()?;
        Some(card.version)
    }

    /// A contact says how it is reached now, and which card of ours it has.
    pub(super) fn card(&mut self, id: SessionId, update: &CardUpdate) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        let own_version = self.store.own_card_version()?;
        if update.seen > own_version {
            // It knows more than this database: an older copy. Nothing is lost by sending the card again.
            tracing::info!("a contact has a newer card of ours than we made");
        }
        self.store.set_card_seen(&peer, update.seen.min(own_version))?;
        let Some(signed) = &update.card else {
            return Ok(());
        };
        let card = signed.verify(&peer, &self.identity.peer_id())?;
        let known = self.store.contact(&peer)?.ok_or(HandleError::Rights)?;
        if card.version > known.card_version {
            self.store.update_card(&card, signed)?;
            self.publish_directory()?;
        }
        let seen = card.version.max(known.card_version);
        self.post(id, &Frame::Card(CardUpdate { card: None, seen }));
        Ok(())
    }
}
