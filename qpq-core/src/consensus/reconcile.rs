//! Going where the evidence says: back to where it differs from our chain, and forward by the winners.
//!
//! A state is in one place only, under its EpochId: it is live, or the copy before a slot, or parked. What was
//! encrypted in a state is lost to whoever goes back before it, so an epoch in which we `spent` keys is only ever
//! entered again by taking its parked state; where that is gone, the way is barred, and we ask to be added again.

use std::collections::BTreeSet;

use super::{
    Ack, Entry, Judged, LOG, Output, Parked, Slot, Step,
    frame::{Frame, Statement as _},
    mls::{Epoch, Mls, Mutant},
};
use crate::id::{CommitId, EpochId, MemberId};

impl<M: Mls> Step<'_, M> {
    /// Makes our chain the one that the evidence names.
    pub(super) fn reconcile(&mut self) -> Result<(), M::Error> {
        let (mut moved, mut switched) = (false, false);
        loop {
            if let Some(slot) = self.lost_slot()? {
                self.leave(slot)?;
                switched = true;
            } else if self.enter_winner()? {
                moved = true;
            } else {
                break;
            }
        }
        self.evict()?;
        if moved || switched {
            self.after_move(switched)?;
        }
        Ok(())
    }

    /// The oldest slot whose Commit is not the winner any more.
    fn lost_slot(&mut self) -> Result<Option<usize>, M::Error> {
        if self.is_mutant(Mutant::ArrivalOrder) {
            return Ok(None);
        }
        for at in 0..self.record.slots.len() {
            let Some(Slot { parent, commit, .. }) = self.record.slots.get(at).cloned() else {
                break;
            };
            self.judge_all(&parent)?;
            let roster: Vec<MemberId> = parent.members().collect();
            if self
                .winner(&parent.id, &roster)
                .is_some_and(|winner| winner != commit)
            {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Goes back to the state before a slot. The later states, and the live one, are parked where keys were used.
    fn leave(&mut self, at: usize) -> Result<(), M::Error> {
        let left = self.record.slots.split_off(at);
        let chain = self.record.log.len().saturating_sub(left.len());
        self.record.departures = self.record.departures.saturating_add(1);
        let live = self.epoch_id();
        if live.is_some() {
            self.mls.snapshot()?;
        }
        let later = left.iter().skip(1).map(|slot| (slot.parent.id, slot.pending));
        let later: Vec<_> = later
            .chain(live.map(|live| (live, self.record.pending)))
            .collect();
        let tip = later.len().saturating_sub(1);
        for (depth, (epoch, pending)) in later.into_iter().enumerate() {
            let mutant =
                self.is_mutant(Mutant::NoParking) || self.is_mutant(Mutant::ParkTipOnly) && depth < tip;
            if self.spent(&epoch) == 0 || mutant {
                self.mls.forget(&epoch)?;
                continue;
            }
            let entries = chain.saturating_add(depth).saturating_add(1);
            let ancestors = self.record.log.iter().take(entries).map(|entry| entry.parent);
            let parked = Parked {
                pending,
                ancestors: ancestors.collect(),
                left: (self.record.departures, depth),
            };
            self.record.parked.insert(epoch, parked);
        }
        self.record.log.truncate(chain);
        if let Some(base) = left.into_iter().next() {
            self.mls.restore(&base.parent.id)?;
            self.record.pending = base.pending;
        }
        if self.is_mutant(Mutant::EvictInside) {
            self.evict()?;
        }
        Ok(())
    }

    /// Enters the best Commit on the live epoch, if there is one; whether anything changed.
    fn enter_winner(&mut self) -> Result<bool, M::Error> {
        let Some(parent) = self.mls.epoch().cloned() else {
            return Ok(false);
        };
        self.judge_all(&parent)?;
        let roster: Vec<MemberId> = parent.members().collect();
        let Some(winner) = self.winner(&parent.id, &roster) else {
            return Ok(false);
        };
        let Some(judged) = self.record.evidence.judged(&parent.id, &winner).cloned() else {
            return Ok(false);
        };
        let pending = self.record.pending;
        if !self.enter(&parent, winner, &judged)? {
            self.record.pending = pending;
            self.record.barred.insert((parent.id, winner));
        }
        Ok(true)
    }

    /// Enters one Commit on the live epoch. `false`: it cannot be entered from here, and we stand where we stood.
    fn enter(&mut self, parent: &Epoch, commit: CommitId, judged: &Judged) -> Result<bool, M::Error> {
        let pending = self.record.pending;
        if judged.merit.author == self.record.own && pending != Some(commit) {
            // MLS cannot process what we encrypted ourselves, and the state that had it pending is gone.
            return Ok(false);
        }
        self.mls.snapshot()?;
        self.record.pending = None;
        if pending == Some(commit) {
            self.mls.merge_pending()?;
        } else if let Some(bytes) = self.record.evidence.commit(&parent.id, &commit) {
            self.mls.apply(&bytes.bytes)?;
        }
        if let Some(epoch) = self.epoch_id() {
            if let Some(parked) = self.record.parked.remove(&epoch) {
                self.mls.restore(&epoch)?;
                self.record.pending = parked.pending;
            } else if self.spent(&epoch) > 0 && !self.is_mutant(Mutant::NoParking) {
                self.mls.restore(&parent.id)?;
                return Ok(false);
            }
        }
        self.extend(parent, commit, judged, pending);
        self.acknowledge(parent.id, commit, parent.members());
        Ok(true)
    }

    /// Adds a Commit that was entered to the chain.
    pub(super) fn extend(
        &mut self,
        parent: &Epoch,
        commit: CommitId,
        judged: &Judged,
        pending: Option<CommitId>,
    ) {
        self.record.slots.push(Slot {
            parent: parent.clone(),
            commit,
            pending,
            since: self.record.clock,
        });
        self.record.log.push(Entry {
            number: parent.number,
            parent: parent.id,
            commit,
            merit: judged.merit,
            roster: parent.members().collect(),
        });
        let log = &mut self.record.log;
        let surplus = log.len().saturating_sub(LOG);
        let buried: Vec<CommitId> = log.drain(..surplus).map(|entry| entry.commit).collect();
        if !judged.removed.is_empty() {
            self.record.removals.push((commit, judged.removed.clone()));
        }
        buried.iter().for_each(|commit| self.bury(commit));
        // Whoever was added has yet to accept; whoever asked to be added again has not.
        let evidence = &self.record.evidence;
        let added = judged
            .added
            .iter()
            .filter(|member| !evidence.has_acked(&parent.id, &commit, member));
        self.record.invited.extend(added);
        judged
            .removed
            .iter()
            .for_each(|member| _ = self.record.invited.remove(member));
        if judged.removed.contains(&self.record.own) {
            self.outputs.push(Output::Removed);
        }
    }

    /// Says that we entered an epoch by a Commit, and how much we sent before it.
    pub(super) fn acknowledge(
        &mut self,
        parent: EpochId,
        commit: CommitId,
        before: impl IntoIterator<Item = MemberId>,
    ) {
        if self.epoch_id().is_none() {
            return;
        }
        self.record.acks = self.record.acks.saturating_add(1);
        let mut ack = Ack {
            parent,
            commit,
            signer: self.mls.own(),
            stream: self.record.stream,
            number: self.record.acks,
            sent: self.record.spent.get(&parent).map_or(0, |spent| spent.first),
            signature: [0; 64],
        };
        if self.is_mutant(Mutant::SettleByPosition) {
            ack.sent = self.record.seq;
        }
        ack.signature = ack.signed_by(self.mls, &self.record.group);
        if self.record.evidence.put_ack(ack) {
            let members: BTreeSet<MemberId> = before.into_iter().chain(self.members()).collect();
            self.send_to_all(members, &Frame::Ack(ack));
        }
    }

    /// Keys that we used in an epoch.
    pub(super) fn spent(&self, epoch: &EpochId) -> u64 {
        let spent = self.record.spent.get(epoch).copied().unwrap_or_default();
        if self.is_mutant(Mutant::SpentWithoutCommits) {
            return spent.messages;
        }
        spent.messages.saturating_add(spent.commits)
    }

    /// Keeps no more parked states than slots may be: the oldest departure goes first, in it the deepest.
    fn evict(&mut self) -> Result<(), M::Error> {
        while self.record.parked.len() > self.limits.window {
            let parked = self.record.parked.iter();
            let first = parked.min_by_key(|(_, parked)| (parked.left.0, std::cmp::Reverse(parked.left.1)));
            let Some(epoch) = first.map(|(epoch, _)| *epoch) else {
                break;
            };
            self.record.parked.remove(&epoch);
            self.mls.forget(&epoch)?;
        }
        Ok(())
    }

    /// What follows from standing somewhere else.
    fn after_move(&mut self, switched: bool) -> Result<(), M::Error> {
        self.outputs.push(Output::Entered { switched });
        self.session.packages.retain(|_, _| !switched);
        self.note_done();
        self.open_stash()?;
        self.settle()?;
        self.release_welcomes();
        if switched {
            self.repair_all()?;
        }
        Ok(())
    }
}
