//! Texts that others wrote or a user was told: codes and links, names, messages.

use qpq_core::{
    base32,
    invite::{Code, Link, Nameplate},
    name, sanitize,
};
use sha2::{Digest, Sha256};

/// A code, a link somewhere in a text, the bytes of a link, and those with a check that holds.
pub(super) fn invite(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(code) = text.parse::<Code>() {
        let again: Code = code.to_string().parse().unwrap();
        assert_eq!(again.to_string(), code.to_string());
    }
    let _ = text.parse::<Nameplate>();
    if let Ok(link) = text.parse::<Link>() {
        assert!(link.to_text().parse::<Link>().unwrap() == link);
    }
    if let Ok(bytes) = base32::decode(&text) {
        assert_eq!(base32::decode(&base32::encode(&bytes)).unwrap(), bytes);
    }
    let _ = base32::parse_ulid(&text);
    let check = Sha256::digest(input);
    let checked = [input, &check[..4]].concat();
    for payload in [input, &checked] {
        if let Ok(link) = Link::from_payload(payload) {
            // One link has one payload.
            assert_eq!(&link.payload()[..], payload);
            assert!(link.to_text().parse::<Link>().unwrap() == link);
        }
    }
}

/// Nothing that drives a terminal, turns text round or cannot be seen is printed; what is clean stays as it is.
pub(super) fn shown(input: &[u8]) {
    let raw = String::from_utf8_lossy(input);
    let (text, line) = (sanitize::text(&raw), sanitize::name(&raw));
    assert!(text.len() <= raw.len() && line.len() <= raw.len());
    assert!(!text.contains(|c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c)));
    assert!(!line.contains(|c: char| c.is_control() || turns(c)));
    assert_eq!(sanitize::text(&text), text);
    assert_eq!(sanitize::name(&line), line);
    if let Ok(name) = name::validate(&raw) {
        assert!(!name.is_empty() && name.len() <= 64);
        assert_eq!(name::validate(&name).as_ref(), Ok(&name));
        assert_eq!(sanitize::name(&name), name);
    }
}

fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}
