//! The command line: arguments in, lines out. One file per verb.

mod chat;
mod follow;
mod init;
mod input;
mod invite;
mod join;
mod listen;
mod log;
mod output;
mod render;
mod send;
mod start;
mod usage;
mod warnings;
mod whoami;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    config::{self, Color, Layer},
    duration,
    failure::Failure,
    owner::Owner,
    profile::{Folders, Profile, ProfileName},
};
use output::Output;

/// End-to-end encrypted chat between peers, without account or server
#[derive(Debug, Parser)]
#[command(name = "qpq", bin_name = "qpq", version, color = clap::ColorChoice::Never)]
#[command(
    after_help = "Examples:\n  qpq init anna                 create your identity\n  qpq invite                    \
    prints a code to tell to somebody on your network\n  qpq join 4-otter-violin       they type it, and you chat\n\n\
    A flag wins over its variable, which wins over config.toml, which wins over the default:\n  \
    QPQ_HOME QPQ_PROFILE QPQ_INTERFACES QPQ_MDNS_PORT QPQ_TIMEOUT QPQ_COLOR\n  QPQ_JSON QPQ_NO_INPUT QPQ_LOG"
)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Flags that every verb takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Use this profile [default: default]
    #[arg(short, long, global = true, value_name = "NAME")]
    profile: Option<ProfileName>,
    /// Keep settings and profiles in this folder
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Answer with one JSON object per line
    #[arg(long, global = true)]
    json: bool,
    /// Leave out hints and progress
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log to standard error (-vv: more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Use colour: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    color: Option<Color>,
    /// Never ask; fail instead
    #[arg(long, global = true)]
    no_input: bool,
    /// Wait at most so long, such as 500ms or 5m [default: join 30s, send 10s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Arguments),
    Whoami(whoami::Arguments),
    Invite(invite::Arguments),
    Join(join::Arguments),
    Send(send::Arguments),
    Listen(listen::Arguments),
    Log(log::Arguments),
    Chat(chat::Arguments),
}

/// What every verb works with.
#[derive(Debug)]
struct Context {
    folders: Folders,
    settings: Layer,
    output: Output,
}

/// An exit code other than that of a [`Failure`].
type Exit = u8;

const DONE: Exit = 0;

/// A signal ended what would have gone on.
const INTERRUPTED: Exit = 130;

/// Runs `qpq` with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    start::protect_memory();
    start::keep_panics_short();
    let arguments: Vec<_> = std::env::args_os().collect();
    let outcome = std::panic::catch_unwind(|| run(arguments));
    match outcome {
        Ok(Ok(exit)) => ExitCode::from(exit),
        Ok(Err(failure)) => {
            let json = start::wants_json(std::env::args_os());
            output::report(&failure, json, start::wants_quiet(std::env::args_os()));
            ExitCode::from(failure.code.exit())
        }
        Err(_) => ExitCode::from(start::PANICKED),
    }
}

fn run(arguments: Vec<OsString>) -> Result<Exit, Failure> {
    let Arguments { global, verb } = match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage::answer(&error, &arguments),
    };
    if verb.is_none() && !can_converse() {
        output::help(&Arguments::command().render_help().to_string(), true)?;
        return Ok(crate::failure::FailureCode::Usage.exit());
    }
    let (folders, settings) = global.settings()?;
    start::log(global.verbose, global.quiet, &settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("qpq cannot start", error))?;
    let outcome = runtime.block_on(async {
        let stopped = start::signals()?;
        let json = settings.json == Some(true);
        let output = Output::new(json, global.quiet, settings.color.unwrap_or_default(), stopped);
        let context = Context {
            folders,
            settings,
            output,
        };
        let outcome = verb.unwrap_or_default().run(&context).await;
        Ok(outcome.unwrap_or_else(|failure| {
            context.output.failure(&failure);
            failure.code.exit()
        }))
    });
    // A read from standard input that never returns must not keep the process.
    runtime.shutdown_background();
    outcome
}

impl Default for Verb {
    /// `qpq` alone on a terminal: the chat that was used last.
    fn default() -> Self {
        Self::Chat(chat::Arguments::default())
    }
}

