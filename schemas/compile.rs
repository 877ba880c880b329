//! Compiles Cap'n Proto schemas with what the machine has: `capnp` from PATH, else the compiler carried by
//! `capnpc-embedded` (feature `embedded-capnp`), so that nothing must be installed. Part of the build scripts of
//! the crates that need one.

/// Compiles these files of this folder into OUT_DIR.
pub(crate) fn compile(schemas: &std::path::Path, names: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    for name in names.iter().copied().chain(["compile.rs"]) {
        println!("cargo:rerun-if-changed={}", schemas.join(name).display());
    }
    if std::process::Command::new("capnp")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        let mut command = capnpc::CompilerCommand::new();
        command.src_prefix(schemas);
        names.iter().for_each(|name| {
            command.file(schemas.join(name));
        });
        return Ok(command.run()?);
    }
    compile_embedded(schemas, names)
}

#[cfg(feature = "embedded-capnp")]
fn compile_embedded(schemas: &std::path::Path, names: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let mut command = capnpc_embedded::CompileCommand::new();
    command.src_prefix(schemas);
    names.iter().for_each(|name| {
        command.file(schemas.join(name));
    });
    let request = command.compile()?;
    capnpc::codegen::CodeGenerationCommand::new()
        .output_directory(std::env::var("OUT_DIR")?)
        .run(&request[..])?;
    Ok(())
}

#[cfg(not(feature = "embedded-capnp"))]
fn compile_embedded(_: &std::path::Path, _: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    Err(
        "no `capnp` program in PATH: apt-get install capnproto, or build with the feature embedded-capnp"
            .into(),
    )
}
