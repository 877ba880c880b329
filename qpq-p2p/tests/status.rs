//! What `status`, `nearby` and `send` say of a peer that goes, comes back, stops, is killed or has forgotten us,
//! beside what is so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::{
    fs,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use people::{Person, Running, anna_and_ben, meet, object, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Anna's qpq, which stays, and is asked by others.
struct Observer<'a> {
    anna: &'a Person,
    daemon: Running,
}

impl<'a> Observer<'a> {
    fn start(anna: &'a Person) -> Self {
        let mut daemon = anna.start(&["daemon", "--json"]);
        assert_eq!(object(&daemon.line())["type"], "ready");
        Self { anna, daemon }
    }

    fn status(&self) -> Value {
        json(self.anna, &["status", "--json"], 0)
    }

    /// Waits for a state; each one on the way there satisfies `meanwhile`.
    fn until(&self, what: &str, such: impl Fn(&Value) -> bool, meanwhile: impl Fn(&Value) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            assert_eq!(status["pid"], self.daemon.child.id(), "{status}");
            if such(&status) {
                return;
            }
            assert!(meanwhile(&status), "on the way to {what}: {status}");
            assert!(Instant::now() < end, "{what}: {status}");
        }
    }

    fn send(&self, message: &str) {
        text(self.anna.run(&["send", "ben", message, "--wait", "queued"]), 0);
    }
}

/// The only contact is not reached for this reason, and neither is what waits for him.
fn lacks(status: &Value, reason: &str, waiting: usize) -> bool {
    let (ben, outbox) = (&status["peers"][0], status["outbox"].as_array().unwrap());
    ben["path"] == "none"
        && ben["reason_code"] == reason
        && outbox.len() == waiting
        && outbox
            .iter()
            .all(|queued| queued["waiting"][0]["reason_code"] == reason)
}

fn is_delivered(status: &Value) -> bool {
    let ben = &status["peers"][0];
    ben["path"] == "lan" && ben["rtt_ms"].is_u64() && !waits(status)
}

fn anything(_: &Value) -> bool {
    true
}

fn waits(status: &Value) -> bool {
    !status["outbox"].as_array().unwrap().is_empty()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn listen(person: &Person) -> Running {
    person.start(&["listen", "--json", "--timeout", "120s"])
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn json(person: &Person, arguments: &[&str], exit: i32) -> Value {
    object(text(person.run(arguments), exit).lines().last().unwrap())
}

#[test]
fn without_a_running_qpq_the_store_tells_what_waits() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let sent = json(&anna, &["send", "ben", "hi", "--wait", "queued", "--json"], 0);
    let status = json(&anna, &["status", "--json"], 0);
    assert_eq!(
        (&status["type"], &status["ready"]),
        (&"status".into(), &false.into())
    );
    assert_eq!(status["relays"], Value::Array(Vec::new()));
    let ben = &status["peers"][0];
    assert_eq!((&ben["name"], &ben["path"]), (&"ben".into(), &"none".into()));
    let queued = &status["outbox"][0];
    assert_eq!((&queued["id"], &queued["chat"]), (&sent["id"], &"ben".into()));
    for who in [ben, &queued["waiting"][0]] {
        assert_eq!(who["reason"], "no qpq is running here");
        assert_eq!(who["reason_code"], "not_running");
    }
    let told = text(anna.run(&["status"]), 0);
    assert!(told.starts_with("no qpq is running here"), "{told}");
    assert!(told.contains("\n1 message waits:\n"), "{told}");
}

#[test]
fn status_is_true_while_a_peer_goes_comes_back_stops_and_is_killed() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let observer = Observer::start(&anna);
    observer.send("one");
    observer.until(
        "away",
        |status| lacks(status, "away", 1) && status["ready"] == true,
        waits,
    );
    // Ben comes: what waited is delivered, and that is what he has.
    let mut online = listen(&ben);
    assert_eq!(object(&online.line())["text"], "one");
    observer.until("delivered", is_delivered, anything);
    // He stops: nothing is told to be delivered, until he goes on.
    signal(&online.child, Signal::STOP);
    observer.send("two");
    let silent = |status: &Value| lacks(status, "no_answer", 1);
    observer.until("no answer", silent, waits);
    signal(&online.child, Signal::CONT);
    assert_eq!(object(&online.line())["text"], "two");
    observer.until("delivered", is_delivered, anything);
    // He is killed: his record stays behind.
    online.kill();
    observer.send("three");
    observer.until("no answer", silent, waits);
    // He comes back, and leaves in order.
    let mut online = listen(&ben);
    assert_eq!(object(&online.line())["text"], "three");
    observer.until("delivered", is_delivered, anything);
    signal(&online.child, Signal::TERM);
    online.ended(130);
    let away = |status: &Value| lacks(status, "away", 0);
    observer.until("away", away, |status| !waits(status));
    observer.daemon.kill();
}

#[test]
fn who_does_not_know_us_any_more_closes_the_connection_and_that_is_the_reason() {
    let (anna, ben) = anna_and_ben();
    // Ben as he was before they met.
    let before = tempfile::tempdir().unwrap();
    let profile = ben.home.path().join("default");
    copy(&profile, before.path());
    meet(&anna, &ben);
    fs::remove_dir_all(&profile).unwrap();
    private_folder(&profile);
    copy(before.path(), &profile);
    let online = listen(&ben);
    let sent = json(&anna, &["send", "ben", "hi", "--timeout", "5s", "--json"], 7);
    assert_eq!(sent["recipients"][0]["reason_code"], "closes");
    let observer = Observer::start(&anna);
    let closes = |status: &Value| lacks(status, "closes", 1);
    observer.until("closes", closes, waits);
    assert_eq!(
        observer.status()["peers"][0]["reason"],
        "closes the connection: they may have removed you"
    );
    observer.daemon.kill();
    online.kill();
}

fn private_folder(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

#[test]
fn nearby_tells_contacts_from_those_who_only_call_themselves_like_one() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let [eve, false_ben] = ["eve", "Ben"].map(|name| Person::new(name, anna.mdns_port));
    let visible = ["nearby", "--visible", "--timeout", "120s"];
    let others = [listen(&ben), eve.start(&visible), false_ben.start(&visible)];
    let mut nearby = anna.start(&["nearby", "--json", "--timeout", "60s"]);
    let mut found = Vec::new();
    while found.len() < 3 {
        let line = object(&nearby.line());
        assert_eq!((&line["type"], &line["v"]), (&"nearby".into(), &1.into()));
        assert!(line["addresses"][0].as_str().unwrap().starts_with("127.0.0.1:"));
        // A name comes a moment after the first record.
        if let Some(name) = line["name"].as_str() {
            found.push((name.to_owned(), line["contact"] == true));
        } else {
            assert!(line.get("id").is_none() && line["contact"] == false, "{line}");
        }
    }
    found.sort();
    let expected = [("Ben (new key)", false), ("ben", true), ("eve", false)];
    assert_eq!(found, expected.map(|(name, contact)| (name.to_owned(), contact)));
    signal(&nearby.child, Signal::INT);
    nearby.ended(130);
    for other in others {
        other.kill();
    }
}
