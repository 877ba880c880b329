//! A page of the database that is damaged is told as damage, whoever comes upon it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/net.rs"]
mod net;

use net::Net;
use qpq_core::{
    engine::{Engine, Fault, Input, Purpose, SessionId},
    identity::Identity,
    invite::ChannelBinding,
    secret::Secret,
    wire::{Frame, Kind},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

const PAGE: usize = 4_096;

/// A contact is online and writes: the ratchet that opens it is read now.
#[test]
fn damage_in_the_state_of_mls_is_damage_and_no_full_disk() {
    let mut net = Net::pair();
    net.lossy = Box::new(|_, _, frame| matches!(Frame::decode(frame), Ok(Frame::App(_))));
    net.send(1, "anna", &["x"]);
    let app = net.sent(1, Kind::App).pop().unwrap().encode();
    let (peer, now) = (net.id(1), net.now);
    let good = net.copy_disk(0);
    net.crash(0);
    let path = net.peers[0].path.clone();
    let mut met = 0;
    for page in 1..good.len() / PAGE {
        let mut damaged = good.clone();
        damaged[page * PAGE + 1_000] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
        let identity = Identity::from_seed(&Secret::new([51; 32]));
        let rng = Box::new(ChaCha20Rng::seed_from_u64(1));
        let (mut engine, _) = match Engine::open(&path, &Secret::new([1; 32]), identity, rng, now) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(error.is_damage(), "page {page}: {error:?}");
                continue;
            }
        };
        let session = SessionId(1);
        let connected = Input::Connected {
            session,
            peer,
            dialed: false,
            purpose: Purpose::Peer,
            channel: ChannelBinding([7; 32]),
        };
        let bytes = app.clone();
        let handled = engine.handle(connected, now);
        let handled = handled.and_then(|()| engine.handle(Input::Frame { session, bytes }, now));
        if let Err(error) = handled {
            assert_eq!(error.fault(), Fault::Disk, "page {page}: {error:?}");
            assert!(error.is_damage(), "page {page}: {error:?}");
            met += usize::from(matches!(
                error,
                qpq_core::engine::HandleError::Group(_) | qpq_core::engine::HandleError::Message(_)
            ));
        }
    }
    assert!(met > 0, "no page held the state of MLS");
}
