//! A link: one connection to one peer, one bidirectional stream of frames on it, a reader and a writer.
//!
//! The dialer opens the stream and writes Hello; the other end answers with its own (`handshake`). Then the
//! reader judges every header before it allocates, answers Pings itself and hands all else to the engine's
//! queue: when that is full, this link waits and no other. The writer has a bounded queue of its own: a peer
//! that does not read loses its link, never our memory.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod handshake;
mod liveness;
mod reader;
pub(crate) mod rule;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use iroh::endpoint::{Connection, ConnectionError, VarInt};
use qpq_core::{
    engine::{Input, SessionId},
    id::PeerId,
    wire::{Bye, Frame},
};
use tokio::sync::{Notify, mpsc};

pub(crate) use handshake::Opened;

use crate::{lan::Reach, node::ways::LinkWay};

/// What a stranger may send in all, Hello included, before the engine allows more: the messages of a PAKE
/// fit several times.
pub(crate) const STRANGER_BUDGET: u32 = 1_024;

/// The same for a peer that proved the code and was asked to be a contact: its answer, a ContactAccept with a
/// Welcome, may come before the engine has seen the link.
pub(crate) const PENDING_BUDGET: u32 = 64 * 1024;

/// The same for a peer whose request waits for the user: it may say that request again.
pub(crate) const REQUESTER_BUDGET: u32 = 16 * 1024;

/// Both Hellos must have been exchanged within this time after the TLS handshake.
pub(crate) const HELLO_DEADLINE: Duration = Duration::from_secs(2);

/// A frame that began must be complete within this time.
const FRAME_DEADLINE: Duration = Duration::from_secs(10);

/// A stranger must have become a contact within this time: pairing takes a second, no human is waited for.
const STRANGER_LIFETIME: Duration = Duration::from_secs(15);

/// Why a connection was closed, as the other end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// Nothing is wrong; a Bye may have said more.
    Done,
    /// The dialer is nobody that this end talks to now.
    Stranger,
    /// Too many strangers at once.
    Busy,
    /// The other end broke the protocol.
    Protocol,
    /// The other end does not read what is sent to it.
    Slow,
    /// Nothing was heard of the other end.
    Silent,
}

impl CloseCode {
    fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Stranger => 1,
            Self::Busy => 2,
            Self::Protocol => 3,
            Self::Slow => 4,
            Self::Silent => 5,
        })
    }

    /// Closes a connection at once; what was not yet sent is lost.
    pub(crate) fn close(self, connection: &Connection) {
        connection.close(self.code(), b"");
    }

    /// Whether the other end closed the connection with this code.
    pub(crate) fn is_reason(self, error: &ConnectionError) -> bool {
        matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == self.code())
    }
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer said Bye.
    Bye(Bye),
    /// The connection was closed by either end, or timed out.
    Closed,
    /// The peer closed it because it does not know us (any more): it said so, or closed before a word.
    NotAdmitted,
    /// Nothing was read for too long.
    Silent,
    /// The peer sent what no frame is, or half a frame.
    Protocol,
    /// A stranger sent more, or stayed longer, than strangers may.
    Budget,
    /// The engine is gone.
    NoEngine,
    /// A task of the link panicked.
    Bug,
}

impl Ended {
    fn close_code(self) -> CloseCode {
        match self {
            Self::Bye(_) | Self::Closed | Self::NotAdmitted | Self::NoEngine | Self::Bug => CloseCode::Done,
            Self::Silent => CloseCode::Silent,
            Self::Protocol | Self::Budget => CloseCode::Protocol,
        }
    }
}

/// What the driver changes and the reader obeys.
#[derive(Debug)]
pub(crate) struct Control {
    /// Bytes that may still be read; `u64::MAX`: any number.
    budget: AtomicU64,
    /// The peer may have moved: it must prove soon that it is still there.
    probe: AtomicBool,
    /// Set when the engine got a frame of the peer.
    spoke: Arc<AtomicBool>,
    /// Rung after each change.
    changed: Notify,
}

