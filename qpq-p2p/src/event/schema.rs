//! The JSON Schema of the contract, as it is published in the book; and that the book tells all of the contract.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{borrow::Cow, fs, path::PathBuf};

use clap::ValueEnum;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use super::{CONTRACT, Event, Time};
use crate::failure::FailureCode;

#[path = "../../tests/support/json.rs"]
mod support;

/// An id of a person.
pub(super) fn peer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9a-hjkmnp-tv-z]{52}$"})
}

/// An id of a link.
pub(super) fn link(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9a-hjkmnp-tv-z]{13}$"})
}

/// An id of a message: a ULID.
pub(super) fn message_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"})
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "RFC 3339, UTC, with milliseconds.",
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$"
        })
    }
}

/// All objects that can be a line of output.
fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut lines = Event::json_schema(&mut generator).to_value()["oneOf"].take();
    let lines = lines.as_array_mut().unwrap();
    for line in lines.iter_mut() {
        line["properties"]["v"] = json!({"const": CONTRACT});
        line["required"].as_array_mut().unwrap().insert(0, "v".into());
    }
    lines.push(error());
    lines.push(json!({
        "description": "Something odd that did not keep a verb from its work (standard error).",
        "type": "object",
        "properties": {"v": {"const": CONTRACT}, "type": {"const": "warning"}, "what": {"type": "string"}},
        "required": ["v", "type", "what"],
    }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What qpq --json prints: one of these per line. Fields and types may be added, never renamed",
        "oneOf": lines,
        "$defs": generator.take_definitions(true),
    })
}

fn error() -> Value {
    let names: Vec<_> = told_codes().map(FailureCode::name).collect();
    json!({
        "description": "Why a verb ended without doing what was asked (standard error).",
        "type": "object",
        "properties": {
            "v": {"const": CONTRACT},
            "type": {"const": "error"},
            "code": {"enum": names},
            "exit": {"type": "integer", "minimum": 1, "maximum": 130},
            "what": {"type": "string"},
            "why": {"type": "string"},
            "hint": {"type": "string"},
        },
        "required": ["v", "type", "code", "exit", "what", "why", "hint"],
    })
}

/// Those that are told.
fn told_codes() -> impl Iterator<Item = FailureCode> {
    let codes = FailureCode::value_variants().iter().copied();
    codes.filter(|code| !code.is_silent())
}

fn reference(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/src/reference")
        .join(name)
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    let path = reference("v1.schema.json");
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("QPQ_WRITE_GOLDEN").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == made,
        "{} is not that of the code; QPQ_WRITE_GOLDEN=1 writes it anew",
        path.display()
    );
}

#[test]
fn the_reference_has_an_example_of_every_object_and_all_are_sound() {
    let page = fs::read_to_string(reference("json.md")).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let shown: Vec<_> = lines.map(support::checked).collect();
    for line in document()["oneOf"].as_array().unwrap() {
        let kind = &line["properties"]["type"]["const"];
        assert!(kind.is_string(), "{line}");
        assert!(shown.iter().any(|shown| shown["type"] == *kind), "no {kind}");
        assert!(page.contains(&format!("`{}`", kind.as_str().unwrap())), "{kind}");
    }
}

#[test]
fn the_reference_has_every_error_code_with_its_exit_code() {
    let page = fs::read_to_string(reference("json.md")).unwrap();
    for code in told_codes() {
        let row = format!("| `{}` | {} | ", code.name(), code.exit());
        assert!(page.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}

#[test]
fn a_line_that_is_not_of_the_contract_is_seen() {
    for line in [
        r#"{"v":1,"type":"nonsense"}"#,
        r#"{"v":2,"type":"passphrase","protected":true}"#,
        r#"{"v":1,"type":"passphrase"}"#,
        r#"{"v":1,"type":"passphrase","protected":1}"#,
        r#"{"v":1,"type":"passphrase","protected":true,"secret":"x"}"#,
        r#"{"v":1,"type":"identity","name":"ben","id":"0"}"#,
        r#"{"v":1,"type":"error","code":"nonsense","exit":1,"what":"","why":"","hint":""}"#,
    ] {
        assert!(support::check(line).is_err(), "{line}");
    }
    assert!(support::check(r#"{"v":1,"type":"passphrase","protected":true}"#).is_ok());
}
