//! Dials: tasks that end in a link or in a reason, with one Hello at a time to each peer.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use iroh::{
    Endpoint,
    endpoint::{ConnectError, ConnectingError, Connection},
};
use qpq_core::{engine::Purpose, id::PeerId};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::{Arrival, Clock};
use crate::{
    endpoint::{self, DialError},
    link::{
        CloseCode, Opened,
        handshake::{self, HandshakeError, Own},
    },
    node::{redial::UNPROVEN_GAP, ways::LastTry},
};

/// Peers whose last dial for the engine is remembered; more than can be looked for at once.
const ASKED_MAX: usize = 128;

/// Why a dial led to no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLink {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("another dial to the same peer came through")]
    Superseded,
    #[error("Bug(the dial panicked)")]
    Bug,
}

impl NoLink {
    /// Whether the peer closed us as a stranger, which may come before iroh calls the connection made.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Handshake(error) => matches!(error, HandshakeError::NotAdmitted),
            Self::Dial(DialError::Connect(
                ConnectError::Connecting {
                    source: ConnectingError::ConnectionError { source, .. },
                    ..
                }
                | ConnectError::Connection { source, .. },
            )) => CloseCode::Stranger.is_reason(source),
            Self::Dial(_) | Self::Superseded | Self::Bug => false,
        }
    }

    /// What it says about the peer; `None`: nothing.
    pub(super) fn last_try(&self) -> Option<LastTry> {
        match self {
            _ if self.is_refusal() => Some(LastTry::Closed),
            Self::Handshake(error) => LastTry::of_handshake(error),
            Self::Dial(DialError::Timeout | DialError::Connect(_)) => Some(LastTry::NoAnswer),
            Self::Dial(DialError::Key) | Self::Superseded | Self::Bug => None,
        }
    }
}

/// One dial.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) peer: PeerId,
    pub(super) purpose: Purpose,
    pub(super) addresses: Vec<SocketAddr>,
    /// By the engine.
    pub(super) asked: bool,
    pub(super) at: Instant,
}

/// The dials under way.
pub(super) struct Dials {
    endpoint: Endpoint,
    own: Own,
    clock: Clock,
    arrivals: mpsc::Sender<Arrival>,
    gates: BTreeMap<PeerId, Gate>,
    asked: BTreeMap<PeerId, Instant>,
}

/// Lets one of several dials say Hello; closed when it got an answer. Two links that one side dialled at once
/// may come in another order at the other side: each would then keep the link that the other one drops.
type Gate = Arc<Semaphore>;

impl Dials {
    pub(super) fn new(endpoint: Endpoint, own: Own, clock: Clock, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self {
            endpoint,
            own,
            clock,
            arrivals,
            gates: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// When a peer that no token proves may be dialled: at most once a second.
    pub(super) fn book(&mut self, peer: PeerId, now: Instant) -> Instant {
        self.asked.retain(|_, at| *at + UNPROVEN_GAP > now);
        let at = self
            .asked
            .get(&peer)
            .map_or(now, |last| now.max(*last + UNPROVEN_GAP));
        if self.asked.len() < ASKED_MAX {
            self.asked.insert(peer, at);
        }
        at
    }

    /// Starts a dial; it ends in an [`Arrival`].
    pub(super) fn start(&mut self, dial: Dial) {
        let (peer, asked) = (dial.peer, dial.asked);
        let (endpoint, own, clock) = (self.endpoint.clone(), self.own, Arc::clone(&self.clock));
        let (gate, arrivals) = (self.gate(peer), self.arrivals.clone());
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(dial.at).await;
            let connection = endpoint::dial(&endpoint, peer, &dial.addresses).await?;
            greet(&gate, connection, own, dial.purpose, clock).await
        });
        tokio::spawn(async move {
            let arrival = match task.await.unwrap_or(Err(NoLink::Bug)) {
                Ok(opened) => Arrival::Dialed { opened, asked },
                Err(why) => Arrival::Failed { peer, why, asked },
            };
            let _ = arrivals.send(arrival).await;
        });
    }

    /// A dial to this peer came through: those after it are of another round.
    pub(super) fn decided(&mut self, peer: PeerId) {
        self.gates.remove(&peer);
    }

    fn gate(&mut self, peer: PeerId) -> Gate {
        // Gates that only this map holds belong to dials that have ended.
        self.gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        let gate = self.gates.entry(peer);
        Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

/// Says Hello, unless another dial to the same peer did and was answered.
async fn greet(
    gate: &Gate,
    connection: Connection,
    own: Own,
    purpose: Purpose,
    clock: Clock,
) -> Result<Opened, NoLink> {
    let Ok(_turn) = gate.acquire().await else {
        CloseCode::Done.close(&connection);
        return Err(NoLink::Superseded);
    };
    let opened = handshake::open(connection, own, purpose, || clock().monotonic).await?;
    gate.close();
    Ok(opened)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::time::Duration;

    use qpq_core::{identity::Identity, secret::Secret};

    use super::*;
    use crate::{endpoint::Interfaces, node::clock};

    #[tokio::test]
    async fn of_two_dials_that_come_through_at_once_one_says_hello() {
        let [anna, ben] = [1, 2].map(|seed| Identity::from_seed(&Secret::new([seed; 32])));
        let ours = endpoint::bind(&anna, &Interfaces::Loopback).await.unwrap();
        let theirs = endpoint::bind(&ben, &Interfaces::Loopback).await.unwrap();
        let own = |identity: &Identity, session| Own {
            peer: identity.peer_id(),
            session: [session; 8],
        };
        let accept = async || {
            let connection = theirs.accept().await.unwrap().await.unwrap();
            handshake::accept(connection, own(&ben, 2), || Duration::ZERO).await
        };
        let gate = Arc::new(Semaphore::new(1));
        let dial = async || {
            let connection = endpoint::dial(&ours, ben.peer_id(), &theirs.bound_sockets()).await?;
            greet(&gate, connection, own(&anna, 1), Purpose::Peer, clock::system()).await
        };
        let (first, second, one, other) = tokio::join!(dial(), dial(), accept(), accept());
        assert_eq!([&one, &other].iter().filter(|link| link.is_ok()).count(), 1);
        let (won, lost) = if first.is_ok() {
            (first, second)
        } else {
            (second, first)
        };
        assert!(won.is_ok());
        assert!(matches!(lost, Err(NoLink::Superseded)), "{lost:?}");
        ours.close().await;
        theirs.close().await;
    }
}
