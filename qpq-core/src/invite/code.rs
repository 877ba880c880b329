//! The spoken code and the number in front of it.

use std::{fmt, str::FromStr};

use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::words::{FIRST, SECOND, nearest};

/// Leading number of a code, 1..=999. The inviter advertises it, so that several inviters on one network do
/// not spend each other's guesses. No secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nameplate(u16);

/// A number is no nameplate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of a code lies between 1 and 999")]
pub struct NameplateError;

impl Nameplate {
    /// The largest one.
    pub const MAX: u16 = 999;

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Nameplate {
    type Error = NameplateError;

    fn try_from(number: u16) -> Result<Self, NameplateError> {
        if (1..=Self::MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(NameplateError)
        }
    }
}

impl FromStr for Nameplate {
    type Err = NameplateError;

    /// Reads digits alone, without a sign.
    fn from_str(text: &str) -> Result<Self, NameplateError> {
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameplateError);
        }
        text.parse::<u16>().map_err(|_| NameplateError)?.try_into()
    }
}

impl fmt::Display for Nameplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A spoken code: nameplate and two words, 16 secret bits. Wiped on drop; `Debug` hides the words, `Display`
/// is for the one person who must say them.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Code {
    #[zeroize(skip)]
    nameplate: Nameplate,
    /// Indices into `FIRST` and `SECOND`.
    words: [u8; 2],
}

/// Why a text is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Not a number and two words.
    #[error("a code looks like 4-otter-violin")]
    Shape,
    /// The number is none, or out of range.
    #[error(transparent)]
    Nameplate(#[from] NameplateError),
    /// Both words exist, in the other order.
    #[error("the two words are in the wrong order")]
    Swapped,
    /// A word that no code has.
    #[error("no code has the word \"{word}\"{}", hint(*suggestion))]
    UnknownWord {
        /// What was typed, in lower case, sanitized and cut to 16 characters.
        word: String,
        /// The word that is nearest to it.
        suggestion: Option<&'static str>,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map(|word| format!("; perhaps \"{word}\"?"))
        .unwrap_or_default()
}

impl Code {
    /// Draws the words for a nameplate.
    pub fn generate(nameplate: Nameplate, rng: &mut impl CryptoRngCore) -> Self {
        let mut code = Self {
            nameplate,
            words: [0; 2],
        };
        rng.fill_bytes(&mut code.words);
        code
    }

    /// The number in front.
    pub fn nameplate(&self) -> Nameplate {
        self.nameplate
    }

    /// The one form that both sides derive the password from: what `Display` shows.
    pub(super) fn canonical(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(24));
        fmt::write(&mut *text, format_args!("{self}")).expect("a String takes what is written to it");
        text
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.nameplate == other.nameplate && self.words.ct_eq(&other.words).into()
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-..)", self.nameplate)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.words.map(usize::from);
        let words = [FIRST.get(first), SECOND.get(second)].map(|word| word.copied().unwrap_or_default());
        write!(f, "{}-{}-{}", self.nameplate, words[0], words[1])
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads a code as people type it: any case, any spaces, dashes of any length or none.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let is_gap =
            |c: char| c.is_whitespace() || matches!(c, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}');
        let mut parts = text.split(is_gap).filter(|part| !part.is_empty());
        let (Some(number), Some(first), Some(second), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CodeError::Shape);
        };
        let nameplate = number.parse()?;
        let [first, second] = [first, second].map(|word| Zeroizing::new(word.to_lowercase()));
        match (index(&FIRST, &first), index(&SECOND, &second)) {
            (Some(first), Some(second)) => Ok(Self {
                nameplate,
                words: [first, second],
            }),
            _ if index(&SECOND, &first).is_some() && index(&FIRST, &second).is_some() => {
                Err(CodeError::Swapped)
            }
            (None, _) => Err(unknown(&FIRST, &first)),
            (Some(_), None) => Err(unknown(&SECOND, &second)),
        }
    }
}

fn index(list: &[&'static str; 256], word: &str) -> Option<u8> {
    list.iter()
        .position(|known| *known == word)
        .and_then(|at| u8::try_from(at).ok())
}

fn unknown(list: &[&'static str; 256], word: &str) -> CodeError {
    let start: String = word.chars().take(16).collect();
    let word_shown = crate::sanitize::name(&start).into_owned();
    CodeError::UnknownWord {
        word: word_shown,
        suggestion: nearest(list, word),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn parse(text: &str) -> Result<Code, CodeError> {
        text.parse()
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = parse("4-otter-violin").unwrap();
        assert_eq!(code.to_string(), "4-otter-violin");
        assert_eq!(code.nameplate().number(), 4);
        for text in [
            " 4-otter-violin\n",
            "4 otter violin",
            "4-OTTER-Violin",
            "4 - otter  violin",
            "004-otter-violin",
            "4\u{2013}otter\u{2014}violin",
            "4_otter_violin",
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&code), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["", "4", "4-otter", "4-otter-violin-x", "otter violin", "---"] {
            assert_eq!(parse(text), Err(CodeError::Shape), "{text}");
        }
        for text in [
            "0-otter-violin",
            "1000-otter-violin",
            "x-otter-violin",
            "+4 otter violin",
            "99999999 otter violin",
        ] {
            assert_eq!(parse(text), Err(CodeError::Nameplate(NameplateError)), "{text}");
        }
        assert_eq!(parse("4-violin-otter"), Err(CodeError::Swapped));
    }

    #[test]
    fn unknown_words_are_shown_with_the_nearest_known_one() {
        let error = parse("4-oter-violin").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no code has the word \"oter\"; perhaps \"otter\"?"
        );
        let error = parse("4-otter-voilin").unwrap_err();
        assert_eq!(
            error,
            CodeError::UnknownWord {
                word: "voilin".into(),
                suggestion: Some("violin")
            }
        );
        let error = parse("4-otter-qqqqqqqqqqqqqqqqqqqqqqqqq").unwrap_err();
        assert_eq!(error.to_string(), "no code has the word \"qqqqqqqqqqqqqqqq\"");
        let error = parse("4-otter-\x1b[31mred").unwrap_err();
        assert_eq!(
            error,
            CodeError::UnknownWord {
                word: "[31mred".into(),
                suggestion: None
            }
        );
    }

    #[test]
    fn debug_hides_the_words() {
        assert_eq!(format!("{:?}", parse("4-otter-violin").unwrap()), "Code(4-..)");
    }

    #[test]
    fn codes_differ_in_each_part() {
        let code = parse("4-otter-violin").unwrap();
        for other in ["5-otter-violin", "4-badger-violin", "4-otter-piano"] {
            assert_ne!(parse(other).unwrap(), code);
        }
    }

    #[test]
    fn wiping_forgets_the_words() {
        let mut code = parse("4-otter-violin").unwrap();
        code.zeroize();
        assert_eq!(code.words, [0; 2]);
    }

    proptest! {
        #[test]
        fn generated_codes_are_read_back(number in 1u16..=999, seed: u64) {
            let nameplate = Nameplate::try_from(number).unwrap();
            let code = Code::generate(nameplate, &mut ChaCha20Rng::seed_from_u64(seed));
            let read = parse(&code.to_string());
            prop_assert_eq!(read.as_ref(), Ok(&code));
            prop_assert_eq!(code.nameplate(), nameplate);
        }

        #[test]
        fn hostile_text_is_no_code(text: String) {
            prop_assert!(parse(&text).is_err());
        }
    }
}
