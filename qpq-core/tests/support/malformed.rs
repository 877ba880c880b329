//! The factory of malformed frames: from a valid one it makes every interesting malformed variant, by name, and says
//! what it is to be refused for. See docs/src/robustness/hostile-input.md.
#![allow(dead_code, reason = "shared by several test files, each of which uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use qpq_core::wire::{HEADER, MAX_WORDS};

/// What `FrameError` says.
pub(crate) const HEADER_BOUNDS: &str = "frame header is out of bounds";
pub(crate) const LENGTH: &str = "frame body has another length than its header says";
pub(crate) const MALFORMED: &str = "frame is malformed";
pub(crate) const UNKNOWN: &str = "frame is of a kind this version does not know";

/// One variant of a valid frame.
#[derive(Debug, Clone)]
pub(crate) struct Malformed {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) refused: Refused,
}

/// What it is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Exactly this.
    As(&'static str),
    /// A field that has this length no more, or for what is in it: decoding or the engine says so.
    Somehow,
}

/// All variants of a frame.
pub(crate) fn variants(valid: &[u8]) -> Vec<Malformed> {
    let mut all = framing(valid);
    all.extend(roots(valid));
    all.extend(pointers(valid));
    all
}

fn one(name: impl Into<String>, bytes: Vec<u8>, refused: Refused) -> Malformed {
    let name = name.into();
    Malformed { name, bytes, refused }
}

/// Headers that lie, bodies that are cut or go on.
fn framing(valid: &[u8]) -> Vec<Malformed> {
    let cut = |len: usize| valid[..len].to_vec();
    let more = |bytes: usize| [valid, &vec![0; bytes]].concat();
    let words = u32::try_from((valid.len() - HEADER) / 8).unwrap();
    let says = |segments: u32, words: u32| {
        let mut bytes = valid.to_vec();
        bytes[..4].copy_from_slice(&segments.to_le_bytes());
        bytes[4..HEADER].copy_from_slice(&words.to_le_bytes());
        bytes
    };
    let mut oversized = says(0, MAX_WORDS + 1);
    oversized.resize(HEADER + 8 * (usize::try_from(MAX_WORDS).unwrap() + 1), 0);
    let (length, bounds) = (Refused::As(LENGTH), Refused::As(HEADER_BOUNDS));
    vec![
        one("nothing", cut(0), length),
        one("half a header", cut(4), length),
        one("a header alone", cut(HEADER), length),
        one(
            "cut in the middle",
            cut(HEADER + (valid.len() - HEADER) / 2),
            length,
        ),
        one("a word short", cut(valid.len() - 8), length),
        one("a byte short", cut(valid.len() - 1), length),
        one("a byte more", more(1), length),
        one("a word more", more(8), length),
        one("the header says a word more", says(0, words + 1), length),
        one("the header says no words", says(0, 0), bounds),
        one("the header says a word too many", says(0, MAX_WORDS + 1), bounds),
        one("the header says 32 GiB", says(0, u32::MAX), bounds),
        one("the header says two segments", says(1, words), bounds),
        one("the header says 2^32 segments", says(u32::MAX, words), bounds),
        one("oversized", oversized, bounds),
    ]
}

