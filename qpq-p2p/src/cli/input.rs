//! Lines from standard input: bounded in length, checked, read by a thread that nobody has to wait for.

use std::{
    io::{self, BufRead, IsTerminal, Read},
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc;

use super::output::Output;
use crate::failure::Failure;

/// The longest text of a message, in bytes.
pub(super) const TEXT_MAX: usize = 65_536;

/// Lines that were read ahead of their use.
const READ_AHEAD: usize = 256;

/// The lines of standard input.
#[derive(Debug)]
pub(super) struct Lines {
    lines: mpsc::Receiver<Result<String, InputError>>,
    put_back: Option<InputError>,
}

/// Why the input ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("line {0} is not UTF-8")]
    NotUtf8(u64),
    /// Ctrl+D in the middle of a line is no Enter.
    #[error("line {0} has no end")]
    Half(u64),
    #[error("line {0} is longer than 65,536 bytes")]
    TooLong(u64),
    #[error("a text has 1 to 65,536 bytes")]
    TextTooLong,
    #[error("standard input cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Standard input has a reader, which never gives it back.
static READ: AtomicBool = AtomicBool::new(false);

/// Whether what is typed from now on may go to a reader of lines.
pub(super) fn is_being_read() -> bool {
    READ.load(Ordering::Relaxed)
}

impl Lines {
    /// Starts to read. The thread ends with the input, or with the process.
    pub(super) fn of_stdin() -> Self {
        READ.store(true, Ordering::Relaxed);
        let (lines, receiver) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || {
            let is_typed = io::stdin().is_terminal();
            for line in Reader::new(io::stdin().lock(), is_typed) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            lines: receiver,
            put_back: None,
        }
    }

    /// The next line without its end; `None` at the end of the input. Losing the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<String, InputError>> {
        match self.put_back.take() {
            Some(error) => Some(Err(error)),
            None => self.lines.recv().await,
        }
    }

    /// A line that is there already.
    pub(super) fn ready(&mut self) -> Option<Result<String, InputError>> {
        self.lines.try_recv().ok()
    }

    /// Makes an error the next thing to be read.
    pub(super) fn put_back(&mut self, error: InputError) {
        self.put_back = Some(error);
    }
}

/// Reads line by line; nothing longer than a message is ever held.
struct Reader<R> {
    input: R,
    /// By a person, who ends a line with Enter.
    is_typed: bool,
    number: u64,
    /// After an error, and after a line without an end: a terminal would go on after Ctrl+D.
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    fn new(input: R, is_typed: bool) -> Self {
        Self {
            input,
            is_typed,
            number: 0,
            ended: false,
        }
    }

    /// `None` at the end of the input.
    fn read(&mut self) -> Result<Option<String>, InputError> {
        self.number += 1;
        let mut line = Vec::new();
        // One byte for the end of the line, one to tell that it is too long.
        let limit = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX).saturating_add(2);
        let mut input = self.input.by_ref().take(limit);
        input
            .read_until(b'\n', &mut line)
            .map_err(InputError::Unreadable)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else {
            self.ended = true;
        }
        if line.len() > TEXT_MAX {
            return Err(InputError::TooLong(self.number));
        }
        if self.ended && self.is_typed {
            return Err(InputError::Half(self.number));
        }
        let line = String::from_utf8(line).map_err(|_| InputError::NotUtf8(self.number))?;
        Ok(Some(line))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<String, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.read();
        self.ended |= line.is_err();
        line.transpose()
    }
}

/// Asks on standard error; what begins with y is a yes, everything else and the end of the input a no.
pub(super) async fn yes(output: &Output, question: &str) -> Result<bool, Failure> {
    output.ask(question);
    let mut lines = Lines::of_stdin();
    tokio::select! {
        line = lines.next() => {
            let answer = line.transpose()?.unwrap_or_default();
            Ok(answer.trim_start().starts_with(['y', 'Y']))
        }
        () = output.stop() => Err(Failure::interrupted()),
    }
}

