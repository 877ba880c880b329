//! Groups under everything that can happen to them: seeded schedules on the toy back-end, and the rule broken on
//! purpose in every part of it.

#![allow(clippy::panic, reason = "tests fail by panicking")]

#[path = "support/sim.rs"]
mod sim;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use qpq_core::consensus::mls::Mutant;
use sim::{
    schedule::{Setting, run, shrink},
    toy::Toys,
};

type Toy = Rc<RefCell<Toys>>;

/// Runs schedules and, where one fails, tells how to repeat it with as few steps as possible.
fn all_hold(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let setting = Setting::of(seed);
        if let Err(error) = run::<Toy>(&setting) {
            let short = shrink::<Toy>(&setting);
            let repro = short.repro("toy");
            panic!(
                "seed {seed}: {error}\nrepeat it by\n{}\nor shorter by\n{repro}",
                setting.repro("toy")
            );
        }
    }
}

// Several tests, so that they run beside each other.
#[test]
fn groups_keep_one_history_whatever_happens_1() {
    all_hold(0..2_500);
}

#[test]
fn groups_keep_one_history_whatever_happens_2() {
    all_hold(2_500..5_000);
}

#[test]
fn groups_keep_one_history_whatever_happens_3() {
    all_hold(5_000..7_500);
}

#[test]
fn groups_keep_one_history_whatever_happens_4() {
    all_hold(7_500..10_000);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [1, 5, 23] {
        let twice = [0, 1].map(|_| run::<Toy>(&Setting::of(seed)).map(|report| format!("{report:?}")));
        assert_eq!(twice[0], twice[1]);
    }
}

/// What breaks first without a part of the rule, and in which seed.
fn broken_by(mutant: Mutant, change: impl Fn(&mut Setting)) -> Option<(u64, String)> {
    (0..500).find_map(|seed| {
        let mut setting = Setting::of(seed);
        setting.mutant = Some(mutant);
        change(&mut setting);
        let caught = catch_unwind(AssertUnwindSafe(|| run::<Toy>(&setting).err()));
        // A back-end that is asked for what it does not have has noticed as well.
        caught
            .unwrap_or_else(|_| Some("panic".to_owned()))
            .map(|error| (seed, error))
    })
}

/// A test for each part of the rule: without it, random schedules break the invariant that is named.
macro_rules! missed {
    ($($name:ident: $mutant:ident breaks $invariant:literal;)*) => {$(
        #[test]
        fn $name() {
            let broken = broken_by(Mutant::$mutant, |setting| setting.untold |= Mutant::$mutant == Mutant::IgnoreRestore);
            let (seed, error) = broken.expect("nobody noticed");
            assert!(error.starts_with($invariant), "seed {seed}: {error}");
        }
    )*};
}

missed! {
    without_retransmission_the_group_does_not_heal: NoRetransmission breaks "I1";
    without_adding_again_the_group_does_not_heal: NoReadd breaks "I1";
    trimming_what_is_owed_by_the_roster_loses_messages: NeedTrimmedByRoster breaks "I2";
    states_by_number_are_mistaken_for_each_other: SnapshotByNumber breaks "panic";
    returning_without_parked_states_uses_keys_twice: NoParking breaks "I6";
    counting_messages_only_uses_the_keys_of_commits_twice: SpentWithoutCommits breaks "I6";
    settling_by_stream_position_never_settles: SettleByPosition breaks "I1";
    numbers_of_a_former_life_hide_messages: SeenByMember breaks "I1";
    a_commit_that_lost_must_be_made_again: NoReissue breaks "I1";
    a_copy_from_before_the_commit_was_staged_is_no_way_back: SnapshotBeforeStaging breaks "panic";
    an_older_copy_that_goes_on_uses_keys_twice: IgnoreRestore breaks "I6";
}
