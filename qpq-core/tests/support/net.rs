//! Engines on a network in memory: frames move only when the test says so, and any peer can crash between any
//! two commits. No clock, no threads, no sleep.
#![allow(
    dead_code,
    missing_docs,
    clippy::too_many_arguments,
    reason = "shared by several test files, each of which uses a part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "net/faults.rs"]
mod faults;
#[path = "net/generation.rs"]
mod generation;
#[path = "net/looks.rs"]
mod looks;
#[path = "net/points.rs"]
mod points;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use generation::SenderData;
use points::Points;
use qpq_core::{
    engine::{
        Command, CommandId, Directory, Engine, Event, Failure, Input, Output, Purpose, Reply, SessionId,
    },
    id::{EpochId, GroupId, MemberId, MessageId, PeerId, StreamId},
    identity::Identity,
    invite::{ChannelBinding, Code, Link, Nameplate},
    secret::Secret,
    store::{
        self,
        read::{Message, Query, Reader},
    },
    time::Now,
    wire::{App, Frame, Kind},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

/// An id that no other message has.
pub(crate) fn message_id() -> MessageId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    MessageId::new(0, random)
}

/// One profile and, while it runs, its engine.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    key: Secret<32>,
    seed: Secret<32>,
    pub(crate) engine: Option<Engine>,
    inbox: VecDeque<Input>,
    pub(crate) events: Vec<Event>,
    pub(crate) replies: BTreeMap<u64, Result<Reply, Failure>>,
    pub(crate) directory: Option<Directory>,
    pub(crate) budgets: BTreeMap<SessionId, Option<u32>>,
    pub(crate) closed: Vec<SessionId>,
    /// Commits made so far, over all restarts.
    pub(crate) commits: usize,
    /// Crash after this many commits, before (`false`) or after (`true`) the commit reached the disk.
    pub(crate) crash_at: Option<(usize, bool)>,
    /// Where it writes, and dies if so wished.
    pub(crate) points: Points,
    /// What it told to have stored.
    pub(crate) accepted: Vec<MessageId>,
    restarts: u64,
    /// When the engine wants a tick; like a real driver, one time only, and forgotten at each tick.
    wake: Option<Duration>,
}

impl Peer {
    /// Its database, past the engine.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let key: String = self
            .key
            .expose()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        connection
            .execute_batch(&format!("PRAGMA key = \"x'{key}'\""))
            .unwrap();
        connection
    }
}

/// All peers and the links between them.
pub(crate) struct Net {
    pub(crate) peers: Vec<Peer>,
    /// Session -> (peer index, session at the other end).
    links: BTreeMap<SessionId, (usize, SessionId)>,
    next: u64,
    pub(crate) now: Now,
    _dir: tempfile::TempDir,
    /// Every frame that was sent: (from, to, bytes).
    pub(crate) log: Vec<(usize, usize, Vec<u8>)>,
    /// Frames (from, to, bytes) for which this says so are lost, as if damaged on the way.
    pub(crate) lossy: Box<Lossy>,
    sender_data: BTreeMap<GroupId, SenderData>,
    /// The one ciphertext of each key.
    ciphertexts: BTreeMap<(EpochId, MemberId, u32), Vec<u8>>,
    /// The one message in each place of a stream.
    places: BTreeMap<(GroupId, MemberId, StreamId, u64), MessageId>,
}

type Lossy = dyn FnMut(usize, usize, &[u8]) -> bool;

/// What `run` takes as soon: acknowledgements wait 50 ms for each other.
const SOON: Duration = Duration::from_millis(100);

impl Net {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        // In memory where there is such a place: thousands of databases wait for no disk there.
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let now = Now {
            monotonic: Duration::from_secs(1),
            unix_ms: 1_790_000_000_000,
        };
        let mut net = Self {
            peers: vec![],
            links: BTreeMap::new(),
            next: 1,
            now,
            _dir: dir,
            log: vec![],
            lossy: Box::new(|_, _, _| false),
            sender_data: BTreeMap::new(),
            ciphertexts: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for (at, name) in names.iter().enumerate() {
            let path = net._dir.path().join(format!("{at}.db"));
            let byte = u8::try_from(at).unwrap() + 1;
            store::create(
                &path,
                &Secret::new([byte; 32]),
                name,
                &Secret::new([byte + 100; 32]),
            )
            .unwrap();
            net.peers.push(Peer {
                name,
                path,
                key: Secret::new([byte; 32]),
                seed: Secret::new([byte + 50; 32]),
                engine: None,
                inbox: VecDeque::new(),
                events: vec![],
                replies: BTreeMap::new(),
                directory: None,
                budgets: BTreeMap::new(),
                closed: vec![],
                commits: 0,
                crash_at: None,
                points: Points::default(),
                accepted: vec![],
                restarts: 0,
                wake: None,
            });
            net.start(at);
        }
        net
    }

