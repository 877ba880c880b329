//! Settings from `config.toml`.

use std::{ffi::OsStr, fs, io, ops::Range, path::Path};

use toml_edit::{Document, Item, Value};

use super::{
    ConfigError, Layer,
    table::{Setting, switch},
};

/// The line, from 1, in which a key stands.
pub type Lines = Vec<(&'static str, usize)>;

/// Reads the file of settings, and where each stands. Where there is none, nothing is said.
///
/// # Errors
/// [`ConfigError`] for an unreadable file and, with its line, for any key or value that is not known.
pub fn from_file(path: &Path) -> Result<(Layer, Lines), ConfigError> {
    parse(&read(path)?, path)
}

/// The text of the file; that of none is empty.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(String::new())
        }
        Err(error) => Err(ConfigError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        }),
    }
}

/// Takes every key and value, or names the first line that makes no sense.
pub(super) fn parse(text: &str, path: &Path) -> Result<(Layer, Lines), ConfigError> {
    let at = |span: Option<Range<usize>>, why: String| ConfigError::Line {
        path: path.to_owned(),
        line: line_of(text, span),
        why,
    };
    let document =
        Document::parse(text).map_err(|error| at(error.span(), error.message().trim().to_owned()))?;
    let mut layer = Layer::default();
    let mut lines = Lines::new();
    for (name, item) in document.iter() {
        let span = document.key(name).and_then(toml_edit::Key::span);
        let Some(setting) = Setting::named(name).filter(|setting| setting.in_file) else {
            let why = format!(
                "unknown key `{name}`, expected one of {}",
                Setting::keys_of_file()
            );
            return Err(at(span, why));
        };
        lines.push((setting.key, line_of(text, span)));
        let taken = plain(item).and_then(|value| (setting.take)(&mut layer, OsStr::new(&value)));
        taken.map_err(|why| at(item.span(), format!("{name}: {why}")))?;
    }
    Ok((layer, lines))
}

/// Whether the file asks for JSON, whatever else stands in it.
pub(super) fn wants_json(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let document = Document::parse(text.as_str()).ok();
    let json = document.and_then(|document| plain(document.get("json")?).ok());
    json.is_some_and(|json| switch(&json) == Ok(true))
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.unwrap_or_default().start;
    text.get(..start).unwrap_or(text).matches('\n').count() + 1
}

/// `timeout = 30` and `timeout = "30s"` mean the same.
fn plain(item: &Item) -> Result<String, String> {
    const FORM: &str = "a value is a text, a whole number, true, false, or a list of texts";
    match item {
        Item::Value(Value::String(text)) => Ok(text.value().clone()),
        Item::Value(Value::Integer(number)) => Ok(number.value().to_string()),
        Item::Value(Value::Boolean(on)) => Ok(on.value().to_string()),
        Item::Value(Value::Array(items)) => {
            let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(",")).ok_or_else(|| FORM.to_owned())
        }
        Item::Value(Value::Float(_) | Value::Datetime(_) | Value::InlineTable(_))
        | Item::None
        | Item::Table(_)
        | Item::ArrayOfTables(_) => Err(FORM.to_owned()),
    }
}
