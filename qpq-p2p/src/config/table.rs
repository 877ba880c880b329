//! Every setting there is, in one table: what reads the environment and the file, shows and changes settings, and
//! what tests hold against flags, help and documents.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Color, Layer};
use crate::{
    duration,
    endpoint::{Interfaces, InterfacesError},
    profile::{ProfileName, ProfileNameError},
};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file; in capitals behind `QPQ_` its variable, with dashes its flag.
    pub key: &'static str,
    /// Whether there is a flag as well.
    pub has_flag: bool,
    /// Whether it may stand in the file as well.
    pub in_file: bool,
    /// What holds where nobody says anything, for people.
    pub default: &'static str,
    pub(super) take: fn(&mut Layer, &OsStr) -> Result<(), String>,
    pub(super) value: fn(&Layer) -> Option<String>,
}

impl Setting {
    /// The setting with this key.
    pub fn named(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// `QPQ_TIMEOUT`
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_uppercase())
    }

    /// `--timeout`
    pub fn flag(&self) -> Option<String> {
        self.has_flag.then(|| format!("--{}", self.key.replace('_', "-")))
    }

    /// Which setting a variable is for.
    pub(super) fn of_variable(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.variable() == name)
    }

    /// The keys of the file, for a message.
    pub(super) fn keys_of_file() -> String {
        let keys = SETTINGS.iter().filter(|setting| setting.in_file);
        keys.map(|setting| setting.key).collect::<Vec<_>>().join(", ")
    }
}

pub(super) const PREFIX: &str = "QPQ_";

/// All of them, in the order in which they are shown.
pub const SETTINGS: [Setting; 13] = [
    Setting {
        key: "home",
        has_flag: true,
        in_file: false,
        default: "",
        take: |layer, value| put(&mut layer.home, path(value)),
        value: |layer| layer.home.as_deref().map(shown),
    },
    Setting {
        key: "profile",
        has_flag: true,
        in_file: true,
        default: "default",
        take: |layer, value| put(&mut layer.profile, text(value).and_then(profile)),
        value: |layer| layer.profile.as_ref().map(ToString::to_string),
    },
    Setting {
        key: "timeout",
        has_flag: true,
        in_file: true,
        default: "join 30s, send 10s",
        take: |layer, value| put(&mut layer.timeout, text(value).and_then(timeout)),
        value: |layer| {
            layer
                .timeout
                .map(|time| duration::for_people(time).replace(' ', ""))
        },
    },
    Setting {
        key: "json",
        has_flag: true,
        in_file: true,
        default: "false",
        take: |layer, value| put(&mut layer.json, text(value).and_then(switch)),
        value: |layer| layer.json.as_ref().map(ToString::to_string),
    },
    Setting {
        key: "color",
        has_flag: true,
        in_file: true,
        default: "auto",
        take: |layer, value| put(&mut layer.color, text(value).and_then(color)),
        value: |layer| layer.color.map(|color| color.name().to_owned()),
    },
    Setting {
        key: "no_input",
        has_flag: true,
        in_file: true,
        default: "false",
        take: |layer, value| put(&mut layer.no_input, text(value).and_then(switch)),
        value: |layer| layer.no_input.as_ref().map(ToString::to_string),
    },
    Setting {
        key: "interfaces",
        has_flag: false,
        in_file: true,
        default: "all",
        take: |layer, value| put(&mut layer.interfaces, text(value).and_then(interfaces)),
        value: |layer| layer.interfaces.as_ref().map(ToString::to_string),
    },
    Setting {
        key: "mdns_port",
        has_flag: false,
        in_file: true,
        default: "5353",
        take: |layer, value| put(&mut layer.mdns_port, text(value).and_then(port)),
        value: |layer| layer.mdns_port.as_ref().map(ToString::to_string),
    },
    Setting {
        key: "log",
        has_flag: false,
        in_file: false,
        default: "",
        take: |layer, value| put(&mut layer.log, text(value).map(str::to_owned)),
        value: |layer| layer.log.clone(),
    },
    Setting {
        key: "passphrase_file",
        has_flag: false,
        in_file: false,
        default: "",
        take: |layer, value| put(&mut layer.passphrase.file, path(value)),
        value: |layer| layer.passphrase.file.as_deref().map(shown),
    },
    Setting {
        key: "passphrase_fd",
        has_flag: false,
        in_file: false,
        default: "",
        take: |layer, value| put(&mut layer.passphrase.fd, text(value).and_then(descriptor)),
        value: |layer| layer.passphrase.fd.as_ref().map(ToString::to_string),
    },
    Setting {
        key: "new_passphrase_file",
        has_flag: false,
        in_file: false,
        default: "",
        take: |layer, value| put(&mut layer.new_passphrase.file, path(value)),
        value: |layer| layer.new_passphrase.file.as_deref().map(shown),
    },
    Setting {
        key: "new_passphrase_fd",
        has_flag: false,
        in_file: false,
        default: "",
        take: |layer, value| put(&mut layer.new_passphrase.fd, text(value).and_then(descriptor)),
        value: |layer| layer.new_passphrase.fd.as_ref().map(ToString::to_string),
    },
];

fn put<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "is not UTF-8".to_owned())
}

/// A folder or file may have any name.
fn path(value: &OsStr) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("names nothing".into());
    }
    Ok(value.into())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn descriptor(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "a file descriptor is a small number, such as 3".into())
}

pub(super) fn interfaces(text: &str) -> Result<Interfaces, String> {
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

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("1 or 0".into()),
    }
}

fn profile(text: &str) -> Result<ProfileName, String> {
    text.parse().map_err(|error: ProfileNameError| error.to_string())
}
