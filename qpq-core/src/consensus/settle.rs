//! When there is no way back any more: the oldest slot is settled, and the secrets of its epoch are deleted.

use std::collections::BTreeSet;

use super::{
    Output, Slot, Step, What,
    mls::{Mls, Mutant},
};
use crate::id::{CommitId, EpochId, MemberId};

/// Epochs and senders of which read messages are counted.
const OPENED: usize = 4_096;

impl<M: Mls> Step<'_, M> {
    /// Settles what nobody needs any more, oldest first.
    pub(super) fn settle(&mut self) -> Result<(), M::Error> {
        while let Some(slot) = self.record.slots.first() {
            let full = self.record.slots.len() > self.limits.window;
            if !full && !self.is_settled(slot) {
                break;
            }
            let slot = self.record.slots.remove(0);
            self.mls.forget(&slot.parent.id)?;
            self.record
                .opened
                .retain(|(epoch, _), _| *epoch != slot.parent.id);
        }
        self.prune_parked()
    }

    /// Tells what is done for good and what cannot be done any more.
    pub(super) fn conclude(&mut self) {
        let sure = self.sure();
        self.trim_intents(&sure);
        self.tell_removed(&sure);
        // Messages of epochs that are nobody's any more.
        if self.record.opened.len() > OPENED {
            let slots = &self.record.slots;
            let live = self.mls.epoch().map(|live| live.id);
            let kept =
                |epoch: &EpochId| live == Some(*epoch) || slots.iter().any(|slot| slot.parent.id == *epoch);
            self.record.opened.retain(|(epoch, _), _| kept(epoch));
        }
    }

    /// The Commits of our chain that everybody has passed. A slot that was settled for its age alone is not among
    /// them: those who were away may bring a branch that wins all the same, and we are added to it again.
    fn sure(&self) -> Vec<CommitId> {
        let Some(live) = self.mls.epoch() else {
            return Vec::new();
        };
        let (log, evidence) = (&self.record.log, &self.record.evidence);
        let passed = |member: &MemberId| {
            let acked = |entry: &super::Entry| evidence.has_acked(&entry.parent, &entry.commit, member);
            log.iter().rposition(acked).map_or(0, |at| at.saturating_add(1))
        };
        let waited = live.members().filter(|member| self.is_waited_for(member));
        let sure = waited.map(|member| passed(&member)).min().unwrap_or(log.len());
        log.iter().take(sure).map(|entry| entry.commit).collect()
    }

    /// Everybody is past it and we read what they sent before it; or it is certified and old; or very old.
    fn is_settled(&self, slot: &Slot) -> bool {
        let age = self.since(slot.since);
        let roster: Vec<MemberId> = slot.parent.members().collect();
        if age >= self.limits.slot_ms {
            return true;
        }
        let evidence = &self.record.evidence;
        if age >= self.limits.certified_ms && evidence.is_certified(&slot.parent.id, &slot.commit, &roster) {
            return true;
        }
        let mut waited = roster.iter().filter(|member| self.is_waited_for(member));
        self.epoch_id().is_some() && waited.all(|member| self.is_past(slot, member))
    }

    /// For whom each slot is kept: members who have not passed it, or whose messages of before it we lack.
    pub fn waits_for(&self) -> Vec<(EpochId, Vec<MemberId>)> {
        let slots = self.record.slots.iter().map(|slot| {
            let roster = slot.parent.members();
            let waits = roster.filter(|member| self.is_waited_for(member) && !self.is_past(slot, member));
            (slot.parent.id, waits.collect())
        });
        slots.collect()
    }

    /// Whether a member counts: one that is in the group still, and has accepted its invitation.
    fn is_waited_for(&self, member: &MemberId) -> bool {
        let live = self.mls.epoch().is_some_and(|live| live.has(member));
        live && *member != self.record.own && !self.record.invited.contains(member)
    }

    /// Whether a member has passed a slot, by its Commit or on a later one of our chain, and we have read as many
    /// messages that it first sent before it as it says to have sent.
    fn is_past(&self, slot: &Slot, member: &MemberId) -> bool {
        let evidence = &self.record.evidence;
        let at = self
            .record
            .log
            .iter()
            .position(|entry| entry.parent == slot.parent.id);
        let chain = self
            .record
            .log
            .get(at.unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        let Some(life) = evidence.life(chain, member) else {
            return false;
        };
        let Some(ack) = evidence.ack(&slot.parent.id, &slot.commit, member) else {
            return true;
        };
        if ack.stream != life {
            // It lost its disk since: what it sent before and we never got is lost.
            return true;
        }
        if self.is_mutant(Mutant::SettleByPosition) {
            let seen = self.record.seen.get(&(*member, ack.stream));
            return seen.map_or(0, crate::delivery::Ranges::count) >= ack.sent;
        }
        self.opened(&slot.parent.id, member) >= ack.sent
    }

    /// Messages of a member that it first sent in an epoch and we read.
    fn opened(&self, epoch: &EpochId, member: &MemberId) -> u64 {
        self.record.opened.get(&(*epoch, *member)).copied().unwrap_or(0)
    }

    /// A parked state goes with the last slot from which it could be reached.
    fn prune_parked(&mut self) -> Result<(), M::Error> {
        let slots: Vec<EpochId> = self.record.slots.iter().map(|slot| slot.parent.id).collect();
        let gone = self.record.parked.iter();
        let gone = gone.filter(|(_, parked)| !slots.iter().any(|slot| parked.ancestors.contains(slot)));
        for epoch in gone.map(|(epoch, _)| *epoch).collect::<Vec<_>>() {
            self.record.parked.remove(&epoch);
            self.mls.forget(&epoch)?;
        }
        Ok(())
    }

    /// Once everybody has passed a removal, the user is told that whoever was removed will not get what waits for them.
    /// It is kept all the same for as long as the removal is remembered in the chain: another branch may still win.
    fn tell_removed(&mut self, sure: &[CommitId]) {
        let log = &self.record.log;
        self.record
            .removals
            .retain(|(commit, _)| log.iter().any(|entry| entry.commit == *commit));
        let removals = self
            .record
            .removals
            .iter()
            .filter(|(commit, _)| sure.contains(commit));
        let removed: BTreeSet<MemberId> = removals
            .flat_map(|(_, removed)| removed.iter().copied())
            .collect();
        let live: Vec<MemberId> = self.members();
        for outgoing in &mut self.record.outbox {
            let gone = outgoing
                .need
                .iter()
                .filter(|member| removed.contains(member) && !live.contains(member));
            for member in gone.copied().collect::<Vec<_>>() {
                if outgoing.failed.insert(member) {
                    self.outputs.push(Output::Failed(outgoing.message, member));
                }
            }
        }
    }

    /// The chain was replaced by that of a Welcome: what an old entry up to the last common one did is done for good.
    fn is_buried(&self, old: &[super::Entry]) -> Vec<CommitId> {
        let log = &self.record.log;
        let is_in = |commit: &CommitId| log.iter().any(|entry| entry.commit == *commit);
        // Where nothing is common, nobody can tell what others decided since: it is not done again unasked.
        let common = old.iter().rposition(|entry| is_in(&entry.commit));
        let done = common.map_or(old.len(), |at| at.saturating_add(1));
        let done = old.iter().take(done).map(|entry| entry.commit);
        done.filter(|commit| !is_in(commit)).collect()
    }

    pub(super) fn bury_all(&mut self, old: &[super::Entry]) {
        let buried = self.is_buried(old);
        buried.iter().for_each(|commit| self.bury(commit));
    }

    /// What a Commit did is done for good: it is so deep in the chain that it is forgotten.
    pub(super) fn bury(&mut self, commit: &CommitId) {
        let invited = self.record.invited.clone();
        self.record.intents.retain(|intent| {
            let waits = matches!(&intent.what, What::Add(member) if invited.contains(member));
            waits || !intent.commits.contains(commit)
        });
        let live: Vec<MemberId> = self.members();
        let gone: Vec<_> = self
            .record
            .removals
            .extract_if(.., |(removal, _)| removal == commit)
            .collect();
        for member in gone.into_iter().flat_map(|(_, removed)| removed) {
            for outgoing in self.record.outbox.iter_mut().filter(|_| !live.contains(&member)) {
                outgoing.need.remove(&member);
            }
        }
        self.record.outbox.retain(|outgoing| !outgoing.is_done());
    }
}
