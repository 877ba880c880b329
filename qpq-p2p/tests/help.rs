//! Every example in the help of every verb is run, as it stands there, by a shell, and ends as it should.
//!
//! A new example is a line in [`PLAY`]: without one, the test fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
};

use people::{PATIENCE, Person, Running, by, code_of, free_port, object, text, until};
use rustix::process::{Pid, Signal, kill_process_group};

/// What goes on while an example runs.
enum During {
    /// It comes to its end.
    Ends,
    /// It goes on until Ctrl+C, which comes after its first line.
    Stopped,
    /// Ben uses the code that it prints.
    Used,
    /// The same Ctrl+C, once Ben has this text.
    Arrives(&'static str),
}

use During::{Arrives, Ends, Stopped, Used};

/// Words of an example that stand for others, and those.
type Words = Vec<(&'static str, String)>;

/// What has to be so before an example is run.
type Before = fn(&mut Stage) -> Words;

/// Each example, in an order in which they make sense; and how it ends.
const PLAY: &[(&str, Before, During, i32)] = &[
    ("qpq init anna", nothing, Ends, 0),
    ("qpq whoami --json", nothing, Ends, 0),
    ("qpq config path", nothing, Ends, 0),
    ("qpq config show", nothing, Ends, 0),
    ("qpq config show --json", nothing, Ends, 0),
    ("qpq config set timeout 1m", nothing, Ends, 0),
    ("qpq config get timeout", nothing, Ends, 0),
    ("qpq config set timeout --default", nothing, Ends, 0),
    ("qpq config set interfaces eth0,wlan0", nothing, Ends, 0),
    (
        "qpq completions bash > ~/.local/share/bash-completion/completions/qpq",
        nothing,
        Ends,
        0,
    ),
    (
        "qpq completions fish > ~/.config/fish/completions/qpq.fish",
        nothing,
        Ends,
        0,
    ),
    ("qpq man send | man -l -", nothing, Ends, 0),
    ("qpq man --dir ~/.local/share/man/man1", nothing, Ends, 0),
    ("qpq invite", nothing, Stopped, 130),
    ("qpq invite --expires 10m", nothing, Used, 0),
    ("qpq invite --link", nothing, Ends, 0),
    ("qpq invite list", nothing, Ends, 0),
    ("qpq invite cancel 7k2f9qxm3m8t0", own_link, Ends, 0),
    ("qpq join 4-otter-violin", code_of_dora, Ends, 0),
    ("qpq join QPQ:06JTB9D5MPJTB9D5MPJTB9D5MP", link_of_emil, Ends, 0),
    ("qpq daemon --json", nothing, Stopped, 130),
    ("qpq status", nothing, Ends, 0),
    ("qpq status --json", nothing, Ends, 0),
    ("qpq send ben \"Saturday 9:00?\"", ben_is_on, Ends, 0),
    ("make 2>&1 | tail -3 | qpq send ben", nothing, Ends, 0),
    (
        "tail -f app.log | qpq send ben --lines",
        nothing,
        Arrives("from app.log"),
        130,
    ),
    ("qpq listen", ben_writes, Stopped, 130),
    ("qpq listen ben --count 1 --timeout 30s", ben_writes, Ends, 0),
    ("qpq log ben", nothing, Ends, 0),
    ("qpq log --since 24h --grep boat", nothing, Ends, 0),
    ("qpq chat ben", nothing, Ends, 0),
    ("qpq nearby", nothing, Ends, 0),
    ("qpq nearby --visible --timeout 5m", nothing, Stopped, 130),
    ("qpq verify ben", nothing, Ends, 0),
    ("qpq verify ben --number \"12345 67890 …\"", number, Ends, 0),
    ("qpq contact list", nothing, Ends, 0),
    ("qpq contact list --all", nothing, Ends, 0),
    ("qpq contact show ben", nothing, Ends, 0),
    ("qpq contact rename ben benjamin", nothing, Ends, 0),
    ("qpq contact accept carla", carla_asks, Ends, 0),
    ("qpq contact refuse mallory", mallory_asks, Ends, 0),
    ("qpq contact block mallory", mallory_asks, Ends, 0),
    ("qpq contact unblock mallory", nothing, Ends, 0),
    ("qpq contact replace ben", another_ben, Ends, 0),
    ("qpq contact remove ben --purge", nothing, Ends, 0),
    ("qpq passphrase set", second_profile, Ends, 0),
    ("qpq passphrase change", nothing, Ends, 0),
    ("qpq passphrase remove", nothing, Ends, 0),
    (
        "QPQ_NEW_PASSPHRASE_FD=3 qpq passphrase set",
        third_profile,
        Ends,
        0,
    ),
];

#[test]
fn every_example_of_every_verb_runs() {
    let mut stage = Stage::new();
    let examples = stage.examples();
    let played: BTreeSet<_> = PLAY.iter().map(|(line, ..)| (*line).to_owned()).collect();
    assert_eq!(played.len(), PLAY.len(), "each once");
    for example in &examples {
        assert!(played.contains(example), "no line in PLAY: {example}");
    }
    for line in &played {
        assert!(examples.contains(line), "in nobody's help: {line}");
    }
    for (line, before, during, exit) in PLAY {
        let mut line = (*line).to_owned();
        for (word, real) in before(&mut stage) {
            assert!(line.contains(word), "{line}");
            line = line.replace(word, &real);
        }
        stage.run(&line, during, *exit);
    }
}

/// Anna, who types the examples, and those she talks to.
struct Stage {
    anna: Person,
    ben: Person,
    others: Vec<Person>,
    /// They end with the stage.
    running: Vec<Running>,
    /// Anna's variables besides.
    variables: Vec<(&'static str, OsString)>,
}

impl Stage {
    fn new() -> Self {
        let port = free_port();
        let anna = Person {
            home: tempfile::TempDir::new().unwrap(),
            mdns_port: port,
        };
        let stage = Self {
            anna,
            ben: Person::new("ben", port),
            others: Vec::new(),
            running: Vec::new(),
            variables: Vec::new(),
        };
        for folder in [
            "bin",
            ".local/share/bash-completion/completions",
            ".config/fish/completions",
        ] {
            fs::create_dir_all(stage.path(folder)).unwrap();
        }
        for (program, does) in [("make", "echo all is made"), ("man", "cat")] {
            let path = stage.path("bin").join(program);
            fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(stage.path("app.log"), "from app.log\n").unwrap();
        fs::write(stage.path("secret"), "six words that nobody ever guesses\n").unwrap();
        fs::set_permissions(stage.path("secret"), Permissions::from_mode(0o600)).unwrap();
        stage
    }

    /// In the folder that is Anna's home and where she is.
    fn path(&self, name: &str) -> PathBuf {
        self.anna.home.path().join(name)
    }

    /// The examples of all help, each once.
    fn examples(&self) -> BTreeSet<String> {
        let folder = tempfile::TempDir::new().unwrap();
        text(
            self.anna.run(&["man", "--dir", folder.path().to_str().unwrap()]),
            0,
        );
        let pages = fs::read_dir(folder.path()).unwrap();
        let mut examples = BTreeSet::new();
        for page in pages {
            let page = page.unwrap().file_name().into_string().unwrap();
            let verb = page.strip_suffix(".1").unwrap().replace('-', " ");
            let line = format!("{verb} --help");
            let arguments: Vec<_> = line.split(' ').skip(1).collect();
            let help = text(self.anna.run(&arguments), 0);
            let (_, below) = help.split_once("\nExample").expect(&verb);
            let own: Vec<_> = below
                .lines()
                .skip(1)
                .take_while(|line| line.starts_with("  "))
                // What it is for may stand beside it.
                .map(|line| line.trim_start().split("  ").next().unwrap().to_owned())
                .collect();
            assert!(!own.is_empty(), "{verb}");
            examples.extend(own);
        }
        examples
    }

    fn run(&self, line: &str, during: &During, exit: i32) {
        let errors = self.path("errors");
        let mut shell = self.shell(line);
        shell.stderr(File::create(&errors).unwrap());
        let mut typed = Typed::start(&mut shell);
        match during {
            Ends => {}
            Stopped => {
                typed.line(line);
                typed.interrupt();
            }
            Used => {
                let told = typed.line(line);
                let code = told.split(' ').next_back().unwrap();
                text(self.ben.run(&["join", code]), 0);
            }
            Arrives(body) => {
                until(line, || {
                    text(self.ben.run(&["log"]), 0).contains(body).then_some(())
                });
                typed.interrupt();
            }
        }
        let status = typed.ended(line);
        let errors = fs::read_to_string(errors).unwrap();
        assert_eq!(status.code(), Some(exit), "{line}: {errors}");
    }

    /// Lives on after a Ctrl+C, to tell how the last program of the line ended.
    fn shell(&self, line: &str) -> std::process::Command {
        let script = format!("trap : INT; exec 3<secret; {line}");
        let mut shell = by("sh", &["-c", &script], &self.anna.command(&[]));
        let own = Path::new(env!("CARGO_BIN_EXE_qpq")).parent().unwrap();
        let others = std::env::var_os("PATH").unwrap();
        let folders = [self.path("bin"), own.to_owned()].into_iter();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&others))).unwrap();
        shell
            .env("PATH", path)
            .env("HOME", self.anna.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.anna.home.path())
            .stdout(Stdio::piped())
            .process_group(0);
        shell
    }

    fn person(&mut self, name: &str) -> &Person {
        self.others.push(Person::new(name, self.anna.mdns_port));
        self.others.last().unwrap()
    }

    /// Somebody asks to be a contact, by a link of Anna's.
    fn asks(&mut self, name: &str) {
        let invite = object(&text(self.anna.run(&["invite", "--link", "--json"]), 0));
        let mut listen = self.anna.start(&["listen", "--json", "--timeout", "60s"]);
        let link = invite["link"].as_str().unwrap().to_owned();
        text(self.person(name).run(&["join", &link]), 0);
        assert_eq!(object(&listen.line())["name"], name);
        listen.kill();
    }

    fn profile(&mut self, name: &str) {
        text(self.anna.run(&["init", "anna", "-p", name]), 0);
        let secret = self.path("secret").into_os_string();
        self.variables = vec![("QPQ_PROFILE", name.into()), ("QPQ_PASSPHRASE_FILE", secret)];
    }
}

fn nothing(_: &mut Stage) -> Words {
    Words::new()
}

fn own_link(stage: &mut Stage) -> Words {
    let links = text(stage.anna.run(&["invite", "list", "--json"]), 0);
    let open = links
        .lines()
        .map(object)
        .find(|link| link.get("used_by").is_none());
    let id = open.unwrap()["id"].as_str().unwrap().to_owned();
    vec![("7k2f9qxm3m8t0", id)]
}

fn code_of_dora(stage: &mut Stage) -> Words {
    let mut invite = stage
        .person("dora")
        .start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    stage.running.push(invite);
    vec![("4-otter-violin", code)]
}

fn link_of_emil(stage: &mut Stage) -> Words {
    let emil = stage.person("emil");
    let invite = object(&text(emil.run(&["invite", "--link", "--json"]), 0));
    let listen = emil.start(&["listen", "--timeout", "60s"]);
    stage.running.push(listen);
    let link = invite["link"].as_str().unwrap().to_owned();
    vec![("QPQ:06JTB9D5MPJTB9D5MPJTB9D5MP", link)]
}

fn ben_is_on(stage: &mut Stage) -> Words {
    let mut daemon = stage.ben.start(&["daemon"]);
    assert_eq!(daemon.line(), "  ready");
    stage.running.push(daemon);
    Words::new()
}

fn ben_writes(stage: &mut Stage) -> Words {
    text(
        stage
            .ben
            .run(&["send", "anna", "my boat is yours", "--wait", "queued"]),
        0,
    );
    Words::new()
}

fn number(stage: &mut Stage) -> Words {
    let told = object(&text(stage.ben.run(&["verify", "anna", "--json"]), 0));
    vec![("12345 67890 …", told["number"].as_str().unwrap().to_owned())]
}

fn carla_asks(stage: &mut Stage) -> Words {
    // As he was before the example above.
    text(stage.anna.run(&["contact", "rename", "benjamin", "ben"]), 0);
    stage.asks("carla");
    Words::new()
}

fn mallory_asks(stage: &mut Stage) -> Words {
    stage.asks("mallory");
    Words::new()
}

fn another_ben(stage: &mut Stage) -> Words {
    let mut invite = stage.anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    text(stage.person("ben").run(&["join", &code]), 0);
    assert_eq!(invite.output().status.code(), Some(5));
    Words::new()
}

fn second_profile(stage: &mut Stage) -> Words {
    stage.profile("second");
    let secret = stage.path("secret").into_os_string();
    stage.variables.push(("QPQ_NEW_PASSPHRASE_FILE", secret));
    Words::new()
}

fn third_profile(stage: &mut Stage) -> Words {
    stage.profile("third");
    Words::new()
}

/// A line that was typed into a shell, with all that it started.
struct Typed {
    child: Child,
    lines: Receiver<String>,
}

impl Typed {
    fn start(shell: &mut std::process::Command) -> Self {
        let mut child = shell.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody may wait for the rest.
                let _ = to.send(line);
            }
        });
        Self { child, lines }
    }

    fn line(&self, of: &str) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{of}: no output"))
    }

    /// Ctrl+C goes to all that the terminal runs.
    fn interrupt(&self) {
        kill_process_group(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    fn ended(&mut self, of: &str) -> ExitStatus {
        until(of, || self.child.try_wait().unwrap())
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        // They have ended already, most often.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
