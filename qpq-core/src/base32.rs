//! Crockford base32, the one text form of keys and ids: written in lower case, read in any case.
//!
//! `I` and `L` are read as 1 and `O` as 0, so that an id copied by hand still works. Bits that a text has
//! beyond its last whole byte must be zero: each byte string has exactly one text.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

/// Characters of a ULID: 130 bits, the two highest of them zero.
const ULID_CHARS: usize = 26;
/// Base32 aligns bits to the left, a ULID to the right. Behind four zero bytes both agree: 20 bytes are 32
/// whole characters, of which the last 26 are the ULID and the first six are these.
const ULID_PAD: &str = "000000";

static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    specification
        .translate
        .from
        .push_str("ABCDEFGHJKMNPQRSTVWXYZIiLlOo");
    specification
        .translate
        .to
        .push_str("abcdefghjkmnpqrstvwxyz111100");
    specification.check_trailing_bits = true;
    specification
        .encoding()
        .expect("the specification is constant and every test uses it")
});

/// A text is not what it should be in Crockford base32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A character outside of the alphabet, an impossible length, or bits left over that are not zero.
    #[error("this is not base32")]
    NotBase32,
    /// Not the 26 characters of 128 bits.
    #[error("this is not a ULID")]
    NotUlid,
}

/// Encodes bytes, in lower case and without padding.
pub fn encode(bytes: &[u8]) -> String {
    CROCKFORD.encode(bytes)
}

/// Decodes a text of any case.
///
/// # Errors
/// `DecodeError::NotBase32`.
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    CROCKFORD
        .decode(text.as_bytes())
        .map_err(|_| DecodeError::NotBase32)
}

/// The first 40 bits for people: `7k2f-9qxm`. Of shorter input, all there is.
pub fn short(bytes: &[u8]) -> String {
    let text = encode(bytes.get(..5).unwrap_or(bytes));
    match text.split_at_checked(4) {
        Some((head, tail)) if !tail.is_empty() => format!("{head}-{tail}"),
        Some(_) | None => text,
    }
}

/// The canonical text of a ULID: 26 upper-case characters that sort like the bytes.
pub fn ulid(bytes: &[u8; 16]) -> String {
    let mut padded = [0; 20];
    let (_, value) = padded.split_at_mut(4);
    value.copy_from_slice(bytes);
    encode(&padded)
        .chars()
        .skip(ULID_PAD.len())
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

/// Reads the text of a ULID, in any case.
///
/// # Errors
/// `DecodeError::NotUlid`, also for the texts above `7ZZZ…` that have more than 128 bits.
pub fn parse_ulid(text: &str) -> Result<[u8; 16], DecodeError> {
    if text.len() != ULID_CHARS {
        return Err(DecodeError::NotUlid);
    }
    let padded = decode(&format!("{ULID_PAD}{text}")).map_err(|_| DecodeError::NotUlid)?;
    let value = padded.strip_prefix(&[0; 4]).ok_or(DecodeError::NotUlid)?;
    value.try_into().map_err(|_| DecodeError::NotUlid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_texts() {
        assert_eq!(encode(&[]), "");
        assert_eq!(encode(&[0xff]), "zw");
        assert_eq!(encode(b"hello"), "d1jprv3f");
        assert_eq!(encode(&[0xff; 32]).len(), 52);
        assert_eq!(encode(&[0x42; 16]).len(), 26);
    }

    #[test]
    fn any_case_and_look_alikes_are_read() {
        assert_eq!(decode("D1JPRV3F").unwrap(), b"hello");
        for text in ["dijprv3f", "dIjprv3f", "dljprv3f", "dLjprv3f"] {
            assert_eq!(decode(text).unwrap(), b"hello", "{text}");
        }
        assert_eq!(decode("oO").unwrap(), [0]);
    }

    #[test]
    fn foreign_characters_lengths_and_left_over_bits_are_refused() {
        for text in [
            "u",
            "uu",
            "d1jprv3 ",
            "d1-prv3f",
            "d1jprvöf",
            "z",
            "zzz",
            "zzzzzz",
            "zz",
            "zx",
            "zw==",
        ] {
            assert_eq!(decode(text), Err(DecodeError::NotBase32), "{text}");
        }
    }

    #[test]
    fn short_form_of_any_length() {
        assert_eq!(short(&[0xff; 32]), "zzzz-zzzz");
        assert_eq!(short(b"hello world"), "d1jp-rv3f");
        assert_eq!(short(&[0xff]), "zw");
        assert_eq!(short(&[0, 0, 0]), "0000-0");
        assert_eq!(short(&[]), "");
    }

    #[test]
    fn ulid_is_right_aligned() {
        assert_eq!(ulid(&[0; 16]), "00000000000000000000000000");
        assert_eq!(ulid(&[0xff; 16]), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        let mut one = [0; 16];
        one[15] = 1;
        assert_eq!(ulid(&one), "00000000000000000000000001");
        // Unix ms 1469918176385, the example of the ULID specification.
        assert!(
            ulid(&[0x01, 0x56, 0x3d, 0xf3, 0x64, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                .starts_with("01ARYZ6S41")
        );
    }

    #[test]
    fn a_ulid_of_more_than_128_bits_is_refused() {
        assert_eq!(parse_ulid("7zzzzzzzzzzzzzzzzzzzzzzzzz").unwrap(), [0xff; 16]);
        for text in [
            "80000000000000000000000000",
            "zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "0",
            "",
            "öööööööööööööö",
        ] {
            assert_eq!(parse_ulid(text), Err(DecodeError::NotUlid), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_is_the_inverse_of_encoding(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)).unwrap(), &bytes[..]);
            prop_assert_eq!(decode(&encode(&bytes).to_ascii_uppercase()).unwrap(), bytes);
        }

        #[test]
        fn a_text_that_decodes_is_the_only_one_of_its_bytes(text in "[0-9a-tv-z]{0,60}") {
            if let Ok(bytes) = decode(&text) {
                let plain = text.replace(['i', 'l'], "1").replace('o', "0");
                prop_assert_eq!(encode(&bytes), plain);
            }
        }

        #[test]
        fn ulids_round_trip_and_keep_the_order(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(parse_ulid(&ulid(&a)).unwrap(), a);
            prop_assert_eq!(parse_ulid(&ulid(&a).to_ascii_lowercase()).unwrap(), a);
            prop_assert_eq!(ulid(&a).cmp(&ulid(&b)), a.cmp(&b));
        }

        #[test]
        fn hostile_text_does_no_harm(text: String, bytes: Vec<u8>) {
            let _ = (decode(&text), parse_ulid(&text), short(&bytes));
        }
    }
}
