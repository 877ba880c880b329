//! Taking evidence in, and finding out what each Commit is.

use std::collections::BTreeSet;

use super::{
    Ack, Commit, MAX_MEMBERS, Output, Step,
    evidence::{ACKS, COMMIT_BYTES, PER_AUTHOR, Verdict},
    frame::Statement as _,
    mls::{Epoch, Judgement, Mls},
};
use crate::id::{CommitId, EpochId, MemberId};

impl<M: Mls> Step<'_, M> {
    pub(super) fn commit_came(&mut self, commit: Commit) -> Result<(), M::Error> {
        let (id, parent) = (CommitId::of(&commit.bytes), commit.parent);
        let few = |reasons: usize| reasons <= MAX_MEMBERS;
        let small = commit.bytes.len() <= COMMIT_BYTES
            && few(commit.reasons.leaves.len())
            && few(commit.reasons.rejoins.len());
        if small && self.record.evidence.put_unjudged(id, commit) {
            let kept = self.kept();
            self.record.evidence.make_room(&kept);
            if kept.contains(&parent) {
                self.reconcile()?;
            }
        }
        Ok(())
    }

    /// Epochs that we have a state of, on our chain.
    fn kept(&self) -> Vec<EpochId> {
        let slots = self.record.slots.iter().map(|slot| slot.parent.id);
        slots.chain(self.epoch_id()).collect()
    }

    pub(super) fn ack_came(&mut self, ack: Ack) -> Result<(), M::Error> {
        let evidence = &self.record.evidence;
        let roster = self.roster_of(&ack.parent);
        let (member, log) = (ack.member(), &self.record.log);
        let stranger = match &roster {
            // Whoever was added by a Commit acks it as well.
            Some(roster) => {
                let mut rosters = log.iter().map(|entry| &entry.roster);
                !roster.contains(&member)
                    && !self.members().contains(&member)
                    && !rosters.any(|roster| roster.contains(&member))
            }
            None => evidence.acks().count() >= ACKS,
        };
        if stranger || !evidence.would_take(&ack.name()) || !ack.is_signed(self.mls, &self.record.group) {
            return Ok(());
        }
        if ack.member() == self.record.own
            && ack.stream == self.record.stream
            && ack.number > self.record.acks
        {
            // Our own signature, which we do not know of.
            self.is_older_copy();
            return Ok(());
        }
        let roster = roster.unwrap_or_default();
        let certified = evidence.is_certified(&ack.parent, &ack.commit, &roster);
        if self.record.evidence.put_ack(ack) {
            self.record.invited.remove(&ack.member());
            if !certified
                && self
                    .record
                    .evidence
                    .is_certified(&ack.parent, &ack.commit, &roster)
            {
                self.record.evidence.want_again(&ack);
                self.reconcile()?;
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Judges what came for an epoch that we have a state of.
    pub(super) fn judge_all(&mut self, parent: &Epoch) -> Result<(), M::Error> {
        for (id, same) in self.record.evidence.unjudged(&parent.id) {
            if self.record.barred.contains(&(parent.id, id)) {
                continue;
            }
            let bytes = same
                .first()
                .map(|commit| commit.bytes.clone())
                .unwrap_or_default();
            let verdict = match self.mls.judge(&parent.id, &bytes)? {
                Judgement::Valid(proposed) => {
                    let mut same = same.into_iter();
                    let Some(commit) = same.find(|commit| proposed.aad == commit.reasons.digest()) else {
                        // Whoever forwarded it took its reasons away: others may have them.
                        self.record.evidence.drop(&parent.id, &id);
                        continue;
                    };
                    match self.validate(parent, &proposed, &commit.reasons) {
                        Some(judged) => Verdict::Valid(commit, judged),
                        None => Verdict::Invalid,
                    }
                }
                // Others may enter it. Where they do, comparing chains leads to a Rejoin.
                Judgement::Own => {
                    self.record.barred.insert((parent.id, id));
                    continue;
                }
                Judgement::Invalid => Verdict::Invalid,
            };
            let author = match &verdict {
                Verdict::Valid(_, judged) => Some(judged.merit.author),
                Verdict::Unjudged(_) | Verdict::Invalid | Verdict::Surplus => None,
            };
            self.record.evidence.decide(&parent.id, &id, verdict);
            if let Some(author) = author {
                self.limit(parent, &author);
            }
        }
        Ok(())
    }

    /// Keeps the best Commits of one author on one epoch, the same ones wherever the evidence is the same.
    fn limit(&mut self, parent: &Epoch, author: &MemberId) {
        let roster: Vec<MemberId> = parent.members().collect();
        let of_author = self.record.evidence.valid(&parent.id);
        let of_author = of_author.filter(|(_, judged)| judged.merit.author == *author);
        let mut keys: Vec<_> = of_author
            .map(|(id, judged)| (self.key(&parent.id, id, &judged.merit, &roster), *id))
            .collect();
        keys.sort_unstable();
        if let [(_, first), (_, second)] = keys.as_slice() {
            self.outputs.push(Output::Equivocation(*author, *first, *second));
        }
        for (_, surplus) in keys.into_iter().skip(PER_AUTHOR) {
            self.record
                .evidence
                .decide(&parent.id, &surplus, Verdict::Surplus);
        }
    }

    /// Who was a member in an epoch of our chain or at its end.
    pub(super) fn roster_of(&self, epoch: &EpochId) -> Option<Vec<MemberId>> {
        if let Some(live) = self.mls.epoch().filter(|live| live.id == *epoch) {
            return Some(live.members().collect());
        }
        let entry = self.record.log.iter().find(|entry| entry.parent == *epoch)?;
        (!entry.roster.is_empty()).then(|| entry.roster.clone())
    }

    /// Forgets what nobody needs any more.
    pub(super) fn forget_old(&mut self) {
        let kept = self.kept();
        let log = self.record.log.iter().map(|entry| entry.parent);
        let log: BTreeSet<EpochId> = log.chain(kept.iter().copied()).collect();
        self.record.evidence.forget(&kept, &log);
        let record = &mut *self.record;
        record
            .barred
            .retain(|(_, commit)| record.evidence.names().any(|(_, known)| known == *commit));
    }
}
