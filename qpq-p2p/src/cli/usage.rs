//! What clap says, in our form: help and version as they are, errors in three lines.

use std::{error::Error, ffi::OsString};

use clap::{CommandFactory, error::ErrorKind};

use super::{Arguments, DONE, Exit, output};
use crate::failure::Failure;

/// Prints help or version, or turns an error into a failure.
pub(super) fn answer(error: &clap::Error, arguments: &[OsString]) -> Result<Exit, Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        output::help(&error.render().to_string(), false)?;
        return Ok(DONE);
    }
    Err(failure(error, arguments))
}

/// clap's text is a paragraph `error: …`, then perhaps tips, then perhaps the usage.
fn failure(error: &clap::Error, arguments: &[OsString]) -> Failure {
    let text = error.render().to_string();
    let mut paragraphs = text
        .split("\n\n")
        .map(one_line)
        .filter(|paragraph| !paragraph.is_empty());
    let what = paragraphs.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let (what, why) = match error.source().map(ToString::to_string) {
        Some(why) => (what.strip_suffix(&format!(": {why}")).unwrap_or(what), why),
        None => {
            let why = paragraphs.find(|line| line.starts_with("tip:") || line.starts_with("Usage:"));
            (
                what,
                why.unwrap_or_else(|| "that is not how this is used".to_owned()),
            )
        }
    };
    Failure::usage(what, why, hint(arguments))
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The help of the verb that was meant, where one was named.
fn hint(arguments: &[OsString]) -> String {
    let command = Arguments::command();
    let verbs: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    let named = arguments
        .iter()
        .skip(1)
        .find_map(|argument| verbs.iter().find(|verb| argument == **verb));
    named.map_or_else(|| "qpq --help".to_owned(), |verb| format!("qpq {verb} --help"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use clap::Parser;

    use super::*;

    fn failed(arguments: &[&str]) -> Failure {
        let arguments: Vec<_> = [&["qpq"], arguments]
            .concat()
            .iter()
            .map(OsString::from)
            .collect();
        failure(&Arguments::try_parse_from(&arguments).unwrap_err(), &arguments)
    }

    #[test]
    fn errors_of_clap_have_three_lines_and_name_the_help_that_fits() {
        for (arguments, what, hint) in [
            (
                &["--no-such"][..],
                "unexpected argument '--no-such' found",
                "qpq --help",
            ),
            (&["sned"], "unrecognized subcommand 'sned'", "qpq --help"),
            (
                &["join"],
                "the following required arguments were not provided: <CODE|LINK>...",
                "qpq join --help",
            ),
            (
                &["whoami", "2"],
                "unexpected argument '2' found",
                "qpq whoami --help",
            ),
        ] {
            let failure = failed(arguments);
            assert_eq!((failure.what.as_str(), failure.hint.as_str()), (what, hint));
            assert!(!failure.why.is_empty());
            assert_eq!(failure.code.exit(), 2);
        }
    }

    #[test]
    fn a_wrong_value_says_what_a_right_one_is() {
        let failure = failed(&["log", "--since", "x"]);
        assert_eq!(failure.what, "invalid value 'x' for '--since <TIME>'");
        assert!(failure.why.contains("24h"), "{failure}");
        assert_eq!(failure.hint, "qpq log --help");
        let failure = failed(&["log", "-n", "x"]);
        assert_eq!(failure.why, "invalid digit found in string");
        let failure = failed(&["whoami", "--color", "blue"]);
        assert!(failure.what.contains("never"), "{failure}");
    }
}