/// Reads all of standard input as one text, without its last line end.
pub(super) fn whole(mut input: impl Read) -> Result<String, InputError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX).saturating_add(2);
    input
        .by_ref()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(InputError::Unreadable)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > TEXT_MAX {
        return Err(InputError::TextTooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let lines_before = valid.filter(|byte| **byte == b'\n').count();
        InputError::NotUtf8(u64::try_from(lines_before).unwrap_or(u64::MAX).saturating_add(1))
    })
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let hint = match error {
            InputError::NotUtf8(_) => "messages are text: convert it to UTF-8 first",
            InputError::Half(_) => "end the line with Enter, then the input with Ctrl+D",
            InputError::TooLong(_) | InputError::TextTooLong => "send it in several messages",
            InputError::Unreadable(_) => "look at where standard input comes from",
        };
        Self::usage("the input was not understood", error.to_string(), hint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn lines(input: impl BufRead) -> Vec<Result<String, String>> {
        let told = |line: Result<_, InputError>| line.map_err(|error| error.to_string());
        Reader::new(input, false).map(told).collect()
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        assert_eq!(
            lines(&b"a\n\nb"[..]),
            [Ok("a".into()), Ok(String::new()), Ok("b".into())]
        );
        assert_eq!(lines(&b""[..]), []);
        assert_eq!(lines(&b"a\r\n"[..]), [Ok("a\r".into())]);
    }

    /// Gives one piece per read; an empty one is what Ctrl+D makes of a terminal.
    struct Terminal(Vec<&'static [u8]>);

    impl Read for Terminal {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut piece = if self.0.is_empty() {
                &b""[..]
            } else {
                self.0.remove(0)
            };
            piece.read(buffer)
        }
    }

    #[test]
    fn the_end_of_a_terminal_after_half_a_line_is_its_end() {
        let terminal = Terminal(vec![b"one\n", b"half", b"", b"more\n"]);
        assert_eq!(
            lines(io::BufReader::new(terminal)),
            [Ok("one".into()), Ok("half".into())]
        );
    }

    #[test]
    fn half_a_line_that_was_typed_is_none() {
        let mut typed = Reader::new(&b"one\nhalf"[..], true);
        assert_eq!(typed.next().unwrap().unwrap(), "one");
        assert!(matches!(typed.next(), Some(Err(InputError::Half(2)))));
        assert!(typed.next().is_none());
        assert!(Reader::new(&b"one\n"[..], true).all(|line| line.is_ok()));
    }

    #[test]
    fn a_line_that_is_no_text_is_named() {
        assert_eq!(
            lines(&b"a\n\xff\nb\n"[..]),
            [Ok("a".into()), Err("line 2 is not UTF-8".into())]
        );
        assert_eq!(
            whole(&b"a\nb\xffc"[..]).unwrap_err().to_string(),
            "line 2 is not UTF-8"
        );
    }

    #[test]
    fn the_longest_line_fits_and_one_byte_more_does_not() {
        let longest = "x".repeat(TEXT_MAX);
        assert_eq!(lines(format!("{longest}\n").as_bytes()), [Ok(longest.clone())]);
        assert_eq!(lines(longest.as_bytes()), [Ok(longest.clone())]);
        assert_eq!(
            lines(format!("{longest}x\n").as_bytes()),
            [Err("line 1 is longer than 65,536 bytes".into())]
        );
        assert_eq!(lines(format!("{longest}{longest}").as_bytes()).len(), 1);
    }

    #[test]
    fn a_whole_text_loses_one_line_end_only() {
        assert_eq!(whole(&b"a\nb\n\n"[..]).unwrap(), "a\nb\n");
        assert_eq!(whole(&b""[..]).unwrap(), "");
        assert!(matches!(
            whole(&vec![b'x'; TEXT_MAX + 2][..]),
            Err(InputError::TextTooLong)
        ));
        assert!(matches!(
            whole("ä".repeat(TEXT_MAX).as_bytes()),
            Err(InputError::TextTooLong)
        ));
    }
}
