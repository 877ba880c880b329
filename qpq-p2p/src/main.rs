//! `qpq`: end-to-end encrypted chat between peers, without account or server.

use std::process::ExitCode;

fn main() -> ExitCode {
    qpq_p2p::cli::main()
}
