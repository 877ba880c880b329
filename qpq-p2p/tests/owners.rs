//! Who owns a profile, where its socket is, and what happens when one does not answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "support/owners.rs"]
mod owners;
#[path = "support/people.rs"]
mod people;

use std::{
    fs,
    io::Write,
    os::unix::net::UnixStream,
    process::Stdio,
    time::{Duration, Instant},
};

use owners::{daemon, lines, lock_note, owner, signal, socket};
use people::{PATIENCE, Person, Running, anna_and_ben, free_port, meet, object, text, until};
use rustix::process::Signal;

#[test]
fn an_owner_that_does_not_answer_is_named_within_two_seconds() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let daemon = daemon(&anna);
    let pid = daemon.child.id();
    let listen = anna.start(&["listen", "--timeout", "60s"]);
    // It is attached: the connection is answered before anything else happens.
    text(anna.run(&["whoami"]), 0);
    signal(pid, Signal::STOP);
    for arguments in [
        &["send", "ben", "hi"][..],
        &["whoami"],
        &["log"],
        &["listen"],
        &["daemon"],
        &["chat", "ben"],
    ] {
        let began = Instant::now();
        let ended = anna.run(arguments);
        let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
        assert!(
            stderr.contains(&format!("process id {pid} owns it and does not answer")),
            "{stderr}"
        );
        assert!(stderr.contains("hint: is it stopped? kill -CONT"), "{stderr}");
        text(ended, 8);
        assert!(
            began.elapsed() < Duration::from_millis(2_900),
            "{:?}",
            began.elapsed()
        );
    }
    // Whoever was in the middle of something is told as well.
    listen.ended(8);
    signal(pid, Signal::CONT);
    text(anna.run(&["whoami"]), 0);
    daemon.kill();
}

#[test]
fn what_a_killed_owner_left_is_in_nobodys_way() {
    let anna = Person::new("anna", free_port());
    let daemon = daemon(&anna);
    let left = socket(&anna);
    daemon.kill();
    assert!(left.exists(), "it had no time to tidy up");
    assert!(lock_note(&anna).0.is_some());
    text(anna.run(&["whoami"]), 0);
    text(anna.run(&["listen", "--timeout", "1ms"]), 0);
    assert!(!left.exists());
}

#[test]
fn what_is_in_the_sockets_place_is_left_alone() {
    let anna = Person::new("anna", free_port());
    let place = anna.home.path().join("default/socket");
    fs::write(&place, "dear").unwrap();
    let ended = anna.run(&["listen", "--timeout", "1ms"]);
    let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
    assert!(stderr.contains("is not a socket of this profile"), "{stderr}");
    text(ended, 3);
    assert_eq!(fs::read(&place).unwrap(), b"dear");
    // Reading needs no owner.
    text(anna.run(&["whoami"]), 0);
}

