//! What a passphrase may be. It is wiped when it goes out of use, and no log can show it.

use zeroize::{Zeroize, Zeroizing};

/// The text under which a vault is sealed: 1..=1024 bytes of UTF-8 without control characters.
///
/// It is kept as typed. The vault derives its key from the NFC form, so that one passphrase is the same from any
/// keyboard (RFC 8265 §4.2.2); that RFC also forbids control characters, which nobody can type at a prompt.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// A text is no passphrase. What it was is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// There is nothing in it.
    #[error("a passphrase has at least one character")]
    Empty,
    /// Longer than anybody types.
    #[error("a passphrase has at most 1024 bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("a passphrase is text in UTF-8")]
    NotUtf8,
    /// A line end within it, most likely.
    #[error("a passphrase has no line ends and no other control characters")]
    Control,
}

impl Passphrase {
    /// The longest one, in bytes.
    pub const MAX: usize = 1024;

    /// Takes over bytes as they were read, less one line end behind them. They are not copied, and wiped when they
    /// are refused.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn from_bytes(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, PassphraseError> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
            error.into_bytes().zeroize();
            PassphraseError::NotUtf8
        })?;
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(PassphraseError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PassphraseError::Control);
        }
        Ok(Self(text))
    }

    /// Shows the text to code that derives a key from it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    /// Shows nothing, not even the length.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        Passphrase::from_bytes(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn one_line_end_is_no_part_of_it() {
        assert_eq!(parsed(b"caf\xc3\xa9 noir\n").unwrap().expose(), "caf\u{e9} noir");
        assert_eq!(parsed(b" a ").unwrap().expose(), " a ");
        assert_eq!(parsed(b"a\n\n"), Err(PassphraseError::Control));
        assert_eq!(parsed(b"a\r\n"), Err(PassphraseError::Control));
    }

    #[test]
    fn what_nobody_could_type_is_refused() {
        assert_eq!(parsed(b""), Err(PassphraseError::Empty));
        assert_eq!(parsed(b"\n"), Err(PassphraseError::Empty));
        assert_eq!(parsed(b"a\0b"), Err(PassphraseError::Control));
        assert_eq!(parsed(b"\xff"), Err(PassphraseError::NotUtf8));
        assert_eq!(parsed(b"a\nb"), Err(PassphraseError::Control));
    }

    #[test]
    fn the_longest_one_fits_and_one_byte_more_does_not() {
        let longest = vec![b'x'; Passphrase::MAX];
        assert!(parsed(&longest).is_ok());
        assert!(parsed(&[&longest[..], b"\n"].concat()).is_ok());
        assert_eq!(
            parsed(&[&longest[..], b"x"].concat()),
            Err(PassphraseError::TooLong)
        );
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", parsed(b"secret").unwrap()), "Passphrase(..)");
    }
}
