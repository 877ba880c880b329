//! Who owns a profile, and what its processes say.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test files, each of which uses a part; tests fail by panicking"
)]

use std::{
    fs,
    io::BufRead,
    path::PathBuf,
    process::{ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::people::{KillOnDrop, Person, Running, object, until};

pub(crate) fn lock_note(person: &Person) -> (Option<u32>, Option<PathBuf>) {
    let note = fs::read_to_string(person.home.path().join("default/lock")).unwrap_or_default();
    let mut lines = note.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    (pid, lines.next().map(PathBuf::from))
}

/// Who owns the profile, once its socket is there.
#[track_caller]
pub(crate) fn owner(person: &Person) -> u32 {
    until("an owner", || match lock_note(person) {
        (Some(pid), Some(socket)) if socket.exists() => Some(pid),
        _ => None,
    })
}

pub(crate) fn socket(person: &Person) -> PathBuf {
    owner(person);
    lock_note(person).1.unwrap()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A daemon that is ready.
pub(crate) fn daemon(person: &Person) -> Running {
    let mut daemon = person.start(&["daemon", "--json"]);
    let ready = object(&daemon.line());
    assert_eq!(ready["type"], "ready");
    daemon
}

/// Everything that a process prints, as it comes.
pub(crate) fn lines(running: Running) -> (KillOnDrop, Receiver<Value>) {
    let (sender, receiver) = channel();
    let Running { child, stdout } = running;
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(object(&line)).is_err() {
                return;
            }
        }
    });
    (child, receiver)
}

/// A `send --lines` that is fed.
pub(crate) fn sender(person: &Person, to: &str) -> (Running, ChildStdin) {
    let mut command = person.command(&["send", to, "--lines", "--json", "--timeout", "30s"]);
    let mut running = Running::spawn(command.stdin(Stdio::piped()));
    let stdin = running.child.stdin.take().unwrap();
    (running, stdin)
}

/// How many other processes are connected to the owner.
pub(crate) fn clients(person: &Person) -> usize {
    let path = socket(person);
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    // Kind and state: a stream that is connected.
    let connected = |line: &&str| line.contains(" 0001 03 ") && line.ends_with(path.to_str().unwrap());
    sockets.lines().filter(connected).count()
}
