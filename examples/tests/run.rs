//! Runs every example and reads what it prints.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// Most lines of code of an example: one idea fits.
const LINES: usize = 120;

/// Every example is run below.
const EXAMPLES: [&str; 2] = ["engines_in_memory.rs", "two_peers.rs"];

#[track_caller]
fn output_of(program: &str) -> Vec<String> {
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn two_peers_meet_and_talk() {
    let lines = output_of(env!("CARGO_BIN_EXE_two_peers"));
    assert!(lines[0].starts_with("anna tells ben: 4-"), "{lines:?}");
    assert_eq!(
        lines[1..],
        ["ben knows anna, anna knows ben", "anna: hi ben", "ben: hi anna"]
    );
}

#[test]
fn engines_show_every_frame_of_a_pairing_and_a_message() {
    let expected = [
        "ben dials anna",
        "ben -> anna: PairStart",
        "anna -> ben: PairReply",
        "ben -> anna: PairProof",
        "anna -> ben: PairProof",
        "ben -> anna: ContactRequest",
        "anna -> ben: ContactAccept",
        "anna -> ben: Head",
        "ben knows anna",
        "ben -> anna: Head",
        "anna knows ben",
        "anna -> ben: App",
        "ben -> anna: AppAck",
        "anna knows that it arrived",
        "ben refuses that: frame header is out of bounds",
        "ben ends the link",
    ];
    assert_eq!(output_of(env!("CARGO_BIN_EXE_engines_in_memory")), expected);
}

#[test]
fn every_example_is_short_and_run_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = text.lines().filter(is_code).count();
        assert!(lines < LINES, "{:?}: {lines} lines of code", entry.path());
        found.insert(entry.file_name().into_string().unwrap());
    }
    assert!(found.iter().eq(EXAMPLES), "{found:?}");
}
