//! Where the value of a setting comes from.

use std::fmt;

use super::{Layer, Lines, Setting};

/// What each place says, from the one that wins to the one that is asked last.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The command line.
    pub flags: Layer,
    /// `QPQ_…`
    pub environment: Layer,
    /// `config.toml`
    pub file: Layer,
    /// Where in it.
    pub lines: Lines,
}

/// The place that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// This flag.
    Flag(String),
    /// This variable.
    Variable(String),
    /// This line of `config.toml`.
    Line(usize),
    /// Nobody said anything.
    Default,
}

impl Layers {
    /// What holds.
    pub fn merged(&self) -> Layer {
        let above = self.flags.clone().over(self.environment.clone());
        above.over(self.file.clone())
    }

    /// The value that holds, and where it comes from.
    pub fn value(&self, setting: &Setting) -> (String, Origin) {
        let value = setting.value;
        if let Some(flag) = value(&self.flags) {
            (flag, Origin::Flag(setting.flag().unwrap_or_default()))
        } else if let Some(variable) = value(&self.environment) {
            (variable, Origin::Variable(setting.variable()))
        } else if let Some(text) = value(&self.file) {
            let line = self.lines.iter().find(|(key, _)| *key == setting.key);
            (text, Origin::Line(line.map_or(0, |(_, line)| *line)))
        } else {
            (setting.default.to_owned(), Origin::Default)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Line(line) => write!(f, "config.toml:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}
