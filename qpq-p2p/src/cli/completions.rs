//! `qpq completions`: what shells need to complete commands, from the one definition of the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{DONE, Exit, output};
use crate::failure::Failure;

/// Print what your shell needs to complete commands
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq completions bash > ~/.local/share/bash-completion/completions/qpq\n  qpq completions fish > \
                  ~/.config/fish/completions/qpq.fish"
)]
pub(super) struct Arguments {
    /// For this shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "qpq", &mut script);
    output::document(&script)?;
    Ok(DONE)
}
