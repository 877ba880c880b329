//! Links over real QUIC on loopback: two endpoints in one process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use iroh::{
    Endpoint,
    endpoint::{RecvStream, SendStream},
};
use qpq_core::{
    engine::Purpose,
    identity::Identity,
    secret::Secret,
    wire::{self, Frame, LinkFrame},
};
use tokio::{task::JoinHandle, time::Instant};

use super::*;
use crate::endpoint::{self, Interfaces};

const SESSION: SessionId = SessionId(7);
const OWN: [u8; 8] = [1; 8];

/// Two connected endpoints: ours, and a peer whose end of the connection the test plays by hand.
struct Pair {
    ours: Endpoint,
    theirs: Endpoint,
    accepted: Connection,
    dialed: Connection,
}

impl Pair {
    async fn new() -> Self {
        let (anna, ben) = (identity(1), identity(2));
        let ours = endpoint::bind(&anna, &Interfaces::Loopback).await.unwrap();
        let theirs = endpoint::bind(&ben, &Interfaces::Loopback).await.unwrap();
        let accepting = tokio::spawn({
            let ours = ours.clone();
            async move { ours.accept().await.unwrap().await.unwrap() }
        });
        let dialed = endpoint::dial(&theirs, anna.peer_id(), &ours.bound_sockets())
            .await
            .unwrap();
        Self {
            ours,
            theirs,
            accepted: accepting.await.unwrap(),
            dialed,
        }
    }

    /// A link on our side; the peer said Hello and owns the raw stream.
    async fn linked(budget: Option<u32>, queue: usize) -> Linked {
        let pair = Self::new().await;
        let (mut send, mut recv) = pair.dialed.open_bi().await.unwrap();
        send.write_all(&hello(1, 1)).await.unwrap();
        let opened = handshake::accept(pair.accepted.clone(), own(1), || Duration::ZERO)
            .await
            .unwrap();
        read_frame(&mut recv).await.unwrap();
        let (engine, mut inputs) = mpsc::channel(queue);
        let (link, run) = start(opened, SESSION, Control::new(budget, Arc::default()), engine);
        let run = tokio::spawn(run);
        assert!(matches!(
            inputs.recv().await,
            Some(Input::Connected {
                session: SESSION,
                dialed: false,
                ..
            })
        ));
        Linked {
            link,
            run,
            inputs,
            send,
            recv,
            pair,
        }
    }
}

struct Linked {
    link: Link,
    run: JoinHandle<Ended>,
    inputs: mpsc::Receiver<Input>,
    send: SendStream,
    recv: RecvStream,
    pair: Pair,
}

impl Linked {
    async fn ended(self) -> Ended {
        let Self {
            run,
            mut inputs,
            pair,
            ..
        } = self;
        let drained = tokio::spawn(async move {
            let mut last = None;
            while let Some(input) = inputs.recv().await {
                last = Some(input);
            }
            last
        });
        let ended = deadline(run).await.unwrap();
        let last = deadline(drained).await.unwrap();
        assert!(
            matches!(last, Some(Input::Disconnected { session: SESSION })),
            "{last:?}"
        );
        pair.ours.close().await;
        pair.theirs.close().await;
        ended
    }
}

async fn deadline<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("came within 20 s")
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&Secret::new([seed; 32]))
}

fn own(seed: u8) -> handshake::Own {
    handshake::Own {
        peer: identity(seed).peer_id(),
        session: OWN,
    }
}

fn hello(min: u16, max: u16) -> Vec<u8> {
    Frame::Hello(wire::Hello {
        min,
        max,
        features: 0,
        session: [2; 8],
        purpose: Purpose::Peer,
    })
    .encode()
}

/// A frame for the engine: the union tag of a later version, padded to any size.
fn other(words: usize) -> Vec<u8> {
    let mut frame = Frame::Ping(0).encode();
    // The union discriminant is the first 16 bits of the root struct's data, behind the root pointer.
    frame[wire::HEADER + 8..wire::HEADER + 10].copy_from_slice(&999_u16.to_le_bytes());
    frame.resize(wire::HEADER + words * 8, 0);
    frame[4..8].copy_from_slice(&u32::try_from(words).unwrap().to_le_bytes());
    frame
}

async fn read_frame(recv: &mut RecvStream) -> Option<Vec<u8>> {
    let mut header = [0; wire::HEADER];
    recv.read_exact(&mut header).await.ok()?;
    let mut frame = header.to_vec();
    frame.resize(wire::HEADER + wire::body_len(&header).unwrap(), 0);
    recv.read_exact(&mut frame[wire::HEADER..]).await.ok()?;
    Some(frame)
}

async fn read_until(recv: &mut RecvStream, wanted: impl Fn(&LinkFrame) -> bool) -> LinkFrame {
    deadline(async {
        loop {
            let frame = wire::link_frame(&read_frame(recv).await.expect("the stream goes on")).unwrap();
            if wanted(&frame) {
                return frame;
            }
        }
    })
    .await
}

