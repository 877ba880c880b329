//! Commands and their output as documents show them, and people who type them.
//!
//! A block ` ```console ` holds prompts and output. `anna$ ` and `ben$ ` are two people with a home of their own
//! each, on one loopback network; `$ ` is a shell in the repository. Lines below a command are what it prints,
//! standard error included; without any, it only has to succeed. `qpq invite` and `qpq listen` go on while others
//! type, until their person types again or the document ends. The code `4-otter-violin` stands for the one of the
//! last invite, `…` for the rest of a word, and ids and times for any others.

use std::{
    io::{BufRead, BufReader},
    net::UdpSocket,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use qpq_core::invite::Code;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// The code of the documents, as it is typed in two ways, and one with other words.
const CODE: &str = "4-otter-violin";
const CODE_SPACED: &str = "4 otter violin";
const OTHER_CODE: &str = "4-badger-piano";

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A prompt with what follows it.
#[derive(Debug)]
pub(crate) struct Step {
    /// Line in the document, from 1.
    pub(crate) line: usize,
    /// Empty: a shell in the repository.
    pub(crate) person: String,
    pub(crate) command: String,
    pub(crate) shown: Vec<String>,
}

/// Fenced blocks: the line where each begins, its language, its lines.
pub(crate) fn blocks(document: &str) -> Vec<(usize, &str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line);
            let inside = inside.take_while(|line| !line.trim_start().starts_with("```"));
            blocks.push((at + 1, language, inside.collect()));
        }
    }
    blocks
}

/// All commands of a document, in order.
pub(crate) fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (start, _, lines) in blocks(document).into_iter().filter(|block| block.1 == "console") {
        let first = steps.len();
        for (line, text) in (start + 1..).zip(lines) {
            match text.split_once("$ ") {
                Some((person, command)) if ["", "anna", "ben"].contains(&person) => steps.push(Step {
                    line,
                    person: person.to_owned(),
                    command: command.to_owned(),
                    shown: Vec::new(),
                }),
                _ => {
                    assert!(steps.len() > first, "line {line}: output before any command");
                    steps.last_mut().unwrap().shown.push(text.to_owned());
                }
            }
        }
    }
    steps
}

/// The people of one document.
pub(crate) struct People {
    folder: TempDir,
    mdns_port: u16,
    code: String,
    waiting: Vec<Running>,
}

struct Running {
    step: Step,
    child: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl People {
    /// On a network that nobody else is on.
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self {
            folder: TempDir::new().unwrap(),
            mdns_port: socket.local_addr().unwrap().port(),
            code: CODE.to_owned(),
            waiting: Vec::new(),
        }
    }

    /// Has a person type a command.
    pub(crate) fn type_in(&mut self, step: Step) {
        if let Some(at) = self
            .waiting
            .iter()
            .position(|other| other.step.person == step.person)
        {
            self.waiting.remove(at).finish(true);
        }
        let is_invite = step.command.starts_with("qpq invite") && !step.command.contains("--link");
        let goes_on = is_invite || step.command.starts_with("qpq listen");
        let mut running = self.start(step);
        if is_invite {
            let line = running.line().expect("an invite prints its code");
            let code = line.split_whitespace().last().unwrap_or_default();
            self.code = code.parse::<Code>().unwrap().to_string();
        }
        if goes_on {
            self.waiting.push(running);
        } else {
            running.finish(false);
        }
    }

    /// Ends what still goes on.
    pub(crate) fn finish(self) {
        self.waiting.into_iter().for_each(|running| running.finish(true));
    }

    fn start(&self, step: Step) -> Running {
        let (number, _) = self.code.split_once('-').unwrap();
        let command = step
            .command
            .replace(CODE, &self.code)
            .replace(CODE_SPACED, &self.code.replace('-', " "))
            .replace(OTHER_CODE, &OTHER_CODE.replacen('4', number, 1));
        let (output, input) = std::io::pipe().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_qpq")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let child = Command::new("sh")
            .args(["-c", &command])
            .env_clear()
            .envs([
                ("PATH", path.as_str()),
                ("LANG", "C.UTF-8"),
                ("QPQ_INTERFACES", "lo"),
            ])
            .env("QPQ_HOME", self.folder.path().join(&step.person))
            .env("QPQ_MDNS_PORT", self.mdns_port.to_string())
            .current_dir(self.folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(input.try_clone().unwrap())
            .stderr(input)
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running {
            step,
            child,
            lines,
            printed: Vec::new(),
        }
    }
}

impl Running {
    /// The next line, kept as well; `None` at the end of the output.
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.printed.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.interrupt();
                panic!("{:?} printed {:?} and hangs", self.step, self.printed)
            }
        }
    }

    fn interrupt(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::INT);
        }
    }

    /// Compares what was printed; what goes on is ended once it has printed as much as is shown.
    fn finish(mut self, goes_on: bool) {
        if goes_on {
            while self.printed.len() < self.step.shown.len() && self.line().is_some() {}
            self.interrupt();
        }
        while self.line().is_some() {}
        let status = self.child.wait().unwrap();
        let (step, printed) = (&self.step, &self.printed);
        let fails =
            step.shown.iter().any(|line| line.starts_with("hint: ")) && !step.command.contains("echo $?");
        assert!(
            goes_on || status.success() != fails,
            "{step:?}: {status}, {printed:?}"
        );
        if !step.shown.is_empty() {
            let same = step.shown.len() == printed.len()
                && step
                    .shown
                    .iter()
                    .zip(printed)
                    .all(|(shown, printed)| is_alike(shown, printed));
            assert!(same, "{step:#?} printed {printed:#?}");
        }
    }
}

impl Drop for Running {
    /// A test that fails leaves nobody waiting for a day.
    fn drop(&mut self) {
        self.interrupt();
        let _ = self.child.wait();
    }
}

/// Whether a line differs from the one shown in codes, ids and times alone.
fn is_alike(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (words(shown), words(printed));
    shown.len() == printed.len()
        && shown.into_iter().zip(printed).all(|(shown, printed)| {
            shown.ends_with('…')
                || shown == printed
                || kind(shown).is_some_and(|same| kind(printed) == Some(same))
        })
}

fn words(line: &str) -> Vec<&str> {
    line.split_inclusive(|c: char| c.is_whitespace() || "\",;()".contains(c))
        .flat_map(|word| {
            let end = word.trim_end_matches(|c: char| c.is_whitespace() || "\",;():".contains(c));
            [end, word.get(end.len()..).unwrap_or_default()]
        })
        .collect()
}

/// What differs from run to run.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Code,
    ShortId,
    Clock,
    Instant,
    MessageId,
}

fn kind(word: &str) -> Option<Kind> {
    let lengths: Vec<_> = word.split(['-', ':']).map(str::len).collect();
    let all = |fits: fn(char) -> bool| word.chars().all(fits);
    match lengths[..] {
        [4, 4] if all(|c| c.is_ascii_alphanumeric() || c == '-') => Some(Kind::ShortId),
        [2, 2] if all(|c| c.is_ascii_digit() || c == ':') => Some(Kind::Clock),
        [26] if all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()) => Some(Kind::MessageId),
        [4, 2, 5, 2, 7] if word.ends_with('Z') => Some(Kind::Instant),
        [_, _, _] if word.parse::<Code>().is_ok() => Some(Kind::Code),
        _ => None,
    }
}
