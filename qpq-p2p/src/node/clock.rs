//! The clocks of this machine.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use qpq_core::time::Now;
use rustix::time::{ClockId, clock_gettime};

/// Reads both clocks; an argument everywhere, so that a test can turn them.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The clock that also counts while the machine sleeps: what was due then is due on waking up.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MONOTONIC: ClockId = ClockId::Boottime;
/// macOS: CLOCK_MONOTONIC counts sleep there.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MONOTONIC: ClockId = ClockId::Monotonic;

/// The real clocks.
pub fn system() -> Clock {
    Arc::new(|| {
        let time = clock_gettime(MONOTONIC);
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        let monotonic = seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0));
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic,
            unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_forward() {
        let clock = system();
        let (first, second) = (clock(), clock());
        assert!(second.monotonic >= first.monotonic && first.monotonic > Duration::ZERO);
        assert!(first.unix_ms > 1_700_000_000_000, "milliseconds since 1970");
    }
}
