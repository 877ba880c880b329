//! Kills at points: the disk as it is at that moment is what the next start finds.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use qpq_core::{engine::Command, failpoint};

use super::{CommandId, Failure, Input, Net, Reply};

/// The points of one peer.
#[derive(Default)]
pub(crate) struct Points {
    /// All that were hit, over all restarts, up to the kill.
    pub(crate) hits: Vec<&'static str>,
    /// Dies at the hit with this number.
    pub(crate) kill_at: Option<usize>,
    left: Option<Disk>,
}

/// The database and its log, without what SQLite shares between processes: that goes with the last one.
pub(super) struct Disk([Option<Vec<u8>>; 2]);

const FILES: [&str; 2] = ["", "-wal"];

fn file(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

impl Disk {
    fn of(path: &Path) -> Self {
        Self(FILES.map(|suffix| fs::read(file(path, suffix)).ok()))
    }

    /// For a peer whose engine is not there.
    pub(super) fn put_back(self, path: &Path) {
        let _ = fs::remove_file(file(path, "-shm"));
        for (suffix, bytes) in FILES.into_iter().zip(self.0) {
            match bytes {
                Some(bytes) => fs::write(file(path, suffix), bytes).unwrap(),
                None => _ = fs::remove_file(file(path, suffix)),
            }
        }
    }
}

thread_local! {
    /// Whose engine works on this thread, and its points.
    static AT_WORK: RefCell<Option<(PathBuf, Points)>> = const { RefCell::new(None) };
}

/// An engine works from now on.
pub(super) fn watch(path: &Path, points: &mut Points) {
    failpoint::arm(hit);
    AT_WORK.set(Some((path.to_owned(), std::mem::take(points))));
}

/// It is done; its disk of the moment of its death, if it died on the way.
pub(super) fn unwatch(points: &mut Points) -> Option<Disk> {
    let (_, after) = AT_WORK.take().expect("it was watched");
    *points = after;
    points.left.take()
}

/// What comes after the kill changes memory alone, which is thrown away, and a disk, which is put back.
fn hit(point: &'static str) {
    AT_WORK.with_borrow_mut(|at_work| {
        let Some((path, points)) = at_work.as_mut().filter(|(_, points)| points.left.is_none()) else {
            return;
        };
        if points.kill_at == Some(points.hits.len()) {
            points.kill_at = None;
            points.left = Some(Disk::of(path));
        } else {
            points.hits.push(point);
        }
    });
}

impl Net {
    /// Forgets the points so far; then kills at the hit with this number.
    pub(crate) fn kill_at(&mut self, victim: usize, hit: Option<usize>) {
        for peer in &mut self.peers {
            peer.points = Points::default();
        }
        self.peers[victim].points.kill_at = hit;
    }

    /// Asks a peer for something that it may not live to answer. What it accepts is noted.
    pub(crate) fn attempt(&mut self, at: usize, command: Command) -> Option<Result<Reply, Failure>> {
        self.peers[at].engine.as_ref()?;
        let id = CommandId(self.next);
        self.next += 1;
        self.input(at, Input::Command { id, command });
        self.run();
        let reply = self.peers[at].replies.remove(&id.0);
        if let Some(Ok(Reply::Stored { ids })) = &reply {
            self.peers[at].accepted.extend(ids);
        }
        reply
    }
}
