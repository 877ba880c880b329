//! Text from others is hostile: the one filter in front of everything that prints.
//!
//! Gone are control characters (they drive the terminal), bidirectional controls (they show text in another
//! order than it is stored) and characters that nobody can see (they make two texts look like one). Stored
//! and in JSON, texts stay as they came.

use std::borrow::Cow;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Name,
}

/// Makes the text of a message safe to print: line breaks, tabs, and the joiners that scripts and emoji need
/// stay. Borrows where nothing had to change.
pub fn text(text: &str) -> Cow<'_, str> {
    sanitize(text, Kind::Text)
}

/// Makes a name, or anything else on one line, safe to print: whatever breaks a line becomes a space.
pub fn name(name: &str) -> Cow<'_, str> {
    sanitize(name, Kind::Name)
}

fn sanitize(text: &str, kind: Kind) -> Cow<'_, str> {
    if text.chars().all(|c| shown(c, kind) == Some(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter_map(|c| shown(c, kind)).collect())
}

/// What is printed in place of a character, if anything.
fn shown(c: char, kind: Kind) -> Option<char> {
    match (c, kind) {
        ('\n' | '\t', Kind::Text) => Some(c),
        // Line and paragraph separator (Unicode Standard, chapter 23.2).
        ('\u{2028}' | '\u{2029}', Kind::Text) => Some('\n'),
        ('\n' | '\t' | '\u{2028}' | '\u{2029}', Kind::Name) => Some(' '),
        ('\u{200c}' | '\u{200d}', Kind::Text) => Some(c),
        _ if c.is_control() || is_bidi_control(c) || is_invisible(c) => None,
        _ => Some(c),
    }
}

/// The property Bidi_Control (UAX #9).
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Format characters, fillers and tags that show as nothing. Variation selectors of emoji (U+FE00..) are not
/// among them: they change what is seen.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' // soft hyphen
            | '\u{34f}' // combining grapheme joiner
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
            | '\u{17b4}' | '\u{17b5}' // Khmer inherent vowels
            | '\u{180b}'..='\u{180f}' // Mongolian selectors
            | '\u{200b}'..='\u{200d}' // zero-width space and joiners
            | '\u{2060}'..='\u{206f}' // word joiner, invisible operators, deprecated format characters
            | '\u{feff}' // byte order mark
            | '\u{fff0}'..='\u{fffb}' // unassigned ignorables, interlinear annotation
            | '\u{1bca0}'..='\u{1bca3}' // shorthand format controls
            | '\u{1d173}'..='\u{1d17a}' // musical format controls
            | '\u{e0000}'..='\u{e0fff}' // tags and further selectors
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::string_slice, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clean_text_is_borrowed() {
        for text in ["", "hi", "Grüße, 世界\n\tسلام", "👩‍💻 and ❤️", "می‌خواهم"] {
            assert!(
                matches!(sanitize(text, Kind::Text), Cow::Borrowed(same) if same == text),
                "{text:?}"
            );
        }
    }

    #[test]
    fn terminals_are_not_driven() {
        assert_eq!(
            sanitize("a\x1b[31mred\x1b]52;c;x\x07", Kind::Text),
            "a[31mred]52;c;x"
        );
        assert_eq!(
            sanitize("csi\u{9b}31m nel\u{85} del\x7f nul\0 cr\r\n", Kind::Text),
            "csi31m nel del nul cr\n"
        );
    }

    #[test]
    fn names_are_one_visible_line() {
        assert_eq!(
            sanitize("an\u{200b}na\nben\tx\u{2028}y", Kind::Name),
            "anna ben x y"
        );
        assert_eq!(sanitize("a\u{200d}b\u{200c}c", Kind::Name), "abc");
    }

    #[test]
    fn reversed_and_hidden_text_becomes_plain() {
        assert_eq!(sanitize("exe.\u{202e}gpj\u{202c}", Kind::Text), "exe.gpj");
        assert_eq!(sanitize("a\u{2066}b\u{2069}\u{200f}\u{61c}", Kind::Text), "ab");
        assert_eq!(
            sanitize("pass\u{ad}word\u{feff}\u{e0041}\u{2060}", Kind::Text),
            "password"
        );
        assert_eq!(sanitize("a\u{2028}b\u{2029}c", Kind::Text), "a\nb\nc");
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Text), Just(Kind::Name)]
    }

    /// Any characters, with the hostile blocks drawn often.
    fn hostile() -> impl Strategy<Value = String> {
        let c = prop_oneof![
            any::<char>(),
            prop::char::range('\0', '\u{ff}'),
            prop::char::range('\u{2000}', '\u{20ff}'),
            prop::char::range('\u{e0000}', '\u{e01ff}'),
        ];
        prop::collection::vec(c, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn no_control_survives(text in hostile(), kind in kind()) {
            for c in sanitize(&text, kind).chars() {
                let code = u32::from(c);
                let break_in_text = kind == Kind::Text && (c == '\n' || c == '\t');
                prop_assert!(break_in_text || (code >= 0x20 && !(0x7f..=0x9f).contains(&code)), "{c:?}");
                prop_assert!(!(0x202a..=0x202e).contains(&code) && !(0x2066..=0x2069).contains(&code), "{c:?}");
                prop_assert!(![0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0xfeff, 0xad].contains(&code), "{c:?}");
                prop_assert!(!(0xe0000..=0xe0fff).contains(&code), "{c:?}");
            }
        }

        #[test]
        fn sanitizing_twice_changes_nothing_more(text in hostile(), kind in kind()) {
            let once = sanitize(&text, kind).into_owned();
            prop_assert_eq!(sanitize(&once, kind), &once[..]);
        }

        #[test]
        fn what_is_not_hostile_stays(text in "[ -~\u{a1}-\u{ac}\u{ae}-\u{ff}あ-んא-ת]{0,40}", kind in kind()) {
            prop_assert_eq!(sanitize(&text, kind), &text[..]);
        }
    }
}
