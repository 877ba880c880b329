//! One engine on a bench: frames are put before it one by one, and what becomes of each is written down: the error,
//! whose fault it is, whether the link is closed, and whether one byte of the database has changed.
#![allow(dead_code, reason = "shared by several test files, each of which uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use qpq_core::{
    engine::{Fault, Input, Output, Purpose, SessionId},
    id::PeerId,
    invite::ChannelBinding,
};
use rusqlite::{Connection, types::ValueRef};
use sha2::{Digest, Sha256};

use crate::net::Net;

/// What became of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// As the engine words it; `None`: it was taken.
    pub(crate) error: Option<String>,
    pub(crate) fault: Option<Fault>,
    /// Its link was closed for it.
    pub(crate) closed: bool,
    /// Something in the database is not as it was.
    pub(crate) stored: bool,
    /// Frames that were sent for it.
    pub(crate) sent: usize,
}

/// Peer `at` of a network, and one peer whose frames are the test's.
pub(crate) struct Bench {
    pub(crate) net: Net,
    pub(crate) at: usize,
    pub(crate) session: SessionId,
    pub(crate) other: PeerId,
    pub(crate) purpose: Purpose,
    /// What the other says first on each link.
    pub(crate) opening: Vec<Vec<u8>>,
    next: u64,
    rows: Connection,
}

impl Bench {
    /// The other is silent from now on.
    pub(crate) fn new(
        mut net: Net,
        at: usize,
        other: usize,
        purpose: Purpose,
        opening: Vec<Vec<u8>>,
    ) -> Self {
        net.crash(other);
        net.run();
        let mut bench = Self {
            rows: net.peers[at].database(),
            other: net.id(other),
            session: SessionId(0),
            next: 1 << 32,
            net,
            at,
            purpose,
            opening,
        };
        bench.connect();
        bench
    }

    /// A new link, on which the opening was said.
    pub(crate) fn connect(&mut self) {
        self.next += 1;
        self.session = SessionId(self.next);
        let connected = Input::Connected {
            session: self.session,
            peer: self.other,
            dialed: false,
            purpose: self.purpose,
            channel: ChannelBinding([9; 32]),
        };
        let closed = self.input(connected).2;
        assert!(!closed, "the other is let in");
        for frame in self.opening.clone() {
            let verdict = self.judge(&frame);
            assert!(verdict.error.is_none() && !verdict.closed, "{verdict:?}");
        }
    }

    /// Puts a frame before the engine.
    pub(crate) fn judge(&mut self, frame: &[u8]) -> Verdict {
        let before = self.rows();
        let frame = Input::Frame {
            session: self.session,
            bytes: frame.to_vec(),
        };
        let (error, fault, closed, sent) = self.input(frame);
        Verdict {
            error,
            fault,
            closed,
            stored: self.rows() != before,
            sent,
        }
    }

    fn input(&mut self, input: Input) -> (Option<String>, Option<Fault>, bool, usize) {
        let now = self.net.now;
        let engine = self.net.peers[self.at].engine.as_mut().unwrap();
        let handled = engine.handle(input, now);
        let outputs = engine.commit().expect("a frame does no harm to the database");
        let is_close =
            |output: &&Output| matches!(output, Output::Close { session } if *session == self.session);
        let is_send = |output: &&Output| matches!(output, Output::Send { .. });
        let error = handled.err();
        (
            error.as_ref().map(ToString::to_string),
            error.as_ref().map(qpq_core::engine::HandleError::fault),
            outputs.iter().any(|output| is_close(&output)),
            outputs.iter().filter(is_send).count(),
        )
    }

    /// Everything in the database, but for when somebody was seen last: that is noted whenever a link ends.
    pub(crate) fn rows(&self) -> [u8; 32] {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
        let mut tables = self.rows.prepare_cached(tables).unwrap();
        let names: Vec<String> = tables
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(names.len() > 10, "not our database: {names:?}");
        let mut digest = Sha256::new();
        for name in names {
            digest.update(&name);
            self.table(&name, &mut digest);
        }
        digest.finalize().into()
    }

    fn table(&self, name: &str, digest: &mut Sha256) {
        let mut all = self
            .rows
            .prepare_cached(&format!("SELECT * FROM \"{name}\""))
            .unwrap();
        let seen = all
            .column_names()
            .iter()
            .position(|column| *column == "last_seen");
        let columns = all.column_count();
        let mut rows = all.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in (0..columns).filter(|column| Some(*column) != seen) {
                match row.get_ref(column).unwrap() {
                    ValueRef::Null => digest.update([0]),
                    ValueRef::Integer(number) => digest.update(number.to_be_bytes()),
                    ValueRef::Real(number) => digest.update(number.to_be_bytes()),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        digest.update(bytes.len().to_be_bytes());
                        digest.update(bytes);
                    }
                }
            }
        }
    }

    /// What was on the disk of peer `at` once.
    pub(crate) fn put_back(&mut self, copy: &[u8]) {
        self.rows = Connection::open_in_memory().unwrap();
        self.net.put_back(self.at, copy);
        self.rows = self.net.peers[self.at].database();
        self.connect();
    }

    /// A copy of its disk; the link is a new one after that.
    pub(crate) fn copy(&mut self) -> Vec<u8> {
        self.rows = Connection::open_in_memory().unwrap();
        let copy = self.net.copy_disk(self.at);
        self.rows = self.net.peers[self.at].database();
        self.connect();
        copy
    }
}
