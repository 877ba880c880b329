//! Every input of the fuzzer's corpora once more: each that ever failed is among them (`fuzz/corpus`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "what is measured is the engine, which has no clock"
)]

#[path = "support/bench.rs"]
mod bench;
#[path = "support/net.rs"]
mod net;
#[path = "support/scenes.rs"]
mod scenes;
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use targets::{TARGETS, Target};

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(1);

fn corpus(target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target.name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    assert!(target.memory.is_none_or(|memory| memory(1_000) < 1 << 20));
    let files = corpus(target);
    assert!(files.len() >= 5, "{name} has a corpus");
    // The first one sets the stage.
    (target.run)(&[]);
    for file in files {
        let input = fs::read(&file).unwrap();
        // Twice more where a busy machine may be what took the time.
        let in_time = (0..3).any(|_| {
            let began = Instant::now();
            (target.run)(&input);
            began.elapsed() < LONGEST
        });
        assert!(in_time, "{} took longer than {LONGEST:?}", file.display());
    }
}

macro_rules! replays {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let replayed = [$(stringify!($name)),*];
            let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, replayed);
        }
    };
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
