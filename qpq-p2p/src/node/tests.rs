//! Drivers that talk over real QUIC and mDNS on loopback; the tests play their engines.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

use std::{thread, time::Duration};

use qpq_core::{
    card::LanKey,
    engine::{Directory, Purpose, SessionId},
    id::PeerId,
    invite::ChannelBinding,
    secret::Secret,
    wire::{self, Frame, LinkFrame},
};
use tokio::time::Instant;

use super::{
    ways::{LastTry, PathKind, Way},
    *,
};
use crate::{
    lan::tests::free_port,
    link::{
        CloseCode,
        handshake::{self, HandshakeError},
    },
};

mod contact_ways;
mod door;

struct Player {
    id: PeerId,
    inputs: mpsc::Receiver<Input>,
    outputs: mpsc::UnboundedSender<FromEngine>,
    nameplates: LanHandle,
    events: broadcast::Receiver<Event>,
    questions: mpsc::Sender<Question>,
    endpoint: Endpoint,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What an engine remembers of a `Connected`.
#[derive(Debug, Clone, Copy)]
struct Met {
    session: SessionId,
    peer: PeerId,
    purpose: Purpose,
    channel: ChannelBinding,
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&Secret::new([seed; 32]))
}

fn id_of(seed: u8) -> PeerId {
    identity(seed).peer_id()
}

impl Player {
    async fn start(seed: u8, mdns_port: u16, directory: Directory) -> Self {
        let settings = NetworkSettings {
            interfaces: Interfaces::Loopback,
            mdns_port,
        };
        let own_side = OwnSide {
            endpoint: endpoint::bind(&identity(seed), &settings.interfaces)
                .await
                .unwrap(),
            own: Own {
                peer: id_of(seed),
                session: [seed; 8],
            },
            own_name: "player".to_owned(),
            settings,
            clock: clock::system(),
        };
        let endpoint = own_side.endpoint.clone();
        let (engine, inputs) = mpsc::channel(QUEUE);
        let (outputs, outputs_out) = mpsc::unbounded_channel();
        let side = EngineSide {
            worker: Worker::new(thread::spawn(|| {}), Arc::default(), engine.clone()),
            engine,
            outputs: outputs_out,
            replies: Replies::default(),
        };
        let (questions, asked) = mpsc::channel(ARRIVALS);
        let (driver, nameplates, events) = assemble(own_side, side, asked);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(driver.run(stopped));
        let player = Self {
            id: id_of(seed),
            inputs,
            outputs,
            nameplates,
            events: events.subscribe(),
            questions,
            endpoint,
            stop,
            task,
        };
        player.wants(Output::Directory(directory));
        player
    }

    fn wants(&self, output: Output) {
        self.outputs.send(FromEngine::Outputs(vec![output])).unwrap();
    }

    fn sends(&self, session: SessionId, frame: Vec<u8>) {
        self.wants(Output::Send { session, frame });
    }

    async fn input(&mut self) -> Input {
        let input = tokio::time::timeout(Duration::from_secs(20), self.inputs.recv()).await;
        input.expect("an input came within 20 s").unwrap()
    }

    async fn connected(&mut self) -> Met {
        loop {
            if let Input::Connected {
                session,
                peer,
                purpose,
                channel,
                ..
            } = self.input().await
            {
                return Met {
                    session,
                    peer,
                    purpose,
                    channel,
                };
            }
        }
    }

