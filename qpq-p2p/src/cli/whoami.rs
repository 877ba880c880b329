//! `qpq whoami`: whose profile this is.

use qpq_core::sanitize;

use super::{Context, DONE, Exit};
use crate::{event::Event, failure::Failure, request::Read};

/// Show who you are
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  qpq whoami --json")]
pub(super) struct Arguments {}

pub(super) async fn run(_: Arguments, context: &Context) -> Result<Exit, Failure> {
    let mut printer = context.output.printer(|event| {
        let Event::Identity { name, id } = event else {
            return None;
        };
        let name = sanitize::name(name);
        Some(format!("{name} · {}\n  {}", id.short(), id.to_text()))
    });
    context.read(Read::WhoAmI, &mut printer).await?;
    Ok(DONE)
}
