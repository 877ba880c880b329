//! What the process does before anything else: protect its memory, listen to signals, set up the log.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::OnceLock,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::Level;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{output, warnings::Warnings};
use crate::{
    config,
    failure::{Failure, FailureCode},
};

/// Exit code after a panic.
pub(super) const PANICKED: u8 = 1;

/// No core dump may hold keys, and no other process of the same user may read them. Where the system refuses,
/// qpq works all the same: this is a second line.
pub(super) fn protect_memory() {
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// A panic tells where it happened and nothing that it was about: its message may quote what is secret.
pub(super) fn keep_panics_short() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let hint = "this is a fault of qpq: please report the line above";
        let failure = Failure::new(FailureCode::Unexpected, "qpq failed", format!("at {place}"), hint);
        output::report(&failure, wants_json(std::env::args_os()), false);
    }));
}

/// Whether errors are to be JSON, where the settings are not known or make no sense.
pub(super) fn wants_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    const HOME: &str = "--home";
    // What stands behind `--` is text.
    let mut flags = arguments
        .into_iter()
        .skip(1)
        .take_while(|argument| argument != "--");
    let mut home = None;
    while let Some(flag) = flags.next() {
        if flag == "--json" {
            return true;
        }
        if flag == HOME {
            home = flags.next();
        } else if let Some(folder) = flag.as_bytes().strip_prefix(HOME.as_bytes())
            && let Some(folder) = folder.strip_prefix(b"=")
        {
            home = Some(OsStr::from_bytes(folder).to_owned());
        }
    }
    config::wants_json(home.map(PathBuf::from))
}

/// Whether hints are to be left out, where the command line may make no sense.
pub(super) fn wants_quiet(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let mut flags = arguments
        .into_iter()
        .skip(1)
        .take_while(|argument| argument != "--");
    flags.any(|flag| flag == "-q" || flag == "--quiet")
}

/// How long output may stand still after a signal to end.
const STALL: Duration = Duration::from_secs(1);

/// The first signal to end.
static FIRST: OnceLock<SignalKind> = OnceLock::new();

/// Whether whoever runs services ended this process (SIGTERM), and not its user.
pub(super) fn was_told_to_end() -> bool {
    FIRST.get() == Some(&SignalKind::terminate())
}

/// Becomes true with the first signal to end; the second ends at once.
pub(super) fn signals() -> Result<watch::Receiver<bool>, Failure> {
    let (stop, stopped) = watch::channel(false);
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind).map_err(|error| Failure::unexpected("qpq cannot start", error))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let _ = FIRST.set(kind);
                if stop.send_replace(true) {
                    exit_interrupted();
                }
                tokio::spawn(end_when_stalled());
            }
        });
    }
    Ok(stopped)
}

/// Whoever writes cannot see that it is to end while nobody reads: then the process ends under it.
async fn end_when_stalled() {
    loop {
        let before = output::writes_under_way();
        tokio::time::sleep(STALL).await;
        if before.is_some() && output::writes_under_way() == before {
            exit_interrupted();
        }
    }
}

fn exit_interrupted() -> ! {
    std::process::exit(i32::from(FailureCode::Interrupted.exit()))
}

/// The log goes to standard error, and is silent unless asked for. Without it, warnings are told in a line each.
pub(super) fn log(verbose: u8, quiet: bool, settings: &config::Layer) -> Result<(), Failure> {
    let filter = match (settings.log.as_deref(), verbose) {
        (Some(filter), _) => filter,
        (None, 0) => {
            let level = if quiet { Level::ERROR } else { Level::WARN };
            let json = settings.json == Some(true);
            let warnings = Warnings::new(level, move |line: &str| output::background(line, json));
            tracing_subscriber::registry().with(warnings).init();
            return Ok(());
        }
        (None, 1) => "qpq_core=info,qpq_p2p=info",
        (None, 2) => "qpq_core=debug,qpq_p2p=debug",
        (None, _) => "qpq_core=trace,qpq_p2p=trace",
    };
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::new(
            FailureCode::Config,
            "a setting was not understood",
            format!("QPQ_LOG: {error}"),
            "QPQ_LOG=qpq_p2p=debug",
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    Ok(())
}