    /// `None`: the driver has not heard of them yet.
    async fn way_to(&self, peer: PeerId) -> Option<Way> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.unwrap();
        answer.await.unwrap().peers.get(&peer).copied()
    }

    /// Waits until the way to somebody is such.
    async fn sees(&self, peer: PeerId, such: impl Fn(&Way) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let way = self.way_to(peer).await;
            if way.as_ref().is_some_and(&such) {
                return;
            }
            assert!(Instant::now() < end, "{way:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn disconnected(&mut self) -> SessionId {
        loop {
            if let Input::Disconnected { session } = self.input().await {
                return session;
            }
        }
    }

    /// Counts the frames that come until a link ends.
    async fn frames_before_the_end(&mut self, of: SessionId) -> usize {
        let mut frames = 0;
        loop {
            let input = self.input().await;
            if matches!(input, Input::Disconnected { session } if session == of) {
                return frames;
            }
            assert!(matches!(input, Input::Frame { .. }), "{input:?}");
            frames += 1;
        }
    }

    /// Sends on the newest session until the other one has got a frame on its newest: crossing dials may
    /// replace a link or two before one stays.
    async fn reaches(&mut self, other: &mut Self, mut mine: Met) {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            self.wants(Output::Send {
                session: mine.session,
                frame: app_frame(),
            });
            let got = tokio::time::timeout(Duration::from_millis(100), other.inputs.recv()).await;
            if let Ok(Some(Input::Frame { bytes, .. })) = got {
                assert_eq!(bytes, app_frame());
                return;
            }
            while let Ok(input) = self.inputs.try_recv() {
                if let Input::Connected {
                    session,
                    peer,
                    purpose,
                    channel,
                    ..
                } = input
                {
                    mine = Met {
                        session,
                        peer,
                        purpose,
                        channel,
                    };
                }
            }
        }
        panic!("no frame arrived");
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A frame that only engines read.
fn app_frame() -> Vec<u8> {
    let mut frame = Frame::Ping(7).encode();
    frame[wire::HEADER + 8..wire::HEADER + 10].copy_from_slice(&999_u16.to_le_bytes());
    assert!(matches!(wire::link_frame(&frame), Ok(LinkFrame::Other)));
    frame
}

fn directory(own: u8, known: &[u8]) -> Directory {
    let known = known
        .iter()
        .map(|seed| (id_of(*seed), Some(LanKey([*seed; 32]))))
        .collect();
    Directory {
        known,
        ..Directory::new(LanKey([own; 32]))
    }
}

#[tokio::test]
async fn contacts_find_each_other_and_come_back_after_a_lost_engine() {
    let port = free_port();
    let mut anna = Player::start(1, port, directory(1, &[2])).await;
    let mut ben = Player::start(2, port, directory(2, &[1])).await;
    let met = anna.connected().await;
    assert_eq!((met.peer, met.purpose), (ben.id, Purpose::Peer));
    assert_eq!(ben.connected().await.peer, anna.id);
    anna.reaches(&mut ben, met).await;

    anna.outputs.send(FromEngine::Lost).unwrap();
    ben.disconnected().await;
    anna.outputs.send(FromEngine::Reopened(Vec::new())).unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), anna.events.recv()).await;
    assert_eq!(told.unwrap().unwrap(), Event::Reopened);
    let met = anna.connected().await;
    anna.reaches(&mut ben, met).await;

    anna.end().await;
    ben.disconnected().await;
    ben.end().await;
}

/// Ben has found Anna by the nameplate of her invite, and has dialled her to join.
async fn inviter_and_joiner() -> ((Player, Met), (Player, Met)) {
    let port = free_port();
    let nameplate = Nameplate::try_from(17).unwrap();
    let inviting = Directory {
        inviting: Some(nameplate),
        ..directory(1, &[])
    };
    let looking = Directory {
        looking_for: Some(nameplate),
        ..directory(2, &[])
    };
    let mut anna = Player::start(1, port, inviting).await;
    let mut ben = Player::start(2, port, looking).await;
    let Input::Advert {
        peer,
        nameplate: found,
    } = ben.input().await
    else {
        panic!("an advert was expected")
    };
    assert_eq!((peer, found), (anna.id, nameplate));
    assert_eq!(ben.nameplates.nameplates(), BTreeSet::from([nameplate]));
    ben.wants(Output::Dial {
        peer,
        purpose: Purpose::Pair,
    });
    let (at_anna, at_ben) = (anna.connected().await, ben.connected().await);
    ((anna, at_anna), (ben, at_ben))
}

