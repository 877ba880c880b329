//! Settings from `config.toml`.

use std::{fs, io, ops::Range, path::Path};

use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Layer, color, interfaces, port, profile, switch, timeout};

/// The keys that may stand in the file: the same words as the flags and, in capitals, the variables.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Keys {
    profile: Option<Spanned<Value>>,
    interfaces: Option<Spanned<Value>>,
    mdns_port: Option<Spanned<Value>>,
    timeout: Option<Spanned<Value>>,
    color: Option<Spanned<Value>>,
    json: Option<Spanned<Value>>,
    no_input: Option<Spanned<Value>>,
}

/// `timeout = 30` and `timeout = "30s"` mean the same.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<String>),
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::List(items) => items.join(","),
        }
    }
}

/// Reads the file of settings. Where there is none, nothing is said.
///
/// # Errors
/// [`ConfigError`] for an unreadable file and, with its line, for any key or value that is not known.
pub fn from_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Layer::default());
        }
        Err(error) => {
            return Err(ConfigError::Unreadable {
                path: path.to_owned(),
                why: error.to_string(),
            });
        }
    };
    let at = |span: Range<usize>, why: String| {
        let before = text.get(..span.start).unwrap_or(&text);
        ConfigError::Line {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            why,
        }
    };
    let keys: Keys = toml::from_str(&text)
        .map_err(|error| at(error.span().unwrap_or_default(), error.message().to_owned()))?;
    Ok(Layer {
        home: None,
        profile: one("profile", keys.profile, profile, at)?,
        interfaces: one("interfaces", keys.interfaces, interfaces, at)?,
        mdns_port: one("mdns_port", keys.mdns_port, port, at)?,
        timeout: one("timeout", keys.timeout, timeout, at)?,
        color: one("color", keys.color, color, at)?,
        json: one("json", keys.json, switch, at)?,
        no_input: one("no_input", keys.no_input, switch, at)?,
        log: None,
    })
}

/// Whether the file asks for JSON, whatever else stands in it.
pub(super) fn wants_json(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Key {
        json: Option<Value>,
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let json = toml::from_str(&text).ok().and_then(|Key { json }| json);
    json.is_some_and(|json| switch(&json.into_text()) == Ok(true))
}

fn one<T>(
    key: &str,
    value: Option<Spanned<Value>>,
    parse: impl FnOnce(&str) -> Result<T, String>,
    at: impl FnOnce(Range<usize>, String) -> ConfigError,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    let span = value.span();
    parse(&value.into_inner().into_text())
        .map(Some)
        .map_err(|why| at(span, format!("{key}: {why}")))
}
