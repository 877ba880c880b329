//! The local network: what we say about ourselves by mDNS, and who else is there.
//!
//! Each profile advertises `_qpq._udp.local.` under a random name with a token that only its contacts
//! recognise (`card::LanKey`); while an invite is open also its nameplate and id. Records of others are hints
//! whom to dial where: forging them costs us failed dials on our own networks and a bounded `table`, nothing
//! else. Each new announcement has new names and a new token; the port stays the same while the program runs,
//! so that somebody who listens can still follow it, as they can by our addresses.

pub(crate) mod advert;
mod daemon;
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
    invite::Nameplate,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::warn;

use self::{reach::Reach, table::Table, task::Task};
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
        let task = tokio::spawn(supervise(options, directory, news, engine, Arc::clone(&table)));
        Self {
            interfaces,
            ports,
            table,
            task,
        }
    }

    /// Where on our networks a peer may be, the likeliest first; empty when nothing is known.
    pub(crate) fn addresses_of(&self, peer: PeerId) -> Vec<SocketAddr> {
        let mut addresses = lock(&self.table).addresses_of(peer);
        let reach = Reach::now(&self.interfaces, self.ports);
        addresses.retain(|address| reach.admits(address));
        addresses.truncate(DIALLED);
        addresses
    }

    /// Another handle to the table, for those who only want to know the nameplates.
    pub(crate) fn nameplates_handle(&self) -> NameplatesHandle {
        NameplatesHandle(Arc::clone(&self.table))
    }

    /// Waits until our service was withdrawn; the directory's channel must be closed before.
    pub(crate) async fn stopped(self) {
        let _ = self.task.await;
    }
}

/// Tells which nameplates are in use.
#[derive(Debug, Clone)]
pub(crate) struct NameplatesHandle(Arc<Mutex<Table>>);

impl NameplatesHandle {
    pub(crate) fn nameplates(&self) -> BTreeSet<Nameplate> {
        lock(&self.0).nameplates()
    }
}

/// The table holds no invariant that a panic could break half-way.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the task, and again when it panicked: its input is hostile and its library large.
async fn supervise(
    options: LanOptions,
    directory: watch::Receiver<Option<Arc<Directory>>>,
    news: mpsc::Sender<News>,
    engine: mpsc::Sender<Input>,
    table: Arc<Mutex<Table>>,
) {
    loop {
        let task = Task::new(
            options.clone(),
            directory.clone(),
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
