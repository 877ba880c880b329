//! What one member knows of one group: what is on the disk after each step, and what a restart forgets.

use std::collections::{BTreeMap, BTreeSet};

use super::{App, Entry, Evidence, Intent, Leave, Outgoing, Rejoin, Welcome, mls::Epoch, welcome::Held};
use crate::{
    delivery::Ranges,
    id::{CommitId, EpochId, GroupId, MemberId, PeerId, StreamId},
};

/// What one member knows of one group, its MLS states aside.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) group: GroupId,
    pub(super) own: MemberId,
    /// This life, and the messages written in it.
    pub(super) stream: StreamId,
    pub(super) seq: u64,
    /// The last of them that has left.
    pub(super) left: u64,
    /// Acks given in it.
    pub(super) acks: u64,
    /// The chain, oldest first.
    pub(super) log: Vec<Entry>,
    /// The Commits at its end that may still lose, oldest first.
    pub(super) slots: Vec<Slot>,
    /// States of branches that were left, for the way back.
    pub(super) parked: BTreeMap<EpochId, Parked>,
    /// Branches left so far.
    pub(super) departures: u64,
    /// Our own Commit that the live state has pending.
    pub(super) pending: Option<CommitId>,
    /// Messages that we encrypted, by epoch: an epoch where this is not nothing is never entered from before it.
    pub(super) spent: BTreeMap<EpochId, Spent>,
    /// Commits that would lead into such an epoch. Ours alone: others may well choose them.
    pub(super) barred: BTreeSet<(EpochId, CommitId)>,
    pub(super) evidence: Evidence,
    pub(super) intents: Vec<Intent>,
    pub(super) outbox: Vec<Outgoing>,
    pub(super) seen: BTreeMap<(MemberId, StreamId), Ranges>,
    /// Messages read, by the epoch that they were first sent in and their sender.
    pub(super) opened: BTreeMap<(EpochId, MemberId), u64>,
    /// Messages that cannot be opened yet.
    pub(super) stash: Vec<App>,
    /// Members who have not accepted their invitation, as far as we know.
    pub(super) invited: BTreeSet<MemberId>,
    /// Welcomes that we owe.
    pub(super) welcomes: Vec<Held>,
    /// Welcomes that wait for the user.
    pub(super) invitations: Vec<(MemberId, Welcome)>,
    /// Leaving members, by their last word.
    pub(super) leaves: BTreeMap<MemberId, Leave>,
    /// Who was removed by Commits that not everybody has passed.
    pub(super) removals: Vec<(CommitId, Vec<MemberId>)>,
    /// Milliseconds that passed, as far as clocks that jump can tell.
    pub(super) clock: i64,
    /// The reading of the wall clock that it goes on from.
    pub(super) read: i64,
    /// Somebody has words of ours that this database does not know.
    pub(super) older_copy: bool,
    /// The KeyPackage by which we asked to be added again.
    pub(super) package: Option<Vec<u8>>,
    /// Whether the user wants to be in this group: it is theirs, or they accepted an invitation once.
    pub(super) accepted: bool,
    /// When our keys were last renewed on the clock of the record; 0: not known yet.
    pub(super) updated: i64,
    /// Whether we came into a large group and have not committed yet.
    pub(super) newcomer: bool,
}

/// A Commit of the chain that may still lose. The state before it is kept as the copy of its parent epoch.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) parent: Epoch,
    pub(super) commit: CommitId,
    /// Our own Commit that the state before has pending.
    pub(super) pending: Option<CommitId>,
    /// When it was entered on the clock of the record.
    pub(super) since: i64,
}

/// A state of a branch that was left, kept as the copy of its epoch.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    pub(super) pending: Option<CommitId>,
    /// The epochs before it.
    pub(super) ancestors: BTreeSet<EpochId>,
    /// Which departure left it, and how far from its base.
    pub(super) left: (u64, usize),
}

/// Encryptions in one epoch; no secrets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) messages: u64,
    pub(super) commits: u64,
    /// Messages that were encrypted for the first time.
    pub(super) first: u64,
    /// Its place among all of them; clocks jump, and this must not be forgotten too early.
    pub(super) order: u64,
}

/// What a restart forgets.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    /// Whether what another member has was compared with what we have, or the group was made since the start.
    pub(super) compared: bool,
    pub(super) connected: BTreeSet<MemberId>,
    /// Members who ask to be added again, and since which tick.
    pub(super) rejoins: BTreeMap<MemberId, (Rejoin, Vec<u8>, i64)>,
    /// Since which tick we know of each leave.
    pub(super) noticed: BTreeMap<MemberId, i64>,
    /// Since which tick each Welcome is held.
    pub(super) held: BTreeMap<CommitId, i64>,
    /// The Rejoins that we sent last: to whom, for which epoch, at which tick.
    pub(super) asked: BTreeMap<MemberId, (EpochId, i64)>,
    /// Members who say to have words of ours that we do not know.
    pub(super) doubted_by: BTreeSet<MemberId>,
    /// The tick of the last step.
    pub(super) ticked: i64,
    /// At which tick we last asked each member for what could not be read.
    pub(super) wanted: BTreeMap<MemberId, i64>,
    /// How often in a row each member had something that we lack.
    pub(super) lacked: BTreeMap<MemberId, u32>,
    /// KeyPackages that were asked for and came.
    pub(super) packages: BTreeMap<MemberId, Vec<u8>>,
}

impl Record {
    /// Of a group that we know nothing of yet.
    pub(super) fn new(group: GroupId, own: &PeerId, stream: StreamId) -> Self {
        Self {
            group,
            own: MemberId::from(own),
            stream,
            seq: 0,
            left: 0,
            acks: 0,
            log: Vec::new(),
            slots: Vec::new(),
            parked: BTreeMap::new(),
            departures: 0,
            pending: None,
            spent: BTreeMap::new(),
            barred: BTreeSet::new(),
            evidence: Evidence::default(),
            intents: Vec::new(),
            outbox: Vec::new(),
            seen: BTreeMap::new(),
            opened: BTreeMap::new(),
            stash: Vec::new(),
            invited: BTreeSet::new(),
            welcomes: Vec::new(),
            invitations: Vec::new(),
            leaves: BTreeMap::new(),
            removals: Vec::new(),
            clock: 1,
            read: 0,
            older_copy: false,
            package: None,
            accepted: false,
            updated: 0,
            newcomer: false,
        }
    }
}