    /// Makes a peer of this network again under a name that no honest client would take.
    pub(crate) fn rename(&mut self, at: usize, name: &str) {
        let peer = &mut self.peers[at];
        peer.engine = None;
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", peer.path.display()));
        }
        store::create(&peer.path, &peer.key, name, &Secret::new([99; 32])).unwrap();
        self.start(at);
    }

    pub(crate) fn identity(&self, at: usize) -> Identity {
        Identity::from_seed(&self.peers[at].seed)
    }

    pub(crate) fn id(&self, at: usize) -> PeerId {
        self.identity(at).peer_id()
    }

    pub(crate) fn reader(&self, at: usize) -> Reader {
        Reader::open(&self.peers[at].path, &self.peers[at].key).unwrap()
    }

    /// Opens the engine from its disk.
    pub(crate) fn start(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        peer.restarts += 1;
        let rng = ChaCha20Rng::seed_from_u64(1000 * (at as u64 + 1) + peer.restarts);
        let identity = Identity::from_seed(&peer.seed);
        points::watch(&peer.path, &mut peer.points);
        let (engine, outputs) = Engine::open(&peer.path, &peer.key, identity, Box::new(rng), now).unwrap();
        if let Some(disk) = points::unwatch(&mut peer.points) {
            drop(engine);
            disk.put_back(&peer.path);
            return self.start(at);
        }
        peer.engine = Some(engine);
        self.carry_out(at, outputs);
    }

    /// Makes a link, dialled by `a`; returns both ends.
    pub(crate) fn connect(&mut self, a: usize, b: usize, purpose: Purpose) -> (SessionId, SessionId) {
        let channel = ChannelBinding([u8::try_from(self.next % 256).unwrap(); 32]);
        let (to_b, to_a) = (self.id(b), self.id(a));
        self.connect_as(a, to_b, channel, b, to_a, channel, purpose)
    }

    /// A link whose ends see what a man in the middle lets them see.
    pub(crate) fn connect_as(
        &mut self,
        a: usize,
        a_sees: PeerId,
        a_channel: ChannelBinding,
        b: usize,
        b_sees: PeerId,
        b_channel: ChannelBinding,
        purpose: Purpose,
    ) -> (SessionId, SessionId) {
        let (at_a, at_b) = (SessionId(self.next), SessionId(self.next + 1));
        self.next += 2;
        self.links.insert(at_a, (a, at_b));
        self.links.insert(at_b, (b, at_a));
        let connected = |session, peer, dialed, channel| Input::Connected {
            session,
            peer,
            dialed,
            purpose,
            channel,
        };
        self.peers[a]
            .inbox
            .push_back(connected(at_a, a_sees, true, a_channel));
        self.peers[b]
            .inbox
            .push_back(connected(at_b, b_sees, false, b_channel));
        (at_a, at_b)
    }

    fn unlink(&mut self, session: SessionId) {
        let Some((owner, other)) = self.links.remove(&session) else {
            return;
        };
        let other_owner = self.links.remove(&other).map(|(owner, _)| owner);
        self.peers[owner].inbox.push_back(Input::Disconnected { session });
        if let Some(other_owner) = other_owner {
            self.peers[other_owner]
                .inbox
                .push_back(Input::Disconnected { session: other });
        }
    }

    pub(crate) fn input(&mut self, at: usize, input: Input) {
        self.peers[at].inbox.push_back(input);
    }

    /// Delivers a frame that nobody's engine made.
    pub(crate) fn inject(&mut self, at: usize, session: SessionId, bytes: Vec<u8>) {
        self.peers[at].inbox.push_back(Input::Frame { session, bytes });
    }

    /// Asks a peer for something and runs the network until it is quiet.
    pub(crate) fn command(&mut self, at: usize, command: Command) -> Result<Reply, Failure> {
        let id = self.next;
        self.next += 1;
        self.peers[at].inbox.push_back(Input::Command {
            id: CommandId(id),
            command,
        });
        self.run();
        self.peers[at]
            .replies
            .remove(&id)
            .expect("every command is answered")
    }

    pub(crate) fn send(&mut self, at: usize, chat: &str, texts: &[&str]) {
        let texts = texts
            .iter()
            .map(|text| (message_id(), (*text).to_owned()))
            .collect();
        self.command(
            at,
            Command::Send {
                chat: chat.to_owned(),
                texts,
            },
        )
        .unwrap();
    }

    /// One input per peer and turn, one commit per input, until nothing is left to do soon.
    pub(crate) fn run(&mut self) {
        while self.turn() {}
        while self.tick_until(self.now.monotonic + SOON) {
            while self.turn() {}
        }
    }

    /// Lets time pass, with all that happens in it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        while self.turn() {}
        while self.tick_until(until) {
            while self.turn() {}
        }
        self.set_clock(until);
    }

    /// Goes on to the next tick that is wanted by then; `false`: there is none.
    fn tick_until(&mut self, until: Duration) -> bool {
        let next = self.peers.iter().filter_map(|peer| peer.wake).min();
        let Some(next) = next.filter(|next| *next <= until) else {
            return false;
        };
        self.set_clock(next.max(self.now.monotonic));
        for peer in &mut self.peers {
            if peer.wake.is_some_and(|at| at <= next) {
                peer.wake = None;
                peer.inbox.push_back(Input::Tick);
            }
        }
        true
    }

    fn set_clock(&mut self, monotonic: Duration) {
        let passed = monotonic - self.now.monotonic;
        self.now.monotonic = monotonic;
        self.now.unix_ms += i64::try_from(passed.as_millis()).unwrap();
    }

    /// One step of every peer that has something to do.
    pub(crate) fn turn(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.peers.len() {
            moved |= self.step(at);
        }
        moved
    }

    fn step(&mut self, at: usize) -> bool {
        let now = self.now;
        let peer = &mut self.peers[at];
        let Some(engine) = &mut peer.engine else {
            peer.inbox.clear();
            return false;
        };
        let Some(input) = peer.inbox.pop_front() else {
            return false;
        };
        points::watch(&peer.path, &mut peer.points);
        let _ = engine.handle(input, now);
        let crash = peer.crash_at.filter(|(commit, _)| *commit == peer.commits);
        if crash.is_some_and(|(_, stored)| !stored) {
            peer.crash_at = None;
            points::unwatch(&mut peer.points);
            self.crash(at);
            return true;
        }
        let outputs = engine.commit().unwrap();
        peer.commits += 1;
        if let Some(disk) = points::unwatch(&mut peer.points) {
            self.crash(at);
            disk.put_back(&self.peers[at].path);
            return true;
        }
        if crash.is_some() {
            peer.crash_at = None;
            self.crash(at);
            return true;
        }
        self.carry_out(at, outputs);
        true
    }

    fn carry_out(&mut self, at: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { session, frame } => {
                    self.check_ciphertext(at, &frame);
                    if let Some((_, other)) = self.links.get(&session).copied() {
                        let owner = self.links[&other].0;
                        self.log.push((at, owner, frame.clone()));
                        if (self.lossy)(at, owner, &frame) {
                            continue;
                        }
                        self.peers[owner].inbox.push_back(Input::Frame {
                            session: other,
                            bytes: frame,
                        });
                    }
                }
                Output::Close { session } => {
                    self.peers[at].closed.push(session);
                    self.unlink(session);
                }
                Output::Dial { peer, purpose } => {
                    let other = (0..self.peers.len()).find(|other| self.id(*other) == peer);
                    match other.filter(|other| self.peers[*other].engine.is_some()) {
                        Some(other) => _ = self.connect(at, other, purpose),
                        None => self.peers[at].inbox.push_back(Input::DialFailed { peer }),
                    }
                }
                Output::ReadBudget { session, bytes } => _ = self.peers[at].budgets.insert(session, bytes),
                Output::Directory(directory) => self.peers[at].directory = Some(directory),
                Output::Reply { id, result } => _ = self.peers[at].replies.insert(id.0, result),
                Output::Event(event) => self.peers[at].events.push(event),
                Output::Settled => {}
                Output::WakeAt(next) => {
                    let peer = &mut self.peers[at];
                    peer.wake = Some(peer.wake.map_or(next, |wake| wake.min(next)));
                }
                other => panic!("an output this network does not know: {other:?}"),
            }
        }
    }

    /// No key makes two ciphertexts, and no place in a stream gets two messages, over all crashes and repairs.
    fn check_ciphertext(&mut self, at: usize, frame: &[u8]) {
        let Ok(Frame::App(app)) = Frame::decode(frame) else {
            return;
        };
        let generation = self.generation(at, &app);
        let key = (app.epoch_id, app.member, generation);
        let known = self.ciphertexts.entry(key).or_insert_with(|| frame.to_vec());
        assert_eq!(
            known, frame,
            "two ciphertexts of generation {generation} of peer {at}"
        );
        let place = (app.group, app.member, app.stream, app.seq);
        let known = *self.places.entry(place).or_insert(app.message);
        assert_eq!(known, app.message, "two messages {} of peer {at}", app.seq);
    }

    /// Of a ciphertext that was just made by a peer.
    pub(crate) fn generation(&mut self, at: usize, app: &App) -> u32 {
        let peer = &self.peers[at];
        let secrets = self.sender_data.entry(app.group);
        secrets
            .or_insert_with(|| SenderData::of(&peer.database(), &app.group))
            .generation(&app.mls)
    }

    /// Opens an invite and returns its code.
    pub(crate) fn invite(&mut self, at: usize) -> Code {
        let nameplate = Nameplate::try_from(4).unwrap();
        match self
            .command(
                at,
                Command::Invite {
                    nameplate,
                    lifetime: Duration::from_secs(86_400),
                },
            )
            .unwrap()
        {
            Reply::Invited(code) => code,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a link; gives its text.
    pub(crate) fn invite_by_link(&mut self, at: usize) -> String {
        let lifetime = Duration::from_secs(86_400);
        match self.command(at, Command::InviteLink { lifetime }).unwrap() {
            Reply::Link { link, .. } => link.to_text().to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Uses a link, and dials whom it names as a driver does that has recognised them.
    pub(crate) fn join_by_link(&mut self, joiner: usize, link: &str) -> Result<Reply, Failure> {
        let link: Link = link.parse().unwrap();
        let reply = self.command(joiner, Command::JoinLink(link));
        self.dial_links(joiner);
        reply
    }

    /// Dials everybody who is looked for by a link and has none yet.
    pub(crate) fn dial_links(&mut self, at: usize) {
        let directory = self.peers[at].directory.as_ref();
        let wanted: Vec<_> = directory.unwrap().looking_for_links.keys().copied().collect();
        for peer in wanted {
            let other = (0..self.peers.len())
                .find(|other| self.id(*other) == peer)
                .unwrap();
            if self.peers[other].engine.is_some() {
                self.connect(at, other, Purpose::Pair);
            }
        }
        self.run();
    }

    /// Types a code and lets the joiner see the inviter's advert.
    pub(crate) fn join(&mut self, joiner: usize, inviter: usize, code: Code) {
        let nameplate = code.nameplate();
        self.command(joiner, Command::Join(code)).unwrap();
        let peer = self.id(inviter);
        self.input(joiner, Input::Advert { peer, nameplate });
        self.run();
    }

    /// Two peers who are contacts, linked, quiet.
    pub(crate) fn pair() -> Self {
        let mut net = Self::new(&["anna", "ben"]);
        let code = net.invite(0);
        net.join(1, 0, code);
        net
    }

    /// The group of the one conversation that a peer has.
    pub(crate) fn group(&self, at: usize) -> GroupId {
        let sql = "SELECT group_id FROM grp";
        let id = self.peers[at].database().query_row(sql, [], |row| row.get(0));
        GroupId(id.unwrap())
    }

    pub(crate) fn messages(&self, at: usize) -> Vec<Message> {
        self.reader(at).messages(&Query::default()).unwrap()
    }

    /// Frames from one peer to another since the log was cleared.
    pub(crate) fn sent(&self, from: usize, kind: Kind) -> Vec<Frame> {
        let frames = self.log.iter().filter(|(sender, _, _)| *sender == from);
        let frames = frames.map(|(_, _, bytes)| Frame::decode(bytes).unwrap());
        frames.filter(|frame| frame.kind() == kind).collect()
    }

    /// Texts of one side, own and others', in the order of arrival.
    pub(crate) fn texts(&self, at: usize, own: bool) -> Vec<String> {
        self.messages(at)
            .into_iter()
            .filter(|message| message.own == own && message.notice.is_none())
            .map(|message| message.text)
            .collect()
    }

    pub(crate) fn joined(&self, at: usize) -> bool {
        self.peers[at]
            .events
            .iter()
            .any(|event| matches!(event, Event::Joined { .. }))
    }
}
