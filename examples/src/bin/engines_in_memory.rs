//! Two engines without a network: whoever embeds one hands over what happened, commits, and carries out what
//! comes back.
//!
//! `cargo run --bin engines_in_memory` prints every frame of a pairing by code and of one message. Time passes when
//! we say so, nothing is sent anywhere, and no thread is started: this is how the protocol is tested.
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "an example shows what happens, and leaves out what does not matter"
)]

use std::{collections::VecDeque, error::Error, path::Path, time::Duration};

use qpq_core::{
    engine::{Command, CommandId, Engine, Event, Input, Output, Purpose, Reply, SessionId},
    id::{MessageId, PeerId},
    identity::Identity,
    invite::{ChannelBinding, Nameplate},
    secret::Secret,
    store,
    time::Now,
    wire::Frame,
};
use rand_core::OsRng;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// There is one link here, and both ends call it so.
const LINK: SessionId = SessionId(1);

struct Peer {
    name: &'static str,
    id: PeerId,
    engine: Engine,
    /// By its clocks, which the engine never reads itself.
    now: Now,
    /// What happened and was not handled yet.
    inbox: VecDeque<Input>,
}

impl Peer {
    fn new(folder: &Path, name: &'static str) -> Result<Self> {
        let (database, key) = (folder.join(name), Secret::random(&mut OsRng));
        store::create(&database, &key, name, &Secret::random(&mut OsRng))?;
        let identity = Identity::generate(&mut OsRng);
        let (id, inbox) = (identity.peer_id(), VecDeque::new());
        let (monotonic, unix_ms) = (Duration::from_secs(1), 1_790_000_000_000);
        let now = Now { monotonic, unix_ms };
        let (engine, _) = Engine::open(&database, &key, identity, Box::new(OsRng), now)?;
        Ok(Self {
            name,
            id,
            engine,
            now,
            inbox,
        })
    }

    /// Handles all that waits and makes it durable; only then there is something to carry out.
    fn commit(&mut self) -> Result<Vec<Output>> {
        while let Some(input) = self.inbox.pop_front() {
            if let Err(error) = self.engine.handle(input, self.now) {
                println!("{} refuses that: {error}", self.name); // and is as it was before
            }
        }
        Ok(self.engine.commit()?)
    }

    fn carry_out(&mut self, output: Output, other: &mut Self) -> Result<()> {
        match output {
            Output::Send { session, frame } => {
                let kind = Frame::decode(&frame)?.kind();
                println!("{} -> {}: {kind:?}", self.name, other.name);
                let bytes = frame;
                other.inbox.push_back(Input::Frame { session, bytes });
            }
            Output::Dial { peer, purpose } => {
                println!("{} dials {}", self.name, other.name);
                self.inbox.push_back(connected(peer, true, purpose));
                other.inbox.push_back(connected(self.id, false, purpose));
            }
            // Here ben overhears the code; people tell it to each other.
            Output::Reply { result, .. } => {
                if let Reply::Invited(code) = result? {
                    other.inbox.push_back(command(Command::Join(code)));
                }
            }
            Output::Event(Event::Joined { name, .. }) => println!("{} knows {name}", self.name),
            Output::Event(Event::Progress { .. }) => println!("{} knows that it arrived", self.name),
            Output::Close { .. } => println!("{} ends the link", self.name),
            // How much to read, whom to look for, when to tick: for drivers with a network and a clock.
            _ => {}
        }
        Ok(())
    }
}

fn command(command: Command) -> Input {
    let id = CommandId(1);
    Input::Command { id, command }
}

/// What each driver would say of a link on which TLS proved who is at the other end.
fn connected(peer: PeerId, dialed: bool, purpose: Purpose) -> Input {
    Input::Connected {
        session: LINK,
        peer,
        dialed,
        purpose,
        channel: ChannelBinding([7; 32]),
    }
}

/// Gives one of them something to do, then lets both take turns until they are done.
fn run(anna: &mut Peer, ben: &mut Peer, input: Input) -> Result<()> {
    anna.inbox.push_back(input);
    while !(anna.inbox.is_empty() && ben.inbox.is_empty()) {
        for output in anna.commit()? {
            anna.carry_out(output, ben)?;
        }
        for output in ben.commit()? {
            ben.carry_out(output, anna)?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let anna = &mut Peer::new(folder.path(), "anna")?;
    let ben = &mut Peer::new(folder.path(), "ben")?;

    let (nameplate, lifetime, peer) = (Nameplate::try_from(4)?, Duration::from_secs(60), anna.id);
    run(anna, ben, command(Command::Invite { nameplate, lifetime }))?;
    run(ben, anna, Input::Advert { peer, nameplate })?;

    let (chat, texts) = ("ben".to_owned(), vec![(MessageId([1; 16]), "hi".to_owned())]);
    run(anna, ben, command(Command::Send { chat, texts }))?;

    // Acknowledgements wait a moment, so that one is enough for many messages.
    ben.now.monotonic += Duration::from_millis(50);
    run(ben, anna, Input::Tick)?;

    let (session, bytes) = (LINK, b"no frame".to_vec());
    run(ben, anna, Input::Frame { session, bytes })
}
