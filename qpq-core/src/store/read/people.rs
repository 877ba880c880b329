//! People, and what they are to the profile's owner.

use std::collections::BTreeMap;

use super::Reader;
use crate::{
    contact::{Asking, Person},
    id::PeerId,
    store::{
        StoreError, age, blob,
        contacts::{open_questions, standing_from_sql, trust_from_sql},
    },
};

/// What somebody is to the profile's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Either may write to the other.
    Contact,
    /// The user blocked them.
    Blocked,
    /// A new key under a known name, about which the user has not decided.
    Held,
    /// The user removed them; the history is left.
    Removed,
    /// They were asked to be a contact, and have not answered.
    Asked,
}

const PEOPLE: &str = "SELECT peer, name, claimed, trust, state, blocked, last_seen FROM contact
    ORDER BY name, peer";

impl Reader {
    /// Everybody who is or was a contact, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn people(&self) -> Result<Vec<Person>, StoreError> {
        let mut statement = self.connection.prepare_cached(PEOPLE)?;
        let people = statement.query_map([], |row| {
            Ok(Person {
                peer: PeerId(blob(row, 0)?),
                name: row.get(1)?,
                claimed: row.get(2)?,
                trust: trust_from_sql(row.get(3)?),
                standing: standing_from_sql(row.get(4)?),
                blocked: row.get(5)?,
                last_seen: row.get(6)?,
            })
        })?;
        Ok(people.collect::<rusqlite::Result<_>>()?)
    }

    /// Who asks to be a contact, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn asking(&self) -> Result<Vec<Asking>, StoreError> {
        let sql =
            "SELECT peer, name, claimed, stored_at FROM request WHERE NOT refused ORDER BY stored_at, peer";
        let mut statement = self.connection.prepare_cached(sql)?;
        let asking = statement.query_map([], |row| {
            Ok(Asking {
                peer: PeerId(blob(row, 0)?),
                name: row.get(1)?,
                claimed: row.get(2)?,
                stored_at: row.get(3)?,
            })
        })?;
        Ok(asking.collect::<rusqlite::Result<_>>()?)
    }

    /// Who was asked to be a contact and has not answered: id, and the name where it is known.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn asked(&self) -> Result<Vec<(PeerId, Option<String>)>, StoreError> {
        let sql = "SELECT peer, inviter FROM pending_join
                   WHERE (link IS NOT NULL OR inviter IS NOT NULL) AND expires_at > ?1 ORDER BY peer";
        let mut statement = self.connection.prepare_cached(sql)?;
        let asked = statement.query_map([self.last_look()?], |row| {
            Ok((PeerId(blob(row, 0)?), row.get(1)?))
        })?;
        Ok(asked.collect::<rusqlite::Result<_>>()?)
    }

    /// The profile time when its owner's process last counted it: by it requests are over.
    fn last_look(&self) -> Result<i64, StoreError> {
        let lived = age::lived(&self.connection)?;
        let time = lived.and_then(|lived| lived.profile_time(lived.latest));
        Ok(time.unwrap_or(i64::MIN))
    }

    /// What everybody is to the profile's owner.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn relations(&self) -> Result<BTreeMap<PeerId, Relation>, StoreError> {
        let sql = "SELECT peer, 0, 0, 1 FROM pending_join
                     WHERE peer NOT IN (SELECT peer FROM contact) AND expires_at > ?1
                   UNION ALL SELECT peer, state, blocked, 0 FROM contact";
        let mut statement = self.connection.prepare_cached(sql)?;
        let relations = statement.query_map([self.last_look()?], |row| {
            let (state, blocked, asked): (i64, bool, bool) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let relation = match (asked, blocked, state) {
                (true, _, _) => Relation::Asked,
                (false, true, _) => Relation::Blocked,
                (false, false, 1) => Relation::Held,
                (false, false, 2) => Relation::Removed,
                (false, false, _) => Relation::Contact,
            };
            Ok((PeerId(blob(row, 0)?), relation))
        })?;
        let mut relations: BTreeMap<PeerId, Relation> = relations.collect::<rusqlite::Result<_>>()?;
        let questions = open_questions(&self.connection)?;
        for person in self.people()? {
            // What is for them waits for the same answer.
            if relations.get(&person.peer) == Some(&Relation::Contact)
                && questions.contains(&person.name.to_lowercase())
            {
                relations.insert(person.peer, Relation::Held);
            }
        }
        Ok(relations)
    }
}