#[test]
fn a_socket_is_in_the_runtime_folder_where_there_is_one_and_found_by_those_who_have_none() {
    let runtime = tempfile::TempDir::new().unwrap();
    let data = tempfile::TempDir::new().unwrap();
    let network = Person::new("nobody", free_port());
    let command = |arguments: &[&str], runtime: Option<&std::path::Path>| {
        let mut command = network.command(arguments);
        command
            .env_remove("QPQ_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .env("HOME", data.path())
            .env("XDG_DATA_HOME", data.path().join("data"))
            .env("XDG_CONFIG_HOME", data.path().join("config"));
        if let Some(runtime) = runtime {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        command
    };
    assert!(
        command(&["init", "anna"], None)
            .output()
            .unwrap()
            .status
            .success()
    );
    let mut daemon = Running::spawn(&mut command(&["daemon", "--json"], Some(runtime.path())));
    let ready = object(&daemon.line());
    let sockets: Vec<_> = fs::read_dir(runtime.path().join("qpq")).unwrap().collect();
    assert_eq!(sockets.len(), 1);
    // Started by a timer, say, without XDG_RUNTIME_DIR.
    let mut beside = Running::spawn(command(&["daemon", "--json"], None).stderr(Stdio::null()));
    let second = object(&beside.line());
    assert_eq!((&second["pid"], &second["id"]), (&ready["pid"], &ready["id"]));
    beside.kill();
    daemon.kill();
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_told_with_what_to_do() {
    let anna = Person::new("anna", free_port());
    let long = anna.home.path().join("x".repeat(90));
    let qpq = |arguments: &[&str]| {
        let mut command = anna.command(arguments);
        command.env("QPQ_HOME", &long).output().unwrap()
    };
    text(qpq(&["init", "anna"]), 0);
    let ended = qpq(&["listen", "--timeout", "1ms"]);
    let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
    assert!(
        stderr.contains("longer than the 100 bytes") && stderr.contains("--home"),
        "{stderr}"
    );
    text(ended, 3);
    text(qpq(&["whoami"]), 0);
}

#[test]
fn a_daemon_takes_the_profile_from_whoever_is_brief() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let (listen, heard) = lines(anna.start(&["listen", "--json", "--count", "1", "--timeout", "60s"]));
    until("listen", || (owner(&anna) == listen.id()).then_some(()));
    let asked = Instant::now();
    let daemon = daemon(&anna);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(owner(&anna), daemon.child.id());
    // `listen` goes on as its client.
    text(ben.run(&["send", "anna", "hi", "--timeout", "30s"]), 0);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap()["text"], "hi");
    let mut listen = listen;
    assert!(listen.wait().unwrap().success());
    // A second daemon is ready beside the first, and takes over from it.
    let mut command = anna.command(&["daemon", "--json"]);
    let mut second = Running::spawn(command.stderr(Stdio::piped()));
    assert_eq!(object(&second.line())["pid"], daemon.child.id());
    assert_eq!(owner(&anna), daemon.child.id());
    let first = daemon.child.id();
    daemon.kill();
    until("the second daemon", || (owner(&anna) != first).then_some(()));
    assert_eq!(owner(&anna), second.child.id());
    signal(second.child.id(), Signal::INT);
    let ended = second.output();
    let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
    assert!(stderr.is_empty(), "{stderr}");
    assert_eq!(text(ended, 130), "", "ready is told once");
}

#[test]
fn whoever_starts_a_daemon_is_told_when_it_is_ready() {
    let anna = Person::new("anna", free_port());
    let fifo = anna.home.path().join("ready");
    fs::write(&fifo, "").unwrap();
    let script = "exec \"$0\" \"$@\" 3>>\"$QPQ_HOME/ready\"";
    let command = anna.command(&["daemon", "--ready-fd", "3"]);
    let mut daemon = Running::spawn(&mut people::by("sh", &["-c", script], &command));
    assert_eq!(daemon.line(), "  ready");
    assert_eq!(fs::read(&fifo).unwrap(), b"READY\n");
    signal(daemon.child.id(), Signal::TERM);
    daemon.ended(0);

    let notify = anna.home.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = anna.command(&["daemon"]);
    let daemon = Running::spawn(command.env("NOTIFY_SOCKET", &notify));
    let told = || {
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
    };
    assert_eq!(told(), "READY=1");
    signal(daemon.child.id(), Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    daemon.ended(0);
    // A number that nobody opened.
    let ended = anna.run(&["daemon", "--ready-fd", "77"]);
    let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
    assert!(stderr.contains("file number 77"), "{stderr}");
    text(ended, 2);
}

#[test]
fn hostile_bytes_on_the_socket_hurt_nobody_else() {
    let anna = Person::new("anna", free_port());
    let daemon = daemon(&anna);
    let path = socket(&anna);
    let mut kept = Vec::new();
    let huge = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f];
    for bytes in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 4096],
        &[0; 4096],
        &huge,
        &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        // It may be closed at any byte.
        let _ = stream.write_all(bytes);
        kept.push(stream);
        text(anna.run(&["whoami"]), 0);
    }
    // As many as are let in, and more: whoever is too many hears it.
    while kept.len() < 64 {
        kept.push(UnixStream::connect(&path).unwrap());
    }
    let refused = until("a refusal", || {
        let ended = anna.run(&["listen", "--timeout", "1ms"]);
        (!ended.status.success()).then_some(ended).or_else(|| {
            kept.push(UnixStream::connect(&path).unwrap());
            None
        })
    });
    let stderr = String::from_utf8(refused.stderr.clone()).unwrap();
    assert!(stderr.contains("too many processes"), "{stderr}");
    text(refused, 8);
    drop(kept);
    until("room again", || {
        anna.run(&["whoami"]).status.success().then_some(())
    });
    assert_eq!(owner(&anna), daemon.child.id());
    signal(daemon.child.id(), Signal::TERM);
    daemon.ended(0);
}

/// The kernel frees a lock with its process: no kill leaves one that is in anybody's way.
#[test]
fn whoever_is_killed_the_next_owns_the_profile_at_once_time_and_again() {
    let anna = Person::new("anna", free_port());
    let mut first = daemon(&anna);
    for _ in 0..10 {
        let mut command = anna.command(&["daemon", "--json"]);
        let mut second = Running::spawn(command.stderr(Stdio::piped()));
        assert_eq!(
            object(&second.line())["pid"],
            first.child.id(),
            "a client beside the owner"
        );
        let killed = first.child.id();
        first.kill();
        let began = Instant::now();
        until("the next owner", || (owner(&anna) != killed).then_some(()));
        assert_eq!(owner(&anna), second.child.id());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        first = second;
    }
    // Killed in the middle of a start, at any moment of it.
    first.kill();
    for n in 0..10 {
        let mut starting = anna.start(&["daemon", "--json"]);
        std::thread::sleep(Duration::from_millis(n * 8));
        starting.child.kill().unwrap();
        starting.child.wait().unwrap();
        let began = Instant::now();
        daemon(&anna).kill();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