impl Verb {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Init(arguments) => init::run(arguments, context).await,
            Self::Whoami(arguments) => whoami::run(arguments, context).await,
            Self::Invite(arguments) => invite::run(arguments, context).await,
            Self::Join(arguments) => join::run(arguments, context).await,
            Self::Send(arguments) => send::run(arguments, context).await,
            Self::Listen(arguments) => listen::run(arguments, context).await,
            Self::Log(arguments) => log::run(arguments, context).await,
            Self::Chat(arguments) => chat::run(arguments, context).await,
        }
    }
}

impl Global {
    fn settings(&self) -> Result<(Folders, Layer), Failure> {
        let (environment, unknown) = config::from_environment(std::env::vars_os())?;
        let flags = Layer {
            home: self.home.clone(),
            profile: self.profile.clone(),
            timeout: self.timeout,
            color: self.color,
            json: self.json.then_some(true),
            no_input: self.no_input.then_some(true),
            ..Layer::default()
        };
        let above = flags.over(environment);
        let folders = Folders::locate(above.home.as_deref())?;
        let settings = above.over(config::from_file(folders.config())?);
        for name in unknown.iter().filter(|_| !self.quiet) {
            let text = format!("{name} is set, but no setting of this version has that name");
            output::warn(&text, settings.json == Some(true));
        }
        Ok((folders, settings))
    }
}

impl Context {
    fn folder(&self) -> PathBuf {
        self.folders
            .profile(&self.settings.profile.clone().unwrap_or_default())
    }

    /// Opens the profile for reading.
    fn profile(&self) -> Result<Profile, Failure> {
        Ok(Profile::open(&self.folder())?)
    }

    /// Opens the profile as its owner.
    fn owner(&self) -> Result<Owner, Failure> {
        Owner::open(self.profile()?, self.settings.network())
    }

    /// Whether somebody can be asked.
    fn can_ask(&self) -> bool {
        self.settings.no_input != Some(true) && can_converse()
    }
}

/// Whether there is a person at both ends.
fn can_converse() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    /// Parses `qpq …` as it stands in help or a document: what comes before, in a pipe, and what is said behind
    /// it are left out.
    #[track_caller]
    fn parses(line: &str) {
        let (_, own) = line.rsplit_once("qpq ").expect("a command of qpq");
        let own = own.split("  ").next().unwrap_or_default();
        let words = own.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let parsed = Arguments::try_parse_from(["qpq"].into_iter().chain(words));
        let help = clap::error::ErrorKind::DisplayHelp;
        assert!(
            parsed.map_or_else(|error| error.kind() == help, |_| true),
            "{line}"
        );
    }

    #[test]
    fn every_verb_has_an_example_and_all_examples_parse() {
        let mut command = Arguments::command();
        let help = command.render_help().to_string();
        let examples = |help: &str| -> Vec<String> {
            let (_, examples) = help.split_once("\nExample").unwrap_or_default();
            let lines = examples
                .lines()
                .filter(|line| line.starts_with("  ") && line.contains("qpq "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(examples(&help).len(), 3);
        examples(&help).iter().for_each(|line| parses(line));
        // clap's own `help` has none.
        for verb in command
            .get_subcommands_mut()
            .filter(|verb| verb.get_name() != "help")
        {
            let own = examples(&verb.render_help().to_string());
            assert!(
                own.iter()
                    .any(|line| line.contains(&format!("qpq {}", verb.get_name())))
            );
            own.iter().for_each(|line| parses(line));
        }
    }

    #[test]
    fn every_command_in_the_text_of_documents_parses() {
        let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = 0;
        for page in [
            "README.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "docs/src/getting-started.md",
        ] {
            let text = std::fs::read_to_string(repository.join(page)).expect(page);
            let prose = text
                .split("```")
                .step_by(2)
                .flat_map(|part| part.split('`').skip(1).step_by(2));
            for span in prose.filter(|span| span.starts_with("qpq ")) {
                found += 1;
                // A verb's name alone, and words that stand for others.
                let verb = Arguments::command().find_subcommand(&span[4..]).is_some();
                if !verb {
                    parses(&span.replace("VERB", "join"));
                }
            }
        }
        assert!(found > 10, "{found} commands");
    }
}
