//! What a step of the rule of groups costs, by the number of members, beside openmls alone. The database is in memory:
//! what the disk adds is one commit per step (`benches/engine.rs`).
//!
//! The group is as one is right after its members were added in one Commit and the founder has updated once: for whoever
//! commits it is the dearest, because nearly every leaf is sealed to by itself.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::arithmetic_side_effects,
    reason = "a benchmark reads the clock, and fails by panicking"
)]

#[path = "support/plain_group.rs"]
mod plain_group;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
    measurement::WallTime,
};
use plain_group::Plain;
use qpq_core::{
    consensus::{
        danger::{Disk, Member, of_a_peer},
        mls::{Change, Mls as _, Staged},
    },
    content::GroupData,
    id::{EpochId, GroupId, MemberId},
    identity::Identity,
    secret::Secret,
};

const MEMBERS: [u16; 4] = [2, 10, 100, 1_000];
const GROUP: GroupId = GroupId([7; 16]);

fn identity(who: u16) -> Identity {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&who.to_be_bytes());
    Identity::from_seed(&Secret::new(seed))
}

fn member(who: u16) -> Member {
    Member::new(identity(who), GROUP, of_a_peer()).unwrap()
}

/// The disks of two members of a group, and a Commit of the first that the second has not seen.
struct Start {
    anna: Disk,
    ben: Disk,
    base: EpochId,
    commit: Vec<u8>,
}

struct Pair {
    anna: Member,
    ben: Member,
    base: EpochId,
    commit: Vec<u8>,
}

impl Start {
    fn new(members: u16) -> Self {
        let (mut anna, mut ben) = (member(0), member(1));
        let packages = std::iter::once(ben.key_package().unwrap())
            .chain((2..members).map(|who| member(who).key_package().unwrap()));
        let welcome = found(&mut anna, packages.collect()).welcome.unwrap();
        assert!(ben.join(&welcome, &|_| true).unwrap());
        let first = anna.stage(&Change::default(), b"").unwrap().unwrap();
        anna.merge_pending().unwrap();
        ben.apply(&first.commit).unwrap();
        anna.commit().unwrap();
        ben.commit().unwrap();
        let (hers, his) = (anna.disk().unwrap(), ben.disk().unwrap());
        Self {
            anna: hers,
            ben: his,
            base: ben.epoch().unwrap().id,
            commit: anna.stage(&Change::default(), b"").unwrap().unwrap().commit,
        }
    }

    fn pair(&self) -> Pair {
        let put = |who: u16, disk: &Disk| Member::from_disk(identity(who), GROUP, of_a_peer(), disk).unwrap();
        Pair {
            anna: put(0, &self.anna),
            ben: put(1, &self.ben),
            base: self.base,
            commit: self.commit.clone(),
        }
    }
}

impl Pair {
    fn judge(&mut self) {
        let judged = self.ben.judge(&self.base, &self.commit).unwrap();
        black_box(judged.proposed().unwrap());
    }

    /// What a step takes, from the same state each time.
    fn at_base(&mut self, step: impl FnOnce(&mut Self)) -> Duration {
        self.ben.snapshot().unwrap();
        let time = time(|| step(self));
        self.ben.restore(&self.base).unwrap();
        time
    }
}

/// A group with everybody in one Commit.
fn found(founder: &mut Member, packages: Vec<Vec<u8>>) -> Staged {
    let admins = vec![MemberId::from(&founder.own())];
    founder
        .create(&GroupData {
            name: String::new(),
            admins,
            version: 1,
        })
        .unwrap();
    let change = Change {
        adds: packages,
        ..Change::default()
    };
    let staged = founder.stage(&change, b"").unwrap().unwrap();
    founder.merge_pending().unwrap();
    staged
}

/// The time of one part of so many rounds.
fn timed(rounds: u64, mut round: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| round()).sum()
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// One row of the table for one number of members: `round` takes the time of what it is about.
fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    members: u16,
    mut round: impl FnMut() -> Duration,
) {
    group.bench_function(BenchmarkId::new(name, members), |bencher| {
        bencher.iter_custom(|rounds| timed(rounds, &mut round));
    });
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("group");
    group.sampling_mode(SamplingMode::Flat);
    group.measurement_time(Duration::from_secs(3));
    group.warm_up_time(Duration::from_secs(1));
    group.sample_size(10);
    for members in MEMBERS {
        let start = Start::new(members);
        commits(&mut group, members, &start);
        copies(&mut group, members, &start);
        messages(&mut group, members, &start);
        let plain = Plain::new(members);
        row(&mut group, "plain: stage", members, || plain.staged());
        row(&mut group, "plain: process and merge", members, || {
            plain.applied()
        });
        row(&mut group, "plain: load", members, || plain.loaded());
    }
    group.finish();
}

fn commits(group: &mut BenchmarkGroup<'_, WallTime>, members: u16, start: &Start) {
    let mut pair = start.pair();
    row(group, "stage", members, || {
        time(|| drop(pair.anna.stage(&Change::default(), b"").unwrap().unwrap()))
    });
    row(group, "judge", members, || time(|| pair.judge()));
    row(group, "apply", members, || {
        pair.at_base(|pair| pair.ben.apply(&pair.commit).unwrap())
    });
    row(group, "judge and apply", members, || {
        pair.at_base(|pair| {
            pair.judge();
            pair.ben.apply(&pair.commit).unwrap();
        })
    });
    row(group, "merge own", members, || {
        pair.ben.stage(&Change::default(), b"").unwrap().unwrap();
        pair.at_base(|pair| pair.ben.merge_pending().unwrap())
    });
    pair.ben.snapshot().unwrap();
    pair.ben.apply(&pair.commit).unwrap();
    row(group, "judge on a copy", members, || time(|| pair.judge()));
}

fn copies(group: &mut BenchmarkGroup<'_, WallTime>, members: u16, start: &Start) {
    let Pair { mut ben, base, .. } = start.pair();
    row(group, "snapshot", members, || time(|| ben.snapshot().unwrap()));
    row(group, "restore", members, || {
        ben.snapshot().unwrap();
        time(|| ben.restore(&base).unwrap())
    });
}

fn messages(group: &mut BenchmarkGroup<'_, WallTime>, members: u16, start: &Start) {
    let mut pair = start.pair();
    row(group, "seal", members, || {
        time(|| drop(pair.anna.seal(b"", b"hello").unwrap()))
    });
    let mut pair = start.pair();
    row(group, "open", members, || {
        let sealed = pair.anna.seal(b"", b"hello").unwrap();
        time(|| drop(pair.ben.open(&pair.base, &sealed).unwrap().unwrap()))
    });
    let sealed = pair.anna.seal(b"", b"hello").unwrap();
    pair.ben.snapshot().unwrap();
    pair.ben.apply(&pair.commit).unwrap();
    row(group, "open on a copy", members, || {
        time(|| drop(pair.ben.open(&pair.base, &sealed).unwrap().unwrap()))
    });
}

/// A member's database, with nothing in it; a group with all its members in one Commit.
fn beginnings(c: &mut Criterion) {
    let mut group = c.benchmark_group("group");
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    group.bench_function("member", |bencher| bencher.iter(|| member(0)));
    for members in MEMBERS {
        let mut founder = member(0);
        let packages = (1..members).map(|who| member(who).key_package().unwrap());
        let packages: Vec<_> = packages.collect();
        row(&mut group, "create and add all", members, || {
            time(|| drop(found(&mut founder, packages.clone())))
        });
    }
    group.finish();
}

criterion_group!(benches, steps, beginnings);
criterion_main!(benches);
