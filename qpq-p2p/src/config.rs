//! Settings: a flag wins over `QPQ_*`, which wins over `config.toml`, which wins over the default.

mod environment;
mod file;

use std::{path::PathBuf, time::Duration};

use crate::{
    duration,
    endpoint::{Interfaces, InterfacesError},
    failure::{Failure, FailureCode},
    node::{MDNS_PORT, NetworkSettings},
    profile::{Folders, ProfileName},
};

pub use environment::from_environment;
pub use file::from_file;

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
        return value.to_str().is_some_and(|value| switch(value) == Ok(true));
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

fn interfaces(text: &str) -> Result<Interfaces, String> {
    let mut names = text.split(',').map(str::trim);
    // These two stand for sets of interfaces, and beside no name.
    let alone = names.find(|name| ["all", "lo"].contains(name));
    text.parse().map_err(|error: InterfacesError| {
        alone.map_or_else(|| error.to_string(), |name| format!("`{name}` only alone"))
    })
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| "a port is a number from 1 to 65535".into())
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

fn color(text: &str) -> Result<Color, String> {
    match text {
        "auto" => Ok(Color::Auto),
        "always" => Ok(Color::Always),
        "never" => Ok(Color::Never),
        _ => Err("auto, always or never".into()),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("1 or 0".into()),
    }
}

fn profile(text: &str) -> Result<ProfileName, String> {
    text.parse()
        .map_err(|error: crate::profile::ProfileNameError| error.to_string())
}

#[cfg(test)]
mod tests;
