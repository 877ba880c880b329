//! What a profile knows about a person.

use crate::id::PeerId;

/// Behind the name of whoever has that of a contact, and another key.
pub const NEW_KEY: &str = "(new key)";

/// How the key of a person came to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Trust {
    /// By a link, which others may have seen: not verified.
    Link,
    /// By a spoken code, which both ends proved to know.
    Code,
    /// The user compared the safety number.
    Number,
}

impl Trust {
    /// Whether the key is known to be that person's.
    pub fn is_verified(self) -> bool {
        self > Self::Link
    }
}

/// What a person is to this profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// A contact.
    Known,
    /// Has the name of a contact and another key: nothing is shown or sent until the user has decided.
    Held,
    /// Was a contact. Only the history is left.
    Removed,
}

/// A person, for screens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub peer: PeerId,
    /// As shown: hostile text, valid by `name::validate`.
    pub name: String,
    /// As they call themselves.
    pub claimed: String,
    /// How their key came to be believed.
    pub trust: Trust,
    /// What they are to this profile.
    pub standing: Standing,
    /// The user wants nothing from them.
    pub blocked: bool,
    /// When a link to them last stood, Unix ms.
    pub last_seen: Option<i64>,
}

impl Asking {
    /// Whether they are shown under a mark, for they call themselves like a contact.
    pub fn is_marked(&self) -> bool {
        is_marked(&self.name, &self.claimed)
    }
}

/// Whether a name is a claimed one with the mark behind it.
pub(crate) fn is_marked(name: &str, claimed: &str) -> bool {
    name != claimed && name.contains(NEW_KEY)
}

/// Somebody who asks to be a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Who.
    pub peer: PeerId,
    /// As shown: their own name, marked where a contact has it.
    pub name: String,
    /// As they call themselves.
    pub claimed: String,
    /// When the request came, Unix ms.
    pub stored_at: i64,
}
