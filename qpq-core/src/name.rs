//! What may be the name of a person or a group.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::sanitize;

/// The longest name, in bytes of UTF-8.
pub const MAX_LEN: usize = 64;
/// First characters that mean something on the command line: a group, an option, a mention, a command.
const RESERVED: [char; 4] = ['#', '-', '@', '/'];

/// Why a text cannot be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing but spaces.
    #[error("a name cannot be empty")]
    Empty,
    /// More than `MAX_LEN` bytes.
    #[error("a name has at most 64 bytes")]
    TooLong,
    /// Line breaks, control characters, spaces of unusual width, or characters that nobody can see.
    #[error("a name cannot have control or invisible characters")]
    Invisible,
    /// `anna, 10:02: hi` is how a message looks: no name may look like one.
    #[error("a name cannot contain `:`")]
    Colon,
    /// It begins with a mark that would sit on what is printed before it.
    #[error("a name cannot begin with a combining mark")]
    Combining,
    /// It begins with one of `# - @ /`.
    #[error("a name cannot begin with `{0}`")]
    Reserved(char),
}

/// Checks a name, an own one or one from the wire, and gives its one form: NFC, without spaces around it.
///
/// # Errors
/// `NameError`. For a name from the wire, show the short PeerId in its place.
pub fn validate(name: &str) -> Result<String, NameError> {
    let name = name.trim();
    // Before any work; NFC makes no name shorter than a third.
    if name.len() > MAX_LEN.saturating_mul(3) {
        return Err(NameError::TooLong);
    }
    // Variation selectors choose how an emoji looks; two names must not differ by what nobody can see.
    let name: String = name
        .nfc()
        .filter(|c| !('\u{fe00}'..='\u{fe0f}').contains(c))
        .collect();
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if name.len() > MAX_LEN {
        return Err(NameError::TooLong);
    }
    // The Braille blank is a space in all but name.
    let odd_space = |c: char| (c.is_whitespace() && c != ' ') || c == '\u{2800}';
    if name.contains(odd_space) || sanitize::name(&name) != name {
        return Err(NameError::Invisible);
    }
    if name.contains(':') {
        return Err(NameError::Colon);
    }
    if is_combining_mark(first) {
        return Err(NameError::Combining);
    }
    if RESERVED.contains(&first) {
        return Err(NameError::Reserved(first));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_pass_in_one_form() {
        for name in [
            "ben",
            "Anna Müller",
            "李雷",
            "סבתא",
            "o'neil",
            "x",
            "a-b",
            "ops 🚀",
        ] {
            assert_eq!(validate(name).as_deref(), Ok(name));
        }
        assert_eq!(validate("  Zoe\u{308} \n").as_deref(), Ok("Zo\u{eb}"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        assert_eq!(validate(""), Err(NameError::Empty));
        assert_eq!(validate(" \t\n"), Err(NameError::Empty));
        for (name, first) in [("#ops", '#'), ("-v", '-'), (" @ben", '@'), ("/quit", '/')] {
            assert_eq!(validate(name), Err(NameError::Reserved(first)));
        }
        for name in [
            "a\nb",
            "a\tb",
            "a\x1b[0m",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{a0}b",
            "\u{feff}ben",
            "\u{3164}",
        ] {
            assert_eq!(validate(name), Err(NameError::Invisible), "{name:?}");
        }
    }

    #[test]
    fn the_limit_is_64_bytes_of_the_final_form() {
        assert_eq!(validate(&"a".repeat(64)), Ok("a".repeat(64)));
        assert_eq!(validate(&"a".repeat(65)), Err(NameError::TooLong));
        assert_eq!(validate(&"ü".repeat(32)), Ok("ü".repeat(32)));
        // Decomposed it has 96 bytes, composed 64.
        assert_eq!(validate(&"u\u{308}".repeat(32)), Ok("ü".repeat(32)));
        assert_eq!(validate(&"a".repeat(1 << 20)), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn a_valid_name_is_valid_again_and_the_same(name: String) {
            if let Ok(valid) = validate(&name) {
                prop_assert!((1..=MAX_LEN).contains(&valid.len()));
                prop_assert_eq!(&validate(&valid).unwrap(), &valid);
                prop_assert_eq!(sanitize::name(&valid), &valid[..]);
            }
        }
    }
}
