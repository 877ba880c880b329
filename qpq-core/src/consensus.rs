//! How a group keeps one history without a sequencer.
//!
//! MLS needs all members to agree on one Commit per epoch (RFC 9420 §14). Here members commit whenever they like,
//! asleep or apart. What they agree on is a set that only grows: Commits and signed acks, the evidence. Which
//! Commit follows on an epoch is a pure function of it (`rule`), so two members who have the same evidence stand in
//! the same epoch, in whatever order it came. The rest of this module is what makes that true of real states:
//!
//! | to read about | begin at |
//! |---|---|
//! | which of several Commits wins | `rule` |
//! | what was heard of, and what each Commit is | `evidence`, `judge` |
//! | which Commits are allowed | `validity` |
//! | going back, and going on with the winner | `reconcile` |
//! | when there is no way back any more, and old secrets are deleted | `settle` |
//! | what the user wants done, on whatever branch wins | `intents`, `leave` |
//! | making a Commit, for the user or unasked | `commit` |
//! | messages: first sends, repairs, receipts | `delivery` |
//! | finding out what another member lacks | `sync` |
//! | coming in, and being added again | `welcome`, `rejoin` |
//! | what MLS must be able to do | [`mls`] |
//!
//! Nothing here knows a clock, a network, a disk or random numbers: a [`Step`] gets a reading of the clocks and a
//! [`mls::Mls`], changes the [`Group`], and gives back what is to be sent once both are durable, in one transaction.

mod commit;
mod delivery;
mod evidence;
mod frame;
mod intents;
mod judge;
mod leave;
pub mod mls;
mod output;
mod reconcile;
mod record;
mod rejoin;
mod rule;
mod settle;
mod sync;
mod validity;
mod welcome;

use std::collections::BTreeSet;

pub use delivery::{NotInGroup, Outgoing};
pub use evidence::{Evidence, Judged};
pub use frame::{
    Ack, AckName, App, Commit, Entry, Frame, Have, Head, Header, Leave, Merit, Reasons, Rejoin, Welcome,
};
pub use intents::{Intent, IntentError, What};
pub use output::Output;
pub use rule::Key;

/// For the tests and benchmarks of this crate alone.
#[doc(hidden)]
pub use crate::group::danger;

use crate::{
    delivery::Ranges,
    id::{CommitId, EpochId, GroupId, MemberId, PeerId, StreamId},
    time::Now,
};
use mls::{Epoch, Mls};
use record::{Parked, Record, Session, Slot, Spent};

/// What may be chosen; the defaults are what simulation showed (ADR 17).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Epochs that may wait for somebody's ack before the oldest is settled all the same.
    pub window: usize,
    /// Milliseconds that a Welcome waits for a certificate.
    pub welcome_ms: i64,
    /// Milliseconds after which a certified slot is settled.
    pub certified_ms: i64,
    /// Milliseconds after which any slot is settled.
    pub slot_ms: i64,
    /// Milliseconds in which Rejoins are gathered, and over which automatic Commits are spread.
    pub spread_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: 8,
            welcome_ms: 2_000,
            certified_ms: 3_600_000,
            slot_ms: 7 * 24 * 3_600_000,
            spread_ms: 2_000,
        }
    }
}

/// Members that a group may have.
pub const MAX_MEMBERS: usize = 256;

/// Entries of the chain that are remembered.
const LOG: usize = 64;
/// Of these, how many Heads are about.
const RECENT: usize = 8;
/// The longest time between two steps that a wall clock is believed, in milliseconds.
const LONGEST_SLEEP_MS: i64 = 30 * 24 * 3_600_000;
/// Epochs in which we used keys that are remembered.
const SPENT: usize = 4_096;

/// One member's part in one group.
#[derive(Debug, Clone)]
pub struct Group {
    /// What is on the disk after each step.
    record: Record,
    /// What a restart forgets.
    session: Session,
    limits: Limits,
}

/// A step: everything that follows from one input, to be committed as a whole.
///
/// After an error the transaction must be rolled back and the [`Group`] loaded again.
#[derive(Debug)]
pub struct Step<'a, M: Mls> {
    mls: &'a mut M,
    record: &'a mut Record,
    session: &'a mut Session,
    limits: Limits,
    now: Now,
    outputs: Vec<Output>,
}

impl Group {
    /// A group that we know nothing of yet. `stream` is drawn at random.
    pub fn new(group: GroupId, own: &PeerId, stream: StreamId, limits: Limits) -> Self {
        Self {
            record: Record::new(group, own, stream),
            session: Session::default(),
            limits,
        }
    }

    /// The same group after a restart of its owner.
    #[must_use]
    pub fn restarted(mut self) -> Self {
        self.session = Session::default();
        self
    }

    /// Begins a step.
    pub fn step<'a, M: Mls>(&'a mut self, mls: &'a mut M, now: Now) -> Step<'a, M> {
        let mut step = Step {
            mls,
            record: &mut self.record,
            session: &mut self.session,
            limits: self.limits,
            now,
            outputs: Vec::new(),
        };
        step.wind();
        step
    }

    /// The chain, oldest first; its last entries, as many as [`Self::slots`], may still lose.
    pub fn log(&self) -> &[Entry] {
        &self.record.log
    }

