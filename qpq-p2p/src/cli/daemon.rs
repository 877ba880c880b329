//! `qpq daemon`: keeps the profile online, without a screen.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
};

use rustix::fs::OFlags;
use sd_notify::NotifyState;
use tracing::{debug, warn};

use super::{Context, DONE, Exit, INTERRUPTED, output::Output, start};
use crate::{
    event::{Event, OwnerKind},
    failure::Failure,
    request::Request,
    sink::{Sink, SinkError},
};

/// Stay online until ended, so that messages come and go
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  qpq daemon --json\n\n\
    Says when it is ready, on standard output and where --ready-fd or systemd asks for it. Where\n\
    another qpq owns the profile for long, it is ready beside it, and goes on when that one ends.\n\
    Ends with SIGTERM (exit code 0) or Ctrl+C (130).")]
pub(super) struct Arguments {
    /// Write READY to this file number, once, when the profile is open and the network is up
    #[arg(long, value_name = "N")]
    ready_fd: Option<u32>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let ready = arguments.ready_fd.map(open).transpose()?;
    let client = context.lasting_client(OwnerKind::Daemon).await?;
    let stayed = match client.owner().await {
        Ok((pid, is_own)) => {
            if !is_own {
                let text = format!("process {pid} owns the profile; this one goes on when it ends");
                context.output.note(&text);
            }
            let mut printer = context.output.printer(render);
            let mut sink = Tell {
                sink: &mut printer,
                ready,
            };
            client.run(Request::Stay, &mut sink).await
        }
        Err(failure) => Err(failure),
    };
    tell_systemd(NotifyState::Stopping);
    client.close().await;
    stayed?;
    Ok(exit(&context.output))
}

fn exit(output: &Output) -> Exit {
    if output.is_stopped() && !start::was_told_to_end() {
        INTERRUPTED
    } else {
        DONE
    }
}

fn render(event: &Event) -> Option<String> {
    matches!(event, Event::Ready { .. }).then(|| "  ready".to_owned())
}

/// Tells those who start services that this one is ready, then passes on.
struct Tell<'a, S> {
    sink: &'a mut S,
    ready: Option<File>,
}

impl<S: Sink> Sink for Tell<'_, S> {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        if matches!(event, Event::Ready { .. }) {
            tell_systemd(NotifyState::Ready);
            if let Some(mut ready) = self.ready.take()
                && let Err(error) = ready.write_all(b"READY\n")
            {
                warn!(%error, "whoever waits for READY could not be told");
            }
        }
        if let Err(error) = self.sink.put(event).await {
            // It stays online, whoever reads about it.
            debug!(%error, "nobody reads the output");
        }
        Ok(())
    }

    async fn closed(&self) {
        self.sink.closed().await;
    }
}

/// Without systemd nobody is told, and nobody waits.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "the service manager could not be told");
    }
}

/// A file number that whoever started this process opened for it.
fn open(number: u32) -> Result<File, Failure> {
    let path = format!("/dev/fd/{number}");
    // Never waits for a reader.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .append(true)
        .custom_flags(flags)
        .open(&path)
        .map_err(|error| {
            Failure::usage(
                format!("nothing can be written to file number {number}"),
                error.to_string(),
                "open it first: qpq daemon --ready-fd 3 3>ready",
            )
        })
}