impl Control {
    /// For a link of which so many bytes may be read; `None`: any number.
    pub(crate) fn new(budget: Option<u32>, spoke: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            budget: AtomicU64::new(budget.map_or(u64::MAX, u64::from)),
            probe: AtomicBool::new(false),
            spoke,
            changed: Notify::new(),
        })
    }

    fn is_unlimited(&self) -> bool {
        self.budget.load(Ordering::Relaxed) == u64::MAX
    }

    /// Takes bytes out of the budget; `false`: it does not hold so many.
    fn spend(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
                u64::MAX => Some(left),
                _ => left.checked_sub(bytes),
            })
            .is_ok()
    }
}

/// The driver's handle to a link whose tasks run.
#[derive(Debug)]
pub(crate) struct Link {
    /// Who is at the other end.
    pub(crate) peer: PeerId,
    /// What the rule of crossing dials looks at.
    pub(crate) candidate: rule::Candidate,
    connection: Connection,
    queue: writer::Queue,
    control: Arc<Control>,
}

impl Link {
    /// Queues a frame. A full queue closes the link: the engine sends again on the next one.
    pub(crate) fn send(&self, frame: Vec<u8>) {
        self.queue.push(frame);
    }

    /// Closes the link after what was queued has been sent, and says why.
    pub(crate) fn finish(&self, bye: Option<Bye>) {
        self.queue.finish(bye.map(|bye| Frame::Bye(bye).encode()));
    }

    /// Closes the link at once.
    pub(crate) fn kill(&self, code: CloseCode) {
        code.close(&self.connection);
    }

    /// Replaces the read budget. Who may send any number of bytes is a stranger no longer.
    pub(crate) fn limit(&self, bytes: Option<u32>) {
        self.control
            .budget
            .store(bytes.map_or(u64::MAX, u64::from), Ordering::Relaxed);
        self.control.changed.notify_one();
    }

    /// Whether the peer is still treated as a stranger.
    pub(crate) fn is_limited(&self) -> bool {
        !self.control.is_unlimited()
    }

    /// Over which path the link runs; `None`: its way is lost.
    pub(crate) fn way(&self, reach: &Reach) -> Option<LinkWay> {
        LinkWay::of(&self.connection, reach)
    }

    /// Asks the peer for a sign of life within half a second.
    pub(crate) fn probe(&self) {
        self.control.probe.store(true, Ordering::Relaxed);
        self.control.changed.notify_one();
    }
}

/// Starts the tasks of a link. The returned future ends with the link, after the engine was told; the engine
/// hears of the link by the `Connected` that precedes everything else of this session.
pub(crate) fn start(
    opened: Opened,
    session: SessionId,
    control: Arc<Control>,
    engine: mpsc::Sender<Input>,
) -> (Link, impl Future<Output = Ended> + Send + use<>) {
    let in_budget = control.spend(opened.bytes_read);
    let queue = writer::start(opened.send, opened.connection.clone());
    let connected = Input::Connected {
        session,
        peer: opened.peer,
        dialed: opened.dialed,
        purpose: opened.purpose,
        channel: opened.channel,
    };
    let link = Link {
        peer: opened.peer,
        candidate: opened.candidate,
        connection: opened.connection.clone(),
        queue: queue.clone(),
        control: Arc::clone(&control),
    };
    let reader = reader::Reader::new(opened.recv, session, engine.clone(), queue, control);
    let run = async move {
        if engine.send(connected).await.is_err() {
            CloseCode::Done.close(&opened.connection);
            return Ended::NoEngine;
        }
        // A task of its own: a panic in it is this link's end and nobody else's.
        let ended = if in_budget {
            tokio::spawn(reader.run()).await.unwrap_or(Ended::Bug)
        } else {
            Ended::Budget
        };
        ended.close_code().close(&opened.connection);
        // The driver learns of the end even when the engine is gone.
        let _ = engine.send(Input::Disconnected { session }).await;
        ended
    };
    (link, run)
}
