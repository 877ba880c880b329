//! Every place settings come from, and which wins.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt};

use tempfile::TempDir;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Result<(Layer, Vec<String>), ConfigError> {
    from_environment(
        pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value))),
    )
}

fn file(text: &str) -> Result<Layer, ConfigError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    from_file(&path).map(|(layer, _)| layer)
}

fn line_of(error: ConfigError) -> (usize, String) {
    match error {
        ConfigError::Line { line, why, .. } => (line, why),
        ConfigError::Unreadable { .. } | ConfigError::Variable { .. } => unreachable!("{error}"),
    }
}

#[test]
fn nothing_said_anywhere_means_the_defaults() {
    let network = Layer::default().network();
    assert_eq!(
        network,
        NetworkSettings {
            interfaces: Interfaces::All,
            mdns_port: 5353
        }
    );
}

#[test]
fn the_upper_layer_wins_and_the_lower_fills_in() {
    let flags = Layer {
        mdns_port: Some(1),
        ..Layer::default()
    };
    let file = Layer {
        mdns_port: Some(2),
        json: Some(true),
        ..Layer::default()
    };
    let settings = flags.over(file);
    assert_eq!((settings.mdns_port, settings.json), (Some(1), Some(true)));
}

#[test]
fn every_variable_is_read() {
    let (layer, unknown) = environment(&[
        ("QPQ_HOME", "/h"),
        ("QPQ_PROFILE", "work"),
        ("QPQ_INTERFACES", "eth0, wlan0"),
        ("QPQ_MDNS_PORT", "15353"),
        ("QPQ_TIMEOUT", "5m"),
        ("QPQ_COLOR", "never"),
        ("QPQ_JSON", "1"),
        ("QPQ_NO_INPUT", "true"),
        ("QPQ_LOG", "qpq_p2p=debug"),
        ("QPQ_PASSPHRASE_FILE", "/run/secret"),
        ("QPQ_PASSPHRASE_FD", "3"),
        ("QPQ_NEW_PASSPHRASE_FILE", "/run/new"),
        ("QPQ_NEW_PASSPHRASE_FD", "4"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(
        layer,
        Layer {
            home: Some("/h".into()),
            profile: Some("work".parse().unwrap()),
            interfaces: Some(Interfaces::Named(vec!["eth0".into(), "wlan0".into()])),
            mdns_port: Some(15_353),
            timeout: Some(Duration::from_secs(300)),
            color: Some(Color::Never),
            json: Some(true),
            no_input: Some(true),
            log: Some("qpq_p2p=debug".into()),
            passphrase: SecretPlace {
                file: Some("/run/secret".into()),
                fd: Some(3)
            },
            new_passphrase: SecretPlace {
                file: Some("/run/new".into()),
                fd: Some(4)
            },
        }
    );
}

#[test]
fn unknown_variables_are_named_and_do_no_harm() {
    let (layer, unknown) = environment(&[("QPQ_Z", ""), ("QPQ_PASSPHRASE", "x"), ("XQPQ_A", "")]).unwrap();
    assert_eq!(layer, Layer::default());
    assert_eq!(unknown, ["QPQ_PASSPHRASE", "QPQ_Z"]);
}

#[test]
fn a_variable_without_sense_is_named() {
    for (name, value) in [
        ("QPQ_HOME", ""),
        ("QPQ_PROFILE", "../x"),
        ("QPQ_INTERFACES", "eth0,,"),
        ("QPQ_MDNS_PORT", "0"),
        ("QPQ_MDNS_PORT", "65536"),
        ("QPQ_TIMEOUT", "soon"),
        ("QPQ_COLOR", "blue"),
        ("QPQ_JSON", "maybe"),
        ("QPQ_PASSPHRASE_FILE", ""),
        ("QPQ_PASSPHRASE_FD", "-1"),
        ("QPQ_PASSPHRASE_FD", "secret"),
    ] {
        let error = environment(&[(name, value)]).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Variable { name: named, .. } if named == name),
            "{error}"
        );
    }
    let latin1 = (OsString::from("QPQ_PROFILE"), OsString::from_vec(vec![0xe4]));
    assert!(from_environment([latin1]).is_err());
}

#[test]
fn a_file_that_is_not_there_says_nothing() {
    let folder = TempDir::new().unwrap();
    assert_eq!(
        from_file(&folder.path().join("none/config.toml")).unwrap(),
        (Layer::default(), Lines::new())
    );
    assert_eq!(file("").unwrap(), Layer::default());
}

#[test]
fn every_key_is_read() {
    let text = "profile = \"work\"\ninterfaces = [\"eth0\", \"wlan0\"]\nmdns_port = 15353\n\
                timeout = 30\ncolor = \"always\"\njson = true\nno_input = false\n";
    let layer = file(text).unwrap();
    assert_eq!(
        layer.interfaces,
        Some(Interfaces::Named(vec!["eth0".into(), "wlan0".into()]))
    );
    assert_eq!(layer.timeout, Some(Duration::from_secs(30)));
    assert_eq!(layer.mdns_port, Some(15_353));
    assert_eq!(
        (layer.json, layer.no_input, layer.color),
        (Some(true), Some(false), Some(Color::Always))
    );
    assert_eq!(layer.profile, Some("work".parse().unwrap()));
    assert_eq!(
        file("interfaces = \"lo\"").unwrap().interfaces,
        Some(Interfaces::Loopback)
    );
    assert_eq!(
        file("timeout = \"500ms\"").unwrap().timeout,
        Some(Duration::from_millis(500))
    );
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let (line, why) = line_of(file("# mine\n\ncolour = \"never\"\n").unwrap_err());
    assert_eq!(line, 3);
    assert!(why.contains("colour") && why.contains("color"), "{why}");
}

#[test]
fn a_value_without_sense_is_an_error_with_its_line() {
    for text in [
        "\n\ntimeout = \"soon\"",
        "\n\nmdns_port = -1",
        "\n\nprofile = \"a/b\"",
        "\n\ncolor = 3",
        "\n\ntimeout = 1.5",
        "\n\nnot toml",
    ] {
        assert_eq!(line_of(file(text).unwrap_err()).0, 3, "{text}");
    }
}

#[test]
fn interfaces_that_stand_alone_are_named() {
    for (text, why) in [
        ("lo,eth0", "`lo` only alone"),
        ("eth0, all", "`all` only alone"),
        (
            "eth0,",
            "`interfaces` is `all`, `lo`, or a list of interface names separated by commas",
        ),
    ] {
        assert_eq!(table::interfaces(text).unwrap_err(), why, "{text}");
    }
}

#[test]
fn every_setting_is_shown_as_it_can_be_read_again() {
    for setting in &SETTINGS {
        let value = ["7", "lo", "true", "never"]
            .into_iter()
            .find(|value| (setting.take)(&mut Layer::default(), value.as_ref()).is_ok())
            .unwrap();
        let mut layer = Layer::default();
        (setting.take)(&mut layer, value.as_ref()).unwrap();
        assert_ne!(layer, Layer::default(), "{}", setting.key);
        let shown = (setting.value)(&layer).unwrap();
        let mut again = Layer::default();
        (setting.take)(&mut again, shown.as_ref()).unwrap();
        assert_eq!(again, layer, "{}", setting.key);
        assert_eq!(again.over(Layer::default()), layer, "{}", setting.key);
    }
}

#[test]
fn a_passphrase_in_the_environment_is_warned_of() {
    for name in ["QPQ_PASSPHRASE", "QPQ_NEW_PASSPHRASE"] {
        let told = warning(name);
        assert!(told.contains(&format!("{name}_FILE")), "{told}");
    }
    assert!(warning("QPQ_NOSUCH").contains("no setting"));
}

#[test]
fn each_value_is_told_with_the_place_that_won() {
    let (file, lines) = file::parse("\njson = true\ntimeout = 90\n", "/x/config.toml".as_ref()).unwrap();
    let layers = Layers {
        flags: Layer {
            timeout: Some(Duration::from_secs(60)),
            ..Layer::default()
        },
        environment: environment(&[("QPQ_TIMEOUT", "5"), ("QPQ_COLOR", "never")])
            .unwrap()
            .0,
        file,
        lines,
    };
    for (key, value, origin) in [
        ("timeout", "1m", "--timeout"),
        ("color", "never", "QPQ_COLOR"),
        ("json", "true", "config.toml:2"),
        ("mdns_port", "5353", "default"),
        ("log", "", "default"),
    ] {
        let (told, from) = layers.value(Setting::named(key).unwrap());
        assert_eq!(
            (told.as_str(), from.to_string().as_str()),
            (value, origin),
            "{key}"
        );
    }
    assert_eq!(layers.merged().timeout, Some(Duration::from_secs(60)));
}
