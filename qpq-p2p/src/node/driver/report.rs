//! What the driver knows about the ways to people, for those who ask.

use qpq_core::id::PeerId;

use super::{Driver, dials::NoLink};
use crate::{
    link::{Ended, Link},
    node::ways::{LastTry, Way, Ways},
};

impl Driver {
    /// As it is at this moment.
    pub(super) fn report(&self) -> Ways {
        let (reach, seen) = (self.parts.lan.reach(), self.parts.lan.seen());
        let directory = self.parts.directory.borrow();
        let known = directory.iter().flat_map(|directory| directory.known.keys());
        let way = |peer: &PeerId| Way {
            link: self.links.of(*peer).and_then(|link: &Link| link.way(&reach)),
            seen: seen.contains(peer),
            last_try: self.last_tries.get(peer).copied().unwrap_or_default(),
        };
        Ways {
            peers: known.map(|peer| (*peer, way(peer))).collect(),
            rolled_back: self
                .rolled_back
                .iter()
                .chain(self.held_back.values())
                .copied()
                .collect(),
        }
    }

    /// A dial led to no link.
    pub(super) fn note_failure(&mut self, peer: PeerId, why: &NoLink) {
        if let Some(last_try) = why.last_try().filter(|_| self.is_known(peer)) {
            self.last_tries.insert(peer, last_try);
        }
    }

    /// A link to somebody who is known ended.
    pub(super) fn note_end(&mut self, peer: PeerId, ended: Ended) {
        self.last_tries.insert(peer, LastTry::of_end(ended));
    }
}
