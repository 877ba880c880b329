//! The writing half of a link: a bounded queue, few large writes, an orderly end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use iroh::endpoint::{Connection, SendStream};
use tokio::sync::mpsc;

use super::CloseCode;

/// Frames that may wait for one peer; with [`QUEUE_BYTES`], more means that it does not read.
pub(crate) const QUEUE_FRAMES: usize = 1_024;

/// Bytes that may wait for one peer: 15 of the largest frames.
pub(crate) const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Frames are joined up to this size before they are written.
const COALESCE: usize = 64 * 1024;

/// A peer that accepts nothing for so long is too slow.
const WRITE_STALL: Duration = Duration::from_secs(10);

/// How long an orderly close waits until the peer has all.
const LINGER: Duration = Duration::from_millis(300);

enum Item {
    Frame(Vec<u8>),
    /// The end, with a last frame.
    Finish(Option<Vec<u8>>),
}

/// Where frames wait for the writer.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
    connection: Connection,
}

impl Queue {
    /// Queues a frame, or closes a link whose peer does not read.
    pub(super) fn push(&self, frame: Vec<u8>) {
        let size = frame.len();
        let waiting = self.bytes.fetch_add(size, Ordering::Relaxed);
        if waiting.saturating_add(size) > QUEUE_BYTES || self.items.try_send(Item::Frame(frame)).is_err() {
            CloseCode::Slow.close(&self.connection);
        }
    }

    /// Closes the link after what waits was written.
    pub(super) fn finish(&self, last: Option<Vec<u8>>) {
        if self.items.try_send(Item::Finish(last)).is_err() {
            CloseCode::Done.close(&self.connection);
        }
    }
}

/// Starts the task that writes; it ends with the connection.
pub(super) fn start(send: SendStream, connection: Connection) -> Queue {
    let (items, waiting) = mpsc::channel(QUEUE_FRAMES);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        items,
        bytes: Arc::clone(&bytes),
        connection: connection.clone(),
    };
    tokio::spawn(async move {
        tokio::select! {
            code = write(send, waiting, &bytes) => code.close(&connection),
            _ = connection.closed() => {}
        }
    });
    queue
}

/// Writes until the link is to be closed, and says with which code.
async fn write(mut send: SendStream, mut waiting: mpsc::Receiver<Item>, bytes: &AtomicUsize) -> CloseCode {
    while let Some(first) = waiting.recv().await {
        let batch = gather(first, &mut waiting);
        match tokio::time::timeout(WRITE_STALL, send.write_all(&batch.bytes)).await {
            Ok(Ok(())) => bytes.fetch_sub(batch.queued, Ordering::Relaxed),
            Ok(Err(_)) => return CloseCode::Done,
            Err(_) => return CloseCode::Slow,
        };
        if batch.is_last {
            if send.finish().is_ok() {
                let _ = tokio::time::timeout(LINGER, send.stopped()).await;
            }
            return CloseCode::Done;
        }
    }
    CloseCode::Done
}

/// What goes into one write.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// How many of these bytes were counted in the queue: a last frame is not.
    queued: usize,
    is_last: bool,
}

fn gather(first: Item, waiting: &mut mpsc::Receiver<Item>) -> Batch {
    let mut batch = Batch::default();
    let mut next = Some(first);
    while let Some(item) = next.take() {
        match item {
            Item::Frame(frame) => {
                batch.bytes.extend_from_slice(&frame);
                batch.queued = batch.bytes.len();
            }
            Item::Finish(last) => {
                batch.bytes.extend(last.unwrap_or_default());
                batch.is_last = true;
                return batch;
            }
        }
        if batch.bytes.len() < COALESCE {
            next = waiting.try_recv().ok();
        }
    }
    batch
}
