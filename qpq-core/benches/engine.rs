//! What the engine costs per operation, beside plain openmls and the disk it waits for.
//!
//! `cargo bench -p qpq-core`. A batch of N is one commit: at N = 1 the disk is waited for once per message.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, and fails by panicking"
)]

#[path = "support/pair.rs"]
mod pair;
#[path = "support/plain.rs"]
mod plain;

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pair::{Pair, frames};
use plain::Plain;
use qpq_core::{engine::Input, passphrase::Passphrase, vault::Vault, wire::Frame};
use rand_core::OsRng;

const BATCHES: [usize; 3] = [1, 10, 100];

/// On the disk of the source tree: many a /tmp is memory, where nothing is waited for.
fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// What is measured of one batch.
#[derive(Clone, Copy)]
enum Part {
    Send,
    Receive,
    Acknowledge,
}

/// The time of one part in so many batches; the others are not counted.
fn time_of(part: Part, pair: &mut Pair, size: usize, batches: u64) -> Duration {
    let mut times = [Duration::ZERO; 3];
    for _ in 0..batches {
        let commands: Vec<_> = (0..size).map(|_| pair.say()).collect();
        let start = Instant::now();
        let sent = pair.anna.step(commands);
        times[0] += start.elapsed();
        let messages = frames(sent);
        assert_eq!(messages.len(), size);
        let start = Instant::now();
        let mut acks = pair.ben.step(messages);
        times[1] += start.elapsed();
        acks.extend(pair.ben.tick());
        let acks = frames(acks);
        assert!(!acks.is_empty());
        let start = Instant::now();
        pair.anna.step(acks);
        times[2] += start.elapsed();
    }
    times[part as usize]
}

fn messages(c: &mut Criterion) {
    for (name, part) in [
        ("send", Part::Send),
        ("receive", Part::Receive),
        ("acknowledge", Part::Acknowledge),
    ] {
        let mut group = c.benchmark_group(name);
        for size in BATCHES {
            let folder = disk();
            let mut pair = Pair::new(folder.path());
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_custom(|batches| time_of(part, &mut pair, size, batches));
            });
        }
        group.finish();
    }
}

fn plain_openmls(c: &mut Criterion) {
    let text = [b'x'; 256];
    let mut group = c.benchmark_group("openmls");
    group.throughput(Throughput::Elements(1));
    let mut plain = Plain::new();
    group.bench_function("encrypt", |bencher| bencher.iter(|| black_box(plain.seal(&text))));
    let mut plain = Plain::new();
    group.bench_function("decrypt", |bencher| {
        bencher.iter_custom(|count| {
            let mut time = Duration::ZERO;
            for _ in 0..count {
                let sealed = plain.seal(&text);
                let start = Instant::now();
                let opened = plain.open(&sealed);
                time += start.elapsed();
                assert_eq!(opened, text);
            }
            time
        });
    });
    group.finish();
}

/// The floor of a batch of one: a page of the log, written and waited for.
fn fdatasync(c: &mut Criterion) {
    let folder = disk();
    let mut file = std::fs::File::create(folder.path().join("log")).unwrap();
    c.bench_function("fdatasync", |bencher| {
        bencher.iter(|| {
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
        });
    });
}

fn codec(c: &mut Criterion) {
    let folder = disk();
    let mut pair = Pair::new(folder.path());
    let sent = pair.send(1);
    let Some(Input::Frame { bytes: app, .. }) = sent.into_iter().next() else {
        unreachable!("a message is a frame");
    };
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Bytes(app.len() as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Frame::decode(black_box(&app)).unwrap())
    });
    let frame = Frame::decode(&app).unwrap();
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&frame).encode()));
    group.finish();
}

/// What stands between a start and the first word: the two files of a profile with some history.
fn cold_start(c: &mut Criterion) {
    const HISTORY: usize = 10_000;
    let mut group = c.benchmark_group("start");
    let vault = Vault::generate(&mut OsRng);
    let plain = vault.seal(None, &mut OsRng).unwrap();
    group.bench_function("vault", |bencher| {
        bencher.iter(|| Vault::open(black_box(&plain), None).unwrap())
    });
    let passphrase = Passphrase::from_bytes(b"correct horse 4 otters".to_vec().into()).unwrap();
    let sealed = vault.seal(Some(&passphrase), &mut OsRng).unwrap();
    group
        .sample_size(10)
        .bench_function("vault under a passphrase", |bencher| {
            bencher.iter(|| Vault::open(black_box(&sealed), Some(&passphrase)).unwrap());
        });
    let folder = disk();
    let mut pair = Pair::new(folder.path());
    for _ in 0..HISTORY / 100 {
        let messages = pair.send(100);
        pair.ben.step(messages);
    }
    group.bench_function("engine with 10,000 messages", |bencher| {
        bencher.iter(|| pair.ben.open_again())
    });
    group.finish();
}

criterion_group!(benches, messages, plain_openmls, fdatasync, codec, cold_start);
criterion_main!(benches);
