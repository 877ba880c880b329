//! Joins under way: our own requests until they are answered, our answers until they are confirmed, and requests
//! by link until the user has decided.

use rusqlite::Row;
use sha2::{Digest, Sha256};

use super::{Store, StoreError, blob};
use crate::{contact::is_marked, id::PeerId};

/// An accepted ContactRequest whose sender has not confirmed our answer.
#[derive(Debug)]
pub(crate) struct AcceptedJoin {
    /// SHA-256 of the request's frame.
    request: [u8; 32],
    /// The ContactAccept frame.
    pub(crate) done: Vec<u8>,
    /// It came by a link; otherwise by a spoken code.
    pub(crate) by_link: bool,
}

/// Our own request to be a contact.
#[derive(Debug)]
pub(crate) struct PendingJoin {
    /// The ContactRequest frame.
    pub(crate) request: Vec<u8>,
    /// By a link; otherwise by a spoken code.
    pub(crate) by_link: bool,
    /// The inviter's name, once it has the request on its disk.
    pub(crate) inviter: Option<String>,
}

/// A request by link that waits for the user.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) peer: PeerId,
    /// As shown.
    pub(crate) name: String,
    /// As they call themselves.
    pub(crate) claimed: String,
    /// The ContactRequest frame.
    pub(crate) frame: Vec<u8>,
    /// The user said no, and they were not told yet.
    pub(crate) refused: bool,
}

impl Request {
    /// Whether it is shown under a mark, for it claims the name of a contact.
    pub(crate) fn is_marked(&self) -> bool {
        is_marked(&self.name, &self.claimed)
    }
}

impl AcceptedJoin {
    /// Whether this is the answer to a request, by its frame.
    pub(crate) fn answers(&self, request: &[u8]) -> bool {
        self.request == hash(request)
    }
}

fn hash(request: &[u8]) -> [u8; 32] {
    Sha256::digest(request).into()
}

/// The columns that [`read_request`] reads.
const REQUEST: &str = "SELECT peer, name, frame, refused, claimed FROM request";

fn read_request(row: &Row<'_>) -> rusqlite::Result<Request> {
    Ok(Request {
        peer: PeerId(blob(row, 0)?),
        name: row.get(1)?,
        frame: row.get(2)?,
        refused: row.get(3)?,
        claimed: row.get(4)?,
    })
}

impl Store {
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

    /// Our own request to a peer, where one is under way that did not expire by then.
    pub(crate) fn pending_join(&self, peer: &PeerId, gone: i64) -> Result<Option<PendingJoin>, StoreError> {
        let sql =
            "SELECT request, link IS NOT NULL, inviter FROM pending_join WHERE peer = ?1 AND expires_at > ?2";
        self.one(sql, (peer.0, gone), |row| {
            Ok(PendingJoin {
                request: row.get(0)?,
                by_link: row.get(1)?,
                inviter: row.get(2)?,
            })
        })
    }

    /// Peers we asked to be contacts with, and the request to repeat: those that did not expire by then.
    pub(crate) fn pending_joins(&self, gone: i64) -> Result<Vec<(PeerId, Vec<u8>)>, StoreError> {
        let sql = "SELECT peer, request FROM pending_join WHERE expires_at > ?1";
        self.all(sql, [gone], |row| Ok((PeerId(blob(row, 0)?), row.get(1)?)))
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
    pub(crate) fn expired_joins(&self, time: i64) -> Result<Vec<PeerId>, StoreError> {
        let sql = "SELECT peer FROM pending_join WHERE expires_at <= ?1";
        self.all(sql, [time], |row| blob(row, 0).map(PeerId))
    }

    /// Whether a request of ours is over by one of two times and not by the other.
    pub(crate) fn is_join_expiry_between(&self, one: i64, other: i64) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM pending_join WHERE (expires_at > ?1) <> (expires_at > ?2))";
        let between = self.one(sql, (one, other), |row| row.get(0))?;
        Ok(between.unwrap_or(false))
    }

    /// Keeps the answer to a joiner until the joiner's first Head.
    pub(crate) fn put_accepted_join(
        &self,
        peer: &PeerId,
        request: &[u8],
        done: &[u8],
        by_link: bool,
    ) -> Result<(), StoreError> {
        self.write(
            "accepted_join.put",
            "INSERT OR REPLACE INTO accepted_join(peer, request_hash, done, by_link) VALUES(?1, ?2, ?3, ?4)",
            (peer.0, hash(request), done, by_link),
        )?;
        Ok(())
    }

    /// What an invite of ours led to and the joiner has not confirmed.
    pub(crate) fn accepted_join(&self, peer: &PeerId) -> Result<Option<AcceptedJoin>, StoreError> {
        self.one(
            "SELECT request_hash, done, by_link FROM accepted_join WHERE peer = ?1",
            [peer.0],
            |row| {
                Ok(AcceptedJoin {
                    request: blob(row, 0)?,
                    done: row.get(1)?,
                    by_link: row.get(2)?,
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

    /// Requests by link, oldest first.
    pub(crate) fn requests(&self) -> Result<Vec<Request>, StoreError> {
        self.all(&format!("{REQUEST} ORDER BY stored_at, peer"), [], read_request)
    }

    /// The request of one person.
    pub(crate) fn request(&self, peer: &PeerId) -> Result<Option<Request>, StoreError> {
        self.one(&format!("{REQUEST} WHERE peer = ?1"), [peer.0], read_request)
    }

    pub(crate) fn rename_request(&self, peer: &PeerId, name: &str) -> Result<(), StoreError> {
        self.write(
            "request.name",
            "UPDATE request SET name = ?2 WHERE peer = ?1",
            (peer.0, name),
        )?;
        Ok(())
    }

    /// The user said no: kept until they were told.
    pub(crate) fn refuse_request(&self, peer: &PeerId) -> Result<(), StoreError> {
        self.write(
            "request.refuse",
            "UPDATE request SET refused = 1 WHERE peer = ?1",
            [peer.0],
        )?;
        Ok(())
    }

    pub(crate) fn delete_request(&self, peer: &PeerId) -> Result<(), StoreError> {
        self.write("request.delete", "DELETE FROM request WHERE peer = ?1", [peer.0])?;
        Ok(())
    }
}