#[tokio::test]
async fn frames_reach_the_engine_in_order_and_pings_are_answered_here() {
    let mut linked = Pair::linked(None, 256).await;
    for words in [20, 30, 34_816] {
        linked.send.write_all(&other(words)).await.unwrap();
    }
    linked.send.write_all(&Frame::Ping(42).encode()).await.unwrap();
    for words in [20, 30, 34_816] {
        let Some(Input::Frame {
            session: SESSION,
            bytes,
        }) = deadline(linked.inputs.recv()).await
        else {
            panic!("a frame was expected")
        };
        assert_eq!(bytes, other(words));
    }
    read_until(&mut linked.recv, |frame| *frame == LinkFrame::Pong(42)).await;
    linked.link.kill(CloseCode::Done);
    assert_eq!(linked.ended().await, Ended::Closed);
}

#[tokio::test]
async fn what_was_queued_is_sent_before_an_orderly_close() {
    let mut linked = Pair::linked(None, 256).await;
    for nonce in 0..200 {
        linked.link.send(Frame::Pong(nonce).encode());
    }
    linked.link.finish(Some(Bye::Shutdown));
    let mut expected = 0;
    loop {
        match wire::link_frame(&deadline(read_frame(&mut linked.recv)).await.unwrap()).unwrap() {
            LinkFrame::Pong(nonce) => {
                assert_eq!(nonce, expected);
                expected += 1;
            }
            LinkFrame::Bye(reason) => break assert_eq!(reason, Bye::Shutdown),
            LinkFrame::Ping(_) => {}
            frame @ (LinkFrame::Hello(_) | LinkFrame::Other) => panic!("unexpected {frame:?}"),
        }
    }
    assert_eq!(expected, 200);
    assert_eq!(linked.ended().await, Ended::Closed);
}

#[tokio::test]
async fn a_header_of_64_mib_is_refused_before_its_body() {
    let mut linked = Pair::linked(None, 256).await;
    let mut header = [0; wire::HEADER];
    header[4..].copy_from_slice(&(8 * 1024 * 1024_u32).to_le_bytes());
    linked.send.write_all(&header).await.unwrap();
    let before = Instant::now();
    assert_eq!(linked.ended().await, Ended::Protocol);
    assert!(
        before.elapsed() < DEAD,
        "it was the header, not the silence after it"
    );
}

const DEAD: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_stranger_who_sends_more_than_its_budget_is_closed() {
    let mut linked = Pair::linked(Some(STRANGER_BUDGET), 256).await;
    linked.send.write_all(&other(60)).await.unwrap();
    assert!(matches!(
        deadline(linked.inputs.recv()).await,
        Some(Input::Frame { .. })
    ));
    assert!(linked.link.is_limited());
    linked.send.write_all(&other(60)).await.unwrap();
    assert_eq!(
        linked.ended().await,
        Ended::Budget,
        "Hello counts: 2 x 488 bytes do not fit behind it"
    );
}

#[tokio::test]
async fn a_raised_budget_lets_the_same_frame_in() {
    let mut linked = Pair::linked(Some(STRANGER_BUDGET), 256).await;
    linked.link.limit(None);
    for _ in 0..3 {
        linked.send.write_all(&other(100)).await.unwrap();
        assert!(matches!(
            deadline(linked.inputs.recv()).await,
            Some(Input::Frame { .. })
        ));
    }
    assert!(!linked.link.is_limited());
    linked.pair.dialed.close(VarInt::from_u32(0), b"");
    assert_eq!(linked.ended().await, Ended::Closed);
}

#[tokio::test]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let mut linked = Pair::linked(None, 256).await;
    let start = Instant::now();
    read_until(&mut linked.recv, |frame| matches!(frame, LinkFrame::Ping(_))).await;
    assert_eq!(linked.ended().await, Ended::Silent);
    assert!(start.elapsed() > Duration::from_secs(1) && start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_suspect_that_does_not_answer_is_given_up_sooner() {
    let linked = Pair::linked(None, 256).await;
    let start = Instant::now();
    linked.link.probe();
    assert_eq!(linked.ended().await, Ended::Silent);
    assert!(start.elapsed() < DEAD);
}

#[tokio::test]
async fn a_peer_that_answers_pings_lives() {
    let mut linked = Pair::linked(None, 256).await;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let LinkFrame::Ping(nonce) =
            read_until(&mut linked.recv, |frame| matches!(frame, LinkFrame::Ping(_))).await
        else {
            panic!("only Pings were asked for")
        };
        linked.send.write_all(&Frame::Pong(nonce).encode()).await.unwrap();
    }
    assert!(!linked.run.is_finished());
    linked.link.kill(CloseCode::Done);
    assert_eq!(linked.ended().await, Ended::Closed);
}

