//! What screens show of our own links.

use rusqlite::params;

use super::{Reader, StoreError, blob, from_sql};
use crate::id::{LinkId, PeerId};
use crate::store::age;

/// Two clocks that differ by no more show the same.
const SAME_MS: u64 = 60_000;

/// A link that was neither taken back nor has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLink {
    /// What to call it.
    pub id: LinkId,
    /// Unix ms.
    pub expires_at: i64,
    /// Who used it.
    pub used_by: Option<PeerId>,
    /// Under which name they are known or asked; hostile text, valid by `name::validate`.
    pub used_by_name: Option<String>,
    /// How often others came with it after that.
    pub refused: u64,
}

impl Reader {
    /// Own links that can be used at this time (Unix ms), or were used not long ago, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn links(&self, unix_ms: i64) -> Result<Vec<OpenLink>, StoreError> {
        let sql = "SELECT link_id, expires_at, used_by, coalesce(contact.name, request.name), link.refused,
                     CAST(CAST(meta.value AS TEXT) AS INTEGER) AS printed
                   FROM link LEFT JOIN contact ON contact.peer = used_by LEFT JOIN request ON request.peer = used_by
                     LEFT JOIN meta ON key = 'printed_' || hex(link_id)
                   WHERE (expires_at > ?1 AND (printed IS NULL OR printed > ?2) OR used_by IS NOT NULL)
                     AND NOT cancelled ORDER BY created_at DESC, link_id";
        // Kept in profile time, and shown by the clock that people see: the same, unless that was turned.
        let time = age::lived(&self.connection)?.and_then(|lived| lived.profile_time(unix_ms));
        let time = time
            .filter(|time| time.abs_diff(unix_ms) > SAME_MS)
            .unwrap_or(unix_ms);
        let turned = unix_ms.saturating_sub(time);
        let mut statement = self.connection.prepare_cached(sql)?;
        let links = statement.query_map(params![time, unix_ms], |row| {
            let expires = row.get::<_, i64>(1)?.saturating_add(turned);
            let printed = row.get::<_, Option<i64>>(5)?.unwrap_or(expires);
            Ok(OpenLink {
                id: LinkId(blob(row, 0)?),
                // After a pause that did not count in full it is what was printed.
                expires_at: expires.min(printed),
                used_by: row.get::<_, Option<[u8; 32]>>(2)?.map(PeerId),
                used_by_name: row.get(3)?,
                refused: from_sql(row.get(4)?),
            })
        })?;
        Ok(links.collect::<rusqlite::Result<_>>()?)
    }
}
