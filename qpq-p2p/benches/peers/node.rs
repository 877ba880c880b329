//! Two nodes, each a process: what a program that embeds the library gets, without socket and command line.

use std::{
    fs,
    io::BufRead,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use qpq_core::{
    engine::{Command, Engine, Event, Purpose, Reply},
    id::{MessageId, PeerId},
    identity::Identity,
    invite::Nameplate,
    secret::Secret,
    store::{
        self,
        read::{Query, Reader},
    },
    vault::Vault,
    wire::{self, Frame, Hello},
};
use qpq_p2p::{
    endpoint::{self, Interfaces},
    node::{NetworkSettings, Node, NodeOptions, clock},
};
use rand_core::OsRng;
use tokio::{sync::broadcast::Receiver, task::JoinSet};

use super::{Scale, TEXT, process::Process, report::Quantiles};

const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that wait for their commit at a time.
const PIPELINE: usize = 256;

struct Peer {
    node: Arc<Node>,
    events: Receiver<Event>,
    history: Reader,
    identity: Identity,
}

impl Peer {
    async fn start(folder: &Path, name: &str, mdns_port: u16) -> Self {
        fs::create_dir_all(folder).unwrap();
        let database = folder.join("qpq.db");
        let vault = Vault::generate(&mut OsRng);
        store::create(&database, &vault.database_key, name, &Secret::random(&mut OsRng)).unwrap();
        let history = Reader::open(&database, &vault.database_key).unwrap();
        let identity = Identity::from_seed(&vault.identity_seed);
        let own = Identity::from_seed(&vault.identity_seed);
        let open = move || {
            let identity = Identity::from_seed(&vault.identity_seed);
            Engine::open(
                &database,
                &vault.database_key,
                identity,
                Box::new(OsRng),
                clock::system()(),
            )
        };
        let (engine, first_outputs) = open().unwrap();
        let node = Node::start(NodeOptions {
            engine,
            first_outputs,
            identity,
            own_name: name.to_owned(),
            settings: NetworkSettings {
                interfaces: Interfaces::Loopback,
                mdns_port,
            },
            clock: clock::system(),
            reopen: Box::new(open),
        })
        .await
        .unwrap();
        let events = node.events();
        Self {
            node: Arc::new(node),
            events,
            history,
            identity: own,
        }
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("no event is missed")
    }

    async fn joined(&mut self) {
        while !matches!(self.event().await, Event::Joined { .. }) {}
    }

    /// Sends a text and waits for one, in turns: half of the time of each turn.
    async fn ping(&mut self, chat: &str, count: usize, pause: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        let mut after_row = self.newest();
        for n in 0..count {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let start = Instant::now();
            self.node.command(say(chat, format!("{n:<TEXT$}"))).await.unwrap();
            after_row = self.heard(after_row).await;
            times.push(start.elapsed() / 2);
        }
        times
    }

    /// Answers each text with one.
    async fn pong(&mut self, chat: &str, count: usize) {
        let mut after_row = self.newest();
        println!("listening");
        for n in 0..count {
            after_row = self.heard(after_row).await;
            self.node.command(say(chat, format!("{n:<TEXT$}"))).await.unwrap();
        }
    }

    fn newest(&self) -> i64 {
        let last = Some(1);
        let newest = self
            .history
            .messages(&Query {
                last,
                ..Query::default()
            })
            .unwrap();
        newest.last().map_or(0, |message| message.row)
    }

    /// Waits for the other's next text, and has it read from the store.
    async fn heard(&mut self, mut after_row: i64) -> i64 {
        loop {
            if !matches!(self.event().await, Event::Message { .. }) {
                continue;
            }
            let query = Query {
                after_row,
                ..Query::default()
            };
            for message in self.history.messages(&query).unwrap() {
                after_row = message.row;
                if !message.own {
                    assert_eq!(message.text.len(), TEXT);
                    return after_row;
                }
            }
        }
    }

    /// Sends as fast as commands are taken, until all are acknowledged; how long it took.
    async fn flood(&mut self, chat: &'static str, count: usize) -> Duration {
        let start = Instant::now();
        let mut commands = JoinSet::new();
        for n in 0..count {
            if commands.len() >= PIPELINE {
                commands.join_next().await.unwrap().unwrap();
            }
            let node = Arc::clone(&self.node);
            commands.spawn(async move { node.command(say(chat, format!("{n:<TEXT$}"))).await.unwrap() });
            while self.events.try_recv().is_ok() {}
        }
        commands.join_all().await;
        while self.history.waiting(None).unwrap() > 0 {
            // Whatever happened, also when some of it was missed: look again.
            let _ = self.events.recv().await;
            while self.events.try_recv().is_ok() {}
        }
        start.elapsed()
    }
}

impl Peer {
    /// From the dial to the other node's Hello, without a node of our own.
    async fn connect(&self, peer: PeerId, address: SocketAddr, count: usize) -> Vec<Duration> {
        let endpoint = endpoint::bind(&self.identity, &Interfaces::Loopback)
            .await
            .unwrap();
        let mut times = Vec::new();
        for n in 0..count {
            let hello = Frame::Hello(Hello {
                min: *wire::VERSION.start(),
                max: *wire::VERSION.end(),
                features: 0,
                session: u64::try_from(n).unwrap().to_be_bytes(),
                purpose: Purpose::Peer,
            });
            let start = Instant::now();
            let connection = endpoint::dial(&endpoint, peer, &[address]).await.unwrap();
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(&hello.encode()).await.unwrap();
            let mut header = [0; wire::HEADER];
            recv.read_exact(&mut header).await.unwrap();
            recv.read_exact(&mut vec![0; wire::body_len(&header).unwrap()])
                .await
                .unwrap();
            times.push(start.elapsed());
            connection.close(0_u32.into(), b"");
        }
        endpoint.close().await;
        times
    }
}

fn say(chat: &str, text: String) -> Command {
    // Random, which is the worst for the indexes: those of the program grow with time.
    let id = MessageId(*Secret::random(&mut OsRng).expose());
    Command::Send {
        chat: chat.to_owned(),
        texts: vec![(id, text)],
    }
}

/// A process with one node; it does what its input says, one line of answer each.
#[tokio::main]
pub(crate) async fn serve(folder: &Path, name: &str, mdns_port: u16) {
    let mut peer = Peer::start(folder, name, mdns_port).await;
    println!("{}", peer.identity.peer_id().to_text());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["invite"] => {
                let (nameplate, lifetime) = (Nameplate::try_from(4).unwrap(), PATIENCE);
                let Reply::Invited(code) = peer
                    .node
                    .command(Command::Invite { nameplate, lifetime })
                    .await
                    .unwrap()
                else {
                    panic!("an invite is answered with its code");
                };
                println!("{code}");
                peer.joined().await;
                println!("joined");
            }
            ["join", code] => {
                peer.node
                    .command(Command::Join(code.parse().unwrap()))
                    .await
                    .unwrap();
                peer.joined().await;
                println!("joined");
            }
            ["ping", count, pause] => {
                let pause = Duration::from_millis(pause.parse().unwrap());
                let times = Quantiles::of(peer.ping("ben", count.parse().unwrap(), pause).await);
                println!("{} {}", times.p50.as_nanos(), times.p99.as_nanos());
            }
            ["pong", count] => {
                peer.pong("anna", count.parse().unwrap()).await;
                println!("done");
            }
            ["flood", count] => println!("{}", peer.flood("ben", count.parse().unwrap()).await.as_nanos()),
            ["connect", other, address, count] => {
                peer.node.shutdown().await;
                let (other, address) = (other.parse().unwrap(), address.parse().unwrap());
                let times = Quantiles::of(peer.connect(other, address, count.parse().unwrap()).await);
                println!("{} {}", times.p50.as_nanos(), times.p99.as_nanos());
            }
            other => panic!("{other:?}"),
        }
    }
    peer.node.shutdown().await;
}

