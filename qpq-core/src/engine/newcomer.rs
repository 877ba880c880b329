//! Under which name somebody new is stored, by code and by link.
//!
//! Somebody new under the name of a contact is *held*: stored, with the group that a pairing made, but not let in,
//! and nothing is shown or sent until the user says who it is. Messages to the contact wait for that word, too.

use super::{Engine, HandleError};
use crate::{
    card::{Card, UnverifiedCard},
    contact::{NEW_KEY, Standing, Trust},
    id::PeerId,
    name,
    store::{NewContact, StoreError},
    time::Now,
};

/// What a newcomer is called.
pub(super) struct Called {
    /// As shown.
    pub(super) name: String,
    /// As they call themselves.
    pub(super) claimed: String,
    /// For that is the name of a contact.
    pub(super) held: bool,
}

impl Engine {
    /// Stores a newcomer under the name it gave, or holds it where that name is a contact's. Who is a contact
    /// already keeps the name, and is believed as far as the better of both meetings.
    pub(super) fn meet(
        &self,
        card: &Card,
        signed: &UnverifiedCard,
        wanted: &str,
        trust: Trust,
        now: Now,
    ) -> Result<Called, HandleError> {
        let known = self.store.contact(&card.member)?;
        if let Some(known) = known.filter(|known| known.standing != Standing::Removed) {
            // The newest there is, whatever its number: a lost database counts from 1 again.
            self.store.update_card(card, signed)?;
            self.store.forget_card_seen(&card.member)?;
            self.store.raise_trust(&card.member, trust)?;
            self.store.set_met(&card.member, now.unix_ms)?;
            return Ok(Called {
                name: known.name,
                claimed: known.claimed,
                held: known.standing == Standing::Held,
            });
        }
        let called = self.name_newcomer(&card.member, wanted)?;
        let new = NewContact {
            name: &called.name,
            claimed: &called.claimed,
            trust,
            standing: if called.held {
                Standing::Held
            } else {
                Standing::Known
            },
            card,
            signed,
        };
        self.store.add_contact(&new, now.unix_ms)?;
        Ok(called)
    }

    /// The name for somebody new: the one they give, with a mark where it is somebody's already.
    pub(super) fn name_newcomer(&self, peer: &PeerId, wanted: &str) -> Result<Called, StoreError> {
        let claimed = name::validate(wanted).unwrap_or_else(|_| peer.short());
        let held = self.store.namesake(&claimed)?.is_some();
        let name = match held {
            true => self.free_name(&claimed, NEW_KEY)?,
            // The user's own name is nobody's to impersonate: two people may have it.
            false if self.store.name_taken(&claimed)? => self.free_name(&claimed, &peer.short())?,
            false => claimed.clone(),
        };
        Ok(Called { name, claimed, held })
    }

    /// A name nobody has: with a mark, and a number where that is taken, too.
    fn free_name(&self, wanted: &str, mark: &str) -> Result<String, StoreError> {
        let mut name = format!("{} {mark}", truncated(wanted, 40));
        let mut namesakes: u64 = 1;
        while self.store.name_taken(&name)? {
            namesakes = namesakes.saturating_add(1);
            name = format!("{} {mark} {namesakes}", truncated(wanted, 24));
        }
        Ok(name)
    }
}

/// The longest prefix of whole characters within so many bytes.
fn truncated(text: &str, bytes: usize) -> &str {
    let end = text
        .char_indices()
        .map(|(at, c)| at.saturating_add(c.len_utf8()))
        .take_while(|end| *end <= bytes)
        .last();
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}
