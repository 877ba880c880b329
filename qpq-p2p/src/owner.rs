//! The one process that owns a profile: it holds the lock and runs the node, once a request needs the network.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use if_addrs::Interface;
use qpq_core::{
    engine::{Command, Engine, EngineError, Event, Output, Reply},
    id::PeerId,
    identity::Identity,
    secret::Secret,
    store::StoreError,
};
use rand_core::OsRng;
use tokio::sync::{OnceCell, broadcast};
use tracing::warn;

use crate::{
    endpoint::Interfaces,
    failure::{Failure, FailureCode, hint_for, with_causes},
    node::{NetworkSettings, Node, NodeOptions, clock},
    profile::{Profile, ProfileLock},
};

/// Nothing happening for so long is quiet.
const QUIET: Duration = Duration::from_millis(500);

/// Quiet is not waited for any longer.
const SETTLED: Duration = Duration::from_secs(3);

/// Owns a profile until it is closed or dropped.
pub struct Owner {
    profile: Profile,
    network: NetworkSettings,
    running: OnceCell<Running>,
    /// Dropped last: nobody else may start before everything above has ended.
    _lock: ProfileLock,
}

struct Running {
    node: Node,
    presence: Presence,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Owner {
    /// Takes the lock. The network is left alone until a request needs it.
    ///
    /// # Errors
    /// Exit 8, at once, when another process owns the profile.
    pub fn open(profile: Profile, network: NetworkSettings) -> Result<Self, Failure> {
        let lock = profile.lock()?;
        Ok(Self {
            profile,
            network,
            running: OnceCell::new(),
            _lock: lock,
        })
    }

    /// The profile that is owned.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Waits until nothing has happened for a moment. A link to a new contact may just be giving way to the one
    /// that the contact dialled, and what the contact must learn (that we joined) goes by whichever stays.
    pub(crate) async fn settle(&self) {
        let Some(running) = self.running.get() else { return };
        let mut events = running.node.events();
        let quiet = async { while let Ok(Ok(_)) = tokio::time::timeout(QUIET, events.recv()).await {} };
        let _ = tokio::time::timeout(SETTLED, quiet).await;
    }

    /// Ends the links in order and frees the profile.
    pub async fn close(self) {
        if let Some(running) = self.running.into_inner() {
            running.node.shutdown().await;
        }
    }

    /// The node, started by whoever asks first.
    pub(crate) async fn node(&self) -> Result<&Node, Failure> {
        Ok(&self.running().await?.node)
    }

    /// Whether others can be reached at all, as far as the system tells.
    pub(crate) fn is_network_up(&self) -> bool {
        if_addrs::get_if_addrs().map_or(true, |found| is_one_up(&found, &self.network.interfaces))
    }

    /// Whether a link to this person stands.
    pub(crate) fn is_online(&self, peer: &PeerId) -> bool {
        self.running
            .get()
            .is_some_and(|running| running.presence.contains(peer))
    }

    /// Whether a contact proved that this profile is an older copy of itself.
    pub(crate) fn is_rolled_back(&self, chat: i64) -> bool {
        self.running
            .get()
            .is_some_and(|running| running.presence.is_rolled_back(chat))
    }

    /// Has the engine carry out a command.
    pub(crate) async fn command(&self, command: Command) -> Result<Reply, Failure> {
        self.node().await?.command(command).await.map_err(Failure::from)
    }

    async fn running(&self) -> Result<&Running, Failure> {
        self.running.get_or_try_init(|| self.start()).await
    }

    async fn start(&self) -> Result<Running, Failure> {
        let source = EngineSource::of(&self.profile);
        let (engine, outputs) = source.open().map_err(unusable_engine)?;
        let options = NodeOptions {
            engine,
            first_outputs: outputs,
            identity: self.profile.identity(),
            own_name: self.profile.reader().and_then(|reader| reader.own_name())?,
            settings: self.network.clone(),
            clock: clock::system(),
            reopen: Box::new(move || source.open()),
        };
        let node = Node::start(options).await.map_err(|error| {
            Failure::new(
                FailureCode::NoNetwork,
                "the network cannot be used",
                with_causes(&error),
                "look at the setting `interfaces` and at what the system allows this program",
            )
        })?;
        if !self.is_network_up() {
            warn!("no network is up: waiting for one");
        }
        let presence = Presence::watch(node.events());
        Ok(Running { node, presence })
    }
}

/// All it takes to open the engine, now and again after a failed commit.
struct EngineSource {
    database: PathBuf,
    database_key: Secret<32>,
    identity_seed: Secret<32>,
}

impl EngineSource {
    fn of(profile: &Profile) -> Self {
        let vault = profile.vault();
        Self {
            database: profile.database(),
            database_key: Secret::new(*vault.database_key.expose()),
            identity_seed: Secret::new(*vault.identity_seed.expose()),
        }
    }

