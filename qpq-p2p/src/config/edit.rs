//! Changing `config.toml`: one line of it, everything else as it was.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{Document, DocumentMut, Item, Value};

use super::{ConfigError, Layer, Setting, file};
use crate::{
    failure::{Failure, FailureCode, hint_for, with_causes},
    profile::{Replacing, make_folder},
};

/// Why a setting was not changed. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no setting with this key, or none that the file can hold.
    #[error("config.toml has no key {0}; it has {keys}", keys = Setting::keys_of_file())]
    Unknown(String),
    /// A value that makes no sense.
    #[error("{key}: {why}")]
    Value {
        /// Of which setting.
        key: &'static str,
        /// What would be right.
        why: String,
    },
    /// What stands in the file makes no sense.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The file cannot be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
}

/// Sets a key of the file, or removes it. The folder is made where it is missing, and the file private; comments,
/// the order of keys and, where the file is a link, the link stay.
///
/// # Errors
/// [`EditError`].
pub fn edit(path: &Path, key: &str, value: Option<&str>) -> Result<(), EditError> {
    let setting = Setting::named(key)
        .filter(|setting| setting.in_file)
        .ok_or_else(|| EditError::Unknown(key.to_owned()))?;
    let unwritable = |error| EditError::Unwritable(path.to_owned(), error);
    if let Some(folder) = path.parent() {
        make_folder(folder, true).map_err(unwritable)?;
    }
    // Beside the file itself, not beside a link to it.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = real
        .file_name()
        .and_then(OsStr::to_str)
        .ok_or_else(|| unwritable(io::ErrorKind::InvalidFilename.into()))?;
    let folder = Replacing::within(real.parent().unwrap_or(Path::new("/"))).map_err(unwritable)?;
    let before = file::read(&real)?;
    file::parse(&before, path)?;
    let after = match value {
        Some(value) => with(&before, setting, value)?,
        None => without(&before, setting),
    };
    // What would not be read again is not written.
    file::parse(&after, path)?;
    if after == before {
        return Ok(());
    }
    folder.replace(name, after.as_bytes()).map_err(unwritable)
}

fn with(before: &str, setting: &Setting, value: &str) -> Result<String, EditError> {
    let mut layer = Layer::default();
    (setting.take)(&mut layer, OsStr::new(value)).map_err(|why| EditError::Value {
        key: setting.key,
        why,
    })?;
    // A switch is written as one, whatever word it was set by.
    let word = (setting.value)(&layer).filter(|word| ["true", "false"].contains(&word.as_str()));
    let mut new = typed(word.as_deref().unwrap_or(value));
    let mut document = document(before);
    if let Some(Item::Value(old)) = document.get_mut(setting.key) {
        *new.decor_mut() = old.decor().clone();
        *old = new;
        return Ok(document.to_string());
    }
    // There are no tables: the end of the file is as good a place as any, below every comment.
    let end = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Ok(format!("{before}{end}{} = {new}\n", setting.key))
}

/// What can be a number or a switch in TOML is written as one.
fn typed(value: &str) -> Value {
    match value {
        "true" => true.into(),
        "false" => false.into(),
        _ => match value.parse::<i64>() {
            Ok(number) if number.to_string() == value => number.into(),
            Ok(_) | Err(_) => value.into(),
        },
    }
}

/// Takes the lines of the key out, and leaves comments above it where they are.
fn without(before: &str, setting: &Setting) -> String {
    let Ok(document) = Document::parse(before) else {
        return before.to_owned();
    };
    let key = document.key(setting.key).and_then(toml_edit::Key::span);
    let value = document.get(setting.key).and_then(Item::span);
    let (Some(key), Some(value)) = (key, value) else {
        return before.to_owned();
    };
    let (head, _) = before.split_at_checked(key.start).unwrap_or((before, ""));
    let (_, tail) = before.split_at_checked(value.end).unwrap_or((before, ""));
    let kept = head
        .rfind('\n')
        .map_or("", |end| head.get(..=end).unwrap_or(head));
    let rest = tail.split_once('\n').map_or("", |(_, rest)| rest);
    format!("{kept}{rest}")
}

