//! JSON lines that are safe to look at: what a terminal could obey is written as `\uXXXX`. The value is the
//! same to every JSON parser.

use std::io;

use qpq_core::sanitize;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// A value as one line with its end.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Strings, numbers and lists of them: neither they nor a Vec can fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, SafeFormatter));
    bytes.push(b'\n');
    bytes
}

/// Escapes DEL, C1, bidi controls and other invisible characters; serde_json itself escapes C0.
struct SafeFormatter;

impl Formatter for SafeFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((position, character)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (safe, tail) = rest.split_at(position);
            writer.write_all(safe.as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = tail.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// By the one filter in front of everything that prints, so that the two cannot drift apart.
fn is_unsafe(c: char) -> bool {
    let mut buffer = [0; 4];
    let character: &str = c.encode_utf8(&mut buffer);
    sanitize::name(character) != character
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_and_the_value_is_the_same() {
        let hostile: String = (0..=0x10ffff)
            .filter_map(char::from_u32)
            .filter(|c| is_unsafe(*c) || *c < ' ')
            .collect();
        let text = format!("a{hostile}\u{1b}]0;x\u{7}\u{202e}z é 🦦");
        let line = line(&text);
        let printed = std::str::from_utf8(&line).unwrap().strip_suffix('\n').unwrap();
        assert!(printed.chars().all(|c| c >= ' ' && !is_unsafe(c)), "{printed}");
        assert!(printed.contains("é 🦦"));
        assert_eq!(serde_json::from_str::<String>(printed).unwrap(), text);
    }

    #[test]
    fn what_people_are_not_shown_is_escaped() {
        for hidden in ["\u{ad}", "\u{34f}", "\u{3164}", "\u{fff0}", "\u{e0100}"] {
            assert!(line(&hidden).is_ascii(), "{hidden:?}");
        }
    }

    #[test]
    fn a_character_beyond_the_first_plane_is_a_surrogate_pair() {
        assert_eq!(line(&"\u{e0041}"), b"\"\\udb40\\udc41\"\n");
    }
}
