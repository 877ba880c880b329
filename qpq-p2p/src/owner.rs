//! The one process that owns a profile: it holds the lock and runs the node, once a request needs the network.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use if_addrs::Interface;
use qpq_core::{
    engine::{Command, Engine, EngineError, Output, Reply},
    identity::Identity,
    secret::Secret,
    store::StoreError,
};
use rand_core::OsRng;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::{
    endpoint::Interfaces,
    event::OwnerKind,
    failure::{Failure, FailureCode, hint_for, with_causes},
    node::{NetworkSettings, Node, NodeOptions, Ways, clock},
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
    kind: OwnerKind,
    running: OnceCell<Node>,
    /// When somebody was joined last.
    joined: Mutex<Option<Instant>>,
    /// Dropped last: nobody else may start before everything above has ended.
    _lock: ProfileLock,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Owner {
    /// Owns the profile by its lock. The network is left alone until a request needs it.
    pub fn new(profile: Profile, lock: ProfileLock, network: NetworkSettings, kind: OwnerKind) -> Self {
        Self {
            profile,
            network,
            kind,
            running: OnceCell::new(),
            joined: Mutex::default(),
            _lock: lock,
        }
    }

    /// What it is to its user.
    pub fn kind(&self) -> OwnerKind {
        self.kind
    }

    /// The profile that is owned.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Somebody was joined right now.
    pub(crate) fn note_joined(&self) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Ends the links in order. The profile is free when the owner is dropped.
    pub async fn close(&self) {
        if let Some(node) = self.running.get() {
            let joined = *self.joined.lock().unwrap_or_else(PoisonError::into_inner);
            if joined.is_some_and(|at| at.elapsed() < SETTLED) {
                settle(node).await;
            }
            node.shutdown().await;
        }
    }

    /// The node, started by whoever asks first.
    pub(crate) async fn node(&self) -> Result<&Node, Failure> {
        self.running.get_or_try_init(|| self.start()).await
    }

    /// Whether others can be reached at all, as far as the system tells.
    pub(crate) fn is_network_up(&self) -> bool {
        if_addrs::get_if_addrs().map_or(true, |found| is_one_up(&found, &self.network.interfaces))
    }

    /// How contacts can be reached at this moment; `None` when no node runs.
    pub(crate) async fn ways(&self) -> Option<Ways> {
        self.running.get()?.ways().await
    }

    /// Has the engine carry out a command.
    pub(crate) async fn command(&self, command: Command) -> Result<Reply, Failure> {
        self.node().await?.command(command).await.map_err(Failure::from)
    }

    async fn start(&self) -> Result<Node, Failure> {
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
        Ok(node)
    }
}

/// Waits until nothing has happened for a moment. A link to a new contact may just be giving way to the one that
/// the contact dialled, and what the contact must learn (that we joined) goes by whichever stays.
async fn settle(node: &Node) {
    let mut events = node.events();
    let quiet = async { while let Ok(Ok(_)) = tokio::time::timeout(QUIET, events.recv()).await {} };
    let _ = tokio::time::timeout(SETTLED, quiet).await;
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

/// Whether one of the interfaces that are used is up. Whoever wants the loopback network alone has it.
fn is_one_up(found: &[Interface], used: &Interfaces) -> bool {
    let mut up = found.iter().filter(|interface| interface.is_oper_up());
    match used {
        Interfaces::All => up.any(|interface| !interface.is_loopback()),
        Interfaces::Loopback => true,
        Interfaces::Named(names) => up.any(|interface| names.contains(&interface.name)),
    }
}

/// What is damaged is never made anew: somebody may save it yet. A copy costs what was written since (SECURITY.md).
pub(crate) const DAMAGED_HINT: &str =
    "end qpq and put the folder of the profile back from a copy: what you wrote since is lost here";

fn unusable_engine(error: EngineError) -> Failure {
    let hint = if error.is_damage() {
        DAMAGED_HINT
    } else {
        hint_for(&error, "look at the disk; nothing was changed")
    };
    Failure::new(
        FailureCode::ProfileUnreadable,
        "the profile cannot be opened",
        with_causes(&error),
        hint,
    )
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (code, hint) = if matches!(error, StoreError::Newer(_)) {
            (FailureCode::ProfileTooNew, "use a newer qpq; nothing was changed")
        } else if matches!(error, StoreError::Older(_)) {
            (
                FailureCode::ProfileInUse,
                "end the older qpq that runs here, then try again; nothing was changed",
            )
        } else if error.is_damage() {
            (FailureCode::ProfileUnreadable, DAMAGED_HINT)
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
}
