//! A flood of forged mDNS services: a known contact is found all the same, and memory has a bound.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::people::{Person, Running, anna_and_ben, meet, object, text};

/// The design's figure: so many services in so much time.
const ALL: u32 = 60_000;
const ALL_IN: Duration = Duration::from_secs(24);

/// Growth of memory, in KiB.
const GROWTH_MAX: u64 = 32 * 1_024;

/// A contact is found within this time.
const FOUND_IN: Duration = Duration::from_secs(5);

/// Services are announced in bursts this far apart.
const BURST_EVERY: Duration = Duration::from_millis(10);

fn name(packet: &mut Vec<u8>, labels: &[&str]) {
    for label in labels {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
}

fn record(packet: &mut Vec<u8>, labels: &[&str], kind: u16, data: &[u8]) {
    name(packet, labels);
    packet.extend(kind.to_be_bytes());
    packet.extend(1_u16.to_be_bytes());
    packet.extend(120_u32.to_be_bytes());
    packet.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(data);
}

/// An unasked answer (RFC 6762 §8.3) with all four records of a service, each of another host.
fn announcement(n: u32) -> Vec<u8> {
    let (instance, host) = (format!("forged-{n:08x}"), format!("host-{n:08x}"));
    let service = ["_qpq", "_udp", "local"];
    let full = [instance.as_str(), "_qpq", "_udp", "local"];
    let mut packet = [0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0].to_vec();
    let mut target = Vec::new();
    name(&mut target, &full);
    record(&mut packet, &service, 12, &target);
    let mut location = [0, 0, 0, 0, 0x12, 0x67].to_vec();
    name(&mut location, &[host.as_str(), "local"]);
    record(&mut packet, &full, 33, &location);
    let token = format!("t={}", qpq_core::base32::encode(&[n.to_be_bytes(); 4].concat()));
    let mut txt = vec![u8::try_from(token.len()).unwrap()];
    txt.extend_from_slice(token.as_bytes());
    record(&mut packet, &full, 16, &txt);
    record(&mut packet, &[host.as_str(), "local"], 1, &[127, 0, 0, 1]);
    packet
}

/// Announces new services at the design's rate until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn on(mdns_port: u16) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        // An own address leads multicasts to its interface.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let group = SocketAddr::from(([224, 0, 0, 251], mdns_port));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() * u128::from(ALL) / ALL_IN.as_millis();
                let due = u32::try_from(due).unwrap();
                while count.load(Ordering::Relaxed) < due {
                    let n = count.fetch_add(1, Ordering::Relaxed);
                    socket.send_to(&announcement(n), group).unwrap();
                }
                // The rate of the flood, not a wait for something.
                std::thread::sleep(BURST_EVERY);
            }
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Resident memory in KiB.
fn resident(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How long it took until somebody who has just come was reached.
fn find(anna: &Person, ben: &Person) -> Duration {
    let listen = ben.start(&["listen", "--json", "--count", "1", "--timeout", "60s"]);
    let began = Instant::now();
    let sent = anna.run(&["send", "ben", "found?", "--json", "--timeout", "30s"]);
    let took = began.elapsed();
    assert_eq!(object(&text(sent, 0))["state"], "delivered");
    assert_eq!(object(&listen.ended(0))["text"], "found?");
    took
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn survive(services: u32) {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut daemon = anna.start(&["daemon", "--json"]);
    assert!(daemon.line().contains("ready"));
    // Everything that a first talk needs is in memory before.
    find(&anna, &ben);
    let before = resident(&daemon);
    let flood = Flood::on(anna.mdns_port);
    let (mut most, mut slowest, mut found) = (0, Duration::ZERO, 0);
    while flood.sent() < services {
        slowest = slowest.max(find(&anna, &ben));
        found += 1;
        most = most.max(resident(&daemon));
    }
    let growth = most.saturating_sub(before);
    println!(
        "{} services, found {found} times, slowest {slowest:?}, memory {before} KiB and {growth} KiB more",
        flood.sent()
    );
    assert!(slowest <= FOUND_IN, "{slowest:?}");
    assert!(growth <= GROWTH_MAX, "{growth} KiB");
    drop(flood);
    daemon.kill();
}

#[test]
fn a_contact_is_found_while_forged_services_flood_the_network() {
    survive(ALL / 4);
}

/// `cargo nextest run --workspace --run-ignored only -E 'test(a_whole_flood)' --no-capture`
#[test]
#[ignore = "takes half a minute, and prints figures"]
fn a_whole_flood_of_forged_services_costs_little() {
    survive(ALL);
}
