//! A day of Anna and Ben, step by step: what `status` says on each side is held against what the other side has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use people::{Person, Running, anna_and_ben, code_of, meet, object, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of the two, with the `qpq` that stays, and all that was ever written.
struct Side {
    person: Person,
    /// What the profile is locked with.
    passphrase: Option<PathBuf>,
    stays: Option<Running>,
    written: Vec<String>,
}

impl Side {
    fn new(person: Person) -> Self {
        Self {
            person,
            passphrase: None,
            stays: None,
            written: Vec::new(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.person.command(arguments);
        command.env("QPQ_JSON", "1").stderr(Stdio::piped());
        if let Some(file) = &self.passphrase {
            command.env("QPQ_PASSPHRASE_FILE", file);
        }
        command
    }

    #[track_caller]
    fn lines(&self, arguments: &[&str], exit: i32) -> Vec<Value> {
        let output = self.command(arguments).output().unwrap();
        text(output, exit).lines().map(object).collect()
    }

    #[track_caller]
    fn on(&mut self) {
        let mut daemon = Running::spawn(&mut self.command(&["daemon"]));
        assert_eq!(object(&daemon.line())["type"], "ready");
        self.stays = Some(daemon);
    }

    #[track_caller]
    fn off(&mut self) {
        let daemon = self.stays.take().unwrap();
        kill_process(Pid::from_child(&daemon.child), Signal::TERM).unwrap();
        daemon.ended(0);
    }

    /// Writes to a chat; what `send` told. What it calls delivered, the other side has at this moment.
    #[track_caller]
    fn writes(&mut self, to: &Self, chat: &str, body: &str, more: &[&str], exit: i32) -> Value {
        let told = self
            .lines(&[&["send", chat, body], more].concat(), exit)
            .remove(0);
        let delivered = told["state"] == "delivered";
        assert_eq!(delivered, exit == 0 && !more.contains(&"queued"), "{told}");
        assert!(!delivered || to.received().contains(&id(&told)), "{told}");
        self.written.push(body.to_owned());
        told
    }

    /// Writes while nobody can get it.
    #[track_caller]
    fn leaves(&mut self, to: &Self, chat: &str, body: &str) {
        let told = self.writes(to, chat, body, &["--wait", "queued"], 0);
        assert_eq!(told["state"], "here");
        assert!(!to.received().contains(&id(&told)), "{told}");
    }

    /// Messages with their ids, oldest first: one's own, or those of others.
    fn log(&self, own: bool) -> Vec<Value> {
        let mut log = self.lines(&["log", "-n", "0"], 0);
        log.retain(|message| message.get("own").is_some() == own);
        log
    }

    fn received(&self) -> BTreeSet<String> {
        self.log(false).iter().map(id).collect()
    }

    fn status(&self) -> Value {
        self.lines(&["status"], 0).remove(0)
    }

    /// Whether what waits here is exactly what the other side lacks. What neither waits nor is there is a lie.
    #[track_caller]
    fn truth(&self, other: &Self) -> (Value, bool) {
        // In this order: what was delivered between two looks is in the last.
        let own: Vec<_> = self.log(true).iter().map(id).collect();
        let status = self.status();
        let received = other.received();
        let waits: Vec<_> = status["outbox"].as_array().unwrap().iter().map(id).collect();
        let lacks: Vec<_> = own.iter().filter(|id| !received.contains(*id)).collect();
        let lost = lacks.iter().find(|id| !waits.contains(id));
        assert_eq!(lost, None, "neither waiting nor delivered: {status}");
        assert!(waits.iter().all(|id| own.contains(id)), "{status}");
        let settled = waits.iter().collect::<Vec<_>>() == lacks;
        let pid = self.stays.as_ref().map(|running| running.child.id().into());
        assert_eq!(status.get("pid"), pid.as_ref(), "{status}");
        assert_eq!(status["ready"], pid.is_some(), "{status}");
        (status, settled)
    }
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// So many messages wait, all for this reason.
fn waits(status: &Value, count: usize, reason: &str) -> bool {
    let outbox = status["outbox"].as_array().unwrap();
    let for_it = |queued: &Value| {
        let waiting = queued["waiting"].as_array().unwrap();
        waiting.len() == 1 && waiting[0]["reason_code"] == reason
    };
    outbox.len() == count && outbox.iter().all(for_it)
}

/// A link stands, and everything is on the other side.
fn linked(status: &Value) -> bool {
    let peer = &status["peers"][0];
    status["outbox"] == Value::Array(Vec::new()) && peer["path"] == "lan" && peer.get("reason").is_none()
}

/// The other one is not reached for this reason.
fn lacks(status: &Value, reason: &str) -> bool {
    let peer = &status["peers"][0];
    peer["path"] == "none" && peer["reason_code"] == reason
}

/// Looks at both until both are as they should be; at every look, what they say is true.
#[track_caller]
fn until(what: &str, [anna, ben]: [&Side; 2], such: impl Fn(&Value, &Value) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (annas, annas_settled) = anna.truth(ben);
        let (bens, bens_settled) = ben.truth(anna);
        if annas_settled && bens_settled && such(&annas, &bens) {
            return;
        }
        assert!(Instant::now() < end, "{what}\nanna: {annas}\nben: {bens}");
    }
}

/// All that was written is on both sides, each once, in the order of its writer.
#[track_caller]
fn assert_equal(anna: &Side, ben: &Side) {
    for (from, to) in [(anna, ben), (ben, anna)] {
        let texts = |log: &[Value]| -> Vec<String> {
            log.iter()
                .map(|message| message["text"].as_str().unwrap().to_owned())
                .collect()
        };
        let [sent, received] = [from.log(true), to.log(false)];
        assert_eq!(texts(&sent), from.written);
        assert_eq!(texts(&received), from.written);
        let [sent, received] = [sent, received].map(|log| log.iter().map(id).collect::<Vec<_>>());
        assert_eq!(sent, received);
    }
}

/// Anna and Ben, who have met.
fn both() -> (Side, Side) {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    (Side::new(anna), Side::new(ben))
}

#[test]
fn off_and_on_in_both_directions_and_both_orders() {
    let (mut anna, mut ben) = both();
    // Ben is off, and then back: nobody types anything for what waited.
    anna.on();
    let told = anna.writes(&ben, "ben", "while you are off", &["--timeout", "500ms"], 7);
    assert_eq!(told["recipients"][0]["reason_code"], "away");
    until("away", [&anna, &ben], |annas, _| {
        waits(annas, 1, "away") && lacks(annas, "away")
    });
    ben.on();
    until("back", [&anna, &ben], |annas, bens| linked(annas) && linked(bens));
    // Anna is off, and Ben writes to her.
    anna.off();
    until("off", [&anna, &ben], |annas, bens| {
        lacks(annas, "not_running") && lacks(bens, "away")
    });
    ben.leaves(&anna, "anna", "while she is off");
    until("waits", [&anna, &ben], |_, bens| waits(bens, 1, "away"));
    // A `send` of hers with nobody running is delivered, and may take along what waited for her.
    anna.writes(&ben, "ben", "just one thing", &["--timeout", "30s"], 0);
    until("off again", [&anna, &ben], |annas, _| lacks(annas, "not_running"));
    anna.on();
    until("she is back", [&anna, &ben], |annas, bens| {
        linked(annas) && linked(bens)
    });
    // Both write while neither is there, and come back in both orders.
    for anna_is_first in [true, false] {
        anna.off();
        ben.off();
        for n in 0..3 {
            let order = if anna_is_first { "anna first" } else { "ben first" };
            anna.leaves(&ben, "ben", &format!("{order}: {n}"));
            ben.leaves(&anna, "anna", &format!("{order}: {n}"));
        }
        until("both off", [&anna, &ben], |annas, bens| {
            waits(annas, 3, "not_running") && waits(bens, 3, "not_running")
        });
        let [first, second] = if anna_is_first {
            [&mut anna, &mut ben]
        } else {
            [&mut ben, &mut anna]
        };
        first.on();
        until("one is on", [first, second], |first, second| {
            waits(first, 3, "away") && waits(second, 3, "not_running")
        });
        second.on();
        until("both on", [&anna, &ben], |annas, bens| {
            linked(annas) && linked(bens)
        });
    }
    assert_equal(&anna, &ben);
}

#[test]
fn blocked_removed_and_impersonated() {
    let (mut anna, mut ben) = both();
    anna.on();
    ben.on();
    anna.writes(&ben, "ben", "good morning", &["--timeout", "30s"], 0);
    // Blocked: she is not told, but nothing arrives.
    ben.lines(&["contact", "block", "anna"], 0);
    let told = anna.writes(&ben, "ben", "are you cross?", &["--timeout", "2s"], 7);
    assert_eq!(told["state"], "here");
    until("blocked", [&anna, &ben], |annas, bens| {
        waits(annas, 1, "closes") && lacks(annas, "closes") && lacks(bens, "blocked")
    });
    ben.lines(&["contact", "unblock", "anna"], 0);
    until("unblocked", [&anna, &ben], |annas, bens| {
        linked(annas) && linked(bens)
    });
    // Somebody else under his name: until Anna decides, nothing is sent, and what she wrote before is for him.
    ben.off();
    anna.leaves(&ben, "ben", "for you alone");
    let other = Person::new("ben", anna.person.mdns_port);
    let mut invite = Running::spawn(&mut anna.command(&["invite", "--timeout", "60s"]));
    let code = code_of(&invite.line());
    text(other.run(&["join", &code]), 0);
    assert_eq!(invite.output().status.code(), Some(5));
    assert_eq!(
        anna.lines(&["send", "ben", "secret"], 5),
        Vec::<Value>::new(),
        "nothing is kept"
    );
    until("held", [&anna, &ben], |annas, _| {
        let held = annas["peers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|peer| peer["name"] == "ben (new key)");
        waits(annas, 1, "new_key") && held.is_some_and(|held| held["reason_code"] == "new_key")
    });
    assert_eq!(text(other.run(&["log"]), 0), "");
    anna.lines(&["contact", "refuse", "ben (new key)"], 0);
    until("refused", [&anna, &ben], |annas, _| waits(annas, 1, "away"));
    ben.on();
    until("it was him", [&anna, &ben], |annas, bens| {
        linked(annas) && linked(bens)
    });
    assert_eq!(text(other.run(&["log"]), 0), "");
    // Removed: what she writes waits, until they meet again.
    ben.lines(&["contact", "remove", "anna"], 0);
    anna.writes(&ben, "ben", "hello?", &["--timeout", "2s"], 7);
    until("removed", [&anna, &ben], |annas, bens| {
        waits(annas, 1, "closes") && lacks(annas, "closes") && bens["peers"] == Value::Array(Vec::new())
    });
    let refused = ben.command(&["send", "anna", "no"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(6));
    meet(&anna.person, &ben.person);
    until("met again", [&anna, &ben], |annas, bens| {
        linked(annas) && linked(bens)
    });
    assert_equal(&anna, &ben);
}

#[test]
fn locked_and_its_owner_killed() {
    let (mut anna, mut ben) = both();
    ben.on();
    let file = anna.person.home.path().join("passphrase");
    fs::write(&file, "six words that nobody ever guesses\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let mut set = anna.command(&["passphrase", "set"]);
    text(set.env("QPQ_NEW_PASSPHRASE_FILE", &file).output().unwrap(), 0);
    // Locked, and nobody runs.
    let without = |side: &Side| -> Output {
        let mut command = side.command(&["status"]);
        command.env_remove("QPQ_PASSPHRASE_FILE").output().unwrap()
    };
    let refused = without(&anna);
    assert_eq!((refused.status.code(), &*refused.stdout), (Some(3), &b""[..]));
    let refused = object(str::from_utf8(&refused.stderr).unwrap().trim_end());
    assert_eq!(refused["code"], "passphrase_needed");
    anna.passphrase = Some(file);
    ben.leaves(&anna, "anna", "are you locked?");
    until("locked", [&anna, &ben], |annas, bens| {
        lacks(annas, "not_running") && waits(bens, 1, "away")
    });
    // While she runs, whoever may reach her socket is told.
    anna.on();
    until("open", [&anna, &ben], |annas, bens| linked(annas) && linked(bens));
    let told = object(text(without(&anna), 0).trim_end());
    assert_eq!(told["pid"], anna.stays.as_ref().unwrap().child.id());
    // Her owner is killed while another process of hers listens, and that one goes on.
    let mut listen = Running::spawn(&mut anna.command(&["listen", "--count", "3", "--timeout", "120s"]));
    assert_eq!(object(&listen.line())["text"], "are you locked?");
    anna.stays.take().unwrap().kill();
    let pid: Value = listen.child.id().into();
    let end = Instant::now() + PATIENCE;
    while anna.status().get("pid") != Some(&pid) {
        assert!(Instant::now() < end, "listen does not go on");
    }
    anna.stays = Some(listen);
    until("another owner", [&anna, &ben], |annas, bens| {
        linked(annas) && linked(bens)
    });
    ben.writes(&anna, "anna", "still there?", &["--timeout", "30s"], 0);
    anna.writes(&ben, "ben", "still here", &["--timeout", "30s"], 0);
    assert_eq!(
        object(&anna.stays.as_mut().unwrap().line())["text"],
        "still there?"
    );
    // Killed with nobody beside it: on the next look nobody runs, whatever its lock says.
    anna.stays.take().unwrap().kill();
    ben.leaves(&anna, "anna", "and now?");
    anna.leaves(&ben, "ben", "written while Ben seems to be there");
    until("killed", [&anna, &ben], |annas, _| lacks(annas, "not_running"));
    // The same with Ben, who has something to send.
    ben.stays.take().unwrap().kill();
    until("both killed", [&anna, &ben], |_, bens| lacks(bens, "not_running"));
    anna.on();
    ben.on();
    until("both on", [&anna, &ben], |annas, bens| {
        linked(annas) && linked(bens)
    });
    assert_equal(&anna, &ben);
}
