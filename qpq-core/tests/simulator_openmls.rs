//! Groups under everything that can happen to them: the simulator's schedules on openmls.
//!
//! Fewer than on the toy, because each takes a third of a second; `scripts/simulate --backend openmls` runs more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests fail by panicking"
)]

#[path = "support/sim/real.rs"]
mod real;
#[allow(dead_code, reason = "other programs look closer at what was encrypted")]
#[path = "support/seeded_crypto.rs"]
mod seeded_crypto;
#[path = "support/sim.rs"]
mod sim;

use std::panic::catch_unwind;

use qpq_core::consensus::mls::Mutant;
use real::{Real, fingerprint};
use sim::schedule::{Setting, run};

/// Schedules of the gate, and tests that share them: cargo-nextest has a process for each.
const SCHEDULES: u64 = 300;
const PARTS: u64 = 6;

/// Runs its schedules, all of them, and fails with what the first bad ones say.
fn part(part: u64) {
    let seeds = (0..SCHEDULES).filter(|seed| seed % PARTS == part);
    let failures = seeds.filter_map(|seed| {
        let setting = Setting::of(seed);
        let error = match catch_unwind(|| run::<Real>(&setting)) {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error,
            Err(_) => "a panic, see above".to_owned(),
        };
        Some(format!("{}\n{error}\n", setting.repro("openmls")))
    });
    let failures: Vec<String> = failures.collect();
    let first: String = failures.iter().take(3).cloned().collect();
    assert!(failures.is_empty(), "{} failed:\n{first}", failures.len());
}

macro_rules! parts {
    ($($name:ident = $part:literal;)*) => {$(
        #[test]
        fn $name() {
            part($part);
        }
    )*};
}

parts! {
    groups_keep_one_history_on_openmls_part_1 = 0;
    groups_keep_one_history_on_openmls_part_2 = 1;
    groups_keep_one_history_on_openmls_part_3 = 2;
    groups_keep_one_history_on_openmls_part_4 = 3;
    groups_keep_one_history_on_openmls_part_5 = 4;
    groups_keep_one_history_on_openmls_part_6 = 5;
}

/// Everything that was encrypted, all epochs that were entered, and what came of it.
#[test]
fn a_seed_is_one_run_to_the_bit() {
    let outcome = |setting: &Setting| {
        let report = run::<Real>(setting).map_err(|error| error.chars().take(2).collect::<String>());
        (format!("{report:?}"), fingerprint())
    };
    let mut seen = Vec::new();
    for seed in 0..8 {
        let setting = Setting {
            rogues: true,
            disks: true,
            ..Setting::of(seed)
        };
        let first = outcome(&setting);
        assert_eq!(first, outcome(&setting), "seed {seed}");
        assert!(!seen.contains(&first.1), "seed {seed} is another's");
        seen.push(first.1);
    }
}

/// Without parked states, whoever comes back to a branch encrypts by the keys that it used there before.
#[test]
fn keys_that_are_used_twice_are_noticed() {
    let noticed = (0..100).any(|seed| {
        let setting = Setting {
            rogues: true,
            mutant: Some(Mutant::NoParking),
            ..Setting::of(seed)
        };
        run::<Real>(&setting).is_err_and(|error| error.starts_with("I6"))
    });
    assert!(noticed);
}
