//! Being added again: the way that always works, where going back does not.

use super::{
    Entry, Frame, Output, Rejoin, Step,
    frame::Statement as _,
    mls::{Mls, Mutant},
};
use crate::id::{EpochId, MemberId, StreamId};

/// Milliseconds before the same member is asked for the same again.
const ASK_AGAIN_MS: i64 = 10_000;

impl<M: Mls> Step<'_, M> {
    /// Asks a member of the branch that wins to add us again.
    pub(super) fn ask_to_rejoin(&mut self, member: MemberId, answered: EpochId) -> Result<(), M::Error> {
        let now = self.ticks();
        let asked = self.session.asked.get(&member);
        if asked.is_some_and(|(epoch, at)| *epoch == answered && now.saturating_sub(*at) < ASK_AGAIN_MS) {
            return Ok(());
        }
        // One at a time: each that nobody needs any more opens whatever was ever encrypted to it.
        let bytes = match &self.record.package {
            Some(bytes) => bytes.clone(),
            None => self.mls.key_package()?,
        };
        self.record.package = Some(bytes.clone());
        let Some(package) = self.mls.read_key_package(&bytes) else {
            return Ok(());
        };
        let mut rejoin = Rejoin {
            signer: self.mls.own(),
            answered,
            package: package.reference,
            signature: [0; 64],
        };
        rejoin.signature = rejoin.signed_by(self.mls, &self.record.group);
        if self.session.asked.is_empty() {
            self.outputs.push(Output::Rejoining);
        }
        self.session.asked.insert(member, (answered, now));
        self.send(member, Frame::Rejoin(Box::new(rejoin), bytes));
        Ok(())
    }

    /// Somebody wants to be added again. Who is no member is told so; a member's wish is granted in one Commit with
    /// those of others (`plan_rejoins`), on the very epoch that it answered, or not at all.
    pub(super) fn rejoin_came(&mut self, from: MemberId, rejoin: Rejoin, bytes: Vec<u8>) {
        let package = self.mls.read_key_package(&bytes);
        let fits =
            package.is_some_and(|package| package.member == from && package.reference == rejoin.package);
        if rejoin.member() != from || !fits || !rejoin.is_signed(self.mls, &self.record.group) {
            return;
        }
        let Some(epoch) = self.mls.epoch() else {
            return;
        };
        if !epoch.has(&from) {
            let log = self.log_without_rosters();
            self.send(from, Frame::NotMember(log));
        } else if rejoin.answered == epoch.id || self.is_mutant(Mutant::OldRejoin) {
            let now = self.ticks();
            let asked = self.session.rejoins.get(&from);
            let since = asked.filter(|(known, ..)| known.answered == rejoin.answered);
            let since = since.map_or(now, |(_, _, since)| *since);
            self.session.rejoins.insert(from, (rejoin, bytes, since));
        } else {
            self.greet(from);
        }
    }

    /// We are not in the branch that wins, says a member whom we asked to be added again to it.
    pub(super) fn not_member_came(&mut self, from: MemberId, theirs: &[Entry]) -> Result<(), M::Error> {
        // Not on somebody's word alone: this deletes our state.
        let asked = self.session.asked.contains_key(&from) || self.is_mutant(Mutant::UnaskedNotMember);
        if asked && self.mls.epoch().is_some() && self.loses_to(theirs) {
            self.forget_copies()?;
            self.mls.abandon()?;
            self.record.log.clear();
            self.outputs.push(Output::Removed);
        }
        Ok(())
    }

    /// The KeyPackage by which we asked to be added again is used, or must not be used any more.
    pub(super) fn forget_package(&mut self) -> Result<(), M::Error> {
        self.session.asked.clear();
        match self.record.package.take() {
            Some(package) => self.mls.forget_key_package(&package),
            None => Ok(()),
        }
    }

    /// This database is an older copy of itself: keys that it has may have been used. A new life begins, in `stream`,
    /// drawn at random; what was written before and not delivered keeps its place in the old one.
    ///
    /// # Errors
    /// The storage failed.
    pub fn restored(&mut self, stream: StreamId) -> Result<(), M::Error> {
        self.forget_copies()?;
        // Somebody may have the Welcome that it was used for, and we the keys of that epoch once more.
        self.forget_package()?;
        if self.mls.epoch().is_some() {
            self.mls.abandon()?;
        }
        let record = &mut *self.record;
        record.stream = stream;
        (record.seq, record.left, record.acks) = (0, 0, 0);
        record.log.clear();
        record.stash.clear();
        // What was carried out is not done again: others may have decided otherwise since.
        record.intents.retain(|intent| intent.commits.is_empty());
        record.outbox.iter_mut().for_each(super::Outgoing::restored);
        record.older_copy = false;
        self.session.compared = true;
        self.session.doubted_by.clear();
        self.outputs.push(Output::Restored);
        Ok(())
    }
}
