//! Asks on the terminal for what nobody is to see.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
};

use qpq_core::sanitize;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal that shows nothing of what is typed; as it was before when this is dropped.
///
/// The system's own line editing stays on (and Ctrl+C), so all there is to do is to turn the echo off.
#[derive(Debug)]
pub(crate) struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    /// The terminal of this process, unless neither its input nor its messages are there: then nobody looks at it.
    pub(crate) fn open() -> Option<Self> {
        if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
            return None;
        }
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // Enter is shown: the next line begins below.
        hidden
            .local_modes
            .insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // What was typed before, and shown, is no part of the answer.
        tcsetattr(&terminal, OptionalActions::Flush, &hidden).ok()?;
        Some(Self { terminal, before })
    }

    /// Writes a prompt.
    pub(crate) fn ask(&self, prompt: &str) -> io::Result<()> {
        (&self.terminal).write_all(sanitize::name(prompt).as_bytes())
    }

    /// Ends the line of a prompt that was not answered.
    pub(crate) fn leave(&self) {
        let _ = (&self.terminal).write_all(b"\n");
    }

    /// Where the answer comes from.
    pub(crate) fn input(&self) -> io::Result<File> {
        self.terminal.try_clone()
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
