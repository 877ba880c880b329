//! One line of the contract: an event, a failure or a warning with its version.

use serde::Serialize;

use super::{CONTRACT, Event};
use crate::failure::Failure;

/// An event as one line of the contract: `{"v":1,"type":…}`.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    v: u8,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> From<&'a Event> for EventLine<'a> {
    fn from(event: &'a Event) -> Self {
        Self { v: CONTRACT, event }
    }
}

/// A failure as one line of the contract.
#[derive(Debug, Serialize)]
pub struct FailureLine<'a> {
    v: u8,
    r#type: &'static str,
    code: &'static str,
    exit: u8,
    what: &'a str,
    why: &'a str,
    hint: &'a str,
}

impl<'a> From<&'a Failure> for FailureLine<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            v: CONTRACT,
            r#type: "error",
            code: failure.code.name(),
            exit: failure.code.exit(),
            what: &failure.what,
            why: &failure.why,
            hint: &failure.hint,
        }
    }
}

/// Something odd that did not keep a verb from its work, as one line of the contract.
#[derive(Debug, Serialize)]
pub struct WarningLine<'a> {
    v: u8,
    r#type: &'static str,
    what: &'a str,
}

impl<'a> From<&'a str> for WarningLine<'a> {
    fn from(what: &'a str) -> Self {
        Self {
            v: CONTRACT,
            r#type: "warning",
            what,
        }
    }
}
