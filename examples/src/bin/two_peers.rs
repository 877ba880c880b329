//! Two peers in one program: they meet by a spoken code, over real mDNS and QUIC on loopback, and say hi.
//!
//! `cargo run --bin two_peers`. What a program of your own does to talk is what [`Peer`] does here.
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "an example shows what happens, and leaves out what does not matter"
)]

use std::{error::Error, net::UdpSocket, path::Path, time::Duration};

use qpq_core::{
    engine::{Command, Engine, Event, Reply},
    id::MessageId,
    identity::Identity,
    invite::Nameplate,
    secret::Secret,
    store::{
        self,
        read::{Message, Query, Reader},
    },
    vault::Vault,
};
use qpq_p2p::{
    endpoint::Interfaces,
    node::{NetworkSettings, Node, NodeOptions, clock},
};
use rand_core::OsRng;
use tokio::{sync::broadcast::Receiver, time::timeout};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Everything here takes milliseconds, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running node, what happens to it, and what it has stored.
struct Peer {
    node: Node,
    events: Receiver<Event>,
    history: Reader,
}

impl Peer {
    /// Makes an identity with a database, and starts its node on loopback.
    async fn start(folder: &Path, name: &str, settings: NetworkSettings) -> Result<Self> {
        // The two keys of a profile; `vault.seal` gives the bytes of a file to keep them in.
        let vault = Vault::generate(&mut OsRng);
        let database = folder.join(format!("{name}.db"));
        store::create(&database, &vault.database_key, name, &Secret::random(&mut OsRng))?;

        let history = Reader::open(&database, &vault.database_key)?;
        let identity = Identity::from_seed(&vault.identity_seed);
        // Called now, and by the node when a commit failed: an engine is never used after that.
        let open = move || {
            let identity = Identity::from_seed(&vault.identity_seed);
            let now = clock::system()();
            Engine::open(&database, &vault.database_key, identity, Box::new(OsRng), now)
        };
        let (engine, first_outputs) = open()?;
        let node = Node::start(NodeOptions {
            engine,
            first_outputs,
            identity,
            own_name: name.to_owned(),
            settings,
            clock: clock::system(),
            reopen: Box::new(open),
        })
        .await?;
        let events = node.events();
        Ok(Self {
            node,
            events,
            history,
        })
    }

    /// Waits until somebody is a contact, and returns the name.
    async fn joined(&mut self) -> Result<String> {
        loop {
            match timeout(PATIENCE, self.events.recv()).await?? {
                Event::Joined { name, .. } => return Ok(name),
                Event::JoinFailed(why) => return Err(why.into()),
                _ => {}
            }
        }
    }

    /// Waits for a message of the other one. Events say when to look; the store says what is so.
    async fn heard(&mut self) -> Result<Message> {
        loop {
            let unread = Query {
                unread: true,
                ..Query::default()
            };
            if let Some(message) = self.history.messages(&unread)?.pop() {
                return Ok(message);
            }
            timeout(PATIENCE, self.events.recv()).await??;
        }
    }
}

/// Texts are stored, and sent now or whenever the other one is there.
fn say(chat: &str, text: &str) -> Command {
    let id = MessageId(*Secret::random(&mut OsRng).expose());
    let (chat, texts) = (chat.to_owned(), vec![(id, text.to_owned())]);
    Command::Send { chat, texts }
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A port of our own for mDNS: nobody else hears this conversation.
    let mdns_port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let interfaces = Interfaces::Loopback;
    let settings = NetworkSettings {
        interfaces,
        mdns_port,
    };
    let mut anna = Peer::start(folder.path(), "anna", settings.clone()).await?;
    let mut ben = Peer::start(folder.path(), "ben", settings).await?;

    let (nameplate, lifetime) = (Nameplate::try_from(4)?, PATIENCE);
    let Reply::Invited(code) = anna.node.command(Command::Invite { nameplate, lifetime }).await? else {
        return Err("an invite is answered with its code".into());
    };
    println!("anna tells ben: {code}");
    ben.node.command(Command::Join(code)).await?;
    println!(
        "ben knows {}, anna knows {}",
        ben.joined().await?,
        anna.joined().await?
    );

    anna.node.command(say("ben", "hi ben")).await?;
    ben.node.command(say("anna", "hi anna")).await?;
    for message in [ben.heard().await?, anna.heard().await?] {
        println!("{}: {}", message.from_name, message.text);
    }
    anna.node.shutdown().await;
    ben.node.shutdown().await;
    Ok(())
}