/// Anna and Ben, who know each other.
struct Pair {
    anna: Process,
    ben: Process,
    ben_id: String,
}

impl Pair {
    fn new(folder: &Path) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        let start = |name: &str| {
            let folder = folder.join(name);
            let _ = fs::remove_dir_all(&folder);
            let mut process = Process::start(&["node", folder.to_str().unwrap(), name, &port]);
            let id = process.line();
            (process, id)
        };
        let ((mut anna, _), (mut ben, ben_id)) = (start("anna"), start("ben"));
        let code = anna.ask("invite");
        assert_eq!(ben.ask(&format!("join {code}")), "joined");
        assert_eq!(anna.line(), "joined");
        Self { anna, ben, ben_id }
    }
}

/// As the processes print them.
fn quantiles(line: &str) -> Quantiles {
    let (p50, p99) = line.split_once(' ').unwrap();
    Quantiles {
        p50: Duration::from_nanos(p50.parse().unwrap()),
        p99: Duration::from_nanos(p99.parse().unwrap()),
    }
}

/// From `send` at one to the text read at the other: half of a message and its answer.
pub(crate) fn latency(folder: &Path, scale: Scale, pause: Duration) -> Vec<Quantiles> {
    let mut pair = Pair::new(folder);
    let runs = (0..scale.runs).map(|_| {
        assert_eq!(pair.ben.ask(&format!("pong {}", scale.paced)), "listening");
        let line = pair
            .anna
            .ask(&format!("ping {} {}", scale.paced, pause.as_millis()));
        assert_eq!(pair.ben.line(), "done");
        quantiles(&line)
    });
    runs.collect()
}

/// From the dial to the Hello of the other, a contact.
pub(crate) fn connect(folder: &Path, count: usize) -> Quantiles {
    let mut pair = Pair::new(folder);
    let port = udp_port(pair.ben.id());
    let line = pair
        .anna
        .ask(&format!("connect {} 127.0.0.1:{port} {count}", pair.ben_id));
    quantiles(&line)
}

/// The port of a process's endpoint: the socket that is bound to 127.0.0.1 alone.
fn udp_port(process: u32) -> u16 {
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/udp")).unwrap();
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.strip_prefix("0100007F:")?;
        inodes
            .iter()
            .any(|inode| fields.get(9) == Some(&inode.as_str()))
            .then_some(port)
            .map(|port| u16::from_str_radix(port, 16).unwrap())
    };
    table.lines().find_map(port).expect("a socket")
}

/// What a flood of messages cost.
pub(crate) struct Rate {
    pub(crate) each: Duration,
    pub(crate) sender: Duration,
    pub(crate) receiver: Duration,
}

/// Wall time and CPU time per acknowledged message.
pub(crate) fn rate(folder: &Path, scale: Scale) -> Vec<Rate> {
    let mut pair = Pair::new(folder);
    let count = u32::try_from(scale.flood).unwrap();
    let runs = (0..scale.runs).map(|_| {
        let before = [pair.anna.cpu(), pair.ben.cpu()];
        let all = Duration::from_nanos(pair.anna.ask(&format!("flood {count}")).parse().unwrap());
        Rate {
            each: all / count,
            sender: (pair.anna.cpu() - before[0]) / count,
            receiver: (pair.ben.cpu() - before[1]) / count,
        }
    });
    runs.collect()
}
