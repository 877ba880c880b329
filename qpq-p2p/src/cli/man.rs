//! `qpq man`: manual pages, from the one definition of the command line.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{DONE, Exit, output};
use crate::failure::{Failure, FailureCode, hint_for};

/// Print manual pages
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  qpq man send | man -l -\n  qpq man --dir ~/.local/share/man/man1")]
pub(super) struct Arguments {
    /// The page of this verb
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
    /// Write all pages to this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let all = definition();
    match arguments.dir {
        Some(folder) => fs::create_dir_all(&folder)
            .and_then(|()| write_all(&all, &folder))
            .map_err(|error| {
                Failure::new(
                    FailureCode::Unexpected,
                    "the pages were not written",
                    format!("{}: {error}", folder.display()),
                    hint_for(&error, "name a folder that you may write to"),
                )
            })?,
        None => output::document(&page(verb(&all, &arguments.verb)?))?,
    }
    Ok(DONE)
}

fn definition() -> Command {
    let mut all = super::Arguments::command().disable_help_subcommand(true);
    // Only then each verb knows its whole name.
    all.build();
    all
}

fn verb<'a>(all: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    words.iter().try_fold(all, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let verbs: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            let why = if verbs.is_empty() {
                format!("{} has no verbs below it", command.get_name())
            } else {
                format!("there are {}", verbs.join(", "))
            };
            Failure::usage(format!("no page is named {word}"), why, "qpq man --help")
        })
    })
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(format!("{}.1", name(command))), page(command))?;
    command
        .get_subcommands()
        .try_for_each(|verb| write_all(verb, folder))
}

/// `qpq-config-set`
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    let man = Man::new(command.clone())
        .title(name(command))
        .source(concat!("qpq ", env!("CARGO_PKG_VERSION")))
        .manual("quicproquo");
    // A Vec takes everything.
    let _ = man.render(&mut page);
    page
}
