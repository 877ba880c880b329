//! Settings from `QPQ_*`.

use std::ffi::OsString;

use super::{ConfigError, Layer, color, interfaces, port, profile, switch, timeout};

const PREFIX: &str = "QPQ_";

/// Reads the variables that begin with `QPQ_`. Also returns the names of those nobody knows: worth a warning,
/// not a failure, for another version may know them.
///
/// # Errors
/// [`ConfigError::Variable`] when a known one makes no sense.
pub fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Layer, Vec<String>), ConfigError> {
    let mut layer = Layer::default();
    let mut unknown = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        match read(&mut layer, name, value) {
            Ok(true) => {}
            Ok(false) => unknown.push(name.to_owned()),
            Err(why) => {
                return Err(ConfigError::Variable {
                    name: name.to_owned(),
                    why,
                });
            }
        }
    }
    unknown.sort();
    Ok((layer, unknown))
}

fn read(layer: &mut Layer, name: &str, value: OsString) -> Result<bool, String> {
    // A folder may have any name; everything else is text.
    if name == "QPQ_HOME" {
        if value.is_empty() {
            return Err("names no folder".into());
        }
        layer.home = Some(value.into());
        return Ok(true);
    }
    let text = || value.to_str().ok_or_else(|| "is not UTF-8".to_owned());
    match name {
        "QPQ_PROFILE" => layer.profile = Some(profile(text()?)?),
        "QPQ_INTERFACES" => layer.interfaces = Some(interfaces(text()?)?),
        "QPQ_MDNS_PORT" => layer.mdns_port = Some(port(text()?)?),
        "QPQ_TIMEOUT" => layer.timeout = Some(timeout(text()?)?),
        "QPQ_COLOR" => layer.color = Some(color(text()?)?),
        "QPQ_JSON" => layer.json = Some(switch(text()?)?),
        "QPQ_NO_INPUT" => layer.no_input = Some(switch(text()?)?),
        "QPQ_LOG" => layer.log = Some(text()?.to_owned()),
        _ => return Ok(false),
    }
    Ok(true)
}
