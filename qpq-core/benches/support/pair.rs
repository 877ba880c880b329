//! Two engines that are contacts, with a link in memory: what one batch of each costs, without a network.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use qpq_core::{
    engine::{Command, CommandId, Engine, Event, Input, Output, Purpose, Reply, SessionId},
    id::{MessageId, PeerId},
    identity::Identity,
    invite::{ChannelBinding, Nameplate},
    secret::Secret,
    store,
    time::Now,
};
use rand_core::OsRng;

/// Both ends call their one link so.
const LINK: SessionId = SessionId(1);

/// One of the two.
pub(crate) struct Peer {
    pub(crate) engine: Engine,
    pub(crate) id: PeerId,
    now: Now,
    inbox: VecDeque<Input>,
    database: PathBuf,
    key: Secret<32>,
    seed: Secret<32>,
}

impl Peer {
    fn new(folder: &Path, name: &str) -> Self {
        let (database, key) = (folder.join(format!("{name}.db")), Secret::random(&mut OsRng));
        store::create(&database, &key, name, &Secret::random(&mut OsRng)).unwrap();
        let identity = Identity::generate(&mut OsRng);
        let (id, seed) = (identity.peer_id(), identity.seed());
        let now = Now {
            monotonic: Duration::from_secs(1),
            unix_ms: 1_790_000_000_000,
        };
        let (engine, _) = Engine::open(&database, &key, identity, Box::new(OsRng), now).unwrap();
        Self {
            engine,
            id,
            now,
            inbox: VecDeque::new(),
            database,
            key,
            seed,
        }
    }

    /// What a start does, beside the engine that is there.
    pub(crate) fn open_again(&self) -> Engine {
        let identity = Identity::from_seed(&self.seed);
        let opened = Engine::open(&self.database, &self.key, identity, Box::new(OsRng), self.now);
        opened.unwrap().0
    }

    /// Handles a batch and commits it once.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        for input in inputs {
            self.engine.handle(input, self.now).unwrap();
        }
        self.engine.commit().unwrap()
    }

    /// What it owes by then: acknowledgements wait for each other.
    pub(crate) fn tick(&mut self) -> Vec<Output> {
        self.now.monotonic += Duration::from_millis(50);
        self.step([Input::Tick])
    }
}

/// Anna and Ben, who is a contact of hers.
pub(crate) struct Pair {
    pub(crate) anna: Peer,
    pub(crate) ben: Peer,
    sent: u64,
}

impl Pair {
    /// Makes their profiles and lets them meet by a code.
    pub(crate) fn new(folder: &Path) -> Self {
        let (anna, ben) = (Peer::new(folder, "anna"), Peer::new(folder, "ben"));
        let mut pair = Self { anna, ben, sent: 0 };
        let (nameplate, lifetime) = (Nameplate::try_from(4).unwrap(), Duration::from_secs(60));
        pair.run(command(Command::Invite { nameplate, lifetime }));
        let peer = pair.anna.id;
        pair.ben.inbox.push_back(Input::Advert { peer, nameplate });
        pair.settle();
        pair
    }

    fn run(&mut self, input: Input) {
        self.anna.inbox.push_back(input);
        self.settle();
    }

    fn settle(&mut self) {
        let Self { anna, ben, .. } = self;
        let mut joined = 0;
        while !(anna.inbox.is_empty() && ben.inbox.is_empty()) {
            joined += anna.turn(ben) + ben.turn(anna);
        }
        assert!(joined == 0 || joined == 2, "they did not meet");
    }

    /// Anna sends so many texts of 256 bytes, each by a command of its own, in one commit: the frames for Ben.
    pub(crate) fn send(&mut self, count: usize) -> Vec<Input> {
        let commands: Vec<_> = (0..count).map(|_| self.say()).collect();
        frames(self.anna.step(commands))
    }

    /// One command of hers.
    pub(crate) fn say(&mut self) -> Input {
        self.sent += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.sent.to_be_bytes());
        let (chat, texts) = ("ben".to_owned(), vec![(MessageId(id), "x".repeat(256))]);
        command(Command::Send { chat, texts })
    }
}

impl Peer {
    /// One batch, and what follows from it; how many were joined by it.
    fn turn(&mut self, other: &mut Self) -> usize {
        let inputs = std::mem::take(&mut self.inbox);
        let mut joined = 0;
        for output in self.step(inputs) {
            joined += usize::from(matches!(output, Output::Event(Event::Joined { .. })));
            self.carry_out(output, other);
        }
        joined
    }

    fn carry_out(&mut self, output: Output, other: &mut Self) {
        match output {
            Output::Send { session, frame } => {
                let bytes = frame;
                other.inbox.push_back(Input::Frame { session, bytes });
            }
            Output::Dial { peer, purpose } => {
                self.inbox.push_back(connected(peer, true, purpose));
                other.inbox.push_back(connected(self.id, false, purpose));
            }
            Output::Reply { result, .. } => {
                if let Reply::Invited(code) = result.unwrap() {
                    other.inbox.push_back(command(Command::Join(code)));
                }
            }
            _ => {}
        }
    }
}

/// The frames among the outputs, as the other end gets them.
pub(crate) fn frames(outputs: Vec<Output>) -> Vec<Input> {
    let frame = |output| match output {
        Output::Send { session, frame } => Some(Input::Frame {
            session,
            bytes: frame,
        }),
        _ => None,
    };
    outputs.into_iter().filter_map(frame).collect()
}

fn command(command: Command) -> Input {
    let id = CommandId(1);
    Input::Command { id, command }
}

fn connected(peer: PeerId, dialed: bool, purpose: Purpose) -> Input {
    Input::Connected {
        session: LINK,
        peer,
        dialed,
        purpose,
        channel: ChannelBinding([7; 32]),
    }
}
