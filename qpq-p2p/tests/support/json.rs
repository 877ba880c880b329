//! Lines of JSON, held against the published schema.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test files, each of which uses a part; tests fail by panicking"
)]

use std::{fs, sync::OnceLock};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The value of a line, which must be one of the contract and have no field that the contract does not name.
#[track_caller]
pub(crate) fn checked(line: &str) -> Value {
    check(line).unwrap_or_else(|error| panic!("{error}\n{line:?}"))
}

/// The same, or why it is none.
pub(crate) fn check(line: &str) -> Result<Value, String> {
    static SCHEMA: OnceLock<(Schemas, SchemaIndex)> = OnceLock::new();
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let (schemas, index) = SCHEMA.get_or_init(compile);
    match schemas.validate(&value, *index) {
        Ok(()) => Ok(value),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn compile() -> (Schemas, SchemaIndex) {
    const URL: &str = "https://quicproquo.example/v1.schema.json";
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/src/reference/v1.schema.json"
    );
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    close(&mut schema);
    let mut compiler = Compiler::new();
    compiler.add_resource(URL, schema).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile(URL, &mut schemas).unwrap();
    (schemas, index)
}

/// The published schema lets fields be added; what is printed today has those that it names and no other.
fn close(schema: &mut Value) {
    let lines = schema["oneOf"].as_array_mut().unwrap();
    let mut merged = Vec::new();
    for line in lines {
        line["unevaluatedProperties"] = false.into();
        merged.extend(
            line["$ref"]
                .as_str()
                .and_then(|path| path.rsplit('/').next())
                .map(str::to_owned),
        );
    }
    // An object of its own is closed where it stands; one that is part of a line, as part of that.
    for (name, part) in schema["$defs"].as_object_mut().unwrap() {
        if part["type"] == "object" && !merged.contains(name) {
            part["unevaluatedProperties"] = false.into();
        }
    }
}
