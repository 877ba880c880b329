//! Runs seeded schedules of what can happen to a group, and tells what came of it: `scripts/simulate --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a tool for developers: it prints, counts, and may be told the time"
)]

#[allow(dead_code, reason = "a test compares runs")]
#[path = "../tests/support/sim/real.rs"]
mod real;
#[allow(dead_code, reason = "other programs look closer at what was encrypted")]
#[path = "../tests/support/seeded_crypto.rs"]
mod seeded_crypto;
#[path = "../tests/support/sim.rs"]
mod sim;

use std::{cell::RefCell, process::ExitCode, rc::Rc, sync::atomic::Ordering, time::Instant};

use sim::{
    World,
    people::{Counts, TRACE},
    schedule::{Report, Setting, run, shrink},
    toy::Toys,
};

const HELP: &str = "\
Runs seeded schedules of what can happen to a group, and checks that it keeps one history.

  scripts/simulate [--seed N] [--schedules N] [--members N] [--backend toy|openmls]

  --seed N        the first seed (0); without --schedules, the only one
  --schedules N   how many seeds
  --members N     founders, instead of what the seed draws (3 to 5, and 3 newcomers)
  --steps N       steps, instead of what the seed draws (40 to 79, or 200)
  --window N      old epochs kept, instead of what the seed draws (8, 4, 2 or 1)
  --rogues, --no-rogues, --disks, --no-disks
                  members that fork and forge; lost disks and older copies put back
  --untold        whoever has an older copy of its disk is not told so
  --only A,B,C    these steps alone
  --trace         print everything that happens
  --shrink        look for fewer steps that fail the same way
  --backend NAME  toy (the default): hash chains; openmls: the real thing, in SQLite
";

/// What is to be other than the seed draws it.
type Change = Box<dyn Fn(&mut Setting)>;

/// What to run.
struct Options {
    first: u64,
    schedules: u64,
    backend: String,
    shrink: bool,
    changes: Vec<Change>,
    /// What was said of the runs, as it was said: it belongs to what repeats one.
    said: String,
}

fn options() -> Result<Options, String> {
    let mut arguments = std::env::args().skip(1);
    let mut options = Options {
        first: 0,
        schedules: 1,
        backend: "toy".to_owned(),
        shrink: false,
        changes: Vec::new(),
        said: String::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        let number = |value: String| {
            value
                .parse::<u64>()
                .map_err(|_| format!("{argument}: {value} is no number"))
        };
        let change: Change = match argument.as_str() {
            "--seed" => {
                options.first = number(value()?)?;
                continue;
            }
            "--schedules" => {
                options.schedules = number(value()?)?;
                continue;
            }
            "--backend" => {
                options.backend = value()?;
                continue;
            }
            "--shrink" => {
                options.shrink = true;
                continue;
            }
            "--trace" => {
                TRACE.store(true, Ordering::Relaxed);
                continue;
            }
            "--members" => {
                let members = number(value()?)? as usize;
                if !(2..=8).contains(&members) {
                    return Err("--members: 2 to 8".to_owned());
                }
                Box::new(move |setting| setting.members = members)
            }
            "--steps" => {
                let steps = number(value()?)? as usize;
                Box::new(move |setting| setting.steps = steps)
            }
            "--window" => {
                let window = number(value()?)? as usize;
                Box::new(move |setting| setting.window = window)
            }
            "--rogues" => Box::new(|setting| setting.rogues = true),
            "--no-rogues" => Box::new(|setting| setting.rogues = false),
            "--disks" => Box::new(|setting| setting.disks = true),
            "--no-disks" => Box::new(|setting| setting.disks = false),
            "--untold" => Box::new(|setting| setting.untold = true),
            "--only" => {
                let list = value()?;
                let steps: Result<Vec<usize>, _> = list.split(',').map(str::parse).collect();
                let steps = steps.map_err(|_| format!("--only: {list} is no list of steps"))?;
                Box::new(move |setting| setting.only = Some(steps.clone()))
            }
            other => return Err(format!("{other} is not known")),
        };
        let values = std::env::args().skip_while(|other| *other != argument).skip(1);
        let values = values.take_while(|value| !value.starts_with("--"));
        let said = std::iter::once(argument.clone())
            .chain(values)
            .collect::<Vec<_>>();
        if argument != "--only" {
            options.said = format!("{} {}", options.said, said.join(" "));
        }
        options.changes.push(change);
    }
    Ok(options)
}

/// Runs the schedules; how many failed.
fn all<W: World>(options: &Options) -> u64 {
    let start = Instant::now();
    let (mut total, mut rounds, mut failures) = (Counts::default(), Vec::new(), 0);
    for seed in options.first..options.first + options.schedules {
        let mut setting = Setting::of(seed);
        options.changes.iter().for_each(|change| change(&mut setting));
        match run::<W>(&setting) {
            Ok(Report { counts, rounds: took }) => {
                total.add(&counts);
                rounds.push(took);
            }
            Err(error) => {
                failures += 1;
                println!(
                    "seed {seed}: {error}\n  {}",
                    setting.repro(&options.backend) + &options.said
                );
                if options.shrink {
                    println!(
                        "  {}",
                        shrink::<W>(&setting).repro(&options.backend) + &options.said
                    );
                }
            }
        }
    }
    rounds.sort_unstable();
    let at = |percent: usize| {
        rounds
            .get((rounds.len() * percent / 100).min(rounds.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    let rate = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    println!(
        "schedules       {} ({:.1} s)",
        options.schedules,
        start.elapsed().as_secs_f64()
    );
    println!("commits         {} ({} by rogues)", total.commits, total.rogue);
    println!(
        "fork rate       {:.1} % of {} epochs had rivals",
        rate(total.forked, total.epochs),
        total.epochs
    );
    println!(
        "switches        {} (went over to another branch, by rollback or re-add)",
        total.switches
    );
    println!("re-adds         {}", total.readds);
    println!(
        "healing rounds  p50 {}, p99 {}, max {}",
        at(50),
        at(99),
        rounds.last().copied().unwrap_or(0)
    );
    println!("messages        {}", total.messages);
    println!("repairs         {}", total.repairs);
    println!(
        "restarts        {} ({} disks lost or put back)",
        total.restarts, total.disks
    );
    println!("failures        {failures}");
    failures
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("simulate: {error}\nsee --help");
            return ExitCode::from(2);
        }
    };
    let failures = match options.backend.as_str() {
        "toy" => all::<Rc<RefCell<Toys>>>(&options),
        "openmls" => all::<real::Real>(&options),
        other => {
            eprintln!("simulate: there is no back-end {other}\nsee --help");
            return ExitCode::from(2);
        }
    };
    ExitCode::from(u8::from(failures > 0))
}
