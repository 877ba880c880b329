//! Compiles the schemas of this crate: the socket between the processes of one profile.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

#[path = "../schemas/compile.rs"]
mod compile;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schemas = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    compile::compile(&schemas, &["control.capnp"])
}
