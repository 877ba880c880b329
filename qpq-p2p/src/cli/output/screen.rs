//! Bytes to standard output and standard error, around the prompt that waits where both are a terminal.

use std::{
    io::{self, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fstat},
    termios::tcgetwinsize,
};

use crate::sink::SinkError;

/// The prompt at the start of the terminal's last line; changed only by who holds the lock of standard output.
/// A process has one terminal, so it has one prompt.
static PROMPT: Mutex<Option<String>> = Mutex::new(None);

/// Odd while a write is under way, another number with each.
static OUT: AtomicU64 = AtomicU64::new(0);
static ERR: AtomicU64 = AtomicU64::new(0);

/// Writes to standard output, with the prompt below it where one waits. Flushed when this returns.
pub(super) fn out(text: &[u8]) -> Result<(), SinkError> {
    let mut stdout = io::stdout().lock();
    let prompt = prompt().clone();
    write(&mut stdout, &OUT, &above(prompt.as_deref(), can_clear(), text))
}

/// Writes to standard error. It is the last place to complain to: a failure is nobody's concern.
pub(super) fn err(text: &[u8]) {
    if prompt().is_none() || !io::stderr().is_terminal() {
        let _ = write(&mut io::stderr().lock(), &ERR, text);
        return;
    }
    let mut stdout = io::stdout().lock();
    let prompt = prompt().clone();
    let text = above(prompt.as_deref(), can_clear(), text);
    let _ = write(&mut io::stderr().lock(), &ERR, &text);
    // What follows goes on behind the prompt, which was written there.
    let _ = stdout.flush();
}

/// Whether standard output was closed: in the place of what is closed, Rust opens `/dev/null` for reading too. Who
/// means `/dev/null` in a shell opens it for writing only; other programs may not, and are taken for the former.
pub(super) fn is_closed() -> bool {
    let stdout = io::stdout();
    let reads = fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::RDWR));
    let null = std::fs::metadata("/dev/null").map(|null| null.rdev());
    reads && fstat(&stdout).is_ok_and(|stdout| null.is_ok_and(|null| null == stdout.st_rdev))
}

/// How wide the terminal is; `None` where standard output is none, or one that draws nothing.
pub(super) fn columns() -> Option<usize> {
    let stdout = io::stdout();
    let size = tcgetwinsize(&stdout).ok().filter(|_| can_clear())?;
    Some(size.ws_col.into())
}

/// Writes a prompt, which then waits: everything else is written above it.
pub(super) fn ask(text: &str) -> Result<(), SinkError> {
    let mut stdout = io::stdout().lock();
    *prompt() = Some(text.to_owned());
    write(&mut stdout, &OUT, text.as_bytes())
}

/// The prompt was answered: Enter has begun a new line.
pub(super) fn answered() {
    let _stdout = io::stdout().lock();
    *prompt() = None;
}

/// Ends the line of a prompt that nobody will answer.
pub(super) fn leave() -> Result<(), SinkError> {
    let mut stdout = io::stdout().lock();
    let waits = prompt().take().is_some();
    if waits {
        write(&mut stdout, &OUT, b"\n")
    } else {
        Ok(())
    }
}

/// Tells one write that stands still from many that go on: equal only when none began or ended in between,
/// `None` while none is under way.
pub(crate) fn writes_under_way() -> Option<(u64, u64)> {
    let (out, err) = (OUT.load(Ordering::Relaxed), ERR.load(Ordering::Relaxed));
    (out % 2 == 1 || err % 2 == 1).then_some((out, err))
}

fn prompt() -> MutexGuard<'static, Option<String>> {
    PROMPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `text` in place of the prompt, and the prompt again below. What was typed behind it leaves the screen and stays
/// in the line that Enter will send; a terminal that cannot clear goes on below it instead.
fn above(prompt: Option<&str>, can_clear: bool, text: &[u8]) -> Vec<u8> {
    let Some(prompt) = prompt else {
        return text.to_owned();
    };
    let begin = if can_clear { "\r\x1b[K" } else { "\n" };
    [begin.as_bytes(), text, prompt.as_bytes()].concat()
}

/// Whether the terminal clears the rest of a line when told so.
fn can_clear() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

fn write(stream: &mut impl Write, counter: &AtomicU64, bytes: &[u8]) -> Result<(), SinkError> {
    counter.fetch_add(1, Ordering::Relaxed);
    let written = stream.write_all(bytes).and_then(|()| stream.flush());
    counter.fetch_add(1, Ordering::Relaxed);
    written.map_err(|error| SinkError(error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_not_merged_with_what_is_typed() {
        assert_eq!(above(None, true, b"ben: hi\n"), b"ben: hi\n");
        assert_eq!(above(Some("> "), true, b"ben: hi\n"), b"\r\x1b[Kben: hi\n> ");
        assert_eq!(above(Some("> "), false, b"ben: hi\n"), b"\nben: hi\n> ");
    }
}