    fn open(&self) -> Result<(Engine, Vec<Output>), EngineError> {
        let identity = Identity::from_seed(&self.identity_seed);
        Engine::open(
            &self.database,
            &self.database_key,
            identity,
            Box::new(OsRng),
            clock::system()(),
        )
    }
}

/// Who is connected, and which chats cannot go on, as the events tell.
#[derive(Clone, Default)]
struct Presence(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    online: BTreeSet<PeerId>,
    rolled_back: BTreeSet<i64>,
}

impl Presence {
    fn watch(mut events: broadcast::Receiver<Event>) -> Self {
        let presence = Self::default();
        let seen = presence.clone();
        tokio::spawn(async move {
            // After a lag some may be wrong until their next event: presence is a hint for people.
            loop {
                match events.recv().await {
                    Ok(event) => seen.note(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
        presence
    }

    fn note(&self, event: &Event) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Online(peer) = event {
            seen.online.insert(*peer);
        } else if let Event::Offline(peer) = event {
            seen.online.remove(peer);
        } else if let Event::RolledBack { chat } = event {
            seen.rolled_back.insert(*chat);
        } else if matches!(event, Event::Reopened) {
            // All links are down; who proved something proves it again on the next one.
            *seen = Seen::default();
        }
    }

    fn is_rolled_back(&self, chat: i64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rolled_back
            .contains(&chat)
    }

    fn contains(&self, peer: &PeerId) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .online
            .contains(peer)
    }
}

/// Whether one of the interfaces that are used is up. Whoever wants the loopback network alone has it.
fn is_one_up(found: &[Interface], used: &Interfaces) -> bool {
    let mut up = found.iter().filter(|interface| interface.is_oper_up());
    match used {
        Interfaces::All => up.any(|interface| !interface.is_loopback()),
        Interfaces::Loopback => true,
        Interfaces::Named(names) => up.any(|interface| names.contains(&interface.name)),
    }
}

fn unusable_engine(error: EngineError) -> Failure {
    Failure::new(
        FailureCode::ProfileUnreadable,
        "the profile cannot be opened",
        with_causes(&error),
        hint_for(&error, "look at the disk; nothing was changed"),
    )
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (code, hint) = if matches!(error, StoreError::Newer(_)) {
            (FailureCode::ProfileTooNew, "use a newer qpq; nothing was changed")
        } else {
            (
                FailureCode::ProfileUnreadable,
                hint_for(&error, "look at the disk; nothing was changed"),
            )
        };
        Self::new(code, "the history cannot be read", with_causes(&error), hint)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr};

    use super::*;

    fn interface(name: &str, ip: [u8; 4], oper_status: IfOperStatus) -> Interface {
        let addr = IfAddr::V4(Ifv4Addr {
            ip: ip.into(),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            prefixlen: 24,
            broadcast: None,
        });
        Interface {
            name: name.into(),
            addr,
            index: None,
            oper_status,
            is_p2p: false,
        }
    }

    #[test]
    fn the_loopback_network_and_a_cable_that_is_out_are_no_network() {
        let lo = interface("lo", [127, 0, 0, 1], IfOperStatus::Up);
        let out = interface("eth0", [10, 0, 0, 1], IfOperStatus::Unknown);
        let up = interface("wlan0", [10, 0, 1, 1], IfOperStatus::Up);
        let eth0 = Interfaces::Named(vec!["eth0".into()]);
        let wlan0 = Interfaces::Named(vec!["eth0".into(), "wlan0".into()]);
        let without = [lo.clone(), out.clone()];
        let with = [lo, out, up];
        for (found, used, expected) in [
            (&[][..], &Interfaces::All, false),
            (&without, &Interfaces::All, false),
            (&with, &Interfaces::All, true),
            (&without, &Interfaces::Loopback, true),
            (&with, &eth0, false),
            (&with, &wlan0, true),
        ] {
            assert_eq!(is_one_up(found, used), expected, "{used} of {found:?}");
        }
    }

    #[test]
    fn nobody_is_online_after_the_engine_was_lost() {
        let (presence, ben) = (Presence::default(), PeerId([2; 32]));
        presence.note(&Event::Online(ben));
        presence.note(&Event::RolledBack { chat: 7 });
        assert!(presence.contains(&ben) && presence.is_rolled_back(7));
        presence.note(&Event::Reopened);
        assert!(!presence.contains(&ben) && !presence.is_rolled_back(7));
        presence.note(&Event::Online(ben));
        assert!(presence.contains(&ben));
    }
}
