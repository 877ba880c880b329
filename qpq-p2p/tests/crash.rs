//! kill -9 at any moment: what was accepted arrives, in order, each message once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they measured"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, Read, Write},
    process::{ChildStdin, ExitStatus, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

#[path = "support/people.rs"]
mod people;

use people::{KillOnDrop, Person, Running, anna_and_ben, code_of, free_port, meet, object, text};

/// Messages that `listen` prints before it marks them as read.
const PAGE: usize = 64;

/// For anything that must happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// Moments to kill at. The seed is told when the test fails; `CRASH_SEED` repeats its run.
struct Chance(u64);

impl Chance {
    fn new(test: &str) -> Self {
        let seed =
            std::env::var("CRASH_SEED").map_or_else(|_| getrandom::u64().unwrap(), |s| s.parse().unwrap());
        println!("{test}: CRASH_SEED={seed}");
        Self(seed)
    }

    /// A number of a range, by splitmix64.
    fn among(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }
}

/// A `qpq` that is fed lines, and whose answer is read by a thread.
struct Process {
    child: KillOnDrop,
    /// Kept open until the end: the feeding thread hands it back.
    feeding: JoinHandle<Option<ChildStdin>>,
    reading: JoinHandle<()>,
}

impl Process {
    /// Everything that it prints is sent on with its number.
    fn start(
        person: &Person,
        arguments: &[&str],
        input: Vec<String>,
        who: usize,
        to: &Sender<(usize, Value)>,
    ) -> Self {
        let mut command = person.command(arguments);
        command.stdin(Stdio::piped());
        let Running { mut child, stdout } = Running::spawn(&mut command);
        let mut stdin = child.stdin.take().unwrap();
        let feeding = std::thread::spawn(move || {
            // A killed program does not read to the end.
            input
                .iter()
                .try_for_each(|line| writeln!(stdin, "{line}"))
                .ok()
                .map(|()| stdin)
        });
        let to = to.clone();
        let reading = std::thread::spawn(move || {
            // The last line of a killed program may be half a line, which nobody could have acted upon.
            for line in stdout.lines().map_while(Result::ok) {
                let Ok(object) = serde_json::from_str(&line) else {
                    return;
                };
                if to.send((who, object)).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            feeding,
            reading,
        }
    }

    /// kill -9; returns when nothing more comes from it.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reading.join().unwrap();
        self.feeding.join().unwrap();
    }

    /// The end of its input, then its own.
    fn end(mut self) -> ExitStatus {
        drop(self.feeding.join().unwrap());
        let status = self.child.wait().unwrap();
        self.reading.join().unwrap();
        status
    }
}

/// All that a person has written and got: (id, text), oldest first.
fn log(person: &Person) -> [Vec<(String, String)>; 2] {
    let log = text(person.run(&["log", "--json", "-n", "0"]), 0);
    let (own, received): (Vec<Value>, Vec<Value>) = log
        .lines()
        .map(object)
        .partition(|message| message.get("own").is_some());
    [own, received].map(|messages| {
        messages
            .iter()
            .map(|message| (id_of(message), text_of(message)))
            .collect()
    })
}

fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

fn text_of(message: &Value) -> String {
    message["text"].as_str().unwrap().to_owned()
}

fn texts(messages: &[(String, String)]) -> Vec<&str> {
    messages.iter().map(|(_, text)| text.as_str()).collect()
}

/// One side of a conversation that goes on over any number of kills.
struct Talker {
    who: usize,
    person: Person,
    peer: &'static str,
    lines: Vec<String>,
    process: Option<Process>,
    /// Ids of messages that were printed, and of own ones that were told to be delivered.
    heard: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Talker {
    fn new(who: usize, person: Person, peer: &'static str, lines: usize) -> Self {
        let lines = (0..lines).map(|n| format!("{n} for {peer}")).collect();
        Self {
            who,
            person,
            peer,
            lines,
            process: None,
            heard: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// Goes on with what the log says was not accepted yet.
    fn start(&mut self, to: &Sender<(usize, Value)>) {
        let [own, _] = log(&self.person);
        assert_eq!(
            texts(&own),
            self.lines[..own.len()],
            "what was accepted is no beginning of what was sent"
        );
        let rest = self.lines[own.len()..].to_vec();
        let arguments = ["chat", "--plain", "--json", self.peer];
        self.process = Some(Process::start(&self.person, &arguments, rest, self.who, to));
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    fn take(&mut self, object: &Value) {
        match object["type"].as_str() {
            // A chat begins with what was read before.
            Some("message") if object.get("own").is_none() => self.heard.insert(id_of(object)),
            Some("sent") if object["state"] == "delivered" => self.told.insert(id_of(object)),
            _ => false,
        };
    }
}

/// Both talk at once while the victims are killed in turn, each time after so many further messages.
fn talk_and_kill(lines: usize, victims: &[&[usize]], chance: &mut Chance) {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut talkers = [
        Talker::new(0, anna, "ben", lines),
        Talker::new(1, ben, "anna", lines),
    ];
    let (to, printed) = channel();
    for talker in &mut talkers {
        talker.start(&to);
    }
    for victims in victims {
        let more = usize::try_from(chance.among(50..350)).unwrap();
        let until = (heard_by_both(&talkers) + more).min(2 * lines);
        hear(&mut talkers, &printed, |talkers| heard_by_both(talkers) >= until);
        for victim in *victims {
            talkers[*victim].kill();
        }
        for victim in *victims {
            talkers[*victim].start(&to);
        }
    }
    hear(&mut talkers, &printed, |talkers| {
        talkers.iter().all(|talker| talker.heard.len() >= lines)
    });
    for talker in &mut talkers {
        let status = talker.process.take().unwrap().end();
        assert_eq!(
            status.code(),
            Some(0),
            "{} still waits for something",
            talker.peer
        );
    }
    printed
        .try_iter()
        .for_each(|(who, object)| talkers[who].take(&object));
    assert_equal(&talkers);
}

fn heard_by_both(talkers: &[Talker; 2]) -> usize {
    talkers.iter().map(|talker| talker.heard.len()).sum()
}

/// Takes what is printed until the condition holds.
#[track_caller]
fn hear(talkers: &mut [Talker; 2], printed: &Receiver<(usize, Value)>, done: impl Fn(&[Talker; 2]) -> bool) {
    while !done(talkers) {
        let Ok((who, object)) = printed.recv_timeout(DEADLINE) else {
            let heard = talkers.each_ref().map(|talker| talker.heard.len());
            let stored = talkers
                .each_ref()
                .map(|talker| log(&talker.person).map(|messages| messages.len()));
            panic!("nothing more comes: heard {heard:?}, stored {stored:?}");
        };
        talkers[who].take(&object);
    }
}

#[track_caller]
fn assert_equal(talkers: &[Talker; 2]) {
    let logs = talkers.each_ref().map(|talker| log(&talker.person));
    for (from, to) in [(0, 1), (1, 0)] {
        let ([own, _], [_, received]) = (&logs[from], &logs[to]);
        assert_eq!(texts(own), talkers[from].lines, "the sender's log");
        assert!(
            own == received,
            "the logs differ: {:?}",
            own.iter().zip(received).find(|(a, b)| a != b)
        );
        let ids: BTreeSet<_> = own.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids.len(), own.len(), "ids are used twice");
        assert_eq!(
            talkers[to].heard, ids,
            "printed, but never in the log, or the other way round"
        );
        assert!(
            talkers[from].told.is_subset(&ids),
            "told to be delivered, and lost"
        );
    }
}

#[test]
fn what_was_accepted_arrives_once_and_in_order_whoever_is_killed() {
    let mut chance = Chance::new("talk_and_kill");
    talk_and_kill(1_000, &[&[0], &[1], &[0, 1], &[1], &[0]], &mut chance);
}

#[test]
fn what_was_accepted_survives_kills_in_quick_succession() {
    let mut chance = Chance::new("quick succession");
    let victims: Vec<Vec<usize>> = (0..12)
        .map(|_| [vec![0], vec![1], vec![0, 1]][usize::try_from(chance.among(0..3)).unwrap()].clone())
        .collect();
    let victims: Vec<&[usize]> = victims.iter().map(Vec::as_slice).collect();
    talk_and_kill(1_500, &victims, &mut chance);
}

/// `listen` prints each message at least once, `log` has it exactly once; what `send` told to be kept, is.
#[test]
fn killed_listeners_and_senders_lose_nothing() {
    const LINES: usize = 1_000;
    let mut chance = Chance::new("listen");
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let lines: Vec<_> = (0..LINES).map(|n| format!("line {n}")).collect();
    let (to, printed) = channel();
    let mut kept = Vec::new();
    let mut runs: Vec<Vec<u64>> = Vec::new();
    let mut total = 0;
    while total < LINES {
        let [own, _] = log(&anna);
        assert_eq!(
            texts(&own),
            lines[..own.len()],
            "what was accepted is no beginning of what was sent"
        );
        // Without a line to send, `send` has no reason to go online.
        let send: &[&str] = match own.len() {
            LINES => &["listen", "--json"],
            _ => &["send", "ben", "--lines", "--json", "--wait", "queued"],
        };
        let sender = Process::start(&anna, send, lines[own.len()..].to_vec(), 0, &to);
        let listener = Process::start(&ben, &["listen", "--json"], Vec::new(), 1, &to);
        let (mut heard, before) = (Vec::new(), kept.len());
        let more = usize::try_from(chance.among(200..600)).unwrap();
        while heard.len() + kept.len() - before < more && total < LINES {
            let Ok((who, object)) = printed.recv_timeout(DEADLINE) else {
                let stored = [&anna, &ben].map(|person| log(person).map(|messages| messages.len()));
                panic!("nothing more comes: heard {heard:?} after {runs:?}, stored {stored:?}");
            };
            take(who, &object, &mut kept, &mut heard);
            total = total.max(last(&heard));
        }
        listener.kill();
        sender.kill();
        for (who, object) in printed.try_iter() {
            take(who, &object, &mut kept, &mut heard);
        }
        total = total.max(last(&heard));
        runs.push(heard);
    }
    assert!(runs.len() >= 3, "{} runs", runs.len());
    assert_no_gap(&runs);
    let again = text(ben.run(&["listen", "--timeout", "1s"]), 0);
    assert!(again.lines().count() <= PAGE, "{again}");
    assert_eq!(
        text(ben.run(&["listen", "--timeout", "1s"]), 0),
        "",
        "nothing comes again after a good end"
    );
    let ([own, _], [_, received]) = (log(&anna), log(&ben));
    assert_eq!(texts(&received), lines);
    assert!(own == received, "the logs differ");
    let ids: BTreeSet<_> = own.iter().map(|(id, _)| id).collect();
    assert!(
        kept.iter().all(|id| ids.contains(id)),
        "told to be kept, and lost"
    );
    assert_eq!(
        kept.iter().collect::<BTreeSet<_>>().len(),
        kept.len(),
        "told twice"
    );
}

/// Nobody reads what it prints, so that it is killed in the middle of a page, and of a line.
#[test]
fn a_listener_killed_while_it_prints_loses_nothing() {
    const MESSAGES: usize = 40;
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let listen = ben.start(&["listen", "--json"]);
    let input = anna.home.path().join("lines");
    // More than a pipe holds.
    fs::write(&input, format!("{}\n", "x".repeat(8_192)).repeat(MESSAGES)).unwrap();
    let mut send = anna.command(&["send", "ben", "--lines", "--timeout", "30s"]);
    text(send.stdin(fs::File::open(&input).unwrap()).output().unwrap(), 0);
    let Running {
        mut child,
        mut stdout,
    } = listen;
    // It is killed in the middle of a line: when its pipe is full, so that nothing more goes in for a while.
    let held = || rustix::io::ioctl_fionread(stdout.get_ref()).unwrap();
    let (mut before, mut since) = (held(), Instant::now());
    while before < 32_768 || since.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(10));
        if held() != before {
            (before, since) = (held(), Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(20), "the pipe did not fill");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut printed = String::new();
    stdout.read_to_string(&mut printed).unwrap();
    assert!(!printed.ends_with('\n'), "it had printed all that it began");
    let whole = printed.lines().count() - 1;
    assert!((1..MESSAGES).contains(&whole), "{whole} were printed");
    let rest = text(ben.run(&["listen", "--json", "--timeout", "1s"]), 0);
    let rest: Vec<_> = rest
        .lines()
        .map(|line| object(line)["seq"].as_u64().unwrap())
        .collect();
    assert_no_gap(&[(1..=whole as u64).collect(), rest.clone()]);
    assert_eq!(last(&rest), MESSAGES);
}

/// Messages of one sender are numbered from 1.
fn last(heard: &[u64]) -> usize {
    usize::try_from(heard.last().copied().unwrap_or_default()).unwrap()
}

fn take(who: usize, object: &Value, kept: &mut Vec<String>, heard: &mut Vec<u64>) {
    match (who, object["type"].as_str()) {
        (0, Some("sent")) => kept.push(id_of(object)),
        (1, Some("message")) => heard.push(object["seq"].as_u64().unwrap()),
        _ => {}
    }
}

/// Each run goes on where the one before was, or with what was printed but not yet marked: a page of 64.
#[track_caller]
fn assert_no_gap(runs: &[Vec<u64>]) {
    let mut next = 1;
    for run in runs.iter().filter(|run| !run.is_empty()) {
        assert!(
            run[0] <= next && run[0] + PAGE as u64 >= next,
            "the run begins at {}, the last ended before {next}",
            run[0]
        );
        assert!(
            run.is_sorted_by(|a, b| a + 1 == *b),
            "a gap or a repetition within one run: {run:?}"
        );
        next = next.max(run[run.len() - 1] + 1);
    }
}

#[test]
fn a_killed_init_leaves_no_profile_or_a_whole_one() {
    let mut chance = Chance::new("init");
    let start = Instant::now();
    drop(Person::new("anna", free_port()));
    let whole = u64::try_from(start.elapsed().as_micros()).unwrap();
    let mut made = 0;
    // Forty, and then as many later ones as it takes for one to come too late: the first may have been a fast one.
    let mut n = 0;
    while n < 40 || made == 0 && n < 400 {
        let person = Person {
            home: TempDir::new().unwrap(),
            mdns_port: 1,
        };
        let mut child = person
            .command(&["init", "anna"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The first is killed at once, the last ones after the usual end.
        let end = Instant::now() + Duration::from_micros(n * whole / 36 + chance.among(0..1_000));
        n += 1;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let who = person.run(&["whoami"]);
        if who.status.code() == Some(0) {
            made += 1;
            text(person.run(&["log"]), 0);
        } else {
            assert_eq!(who.status.code(), Some(3), "{who:?}");
            text(person.run(&["init", "anna"]), 0);
            text(person.run(&["whoami"]), 0);
        }
        let names = fs::read_dir(person.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.filter(|name| name != "default").collect();
        assert!(
            who.status.success() || names.is_empty(),
            "a rest of the killed one stays: {names:?}"
        );
    }
    assert!(
        (1..n).contains(&made),
        "{made} of {n}: the kills do not hit the making"
    );
}

#[test]
fn a_killed_pairing_can_be_done_again() {
    let mut chance = Chance::new("pairing");
    // The proofs are exchanged between a tenth and a third of a second.
    let moments = (0..12).map(|n| Duration::from_millis(40 + n * 20 + chance.among(0..20)));
    let moments: Vec<_> = moments
        .zip([Side::Inviter, Side::Joiner].into_iter().cycle())
        .collect();
    // Each is a network of its own; three at once, for they mostly wait.
    for moments in moments.chunks(3) {
        std::thread::scope(|scope| {
            for (late, victim) in moments {
                scope.spawn(|| kill_a_pairing(*late, *victim));
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Inviter,
    Joiner,
}

/// Kills one side so long after the join began; then they meet and talk after all.
fn kill_a_pairing(late: Duration, victim: Side) {
    let (anna, ben) = anna_and_ben();
    let mut invite = anna.start(&["invite", "--json", "--timeout", "3s"]);
    let code = code_of(&invite.line());
    let join = ben.start(&["join", &code, "--json", "--timeout", "1s"]);
    std::thread::sleep(late);
    let (killed, other) = match victim {
        Side::Inviter => (invite, join),
        Side::Joiner => (join, invite),
    };
    killed.kill();
    let other = other.output();
    // Done, or nobody came.
    assert!(
        matches!(other.status.code(), Some(0 | 4)),
        "{victim:?} after {late:?}: {other:?}"
    );
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    let joined = ben.run(&["join", &code, "--json", "--timeout", "40s"]);
    if joined.status.success() {
        invite.ended(0);
    } else {
        match object(&String::from_utf8_lossy(&joined.stderr))["code"].as_str() {
            // Only Ben's word was missing, and is there now: Anna was told, and her code is closed.
            Some("nobody_found") => assert!(invite.ended(0).contains("\"joined\"")),
            Some("already_contact") => invite.kill(),
            _ => panic!("{joined:?}"),
        }
    }
    println!(
        "{victim:?} killed after {late:?}: then {:?}",
        joined.status.code()
    );
    for (from, to, name) in [(&anna, &ben, "ben"), (&ben, &anna, "anna")] {
        let listen = to.start(&["listen", "--json", "--count", "1", "--timeout", "20s"]);
        let sent = from.run(&["send", name, "hello", "--timeout", "20s"]);
        assert_eq!(sent.status.code(), Some(0), "{victim:?} after {late:?}: {sent:?}");
        let heard = listen.ended(0);
        assert_eq!(
            object(heard.trim_end())["text"],
            "hello",
            "{victim:?} after {late:?}"
        );
    }
}
