//! Why somebody does not have a message yet, or cannot be reached: the texts and their codes are a contract, told in
//! docs/src/reference/delivery.md.

use serde::{Deserialize, Serialize};

/// A reason to wait. The code in JSON is its name; `Display` is what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// A contact proved it: nothing more is sent in this chat.
    #[error("this profile is an older copy of itself")]
    OlderCopy,
    /// The user blocked them.
    #[error("blocked by you")]
    Blocked,
    /// The user has not decided whether this is who they say.
    #[error("new key: not decided by you")]
    NewKey,
    /// The user removed them.
    #[error("removed by you")]
    Removed,
    /// It waited for 30 days.
    #[error("not delivered within 30 days")]
    TooOld,
    /// They were asked to be a contact.
    #[error("not accepted yet")]
    NotAccepted,
    /// A link stands, and they have not said that it is on their disk.
    #[error("not confirmed yet")]
    NotConfirmed,
    /// They close each connection before a word.
    #[error("closes the connection: they may have removed you")]
    Closes,
    /// There is no version of the protocol that both sides speak.
    #[error("runs an older qpq")]
    OlderQpq,
    /// The same, the other way round.
    #[error("runs a newer qpq")]
    NewerQpq,
    /// Their record is there, but nobody answers at its addresses.
    #[error("seen on this network, but does not answer")]
    NoAnswer,
    /// Their record has just come.
    #[error("seen on this network, connecting")]
    Connecting,
    /// Not seen on this network.
    #[error("away")]
    Away,
    /// Nobody could send it.
    #[error("no qpq is running here")]
    NotRunning,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    const ALL: [Reason; 14] = [
        Reason::OlderCopy,
        Reason::Blocked,
        Reason::NewKey,
        Reason::Removed,
        Reason::TooOld,
        Reason::NotAccepted,
        Reason::NotConfirmed,
        Reason::Closes,
        Reason::OlderQpq,
        Reason::NewerQpq,
        Reason::NoAnswer,
        Reason::Connecting,
        Reason::Away,
        Reason::NotRunning,
    ];

    #[test]
    fn the_book_lists_every_reason_in_this_order() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/reference/delivery.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, table) = page.split_once("| `reason_code` |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let listed: Vec<_> = table
            .lines()
            .skip(2)
            .map(|line| {
                let mut cells = line.split(" | ");
                (cells.next().unwrap().to_owned(), cells.next().unwrap().to_owned())
            })
            .collect();
        let expected = ALL.map(|reason| {
            let code = serde_json::to_value(reason).unwrap();
            (format!("| `{}`", code.as_str().unwrap()), reason.to_string())
        });
        assert_eq!(listed, expected);
    }
}
