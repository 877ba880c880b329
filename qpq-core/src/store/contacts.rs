//! Contacts, and the profile's own facts.

use rusqlite::{Connection, Row};

use super::{Store, StoreError, blob, from_sql, read::FindError, to_sql};
use crate::{
    card::{Card, LanKey, UnverifiedCard},
    contact::{Standing, Trust, is_marked},
    id::PeerId,
};

/// A person as the engine needs them.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
    pub(crate) claimed: String,
    pub(crate) trust: Trust,
    pub(crate) standing: Standing,
    pub(crate) blocked: bool,
    pub(crate) lan_key: LanKey,
    pub(crate) card_version: u64,
    /// The version of our own card that they said they have.
    pub(crate) card_seen: u64,
}

impl Contact {
    /// Whether no link to them may stand.
    pub(crate) fn is_barred(&self) -> bool {
        self.blocked || self.standing == Standing::Held
    }

    /// Whether they may be talked with.
    pub(crate) fn is_live(&self) -> bool {
        self.standing == Standing::Known && !self.blocked
    }
}

/// A contact about to be stored.
pub(crate) struct NewContact<'a> {
    pub(crate) name: &'a str,
    pub(crate) claimed: &'a str,
    pub(crate) trust: Trust,
    pub(crate) standing: Standing,
    pub(crate) card: &'a Card,
    pub(crate) signed: &'a UnverifiedCard,
}

