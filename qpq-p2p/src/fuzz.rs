//! What is fuzzed in qpq-p2p: one function per target takes any bytes, and panics where something is not as it should
//! be. libFuzzer calls them (`fuzz/src/main.rs`), and the tests replay the corpora. Those of qpq-core are in
//! `fuzz/targets.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use crate::{config, control, lan, link};

/// One thing that is fuzzed.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("link_stream", link::fuzz::stream),
    target("mdns_txt", lan::fuzz::txt),
    target("control_socket", control::fuzz::socket),
    target("request", control::fuzz::request),
    target("config_file", config::fuzz::file),
    target("environment", config::fuzz::environment),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The corpora once more: each input that ever failed is in them.
#[cfg(test)]
mod every_input_is_survived_by {
    use std::{
        fs,
        path::Path,
        time::{Duration, Instant},
    };

    use super::TARGETS;

    /// No input may take longer.
    const LONGEST: Duration = Duration::from_secs(1);

    fn replay(name: &str) {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
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
                let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                assert_eq!(all, [$(stringify!($name)),*]);
            }
        };
    }

    replays!(
        link_stream,
        mdns_txt,
        control_socket,
        request,
        config_file,
        environment,
    );
}
