//! Wakes the engine when it asked for it.

use std::time::Duration;

use qpq_core::engine::Input;
use tokio::{sync::mpsc, time::Instant};

use super::Clock;

/// Ticks are at least so far apart, whatever the engine asks for.
const TICK_GAP: Duration = Duration::from_millis(5);

/// A sleep ends after so long to look at the clock that counts suspended time, which timers do not.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

/// Sends a Tick at the earliest time that was asked for since the last one.
pub(crate) async fn tick(
    mut wakes: mpsc::UnboundedReceiver<Duration>,
    engine: mpsc::Sender<Input>,
    clock: Clock,
) {
    let mut next: Option<Duration> = None;
    loop {
        let left = next.map(|at| at.saturating_sub(clock().monotonic));
        let wait = left.map(|left| Instant::now() + left.clamp(TICK_GAP, CLOCK_CHECK));
        tokio::select! {
            at = wakes.recv() => match at {
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => return,
            },
            () = sleep_until(wait) => {
                if next.is_some_and(|at| at <= clock().monotonic) {
                    next = None;
                    if engine.send(Input::Tick).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Sleeps until a time that may never come.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_tick_comes_at_the_earliest_time_and_only_once() {
        let clock = super::super::clock::system();
        let (wake, wakes) = mpsc::unbounded_channel();
        let (engine, mut inputs) = mpsc::channel(8);
        tokio::spawn(tick(wakes, engine, Arc::clone(&clock)));
        let start = clock().monotonic;
        wake.send(start + Duration::from_secs(60)).unwrap();
        wake.send(start + Duration::from_millis(50)).unwrap();
        assert!(matches!(inputs.recv().await, Some(Input::Tick)));
        assert!(clock().monotonic >= start + Duration::from_millis(50));
        let again = tokio::time::timeout(Duration::from_millis(100), inputs.recv()).await;
        assert!(
            again.is_err(),
            "the later time was forgotten: the engine asks again when it still matters"
        );
    }
}
