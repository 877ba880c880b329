//! Random SIGKILLs of real programs under traffic both ways: nothing accepted is lost, nothing is there twice, no
//! key is used for two ciphertexts, and whoever is killed is back within two seconds. `scripts/soak` runs it longer.
#![cfg(all(debug_assertions, target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking, and print what they measured"
)]

#[path = "../../qpq-core/tests/support/net/generation.rs"]
mod generation;
#[path = "support/mortal.rs"]
mod mortal;
#[path = "support/people.rs"]
mod people;
#[path = "kills/side.rs"]
mod side;
#[path = "kills/taps.rs"]
mod taps;

use std::time::{Duration, Instant};

use people::{anna_and_ben, meet};
use side::{Chance, Line, Side, until};
use taps::Taps;

/// Kills in the gate, unless the environment names another number.
const KILLS: usize = 200;
/// Pairs of people at once: they wait for each other most of the time.
const PAIRS: usize = 2;
/// What the design promises for a restart.
const RESTART: Duration = Duration::from_secs(2);
/// A machine that is busy with something else may stop a single process for longer.
const RESTART_WHEN_BUSY: Duration = Duration::from_secs(15);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What was seen, summed over all pairs.
#[derive(Default)]
struct Summary {
    kills: usize,
    accepted: usize,
    delivered: usize,
    lost: usize,
    doubled: usize,
    out_of_order: usize,
    generations: usize,
    reused: usize,
    restarts: Vec<Duration>,
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.generations += other.generations;
        self.reused += other.reused;
        self.restarts.extend(other.restarts);
    }

    fn median(&self) -> Duration {
        self.restarts[self.restarts.len() / 2]
    }

    fn tell(&self, seed: u64, took: Duration) {
        println!(
            "soak: seed {seed}, {} kills in {} s; {} messages accepted, {} delivered ({} a second), {} lost, {} doubled, \
             {} out of order; {} generations read, {} reused; {} restarts, p50 {} ms, max {} ms",
            self.kills,
            took.as_secs(),
            self.accepted,
            self.delivered,
            self.delivered as u64 / took.as_secs().max(1),
            self.lost,
            self.doubled,
            self.out_of_order,
            self.generations,
            self.reused,
            self.restarts.len(),
            self.median().as_millis(),
            self.restarts.last().unwrap().as_millis(),
        );
    }
}

/// Two people talk while their programs are killed, this often or until then; in the end both have everything.
fn talk_and_kill(mut chance: Chance, kills: usize, until_then: Option<Instant>) -> Summary {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut sides = [Side::new(anna, "ben"), Side::new(ben, "anna")];
    for side in &mut sides {
        side.start_listener();
        side.start_sender();
    }
    let (mut killed, mut restarts) = (0, Vec::new());
    while killed < kills && until_then.is_none_or(|end| Instant::now() < end) {
        // Mostly in the middle of traffic, now and then in the middle of a start.
        let more = if chance.below(4) == 0 {
            0
        } else {
            1 + chance.below(12)
        };
        let goal = heard(&sides) + more;
        until("traffic", || {
            sides.iter_mut().for_each(Side::read);
            heard(&sides) >= goal
        });
        std::thread::sleep(Duration::from_millis(chance.below(120) as u64));
        let at = chance.below(2);
        let victims = if chance.below(5) == 0 {
            vec![0, 1]
        } else {
            vec![at]
        };
        let what = chance.below(3);
        for victim in &victims {
            killed += sides[*victim].kill(what != 1, what != 2);
        }
        for victim in &victims {
            sides[*victim].restart();
        }
        for side in &mut sides {
            restarts.extend(side.restarted());
        }
    }
    let mut summary = settle(sides);
    summary.kills = killed;
    restarts.append(&mut summary.restarts);
    summary.restarts = restarts;
    summary
}

fn heard(sides: &[Side; 2]) -> usize {
    sides.iter().map(|side| side.heard.len()).sum()
}

/// Lets everything arrive, ends all, and compares both disks.
fn settle(mut sides: [Side; 2]) -> Summary {
    sides.iter_mut().for_each(Side::stop_feeding);
    until("everything that was accepted", || {
        sides.iter_mut().for_each(Side::read);
        (0..2).all(|at| sides[at].accepted.is_subset(&sides[1 - at].heard) && sides[at].has_nothing_waiting())
    });
    let mut summary = Summary::default();
    let mut taps = Taps::default();
    for side in &mut sides {
        summary.restarts.extend(side.restarted());
        side.end();
        taps.read(side.tap.path(), &side.folder());
    }
    let logs = [sides[0].log(), sides[1].log()];
    for (from, to) in [(0, 1), (1, 0)] {
        let ((own, _), (_, received)) = (&logs[from], &logs[to]);
        sides[from].check_texts(own);
        let ids = |log: &[Line]| log.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        let (own_ids, received_ids) = (ids(own), ids(received));
        let distinct: std::collections::BTreeSet<_> = received_ids.iter().collect();
        summary.accepted += sides[from].accepted.len();
        summary.delivered += distinct.len();
        summary.doubled += received_ids.len() - distinct.len();
        let missing = |id: &&String| !distinct.contains(id) || !own_ids.contains(id);
        summary.lost += sides[from].accepted.iter().filter(missing).count();
        // What was stored, and not told before the kill, counts as well.
        summary.lost += own_ids
            .iter()
            .filter(|id| !sides[from].accepted.contains(*id) && !distinct.contains(id))
            .count();
        summary.out_of_order += own_ids.iter().zip(&received_ids).filter(|(a, b)| a != b).count();
        assert!(
            sides[to].heard.iter().all(|id| distinct.contains(id)),
            "shown, and not in the log"
        );
    }
    summary.generations = taps.generations();
    summary.reused = taps.reused;
    assert!(
        summary.generations >= summary.delivered,
        "a message came that no tap has seen: {} of {}",
        summary.generations,
        summary.delivered
    );
    summary
}

#[test]
fn programs_killed_at_random_under_traffic_lose_and_double_nothing_and_use_no_key_twice() {
    let seed = number("CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    let kills = number("CRASH_KILLS").map_or(KILLS, |kills| usize::try_from(kills).unwrap());
    // Told with a failure; it repeats the choices, not the machine's timing.
    println!("CRASH_SEED={seed} CRASH_KILLS={kills}");
    let began = Instant::now();
    let end = number("CRASH_MINUTES").map(|minutes| began + Duration::from_secs(60 * minutes));
    let pairs: Vec<_> = (0..PAIRS)
        .map(|pair| {
            let chance = Chance(seed ^ pair as u64);
            std::thread::spawn(move || talk_and_kill(chance, kills.div_ceil(PAIRS), end))
        })
        .collect();
    let mut summary = Summary::default();
    for pair in pairs {
        summary.add(pair.join().unwrap());
    }
    summary.restarts.sort_unstable();
    summary.tell(seed, began.elapsed());
    assert_eq!((summary.lost, summary.doubled, summary.out_of_order), (0, 0, 0));
    assert_eq!(summary.reused, 0, "one key for two ciphertexts");
    assert!(summary.kills >= kills || end.is_some());
    assert!(
        summary.median() <= RESTART,
        "restarts take {:?}",
        summary.median()
    );
    assert!(*summary.restarts.last().unwrap() <= RESTART_WHEN_BUSY);
}
