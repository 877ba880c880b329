//! Two peers on loopback, end to end, beside bare iroh, plain openmls and the disk: `scripts/bench`.
//!
//! Every figure is of one run on one machine; what counts is its ratio to the limit in the same run. Peers are
//! processes of their own; their clocks are one, CLOCK_MONOTONIC.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark prints, and fails by panicking"
)]

#[path = "peers/bare.rs"]
mod bare;
#[path = "peers/node.rs"]
mod node;
#[path = "../../qpq-core/benches/support/plain.rs"]
mod plain;
#[path = "peers/process.rs"]
mod process;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/report.rs"]
mod report;

use std::{env, fs, io::Write, path::Path, path::PathBuf, time::Duration, time::Instant};

use report::{Bar, Quantiles, Report};

/// Length of each text.
const TEXT: usize = 256;
/// Between two messages of somebody who types fast, or of a script that waits: everything has gone to sleep.
const PAUSE: Duration = Duration::from_millis(5);
/// Messages of one run, one at a time.
const PACED: usize = 1_000;
/// Messages of one run, as many at a time as are taken.
const FLOOD: usize = 40_000;
/// Runs of each kind, so that their spread is seen.
const RUNS: usize = 3;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["child", "bare"] => bare::serve(),
        ["child", "node", folder, name, port] => node::serve(Path::new(folder), name, port.parse().unwrap()),
        // What cargo adds to them is not ours.
        rest => measure(rest.contains(&"--quick")),
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    paced: usize,
    flood: usize,
    runs: usize,
}

fn measure(quick: bool) {
    let scale = match quick {
        true => Scale {
            paced: PACED / 10,
            flood: FLOOD / 10,
            runs: 1,
        },
        false => Scale {
            paced: PACED,
            flood: FLOOD,
            runs: RUNS,
        },
    };
    let mut report = Report::new();
    report.section("Limits, measured in this run");
    let disk = folder_on("disk", Path::new(env!("CARGO_TARGET_TMPDIR")));
    let memory = folder_on("memory", Path::new("/dev/shm"));
    let sync = fdatasync(&disk.0);
    report.latency("fdatasync of a 4 KiB page", &sync, &[]);
    let (seal, open) = openmls(scale.flood.min(4_000));
    report.latency("plain openmls: encrypt", &seal, &[]);
    report.latency("plain openmls: decrypt", &open, &[]);
    let iroh = bare::round_trips(scale.paced);
    report.latency("bare iroh: round trip / 2", &iroh.one_way, &[]);
    report.latency("  the same, 5 ms apart", &iroh.one_way_paced, &[]);
    report.latency("bare iroh: connect to first answer", &iroh.connect, &[]);

    report.section(
        "One message of 256 bytes, from `send` at one process to its text read at the other (half of two)",
    );
    let durable = || Bar {
        limit: 2 * sync.p50 + Duration::from_micros(150),
        what: "2 x fdatasync + 150 us",
    };
    let unsynced = |one_way: &Quantiles| Bar {
        limit: one_way.p50 + seal.p50 + open.p50,
        what: "iroh round trip / 2 + openmls",
    };
    for (what, folder, pause, bar) in [
        ("on disk at both ends", &disk, Duration::ZERO, durable()),
        ("  the same, 5 ms apart", &disk, PAUSE, durable()),
        (
            "in memory: nothing waits for a disk",
            &memory,
            Duration::ZERO,
            unsynced(&iroh.one_way),
        ),
        (
            "  the same, 5 ms apart",
            &memory,
            PAUSE,
            unsynced(&iroh.one_way_paced),
        ),
    ] {
        let runs = node::latency(&folder.0, scale, pause);
        let middle = Quantiles::median(&runs);
        report.latency(what, &middle, &runs);
        report.against(middle.p50, &bar);
        report.line(
            "  p99 against p50",
            &format!("{:.1} x", middle.p99.as_secs_f64() / middle.p50.as_secs_f64()),
        );
    }

    report.section("Messages sent as fast as they are taken, until each is acknowledged");
    for (what, folder) in [("on disk at both ends", &disk), ("in memory", &memory)] {
        let runs = node::rate(&folder.0, scale);
        report.rate(what, &runs, open.p50);
    }
    report.section("A link");
    let connect = node::connect(&disk.0, bare::CONNECTS);
    report.latency("dial of a contact to its Hello", &connect, &[]);
    let bar = Bar {
        limit: iroh.connect.p50,
        what: "bare iroh",
    };
    report.against(connect.p50, &bar);
    program::measure(&disk.0, scale, &mut report);
}

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder_on(kind: &str, parent: &Path) -> Folder {
    let folder = parent.join(format!("qpq-bench-{kind}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

fn fdatasync(folder: &Path) -> Quantiles {
    let mut file = fs::File::create(folder.join("log")).unwrap();
    let mut times = Vec::new();
    for _ in 0..500 {
        let start = Instant::now();
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed());
    }
    Quantiles::of(times)
}

/// Times of `create_message` and `process_message` of a group of two, its state in memory.
fn openmls(count: usize) -> (Quantiles, Quantiles) {
    let mut plain = plain::Plain::new();
    let text = [b'x'; TEXT];
    let (mut seal, mut open) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let start = Instant::now();
        let sealed = plain.seal(&text);
        seal.push(start.elapsed());
        let start = Instant::now();
        let opened = plain.open(&sealed);
        open.push(start.elapsed());
        assert_eq!(opened, text);
    }
    (Quantiles::of(seal), Quantiles::of(open))
}
