//! When a silent peer is asked for a sign of life, and when it counts as gone.
//!
//! iroh loses a peer that changed its address and does not tell (its path idle timeout is 15 s), so each
//! link watches for itself. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// After so much silence a Ping is sent: often enough that two may be lost before the end.
pub(crate) const PING_AFTER: Duration = Duration::from_millis(500);

/// After so much silence the link is dead: roaming must take less than 2 s with the redial.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(2);

/// Whoever is suspected to have moved has so long to answer a Ping: a LAN answers in milliseconds.
pub(crate) const PROBE: Duration = Duration::from_millis(500);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet.
    Nothing,
    /// A Ping.
    Ping,
    /// The end.
    Dead,
}

/// Watches the silence of one peer.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Instant,
    pinged: Option<Instant>,
    probe_until: Option<Instant>,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            pinged: None,
            probe_until: None,
        }
    }

    /// Something was read.
    pub(crate) fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The peer may have moved; a Ping is due at once.
    pub(crate) fn suspect(&mut self, now: Instant) {
        self.probe_until.get_or_insert(now + PROBE);
        self.pinged = None;
        self.heard = self.heard.min(now.checked_sub(PING_AFTER).unwrap_or(now));
    }

    /// When [`Liveness::due`] is worth asking again.
    pub(crate) fn next(&self) -> Instant {
        self.ping_at().min(self.dead_at())
    }

    /// What is due now; a Ping that it asks for counts as sent.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now >= self.dead_at() {
            Due::Dead
        } else if now >= self.ping_at() {
            self.pinged = Some(now);
            Due::Ping
        } else {
            Due::Nothing
        }
    }

    fn ping_at(&self) -> Instant {
        self.pinged.unwrap_or(self.heard) + PING_AFTER
    }

    fn dead_at(&self) -> Instant {
        let silent = self.heard + DEAD_AFTER;
        self.probe_until.map_or(silent, |until| until.min(silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn silence_is_asked_and_then_ends_the_link() {
        let start = Instant::now();
        let mut watch = Liveness::new(start);
        assert_eq!(watch.due(ms(start, 499)), Due::Nothing);
        assert_eq!(watch.due(ms(start, 500)), Due::Ping);
        assert_eq!(watch.due(ms(start, 501)), Due::Nothing);
        assert_eq!(watch.due(ms(start, 1_000)), Due::Ping);
        assert_eq!(watch.due(ms(start, 1_999)), Due::Ping);
        assert_eq!(watch.next(), ms(start, 2_000));
        assert_eq!(watch.due(ms(start, 2_000)), Due::Dead);
    }

    #[test]
    fn anything_heard_starts_anew() {
        let start = Instant::now();
        let mut watch = Liveness::new(start);
        assert_eq!(watch.due(ms(start, 1_900)), Due::Ping);
        watch.heard(ms(start, 1_950));
        assert_eq!(watch.due(ms(start, 2_100)), Due::Nothing);
        assert_eq!(watch.next(), ms(start, 2_450));
    }

    #[test]
    fn a_suspect_has_half_a_second_and_no_second_half() {
        let start = Instant::now();
        let mut watch = Liveness::new(start);
        watch.suspect(ms(start, 600));
        assert_eq!(watch.due(ms(start, 600)), Due::Ping);
        watch.suspect(ms(start, 900));
        assert_eq!(watch.due(ms(start, 1_099)), Due::Ping);
        assert_eq!(watch.due(ms(start, 1_100)), Due::Dead);
        watch.suspect(ms(start, 700));
        watch.heard(ms(start, 750));
        assert_eq!(watch.due(ms(start, 1_100)), Due::Nothing);
    }
}
