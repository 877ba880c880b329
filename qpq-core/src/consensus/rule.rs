//! Which of several Commits on one epoch wins: the whole rule.

use sha2::{Digest as _, Sha256};

use super::{
    Entry, Evidence, Merit, Step,
    mls::{Mls, Mutant},
};
use crate::{
    id::{CommitId, EpochId, MemberId},
    labels,
};

/// What a Commit competes by; the smallest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Not more than half of the members of the parent epoch acked it. An ack does not exclude another, so rivals can
    /// both have a certificate: it makes a key smaller for ever, and is not finality.
    uncertified: bool,
    /// It removes nobody: a removal is not outrun by whoever is removed.
    keeps_all: bool,
    /// Its author was no admin in the parent epoch.
    not_by_admin: bool,
    /// A draw of lots, fresh for each epoch, that no way of making a Commit changes.
    rank: [u8; 32],
    /// Of two by one author.
    commit: CommitId,
}

/// SHA-256("qpq rank v1" | parent | author).
pub(super) fn rank(parent: &EpochId, author: &MemberId) -> [u8; 32] {
    let parts = [labels::RANK.as_bytes(), &parent.0, &author.0];
    Sha256::digest(parts.concat()).into()
}

impl Evidence {
    /// Whether more than half of a roster acked a Commit, its author and whoever it removes included.
    pub fn is_certified(&self, parent: &EpochId, commit: &CommitId, roster: &[MemberId]) -> bool {
        let acked = roster
            .iter()
            .filter(|member| self.has_acked(parent, commit, member));
        acked.count() > roster.len() / 2
    }
}

impl<M: Mls> Step<'_, M> {
    pub(super) fn key(&self, parent: &EpochId, commit: &CommitId, merit: &Merit, roster: &[MemberId]) -> Key {
        Key {
            uncertified: self.is_mutant(Mutant::NoCertificate)
                || !self.record.evidence.is_certified(parent, commit, roster),
            keeps_all: !merit.removes || self.is_mutant(Mutant::NoClass),
            not_by_admin: !merit.by_admin || self.is_mutant(Mutant::NoAdmins),
            rank: rank(parent, &merit.author),
            commit: *commit,
        }
    }

    /// The Commit that follows on an epoch, of all valid ones that we may enter.
    pub(super) fn winner(&self, parent: &EpochId, roster: &[MemberId]) -> Option<CommitId> {
        self.record
            .evidence
            .valid(parent)
            .filter(|(commit, _)| !self.record.barred.contains(&(*parent, **commit)))
            .map(|(commit, judged)| self.key(parent, commit, &judged.merit, roster))
            .min()
            .map(|key| key.commit)
    }

    /// Whether another member's chain wins over ours: the first difference decides, and without one the longer chain is
    /// simply ahead. Where nothing is common that is remembered, the longer one stays as well. In any case the Commit
    /// that it hangs on must be one that we judged, or that a member signed to have entered.
    pub(super) fn loses_to(&self, theirs: &[Entry]) -> bool {
        let ours = &self.record.log;
        let other = |parent: &EpochId| theirs.iter().find(|other| other.parent == *parent);
        let pairs = ours.iter().filter_map(|own| Some((own, other(&own.parent)?)));
        let mut common = ours.is_empty();
        for (own, other) in pairs {
            common = true;
            if own.commit != other.commit {
                let (mine, yours) = (self.worth(own, &own.roster), self.worth(other, &own.roster));
                return yours < mine && !yours.0;
            }
        }
        let end = |log: &[Entry]| {
            log.last()
                .map(|entry| (entry.number, (!common).then_some(entry.commit)))
        };
        let live = self.mls.epoch().filter(|_| common);
        let next = live.map_or(theirs.last(), |live| other(&live.id));
        let members = self.members();
        end(theirs) > end(ours) && next.is_some_and(|next| !self.worth(next, &members).0)
    }

    /// What a Commit of a chain is worth, the smaller the better; first whether nobody vouches for it.
    ///
    /// What we judged ourselves counts as that, whatever is claimed. What we cannot judge, because nobody has the bytes,
    /// or our state is gone, or it says to be our own, is worth what is claimed, if one of these members signed that
    /// they entered it. Without that it loses against any that somebody vouches for.
    fn worth(&self, entry: &Entry, roster: &[MemberId]) -> (bool, Key) {
        let evidence = &self.record.evidence;
        let (parent, commit) = (&entry.parent, &entry.commit);
        let judged = evidence.judged(parent, commit);
        let entered = roster
            .iter()
            .any(|member| evidence.has_acked(parent, commit, member));
        let vouched = judged.is_some() || entered && !evidence.is_refused(parent, commit);
        let merit = judged.map_or(&entry.merit, |judged| &judged.merit);
        (!vouched, self.key(parent, commit, merit, roster))
    }
}
