//! A simulator of groups: seeded schedules of everything that people and networks do to them, and what must hold
//! all the same. One seed gives one run, to the bit.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "tests fail by panicking, and count small things"
)]

#[path = "sim/cases.rs"]
pub(crate) mod cases;
#[path = "sim/invariants.rs"]
pub(crate) mod invariants;
#[path = "sim/lives.rs"]
pub(crate) mod lives;
#[path = "sim/network.rs"]
pub(crate) mod network;
#[path = "sim/people.rs"]
pub(crate) mod people;
#[path = "sim/reference.rs"]
pub(crate) mod reference;
#[path = "sim/scene.rs"]
pub(crate) mod scene;
#[path = "sim/schedule.rs"]
pub(crate) mod schedule;
#[path = "sim/toy.rs"]
pub(crate) mod toy;

use std::collections::BTreeSet;

use qpq_core::{
    consensus::mls::{Mls, Mutant},
    id::EpochId,
};

/// Where members' disks come from.
pub(crate) trait World {
    type Backend: Mls;

    fn new(seed: u64, mutant: Option<Mutant>) -> Self;

    /// A member with an empty disk.
    fn member(&mut self, number: u8) -> Self::Backend;

    /// A copy of a disk, for later.
    fn copy(&mut self, member: &Self::Backend) -> Self::Backend;

    /// A copy in the hands of a member who breaks the rules: how it uses keys is its own affair.
    fn rogue(&mut self, member: &Self::Backend) -> Self::Backend;

    /// The same member with an empty disk.
    fn empty(&mut self, member: &Self::Backend) -> Self::Backend;

    /// The epochs of which a member has copies; `None`: this back-end cannot tell.
    fn copies(&self, member: &Self::Backend) -> Option<BTreeSet<EpochId>>;

    /// Whether any key was used for two plaintexts (I6).
    fn reused(&self) -> Option<String>;
}

/// splitmix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.iter_mut().for_each(|byte| *byte = self.next() as u8);
        bytes
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }
}
