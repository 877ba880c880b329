//! Invites by link: our own, the requests that came by them, and the requests of ours that wait.

use super::{Store, StoreError, blob};
use crate::{
    id::{LinkId, PeerId},
    invite::LinkKeys,
    secret::Secret,
};

/// Links that are kept, whatever became of them.
const KEPT: i64 = 64;

/// A link of our own.
#[derive(Debug)]
pub(crate) struct LinkRow {
    pub(crate) id: LinkId,
    secret: Secret<16>,
    /// Profile time (engine/expiry.rs).
    expires_at: i64,
    /// Unix milliseconds by the clock that people see; `None`: a version before made it. `meta` keeps it.
    printed: Option<i64>,
    pub(crate) used_by: Option<PeerId>,
    cancelled: bool,
}

/// What a link is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Open,
    Used,
    Cancelled,
    Expired,
}

/// Our request to somebody whose link we have.
#[derive(Debug)]
pub(crate) struct PendingLink {
    pub(crate) peer: PeerId,
    /// The frame, with a proof that holds for ever.
    pub(crate) request: Vec<u8>,
    pub(crate) secret: Secret<16>,
    /// Their name, once they have the request.
    pub(crate) inviter: Option<String>,
}

/// Somebody's request, before it is kept for the user.
#[derive(Debug)]
pub(crate) struct NewRequest<'a> {
    pub(crate) peer: &'a PeerId,
    /// As shown: marked where a contact has it.
    pub(crate) name: &'a str,
    /// Valid by `name::validate`.
    pub(crate) claimed: &'a str,
    /// The ContactRequest, as it came.
    pub(crate) frame: &'a [u8],
    /// Which invite led to it.
    pub(crate) link: &'a LinkId,
}

/// Those that expired after ?1, or whose request waits for the user's word.
const LINK: &str = "SELECT link_id, secret, expires_at, used_by, cancelled,
      (SELECT CAST(CAST(value AS TEXT) AS INTEGER) FROM meta WHERE key = 'printed_' || hex(link_id)) FROM link
    WHERE (expires_at > ?1 OR EXISTS(SELECT 1 FROM request WHERE request.link = link_id AND NOT refused))";

impl LinkRow {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: LinkId(blob(row, 0)?),
            secret: Secret::new(blob(row, 1)?),
            expires_at: row.get(2)?,
            used_by: row.get::<_, Option<[u8; 32]>>(3)?.map(PeerId),
            cancelled: row.get(4)?,
            printed: row.get(5)?,
        })
    }

    pub(crate) fn keys(&self) -> LinkKeys {
        LinkKeys::derive(&self.secret)
    }

    /// Its time is over when it is by one clock or the other: the age of the profile counts long pauses in part only,
    /// and the clock that people see may be wrong.
    pub(crate) fn state(&self, time: i64, unix_ms: i64) -> LinkState {
        if self.used_by.is_some() {
            LinkState::Used
        } else if self.cancelled {
            LinkState::Cancelled
        } else if self.expires_at <= time || self.printed.is_some_and(|printed| printed <= unix_ms) {
            LinkState::Expired
        } else {
            LinkState::Open
        }
    }
}

impl Store {
    /// Stores a new link of our own.
    pub(crate) fn put_link(
        &self,
        id: &LinkId,
        secret: &Secret<16>,
        created_at: i64,
        expires_at: i64,
        printed: i64,
    ) -> Result<(), StoreError> {
        self.write(
            "link.printed",
            "INSERT INTO meta VALUES('printed_' || hex(?1), CAST(CAST(?2 AS TEXT) AS BLOB))",
            (id.0, printed),
        )?;
        self.write(
            "link.put",
            "INSERT INTO link(link_id, secret, created_at, expires_at) VALUES(?1, ?2, ?3, ?4)",
            (id.0, secret.expose(), created_at, expires_at),
        )?;
        Ok(())
    }

    pub(crate) fn link(&self, id: &LinkId, gone: i64) -> Result<Option<LinkRow>, StoreError> {
        let sql = format!("{LINK} AND link_id = ?2");
        self.one(&sql, (gone, id.0), LinkRow::read)
    }

    /// All links that did not expire by then: those that nobody used or took back first, the newest of them first.
    pub(crate) fn links(&self, gone: i64) -> Result<Vec<LinkRow>, StoreError> {
        let sql = format!("{LINK} ORDER BY used_by IS NOT NULL OR cancelled, expires_at DESC, link_id");
        self.all(&sql, [gone], LinkRow::read)
    }

    /// From now on a late comer has a day to be told so.
    pub(crate) fn use_link(&self, id: &LinkId, peer: &PeerId, time: i64) -> Result<(), StoreError> {
        let sql = "UPDATE link SET used_by = ?2, expires_at = min(expires_at, ?3) WHERE link_id = ?1";
        self.write("link.use", sql, (id.0, peer.0, time))?;
        Ok(())
    }

