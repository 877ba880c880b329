//! The safety number: 60 digits that two people compare to know that nobody stands between them.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::{id::PeerId, labels};

/// Makes a search for keys with equal digits dearer.
const ROUNDS: u32 = 5_200;
/// Groups of five digits.
const GROUPS: usize = 12;

/// The same on both sides, and only there: 12 groups of 5 digits (about 199 bits).
///
/// With a < b the two identity keys: h = SHA-512(label | 0x00 | a | b), then 5,200 times h = SHA-512(h | a | b).
/// Each of the first 12 times 5 bytes of h, big-endian, modulo 100,000 is a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SafetyNumber([u32; GROUPS]);

impl SafetyNumber {
    /// Of two people, in any order.
    pub fn of(one: &PeerId, other: &PeerId) -> Self {
        let (a, b) = if one < other { (one, other) } else { (other, one) };
        let label = labels::SAFETY_NUMBER.as_bytes();
        let mut hash = Sha512::new()
            .chain_update(label)
            .chain_update([0])
            .chain_update(a.0)
            .chain_update(b.0)
            .finalize();
        for _ in 0..ROUNDS {
            hash = Sha512::new()
                .chain_update(hash)
                .chain_update(a.0)
                .chain_update(b.0)
                .finalize();
        }
        let mut groups = [0; GROUPS];
        for (group, bytes) in groups.iter_mut().zip(hash.chunks_exact(5)) {
            let number = bytes
                .iter()
                .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            *group = u32::try_from(number.rem_euclid(100_000)).unwrap_or_default();
        }
        Self(groups)
    }

    /// The 60 digits without a break, as in a QR code.
    pub fn digits(&self) -> String {
        self.0.iter().map(|group| format!("{group:05}")).collect()
    }

    /// Whether the other side's number is this one. In constant time: one of them may be typed by an enemy.
    pub fn matches(&self, other: &Self) -> bool {
        self.digits().as_bytes().ct_eq(other.digits().as_bytes()).into()
    }
}

impl fmt::Display for SafetyNumber {
    /// Three lines of four groups, to be read aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.0.iter().enumerate() {
            let before = match at {
                0 => "",
                4 | 8 => "\n",
                _ => " ",
            };
            write!(f, "{before}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SafetyNumber(..)")
    }
}

/// A text is not a safety number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a safety number has 60 digits")]
pub struct SafetyNumberError;

impl FromStr for SafetyNumber {
    type Err = SafetyNumberError;

    /// Reads 60 digits; spaces, line breaks and dashes between them do not count.
    fn from_str(text: &str) -> Result<Self, SafetyNumberError> {
        let is_break = |c: &char| c.is_whitespace() || *c == '-';
        let digits = text.chars().filter(|c| !is_break(c)).map(|c| c.to_digit(10));
        let digits = digits.take(GROUPS.saturating_mul(5).saturating_add(1));
        let digits: Vec<u32> = digits.collect::<Option<_>>().ok_or(SafetyNumberError)?;
        if digits.len() != GROUPS.saturating_mul(5) {
            return Err(SafetyNumberError);
        }
        let mut groups = [0; GROUPS];
        for (group, digits) in groups.iter_mut().zip(digits.chunks_exact(5)) {
            *group = digits.iter().fold(0, |number: u32, digit| {
                number.saturating_mul(10).saturating_add(*digit)
            });
        }
        Ok(Self(groups))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "tests fail by panicking"
    )]

    use super::*;

    /// Made by `test_vectors/safety_numbers.py`, which knows nothing of this code.
    #[test]
    fn the_numbers_are_those_of_an_independent_implementation() {
        let vectors = include_str!("../../test_vectors/safety_numbers.txt");
        let mut seen = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line.split_whitespace().collect();
            let [a, b, digits] = words.as_slice() else {
                unreachable!("{line}")
            };
            let key = |hex: &str| {
                let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
                PeerId::try_from(&bytes[..]).unwrap()
            };
            assert_eq!(SafetyNumber::of(&key(a), &key(b)).digits(), *digits);
            assert_eq!(SafetyNumber::of(&key(b), &key(a)).digits(), *digits);
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let number = SafetyNumber::of(&PeerId([1; 32]), &PeerId([2; 32]));
        for text in [
            number.to_string(),
            number.digits(),
            number.to_string().replace(' ', "-"),
        ] {
            assert!(number.matches(&text.parse().unwrap()), "{text}");
        }
        assert_eq!(number.to_string().lines().count(), 3);
    }

    #[test]
    fn every_wrong_digit_is_seen_and_what_is_no_number_is_refused() {
        let number = SafetyNumber::of(&PeerId([1; 32]), &PeerId([2; 32]));
        for at in 0..60 {
            let mut digits = number.digits().into_bytes();
            digits[at] = if digits[at] == b'9' { b'0' } else { digits[at] + 1 };
            let wrong = String::from_utf8(digits).unwrap();
            assert!(!number.matches(&wrong.parse().unwrap()), "digit {at}");
        }
        let digits = number.digits();
        for bad in [
            "",
            "12345",
            &digits[1..],
            &format!("{digits}0"),
            &digits.replace('1', "l").replace('2', "٢"),
        ] {
            assert_eq!(bad.parse::<SafetyNumber>(), Err(SafetyNumberError), "{bad}");
        }
    }
}
