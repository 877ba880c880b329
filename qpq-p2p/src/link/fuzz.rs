//! All that a peer may write to the stream of its link, over real QUIC on loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use std::cell::RefCell;

use iroh::endpoint::SendStream;
use qpq_core::{
    identity::Identity,
    secret::Secret,
    wire::{HEADER, LinkFrame, body_len, link_frame},
};
use tokio::runtime::Runtime;

use super::{handshake, reader::Reader, writer::Queue, *};
use crate::endpoint::{self, Interfaces};

/// Two endpoints and one connection between them, for all inputs.
struct Stage {
    runtime: Runtime,
    ours: Connection,
    theirs: Connection,
    queue: Queue,
    _endpoints: [iroh::Endpoint; 2],
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// The first byte says what the peer is: a stranger with the budget of one, or somebody who may send any number of
/// bytes. The rest is the whole stream, Hello first.
pub(crate) fn stream(input: &[u8]) {
    let (peer, bytes) = input.split_first().unwrap_or((&0, &[]));
    let budget = (peer % 2 == 0).then_some(STRANGER_BUDGET);
    STAGE.with_borrow_mut(|stage| {
        let stage = stage.get_or_insert_with(Stage::new);
        let (frames, ended) = stage.run(bytes, budget);
        let (expected_frames, expected) = expected(bytes, budget);
        assert_eq!(ended, expected);
        assert_eq!(frames, expected_frames);
        let total: usize = frames.iter().map(Vec::len).sum();
        assert!(total <= budget.map_or(bytes.len(), |budget| usize::try_from(budget).unwrap()));
    });
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (ours, theirs, send, endpoints) = runtime.block_on(connect());
        let queue = {
            let _inside = runtime.enter();
            writer::start(send, ours.clone())
        };
        Self {
            runtime,
            ours,
            theirs,
            queue,
            _endpoints: endpoints,
        }
    }

    /// What reached the engine, and how the reader ended; `None`: there was no Hello.
    fn run(&self, bytes: &[u8], budget: Option<u32>) -> (Vec<Vec<u8>>, Option<Ended>) {
        self.runtime.block_on(async {
            let (mut send, mut answers) = self.theirs.open_bi().await.unwrap();
            let bytes = bytes.to_vec();
            let written = tokio::spawn(async move {
                // The reader may end before it has read all.
                let _ = send.write_all(&bytes).await;
                let _ = send.finish();
                send
            });
            let (mut own, mut recv) = self.ours.accept_bi().await.unwrap();
            let outcome = match handshake::read_hello(&mut recv).await {
                Err(_) => (Vec::new(), None),
                Ok((_, read)) => self.read(recv, read, budget).await,
            };
            let _ = own.finish();
            let _ = answers.stop(VarInt::from_u32(0));
            drop(written.await);
            outcome
        })
    }

    async fn read(
        &self,
        recv: iroh::endpoint::RecvStream,
        read: usize,
        budget: Option<u32>,
    ) -> (Vec<Vec<u8>>, Option<Ended>) {
        let control = Control::new(budget, Arc::default());
        assert!(control.spend(read), "a Hello is within every budget");
        let (engine, mut inputs) = mpsc::channel(1_024);
        let reader = Reader::new(recv, SessionId(1), engine, self.queue.clone(), control);
        let ended = reader.run().await;
        let mut frames = Vec::new();
        while let Some(input) = inputs.recv().await {
            let Input::Frame { bytes, .. } = input else {
                panic!("{input:?}")
            };
            frames.push(bytes);
        }
        (frames, Some(ended))
    }
}

async fn connect() -> (Connection, Connection, SendStream, [iroh::Endpoint; 2]) {
    let [anna, ben] = [1, 2].map(|seed| Identity::from_seed(&Secret::new([seed; 32])));
    let here = endpoint::bind(&anna, &Interfaces::Loopback).await.unwrap();
    let there = endpoint::bind(&ben, &Interfaces::Loopback).await.unwrap();
    let accepting = here.clone();
    let accepting = tokio::spawn(async move { accepting.accept().await.unwrap().await.unwrap() });
    let theirs = endpoint::dial(&there, anna.peer_id(), &here.bound_sockets())
        .await
        .unwrap();
    let ours = accepting.await.unwrap();
    let (mut send, _) = ours.open_bi().await.unwrap();
    send.write_all(&[0]).await.unwrap();
    let (_, mut pongs) = theirs.accept_bi().await.unwrap();
    // Somebody has to read what we answer.
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok(Some(_)) = pongs.read(&mut buffer).await {}
    });
    (ours, theirs, send, [here, there])
}

/// The same once more, over bytes instead of a stream.
fn expected(bytes: &[u8], budget: Option<u32>) -> (Vec<Vec<u8>>, Option<Ended>) {
    let mut left = budget.map_or(usize::MAX, |budget| usize::try_from(budget).unwrap());
    let (mut frames, mut rest, mut is_first) = (Vec::new(), bytes, true);
    loop {
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else {
            // A peer that has not said a word before it goes has not let us in.
            let ended = if frames.is_empty() {
                Ended::NotAdmitted
            } else {
                Ended::Closed
            };
            return (frames, (!is_first).then_some(ended));
        };
        let Ok(len) = body_len(header) else {
            return (frames, (!is_first).then_some(Ended::Protocol));
        };
        if is_first && len > 512 {
            return (frames, None);
        }
        match left.checked_sub(HEADER + len) {
            Some(after) => left = after,
            None => return (frames, Some(Ended::Budget)),
        }
        if body.len() < len {
            rest = &[];
            continue;
        }
        let (frame, after) = rest.split_at(HEADER + len);
        rest = after;
        match (is_first, link_frame(frame)) {
            (true, Ok(LinkFrame::Hello(_))) => is_first = false,
            (true, _) => return (frames, None),
            (false, Ok(LinkFrame::Ping(_) | LinkFrame::Pong(_))) => {}
            (false, Ok(LinkFrame::Bye(bye))) => return (frames, Some(Ended::Bye(bye))),
            (false, Ok(LinkFrame::Other)) => frames.push(frame.to_vec()),
            (false, Ok(LinkFrame::Hello(_)) | Err(_)) => return (frames, Some(Ended::Protocol)),
        }
    }
}
