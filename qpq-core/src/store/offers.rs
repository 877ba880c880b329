//! Own KeyPackages that were offered to contacts for the group that takes the place of a lost one.

use super::{Store, StoreError};
use crate::id::PeerId;

/// A KeyPackage that a contact may use.
pub(crate) struct Offer {
    /// RFC 9420 §5.2: names its secrets among those of openmls.
    pub(crate) reference: Vec<u8>,
    /// MLSMessage(KeyPackage).
    pub(crate) key_package: Vec<u8>,
}

impl Store {
    pub(crate) fn offer(&self, peer: &PeerId) -> Result<Option<Offer>, StoreError> {
        let sql = "SELECT reference, key_package FROM offer WHERE peer = ?1";
        self.one(sql, [peer.0], |row| {
            Ok(Offer {
                reference: row.get(0)?,
                key_package: row.get(1)?,
            })
        })
    }

    pub(crate) fn put_offer(&self, peer: &PeerId, offer: &Offer) -> Result<(), StoreError> {
        self.write(
            "offer.put",
            "INSERT INTO offer(peer, reference, key_package) VALUES(?1, ?2, ?3)",
            (peer.0, &offer.reference, &offer.key_package),
        )?;
        Ok(())
    }

    pub(crate) fn end_offer(&self, peer: &PeerId) -> Result<(), StoreError> {
        self.write("offer.end", "DELETE FROM offer WHERE peer = ?1", [peer.0])?;
        Ok(())
    }
}
