//! What is fuzzed in qpq-core. One function per target takes any bytes, and panics where something is not as it
//! should be. libFuzzer calls them (`fuzz/src/main.rs`), and so does the test that replays the corpora
//! (`qpq-core/tests/corpora.rs`). Those of qpq-p2p are in `qpq-p2p/src/fuzz.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a target fails by panicking"
)]

#[path = "targets/bytes.rs"]
mod bytes;
#[path = "targets/disk.rs"]
mod disk;
#[path = "targets/live.rs"]
mod live;
#[path = "targets/texts.rs"]
mod texts;

/// One thing that is fuzzed.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    /// The most bytes that may be allocated at a time, for an input of this length. `None`: it has a database, or
    /// MLS, which libFuzzer's own limit covers.
    pub(crate) memory: Option<fn(usize) -> usize>,
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    target("frame", bytes::frame, Some(|input| 16 * input + 8_192)),
    target("card", bytes::card, Some(|input| 8 * input + 8_192)),
    target("content", bytes::content, Some(|input| 16 * input + 8_192)),
    target("invite_text", texts::invite, Some(|input| 16 * input + 8_192)),
    target("text", texts::shown, Some(|input| 16 * input + 8_192)),
    // Four bytes of edits may make a file 511 bytes longer.
    target(
        "vault",
        disk::vault,
        Some(|input| 4 * (129 * input + 142) + 1_024),
    ),
    target("record", disk::record, Some(|input| 4 * input + 1_024)),
    target("database", disk::database, None),
    target("mls_message", live::mls_message, None),
    target("key_package", live::key_package, None),
    target("welcome", live::welcome, None),
    target("contact_frame", live::contact_frame, None),
    target("stranger_frames", live::stranger_frames, None),
];

const fn target(name: &'static str, run: fn(&[u8]), memory: Option<fn(usize) -> usize>) -> Target {
    Target { name, run, memory }
}

/// Applies edits of four bytes each (where, low and high; what; with what) to bytes that are right: so an input says
/// the same whatever keys and signatures are in them.
pub(crate) fn edited(base: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for edit in edits.as_chunks::<4>().0.iter().take(64) {
        let [low, high, what, with] = *edit;
        let at = usize::from(u16::from_le_bytes([low, high]));
        let at = if bytes.is_empty() { 0 } else { at % bytes.len() };
        match what % 6 {
            0 if !bytes.is_empty() => bytes[at] = with,
            1 if !bytes.is_empty() => bytes[at] ^= with,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, with),
            4 if !bytes.is_empty() => _ = bytes.remove(at),
            _ => bytes.extend(std::iter::repeat_n(with, at % 512)),
        }
    }
    bytes
}
