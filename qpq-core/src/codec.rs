//! Bytes of local records: the only place that knows bincode, and only for what this machine wrote itself.
//!
//! Records are arrays of fixed size, so decoding allocates nothing that the input could choose; the input is
//! limited before it is looked at; bytes left over are an error.

use bincode::{Decode, Encode, config};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The longest record, in bytes.
const LIMIT: usize = 256;

/// What the vault encrypts. Wiped on drop.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(crate) struct VaultRecord {
    /// Seed of the identity's Ed25519 key.
    pub(crate) identity_seed: [u8; 32],
    /// Raw key of the database.
    pub(crate) database_key: [u8; 32],
}

/// Bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is damaged")]
pub(crate) struct CodecError;

/// Encodes the record of a vault.
pub(crate) fn encode(record: &VaultRecord) -> Zeroizing<Vec<u8>> {
    // bincode measures first and allocates once: no copy of a key stays behind in freed memory.
    let bytes = bincode::encode_to_vec(record, config::standard().with_limit::<LIMIT>());
    Zeroizing::new(bytes.expect("writing two arrays to memory cannot fail"))
}

/// Decodes the record of a vault.
pub(crate) fn decode(bytes: &[u8]) -> Result<VaultRecord, CodecError> {
    if bytes.len() > LIMIT {
        return Err(CodecError);
    }
    let limited = config::standard().with_limit::<LIMIT>();
    match bincode::decode_from_slice(bytes, limited) {
        Ok((record, read)) if read == bytes.len() => Ok(record),
        Ok(_) | Err(_) => Err(CodecError),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn encoded() -> Zeroizing<Vec<u8>> {
        encode(&VaultRecord {
            identity_seed: [1; 32],
            database_key: [2; 32],
        })
    }

    #[test]
    fn the_bytes_are_the_two_keys() {
        assert_eq!(encoded()[..], [[1; 32], [2; 32]].concat());
        let record = decode(&encoded()).unwrap();
        assert_eq!((record.identity_seed, record.database_key), ([1; 32], [2; 32]));
    }

    #[test]
    fn every_other_length_is_refused() {
        for length in (0..64).chain(65..600) {
            assert!(decode(&vec![0; length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn decoding_is_the_inverse_of_encoding(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(&encode(&record)[..], &bytes[..]);
            }
        }
    }
}
