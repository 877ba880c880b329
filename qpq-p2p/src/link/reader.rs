//! The reading half of a link: header, judgement, body, engine.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use iroh::endpoint::{ReadError, RecvStream};
use qpq_core::{
    engine::{Input, SessionId},
    wire::{self, Frame, LinkFrame},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    CloseCode, Control, Ended, FRAME_DEADLINE, STRANGER_LIFETIME,
    liveness::{Due, Liveness, PING_AFTER},
    writer::Queue,
};

/// What is read at once from a peer who may send any number of bytes.
const READ_AHEAD: usize = 16 * 1024;

/// Reads the frames of one link.
#[derive(Debug)]
pub(super) struct Reader {
    recv: RecvStream,
    /// What was read and belongs to the next frames.
    ahead: Ahead,
    session: SessionId,
    engine: mpsc::Sender<Input>,
    queue: Queue,
    control: Arc<Control>,
    liveness: Liveness,
    stranger_until: Instant,
    /// Liveness is watched: the peer is no stranger any more.
    watched: bool,
    /// By when the frame that is being read must be complete.
    frame_until: Option<Instant>,
}

impl Reader {
    pub(super) fn new(
        recv: RecvStream,
        session: SessionId,
        engine: mpsc::Sender<Input>,
        queue: Queue,
        control: Arc<Control>,
    ) -> Self {
        let now = Instant::now();
        Self {
            watched: control.is_unlimited(),
            recv,
            ahead: Ahead::default(),
            session,
            engine,
            queue,
            control,
            liveness: Liveness::new(now),
            stranger_until: now + STRANGER_LIFETIME,
            frame_until: None,
        }
    }

    /// Reads until the link ends.
    pub(super) async fn run(mut self) -> Ended {
        loop {
            if let Err(ended) = self.step().await {
                return ended;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        let frame = self.frame().await?;
        match wire::link_frame(&frame).map_err(|_| Ended::Protocol)? {
            LinkFrame::Ping(nonce) => self.queue.push(Frame::Pong(nonce).encode()),
            LinkFrame::Pong(_) => {}
            LinkFrame::Bye(reason) => return Err(Ended::Bye(reason)),
            LinkFrame::Hello(_) => return Err(Ended::Protocol),
            LinkFrame::Other => self.deliver(frame).await?,
        }
        Ok(())
    }

    /// Hands a frame to the engine, however long its queue stays full. The peer is told meanwhile that we
    /// live; its own silence cannot be judged while nobody reads.
    async fn deliver(&mut self, bytes: Vec<u8>) -> Result<(), Ended> {
        let permit = loop {
            tokio::select! {
                // Most of the time there is room, and no timer is needed.
                biased;
                permit = self.engine.reserve() => break permit.map_err(|_| Ended::NoEngine)?,
                () = tokio::time::sleep(PING_AFTER) => self.queue.push(Frame::Ping(0).encode()),
            }
        };
        self.control.spoke.store(true, Ordering::Relaxed);
        permit.send(Input::Frame {
            session: self.session,
            bytes,
        });
        self.liveness.heard(Instant::now());
        Ok(())
    }

    async fn frame(&mut self) -> Result<Vec<u8>, Ended> {
        self.frame_until = None;
        let mut header = [0; wire::HEADER];
        self.fill(&mut header).await?;
        let body = wire::body_len(&header).map_err(|_| Ended::Protocol)?;
        if !self.control.spend(wire::HEADER + body) {
            return Err(Ended::Budget);
        }
        let mut frame = vec![0; wire::HEADER + body];
        let (head, rest) = frame.split_at_mut(wire::HEADER);
        head.copy_from_slice(&header);
        self.fill(rest).await?;
        Ok(frame)
    }

    /// Fills a buffer, or ends the link for silence, a stalled frame or an overstayed visit.
    async fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Ended> {
        while !buffer.is_empty() {
            let taken = self.ahead.take(buffer);
            buffer = std::mem::take(&mut buffer).get_mut(taken..).unwrap_or_default();
            if buffer.is_empty() {
                break;
            }
            let timer = self.next_timer();
            // Of a stranger not a byte is read before it is counted.
            let is_ahead = self.control.is_unlimited();
            let room = if is_ahead { self.ahead.room() } else { &mut *buffer };
            tokio::select! {
                read = self.recv.read(room) => {
                    let count = read.map_err(|error| self.ended_by(&error))?;
                    let count = count.ok_or_else(|| self.closed_by_peer())?;
                    let now = Instant::now();
                    self.liveness.heard(now);
                    self.frame_until.get_or_insert(now + FRAME_DEADLINE);
                    if is_ahead {
                        self.ahead.filled(count);
                    } else {
                        buffer = std::mem::take(&mut buffer).get_mut(count..).unwrap_or_default();
                    }
                }
                () = tokio::time::sleep_until(timer) => self.on_timer()?,
                () = self.control.changed.notified() => self.on_change(),
            }
        }
        Ok(())
    }

    /// Strangers are not pinged, which would use up their budget, but they must be done soon.
    fn next_timer(&self) -> Instant {
        let next = if self.watched {
            self.liveness.next()
        } else {
            self.stranger_until
        };
        self.frame_until.map_or(next, |until| until.min(next))
    }

    fn on_timer(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.frame_until.is_some_and(|until| now >= until) {
            return Err(Ended::Protocol);
        }
        if !self.watched {
            return if now >= self.stranger_until {
                Err(Ended::Budget)
            } else {
                Ok(())
            };
        }
        match self.liveness.due(now) {
            Due::Nothing => {}
            Due::Ping => self.queue.push(Frame::Ping(0).encode()),
            Due::Dead => return Err(Ended::Silent),
        }
        Ok(())
    }

    fn on_change(&mut self) {
        let now = Instant::now();
        let watched = self.control.is_unlimited();
        if watched && !self.watched {
            // Nobody was asked for a sign of life until now.
            self.liveness.heard(now);
        }
        self.watched = watched;
        if self.control.probe.swap(false, Ordering::Relaxed) {
            self.liveness.suspect(now);
        }
    }

    fn ended_by(&self, error: &ReadError) -> Ended {
        match error {
            ReadError::ConnectionLost(lost) if CloseCode::Stranger.is_reason(lost) => Ended::NotAdmitted,
            ReadError::ConnectionLost(lost) if CloseCode::Done.is_reason(lost) => self.closed_by_peer(),
            ReadError::ConnectionLost(_)
            | ReadError::Reset(_)
            | ReadError::ClosedStream
            | ReadError::ZeroRttRejected => Ended::Closed,
        }
    }

    /// A contact begins with its Head: whoever ends a link before a word has let in a stranger.
    fn closed_by_peer(&self) -> Ended {
        if self.control.spoke.load(Ordering::Relaxed) {
            Ended::Closed
        } else {
            Ended::NotAdmitted
        }
    }
}

/// Bytes between the stream and its frames: one read brings many of them.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    /// Those that were not taken yet.
    left: Range<usize>,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ahead({})", self.left.len())
    }
}

impl Ahead {
    /// Moves as much as there is, and as fits; how much that was.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.left.len().min(buffer.len());
        let until = self.left.start + count;
        let taken = self.bytes.get(self.left.start..until);
        if let (Some(from), Some(to)) = (taken, buffer.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.left.start = until;
        count
    }

    /// Where the next bytes go; all that was there is taken.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.resize(READ_AHEAD, 0);
        &mut self.bytes
    }

    fn filled(&mut self, count: usize) {
        self.left = 0..count;
    }
}