    /// Epochs whose states are kept because somebody has not passed them, oldest first.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = EpochId> {
        self.record.slots.iter().map(|slot| slot.parent.id)
    }

    /// Epochs of branches that were left and may be entered again.
    pub fn parked(&self) -> impl ExactSizeIterator<Item = EpochId> {
        self.record.parked.keys().copied()
    }

    /// Everything the chain follows from.
    pub fn evidence(&self) -> &Evidence {
        &self.record.evidence
    }

    /// Whether a Commit leads where we must not go by it.
    pub fn is_barred(&self, parent: &EpochId, commit: &CommitId) -> bool {
        self.record.barred.contains(&(*parent, *commit))
    }

    /// What the user asked for and is not settled yet.
    pub fn intents(&self) -> &[Intent] {
        &self.record.intents
    }

    /// Messages that somebody has not got yet.
    pub fn outbox(&self) -> &[Outgoing] {
        &self.record.outbox
    }

    /// The life we are in.
    pub fn stream(&self) -> StreamId {
        self.record.stream
    }

    /// What was read of a stream.
    pub fn seen(&self, member: &MemberId, stream: &StreamId) -> Option<&Ranges> {
        self.record.seen.get(&(*member, *stream))
    }

    /// Whether Commits and messages may leave: not before another member's word was compared with ours.
    pub fn is_compared(&self) -> bool {
        self.session.compared
    }
}

impl<M: Mls> Step<'_, M> {
    /// Makes the group, with ourselves as its only member and admin.
    ///
    /// # Errors
    /// The storage failed.
    pub fn create(&mut self, name: &str) -> Result<(), M::Error> {
        self.mls.create(&crate::content::GroupData {
            name: name.to_owned(),
            admins: vec![self.record.own],
            version: 1,
        })?;
        self.session.compared = true;
        self.record.accepted = true;
        Ok(())
    }

    /// Somebody can be reached.
    ///
    /// # Errors
    /// The storage failed.
    pub fn connected(&mut self, member: MemberId) -> Result<(), M::Error> {
        self.session.connected.insert(member);
        self.greet(member);
        Ok(())
    }

    /// Somebody cannot be reached any more.
    pub fn disconnected(&mut self, member: &MemberId) {
        self.session.connected.remove(member);
    }

    /// Takes what a member sent. Who may send what is the caller's to know; this looks at what it says.
    ///
    /// # Errors
    /// The storage failed. What is no good is dropped.
    pub fn receive(&mut self, from: MemberId, frame: Frame) -> Result<(), M::Error> {
        match frame {
            Frame::Commit(commit) => self.commit_came(commit)?,
            Frame::Ack(ack) => self.ack_came(ack)?,
            // Nobody brings what others wrote.
            Frame::App(app) if app.sender == from => self.app_came(app)?,
            Frame::App(_) => {}
            Frame::AppAck(stream, ranges) => self.app_ack_came(from, stream, &ranges),
            Frame::Welcome(welcome) => self.welcome_came(from, *welcome)?,
            Frame::Refuse => self.refuse_came(from),
            Frame::Head(head) => self.head_came(from, &head)?,
            Frame::Have(have) => self.have_came(from, &have)?,
            Frame::Rejoin(rejoin, package) => self.rejoin_came(from, *rejoin, package),
            Frame::Leave(leave) => self.leave_came(leave),
            Frame::NotMember(log) => self.not_member_came(from, &log)?,
        }
        self.pursue()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The storage failed.
    pub fn tick(&mut self) -> Result<(), M::Error> {
        self.settle()?;
        self.conclude();
        self.release_welcomes();
        self.forget_old();
        self.pursue()
    }

    /// What is to be done once everything is durable.
    pub fn finish(self) -> Vec<Output> {
        self.outputs
    }

    fn send(&mut self, to: MemberId, frame: Frame) {
        if to != self.record.own {
            self.outputs.push(Output::Send(to, frame));
        }
    }

    fn send_to_all(&mut self, members: impl IntoIterator<Item = MemberId>, frame: &Frame) {
        let members: BTreeSet<MemberId> = members.into_iter().collect();
        members
            .into_iter()
            .for_each(|member| self.send(member, frame.clone()));
    }

    fn epoch_id(&self) -> Option<EpochId> {
        self.mls.epoch().map(|epoch| epoch.id)
    }

    fn members(&self) -> Vec<MemberId> {
        self.mls.epoch().into_iter().flat_map(Epoch::members).collect()
    }

    fn is_mutant(&self, mutant: mls::Mutant) -> bool {
        self.mls.mutant() == Some(mutant)
    }

    /// Milliseconds of a clock that never jumps; for what a restart forgets.
    fn ticks(&self) -> i64 {
        i64::try_from(self.now.monotonic.as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since a time that was noted.
    fn since(&self, then: i64) -> i64 {
        self.record.clock.saturating_sub(then).max(0)
    }

    /// Lets the clock of the record go on. The wall clock also counts while the program does not run, but it may jump:
    /// then what passed since the last step counts, and no more.
    fn wind(&mut self) {
        let ticks = self.ticks();
        let ticked = std::mem::replace(&mut self.session.ticked, ticks);
        let read = std::mem::replace(&mut self.record.read, self.now.unix_ms);
        let wall = self.record.read.saturating_sub(read);
        let lived = self.session.ticked.saturating_sub(ticked).max(0);
        let known = read != 0 && (0..=LONGEST_SLEEP_MS).contains(&wall);
        let passed = if known {
            wall
        } else if ticked != 0 {
            lived
        } else {
            0
        };
        self.record.clock = self.record.clock.saturating_add(passed);
    }
}
