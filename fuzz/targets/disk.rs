//! What is on the disk, damaged or made up.

use std::{cell::RefCell, fs, path::PathBuf};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use qpq_core::{
    engine::Engine,
    identity::Identity,
    labels,
    secret::Secret,
    store::{self, StoreError, read::Reader},
    time::Now,
    vault::{OpenError, Vault},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use sha2::Sha256;

use super::edited;
use crate::net::Net;

/// Magic, version 1, no key derivation, no parameters, salt 16, nonce 24.
const HEADER: usize = 62;

/// A vault, as it is and as edits of one that opens. No edit of it opens.
pub(super) fn vault(input: &[u8]) {
    let sealed = Vault::generate(&mut ChaCha20Rng::seed_from_u64(1))
        .seal(None, &mut ChaCha20Rng::seed_from_u64(2))
        .unwrap();
    let edited = edited(&sealed, input);
    assert_eq!(Vault::open(&edited, None).is_ok(), edited == sealed);
    for file in [input, &edited] {
        let needed = Vault::needs_passphrase(file);
        assert!(needed != Ok(true) || Vault::open(file, None) == Err(OpenError::PassphraseNeeded));
    }
}

/// Any bytes under a seal that holds: only a record opens, and says what was in it.
pub(super) fn record(input: &[u8]) {
    let mut file = b"qpqstate\x01\x00".to_vec();
    file.resize(HEADER, 0);
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, &[0; 16])
        .expand(labels::VAULT_OPEN_KEY.as_bytes(), &mut key)
        .unwrap();
    let payload = Payload {
        msg: input,
        aad: &file,
    };
    let sealed = XChaCha20Poly1305::new(&key.into()).encrypt(XNonce::from_slice(&[0; 24]), payload);
    file.extend(sealed.unwrap());
    match Vault::open(&file, None) {
        Ok(vault) => {
            let keys = [&vault.identity_seed.expose()[..], vault.database_key.expose()];
            assert_eq!(keys.concat(), input);
        }
        Err(_) => assert_ne!(input.len(), 64),
    }
}

/// A database with a contact and messages in it.
struct Profile {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: Vec<u8>,
}

impl Profile {
    fn new() -> Self {
        let mut net = Net::pair();
        net.send(1, "anna", &["to anna"]);
        net.send(0, "ben", &["to ben"]);
        let file = net.copy_disk(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qpq.db");
        Self {
            _folder: folder,
            path,
            file,
        }
    }
}

thread_local! {
    static PROFILE: RefCell<Option<Profile>> = const { RefCell::new(None) };
}

/// A damaged database: it is named as such, and left as it is; or it opens, and can be read.
pub(super) fn database(input: &[u8]) {
    PROFILE.with_borrow_mut(|profile| {
        let profile = profile.get_or_insert_with(Profile::new);
        let damaged = edited_blocks(&profile.file, input);
        fs::write(&profile.path, &damaged).unwrap();
        let key = Secret::new([1; 32]);
        if let Ok(reader) = Reader::open(&profile.path, &key) {
            let _ = (reader.people(), reader.chats(), reader.outbox(None));
            let _ = reader.messages(&store::read::Query::default());
        }
        let identity = Identity::from_seed(&Secret::new([51; 32]));
        let rng = Box::new(ChaCha20Rng::seed_from_u64(3));
        let now = Now {
            monotonic: std::time::Duration::from_secs(1),
            unix_ms: 1_790_000_000_000,
        };
        match Engine::open(&profile.path, &key, identity, rng, now) {
            Ok(_) => {}
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("database") || text.contains("openmls"), "{text}");
                assert!(fs::read(&profile.path).unwrap() == damaged, "it was written to");
            }
        }
        if !damaged.is_empty() {
            let made = store::create(&profile.path, &key, "anna", &key);
            assert!(matches!(made, Err(StoreError::Exists)), "{made:?}");
        }
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", profile.path.display()));
        }
    });
}

/// Edits of five bytes: where, in steps of 16 bytes; what; with what, twice.
fn edited_blocks(file: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for [low, high, what, with, len] in edits.as_chunks::<5>().0.iter().take(16).copied() {
        let at = usize::from(u16::from_le_bytes([low, high])) * 16;
        let at = at % file.len().max(1);
        match what % 3 {
            0 => file.truncate(at),
            1 => file
                .iter_mut()
                .skip(at)
                .take(usize::from(len) + 1)
                .for_each(|byte| *byte ^= with | 1),
            _ => file
                .iter_mut()
                .skip(at)
                .take(16 * usize::from(len))
                .for_each(|byte| *byte = with),
        }
    }
    file
}
