//! One person's folder, and `qpq` run in it without a network.
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
    ffi::OsStr,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder for everything of one test.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// With a profile of anna in it.
    pub(crate) fn of_anna() -> Self {
        let home = Self::new();
        assert_eq!(home.run(["init", "anna"]).exit, 0);
        home
    }

    /// `qpq` with these arguments, and nothing else of this process's environment that it would heed.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = program::qpq();
        command
            .env("QPQ_HOME", self.0.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        Ended::from(self.command(arguments).output().unwrap())
    }

    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Ended {
        let mut command = self.command(arguments);
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        // A program that ends early does not read all of it.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ended::from(child.wait_with_output().unwrap())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.0.path().join("default")
    }

    pub(crate) fn config(&self, text: &str) {
        fs::write(self.0.path().join("config.toml"), text).unwrap();
    }
}

/// How a run of `qpq` ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Checks a failure for people and returns its lines: what, why, hint.
    #[track_caller]
    pub(crate) fn failed(&self, exit: i32) -> [&str; 3] {
        assert_eq!(self.exit, exit, "{self:?}");
        assert_eq!(self.stdout, "");
        let lines: Vec<_> = self.stderr.lines().collect();
        let [what, why, hint] = lines[..] else {
            panic!("three lines were expected: {self:?}")
        };
        assert!(!what.is_empty() && !why.is_empty());
        [what, why, hint.strip_prefix("hint: ").unwrap()]
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        json::checked(&self.stdout)
    }
}
