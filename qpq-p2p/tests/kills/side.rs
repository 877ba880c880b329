//! One person with two programs, a sender that is fed all the time and a listener, either of which owns the profile.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, Write},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use qpq_core::store::read::{Query, Reader};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    mortal::database_key,
    people::{KillOnDrop, Person, Running, text},
};

/// One line of each side in so much time: 66 messages a second between two.
const PACE: Duration = Duration::from_millis(30);

/// For anything that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// Chances, by splitmix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// When something was printed, and what.
type Printed = (Instant, Value);

/// Id and text.
pub(crate) type Line = (String, String);

/// A program and the threads at its ends.
struct Program {
    child: KillOnDrop,
    threads: Vec<JoinHandle<()>>,
}

impl Program {
    /// kill -9; returns when nothing more comes from it.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

pub(crate) struct Side {
    person: Person,
    peer: &'static str,
    /// Folder of the frames that left.
    pub(crate) tap: TempDir,
    sender: Option<Program>,
    listener: Option<Program>,
    /// Senders so far: each line names the one that was given it.
    senders: usize,
    feeding: Arc<AtomicBool>,
    printed: (Sender<Printed>, Receiver<Printed>),
    /// When the sender was started that has not accepted anything yet.
    starting: Option<Instant>,
    restarts: Vec<Duration>,
    /// Ids that a sender printed, and ids that a listener did.
    pub(crate) accepted: BTreeSet<String>,
    pub(crate) heard: BTreeSet<String>,
}

impl Side {
    pub(crate) fn new(person: Person, peer: &'static str) -> Self {
        Self {
            person,
            peer,
            tap: TempDir::new().unwrap(),
            sender: None,
            listener: None,
            senders: 0,
            feeding: Arc::new(AtomicBool::new(true)),
            printed: channel(),
            starting: None,
            restarts: Vec::new(),
            accepted: BTreeSet::new(),
            heard: BTreeSet::new(),
        }
    }

    fn start(&self, arguments: &[&str]) -> (Program, Option<std::process::ChildStdin>) {
        let mut command = self.person.command(arguments);
        command.env("CRASH_TAP", self.tap.path());
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let Running { mut child, stdout } = Running::spawn(&mut command);
        let stdin = child.stdin.take();
        let to = self.printed.0.clone();
        let reading = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The last line of a killed program may be half a line, which nobody could have acted upon.
                let Ok(object) = serde_json::from_str(&line) else {
                    return;
                };
                if to.send((Instant::now(), object)).is_err() {
                    return;
                }
            }
        });
        let threads = vec![reading];
        (Program { child, threads }, stdin)
    }

    pub(crate) fn start_listener(&mut self) {
        self.listener = Some(self.start(&["listen", "--json"]).0);
    }

    pub(crate) fn start_sender(&mut self) {
        let began = Instant::now();
        let (mut program, stdin) = self.start(&["send", self.peer, "--lines", "--json", "--wait", "queued"]);
        self.senders += 1;
        let (sender, feeding, mut stdin) = (self.senders, Arc::clone(&self.feeding), stdin.unwrap());
        program.threads.push(std::thread::spawn(move || {
            let mut line = 0;
            // A killed program does not read to the end.
            while feeding.load(Ordering::Relaxed) && writeln!(stdin, "{sender} {line}").is_ok() {
                line += 1;
                std::thread::sleep(PACE);
            }
        }));
        self.sender = Some(program);
        self.starting = Some(began);
    }

    /// Kills one program or both; tells how many.
    pub(crate) fn kill(&mut self, sender: bool, listener: bool) -> usize {
        let mut victims = Vec::new();
        victims.extend(self.sender.take_if(|_| sender));
        victims.extend(self.listener.take_if(|_| listener));
        let count = victims.len();
        victims.into_iter().for_each(Program::kill);
        if sender {
            self.read();
            self.starting = None;
        }
        count
    }

    /// Starts what is not there.
    pub(crate) fn restart(&mut self) {
        if self.listener.is_none() {
            self.start_listener();
        }
        if self.sender.is_none() {
            self.start_sender();
        }
    }

    /// Takes what was printed.
    pub(crate) fn read(&mut self) {
        while let Ok((at, object)) = self.printed.1.try_recv() {
            let id = object["id"].as_str().unwrap_or_default().to_owned();
            match object["type"].as_str() {
                Some("sent") => {
                    self.restarts.extend(self.starting.take().map(|began| at - began));
                    self.accepted.insert(id);
                }
                Some("message") => _ = self.heard.insert(id),
                other => panic!("{other:?}: {object}"),
            }
        }
    }

    /// Times from a start to the first line that was accepted, since this was asked last.
    pub(crate) fn restarted(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.restarts)
    }

    /// No line any more; the sender ends when it has accepted those that it has.
    pub(crate) fn stop_feeding(&mut self) {
        self.feeding.store(false, Ordering::Relaxed);
        if let Some(mut sender) = self.sender.take() {
            until("the end of a sender", || {
                sender.child.try_wait().unwrap().is_some()
            });
            for thread in sender.threads {
                thread.join().unwrap();
            }
        }
        self.read();
    }

    pub(crate) fn has_nothing_waiting(&self) -> bool {
        let status = text(self.person.run(&["status", "--json"]), 0);
        let status: Value = serde_json::from_str(status.lines().next().unwrap()).unwrap();
        status["outbox"].as_array().unwrap().is_empty()
    }

    pub(crate) fn end(&mut self) {
        self.listener.take().unwrap().kill();
        self.read();
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.person.home.path().join("default")
    }

    /// All that was written and received, as (id, text).
    pub(crate) fn log(&self) -> (Vec<Line>, Vec<Line>) {
        let folder = self.folder();
        let reader = Reader::open(&folder.join("qpq.db"), &database_key(&folder)).unwrap();
        let messages = reader.messages(&Query::default()).unwrap();
        let pair = |message: &qpq_core::store::read::Message| (message.id.to_text(), message.text.clone());
        let (own, others): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.own);
        (
            own.into_iter().map(pair).collect(),
            others.into_iter().map(pair).collect(),
        )
    }

    /// Of what each sender was given, the beginning was stored, without a gap and in order.
    pub(crate) fn check_texts(&self, own: &[Line]) {
        let mut next: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, text) in own {
            let (sender, line) = text.split_once(' ').unwrap();
            let next = next.entry(sender.parse().unwrap()).or_default();
            assert_eq!(line.parse::<usize>().unwrap(), *next, "of sender {sender}");
            *next += 1;
        }
    }
}
