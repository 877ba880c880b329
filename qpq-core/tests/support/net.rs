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

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::Duration,
};

use qpq_core::{
    engine::{
        Command, CommandId, Directory, Engine, Event, Failure, Input, Output, Purpose, Reply, SessionId,
    },
    id::{GroupId, PeerId, StreamId},
    identity::Identity,
    invite::{ChannelBinding, Code, Nameplate},
    secret::Secret,
    store::{
        self,
        read::{Message, Query, Reader},
    },
    time::Now,
    wire::Frame,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

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
    restarts: u64,
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
    ciphertexts: BTreeMap<(usize, GroupId, StreamId, u64), Vec<u8>>,
}

impl Net {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
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
            ciphertexts: BTreeMap::new(),
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
                restarts: 0,
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

    pub(crate) fn id(&self, at: usize) -> PeerId {
        Identity::from_seed(&self.peers[at].seed).peer_id()
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
        let (engine, outputs) = Engine::open(&peer.path, &peer.key, identity, Box::new(rng), now).unwrap();
        peer.engine = Some(engine);
        self.carry_out(at, outputs);
    }

    /// The process dies: memory and links are gone, the others notice.
    pub(crate) fn crash(&mut self, at: usize) {
        self.peers[at].engine = None;
        self.peers[at].inbox.clear();
        let mine: Vec<_> = self
            .links
            .iter()
            .filter(|(_, (owner, _))| *owner == at)
            .map(|(id, _)| *id)
            .collect();
        for session in mine {
            self.unlink(session);
        }
    }

    pub(crate) fn restart(&mut self, at: usize) {
        self.crash(at);
        self.start(at);
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
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.command(
            at,
            Command::Send {
                chat: chat.to_owned(),
                texts,
            },
        )
        .unwrap();
    }

    /// One input per peer and turn, one commit per input, until nothing is left to do.
    pub(crate) fn run(&mut self) {
        while self.turn() {}
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
        let _ = engine.handle(input, now);
        let crash = peer.crash_at.filter(|(commit, _)| *commit == peer.commits);
        if crash.is_some_and(|(_, stored)| !stored) {
            peer.crash_at = None;
            self.crash(at);
            return true;
        }
        let outputs = engine.commit().unwrap();
        peer.commits += 1;
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
                Output::WakeAt(_) => {}
                other => panic!("an output this network does not know: {other:?}"),
            }
        }
    }

    /// No place in a stream ever gets two ciphertexts, over all crashes: that would use a key twice.
    fn check_ciphertext(&mut self, at: usize, frame: &[u8]) {
        if let Ok(Frame::App(app)) = Frame::decode(frame) {
            let place = (at, app.group, app.stream, app.seq);
            let known = self.ciphertexts.entry(place).or_insert_with(|| frame.to_vec());
            assert_eq!(
                known, frame,
                "two ciphertexts for message {} of peer {at}",
                app.seq
            );
        }
    }

    /// Takes the last frame of a peer's inbox before it is handled.
    pub(crate) fn intercept(&mut self, at: usize) -> Option<Vec<u8>> {
        let last = self.peers[at]
            .inbox
            .iter()
            .rposition(|input| matches!(input, Input::Frame { .. }))?;
        match self.peers[at].inbox.remove(last)? {
            Input::Frame { bytes, .. } => Some(bytes),
            _ => None,
        }
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

    pub(crate) fn messages(&self, at: usize) -> Vec<Message> {
        self.reader(at).messages(&Query::default()).unwrap()
    }

    /// Texts of one side, own and others', in the order of arrival.
    pub(crate) fn texts(&self, at: usize, own: bool) -> Vec<String> {
        self.messages(at)
            .into_iter()
            .filter(|message| message.own == own)
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
