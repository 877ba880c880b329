//! Who is on the network, as far as adverts tell: nobody here has proved anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use qpq_core::{id::PeerId, invite::Nameplate};
use tokio::sync::watch;

use super::{Reach, Table, lock};
use crate::endpoint::{Interfaces, Ports};

/// Who sent an advert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// Somebody who has a token of this contact's.
    Contact(PeerId),
    /// Somebody who shows an id and a name, by which others are to find him.
    Shown(Shown),
    /// Somebody else, told from others by the first address.
    Unknown(SocketAddr),
}

/// What somebody says about himself; the name is valid by `name::validate`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
}

/// People and their addresses.
pub(crate) type Neighbours = BTreeMap<Who, BTreeSet<SocketAddr>>;

/// Sees what the task sees, and lets the own profile be seen.
#[derive(Debug, Clone)]
pub(crate) struct LanHandle {
    pub(super) interfaces: Interfaces,
    pub(super) ports: Ports,
    pub(super) table: Arc<Mutex<Table>>,
    pub(super) visible: watch::Sender<u32>,
}

impl LanHandle {
    /// The nameplates that others advertise.
    pub(crate) fn nameplates(&self) -> BTreeSet<Nameplate> {
        lock(&self.table).nameplates()
    }

    /// Those who are there now and can be reached from here.
    pub(crate) fn neighbours(&self) -> Neighbours {
        let mut found = lock(&self.table).neighbours();
        let reach = Reach::now(&self.interfaces, self.ports);
        found.retain(|_, addresses| {
            addresses.retain(|address| reach.admits(address));
            !addresses.is_empty()
        });
        found
    }

    /// Shows the own id and name to everybody for as long as the returned value lives.
    pub(crate) fn show(&self) -> Visible {
        self.visible.send_modify(|count| *count = count.saturating_add(1));
        Visible(self.visible.clone())
    }
}

/// The own id and name are shown to the network.
#[derive(Debug)]
pub(crate) struct Visible(watch::Sender<u32>);

impl Drop for Visible {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
