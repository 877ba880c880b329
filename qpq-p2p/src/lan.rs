//! The local network: what we say about ourselves by mDNS, and who else is there.
//!
//! Each profile advertises `_qpq._udp.local.` under a random name with a token that only its contacts
//! recognise (`card::LanKey`); while an invite is open or `nearby --visible` runs also its id and name. Records of others are hints
//! whom to dial where: forging them costs us failed dials on our own networks and a bounded `table`, nothing
//! else. Each new announcement has new names and a new token; the port stays the same while the program runs,
//! so that somebody who listens can still follow it, as they can by our addresses.

pub(crate) mod advert;
mod daemon;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod neighbours;
mod reach;
mod table;
mod task;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use qpq_core::{
    engine::{Directory, Input},
    id::PeerId,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::warn;

pub(crate) use self::{
    neighbours::{LanHandle, Shown, Who},
    reach::Reach,
};
use self::{table::Table, task::Task};
use crate::endpoint::{Interfaces, Ports};

/// The service type of quicproquo.
pub(crate) const SERVICE: &str = "_qpq._udp.local.";

/// How often the daemons' memory is looked at, withdrawn adverts are forgotten, and a lost daemon replaced.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// Addresses dialled for one peer.
const DIALLED: usize = 16;

/// What the local network needs to know.
#[derive(Debug, Clone)]
pub(crate) struct LanOptions {
    pub(crate) interfaces: Interfaces,
    pub(crate) mdns_port: u16,
    pub(crate) ports: Ports,
    pub(crate) own: PeerId,
    pub(crate) own_name: String,
}

/// What the driver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// A contact's record appeared or changed.
    Contact(PeerId),
    /// An address of this host came or went.
    NetworkChanged,
}

/// The handle to the task that speaks mDNS. It follows the directory in its watch channel and ends when the
/// channel is closed.
#[derive(Debug)]
pub(crate) struct Lan {
    interfaces: Interfaces,
    ports: Ports,
    table: Arc<Mutex<Table>>,
    /// How many want the own profile to be seen.
    visible: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Lan {
    /// Starts to announce and to look around. Contacts that appear or move are sent to `news`, claimants of
    /// the nameplate that is looked for to the engine. Without a usable network it tries again and again.
    pub(crate) fn start(
        options: LanOptions,
        directory: watch::Receiver<Option<Arc<Directory>>>,
        news: mpsc::Sender<News>,
        engine: mpsc::Sender<Input>,
    ) -> Self {
        let table = Arc::new(Mutex::new(Table::default()));
        let (interfaces, ports) = (options.interfaces.clone(), options.ports);
        let (visible, seen) = watch::channel(0);
        let ears = Ears {
            directory,
            visible: seen,
        };
        let task = tokio::spawn(supervise(options, ears, news, engine, Arc::clone(&table)));
        Self {
            interfaces,
            ports,
            table,
            visible,
            task,
        }
    }

    /// Where on our networks a peer may be, the likeliest first; empty when nothing is known.
    pub(crate) fn addresses_of(&self, peer: PeerId) -> Vec<SocketAddr> {
        let mut addresses = lock(&self.table).addresses_of(peer);
        let reach = self.reach();
        addresses.retain(|address| reach.admits(address));
        addresses.truncate(DIALLED);
        addresses
    }

    /// Which addresses are near.
    pub(crate) fn reach(&self) -> Reach {
        Reach::now(&self.interfaces, self.ports)
    }

    /// The contacts whose token is on the network.
    pub(crate) fn seen(&self) -> BTreeSet<PeerId> {
        lock(&self.table).seen()
    }

    /// For those who want to see who is there, and be seen.
    pub(crate) fn handle(&self) -> LanHandle {
        LanHandle {
            interfaces: self.interfaces.clone(),
            ports: self.ports,
            table: Arc::clone(&self.table),
            visible: self.visible.clone(),
        }
    }

    /// Waits until our service was withdrawn; the directory's channel must be closed before.
    pub(crate) async fn stopped(self) {
        let _ = self.task.await;
    }
}

/// What decides what is announced.
#[derive(Debug, Clone)]
struct Ears {
    directory: watch::Receiver<Option<Arc<Directory>>>,
    visible: watch::Receiver<u32>,
}

/// The table holds no invariant that a panic could break half-way.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the task, and again when it panicked: its input is hostile and its library large.
async fn supervise(
    options: LanOptions,
    ears: Ears,
    news: mpsc::Sender<News>,
    engine: mpsc::Sender<Input>,
    table: Arc<Mutex<Table>>,
) {
    loop {
        let task = Task::new(
            options.clone(),
            ears.clone(),
            news.clone(),
            engine.clone(),
            Arc::clone(&table),
        );
        match tokio::spawn(task.run()).await {
            Ok(()) => return,
            Err(error) => warn!(%error, "local discovery starts again"),
        }
        tokio::time::sleep(HOUSEKEEPING).await;
    }
}

/// Eight random bytes. Names and nonces here only have to differ from others: where the system has no
/// randomness left, the process could not have drawn its keys either.
pub(crate) fn random() -> [u8; 8] {
    let mut bytes = [0; 8];
    if let Err(error) = getrandom::fill(&mut bytes) {
        warn!(%error, "the system gives no random bytes");
    }
    bytes
}

fn random_label() -> String {
    qpq_core::base32::encode(&random())
}
