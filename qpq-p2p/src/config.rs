//! Settings: a flag wins over `QPQ_*`, which wins over `config.toml`, which wins over the default.

mod edit;
mod environment;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod origin;
mod table;

use std::{path::PathBuf, time::Duration};

use crate::{
    endpoint::Interfaces,
    failure::{Failure, FailureCode},
    node::{MDNS_PORT, NetworkSettings},
    profile::{Folders, ProfileName},
};

pub use edit::{EditError, edit};
pub use environment::from_environment;
pub use file::{Lines, from_file};
pub use origin::{Layers, Origin};
pub use table::{SETTINGS, Setting};

pub(crate) use environment::warning;

/// What one place (the command line, the environment, the file) says. `None`: it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// One folder for everything.
    pub home: Option<PathBuf>,
    /// Which profile.
    pub profile: Option<ProfileName>,
    /// Where to look for people.
    pub interfaces: Option<Interfaces>,
    /// Where multicast DNS is spoken.
    pub mdns_port: Option<u16>,
    /// How long a verb waits.
    pub timeout: Option<Duration>,
    /// Whether output is coloured.
    pub color: Option<Color>,
    /// One JSON object per line.
    pub json: Option<bool>,
    /// Never ask.
    pub no_input: Option<bool>,
    /// Filter of the log on standard error.
    pub log: Option<String>,
    /// Where the passphrase is.
    pub passphrase: SecretPlace,
    /// Where the passphrase is that `passphrase set` and `change` are to use from now on.
    pub new_passphrase: SecretPlace,
}

/// Where a passphrase can be read. It is never a setting itself: others can see arguments and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretPlace {
    /// A file that nobody else can read.
    pub file: Option<PathBuf>,
    /// A file that is open in this process.
    pub fd: Option<u16>,
}

impl SecretPlace {
    fn over(self, below: Self) -> Self {
        Self {
            file: self.file.or(below.file),
            fd: self.fd.or(below.fd),
        }
    }
}

impl Layer {
    /// This layer over another: what this one does not say, the other may.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            home: self.home.or(below.home),
            profile: self.profile.or(below.profile),
            interfaces: self.interfaces.or(below.interfaces),
            mdns_port: self.mdns_port.or(below.mdns_port),
            timeout: self.timeout.or(below.timeout),
            color: self.color.or(below.color),
            json: self.json.or(below.json),
            no_input: self.no_input.or(below.no_input),
            log: self.log.or(below.log),
            passphrase: self.passphrase.over(below.passphrase),
            new_passphrase: self.new_passphrase.over(below.new_passphrase),
        }
    }

    /// What the network needs, with defaults.
    pub fn network(&self) -> NetworkSettings {
        NetworkSettings {
            interfaces: self.interfaces.clone().unwrap_or_default(),
            mdns_port: self.mdns_port.unwrap_or(MDNS_PORT),
        }
    }
}

/// Whether the environment or the file asks for JSON, however little sense the rest of them makes: for errors
/// before there are settings. `home` is that of the command line.
pub(crate) fn wants_json(home: Option<PathBuf>) -> bool {
    if let Some(value) = std::env::var_os("QPQ_JSON") {
        return value
            .to_str()
            .is_some_and(|value| table::switch(value) == Ok(true));
    }
    let home = home.or_else(|| std::env::var_os("QPQ_HOME").map(PathBuf::from));
    Folders::locate(home.as_deref()).is_ok_and(|folders| file::wants_json(folders.config()))
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR`, `CLICOLOR=0` or `TERM=dumb` says otherwise.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// As it is written in flags and files.
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// Why a setting was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// As the system says.
        why: String,
    },
    /// A line of the file makes no sense.
    #[error("{path}, line {line}: {why}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Which key or value, and what would be right.
        why: String,
    },
    /// A variable makes no sense.
    #[error("{name}: {why}")]
    Variable {
        /// `QPQ_…`
        name: String,
        /// What would be right.
        why: String,
    },
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => "look at the permissions of the file",
            ConfigError::Line { .. } => "change or remove that line",
            ConfigError::Variable { .. } => "change or unset that variable",
        };
        Self::new(
            FailureCode::Config,
            "a setting was not understood",
            error.to_string(),
            hint,
        )
    }
}

#[cfg(test)]
mod tests;
