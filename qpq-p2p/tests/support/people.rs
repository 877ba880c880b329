//! People with a profile each and the real program, on the loopback interface.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test files, each of which uses a part; tests fail by panicking"
)]

#[path = "json.rs"]
pub(crate) mod json;
#[path = "program.rs"]
pub(crate) mod program;

use std::{
    io::{BufRead, BufReader, Read},
    net::UdpSocket,
    ops::{Deref, DerefMut},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A person with a home of their own, on the loopback interface.
pub(crate) struct Person {
    pub(crate) home: TempDir,
    pub(crate) mdns_port: u16,
}

/// Anna and Ben, on a network that no other test is on.
pub(crate) fn anna_and_ben() -> (Person, Person) {
    let mdns_port = free_port();
    (Person::new("anna", mdns_port), Person::new("ben", mdns_port))
}

/// A UDP port that nobody uses: a network of its own, where mDNS is concerned.
pub(crate) fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Person {
    pub(crate) fn new(name: &str, mdns_port: u16) -> Self {
        let person = Self {
            home: TempDir::new().unwrap(),
            mdns_port,
        };
        assert!(person.run(&["init", name]).status.success());
        person
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::qpq();
        command
            .env("QPQ_HOME", self.home.path())
            .env("QPQ_INTERFACES", "lo");
        command.env("QPQ_MDNS_PORT", self.mdns_port.to_string());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::spawn(self.command(arguments).stderr(Stdio::piped()))
    }
}

/// The same command with the same environment, started by another program.
pub(crate) fn by(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut started = Command::new(program);
    started
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
}

/// A process that does not outlive its test.
pub(crate) struct KillOnDrop(Child);

impl Deref for KillOnDrop {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for KillOnDrop {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It has ended already, most often.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `qpq` that goes on until it ends, is killed, or is dropped.
pub(crate) struct Running {
    pub(crate) child: KillOnDrop,
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child: KillOnDrop(child),
            stdout,
        }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// The rest of its output, after its end with this exit code.
    #[track_caller]
    pub(crate) fn ended(self, exit: i32) -> String {
        text(self.output(), exit)
    }

    /// The rest of its output, after its end.
    pub(crate) fn output(mut self) -> Output {
        let [mut stdout, mut stderr] = [Vec::new(), Vec::new()];
        self.stdout.read_to_end(&mut stdout).unwrap();
        drop(self.child.stdin.take());
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_end(&mut stderr).unwrap();
        }
        Output {
            status: self.child.wait().unwrap(),
            stdout,
            stderr,
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[track_caller]
pub(crate) fn text(output: Output, exit: i32) -> String {
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn object(line: &str) -> Value {
    json::checked(line)
}

pub(crate) fn code_of(line: &str) -> String {
    object(line)["code"].as_str().unwrap().to_owned()
}

pub(crate) fn short_id(person: &Person) -> String {
    let who = text(person.run(&["whoami"]), 0);
    who.lines()
        .next()
        .unwrap()
        .split_once(" · ")
        .unwrap()
        .1
        .to_owned()
}

/// Makes them contacts.
pub(crate) fn meet(anna: &Person, ben: &Person) {
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    assert_eq!(
        object(&text(ben.run(&["join", &code, "--json"]), 0))["name"],
        "anna"
    );
    assert_eq!(object(&invite.ended(0))["name"], "ben");
}

/// More than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is looked for, once it is there.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}
