//! The program itself: how soon it is ready, sees the other, has said its first word, and what it occupies.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    Scale,
    process::memory,
    report::{Quantiles, Report},
};

/// One person's folder.
struct Person {
    home: PathBuf,
    port: u16,
}

impl Person {
    fn new(folder: &Path, name: &str, port: u16) -> Self {
        let home = folder.join(format!("home-{name}"));
        fs::create_dir_all(&home).unwrap();
        let person = Self { home, port };
        person.done(&["init", name]);
        person
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qpq"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("QPQ_") {
                command.env_remove(name);
            }
        }
        command
            .env("QPQ_HOME", &self.home)
            .env("QPQ_INTERFACES", "lo")
            .env("QPQ_MDNS_PORT", self.port.to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A daemon that is ready, and how long that took.
    fn daemon(&self) -> (Daemon, Duration) {
        let start = Instant::now();
        let mut child = self.command(&["daemon", "--ready-fd", "1"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "READY");
        (Daemon(child), start.elapsed())
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let terminate = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(terminate, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

pub(crate) fn measure(folder: &Path, scale: Scale, report: &mut Report) {
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (anna, ben) = (
        Person::new(folder, "anna", port),
        Person::new(folder, "ben", port),
    );
    meet(&anna, &ben);
    report.section("The program `qpq`");
    let times = |count: usize, one: &dyn Fn() -> Duration| Quantiles::of((0..count).map(|_| one()).collect());
    let count = 10 * scale.runs;
    let help = times(count, &|| {
        let start = Instant::now();
        anna.done(&["--help"]);
        start.elapsed()
    });
    report.latency("start to the last line of --help", &help, &[]);
    let ready = times(count, &|| ben.daemon().1);
    report.latency("start to ready (daemon), without passphrase", &ready, &[]);
    let (host, _) = anna.daemon();
    let visible = times(count, &|| visible(&ben));
    report.latency("start to a contact's link standing", &visible, &[]);
    let first = times(count, &|| {
        let start = Instant::now();
        ben.done(&["send", "anna", "hi", "--wait", "delivered"]);
        start.elapsed()
    });
    report.latency("start to first message delivered, and ended", &first, &[]);
    let (guest, _) = ben.daemon();
    while !linked(&ben) {}
    // What it took to start is given back, or not, within some seconds.
    std::thread::sleep(Duration::from_secs(5));
    report.line(
        "memory of an idle daemon with one link",
        &format!("{} KiB RSS", memory(guest.0.id())),
    );
    lines(&anna, &ben, scale, report);
    report.line(
        "the same after the lines below",
        &format!("{} KiB RSS", memory(guest.0.id())),
    );
    drop((host, guest));
}

fn meet(anna: &Person, ben: &Person) {
    let mut invite = anna.command(&["invite", "--no-chat", "--json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(invite.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let code: serde_json::Value = serde_json::from_str(&line).unwrap();
    ben.done(&["join", code["code"].as_str().unwrap(), "--no-chat"]);
    assert!(invite.wait().unwrap().success());
}

fn linked(person: &Person) -> bool {
    person.done(&["status", "--json"]).contains("\"path\":\"lan\"")
}

/// From the start of a daemon until it says that its contact is reached.
fn visible(ben: &Person) -> Duration {
    let start = Instant::now();
    let (_daemon, _) = ben.daemon();
    while !linked(ben) {}
    start.elapsed()
}

/// Lines through both programs: written to one's input, read from the other's output.
fn lines(anna: &Person, ben: &Person, scale: Scale, report: &mut Report) {
    let count = scale.flood / 4;
    let mut listen = anna
        .command(&["listen", "--count", &count.to_string(), "--json"])
        .spawn()
        .unwrap();
    let mut send = ben
        .command(&["send", "anna", "--lines", "--wait", "delivered"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = send.stdin.take().unwrap();
    let output = send.stdout.take().unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| BufReader::new(output).lines().count());
        scope.spawn(move || {
            for n in 0..count {
                writeln!(input, "{n:<256}").unwrap();
            }
        });
        let heard = BufReader::new(listen.stdout.take().unwrap()).lines();
        assert_eq!(heard.count(), count);
    });
    let each = start.elapsed() / u32::try_from(count).unwrap();
    assert!(send.wait().unwrap().success());
    assert!(listen.wait().unwrap().success());
    report.line(
        "lines from `send --lines` to `listen --json`",
        &format!("{:.0} /s", 1.0 / each.as_secs_f64()),
    );
}
