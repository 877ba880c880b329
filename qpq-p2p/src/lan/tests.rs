//! Discovery between real mDNS daemons on loopback, on ports of their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use qpq_core::card::LanKey;
use tokio::time::Instant;

use super::*;

const ANNA: PeerId = PeerId([1; 32]);
const BEN: PeerId = PeerId([2; 32]);

struct Station {
    lan: Lan,
    directory: watch::Sender<Option<Arc<Directory>>>,
    seen: mpsc::Receiver<News>,
    inputs: mpsc::Receiver<Input>,
}

impl Station {
    fn start(own: PeerId, udp_port: u16, mdns_port: u16, directory: Directory) -> Self {
        let (sender, receiver) = watch::channel(Some(Arc::new(directory)));
        let (seen_sender, seen) = mpsc::channel(64);
        let (engine, inputs) = mpsc::channel(64);
        let options = LanOptions {
            interfaces: Interfaces::Loopback,
            mdns_port,
            ports: Ports {
                v4: Some(udp_port),
                v6: None,
            },
            own,
            own_name: "anna".to_owned(),
        };
        Self {
            lan: Lan::start(options, receiver, seen_sender, engine),
            directory: sender,
            seen,
            inputs,
        }
    }

    async fn stop(self) {
        drop(self.directory);
        self.lan.stopped().await;
    }
}

fn key_of(peer: PeerId) -> LanKey {
    LanKey(peer.0)
}

fn directory(own: PeerId, known: &[PeerId]) -> Directory {
    let known: BTreeMap<_, _> = known.iter().map(|peer| (*peer, Some(key_of(*peer)))).collect();
    Directory {
        own_lan_key: key_of(own),
        known,
        inviting: None,
        looking_for: None,
    }
}

pub(super) async fn deadline<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("came within 20 s")
}

