//! The ways to contacts at one moment: over which path a link runs, or what came of the last try to get one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iroh::{TransportAddr, endpoint::Connection};
use qpq_core::id::PeerId;

use crate::{
    lan::Reach,
    link::{
        Ended,
        handshake::{Generation, HandshakeError},
    },
};

/// How the packets of a link travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathKind {
    /// Straight, within a network that both are on, or within this host.
    Lan,
    /// Straight, over other networks.
    Direct,
    /// By way of a relay.
    Relayed,
}

/// What came of the last try to reach somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LastTry {
    /// Nothing yet: nobody tried, or the last link ended in order.
    #[default]
    Open,
    /// Nobody answered, or a link fell silent.
    NoAnswer,
    /// The other side closed the connection before a word: it does not know us, or not any more.
    Closed,
    /// The other side runs a qpq that is too old.
    Older,
    /// The other side runs a qpq that is too new.
    Newer,
}

/// A link that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkWay {
    /// Its path.
    pub path: PathKind,
    /// Round trip, as QUIC measures it.
    pub rtt: Duration,
}

/// What is known of the way to one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// The link, where one stands.
    pub link: Option<LinkWay>,
    /// Their record is on this network; it may be a forged copy.
    pub seen: bool,
    /// Of the time since the last link.
    pub last_try: LastTry,
}

/// All that a node knows about the ways to people at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// Contacts, and those who were asked to be one.
    pub peers: BTreeMap<PeerId, Way>,
    /// Chats for which a contact proved that this profile is an older copy of itself, and which are not set up again yet.
    pub rolled_back: BTreeSet<i64>,
}

impl LinkWay {
    /// `None`: iroh has lost the way, and the link has yet to notice.
    pub(crate) fn of(connection: &Connection, reach: &Reach) -> Option<Self> {
        let paths = connection.paths();
        let selected = paths.iter().find(iroh::endpoint::Path::is_selected);
        let path = selected.or_else(|| paths.iter().next())?;
        Some(Self {
            path: kind_of(path.remote_addr(), reach),
            rtt: path.rtt(),
        })
    }
}

fn kind_of(address: &TransportAddr, reach: &Reach) -> PathKind {
    match address {
        TransportAddr::Ip(address) if reach.is_near(address.ip().to_canonical()) => PathKind::Lan,
        TransportAddr::Ip(_) => PathKind::Direct,
        // What is neither straight nor a relay of today goes by way of somebody, too.
        TransportAddr::Relay(_) | _ => PathKind::Relayed,
    }
}

impl LastTry {
    /// What the end of a link says about the next one.
    pub(crate) fn of_end(ended: Ended) -> Self {
        match ended {
            Ended::NotAdmitted => Self::Closed,
            Ended::Silent => Self::NoAnswer,
            Ended::Bye(_)
            | Ended::Closed
            | Ended::Protocol
            | Ended::Budget
            | Ended::NoEngine
            | Ended::Bug => Self::Open,
        }
    }

    /// What a connection that became no link says; `None`: nothing.
    pub(crate) fn of_handshake(error: &HandshakeError) -> Option<Self> {
        match error {
            HandshakeError::NotAdmitted => Some(Self::Closed),
            HandshakeError::Version(Generation::Older) => Some(Self::Older),
            HandshakeError::Version(Generation::Newer) => Some(Self::Newer),
            // It starts, or has no room at the moment.
            HandshakeError::Busy | HandshakeError::Channel => None,
            HandshakeError::Timeout
            | HandshakeError::NoHello
            | HandshakeError::Frame(_)
            | HandshakeError::Read(_)
            | HandshakeError::Write(_)
            | HandshakeError::Closed(_) => Some(Self::NoAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::endpoint::{Interfaces, Ports};

    #[test]
    fn a_path_is_of_the_lan_direct_or_relayed() {
        let reach = Reach::now(&Interfaces::Loopback, Ports { v4: None, v6: None });
        let ip = |text: &str| TransportAddr::Ip(text.parse().unwrap());
        for (address, kind) in [
            (ip("127.0.0.1:1"), PathKind::Lan),
            (ip("[::ffff:127.0.0.1]:1"), PathKind::Lan),
            (ip("93.184.215.14:1"), PathKind::Direct),
            (ip("[2606:2800::1]:1"), PathKind::Direct),
            (
                TransportAddr::Relay("https://relay.example".parse().unwrap()),
                PathKind::Relayed,
            ),
        ] {
            assert_eq!(kind_of(&address, &reach), kind, "{address}");
        }
    }

    #[test]
    fn a_handshake_tells_who_is_behind_and_a_busy_peer_nothing() {
        for (error, last_try) in [
            (HandshakeError::NotAdmitted, Some(LastTry::Closed)),
            (HandshakeError::Version(Generation::Older), Some(LastTry::Older)),
            (HandshakeError::Version(Generation::Newer), Some(LastTry::Newer)),
            (HandshakeError::Timeout, Some(LastTry::NoAnswer)),
            (HandshakeError::Busy, None),
        ] {
            assert_eq!(LastTry::of_handshake(&error), last_try, "{error}");
        }
    }

    #[test]
    fn an_orderly_end_blames_nobody() {
        for (ended, last_try) in [
            (Ended::Closed, LastTry::Open),
            (Ended::Bye(qpq_core::wire::Bye::Shutdown), LastTry::Open),
            (Ended::Silent, LastTry::NoAnswer),
            (Ended::NotAdmitted, LastTry::Closed),
        ] {
            assert_eq!(LastTry::of_end(ended), last_try, "{ended:?}");
        }
    }
}
