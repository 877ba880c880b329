//! Strangers at the door: nobody reads what they say, nothing is stored for them, and with an invite open they
//! get one kilobyte.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use iroh::endpoint::{Connection, ConnectionError, VarInt};
use qpq_core::{
    id::PeerId,
    wire::{Frame, HEADER},
};

use crate::{
    PATIENCE,
    enemy::{Forger, Frames, Stranger, close_code, hello},
    file, id,
    people::{Person, Running, anna_and_ben, code_of, meet, object, text},
    soon,
};

/// `CloseCode::Stranger` and `CloseCode::Protocol` as they are on the wire.
const STRANGER: u64 = 1;
const PROTOCOL: u64 = 3;

/// How a refused connection looked from outside.
struct Refused {
    /// From the connection being made to its end.
    took: Duration,
    code: u64,
}

/// Dials, says all that fits into 64 KiB at once, and waits for the end.
async fn knock(stranger: &Stranger, peer: PeerId, port: u16) -> Refused {
    let refused = |took, error: &ConnectionError| Refused {
        took,
        code: close_code(error),
    };
    let connection = match stranger.dial(peer, port).await {
        Ok(connection) => connection,
        // Closed before it was made at this end.
        Err(error) => return refused(Duration::ZERO, &error),
    };
    let made = Instant::now();
    let (send, recv) = match connection.open_bi().await {
        Ok(stream) => stream,
        Err(error) => return refused(made.elapsed(), &error),
    };
    let mut frames = Frames { send, recv };
    let mut bytes = hello();
    while bytes.len() < 64 * 1024 {
        bytes.extend(Frame::Ping(1).encode());
    }
    frames.post(&bytes[..64 * 1024]).await;
    assert_eq!(frames.next().await, None, "a stranger was answered");
    let end = soon("the end of a stranger's connection", connection.closed()).await;
    let took = made.elapsed();
    let seen = connection.stats().frame_rx;
    // Reading would have moved the window of the stream, answering would have sent on it.
    assert_eq!((seen.stream, seen.max_data, seen.max_stream_data), (0, 0, 0));
    refused(took, &end)
}

/// Everything in a database, and when it was last written.
fn contents(person: &Person) -> Vec<(Vec<u8>, std::time::SystemTime)> {
    let of = |name: &str| {
        let path = file(person, name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        (fs::read(path).unwrap(), modified)
    };
    ["qpq.db", "qpq.db-wal"].map(of).into()
}

/// Lines that the engine, or a link to it, wrote into a log.
fn engine_lines(log: &Path) -> usize {
    let log = fs::read_to_string(log).unwrap();
    let told = |line: &&str| line.contains("qpq_core") || line.contains(" link");
    log.lines().filter(told).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_closed_at_once_unread_and_the_engine_never_hears_of_it() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let log = ben.home.path().join("log");
    let mut command = ben.command(&["listen", "--json", "--timeout", "90s"]);
    command
        .env("QPQ_LOG", "qpq_core=trace,qpq_p2p=trace")
        .stderr(File::create(&log).unwrap());
    let mut listen = Running::spawn(&mut command);
    // Who is announced has opened his profile and stored what was due.
    let port = Forger::on(ben.mdns_port).find(|_| true).await.get_port();
    let (before, lines) = (contents(&ben), engine_lines(&log));
    let (stranger, peer) = (Stranger::new().await, id(&ben));

    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let refused = knock(&stranger, peer, port).await;
        assert_eq!(refused.code, STRANGER);
        fastest = fastest.min(refused.took);
    }
    assert!(fastest < Duration::from_millis(100), "closed after {fastest:?}");
    assert!(before == contents(&ben), "a stranger changed the database");
    assert_eq!(engine_lines(&log), lines);

    // A contact is read, stored and told.
    text(anna.run(&["send", "ben", "hi", "--timeout", "30s"]), 0);
    assert_eq!(object(&listen.line())["text"], "hi");
    assert!(before != contents(&ben));
    assert!(engine_lines(&log) > lines);
    listen.kill();
}

/// Anna with an open invite, and where she is.
struct Open {
    invite: Running,
    code: String,
    peer: PeerId,
    port: u16,
}

impl Open {
    async fn of(anna: &Person) -> Self {
        let mut invite = anna.start(&["invite", "--json", "--timeout", "120s"]);
        let code = code_of(&invite.line());
        let record = Forger::on(anna.mdns_port)
            .find(|service| service.get_property_val_str("n").is_some())
            .await;
        Self {
            invite,
            code,
            peer: id(anna),
            port: record.get_port(),
        }
    }

    async fn dial(&self, stranger: &Stranger) -> (Connection, Frames) {
        let connection = stranger.dial(self.peer, self.port).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        (connection, Frames { send, recv })
    }

