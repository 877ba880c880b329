//! Time as an argument: the engine never reads a clock.

use std::time::Duration;

/// One reading of both clocks, taken by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since an arbitrary start; never goes back, also counts while the machine sleeps. Timers use it.
    pub monotonic: Duration,
    /// Unix time in milliseconds. May jump; shown to people, never used for order or validity.
    pub unix_ms: i64,
}
