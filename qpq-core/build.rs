//! Compiles the Cap'n Proto schemas with what the machine has: `capnp` from PATH, else the compiler
//! carried by `capnpc-embedded` (feature `embedded-capnp`), so that nothing must be installed.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::{env, error::Error, path::Path, process::Command};

const SCHEMAS: [&str; 2] = ["peer.capnp", "content.capnp"];

fn main() -> Result<(), Box<dyn Error>> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    for name in SCHEMAS {
        println!("cargo:rerun-if-changed={}", schemas.join(name).display());
    }
    if Command::new("capnp")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        let mut command = capnpc::CompilerCommand::new();
        command.src_prefix(&schemas);
        SCHEMAS.iter().for_each(|name| {
            command.file(schemas.join(name));
        });
        return Ok(command.run()?);
    }
    compile_embedded(&schemas)
}

#[cfg(feature = "embedded-capnp")]
fn compile_embedded(schemas: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = capnpc_embedded::CompileCommand::new();
    command.src_prefix(schemas);
    SCHEMAS.iter().for_each(|name| {
        command.file(schemas.join(name));
    });
    let request = command.compile()?;
    capnpc::codegen::CodeGenerationCommand::new()
        .output_directory(env::var("OUT_DIR")?)
        .run(&request[..])?;
    Ok(())
}

#[cfg(not(feature = "embedded-capnp"))]
fn compile_embedded(_: &Path) -> Result<(), Box<dyn Error>> {
    Err(
        "no `capnp` program in PATH: apt-get install capnproto, or build with the feature embedded-capnp"
            .into(),
    )
}
