//! What goes wrong beside the request is told in one line each, where no log was asked for.

use std::{
    fmt::{Debug, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, layer::Context};

/// What goes on going wrong is told so seldom.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// So many different lines are told within that time.
const TOLD_MAX: usize = 16;

/// Hands warnings and errors of our own crates to `tell`.
pub(super) struct Warnings<F> {
    level: Level,
    told: Mutex<Vec<(Instant, String)>>,
    tell: F,
}

impl<F: Fn(&str) + Send + Sync + 'static> Warnings<F> {
    /// From this level on.
    pub(super) fn new(level: Level, tell: F) -> Self {
        let told = Mutex::default();
        Self { level, told, tell }
    }

    /// Whether this line was not told just now; so that neither a full disk nor a neighbour fills the screen.
    fn is_new(&self, line: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(at, _)| at.elapsed() < TOLD_AGAIN_AFTER);
        let new = told.len() < TOLD_MAX && told.iter().all(|(_, known)| known != line);
        if new {
            told.push((Instant::now(), line.to_owned()));
        }
        new
    }
}

impl<S: Subscriber, F: Fn(&str) + Send + Sync + 'static> Layer<S> for Warnings<F> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let target = metadata.target();
        *metadata.level() <= self.level && (target.starts_with("qpq_core") || target.starts_with("qpq_p2p"))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let line = line.what + &line.why;
        if self.is_new(&line) {
            (self.tell)(&line);
        }
    }
}

/// The message and its error; every other field is for those who read logs.
#[derive(Default)]
struct Line {
    what: String,
    why: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.what, "{value:?}"),
            "error" => write!(self.why, ": {value:?}"),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use tracing::{error, info, subscriber, warn};
    use tracing_subscriber::{Registry, layer::SubscriberExt};

    use super::*;

    fn told(level: Level, happens: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let warnings = Warnings::new(level, move |line: &str| {
            kept.lock().unwrap().push(line.to_owned())
        });
        subscriber::with_default(Registry::default().with(warnings), happens);
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn a_warning_is_told_with_its_error_and_nothing_else() {
        let lines = told(Level::WARN, || {
            info!("all is well");
            warn!(target: "iroh::socket", "not ours");
            warn!(target: "qpq_core::engine", peer = 7, error = %"no such device", "nobody can be searched");
            error!("the engine panicked");
        });
        assert_eq!(
            lines,
            ["nobody can be searched: no such device", "the engine panicked"]
        );
    }

    #[test]
    fn quiet_leaves_errors() {
        let lines = told(Level::ERROR, || {
            warn!("this takes long");
            error!("nothing could be stored");
        });
        assert_eq!(lines, ["nothing could be stored"]);
    }

    #[test]
    fn what_goes_on_is_told_once_and_a_flood_is_cut() {
        let lines = told(Level::WARN, || {
            (0..1_000).for_each(|_| warn!("nothing could be stored"));
            (0..1_000).for_each(|n| warn!("peer {n} is of another version"));
        });
        assert_eq!(lines.len(), TOLD_MAX);
        assert_eq!(lines.first().map(String::as_str), Some("nothing could be stored"));
    }
}
