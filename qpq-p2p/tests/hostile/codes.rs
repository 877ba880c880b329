//! Guessing codes, and posing as whoever waits under one.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use iroh::endpoint::Connection;
use qpq_core::{
    identity::Identity,
    invite::{Code, Ends, Inviter},
    wire::{Frame, PairStart},
};
use qpq_p2p::endpoint;
use rand_core::OsRng;

use crate::{
    assert_knows_nobody, chats,
    enemy::{Forger, Frames, Stranger, hello},
    id,
    people::{Person, Running, anna_and_ben, code_of, free_port, object, text},
};

/// Codes under the same nameplate that are not this one.
fn wrong_codes(code: &str) -> impl Iterator<Item = String> {
    let nameplate = code.split_once('-').unwrap().0;
    let all = ["violin", "anchor", "guitar", "harp"].map(|word| format!("{nameplate}-otter-{word}"));
    all.into_iter().filter(move |wrong| *wrong != code)
}

#[test]
fn three_wrong_codes_end_the_invite_and_the_right_one_comes_too_late() {
    let (anna, ben) = anna_and_ben();
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    let mut tried = 0;
    for wrong in wrong_codes(&code).take(3) {
        let output = ben.run(&["join", &wrong, "--json", "--timeout", "20s"]);
        let error = object(std::str::from_utf8(&output.stderr).unwrap());
        assert_eq!(
            (&error["code"], &error["exit"]),
            (&"wrong_code".into(), &5.into())
        );
        assert_eq!(text(output, 5), "");
        tried += 1;
        if tried < 3 {
            let failed = object(&invite.line());
            assert_eq!(
                (&failed["type"], &failed["left"]),
                (&"guess_failed".into(), &(3 - tried).into())
            );
        }
    }
    assert_eq!(tried, 3);
    let output = invite.output();
    let error = object(std::str::from_utf8(&output.stderr).unwrap());
    assert_eq!(error["code"], "guesses_spent");
    assert_eq!(text(output, 5), "");
    text(ben.run(&["join", &code, "--timeout", "1s"]), 4);
    assert_knows_nobody(&anna);
    assert_knows_nobody(&ben);
}

/// How somebody answers who does not know the code.
#[derive(Debug, Clone, Copy)]
enum Lie {
    /// 33 bytes that may be no point of the curve.
    Noise,
    /// The true protocol with other words.
    OtherWords,
    /// Bytes that are no frame.
    NoFrame,
    /// Nothing.
    HangUp,
}

const LIES: [Lie; 4] = [Lie::Noise, Lie::OtherWords, Lie::NoFrame, Lie::HangUp];

/// Answers every pairing on every connection, and counts what it may guess at.
async fn lie(liar: Stranger, lie: Lie, starts: Arc<AtomicUsize>) {
    while let Some(connection) = liar.accept().await {
        let (liar, starts) = (liar.clone(), Arc::clone(&starts));
        tokio::spawn(async move {
            let Ok((send, recv)) = connection.accept_bi().await else {
                return;
            };
            let mut frames = Frames { send, recv };
            frames.post(&hello()).await;
            while let Some(frame) = frames.next().await {
                if let Ok(Frame::PairStart(start)) = Frame::decode(&frame) {
                    starts.fetch_add(1, Ordering::SeqCst);
                    answer(&mut frames, lie, &start, &liar, &connection).await;
                }
            }
        });
    }
}

async fn answer(frames: &mut Frames, lie: Lie, start: &PairStart, liar: &Stranger, connection: &Connection) {
    let PairStart::Code { nameplate, spake } = start else {
        return;
    };
    let spake = match lie {
        Lie::Noise => vec![0x42; 33],
        Lie::OtherWords => {
            let guess = Code::generate(*nameplate, &mut OsRng);
            let ends = Ends {
                inviter: liar.id,
                joiner: endpoint::peer_of(connection),
                channel: endpoint::channel_binding(connection).unwrap(),
            };
            let (_, spake) = Inviter::reply(&guess, ends, spake, &mut OsRng).unwrap();
            spake
        }
        Lie::NoFrame => return frames.post(&[0xff; 64]).await,
        Lie::HangUp => return connection.close(0_u32.into(), b""),
    };
    frames.post(&Frame::PairReply { spake }.encode()).await;
    // Whatever the joiner's proof was, this is none.
    frames.post(&Frame::PairProof { mac: [0x42; 32] }.encode()).await;
}

/// Sixty records under one nameplate: every fourth leads to a liar, the others to nobody.
struct Crowd {
    _forger: Forger,
    _nobody: UdpSocket,
    starts: Arc<AtomicUsize>,
}

impl Crowd {
    async fn gather(mdns_port: u16, nameplate: &str) -> Self {
        let forger = Forger::on(mdns_port);
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let starts = Arc::new(AtomicUsize::new(0));
        for n in 0..60 {
            if n % 4 == 0 {
                let liar = Stranger::new().await;
                forger.claim(nameplate, liar.id, liar.port());
                tokio::spawn(lie(liar, LIES[n / 4 % LIES.len()], Arc::clone(&starts)));
            } else {
                let dead = Identity::generate(&mut OsRng).peer_id();
                forger.claim(nameplate, dead, nobody.local_addr().unwrap().port());
            }
        }
        Self {
            _forger: forger,
            _nobody: nobody,
            starts,
        }
    }

    fn guesses(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_forged_inviters_get_three_guesses_and_no_contact() {
    let ben = Person::new("ben", free_port());
    let crowd = Crowd::gather(ben.mdns_port, "4").await;
    let output = ben.run(&["join", "4-otter-violin", "--json", "--timeout", "60s"]);
    let error = object(std::str::from_utf8(&output.stderr).unwrap());
    assert_eq!(error["code"], "guesses_spent");
    text(output, 5);
    assert_eq!(crowd.guesses(), 3);
    assert_knows_nobody(&ben);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_sixty_forged_inviters_only_the_true_one_can_become_a_contact() {
    let (anna, ben) = anna_and_ben();
    let mut invite: Running = anna.start(&["invite", "--json", "--timeout", "90s"]);
    let code = code_of(&invite.line());
    let crowd = Crowd::gather(ben.mdns_port, code.split_once('-').unwrap().0).await;
    let output = ben.run(&["join", &code, "--json", "--timeout", "60s"]);
    assert!(crowd.guesses() <= 3, "{} guesses", crowd.guesses());
    if output.status.code() == Some(0) {
        // She was among the first three.
        assert!(crowd.guesses() < 3);
        assert_eq!(object(&invite.ended(0))["name"], "ben");
        let met: Vec<_> = chats(&ben).into_iter().map(|chat| chat.members).collect();
        assert_eq!(met, [[id(&anna)]]);
    } else {
        text(output, 5);
        invite.kill();
        assert_knows_nobody(&anna);
        assert_knows_nobody(&ben);
    }
}
