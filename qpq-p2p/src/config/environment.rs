//! Settings from `QPQ_*`.

use std::ffi::OsString;

use super::{
    ConfigError, Layer,
    table::{PREFIX, Setting},
};

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
        let Some(setting) = Setting::of_variable(name) else {
            unknown.push(name.to_owned());
            continue;
        };
        (setting.take)(&mut layer, &value).map_err(|why| ConfigError::Variable {
            name: name.to_owned(),
            why,
        })?;
    }
    unknown.sort();
    Ok((layer, unknown))
}

/// What to say of a variable that is set and no setting.
pub(crate) fn warning(name: &str) -> String {
    match name {
        "QPQ_PASSPHRASE" | "QPQ_NEW_PASSPHRASE" => format!(
            "{name} is set, and not used: other programs can see what is in the environment; put it into a file that \
             {name}_FILE names"
        ),
        _ => format!("{name} is set, but no setting of this version has that name"),
    }
}