/// A UDP port that nobody uses: a network of its own, where mDNS is concerned.
pub(crate) fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Waits for something that no channel tells.
pub(super) async fn eventually(mut condition: impl FnMut() -> bool) {
    deadline(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn contacts_see_each_other_and_strangers_see_nobody() {
    let port = free_port();
    let mut anna = Station::start(ANNA, 4_001, port, directory(ANNA, &[BEN]));
    let mut ben = Station::start(BEN, 4_002, port, directory(BEN, &[ANNA]));
    let mut eve = Station::start(PeerId([3; 32]), 4_003, port, directory(PeerId([3; 32]), &[]));
    assert_eq!(deadline(anna.seen.recv()).await, Some(News::Contact(BEN)));
    assert_eq!(deadline(ben.seen.recv()).await, Some(News::Contact(ANNA)));
    assert_eq!(anna.lan.addresses_of(BEN), ["127.0.0.1:4002".parse().unwrap()]);
    assert_eq!(ben.lan.addresses_of(ANNA), ["127.0.0.1:4001".parse().unwrap()]);
    assert_eq!(eve.lan.addresses_of(ANNA), []);
    assert!(eve.seen.try_recv().is_err());
    // Eve gets Anna's card: the record that she saw long ago is recognised at once.
    eve.directory
        .send_replace(Some(Arc::new(directory(PeerId([3; 32]), &[ANNA]))));
    assert_eq!(deadline(eve.seen.recv()).await, Some(News::Contact(ANNA)));
    for station in [anna, ben, eve] {
        station.stop().await;
    }
}

#[tokio::test]
async fn a_joiner_finds_the_inviter_by_the_nameplate_and_only_while_it_waits() {
    let port = free_port();
    let nameplate = Nameplate::try_from(4).unwrap();
    let anna = Station::start(ANNA, 4_011, port, directory(ANNA, &[]));
    let mut ben = Station::start(BEN, 4_012, port, directory(BEN, &[]));
    ben.directory.send_replace(Some(Arc::new(Directory {
        looking_for: Some(nameplate),
        ..directory(BEN, &[])
    })));
    let inviting = Directory {
        inviting: Some(nameplate),
        ..directory(ANNA, &[])
    };
    anna.directory.send_replace(Some(Arc::new(inviting)));
    match deadline(ben.inputs.recv()).await {
        Some(Input::Advert {
            peer: ANNA,
            nameplate: seen,
        }) if seen == nameplate => {}
        other => panic!("an advert of Anna was expected, not {other:?}"),
    }
    assert_eq!(ben.lan.addresses_of(ANNA), ["127.0.0.1:4011".parse().unwrap()]);
    assert_eq!(
        ben.lan.nameplates_handle().nameplates(),
        BTreeSet::from([nameplate])
    );
    anna.directory.send_replace(Some(Arc::new(directory(ANNA, &[]))));
    eventually(|| ben.lan.nameplates_handle().nameplates().is_empty()).await;
    anna.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn a_claimant_is_reported_again_with_each_new_address_and_only_then() {
    let (port, nameplate) = (free_port(), Nameplate::try_from(4).unwrap());
    let looking = Directory {
        looking_for: Some(nameplate),
        ..directory(BEN, &[])
    };
    let mut ben = Station::start(BEN, 4_042, port, looking);
    let inviter = ServiceDaemon::new_with_port(port).unwrap();
    inviter.disable_interface(IfKind::All).unwrap();
    inviter.enable_interface(IfKind::LoopbackV4).unwrap();
    let claims = |peer: PeerId, name: &str, udp_port: u16| {
        let txt = [("n", nameplate.to_string()), ("id", peer.to_text())];
        let mut service = ServiceInfo::new(SERVICE, name, &format!("{name}.local."), "", udp_port, &txt[..])
            .unwrap()
            .enable_addr_auto();
        service.set_requires_probe(false);
        inviter.register(service).unwrap();
    };
    for (peer, name, udp_port, reported) in [
        (ANNA, "first", 4_041, true),
        (ANNA, "second", 4_043, true),
        (ANNA, "third", 4_043, false),
        (PeerId([3; 32]), "other", 4_044, true),
    ] {
        claims(peer, name, udp_port);
        if reported {
            let input = deadline(ben.inputs.recv()).await;
            assert!(
                matches!(input, Some(Input::Advert { peer: seen, .. }) if seen == peer),
                "{name}: {input:?}"
            );
        }
    }
    inviter.shutdown().unwrap();
    ben.stop().await;
}

/// mDNS lets each record be multicast only once a second, so that a question may get no answer, or one
/// without the TXT record.
#[tokio::test]
async fn an_inviter_is_found_at_once_whenever_the_joiner_comes() {
    let nameplate = Nameplate::try_from(4).unwrap();
    let find = |late: u64| async move {
        let port = free_port();
        let anna = Station::start(ANNA, 4_031, port, directory(ANNA, &[]));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let inviting = Directory {
            inviting: Some(nameplate),
            ..directory(ANNA, &[])
        };
        anna.directory.send_replace(Some(Arc::new(inviting)));
        tokio::time::sleep(Duration::from_millis(late)).await;
        let looking = Directory {
            looking_for: Some(nameplate),
            ..directory(BEN, &[])
        };
        let mut ben = Station::start(BEN, 4_032, port, looking);
        let came = Instant::now();
        deadline(ben.inputs.recv()).await.unwrap();
        anna.stop().await;
        ben.stop().await;
        came.elapsed()
    };
    let found = tokio::join!(find(0), find(900), find(1_850), find(2_000), find(2_500));
    let slowest = [found.0, found.1, found.2, found.3, found.4].into_iter().max();
    // Who is missed by the first question waits for the ones after one and two seconds more.
    assert!(slowest < Some(Duration::from_millis(1_900)), "{found:?}");
}

/// Threads of mDNS daemons in this process.
#[cfg(target_os = "linux")]
fn daemon_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while we look.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("mDNS")).count()
}

#[tokio::test]
async fn a_contact_is_found_during_a_flood_of_forged_services() {
    let port = free_port();
    let mut ben = Station::start(BEN, 4_022, port, directory(BEN, &[ANNA]));
    let forger = ServiceDaemon::new_with_port(port).unwrap();
    forger.disable_interface(IfKind::All).unwrap();
    forger.enable_interface(IfKind::LoopbackV4).unwrap();
    for i in 0..3_000_u32 {
        let token = LanKey([9; 32]).token([u8::try_from(i % 256).unwrap(); 8]);
        let txt = [("t", qpq_core::base32::encode(&token))];
        let name = format!("forged{i}");
        let mut service = ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), "", 9, &txt[..])
            .unwrap()
            .enable_addr_auto();
        service.set_requires_probe(false);
        while forger.register(service.clone()).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let anna = Station::start(ANNA, 4_021, port, directory(ANNA, &[]));
    assert_eq!(deadline(ben.seen.recv()).await, Some(News::Contact(ANNA)));
    assert_eq!(ben.lan.addresses_of(ANNA), ["127.0.0.1:4021".parse().unwrap()]);
    assert!(lock(&ben.lan.table).len() > 100, "the flood came through");
    assert!(lock(&ben.lan.table).len() <= table::ENTRIES);
    // Two of Anna's, two of Ben's, however often they were replaced, and the forger's.
    #[cfg(target_os = "linux")]
    eventually(|| daemon_threads() <= 5).await;
    forger.shutdown().unwrap();
    anna.stop().await;
    ben.stop().await;
}
