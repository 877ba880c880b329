//! Every input of a corpus once more: each that ever failed is among them. Shared by the crates that have targets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "what is measured is a target, which has no clock"
)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(1);

pub(crate) fn replay(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{name} has a corpus");
    // The first one sets the stage.
    run(&[]);
    for file in files {
        let input = fs::read(&file).unwrap();
        // Twice more where a busy machine may be what took the time.
        let in_time = (0..3).any(|_| {
            let began = Instant::now();
            run(&input);
            began.elapsed() < LONGEST
        });
        assert!(in_time, "{} took longer than {LONGEST:?}", file.display());
    }
}

/// A test for each target by its name, and one that none is left out. `replay` and `TARGETS` are the crate's.
macro_rules! replays {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, [$(stringify!($name)),*]);
        }
    };
}
