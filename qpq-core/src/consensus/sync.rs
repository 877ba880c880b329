//! Finding out what another member lacks, by anybody, of anybody: the way on which everything lost is found again.
//!
//! A meets B and sends its Head. Where both stand in one epoch with the same evidence, that is all. Else B answers
//! with all it has, by name; A sends what B lacks and then answers with the same; B sends what A lacks. Whoever then
//! has everything that the other one has, and still stands elsewhere, compares the two chains: the one that loses
//! asks to be added again.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{
    Entry, Frame, Have, Head, Output, RECENT, Step,
    mls::{Mls, Mutant},
};
use crate::{
    delivery::Ranges,
    id::{EpochId, MemberId, StreamId},
};

/// Milliseconds before a member is asked again for what could not be read.
const WANT_AGAIN_MS: i64 = 1_000;
/// Answers of one member that lack something again and again, before they are taken for complete.
const LACKED: u32 = 3;

impl<M: Mls> Step<'_, M> {
    /// Tells a member where we stand, and what it has to hear from us in any case.
    pub fn greet(&mut self, member: MemberId) {
        if !self.takes_part() {
            return;
        }
        let head = Head {
            epoch: self.epoch_id(),
            digest: self.digest(),
            heard: self
                .heard(&member)
                .into_iter()
                .map(|(stream, ranges)| (stream, ranges.last()))
                .collect(),
        };
        self.welcome_again(member);
        self.send(member, Frame::Head(head));
        let leave = self.record.leaves.get(&self.record.own).cloned();
        if let Some(leave) = leave.filter(|_| self.epoch_id().is_some()) {
            self.send(member, Frame::Leave(leave));
        }
    }

    /// Whether this group is any business of ours: it is, or may become again.
    fn takes_part(&self) -> bool {
        self.record.accepted || self.epoch_id().is_some() || !self.record.slots.is_empty()
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let old = self.record.log.len().saturating_sub(RECENT);
        let recent = self.record.log.iter().skip(old).map(|entry| entry.parent);
        self.record
            .evidence
            .digest(recent.chain(self.epoch_id()), &mut hash);
        hash.finalize().into()
    }

    /// What we read of a member's streams.
    fn heard(&self, member: &MemberId) -> Vec<(StreamId, Ranges)> {
        let streams = self
            .record
            .seen
            .iter()
            .filter(|((sender, _), _)| sender == member);
        streams
            .map(|((_, stream), ranges)| (*stream, ranges.truncated()))
            .collect()
    }

    pub(super) fn head_came(&mut self, from: MemberId, head: &Head) -> Result<(), M::Error> {
        if !self.takes_part() {
            return Ok(());
        }
        let own = head
            .heard
            .iter()
            .find(|(stream, _)| *stream == self.record.stream);
        if own.is_some_and(|(_, last)| *last > self.record.left) {
            self.is_doubted_by(from);
        } else if head.epoch == self.epoch_id() && head.digest == self.digest() {
            self.compared(from);
            return self.repair(Some(from));
        }
        let have = self.have(from, true);
        self.send(from, Frame::Have(Box::new(have)));
        Ok(())
    }

    /// Asks a member for what we lack: something of it could not be read. Not more than once in a while, or two members
    /// who cannot read each other would never fall silent.
    pub(super) fn want_from(&mut self, member: MemberId) {
        let now = self.ticks();
        let wanted = self.session.wanted.get(&member);
        if wanted.is_none_or(|then| now.saturating_sub(*then) >= WANT_AGAIN_MS) {
            self.session.wanted.insert(member, now);
            let have = self.have(member, true);
            self.send(member, Frame::Have(Box::new(have)));
        }
    }

    /// All that we have, by name.
    fn have(&self, to: MemberId, ask: bool) -> Have {
        let evidence = &self.record.evidence;
        Have {
            epoch: self.epoch_id(),
            log: self.log_without_rosters(),
            commits: evidence.names().collect(),
            acks: evidence.acks().map(super::Ack::name).collect(),
            seen: self.heard(&to),
            ask,
        }
    }

    pub(super) fn have_came(&mut self, from: MemberId, have: &Have) -> Result<(), M::Error> {
        if !self.takes_part() {
            return Ok(());
        }
        let own = have.seen.iter().find(|(stream, _)| *stream == self.record.stream);
        if own.is_some_and(|(_, heard)| heard.last() > self.record.left) {
            self.is_doubted_by(from);
            return Ok(());
        }
        for (stream, ranges) in &have.seen {
            self.app_ack_came(from, *stream, ranges);
        }
        if !self.is_mutant(Mutant::NoRetransmission) {
            self.push(from, have);
        }
        if have.ask {
            let have = self.have(from, false);
            self.send(from, Frame::Have(Box::new(have)));
        }
        if self.lacks(from, have) {
            return Ok(());
        }
        self.compared(from);
        self.compare(from, have)?;
        if have.epoch.is_some() && have.epoch == self.epoch_id() {
            return self.repair(Some(from));
        }
        Ok(())
    }

    /// The chain, for those who have their own word on who was a member.
    pub(super) fn log_without_rosters(&self) -> Vec<Entry> {
        let entries = self.record.log.iter().cloned();
        let entries = entries.map(|entry| Entry {
            roster: Vec::new(),
            ..entry
        });
        entries.collect()
    }

    /// Sends what the other one lacks, in the order of our chain.
    fn push(&mut self, to: MemberId, have: &Have) {
        let evidence = &self.record.evidence;
        let known: BTreeSet<_> = have.commits.iter().collect();
        let log = &self.record.log;
        let place = |parent: &EpochId| {
            log.iter()
                .position(|entry| entry.parent == *parent)
                .unwrap_or(usize::MAX)
        };
        let commits = evidence
            .commits()
            .filter(|(id, commit)| !known.contains(&(commit.parent, *id)));
        let mut commits: Vec<_> = commits
            .map(|(_, commit)| (place(&commit.parent), commit.clone()))
            .collect();
        commits.sort_by_key(|(place, _)| *place);
        let known: BTreeSet<_> = have.acks.iter().collect();
        let acks = evidence.acks().filter(|ack| !known.contains(&ack.name()));
        let acks = acks.map(|ack| Frame::Ack(*ack));
        let commits = commits.into_iter().map(|(_, commit)| Frame::Commit(commit));
        let frames: Vec<Frame> = commits.chain(acks).collect();
        frames.into_iter().for_each(|frame| self.send(to, frame));
    }

    /// Whether the other one has evidence that we do not have: it was just asked for it.
    fn lacks(&mut self, from: MemberId, have: &Have) -> bool {
        let evidence = &self.record.evidence;
        let lacks = have
            .commits
            .iter()
            .any(|(parent, commit)| !evidence.has(parent, commit))
            || have.acks.iter().any(|ack| evidence.would_take(ack));
        let lacked = self.session.lacked.entry(from).or_default();
        *lacked = if lacks { lacked.saturating_add(1) } else { 0 };
        lacks && *lacked < LACKED
    }

    /// Somebody says to have messages of ours, of this very life, that we never wrote. It is not signed by us, so it
    /// only delays us until somebody says otherwise, unless everybody who could says so.
    fn is_doubted_by(&mut self, member: MemberId) {
        self.session.doubted_by.insert(member);
        let members = self.members();
        let mut others = members.iter().filter(|other| **other != self.record.own);
        if others.all(|other| self.session.doubted_by.contains(other) || self.record.invited.contains(other))
        {
            self.is_older_copy();
        }
    }

    pub(super) fn is_older_copy(&mut self) {
        if !self.is_mutant(Mutant::IgnoreRestore) && !self.record.older_copy {
            self.record.older_copy = true;
            self.session.compared = false;
            self.outputs.push(Output::OlderCopy);
        }
    }

    /// A member knows no more of us than we do.
    fn compared(&mut self, member: MemberId) {
        self.session.doubted_by.remove(&member);
        self.session.compared = !self.record.older_copy;
    }

    /// Two members who have the same evidence and stand in different epochs.
    fn compare(&mut self, from: MemberId, have: &Have) -> Result<(), M::Error> {
        let Some(theirs) = have.epoch.filter(|epoch| self.epoch_id() != Some(*epoch)) else {
            return Ok(());
        };
        let last = self.record.log.last().filter(|_| !self.was_added_again());
        let removed_there = last.is_some_and(|last| have.log.iter().any(|entry| entry.commit == last.commit));
        let wanted = match self.epoch_id() {
            Some(_) => self.loses_to(&have.log),
            // Removed on a branch that nobody answers for any more, perhaps; whoever is not a member there is told so.
            None => !removed_there && self.record.accepted,
        };
        if wanted {
            self.ask_to_rejoin(from, theirs)?;
        }
        Ok(())
    }
}
