//! Contacts, joins under way, and the profile's own facts.

use super::{Store, StoreError, blob, read::FindError, to_sql};
use crate::{
    card::{Card, LanKey, UnverifiedCard},
    id::PeerId,
};

/// A contact as the engine needs it.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
    pub(crate) lan_key: LanKey,
}

/// An accepted ContactRequest whose sender has not confirmed our answer.
#[derive(Debug)]
pub(crate) struct AcceptedJoin {
    /// SHA-256 of the request's frame.
    pub(crate) request: [u8; 32],
    /// The PairDone frame.
    pub(crate) done: Vec<u8>,
}

impl Store {
    pub(crate) fn own_name(&self) -> Result<String, StoreError> {
        let name = self.one("SELECT value FROM meta WHERE key = 'name'", [], |row| {
            row.get::<_, Vec<u8>>(0)
        })?;
        String::from_utf8(name.unwrap_or_default()).map_err(|_| StoreError::Corrupt("own name"))
    }

    pub(crate) fn own_lan_key(&self) -> Result<LanKey, StoreError> {
        self.one("SELECT value FROM meta WHERE key = 'lan_key'", [], |row| {
            blob(row, 0)
        })?
        .map(LanKey)
        .ok_or(StoreError::Corrupt("LAN key"))
    }

    pub(crate) fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        self.all(
            "SELECT peer, name, lan_key FROM contact ORDER BY peer",
            [],
            |row| {
                Ok(Contact {
                    peer: PeerId(blob(row, 0)?),
                    name: row.get(1)?,
                    lan_key: LanKey(blob(row, 2)?),
                })
            },
        )
    }

    pub(crate) fn contact(&self, peer: &PeerId) -> Result<Option<Contact>, StoreError> {
        self.one(
            "SELECT name, lan_key FROM contact WHERE peer = ?1",
            [peer.0],
            |row| {
                Ok(Contact {
                    peer: *peer,
                    name: row.get(0)?,
                    lan_key: LanKey(blob(row, 1)?),
                })
            },
        )
    }

    /// Whether a contact has this name, compared as people do: without case.
    pub(crate) fn name_taken(&self, name: &str) -> Result<bool, StoreError> {
        let folded = name.to_lowercase();
        let own = self.own_name()?.to_lowercase();
        Ok(own == folded
            || self
                .contacts()?
                .iter()
                .any(|contact| contact.name.to_lowercase() == folded))
    }

    /// See [`super::read::Reader::find_chat`].
    pub(crate) fn find_chat(&self, wanted: &str) -> Result<super::read::Chat, FindError> {
        super::read::find_chat(&self.connection, wanted)
    }

    /// Adds a contact whose key was verified by a code.
    pub(crate) fn add_contact(
        &self,
        name: &str,
        card: &Card,
        signed: &UnverifiedCard,
        unix_ms: i64,
    ) -> Result<(), StoreError> {
        self.write(
            "contact.add",
            "INSERT INTO contact(peer, name, trust, endpoint, lan_key, card_version, card, card_signature, added_at)
             VALUES(?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                card.member.0,
                name,
                card.endpoint.0,
                card.lan_key.0,
                to_sql(card.version)?,
                &signed.body,
                signed.signature,
                unix_ms,
            ),
        )?;
        Ok(())
    }

    /// Replaces what a contact's card said.
    pub(crate) fn update_card(&self, card: &Card, signed: &UnverifiedCard) -> Result<(), StoreError> {
        self.write(
            "contact.card",
            "UPDATE contact SET endpoint = ?2, lan_key = ?3, card_version = ?4, card = ?5, card_signature = ?6
             WHERE peer = ?1",
            (
                card.member.0,
                card.endpoint.0,
                card.lan_key.0,
                to_sql(card.version)?,
                &signed.body,
                signed.signature,
            ),
        )?;
        Ok(())
    }

    /// Remembers our ContactRequest to a peer, and which KeyPackage it carries.
    pub(crate) fn put_pending_join(
        &self,
        peer: &PeerId,
        request: &[u8],
        key_package: &[u8],
        expires_at: i64,
    ) -> Result<(), StoreError> {
        self.write(
            "pending_join.put",
            "INSERT INTO pending_join(peer, request, key_package, expires_at) VALUES(?1, ?2, ?3, ?4)",
            (peer.0, request, key_package, expires_at),
        )?;
        Ok(())
    }

    /// Peers we asked to be contacts with, and the request to repeat.
    pub(crate) fn pending_joins(&self) -> Result<Vec<(PeerId, Vec<u8>)>, StoreError> {
        self.all("SELECT peer, request FROM pending_join", [], |row| {
            Ok((PeerId(blob(row, 0)?), row.get(1)?))
        })
    }

    /// Forgets a request and returns the reference of its KeyPackage.
    pub(crate) fn end_pending_join(&self, peer: &PeerId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT key_package FROM pending_join WHERE peer = ?1";
        let key_package = self.one(sql, [peer.0], |row| row.get(0))?;
        self.write(
            "pending_join.end",
            "DELETE FROM pending_join WHERE peer = ?1",
            [peer.0],
        )?;
        Ok(key_package)
    }

    /// Peers whose answer is not waited for any longer.
    pub(crate) fn expired_joins(&self, unix_ms: i64) -> Result<Vec<PeerId>, StoreError> {
        let sql = "SELECT peer FROM pending_join WHERE expires_at <= ?1";
        self.all(sql, [unix_ms], |row| blob(row, 0).map(PeerId))
    }

    /// Keeps the answer to a joiner until the joiner's first Head.
    pub(crate) fn put_accepted_join(
        &self,
        peer: &PeerId,
        hash: &[u8; 32],
        done: &[u8],
    ) -> Result<(), StoreError> {
        self.write(
            "accepted_join.put",
            "INSERT OR REPLACE INTO accepted_join(peer, request_hash, done) VALUES(?1, ?2, ?3)",
            (peer.0, hash, done),
        )?;
        Ok(())
    }

    /// What an invite of ours led to and the joiner has not confirmed.
    pub(crate) fn accepted_join(&self, peer: &PeerId) -> Result<Option<AcceptedJoin>, StoreError> {
        self.one(
            "SELECT request_hash, done FROM accepted_join WHERE peer = ?1",
            [peer.0],
            |row| {
                Ok(AcceptedJoin {
                    request: blob(row, 0)?,
                    done: row.get(1)?,
                })
            },
        )
    }

    /// The joiner confirmed; `false` when it had done so before.
    pub(crate) fn end_accepted_join(&self, peer: &PeerId) -> Result<bool, StoreError> {
        let ended = self.write(
            "accepted_join.end",
            "DELETE FROM accepted_join WHERE peer = ?1",
            [peer.0],
        )?;
        Ok(ended > 0)
    }
}
