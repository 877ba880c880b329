//! What was typed or pasted: texts to send, commands, and what is neither.

use crate::{
    cli::{
        input::{InputError, Lines},
        send::BATCH_BYTES,
    },
    failure::Failure,
};

/// Lines that are stored in one transaction where they come faster than they are stored.
const BATCH: usize = 64;

/// So much of an unknown command is shown.
const COMMAND_SHOWN: usize = 32;

/// What was pasted or piped goes into one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) texts: Vec<String>,
    /// Why some lines are not among them.
    pub(super) refused: Vec<String>,
    /// How the input ends, where it does.
    pub(super) end: Option<Result<(), Failure>>,
}

impl Batch {
    /// The texts of a line and of those that are there already.
    pub(super) fn take(line: Result<String, InputError>, lines: &mut Lines) -> Self {
        let mut batch = Self::default();
        let pasted = std::iter::once(line).chain(std::iter::from_fn(|| lines.ready()));
        for line in pasted.take(BATCH) {
            batch.add(line);
            let bytes: usize = batch.texts.iter().map(String::len).sum();
            if batch.end.is_some() || bytes >= BATCH_BYTES {
                break;
            }
        }
        batch
    }

    fn add(&mut self, line: Result<String, InputError>) {
        match line {
            Ok(line) if line.trim_end() == "/quit" => self.end = Some(Ok(())),
            Ok(line) if line.is_empty() => {}
            Ok(line) => match line.strip_prefix('/') {
                None => self.texts.push(line),
                Some(text) if text.starts_with('/') => self.texts.push(text.to_owned()),
                Some(command) => {
                    let name = command.split_whitespace().next().unwrap_or_default();
                    let name: String = name.chars().take(COMMAND_SHOWN).collect();
                    let why = format!("no such command: /{name}; begin with // to send it");
                    self.refused.push(why);
                }
            },
            Err(InputError::Half(_)) => {
                self.refused.push("not sent: half a line".to_owned());
                self.end = Some(Ok(()));
            }
            Err(error) => self.end = Some(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_not_sent_and_ends_the_chat() {
        let mut batch = Batch::default();
        batch.add(Ok("one".into()));
        batch.add(Err(InputError::Half(2)));
        assert_eq!(batch.texts, ["one"]);
        assert_eq!(batch.refused, ["not sent: half a line"]);
        assert_eq!(batch.end, Some(Ok(())));
    }

    #[test]
    fn what_looks_like_a_command_is_sent_to_nobody() {
        let mut batch = Batch::default();
        for line in ["/who ben", "//quit", "a/b", "///", "/", " /x"] {
            batch.add(Ok(line.into()));
        }
        assert_eq!(batch.texts, ["/quit", "a/b", "//", " /x"]);
        let refused = |name: &str| format!("no such command: {name}; begin with // to send it");
        assert_eq!(batch.refused, [refused("/who"), refused("/")]);
        assert_eq!(batch.end, None);
        batch.add(Ok(format!("/{}", "x".repeat(1_000))));
        assert!(batch.refused[2].len() < 80);
        batch.add(Ok("/quit ".into()));
        assert_eq!(batch.end, Some(Ok(())));
    }
}
