//! Where the files are.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use etcetera::BaseStrategy;

use crate::failure::{Failure, FailureCode};

/// Where settings and profiles live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    config: PathBuf,
    data: PathBuf,
}

/// The home folder of the user is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the environment does not tell where your home folder is")]
pub struct FoldersError;

impl Folders {
    /// Everything below `home` where one is given, else where the system keeps such files
    /// (Linux: `~/.config/qpq` and `~/.local/share/qpq`).
    ///
    /// # Errors
    /// [`FoldersError`] when there is neither.
    pub fn locate(home: Option<&Path>) -> Result<Self, FoldersError> {
        if let Some(home) = home {
            // Absolute, so that messages and hints can be used from anywhere.
            let home = std::path::absolute(home).map_err(|_| FoldersError)?;
            return Ok(Self {
                config: home.join("config.toml"),
                data: home,
            });
        }
        let system = etcetera::choose_base_strategy().map_err(|_| FoldersError)?;
        Ok(Self {
            config: system.config_dir().join("qpq").join("config.toml"),
            data: system.data_dir().join("qpq"),
        })
    }

    /// The file of settings; it need not exist.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The folder of a profile; it need not exist.
    pub fn profile(&self, name: &ProfileName) -> PathBuf {
        self.data.join(&name.0)
    }
}

impl From<FoldersError> for Failure {
    fn from(error: FoldersError) -> Self {
        Self::new(
            FailureCode::NoProfile,
            "the profile was not found",
            error.to_string(),
            "set HOME, or name a folder: --home DIR",
        )
    }
}

/// The name of a profile: a file name that needs no care anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileName(String);

/// A text is no name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a profile's name has 1 to 32 letters a-z, digits, - or _ and begins with a letter or digit")]
pub struct ProfileNameError;

const NAME_MAX: usize = 32;

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fits = text.len() <= NAME_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProfileNameError)
        }
    }
}

impl Default for ProfileName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_home_holds_everything() {
        let folders = Folders::locate(Some(Path::new("/tmp/x"))).unwrap();
        assert_eq!(folders.config(), Path::new("/tmp/x/config.toml"));
        assert_eq!(
            folders.profile(&ProfileName::default()),
            Path::new("/tmp/x/default")
        );
        assert_eq!(
            folders.profile(&"work".parse().unwrap()),
            Path::new("/tmp/x/work")
        );
    }

    #[test]
    fn a_relative_home_becomes_absolute() {
        let folders = Folders::locate(Some(Path::new("x"))).unwrap();
        assert!(folders.config().is_absolute());
    }

    #[test]
    fn profile_names_cannot_leave_their_folder() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "-p",
            "_a",
            ".hidden",
            "a b",
            "ä",
            "a\0",
            &"a".repeat(33),
        ] {
            assert_eq!(bad.parse::<ProfileName>(), Err(ProfileNameError), "{bad:?}");
        }
        for good in ["default", "a", "Work-2", "7_x", &"a".repeat(32)] {
            assert_eq!(good.parse::<ProfileName>().unwrap().to_string(), good);
        }
    }
}
