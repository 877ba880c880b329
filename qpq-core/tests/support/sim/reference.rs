//! The rule once more, in thirty lines that share nothing with the engine but the evidence.

use std::collections::BTreeSet;

use qpq_core::{
    consensus::{Evidence, Group, mls::Epoch},
    id::{CommitId, EpochId, MemberId},
};
use sha2::{Digest as _, Sha256};

/// The Commit that follows on an epoch.
fn winner(
    evidence: &Evidence,
    parent: &EpochId,
    roster: &BTreeSet<MemberId>,
    barred: impl Fn(&CommitId) -> bool,
) -> Option<CommitId> {
    let key = |commit: &CommitId| {
        let judged = evidence.judged(parent, commit)?;
        let acks = roster
            .iter()
            .filter(|member| evidence.has_acked(parent, commit, member))
            .count();
        let mut rank = Sha256::new();
        rank.update(b"qpq rank v1");
        rank.update(parent.0);
        rank.update(judged.merit.author.0);
        let rank: [u8; 32] = rank.finalize().into();
        let certified = 2 * acks > roster.len();
        Some((
            !certified,
            judged.removed.is_empty(),
            !judged.merit.by_admin,
            rank,
            commit.0,
        ))
    };
    let commits: Vec<CommitId> = evidence.valid(parent).map(|(commit, _)| *commit).collect();
    commits
        .into_iter()
        .filter(|commit| !barred(commit))
        .min_by_key(|commit| key(commit))
}

/// Whether a member stands where its evidence leads.
pub(crate) fn check(group: &Group, live: Option<&Epoch>) -> Result<(), String> {
    let slots = group.slots().len();
    let settled = group.log().len() - slots;
    for entry in &group.log()[settled..] {
        let roster = entry.roster.iter().copied().collect();
        let expected = winner(group.evidence(), &entry.parent, &roster, |commit| {
            group.is_barred(&entry.parent, commit)
        });
        if expected != Some(entry.commit) {
            return Err(format!(
                "reference: {expected:?} follows on {:?}, not {:?}",
                entry.parent, entry.commit
            ));
        }
    }
    if let Some(live) = live {
        let roster = live.members().collect();
        let next = winner(group.evidence(), &live.id, &roster, |commit| {
            group.is_barred(&live.id, commit)
        });
        if next.is_some() {
            return Err(format!("reference: {next:?} follows on the live epoch"));
        }
    }
    Ok(())
}
