//! The built `qpq`, which heeds no setting of the process that runs the tests.

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

pub(crate) fn qpq() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpq"));
    without_settings(&mut command);
    command
}

/// Takes away what this process was told by `QPQ_…`, such as how the tests are to run.
pub(crate) fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"QPQ_") {
            command.env_remove(name);
        }
    }
}