/// Unions and root pointers that are none.
fn roots(valid: &[u8]) -> Vec<Malformed> {
    let with = |at: usize, bytes: &[u8]| {
        let mut all = valid.to_vec();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    let root = |pointer: u64| with(HEADER, &pointer.to_le_bytes());
    let malformed = Refused::As(MALFORMED);
    vec![
        // The union's tag: first data word of the root struct, behind header and root pointer.
        one(
            "an unknown union member",
            with(HEADER + 8, &[0xE7, 3]),
            Refused::As(UNKNOWN),
        ),
        // It reads as a Hello, whose session has no bytes.
        one(
            "no root",
            root(0),
            Refused::As("frame field `session` is invalid"),
        ),
        one("the root is a list", root(list_pointer(0, 2, 8)), malformed),
        one("the root is a far pointer", root(far_pointer()), malformed),
        one("the root is a capability", root(3), malformed),
        one(
            "the root is beyond the end",
            root(struct_pointer(1 << 20, 1, 1)),
            malformed,
        ),
        one(
            "the root is before the beginning",
            root(struct_pointer(-2, 1, 1)),
            malformed,
        ),
        one(
            "the root is larger than the body",
            root(struct_pointer(0, u16::MAX, u16::MAX)),
            malformed,
        ),
    ]
}

/// Every pointer of the content, put to what it must not be.
fn pointers(valid: &[u8]) -> Vec<Malformed> {
    let mut all = Vec::new();
    for Pointer { at, path, target } in walk(valid) {
        let mut put = |what: &str, pointer: u64, refused: Refused| {
            let mut bytes = valid.to_vec();
            bytes[at..at + 8].copy_from_slice(&pointer.to_le_bytes());
            all.push(one(format!("{path} {what}"), bytes, refused));
        };
        let malformed = Refused::As(MALFORMED);
        put("is a far pointer", far_pointer(), malformed);
        put("is a far pointer into its own segment", 2, Refused::Somehow);
        put("is a capability", 3, malformed);
        match target {
            Target::Bytes { offset, len } => {
                put("is absent", 0, Refused::Somehow);
                put("is a struct", struct_pointer(offset, 1, 0), malformed);
                put("is beyond the end", list_pointer(1 << 20, 2, len), malformed);
                put(
                    "has 2^29 - 1 bytes",
                    list_pointer(offset, 2, (1 << 29) - 1),
                    malformed,
                );
                put(
                    "is a list of pointers",
                    list_pointer(offset, 6, len / 8),
                    malformed,
                );
                put(
                    "is a byte short",
                    list_pointer(offset, 2, len.saturating_sub(1)),
                    Refused::Somehow,
                );
            }
            Target::Struct { offset } => {
                put("is absent", 0, Refused::Somehow);
                put("is a list", list_pointer(offset, 2, 8), malformed);
                put("is beyond the end", struct_pointer(1 << 20, 1, 1), malformed);
                put("points at itself", struct_pointer(-1, 0, 4), Refused::Somehow);
            }
            Target::List { offset } => {
                put("is absent", 0, Refused::Somehow);
                put("is a struct", struct_pointer(offset, 1, 1), malformed);
                put("is beyond the end", list_pointer(1 << 20, 7, 1), malformed);
                put(
                    "has 2^29 - 1 elements",
                    list_pointer(offset, 0, (1 << 29) - 1),
                    Refused::Somehow,
                );
                put("is a list of bytes", list_pointer(offset, 2, 8), Refused::Somehow);
            }
        }
    }
    all
}

/// Into a segment that is not there: a frame has one.
fn far_pointer() -> u64 {
    2 | 7 << 32
}

fn struct_pointer(offset: i32, data: u16, pointers: u16) -> u64 {
    let offset = u64::from(u32::from_le_bytes((offset << 2).to_le_bytes()));
    offset | u64::from(data) << 32 | u64::from(pointers) << 48
}

fn list_pointer(offset: i32, size: u64, count: u64) -> u64 {
    let offset = u64::from(u32::from_le_bytes((offset << 2).to_le_bytes()));
    offset | 1 | size << 32 | count << 35
}

/// A pointer of a valid frame: where it is, how one gets there, what it points at.
struct Pointer {
    at: usize,
    path: String,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    Bytes { offset: i32, len: u64 },
    Struct { offset: i32 },
    List { offset: i32 },
}

/// All pointers below the root that are not null (Cap'n Proto encoding: structs, lists).
fn walk(frame: &[u8]) -> Vec<Pointer> {
    let mut found = Vec::new();
    follow(frame, HEADER, "frame".to_owned(), &mut found);
    found.remove(0);
    found
}

fn word(frame: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(frame[at..at + 8].try_into().unwrap())
}

fn follow(frame: &[u8], at: usize, path: String, found: &mut Vec<Pointer>) {
    let pointer = word(frame, at);
    if pointer == 0 {
        return;
    }
    let low = i32::from_le_bytes(frame[at..at + 4].try_into().unwrap());
    let offset = low >> 2;
    let to = at
        .checked_add_signed(8 + 8 * isize::try_from(offset).unwrap())
        .unwrap();
    let (size, count) = (pointer >> 32 & 7, pointer >> 35);
    let target = match (pointer & 3, size) {
        (0, _) => Target::Struct { offset },
        (1, 2) => Target::Bytes { offset, len: count },
        (1, 6 | 7) => Target::List { offset },
        other => panic!("{path} is {other:?}"),
    };
    found.push(Pointer {
        at,
        path: path.clone(),
        target,
    });
    match target {
        Target::Bytes { .. } => {}
        Target::Struct { .. } => {
            let (data, pointers) = (pointer >> 32 & 0xFFFF, pointer >> 48);
            structs(frame, to, [1, data, pointers], &path, found);
        }
        Target::List { .. } if size == 6 => {
            for nth in 0..usize::try_from(count).unwrap() {
                follow(frame, to + 8 * nth, format!("{path}[{nth}]"), found);
            }
        }
        Target::List { .. } => {
            let tag = word(frame, to);
            let elements = (tag & 0xFFFF_FFFF) >> 2;
            structs(
                frame,
                to + 8,
                [elements, tag >> 32 & 0xFFFF, tag >> 48],
                &path,
                found,
            );
        }
    }
}

/// `[count, data words, pointers]` of structs that lie one behind the other.
fn structs(frame: &[u8], at: usize, sizes: [u64; 3], path: &str, found: &mut Vec<Pointer>) {
    let [count, data, pointers] = sizes.map(|size| usize::try_from(size).unwrap());
    for nth in 0..count {
        for pointer in 0..pointers {
            let at = at + 8 * (nth * (data + pointers) + data + pointer);
            let element = if count > 1 {
                format!("[{nth}]")
            } else {
                String::new()
            };
            follow(frame, at, format!("{path}{element}.{pointer}"), found);
        }
    }
}
