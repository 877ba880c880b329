//! Which Commits are allowed, the same for everybody. No clock, block list or version decides it.
//!
//! | step | a Commit by A on the epoch P is valid only if |
//! |---|---|
//! | V1 | MLS accepts it in P (RFC 9420 §12.4.2), all proposals in it by value; its `authenticated_data` is the digest of its reasons |
//! | V2 | every reason is signed by its member, in P, and used by this Commit |
//! | V3 | whoever is removed is added again in it by the KeyPackage of their Rejoin, or left, or A is an admin |
//! | V4 | whoever is added and was no member is added by an admin |
//! | V5 | the admins are members, and at least one; what else is in the group's data is changed by admins |
//! | V6 | who stands in for admins who left is not A's choice |

use super::{
    Judged, Leave, Merit, Reasons, Step,
    frame::Statement as _,
    mls::{Epoch, Mls, Mutant, Proposed},
};
use crate::{content::GroupData, id::MemberId};

/// A Commit that is looked at, and what follows from it.
struct Case<'a> {
    parent: &'a Epoch,
    proposed: &'a Proposed,
    reasons: &'a Reasons,
    by_admin: bool,
    /// Members who are removed and not added again.
    removed: Vec<MemberId>,
    /// Who is added and was no member.
    added: Vec<MemberId>,
}

impl<M: Mls> Step<'_, M> {
    /// What a Commit that MLS accepts is and does; `None`: it is not allowed.
    pub(super) fn validate(&self, parent: &Epoch, proposed: &Proposed, reasons: &Reasons) -> Option<Judged> {
        let added = proposed.adds.iter().map(|add| add.member);
        let added: Vec<MemberId> = added.collect();
        let removed = proposed.removes.iter().filter(|member| !added.contains(member));
        let case = Case {
            parent,
            proposed,
            reasons,
            by_admin: parent.is_admin(&proposed.author),
            removed: removed.copied().collect(),
            added: added.into_iter().filter(|member| !parent.has(member)).collect(),
        };
        let allowed = self.has_good_reasons(&case) && self.may_change_roster(&case) && case.may_change_data();
        allowed.then_some(Judged {
            merit: Merit {
                author: proposed.author,
                removes: !case.removed.is_empty(),
                by_admin: case.by_admin,
            },
            added: case.added,
            removed: case.removed,
        })
    }

    /// V2
    fn has_good_reasons(&self, case: &Case<'_>) -> bool {
        let Case {
            parent,
            proposed,
            reasons,
            removed,
            ..
        } = case;
        let group = &self.record.group;
        let mut leaves = reasons.leaves.iter();
        let left = leaves.all(|leave| {
            let leaf = parent.leaf(&leave.member());
            leave.is_signed(self.mls, group)
                && leaf.is_some_and(|leaf| leave.leaves.contains(&leaf.key))
                && removed.contains(&leave.member())
        });
        let mut rejoins = reasons.rejoins.iter();
        let rejoined = rejoins.all(|rejoin| {
            let mut adds = proposed.adds.iter();
            rejoin.is_signed(self.mls, group)
                && (rejoin.answered == parent.id || self.is_mutant(Mutant::OldRejoin))
                && proposed.removes.contains(&rejoin.member())
                && adds.any(|add| add.member == rejoin.member() && add.reference == rejoin.package)
        });
        left && rejoined
    }

    /// V3, V4
    fn may_change_roster(&self, case: &Case<'_>) -> bool {
        let Case {
            proposed,
            reasons,
            removed,
            added,
            by_admin,
            ..
        } = case;
        let left = |member: &MemberId| reasons.leaves.iter().any(|leave| leave.member() == *member);
        let asked = |member: &MemberId| reasons.rejoins.iter().any(|rejoin| rejoin.member() == *member);
        let may_go = |member: &MemberId| *by_admin || left(member) || self.is_mutant(Mutant::AnyoneRemoves);
        let mut removes = proposed.removes.iter();
        removes.all(|member| {
            if removed.contains(member) {
                may_go(member)
            } else {
                asked(member)
            }
        }) && (added.is_empty() || *by_admin)
    }
}

impl Case<'_> {
    /// V5, V6
    fn may_change_data(&self) -> bool {
        let left = self
            .parent
            .members()
            .filter(|member| !self.removed.contains(member));
        let left: Vec<MemberId> = left.collect();
        let due = data_without(&self.parent.data, &left, &self.removed, &self.reasons.leaves);
        match &self.proposed.data {
            None => due == self.parent.data,
            Some(data) if self.by_admin => {
                let mut admins = data.admins.iter();
                !data.admins.is_empty()
                    && admins.all(|admin| left.contains(admin) || self.added.contains(admin))
            }
            Some(data) => *data == due,
        }
    }
}

/// Group data after members were taken away: an admin who is gone is no admin any more, and when none would be left,
/// the successor that the last one named takes their place, or else whoever has the leftmost leaf.
pub(super) fn data_without(
    data: &GroupData,
    left: &[MemberId],
    gone: &[MemberId],
    leaves: &[Leave],
) -> GroupData {
    let mut admins: Vec<MemberId> = data
        .admins
        .iter()
        .filter(|admin| left.contains(admin))
        .copied()
        .collect();
    if admins.is_empty() {
        // Only an admin names a successor, and the first one in the list whose word can be followed decides.
        let word = |admin: &MemberId| leaves.iter().find(|leave| leave.member() == *admin)?.successor;
        let named = data
            .admins
            .iter()
            .filter(|admin| gone.contains(admin))
            .filter_map(word);
        let mut named = named.filter(|member| left.contains(member));
        admins.extend(named.next().or_else(|| left.first().copied()));
    }
    if admins == data.admins {
        return data.clone();
    }
    GroupData {
        name: data.name.clone(),
        admins,
        version: data.version.saturating_add(1),
    }
}