#[tokio::test]
async fn a_joiner_reaches_the_inviter_and_both_know_the_channel() {
    let ((mut anna, at_anna), (ben, at_ben)) = inviter_and_joiner().await;
    assert_eq!(at_anna.channel, at_ben.channel);
    assert_eq!((at_anna.peer, at_anna.purpose), (ben.id, Purpose::Pair));
    // Anna's kilobyte holds for some frames; what comes beyond it ends the link.
    for _ in 0..40 {
        ben.sends(at_ben.session, app_frame());
    }
    assert!(anna.frames_before_the_end(at_anna.session).await < 40);
    anna.end().await;
    ben.end().await;
}

#[tokio::test]
async fn who_is_dialled_to_join_has_proved_nothing_and_may_send_a_kilobyte_too() {
    let ((anna, at_anna), (mut ben, at_ben)) = inviter_and_joiner().await;
    for _ in 0..40 {
        anna.sends(at_anna.session, app_frame());
    }
    assert!(ben.frames_before_the_end(at_ben.session).await < 40);
    anna.end().await;
    ben.end().await;
}

#[tokio::test]
async fn who_was_asked_to_be_a_contact_has_room_for_the_answer_and_no_more() {
    let port = free_port();
    let waiting = Directory {
        known: [(id_of(2), None)].into(),
        ..directory(1, &[])
    };
    let mut anna = Player::start(1, port, waiting.clone()).await;
    let mut ben = Player::start(2, port, directory(2, &[1])).await;
    let (at_anna, at_ben) = (anna.connected().await, ben.connected().await);
    // A new directory, and a sign that the driver has read it.
    anna.wants(Output::Directory(waiting));
    anna.wants(Output::WakeAt(Duration::ZERO));
    assert!(matches!(anna.input().await, Input::Tick));
    let mut answer = app_frame();
    answer.resize(wire::HEADER + 60 * 1_024, 0);
    answer[4..wire::HEADER].copy_from_slice(&(60 * 128_u32).to_le_bytes());
    ben.sends(at_ben.session, answer.clone());
    assert!(matches!(anna.input().await, Input::Frame { .. }));
    ben.sends(at_ben.session, answer);
    assert_eq!(anna.disconnected().await, at_anna.session);
    anna.end().await;
    ben.end().await;
}

#[tokio::test]
async fn a_stranger_is_closed_and_the_engine_hears_nothing() {
    let port = free_port();
    // Ben knows Anna by an old card; Anna does not know Ben.
    let mut anna = Player::start(1, port, directory(1, &[])).await;
    let mut ben = Player::start(2, port, directory(2, &[1])).await;
    let quiet = tokio::time::timeout(Duration::from_secs(2), async {
        tokio::select! { input = anna.inputs.recv() => input, input = ben.inputs.recv() => input }
    });
    assert!(quiet.await.is_err());
    // Once Anna adds Ben, she recognises the record that she has seen all the time.
    anna.wants(Output::Directory(directory(1, &[2])));
    assert_eq!(anna.connected().await.peer, ben.id);
    anna.end().await;
    ben.end().await;
}

#[tokio::test]
async fn a_dial_without_an_address_fails_at_once() {
    let mut anna = Player::start(1, free_port(), directory(1, &[])).await;
    anna.wants(Output::Dial {
        peer: id_of(9),
        purpose: Purpose::Pair,
    });
    let Input::DialFailed { peer } = anna.input().await else {
        panic!("a failure was expected")
    };
    assert_eq!(peer, id_of(9));
    anna.end().await;
}

#[tokio::test]
async fn the_engine_is_woken_when_it_asked_for_it() {
    let mut anna = Player::start(1, free_port(), directory(1, &[])).await;
    anna.wants(Output::WakeAt(Duration::ZERO));
    assert!(matches!(anna.input().await, Input::Tick));
    anna.end().await;
}
