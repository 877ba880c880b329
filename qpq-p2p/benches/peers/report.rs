//! What is printed: one line for each figure, its limit and its ratio to it.

use std::time::Duration;

use super::node::Rate;

/// Times of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantiles {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Quantiles {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self {
            p50: at(50),
            p99: at(99),
        }
    }

    /// The run in the middle.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let mut runs = runs.to_vec();
        runs.sort_unstable_by_key(|run| run.p50);
        runs[runs.len() / 2]
    }
}

/// A figure and what it is held against.
pub(crate) struct Bar<'a> {
    pub(crate) limit: Duration,
    pub(crate) what: &'a str,
}

/// Prints.
pub(crate) struct Report;

impl Report {
    pub(crate) fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        println!("{cpus} CPUs; texts of {} bytes; loopback", super::TEXT);
        Self
    }

    pub(crate) fn section(&mut self, title: &str) {
        println!("\n{title}");
    }

    pub(crate) fn latency(&mut self, what: &str, times: &Quantiles, runs: &[Quantiles]) {
        let spread = match (
            runs.iter().map(|run| run.p50).min(),
            runs.iter().map(|run| run.p50).max(),
        ) {
            (Some(least), Some(most)) => format!("   p50 of the runs {} .. {}", us(least), us(most)),
            _ => String::new(),
        };
        println!(
            "  {what:<44} p50 {:>10}  p99 {:>10}{spread}",
            us(times.p50),
            us(times.p99)
        );
    }

    pub(crate) fn against(&mut self, got: Duration, bar: &Bar<'_>) {
        println!(
            "  {:<44}     {:>10}  {:.2} x",
            format!("  against {}", bar.what),
            us(bar.limit),
            got.as_secs_f64() / bar.limit.as_secs_f64()
        );
    }

    /// Messages per second, and the CPU time that each took at both ends.
    pub(crate) fn rate(&mut self, what: &str, runs: &[Rate], decrypt: Duration) {
        let mut sorted: Vec<&Rate> = runs.iter().collect();
        sorted.sort_unstable_by_key(|run| run.each);
        let middle = sorted[sorted.len() / 2];
        let per_second = |each: Duration| 1.0 / each.as_secs_f64();
        println!(
            "  {what:<44} {:>8.0} /s   runs {:.0} .. {:.0}   CPU of each: {} sender, {} receiver",
            per_second(middle.each),
            per_second(sorted[sorted.len() - 1].each),
            per_second(sorted[0].each),
            us(middle.sender),
            us(middle.receiver),
        );
        println!(
            "  {:<44} {:>8.0} /s   {:.2} x",
            "  against openmls's decrypt rate on one core",
            per_second(decrypt),
            decrypt.as_secs_f64() / middle.each.as_secs_f64(),
        );
    }

    pub(crate) fn line(&mut self, what: &str, figure: &str) {
        println!("  {what:<44} {figure}");
    }
}

/// Microseconds below 10 ms, else milliseconds.
pub(crate) fn us(time: Duration) -> String {
    match time.as_micros() {
        micros @ ..10_000 => format!("{micros} us"),
        micros => format!(
            "{:.1} ms",
            Duration::from_micros(u64::try_from(micros).unwrap()).as_secs_f64() * 1_000.0
        ),
    }
}
