//! The signed address card: how to reach a member (`schemas/peer.capnp`, `SignedCard`).

use capnp::message::Builder;

use super::LanKey;
use crate::{
    id::PeerId,
    identity::{Context, Identity},
    peer_capnp::card as schema,
    wire::{self, FrameError, Signature},
};

/// What a card says, once its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whose card it is.
    pub member: PeerId,
    /// For whom it was made: a card for somebody else proves nothing.
    pub audience: PeerId,
    /// The higher one replaces the lower.
    pub version: u64,
    /// Where to dial. Equal to `member` in version 1, and nothing may rely on it.
    pub endpoint: PeerId,
    /// Recognises the owner's mDNS token.
    pub lan_key: LanKey,
}

/// A card as it came: bytes and a signature nobody checked.
#[derive(Clone, PartialEq, Eq)]
pub struct UnverifiedCard {
    /// One `Card` message in stream framing; the signature covers these bytes.
    pub body: Vec<u8>,
    /// By the identity of the member the card names.
    pub signature: Signature,
}

impl std::fmt::Debug for UnverifiedCard {
    /// Nothing of the body: it holds a LAN key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnverifiedCard(..)")
    }
}

/// Why a card was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The body is not a card.
    #[error(transparent)]
    Malformed(#[from] FrameError),
    /// It is of another member, or for another audience.
    #[error("the card is not from its sender or not for its reader")]
    Parties,
    /// The signature does not hold.
    #[error("the card's signature does not hold")]
    Signature,
}

impl Card {
    /// Signs the card for its audience.
    pub fn sign(&self, identity: &Identity) -> UnverifiedCard {
        let mut message = Builder::new_default();
        let mut to: schema::Builder<'_> = message.init_root();
        to.set_member(&self.member.0);
        to.set_audience(&self.audience.0);
        to.set_version(self.version);
        to.set_endpoint_id(&self.endpoint.0);
        to.set_lan_key(&self.lan_key.0);
        let body = capnp::serialize::write_message_to_words(&message);
        let signature = identity.sign(Context::Card, &[&body]);
        UnverifiedCard { body, signature }
    }
}

impl UnverifiedCard {
    /// Checks that `member` signed this card for `audience`.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn verify(&self, member: &PeerId, audience: &PeerId) -> Result<Card, CardError> {
        if member
            .verify(Context::Card, &[&self.body], &self.signature)
            .is_err()
        {
            return Err(CardError::Signature);
        }
        let message = wire::open(&self.body)?;
        let from: schema::Reader<'_> = message.get_root().map_err(FrameError::from)?;
        let id = |bytes: capnp::Result<&[u8]>| wire::fixed(bytes?, "card").map(PeerId);
        let card = Card {
            member: id(from.get_member())?,
            audience: id(from.get_audience())?,
            version: from.get_version(),
            endpoint: id(from.get_endpoint_id())?,
            lan_key: LanKey(wire::fixed(
                from.get_lan_key().map_err(FrameError::from)?,
                "lanKey",
            )?),
        };
        if card.member != *member || card.audience != *audience || i64::try_from(card.version).is_err() {
            return Err(CardError::Parties);
        }
        Ok(card)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )]

    use super::*;
    use crate::secret::Secret;

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(&Secret::new([seed; 32]))
    }

    fn card(member: &Identity, audience: &Identity) -> Card {
        let (member, audience) = (member.peer_id(), audience.peer_id());
        Card {
            member,
            audience,
            version: 3,
            endpoint: member,
            lan_key: LanKey([9; 32]),
        }
    }

    #[test]
    fn a_card_is_read_back_by_its_audience() {
        let (anna, ben) = (identity(1), identity(2));
        let card = card(&anna, &ben);
        assert_eq!(
            card.sign(&anna).verify(&anna.peer_id(), &ben.peer_id()).unwrap(),
            card
        );
    }

    #[test]
    fn a_card_of_or_for_somebody_else_is_refused() {
        let (anna, ben, carla) = (identity(1), identity(2), identity(3));
        let signed = card(&anna, &ben).sign(&anna);
        let verify =
            |member: &Identity, audience: &Identity| signed.verify(&member.peer_id(), &audience.peer_id());
        assert!(matches!(verify(&carla, &ben), Err(CardError::Signature)));
        assert!(matches!(verify(&anna, &carla), Err(CardError::Parties)));
        // Carla signs a card that says "Anna".
        let forged = card(&anna, &ben).sign(&carla);
        assert!(matches!(
            forged.verify(&anna.peer_id(), &ben.peer_id()),
            Err(CardError::Signature)
        ));
        assert!(matches!(
            forged.verify(&carla.peer_id(), &ben.peer_id()),
            Err(CardError::Parties)
        ));
    }

    #[test]
    fn every_flipped_byte_and_a_version_over_sqlites_is_refused() {
        let (anna, ben) = (identity(1), identity(2));
        let signed = card(&anna, &ben).sign(&anna);
        for at in 0..signed.body.len() {
            let mut flipped = signed.clone();
            flipped.body[at] ^= 1;
            assert!(
                flipped.verify(&anna.peer_id(), &ben.peer_id()).is_err(),
                "byte {at}"
            );
        }
        let huge = Card {
            version: u64::MAX,
            ..card(&anna, &ben)
        };
        assert!(huge.sign(&anna).verify(&anna.peer_id(), &ben.peer_id()).is_err());
    }
}
