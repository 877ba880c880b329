//! The command line: arguments in, lines out. One file per verb.

mod chat;
mod completions;
mod config;
mod contact;
mod context;
mod daemon;
mod follow;
mod init;
mod input;
mod invite;
mod join;
mod listen;
mod log;
mod man;
mod nearby;
mod output;
mod passphrase;
mod qr;
mod render;
mod send;
mod start;
mod status;
mod unlock;
mod usage;
mod verify;
mod warnings;
mod whoami;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    config::{self as settings, Color, Layer, Layers},
    duration,
    failure::Failure,
    profile::{Folders, ProfileName},
};
use context::Context;
use output::Output;

/// End-to-end encrypted chat between peers, without account or server
#[derive(Debug, Parser)]
#[command(name = "qpq", bin_name = "qpq", version, color = clap::ColorChoice::Never)]
#[command(
    after_help = "Examples:\n  qpq init anna                 create your identity\n  qpq invite                    \
    prints a code to tell to somebody on your network\n  qpq join 4-otter-violin       they type it, and you chat\n\n\
    A flag wins over its variable, which wins over config.toml, which wins over the default:\n  \
    QPQ_HOME QPQ_PROFILE QPQ_INTERFACES QPQ_MDNS_PORT QPQ_TIMEOUT QPQ_COLOR\n  QPQ_JSON QPQ_NO_INPUT QPQ_LOG QPQ_PASSPHRASE_FILE QPQ_PASSPHRASE_FD\n  \
    QPQ_NEW_PASSPHRASE_FILE QPQ_NEW_PASSPHRASE_FD"
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
    Contact(contact::Arguments),
    Verify(verify::Arguments),
    Daemon(daemon::Arguments),
    Passphrase(passphrase::Arguments),
    Config(config::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Status(status::Arguments),
    Nearby(nearby::Arguments),
}

/// For threads that are in the middle of something at the end.
const TEARDOWN: Duration = Duration::from_millis(500);

/// For requests that are at the disk even then.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// An exit code other than that of a [`Failure`].
type Exit = u8;

const DONE: Exit = 0;

/// A signal ended what would have gone on.
const INTERRUPTED: Exit = 130;

/// Runs `qpq` with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    crate::failpoint::arm();
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
    let (folders, layers) = global.settings()?;
    let settings = layers.merged();
    start::log(global.verbose, global.quiet, &settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("qpq cannot start", error))?;
    // The ends of RPC stay on the thread that they were made on.
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, async {
        let stopped = start::signals()?;
        let json = settings.json == Some(true);
        let output = Output::new(json, global.quiet, settings.color.unwrap_or_default(), stopped);
        let context = Context {
            folders,
            settings,
            layers,
            output,
            passphrase: Arc::default(),
        };
        let outcome = verb.unwrap_or_default().run(&context).await;
        Ok(outcome.unwrap_or_else(|failure| {
            context.output.failure(&failure);
            failure.code.exit()
        }))
    });
    // Whoever is in the middle of the database when the process is torn down crashes it; a read from standard input that
    // never returns must not keep it, though.
    runtime.shutdown_timeout(TEARDOWN);
    crate::control::wait_for_requests(LAST_REQUEST);
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
            Self::Contact(arguments) => contact::run(arguments, context).await,
            Self::Verify(arguments) => verify::run(arguments, context).await,
            Self::Daemon(arguments) => daemon::run(arguments, context).await,
            Self::Passphrase(arguments) => passphrase::run(arguments, context).await,
            Self::Config(arguments) => config::run(arguments, context).await,
            Self::Completions(arguments) => completions::run(&arguments),
            Self::Man(arguments) => man::run(arguments),
            Self::Status(arguments) => status::run(arguments, context).await,
            Self::Nearby(arguments) => nearby::run(arguments, context).await,
        }
    }
}

impl Global {
    fn settings(&self) -> Result<(Folders, Layers), Failure> {
        let (environment, unknown) = settings::from_environment(std::env::vars_os())?;
        let flags = Layer {
            home: self.home.clone(),
            profile: self.profile.clone(),
            timeout: self.timeout,
            color: self.color,
            json: self.json.then_some(true),
            no_input: self.no_input.then_some(true),
            ..Layer::default()
        };
        let home = flags.home.as_deref().or(environment.home.as_deref());
        let folders = Folders::locate(home)?;
        let (file, lines) = settings::from_file(folders.config())?;
        let layers = Layers {
            flags,
            environment,
            file,
            lines,
        };
        let json = layers.merged().json == Some(true);
        for name in unknown.iter().filter(|_| !self.quiet) {
            output::warn(&settings::warning(name), json);
        }
        Ok((folders, layers))
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

    /// Parses `qpq …` as it stands in help or a document: what comes before, in a pipe, and what its output goes to
    /// or is said behind it are left out.
    #[track_caller]
    fn parses(line: &str) {
        let (_, own) = line.rsplit_once("qpq ").expect("a command of qpq");
        let own = ["  ", " > ", " | "]
            .iter()
            .fold(own, |own, end| own.split(end).next().unwrap_or_default());
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
        let mut below = vec![(String::from("qpq"), command)];
        let mut found = 0;
        while let Some((name, command)) = below.pop() {
            // clap's own `help` has none.
            let verbs = command.get_subcommands();
            for verb in verbs.filter(|verb| verb.get_name() != "help") {
                let name = format!("{name} {}", verb.get_name());
                let own = examples(&verb.clone().render_help().to_string());
                assert!(own.iter().any(|line| line.contains(&name)), "{name}");
                own.iter().for_each(|line| parses(line));
                below.push((name, verb.clone()));
                found += 1;
            }
        }
        assert!(found > 15, "{found} verbs");
    }

    #[test]
    fn the_flags_of_settings_are_those_of_the_table() {
        let command = Arguments::command();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        // These two are of one call only.
        let flags = flags.filter(|flag| !["quiet", "verbose"].contains(flag));
        let defined: std::collections::BTreeSet<_> = flags.map(|flag| format!("--{flag}")).collect();
        let told = settings::SETTINGS
            .iter()
            .filter_map(settings::Setting::flag)
            .collect();
        assert_eq!(defined, told);
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
            "docs/src/passphrase.md",
            "docs/src/reference/json.md",
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
