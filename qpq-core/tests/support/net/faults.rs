//! What can go wrong: processes die, links break, frames are lost, state is gone.

use super::{Input, Net};

impl Net {
    /// The process dies: memory and links are gone, the others notice.
    pub(crate) fn crash(&mut self, at: usize) {
        self.peers[at].engine = None;
        self.peers[at].wake = None;
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

    /// All links end; frames that were handed over before still arrive.
    pub(crate) fn cut(&mut self) {
        for session in self.links.keys().copied().collect::<Vec<_>>() {
            self.unlink(session);
        }
    }

    /// All links end, and what was under way is lost.
    pub(crate) fn lose_links(&mut self) {
        for peer in &mut self.peers {
            peer.inbox.retain(|input| !matches!(input, Input::Frame { .. }));
        }
        self.cut();
    }

    /// The state of all groups is gone, as after a backup: contacts, history and outbox are there.
    pub(crate) fn lose_groups(&mut self, at: usize) {
        self.crash(at);
        self.peers[at]
            .database()
            .execute_batch(
                "DELETE FROM seen; DELETE FROM gap; DELETE FROM member; DELETE FROM grp; DELETE FROM offer;
                 DELETE FROM openmls_group_data; DELETE FROM openmls_key_packages;
                 DELETE FROM openmls_epoch_keys_pairs; DELETE FROM openmls_own_leaf_nodes; UPDATE outbox SET frame = NULL",
            )
            .unwrap();
        self.start(at);
    }

    /// A copy of a disk, made while its process is not there; the process is started again.
    pub(crate) fn copy_disk(&mut self, at: usize) -> Vec<u8> {
        self.crash(at);
        let copy = std::fs::read(&self.peers[at].path).unwrap();
        self.start(at);
        copy
    }

    /// Puts a disk back to its copy.
    pub(crate) fn put_back(&mut self, at: usize, copy: &[u8]) {
        self.crash(at);
        let path = &self.peers[at].path;
        std::fs::write(path, copy).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
        self.start(at);
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
}