    /// Counts somebody who came with a link that another one had used.
    pub(crate) fn count_refused(&self, id: &LinkId) -> Result<(), StoreError> {
        let sql = "UPDATE link SET refused = min(refused + 1, 1000000) WHERE link_id = ?1";
        self.write("link.refuse", sql, [id.0])?;
        Ok(())
    }

    /// The same.
    pub(crate) fn cancel_link(&self, id: &LinkId, time: i64) -> Result<(), StoreError> {
        let sql = "UPDATE link SET cancelled = 1, expires_at = min(expires_at, ?2) WHERE link_id = ?1";
        self.write("link.cancel", sql, (id.0, time))?;
        Ok(())
    }

    /// Forgets a link, unless somebody used it.
    pub(crate) fn forget_link(&self, id: &LinkId) -> Result<(), StoreError> {
        let sql = "DELETE FROM link WHERE link_id = ?1 AND used_by IS NULL";
        self.write("link.forget_one", sql, [id.0])?;
        self.forget_printed()
    }

    /// Forgets what was printed for links that are gone.
    fn forget_printed(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM meta WHERE key GLOB 'printed_*'
                   AND NOT EXISTS(SELECT 1 FROM link WHERE key = 'printed_' || hex(link_id))";
        self.write("link.forget_printed", sql, [])?;
        Ok(())
    }

    /// Forgets links that expired before, and the oldest dead ones of many; says how many. One whose request waits for
    /// the user's word stays: by it the requester asks again.
    pub(crate) fn forget_links(&self, expired_before: i64) -> Result<usize, StoreError> {
        let forgotten = self.write(
            "link.forget",
            "DELETE FROM link WHERE NOT EXISTS(SELECT 1 FROM request WHERE request.link = link_id AND NOT refused)
               AND (expires_at <= ?1 OR link_id IN (
                 SELECT link_id FROM link
                 ORDER BY used_by IS NOT NULL OR cancelled, expires_at DESC, link_id LIMIT -1 OFFSET ?2))",
            (expired_before, KEPT),
        )?;
        if forgotten > 0 {
            self.forget_printed()?;
        }
        Ok(forgotten)
    }

    /// When the next link expires after this.
    pub(crate) fn next_link_expiry(&self, after: i64) -> Result<Option<i64>, StoreError> {
        let next = self.one(
            "SELECT min(expires_at) FROM link
             WHERE expires_at > ?1
               AND NOT EXISTS(SELECT 1 FROM request WHERE request.link = link_id AND NOT refused)",
            [after],
            |row| row.get(0),
        )?;
        Ok(next.flatten())
    }

    /// Keeps a request until the user decides; one of the same person before is replaced.
    pub(crate) fn put_request(&self, new: &NewRequest<'_>, unix_ms: i64) -> Result<(), StoreError> {
        self.write(
            "request.put",
            "INSERT OR REPLACE INTO request(peer, name, claimed, frame, link, stored_at)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            (new.peer.0, new.name, new.claimed, new.frame, new.link.0, unix_ms),
        )?;
        Ok(())
    }

    /// Remembers our request by link to a peer, and which KeyPackage it carries.
    pub(crate) fn put_pending_link(
        &self,
        pending: &PendingLink,
        key_package: &[u8],
        expires_at: i64,
    ) -> Result<(), StoreError> {
        self.write(
            "pending_join.put_link",
            "INSERT INTO pending_join(peer, request, key_package, expires_at, link) VALUES(?1, ?2, ?3, ?4, ?5)",
            (
                pending.peer.0,
                &pending.request,
                key_package,
                expires_at,
                pending.secret.expose(),
            ),
        )?;
        Ok(())
    }

    /// Our requests by link that did not expire by then.
    pub(crate) fn pending_links(&self, gone: i64) -> Result<Vec<PendingLink>, StoreError> {
        let sql = "SELECT peer, request, link, inviter FROM pending_join
                   WHERE link IS NOT NULL AND expires_at > ?1";
        self.all(sql, [gone], |row| {
            Ok(PendingLink {
                peer: PeerId(blob(row, 0)?),
                request: row.get(1)?,
                secret: Secret::new(blob(row, 2)?),
                inviter: row.get(3)?,
            })
        })
    }

    /// Our request by link to this peer.
    pub(crate) fn pending_link(&self, peer: &PeerId, gone: i64) -> Result<Option<PendingLink>, StoreError> {
        let all = self.pending_links(gone)?;
        Ok(all.into_iter().find(|pending| pending.peer == *peer))
    }

    /// The inviter has our request.
    pub(crate) fn keep_inviter(&self, peer: &PeerId, name: &str, expires_at: i64) -> Result<(), StoreError> {
        let sql = "UPDATE pending_join SET inviter = ?2, expires_at = max(expires_at, ?3) WHERE peer = ?1";
        self.write("pending_join.kept", sql, (peer.0, name, expires_at))?;
        Ok(())
    }
}
