//! Which key a ciphertext was made with: its generation, read by the secret of its group (RFC 9420 §6.3.2).

use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    crypto::OpenMlsCrypto,
    types::{AeadType, HashType},
};
use qpq_core::id::GroupId;
use rusqlite::Connection;

/// What opens the sender data of one group's messages.
pub(crate) struct SenderData {
    secret: Vec<u8>,
}

impl SenderData {
    /// From the database of a member.
    pub(crate) fn of(connection: &Connection, group: &GroupId) -> Self {
        let sql = "SELECT group_data FROM openmls_group_data WHERE data_type = 'message_secrets'
                   AND instr(CAST(group_id AS BLOB), ?1)";
        let json = |bytes: &[u8]| serde_json::to_vec(bytes).unwrap();
        let all = connection
            .prepare(sql)
            .unwrap()
            .query_map(
                // Openmls_sqlite_storage keeps group ids as JSON of their bytes.
                [String::from_utf8(json(&group.0)).unwrap().into_bytes()],
                |row| row.get::<_, Vec<u8>>(0),
            )
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        assert_eq!(all.len(), 1, "one group");
        let store: serde_json::Value = serde_json::from_slice(&all[0]).unwrap();
        let secret = numbers(&store["message_secrets"]["sender_data_secret"]).expect("a secret");
        assert_eq!(secret.len(), 32);
        Self { secret }
    }

    /// The generation of an MLSMessage(PrivateMessage).
    pub(crate) fn generation(&self, mls: &[u8]) -> u32 {
        let mut rest = mls;
        assert_eq!(take(&mut rest, 4), [0, 1, 0, 2], "mls10, private_message");
        let begin = rest;
        vector(&mut rest);
        take(&mut rest, 8 + 1);
        let aad = &begin[..begin.len() - rest.len()];
        vector(&mut rest);
        let sender_data = vector(&mut rest);
        let ciphertext = vector(&mut rest);
        let sample = &ciphertext[..ciphertext.len().min(32)];
        let (key, nonce) = (self.expand("key", sample, 16), self.expand("nonce", sample, 12));
        let plain = RustCrypto::default()
            .aead_decrypt(AeadType::Aes128Gcm, &key, sender_data, &nonce, aad)
            .expect("sender data opens");
        u32::from_be_bytes(plain[4..8].try_into().unwrap())
    }

    /// ExpandWithLabel of RFC 9420 §8.
    fn expand(&self, label: &str, context: &[u8], len: u8) -> Vec<u8> {
        let label = format!("MLS 1.0 {label}");
        let mut info = vec![0, len, u8::try_from(label.len()).unwrap()];
        info.extend_from_slice(label.as_bytes());
        info.push(u8::try_from(context.len()).unwrap());
        info.extend_from_slice(context);
        let expanded =
            RustCrypto::default().hkdf_expand(HashType::Sha2_256, &self.secret, &info, usize::from(len));
        expanded.unwrap().as_slice().to_vec()
    }
}

/// The one list of numbers somewhere in a value.
fn numbers(value: &serde_json::Value) -> Option<Vec<u8>> {
    match value {
        serde_json::Value::Array(list) => list
            .iter()
            .map(|number| number.as_u64().and_then(|number| u8::try_from(number).ok()))
            .collect(),
        serde_json::Value::Object(fields) => fields.values().find_map(numbers),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, back) = rest.split_at(len);
    *rest = back;
    front
}

/// `opaque<V>` (RFC 9420 §2.1.2).
fn vector<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let first = rest[0];
    let len = match first >> 6 {
        0 => usize::from(take(rest, 1)[0]),
        1 => usize::from(u16::from_be_bytes(take(rest, 2).try_into().unwrap()) & 0x3fff),
        _ => usize::try_from(u32::from_be_bytes(take(rest, 4).try_into().unwrap()) & 0x3fff_ffff).unwrap(),
    };
    take(rest, len)
}
