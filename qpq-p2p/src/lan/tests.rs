//! Discovery between real mDNS daemons on loopback, on ports of their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use qpq_core::{card::LanKey, invite::Nameplate};
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
        known,
        ..Directory::new(key_of(own))
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

/// A daemon that announces whatever a test wants.
fn forger(mdns_port: u16) -> ServiceDaemon {
    let daemon = ServiceDaemon::new_with_port(mdns_port).unwrap();
    daemon.disable_interface(IfKind::All).unwrap();
    daemon.enable_interface(IfKind::LoopbackV4).unwrap();
    daemon
}

fn register(daemon: &ServiceDaemon, name: &str, udp_port: u16, txt: &[(&str, String)]) {
    let host = format!("{name}.local.");
    let mut service = ServiceInfo::new(SERVICE, name, &host, "", udp_port, txt)
        .unwrap()
        .enable_addr_auto();
    service.set_requires_probe(false);
    daemon.register(service).unwrap();
}

/// Somebody's record, for a port at which the test decides who is.
pub(crate) fn announced(mdns_port: u16, udp_port: u16, key: &LanKey) -> ServiceDaemon {
    let daemon = forger(mdns_port);
    let token = qpq_core::base32::encode(&key.token([7; 8]));
    register(&daemon, "announced", udp_port, &[("t", token)]);
    daemon
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

/// Whoever has one of Anna's links recognises her; to all others the tokens say nothing.
#[tokio::test]
async fn a_joiner_recognises_the_inviter_by_the_link_alone() {
    let port = free_port();
    let links = [LanKey([71; 32]), LanKey([72; 32])];
    let with = |key: u8| Directory {
        looking_for_links: [(ANNA, LanKey([key; 32]))].into(),
        joining: true,
        ..directory(BEN, &[])
    };
    let inviting = Directory {
        links: links.to_vec(),
        ..directory(ANNA, &[])
    };
    let anna = Station::start(ANNA, 4_041, port, inviting);
    let mut ben = Station::start(BEN, 4_042, port, with(72));
    let mut eve = Station::start(PeerId([3; 32]), 4_043, port, with(73));
    assert_eq!(deadline(ben.seen.recv()).await, Some(News::Contact(ANNA)));
    assert_eq!(ben.lan.addresses_of(ANNA), ["127.0.0.1:4041".parse().unwrap()]);
    assert_eq!(eve.lan.addresses_of(ANNA), []);
    assert!(eve.seen.try_recv().is_err());
    // The link comes later than the record.
    eve.directory.send_replace(Some(Arc::new(with(71))));
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
    assert_eq!(ben.lan.handle().nameplates(), BTreeSet::from([nameplate]));
    anna.directory.send_replace(Some(Arc::new(directory(ANNA, &[]))));
    eventually(|| ben.lan.handle().nameplates().is_empty()).await;
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
    let inviter = forger(port);
    let claims = |peer: PeerId, name: &str, udp_port: u16| {
        let txt = [("n", nameplate.to_string()), ("id", peer.to_text())];
        register(&inviter, name, udp_port, &txt);
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

#[tokio::test]
async fn neighbours_are_contacts_those_who_show_themselves_and_others() {
    let port = free_port();
    let ben = Station::start(BEN, 4_051, port, directory(BEN, &[ANNA]));
    let anna = Station::start(ANNA, 4_052, port, directory(ANNA, &[]));
    let eve = Station::start(PeerId([3; 32]), 4_053, port, directory(PeerId([3; 32]), &[]));
    let hostile = forger(port);
    let id = PeerId([4; 32]).to_text();
    register(
        &hostile,
        "hostile",
        4_054,
        &[("id", id), ("name", "e\u{1b}[2Jve".into())],
    );
    let at = |udp_port: u16| SocketAddr::from(([127, 0, 0, 1], udp_port));
    let shown = Who::Shown(Shown {
        peer: PeerId([3; 32]),
        name: "anna".into(),
    });
    let visible = eve.lan.handle().show();
    let sees = |who: &[(Who, u16)]| {
        let found = ben.lan.handle().neighbours();
        let expected = who
            .iter()
            .map(|(who, udp_port)| (who.clone(), [at(*udp_port)].into()));
        found == expected.collect()
    };
    eventually(|| sees(&[(Who::Contact(ANNA), 4_052), (shown.clone(), 4_053)])).await;
    drop(visible);
    // What is shown is taken back, and the one who is left is just somebody.
    eventually(|| sees(&[(Who::Contact(ANNA), 4_052), (Who::Unknown(at(4_053)), 4_053)])).await;
    hostile.shutdown().unwrap();
    for station in [anna, ben, eve] {
        station.stop().await;
    }
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