    /// The largest that the process ever was in memory, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.invite.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The invite has all its guesses, and an honest joiner is let in.
    fn still_admits(mut self, ben: &Person) {
        text(ben.run(&["join", &self.code, "--timeout", "30s"]), 0);
        let joined = object(&self.invite.line());
        assert_eq!(
            (&joined["type"], &joined["name"]),
            (&"joined".into(), &"ben".into())
        );
        self.invite.ended(0);
    }
}

/// The header of a frame of 64 MiB.
fn enormous() -> Vec<u8> {
    let words: u32 = 64 * 1024 * 1024 / 8;
    [[0; 4], words.to_le_bytes()].concat()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_megabytes_are_refused_and_cost_no_memory() {
    let (anna, ben) = anna_and_ben();
    let open = Open::of(&anna).await;
    let stranger = Stranger::new().await;
    let announce = async |after_hello: bool| {
        let (connection, mut frames) = open.dial(&stranger).await;
        if after_hello {
            frames.post(&hello()).await;
            assert!(frames.next().await.is_some());
        }
        frames.post(&enormous()).await;
        // Some of what was announced, so that memory for it would be touched.
        frames.post(&[0; 4096]).await;
        let end = soon("the end after an enormous header", connection.closed()).await;
        assert_eq!(close_code(&end), PROTOCOL);
    };
    // What the first connections need is needed once.
    for _ in 0..20 {
        let (connection, mut frames) = open.dial(&stranger).await;
        frames.post(&hello()).await;
        assert!(frames.next().await.is_some());
        connection.close(VarInt::from_u32(0), b"");
    }
    let (before, started) = (open.peak_kib(), Instant::now());
    for n in 0..200 {
        announce(n % 2 == 0).await;
        // Judged by the header: waiting for more would take two seconds each.
        assert!(started.elapsed() < PATIENCE, "only {n} were judged in time");
    }
    let grown = open.peak_kib() - before;
    assert!(grown < 4 * 1024, "grown by {grown} KiB");
    open.still_admits(&ben);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_never_ends_is_ended() {
    let (anna, ben) = anna_and_ben();
    let open = Open::of(&anna).await;
    let stranger = Stranger::new().await;
    let (connection, mut frames) = open.dial(&stranger).await;
    // 480 bytes are a long Hello, but one that may be.
    frames.post(&[[0; 4], 60_u32.to_le_bytes()].concat()).await;
    let mut dripped = 0;
    let dripping = async {
        let mut drip = tokio::time::interval(Duration::from_millis(50));
        while dripped < 400 {
            drip.tick().await;
            frames.post(&[0]).await;
            dripped += 1;
        }
    };
    let started = Instant::now();
    let end = tokio::select! {
        end = connection.closed() => end,
        () = dripping => panic!("nobody minded"),
    };
    assert_eq!(close_code(&end), PROTOCOL);
    // The deadline of two seconds, and not one that each byte renews.
    assert!(started.elapsed() < Duration::from_secs(10));
    open.still_admits(&ben);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_read_for_one_kilobyte_and_not_for_more() {
    let (anna, ben) = anna_and_ben();
    let open = Open::of(&anna).await;
    let stranger = Stranger::new().await;

    // Each Ping that is read is answered. What fits is answered to the last, and one more ends it.
    let (connection, mut frames) = open.dial(&stranger).await;
    let ping = Frame::Ping(1).encode();
    let fits = (1_024 - hello().len()) / ping.len();
    frames.post(&[hello(), ping.repeat(fits)].concat()).await;
    for _ in 0..=fits {
        let frame = soon("an answer", frames.next()).await.unwrap();
        assert!(matches!(
            Frame::decode(&frame),
            Ok(Frame::Hello(_) | Frame::Pong(1))
        ));
    }
    frames.post(&ping).await;
    assert_eq!(soon("the end of the answers", frames.next()).await, None);
    let end = soon("the end", connection.closed()).await;
    assert_eq!(close_code(&end), PROTOCOL);

    // Frames that no version has, bytes that are no frame, and half of one.
    let mut unknown = ping;
    unknown[HEADER + 8..HEADER + 10].copy_from_slice(&999_u16.to_le_bytes());
    for junk in [unknown.repeat(1_000), vec![0xff; 2_048], vec![0; 2_048]] {
        let (connection, mut frames) = open.dial(&stranger).await;
        frames.post(&[hello(), junk].concat()).await;
        let end = soon("the end after junk", connection.closed()).await;
        assert!([0, PROTOCOL].contains(&close_code(&end)));
        connection.close(VarInt::from_u32(0), b"");
    }
    open.still_admits(&ben);
}
