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

#[cfg(test)]
#[macro_use]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod every_input_is_survived_by {
    use super::{TARGETS, replay};

    fn replay(name: &str) {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        replay::replay(name, target.run);
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
