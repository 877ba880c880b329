//! Ids of peers and messages as text, for serde: `#[serde(with = "text_id")]`, or `text_id::list` for many.

use std::{fmt::Display, str::FromStr};

use qpq_core::id::{LinkId, MessageId, PeerId};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// An id with a text form that it is read back from.
pub trait TextId: FromStr<Err: Display> {
    /// The text form.
    fn text(&self) -> String;
}

impl TextId for PeerId {
    fn text(&self) -> String {
        self.to_text()
    }
}

impl TextId for MessageId {
    fn text(&self) -> String {
        self.to_text()
    }
}

impl TextId for LinkId {
    fn text(&self) -> String {
        self.to_text()
    }
}

/// Writes the text form.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: TextId, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.text())
}

/// Reads the text form.
///
/// # Errors
/// Those of the deserializer; a text that is no such id.
pub fn deserialize<'de, T: TextId, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

/// The same for an id that may be missing.
pub mod option {
    use super::{Deserialize, Deserializer, Error, Serializer, TextId};

    /// Writes the text form, where there is one.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: TextId, S: Serializer>(id: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => super::serialize(id, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the text form, where there is one.
    ///
    /// # Errors
    /// Those of the deserializer; a text that is no such id.
    pub fn deserialize<'de, T: TextId, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

/// The same for many ids.
pub mod list {
    use super::{Deserialize, Deserializer, Error, Serializer, TextId};

    /// Writes the text forms.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: TextId, S: Serializer>(ids: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(TextId::text))
    }

    /// Reads the text forms.
    ///
    /// # Errors
    /// Those of the deserializer; a text that is no such id.
    pub fn deserialize<'de, T: TextId, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| text.parse().map_err(D::Error::custom))
            .collect()
    }
}