/// The text was parsed before.
fn document(text: &str) -> DocumentMut {
    text.parse().unwrap_or_default()
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        const WHAT: &str = "the setting was not changed";
        match &error {
            EditError::Unknown(_) => Self::usage(WHAT, error.to_string(), "qpq config show"),
            EditError::Value { .. } => Self::usage(WHAT, error.to_string(), "qpq config set --help"),
            EditError::File(_) => Self::new(
                FailureCode::Config,
                WHAT,
                error.to_string(),
                "change or remove that line by hand",
            ),
            EditError::Unwritable(..) => Self::new(
                FailureCode::Config,
                WHAT,
                with_causes(&error),
                hint_for(&error, "look at the permissions of the folder and of the disk"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::os::unix::fs::{MetadataExt, symlink};

    use tempfile::TempDir;

    use super::*;

    #[track_caller]
    fn edited(before: &str, key: &str, value: Option<&str>) -> String {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, before).unwrap();
        edit(&path, key, value).unwrap();
        fs::read_to_string(&path).unwrap()
    }

    const MINE: &str =
        "# mine\nprofile = \"work\" # not home\n\n# slow network\ntimeout = 30 # long\njson = true\n";

    #[test]
    fn comments_and_order_stay() {
        assert_eq!(
            edited(MINE, "timeout", Some("5m")),
            MINE.replace("30 # long", "\"5m\" # long")
        );
        assert_eq!(
            edited(MINE, "color", Some("never")),
            format!("{MINE}color = \"never\"\n")
        );
        assert_eq!(
            edited(MINE, "timeout", None),
            MINE.replace("timeout = 30 # long\n", "")
        );
        assert_eq!(edited(MINE, "mdns_port", None), MINE);
        assert_eq!(edited("json = true", "json", None), "");
        assert_eq!(
            edited("# mine\n\n# not yet", "color", Some("never")),
            "# mine\n\n# not yet\ncolor = \"never\"\n"
        );
        assert_eq!(
            edited(
                "interfaces = [\n  \"a\",\n  \"b\",\n]\njson = true\n",
                "interfaces",
                None
            ),
            "json = true\n"
        );
    }

    #[test]
    fn values_have_their_types() {
        for (key, value, line) in [
            ("json", "yes", "json = true\n"),
            ("mdns_port", "15353", "mdns_port = 15353\n"),
            ("timeout", "30", "timeout = 30\n"),
            ("profile", "007", "profile = \"007\"\n"),
            ("interfaces", "eth0,wlan0", "interfaces = \"eth0,wlan0\"\n"),
        ] {
            assert_eq!(edited("", key, Some(value)), line);
        }
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("config.toml");
        for (before, key, value) in [
            (MINE, "timeout", "soon"),
            (MINE, "colour", "never"),
            (MINE, "home", "/x"),
            (MINE, "profile", "a\"\nb"),
            ("nonsense", "json", "1"),
            ("colour = 7\n", "json", "1"),
        ] {
            fs::write(&path, before).unwrap();
            let failure = Failure::from(edit(&path, key, Some(value)).unwrap_err());
            assert_eq!(failure.code.exit(), 2);
            assert_eq!(fs::read_to_string(&path).unwrap(), before);
        }
    }

    #[test]
    fn a_new_file_and_its_folder_are_private() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a/config.toml");
        edit(&path, "json", Some("on")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_link_stays_one() {
        let folder = TempDir::new().unwrap();
        let real = folder.path().join("dotfiles.toml");
        let path = folder.path().join("config.toml");
        fs::write(&real, MINE).unwrap();
        symlink(&real, &path).unwrap();
        edit(&path, "json", None).unwrap();
        assert!(path.symlink_metadata().unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(&real).unwrap(),
            MINE.replace("json = true\n", "")
        );
    }
}