#[tokio::test]
async fn a_busy_engine_holds_up_the_link_without_ending_it() {
    let mut linked = Pair::linked(None, 1).await;
    for _ in 0..3 {
        linked.send.write_all(&other(20)).await.unwrap();
    }
    // The queue holds one and the reader another: for longer than a silent peer lives nobody takes them.
    let end = Instant::now() + liveness::DEAD_AFTER + Duration::from_millis(500);
    let mut pings = 0;
    while Instant::now() < end {
        read_until(&mut linked.recv, |frame| matches!(frame, LinkFrame::Ping(_))).await;
        pings += 1;
    }
    assert!(pings >= 3, "the peer was told that we live");
    assert!(!linked.run.is_finished());
    for _ in 0..3 {
        assert!(matches!(
            deadline(linked.inputs.recv()).await,
            Some(Input::Frame { .. })
        ));
    }
    linked.link.kill(CloseCode::Done);
    linked.ended().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_link_when_the_queue_is_full() {
    let mut linked = Pair::linked(None, 256).await;
    let frame = other(4_096);
    let mut queued = 0;
    while linked.link.connection.close_reason().is_none() {
        linked.link.send(frame.clone());
        queued += frame.len();
        // What fits into the windows of both ends leaves the queue; the rest must not pile up.
        assert!(queued < 16 * 1024 * 1024, "the queue is not bounded");
        tokio::task::yield_now().await;
    }
    let error = deadline(linked.pair.dialed.closed()).await;
    assert!(CloseCode::Slow.is_reason(&error), "{error:?}");
    linked.recv.stop(VarInt::from_u32(0)).ok();
    assert_eq!(linked.ended().await, Ended::Closed);
}

#[tokio::test]
async fn who_says_no_hello_is_dropped() {
    let pair = Pair::new().await;
    let (mut send, _recv) = pair.dialed.open_bi().await.unwrap();
    send.write_all(&hello(1, 1)[..12]).await.unwrap();
    let start = Instant::now();
    let error = handshake::accept(pair.accepted.clone(), own(1), || Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, handshake::HandshakeError::Timeout), "{error}");
    assert!(start.elapsed() < HELLO_DEADLINE + Duration::from_secs(1));
    assert!(CloseCode::Protocol.is_reason(&deadline(pair.dialed.closed()).await));
}

#[tokio::test]
async fn another_frame_first_is_refused() {
    let pair = Pair::new().await;
    let (mut send, _recv) = pair.dialed.open_bi().await.unwrap();
    send.write_all(&Frame::Ping(1).encode()).await.unwrap();
    let error = handshake::accept(pair.accepted.clone(), own(1), || Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, handshake::HandshakeError::NoHello), "{error}");
}

#[tokio::test]
async fn both_sides_learn_who_is_older() {
    let pair = Pair::new().await;
    let (mut send, mut recv) = pair.dialed.open_bi().await.unwrap();
    send.write_all(&hello(9, 11)).await.unwrap();
    let error = handshake::accept(pair.accepted.clone(), own(1), || Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the other side runs a newer qpq");
    assert!(matches!(
        wire::link_frame(&read_frame(&mut recv).await.unwrap()),
        Ok(LinkFrame::Hello(_))
    ));
    assert!(matches!(
        wire::link_frame(&read_frame(&mut recv).await.unwrap()),
        Ok(LinkFrame::Bye(Bye::Protocol))
    ));
}

#[tokio::test]
async fn who_ends_a_link_before_a_word_does_not_want_us_and_after_one_just_leaves() {
    for (speaks, ended) in [(false, Ended::NotAdmitted), (true, Ended::Closed)] {
        for finishes in [false, true] {
            let mut linked = Pair::linked(None, 256).await;
            if speaks {
                linked.send.write_all(&other(20)).await.unwrap();
                let heard = deadline(linked.inputs.recv()).await;
                assert!(matches!(heard, Some(Input::Frame { .. })));
            }
            if finishes {
                linked.send.finish().unwrap();
            } else {
                CloseCode::Done.close(&linked.pair.dialed);
            }
            assert_eq!(linked.ended().await, ended, "{speaks} {finishes}");
        }
    }
}

#[tokio::test]
async fn a_dialer_that_is_closed_as_a_stranger_knows_it() {
    let pair = Pair::new().await;
    CloseCode::Stranger.close(&pair.accepted);
    let error = handshake::open(pair.dialed.clone(), own(2), Purpose::Peer, || Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, handshake::HandshakeError::NotAdmitted), "{error}");
}

#[tokio::test]
async fn two_of_us_agree_on_who_dialled_and_on_the_channel() {
    let pair = Pair::new().await;
    let (dialed, accepted) = tokio::join!(
        handshake::open(pair.dialed.clone(), own(2), Purpose::Pair, || Duration::ZERO),
        handshake::accept(pair.accepted.clone(), own(1), || Duration::ZERO),
    );
    let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
    assert_eq!(dialed.channel, accepted.channel);
    assert_eq!(accepted.purpose, Purpose::Pair);
    assert_eq!((dialed.dialed, accepted.dialed), (true, false));
    assert_eq!(
        dialed.candidate.dialed_by_smaller,
        accepted.candidate.dialed_by_smaller
    );
}

#[tokio::test]
async fn a_frame_that_drips_in_is_not_waited_for() {
    let mut linked = Pair::linked(None, 256).await;
    let (start, frame) = (Instant::now(), other(4_096));
    for byte in frame.chunks(1) {
        if linked.run.is_finished() || linked.send.write_all(byte).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(linked.ended().await, Ended::Protocol);
    assert!(start.elapsed() >= FRAME_DEADLINE);
}
