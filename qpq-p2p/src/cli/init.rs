//! `qpq init`: makes a profile.

use qpq_core::name;

use super::{Context, DONE, Exit, input::Lines, passphrase::UNPROTECTED};
use crate::{event::Event, failure::Failure, profile, sink::Sink};

/// Create your identity
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  qpq init anna")]
pub(super) struct Arguments {
    /// The name that others see
    name: Option<String>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let name = match arguments.name {
        Some(name) => name,
        None => ask(context).await?,
    };
    let name = name::validate(&name)
        .map_err(|error| Failure::usage("no profile was made", error.to_string(), "qpq init anna"))?;
    let id = profile::create(&context.folder(), &name)?;
    let mut printer = context.output.printer(|event| {
        let Event::Identity { name, id } = event else {
            return None;
        };
        Some(format!("{name} · {}\n{UNPROTECTED}", id.short()))
    });
    printer.put(Event::Identity { name, id }).await?;
    Ok(DONE)
}

async fn ask(context: &Context) -> Result<String, Failure> {
    if !context.can_ask() {
        return Err(Failure::usage(
            "no profile was made",
            "there is no name, and nobody to ask for one",
            "qpq init NAME",
        ));
    }
    context.output.ask("Your name, as others will see it: ");
    let mut lines = Lines::of_stdin();
    tokio::select! {
        line = lines.next() => Ok(line.transpose()?.unwrap_or_default().trim().to_owned()),
        () = context.output.stop() => Err(Failure::interrupted()),
    }
}
