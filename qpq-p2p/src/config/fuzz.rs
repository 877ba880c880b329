//! `config.toml` and `QPQ_*`, whatever is in them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use super::{ConfigError, Setting, file, from_environment, warning};

/// A file is understood, or a line of it is named.
pub(crate) fn file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.matches('\n').count() + 1;
    match file::parse(&text, Path::new("config.toml")) {
        Ok((_, found)) => {
            assert!(
                found.iter().all(|(_, line)| (1..=lines).contains(line)),
                "{found:?}"
            );
            assert!(found.len() <= lines);
        }
        Err(ConfigError::Line { line, why, .. }) => {
            assert!((1..=lines).contains(&line) && !why.is_empty(), "{line}: {why}");
        }
        Err(other) => panic!("no line is named: {other}"),
    }
}

/// Variables, `NAME=value`, with a zero byte after each: those that are known make sense or are named, of the others
/// those that begin with our prefix are told.
pub(crate) fn environment(input: &[u8]) {
    let variables = input.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at(at);
        let value = value.get(1..)?;
        Some((
            OsStr::from_bytes(name).to_owned(),
            OsStr::from_bytes(value).to_owned(),
        ))
    });
    match from_environment(variables) {
        Ok((layer, unknown)) => {
            assert!(unknown.is_sorted());
            for name in unknown {
                assert!(name.starts_with("QPQ_") && Setting::of_variable(&name).is_none());
                assert!(warning(&name).contains(&name));
            }
            let _ = layer.network();
        }
        Err(ConfigError::Variable { name, why }) => {
            assert!(
                Setting::of_variable(&name).is_some() && !why.is_empty(),
                "{name}: {why}"
            );
        }
        Err(other) => panic!("no variable is named: {other}"),
    }
}
