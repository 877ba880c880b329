//! Every input of the fuzzer's corpora once more: each that ever failed is among them (`fuzz/corpus`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/bench.rs"]
mod bench;
#[path = "support/net.rs"]
mod net;
#[macro_use]
#[path = "../../fuzz/replay.rs"]
mod replay;
#[path = "support/scenes.rs"]
mod scenes;
#[path = "../../fuzz/targets.rs"]
mod targets;

use targets::TARGETS;

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    assert!(target.memory.is_none_or(|memory| memory(1_000) < 1 << 20));
    replay::replay(name, target.run);
}

replays!(
    frame,
    card,
    content,
    invite_text,
    text,
    vault,
    record,
    database,
    mls_message,
    key_package,
    welcome,
    contact_frame,
    stranger_frames,
);
