//! `qpq config`: settings, and where each comes from.

use super::{Context, DONE, Exit};
use crate::{
    config::{self, Layers, Origin, SETTINGS, Setting},
    event::Event,
    failure::Failure,
    sink::Sink,
};

/// Show and change settings
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    after_help = "Examples:\n  qpq config show\n  qpq config set timeout 1m"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show every setting, and where its value comes from
    #[command(after_help = "Example:\n  qpq config show --json")]
    Show,
    /// Show the value of one setting
    #[command(after_help = "Example:\n  qpq config get timeout")]
    Get {
        /// As `qpq config show` names it
        key: String,
    },
    /// Change a setting in config.toml
    #[command(
        after_help = "Examples:\n  qpq config set timeout 1m\n  qpq config set interfaces eth0,wlan0\n  qpq config set \
                      timeout --default"
    )]
    Set {
        /// As `qpq config show` names it
        key: String,
        /// What it is to be
        #[arg(required_unless_present = "default", conflicts_with = "default")]
        value: Option<String>,
        /// Take it out of config.toml
        #[arg(long)]
        default: bool,
    },
    /// Show where config.toml is
    #[command(after_help = "Example:\n  qpq config path")]
    Path,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    match arguments.action {
        Action::Show => {
            for setting in &SETTINGS {
                show(setting, &context.layers, context, Form::Table).await?;
            }
        }
        Action::Get { key } => show(named(&key)?, &context.layers, context, Form::Value).await?,
        Action::Set { key, value, .. } => set(&key, value.as_deref(), context).await?,
        Action::Path => path(context).await?,
    }
    Ok(DONE)
}

/// How people see a setting.
#[derive(Clone, Copy)]
enum Form {
    /// In columns.
    Table,
    /// The value alone, for scripts.
    Value,
}

async fn show(setting: &Setting, layers: &Layers, context: &Context, form: Form) -> Result<(), Failure> {
    let (value, origin) = layers.value(setting);
    let mut printer = context.output.printer(move |event| {
        let Event::Setting { key, value, origin } = event else {
            return None;
        };
        Some(match form {
            Form::Table => format!("{key:<20} {value:<20} {origin}"),
            Form::Value => value.clone(),
        })
    });
    let event = Event::Setting {
        key: setting.key.to_owned(),
        value,
        origin: origin.to_string(),
    };
    Ok(printer.put(event).await?)
}

async fn set(key: &str, value: Option<&str>, context: &Context) -> Result<(), Failure> {
    config::edit(context.folders.config(), key, value)?;
    let setting = named(key)?;
    let (file, lines) = config::from_file(context.folders.config())?;
    let layers = Layers {
        file,
        lines,
        ..context.layers.clone()
    };
    show(setting, &layers, context, Form::Table).await?;
    if let (_, Origin::Flag(above) | Origin::Variable(above)) = layers.value(setting) {
        context.output.note(&format!("{above} wins over config.toml"));
    }
    Ok(())
}

async fn path(context: &Context) -> Result<(), Failure> {
    let mut printer = context.output.printer(|event| {
        let Event::ConfigPath { path } = event else {
            return None;
        };
        Some(path.clone())
    });
    let path = context.folders.config().display().to_string();
    Ok(printer.put(Event::ConfigPath { path }).await?)
}

fn named(key: &str) -> Result<&'static Setting, Failure> {
    Setting::named(key).ok_or_else(|| {
        let keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        Failure::usage(
            format!("no setting is named {key}"),
            format!("there are {}", keys.join(", ")),
            "qpq config show",
        )
    })
}
