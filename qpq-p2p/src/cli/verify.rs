//! `qpq verify`: compare safety numbers.

use qpq_core::{identity::SafetyNumber, sanitize};

use super::{Context, DONE, Exit, input, output::Output, qr};
use crate::{
    event::Event,
    failure::Failure,
    request::{Read, Request},
    sink::SinkError,
};

/// Compare safety numbers with somebody, to know that nobody stands between you
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq verify ben\n  qpq verify ben --number \"12345 67890 …\"\n\n\
    Both of you see the same 60 digits. Compare them in person, or on a call where you know the\n\
    voice. On a terminal you are asked whether they are the same; with --number they are compared\n\
    for you (exit code 5 when they differ)."
)]
pub(super) struct Arguments {
    /// Name or id
    name: String,
    /// The 60 digits that the other side sees
    #[arg(long, value_name = "DIGITS")]
    number: Option<String>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let Arguments { name, number } = arguments;
    if let Some(number) = number {
        return compare(name, number, context).await;
    }
    let mut events = Vec::new();
    let read = Read::SafetyNumber { who: name.clone() };
    context.read(read, &mut events).await?;
    let output = &context.output;
    let printer = output.printer(|event| shown(event, output.is_quiet()));
    for event in &events {
        printer.write(event)?;
        show_qr(event, output)?;
    }
    let Some(Event::SafetyNumber {
        name: shown,
        number,
        verified: false,
        ..
    }) = events.first()
    else {
        return Ok(DONE);
    };
    if context.output.is_json() || !context.can_ask() {
        return Ok(DONE);
    }
    let question = format!("Does {shown} see the same number? [y/N] ");
    if !input::yes(&context.output, &question).await? {
        context.output.note("not verified; nothing was changed");
        return Ok(DONE);
    }
    compare(name, number.clone(), context).await
}

/// The digits for a camera, where there is room.
fn show_qr(event: &Event, output: &Output) -> Result<(), SinkError> {
    let Event::SafetyNumber { number, .. } = event else {
        return Ok(());
    };
    if output.is_quiet() || output.is_json() {
        return Ok(());
    }
    match qr::draw(number).filter(|figure| output.has_room(figure.columns)) {
        Some(figure) => output.figure(&figure.text),
        None => Ok(()),
    }
}

async fn compare(who: String, number: String, context: &Context) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let mut printer = context.output.printer(|event| {
        let Event::Contact { name, .. } = event else {
            return None;
        };
        Some(format!(
            "  {} · verified by safety number ✓",
            sanitize::name(name)
        ))
    });
    let done = client.run(Request::Verify { who, number }, &mut printer).await;
    client.close().await;
    done.map(|()| DONE)
}

fn shown(event: &Event, quiet: bool) -> Option<String> {
    let Event::SafetyNumber {
        name,
        number,
        verified,
        ..
    } = event
    else {
        return None;
    };
    let number: SafetyNumber = number.parse().ok()?;
    let lines = number.to_string();
    if quiet {
        return Some(lines);
    }
    let name = sanitize::name(name);
    let state = if *verified {
        "verified already ✓"
    } else {
        "not verified"
    };
    let lines = lines.replace('\n', "\n  ");
    Some(format!("safety number with {name} · {state}\n\n  {lines}\n"))
}