const COLUMNS: &str =
    "SELECT peer, name, claimed, trust, state, blocked, lan_key, card_version, card_seen FROM contact";

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

    /// The version of our own cards.
    pub(crate) fn own_card_version(&self) -> Result<u64, StoreError> {
        let sql = "SELECT CAST(CAST(value AS TEXT) AS INTEGER) FROM meta WHERE key = 'card_version'";
        self.one(sql, [], |row| row.get(0).map(from_sql))?
            .ok_or(StoreError::Corrupt("card version"))
    }

    /// Draws a line under who could recognise us: a new key for our mDNS token, to be told by new cards.
    pub(crate) fn replace_lan_key(&self, key: &LanKey) -> Result<(), StoreError> {
        self.write(
            "lan_key.replace",
            "UPDATE meta SET value = ?1 WHERE key = 'lan_key'",
            [key.0],
        )?;
        self.write(
            "card.version",
            "UPDATE meta SET value = CAST(CAST(CAST(value AS TEXT) AS INTEGER) + 1 AS BLOB) WHERE key = 'card_version'",
            [],
        )?;
        Ok(())
    }

    /// Everybody who is or was a contact.
    pub(crate) fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        self.all(&format!("{COLUMNS} ORDER BY peer"), [], read_contact)
    }

    /// Whoever has this id and is, or was, a contact.
    pub(crate) fn contact(&self, peer: &PeerId) -> Result<Option<Contact>, StoreError> {
        self.one(&format!("{COLUMNS} WHERE peer = ?1"), [peer.0], read_contact)
    }

    /// The one who is called so, by people's way of comparing: without case.
    pub(crate) fn namesake(&self, name: &str) -> Result<Option<Contact>, StoreError> {
        let folded = name.to_lowercase();
        Ok(self
            .contacts()?
            .into_iter()
            .find(|contact| contact.standing != Standing::Removed && contact.name.to_lowercase() == folded))
    }

    /// Whether a name means somebody already: a contact or the user.
    pub(crate) fn name_taken(&self, name: &str) -> Result<bool, StoreError> {
        let own = self.own_name()?.to_lowercase();
        Ok(own == name.to_lowercase() || self.namesake(name)?.is_some())
    }

    /// See [`open_questions`].
    pub(crate) fn open_questions(&self) -> Result<Vec<String>, StoreError> {
        open_questions(&self.connection)
    }

    /// See [`super::read::Reader::find_chat`].
    pub(crate) fn find_chat(&self, wanted: &str) -> Result<super::read::Chat, FindError> {
        super::read::find_chat(&self.connection, wanted)
    }

    /// Adds a contact, or takes one back that was removed.
    pub(crate) fn add_contact(&self, new: &NewContact<'_>, unix_ms: i64) -> Result<(), StoreError> {
        self.write(
            "contact.add",
            "INSERT INTO contact(peer, name, claimed, trust, state, endpoint, lan_key, card_version, card,
                                 card_signature, added_at)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT(peer) DO UPDATE SET name = excluded.name, claimed = excluded.claimed,
               trust = excluded.trust, state = excluded.state, blocked = 0, endpoint = excluded.endpoint,
               lan_key = excluded.lan_key, card_version = excluded.card_version, card = excluded.card,
               card_signature = excluded.card_signature, card_seen = 0, added_at = excluded.added_at",
            (
                new.card.member.0,
                new.name,
                new.claimed,
                trust_to_sql(new.trust),
                standing_to_sql(new.standing),
                new.card.endpoint.0,
                new.card.lan_key.0,
                to_sql(new.card.version)?,
                &new.signed.body,
                new.signed.signature,
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

    /// Whether they have any card of ours is not known any more.
    pub(crate) fn forget_card_seen(&self, peer: &PeerId) -> Result<(), StoreError> {
        self.write(
            "contact.card_unseen",
            "UPDATE contact SET card_seen = 0 WHERE peer = ?1",
            [peer.0],
        )?;
        Ok(())
    }

    /// They have this version of our card.
    pub(crate) fn set_card_seen(&self, peer: &PeerId, version: u64) -> Result<(), StoreError> {
        self.write(
            "contact.card_seen",
            "UPDATE contact SET card_seen = ?2 WHERE peer = ?1 AND card_seen < ?2",
            (peer.0, to_sql(version)?),
        )?;
        Ok(())
    }

    /// A link to them stands, or did until now.
    pub(crate) fn set_last_seen(&self, peer: &PeerId, unix_ms: i64) -> Result<(), StoreError> {
        self.write(
            "contact.last_seen",
            "UPDATE contact SET last_seen = ?2 WHERE peer = ?1",
            (peer.0, unix_ms),
        )?;
        Ok(())
    }

    /// They became a contact once more.
    pub(crate) fn set_met(&self, peer: &PeerId, unix_ms: i64) -> Result<(), StoreError> {
        self.write(
            "contact.met",
            "UPDATE contact SET added_at = ?2 WHERE peer = ?1",
            (peer.0, unix_ms),
        )?;
        Ok(())
    }

    pub(crate) fn set_name(&self, peer: &PeerId, name: &str) -> Result<(), StoreError> {
        self.write(
            "contact.name",
            "UPDATE contact SET name = ?2 WHERE peer = ?1",
            (peer.0, name),
        )?;
        Ok(())
    }

    /// Their key is believed this far; what is better stays.
    pub(crate) fn raise_trust(&self, peer: &PeerId, trust: Trust) -> Result<(), StoreError> {
        self.write(
            "contact.trust",
            "UPDATE contact SET trust = max(trust, ?2) WHERE peer = ?1",
            (peer.0, trust_to_sql(trust)),
        )?;
        Ok(())
    }

    pub(crate) fn set_standing(&self, peer: &PeerId, standing: Standing) -> Result<(), StoreError> {
        self.write(
            "contact.standing",
            "UPDATE contact SET state = ?2 WHERE peer = ?1",
            (peer.0, standing_to_sql(standing)),
        )?;
        Ok(())
    }

    pub(crate) fn set_blocked(&self, peer: &PeerId, blocked: bool) -> Result<(), StoreError> {
        self.write(
            "contact.blocked",
            "UPDATE contact SET blocked = ?2 WHERE peer = ?1",
            (peer.0, blocked),
        )?;
        Ok(())
    }

    /// Forgets that a person ever was a contact. Nothing may refer to them any more.
    pub(crate) fn delete_contact(&self, peer: &PeerId) -> Result<(), StoreError> {
        self.write("contact.delete", "DELETE FROM contact WHERE peer = ?1", [peer.0])?;
        Ok(())
    }
}

fn read_contact(row: &Row<'_>) -> rusqlite::Result<Contact> {
    Ok(Contact {
        peer: PeerId(blob(row, 0)?),
        name: row.get(1)?,
        claimed: row.get(2)?,
        trust: trust_from_sql(row.get(3)?),
        standing: standing_from_sql(row.get(4)?),
        blocked: row.get(5)?,
        lan_key: LanKey(blob(row, 6)?),
        card_version: from_sql(row.get(7)?),
        card_seen: from_sql(row.get(8)?),
    })
}

fn trust_to_sql(trust: Trust) -> i64 {
    match trust {
        Trust::Link => 0,
        Trust::Code => 1,
        Trust::Number => 2,
    }
}

pub(super) fn trust_from_sql(trust: i64) -> Trust {
    match trust {
        1 => Trust::Code,
        2 => Trust::Number,
        _ => Trust::Link,
    }
}

fn standing_to_sql(standing: Standing) -> i64 {
    match standing {
        Standing::Known => 0,
        Standing::Held => 1,
        Standing::Removed => 2,
    }
}

/// The names, in lower case, that somebody with another key claims and about whom the user has not decided: what is
/// for a contact of such a name waits. For the engine and for screens.
pub(super) fn open_questions(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT claimed, name, 1 FROM contact WHERE state = 1 AND NOT blocked
               UNION ALL SELECT claimed, name, 0 FROM request WHERE NOT refused";
    let mut names = Vec::new();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (claimed, name, held): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if held || is_marked(&name, &claimed) {
            names.push(claimed.to_lowercase());
        }
    }
    Ok(names)
}

/// What is no contact for sure is nobody to talk with.
pub(super) fn standing_from_sql(standing: i64) -> Standing {
    match standing {
        0 => Standing::Known,
        1 => Standing::Held,
        _ => Standing::Removed,
    }
}
