//! Signals end the program, whatever it is doing, and it tells the truth about what was done.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "support/people.rs"]
mod people;

use std::{
    fs,
    io::{self, BufRead, PipeWriter, Write},
    process::{Child, ExitStatus, Stdio},
    time::Instant,
};

use people::{PATIENCE, Person, Running, anna_and_ben, by, free_port, meet, text, until};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process},
};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// How it ends; killed when it does not.
#[track_caller]
fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::yield_now();
    }
}

/// Waits until the program has taken SIGTERM into its own hands.
#[track_caller]
fn await_handler(child: &Child) {
    let path = format!("/proc/{}/status", child.id());
    until("a handler of SIGTERM", || {
        let status = fs::read_to_string(&path).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught >> (Signal::TERM.as_raw() - 1) & 1 == 1).then_some(())
    });
}

/// Leaves no room in a pipe.
fn fill(pipe: &mut PipeWriter) {
    let flags = fcntl_getfl(&pipe).unwrap();
    fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        let error = loop {
            if let Err(error) = pipe.write_all(&vec![b'x'; size]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    fcntl_setfl(&pipe, flags).unwrap();
}

#[test]
fn one_signal_ends_it_while_nobody_reads_its_output() {
    let anna = Person::new("anna", free_port());
    for (arguments, stalls_stderr) in [(&["whoami"][..], false), (&["log", "nobody"], true)] {
        let (_reader, mut writer) = io::pipe().unwrap();
        fill(&mut writer);
        let mut command = anna.command(arguments);
        let mut child = match stalls_stderr {
            false => command.stdout(writer).spawn(),
            true => command.stderr(writer).spawn(),
        }
        .unwrap();
        await_handler(&child);
        signal(&child, Signal::TERM);
        assert_eq!(ended(&mut child).code(), Some(130), "{arguments:?}");
    }
}

#[test]
fn what_was_stored_when_a_signal_ended_the_chat_is_told_to_the_last_line() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut stored = 0;
    // The signal meets some stage of storing a batch, another one each time.
    for round in 0..4 {
        let mut command = anna.command(&["chat", "ben", "--plain"]);
        let mut chat = Running::spawn(command.stdin(Stdio::piped()).stderr(Stdio::null()));
        let mut stdin = chat.child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // Ends with the program that reads.
            (0..)
                .take_while(|n| writeln!(stdin, "line {n} of round {round}").is_ok())
                .count()
        });
        let before = stored;
        until("the first lines", || {
            stored = count(&anna);
            (stored > before + 64 * round).then_some(())
        });
        signal(&chat.child, Signal::INT);
        let status = ended(&mut chat.child);
        assert_eq!(status.code(), Some(130));
        feeder.join().unwrap();
        let told = chat.stdout.lines().map_while(Result::ok).find_map(|line| {
            let kept = line
                .strip_prefix('(')?
                .strip_suffix(" messages are kept here, not delivered yet: ben is away)")?;
            kept.parse::<usize>().ok()
        });
        stored = count(&anna);
        assert_eq!(told, Some(stored - before), "round {round}");
    }
}

/// How many messages there are.
fn count(person: &Person) -> usize {
    text(person.run(&["log", "-n", "0"]), 0).lines().count()
}

#[test]
fn nothing_is_marked_as_read_where_standard_output_is_closed() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let online = ben.start(&["invite", "--timeout", "60s"]);
    text(anna.run(&["send", "ben", "dear ben", "--timeout", "30s"]), 0);
    online.kill();
    for arguments in [&["listen", "--timeout", "1s"][..], &["chat", "anna"]] {
        let script = "exec \"$0\" \"$@\" >&-";
        let mut closed = by("sh", &["-c", script], &ben.command(arguments));
        let ended = closed.output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("the output could not be written\n"),
            "{stderr}"
        );
    }
    let heard = text(ben.run(&["listen", "--count", "1", "--timeout", "30s"]), 0);
    assert!(heard.ends_with("dear ben\n"), "{heard}");
    // Who wants nothing to be shown may say so, as shells do.
    let mut unheard = ben.command(&["listen", "--timeout", "1ms"]);
    assert!(unheard.stdout(Stdio::null()).status().unwrap().success());
}
