//! Leaving: who cannot remove themselves asks for it, and any member does it.

use std::collections::BTreeSet;

use super::{
    Frame, Leave, Step,
    frame::Statement as _,
    intents::IntentError,
    mls::{Epoch, Mls},
};
use crate::id::MemberId;

impl<M: Mls> Step<'_, M> {
    /// Asks to be removed. When we are the last admin, `successor` is to be the next one, or else whoever has the
    /// leftmost leaf.
    ///
    /// # Errors
    /// The storage failed; inside, [`IntentError`].
    pub fn leave_group(&mut self, successor: Option<MemberId>) -> Result<Result<(), IntentError>, M::Error> {
        let own = self.record.own;
        if !self.members().contains(&own) {
            return Ok(Err(IntentError::NotInGroup));
        }
        let mut leave = Leave {
            signer: self.mls.own(),
            leaves: self.own_leaves(),
            successor,
            signature: [0; 64],
        };
        leave.signature = leave.signed_by(self.mls, &self.record.group);
        self.record.leaves.insert(own, leave.clone());
        // Whoever adds us after that has to ask.
        self.record.accepted = false;
        self.send_to_all(self.members(), &Frame::Leave(leave));
        Ok(Ok(()))
    }

    pub(super) fn leave_came(&mut self, leave: Leave) {
        let member = leave.member();
        let mut slots = self.record.slots.iter();
        let known = self.members().contains(&member) || slots.any(|slot| slot.parent.has(&member));
        if known && leave.is_signed(self.mls, &self.record.group) {
            let now = self.ticks();
            self.record.leaves.insert(member, leave);
            self.session.noticed.entry(member).or_insert(now);
        }
    }

    /// When our branch lost, our leaf may be another one, and the statement void.
    pub(super) fn sign_leave_again(&mut self) -> Result<(), M::Error> {
        let own = self.record.own;
        let Some(leave) = self.record.leaves.get(&own).cloned() else {
            return Ok(());
        };
        let leaf = self.mls.epoch().and_then(|epoch| epoch.leaf(&own));
        if leaf.is_some_and(|leaf| !leave.leaves.contains(&leaf.key)) {
            let _ = self.leave_group(leave.successor)?;
        }
        Ok(())
    }

    /// The keys of our leaf in every state that we have.
    fn own_leaves(&self) -> Vec<[u8; 32]> {
        let slots = self.record.slots.iter().map(|slot| &slot.parent);
        let epochs = slots.chain(self.mls.epoch());
        let leaves: BTreeSet<[u8; 32]> = epochs
            .filter_map(|epoch| epoch.leaf(&self.record.own))
            .map(|leaf| leaf.key)
            .collect();
        leaves.into_iter().collect()
    }

    /// A leave is done when its leaf is gone from everything that may still win.
    pub(super) fn trim_leaves(&mut self) {
        let Some(live) = self.mls.epoch().cloned() else {
            return;
        };
        let slots = &self.record.slots;
        let is_there = |epoch: &Epoch, member: &MemberId| epoch.leaf(member).is_some();
        self.record.leaves.retain(|member, _| {
            is_there(&live, member) || slots.iter().any(|slot| is_there(&slot.parent, member))
        });
    }
}
