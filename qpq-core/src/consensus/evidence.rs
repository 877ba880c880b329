//! What the chain follows from: Commits and signed acks, a set that only grows until it is too old to matter.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{Ack, AckName, Commit, Entry, Merit, frame::Statement as _};
use crate::id::{CommitId, EpochId, MemberId, StreamId};

/// Commits of one author on one epoch that are kept: two are a proof that it made two.
pub(super) const PER_AUTHOR: usize = 2;
/// Acks that are kept of epochs whose members we do not know.
pub(super) const ACKS: usize = 65_536;
/// Acks of one member on one epoch that are kept of Commits that we do not have.
const ACKS_PER_MEMBER: usize = 8;
/// Commits that are kept.
const COMMITS: usize = 4_096;
/// Bytes of one Commit: RFC 9420 makes them grow with the group, and a group has an end.
pub(super) const COMMIT_BYTES: usize = 256 << 10;
/// Versions of one Commit with other reasons, of which one is right.
const REASONS: usize = 4;
/// Bytes of Commits that are kept, and of those among them that nobody could judge yet.
const BYTES: usize = 8 << 20;
const UNJUDGED_BYTES: usize = 4 << 20;

/// Commits and acks.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    commits: BTreeMap<EpochId, BTreeMap<CommitId, Known>>,
    acks: BTreeMap<EpochId, BTreeMap<CommitId, BTreeMap<MemberId, Ack>>>,
    /// Commits that ever came.
    came: u64,
}

/// A Commit that was heard of.
#[derive(Debug, Clone)]
struct Known {
    verdict: Verdict,
    /// Its place among all that came.
    order: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// We were never in its parent epoch, or are not there yet. The same Commit may come with other reasons.
    Unjudged(Vec<Commit>),
    Valid(Commit, Judged),
    /// For everybody, for ever.
    Invalid,
    /// Its author made better ones.
    Surplus,
}

/// What a valid Commit is and does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What it competes by.
    pub merit: Merit,
    /// Who is a member from then on and was none before.
    pub added: Vec<MemberId>,
    /// Who is a member no more.
    pub removed: Vec<MemberId>,
}

impl Evidence {
    /// The valid Commits on an epoch.
    pub fn valid(&self, parent: &EpochId) -> impl Iterator<Item = (&CommitId, &Judged)> {
        self.on(parent)
            .filter_map(|(commit, known)| match &known.verdict {
                Verdict::Valid(_, judged) => Some((commit, judged)),
                Verdict::Unjudged(_) | Verdict::Invalid | Verdict::Surplus => None,
            })
    }

    /// What a valid Commit is and does.
    pub fn judged(&self, parent: &EpochId, commit: &CommitId) -> Option<&Judged> {
        self.valid(parent)
            .find_map(|(known, judged)| (known == commit).then_some(judged))
    }

    /// Whether a member acked a Commit.
    pub fn has_acked(&self, parent: &EpochId, commit: &CommitId, member: &MemberId) -> bool {
        self.ack(parent, commit, member).is_some()
    }

    pub(super) fn ack(&self, parent: &EpochId, commit: &CommitId, member: &MemberId) -> Option<&Ack> {
        self.acks.get(parent)?.get(commit)?.get(member)
    }

    fn on(&self, parent: &EpochId) -> impl Iterator<Item = (&CommitId, &Known)> {
        self.commits.get(parent).into_iter().flatten()
    }

    /// What came for an epoch and nobody judged.
    pub(super) fn unjudged(&self, parent: &EpochId) -> Vec<(CommitId, Vec<Commit>)> {
        let unjudged = self.on(parent).filter_map(|(id, known)| match &known.verdict {
            Verdict::Unjudged(same) => Some((*id, same.clone())),
            Verdict::Valid(..) | Verdict::Invalid | Verdict::Surplus => None,
        });
        unjudged.collect()
    }

    /// Notes what a Commit was found to be.
    pub(super) fn decide(&mut self, parent: &EpochId, commit: &CommitId, verdict: Verdict) {
        let known = self.commits.get_mut(parent).and_then(|on| on.get_mut(commit));
        if let Some(known) = known {
            known.verdict = verdict;
        }
    }

    /// Every Commit that there are bytes of.
    pub(super) fn commits(&self) -> impl Iterator<Item = (CommitId, &Commit)> {
        let all = self.commits.values().flatten();
        all.filter_map(|(id, known)| known.commit().map(|commit| (*id, commit)))
    }

    /// Every Commit that is here or is not wanted.
    pub(super) fn names(&self) -> impl Iterator<Item = (EpochId, CommitId)> {
        let all = self.commits.iter();
        all.flat_map(|(parent, on)| on.keys().map(|commit| (*parent, *commit)))
    }

    pub(super) fn acks(&self) -> impl Iterator<Item = &Ack> {
        self.acks
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(BTreeMap::values)
    }

    pub(super) fn commit(&self, parent: &EpochId, commit: &CommitId) -> Option<&Commit> {
        self.commits.get(parent)?.get(commit)?.commit()
    }

    pub(super) fn has(&self, parent: &EpochId, commit: &CommitId) -> bool {
        self.commits.get(parent).is_some_and(|on| on.contains_key(commit))
    }

    /// A surplus Commit that has a certificate now competes again: it is forgotten, to be asked for like any other.
    pub(super) fn want_again(&mut self, ack: &Ack) {
        if let Some(on) = self.commits.get_mut(&ack.parent) {
            on.retain(|id, known| *id != ack.commit || !matches!(known.verdict, Verdict::Surplus));
        }
    }

    /// Whether a Commit is known to be no good, or less good than others of its author.
    pub(super) fn is_refused(&self, parent: &EpochId, commit: &CommitId) -> bool {
        let known = self.commits.get(parent).and_then(|on| on.get(commit));
        known.is_some_and(|known| known.commit().is_none())
    }

    /// Keeps a Commit of ours.
    pub(super) fn put_own(&mut self, id: CommitId, commit: Commit, judged: Judged) {
        self.put(commit.parent, id, Verdict::Valid(commit, judged));
    }

    /// Keeps a Commit to be judged; whether it, or its reasons, were news.
    pub(super) fn put_unjudged(&mut self, id: CommitId, commit: Commit) -> bool {
        let known = self
            .commits
            .get_mut(&commit.parent)
            .and_then(|on| on.get_mut(&id));
        match known.map(|known| &mut known.verdict) {
            None => self.put(commit.parent, id, Verdict::Unjudged(vec![commit])),
            Some(Verdict::Unjudged(same)) if same.len() < REASONS && !same.contains(&commit) => {
                same.push(commit)
            }
            Some(_) => return false,
        }
        true
    }

    /// Drops what came first of what nobody could judge yet, while it is too much.
    pub(super) fn make_room(&mut self, kept: &[EpochId]) {
        while self.bytes().1 > UNJUDGED_BYTES {
            let all = self.commits.iter().filter(|(parent, _)| !kept.contains(parent));
            let all = all.flat_map(|(parent, on)| on.iter().map(move |(id, known)| (*parent, *id, known)));
            let unjudged = all.filter(|(_, _, known)| matches!(known.verdict, Verdict::Unjudged(_)));
            let Some((parent, id, _)) = unjudged.min_by_key(|(_, _, known)| known.order) else {
                break;
            };
            self.drop(&parent, &id);
        }
    }

    fn put(&mut self, parent: EpochId, id: CommitId, verdict: Verdict) {
        self.came = self.came.saturating_add(1);
        let order = self.came;
        self.commits
            .entry(parent)
            .or_default()
            .insert(id, Known { verdict, order });
    }

    /// Keeps an ack, or the newer one of two; whether it was news.
    pub(super) fn put_ack(&mut self, ack: Ack) -> bool {
        let member = ack.member();
        let on = self.acks.entry(ack.parent).or_default();
        let commits = self.commits.get(&ack.parent);
        let is_known = |commit: &CommitId| commits.is_some_and(|commits| commits.contains_key(commit));
        let unknown = on
            .iter()
            .filter(|(commit, acks)| !is_known(commit) && acks.contains_key(&member));
        let room = is_known(&ack.commit) || unknown.count() < ACKS_PER_MEMBER;
        let acks = on.entry(ack.commit).or_default();
        let news = match acks.get(&member) {
            Some(known) => supersedes(&ack.name(), known),
            None => room,
        };
        if news {
            acks.insert(member, ack);
        }
        news
    }

    pub(super) fn drop(&mut self, parent: &EpochId, commit: &CommitId) {
        if let Some(on) = self.commits.get_mut(parent) {
            on.remove(commit);
        }
    }

    /// Whether an ack would be news.
    pub(super) fn would_take(&self, name: &AckName) -> bool {
        let known = self.ack(&name.parent, &name.commit, &name.member);
        known.is_none_or(|known| supersedes(name, known))
    }

    /// Over all that two members in one epoch would have in common after they told each other everything.
    pub(super) fn digest(&self, parents: impl Iterator<Item = EpochId>, hash: &mut Sha256) {
        for parent in parents {
            hash.update(parent.0);
            for (commit, known) in self.on(&parent) {
                if known.commit().is_some() {
                    hash.update(commit.0);
                }
            }
            for ack in self
                .acks
                .get(&parent)
                .into_iter()
                .flat_map(BTreeMap::values)
                .flat_map(BTreeMap::values)
            {
                hash.update(ack.commit.0);
                hash.update(ack.signer.0);
                hash.update(ack.stream.0);
                hash.update(ack.number.to_be_bytes());
                hash.update(ack.sent.to_be_bytes());
            }
        }
    }

    /// The life that a member is in, as far as its acks tell: the one of its last entry of a chain.
    pub(super) fn life(&self, chain: &[Entry], member: &MemberId) -> Option<StreamId> {
        let mut acks = chain.iter().rev();
        acks.find_map(|entry| self.ack(&entry.parent, &entry.commit, member))
            .map(|ack| ack.stream)
    }

    fn bytes(&self) -> (usize, usize) {
        let (mut all, mut unjudged) = (0usize, 0usize);
        for known in self.commits.values().flat_map(BTreeMap::values) {
            let size = known.commit().map_or(0, |commit| commit.bytes.len());
            all = all.saturating_add(size);
            if matches!(known.verdict, Verdict::Unjudged(_)) {
                unjudged = unjudged.saturating_add(size);
            }
        }
        (all, unjudged)
    }

    /// Drops what came first while there is too much, and the acks with it; `kept` stays.
    pub(super) fn forget(&mut self, kept: &[EpochId], log: &BTreeSet<EpochId>) {
        let many = |evidence: &Self| evidence.commits.values().map(BTreeMap::len).sum::<usize>() > COMMITS;
        while many(self) || self.bytes().0 > BYTES {
            let old = self.commits.iter().filter(|(parent, _)| !kept.contains(parent));
            let old = old.min_by_key(|(_, on)| on.values().map(|known| known.order).max());
            let Some(parent) = old.map(|(parent, _)| *parent) else {
                break;
            };
            self.commits.remove(&parent);
        }
        let commits = &self.commits;
        self.acks
            .retain(|parent, _| commits.contains_key(parent) || log.contains(parent));
    }
}

impl Ack {
    pub(super) fn name(&self) -> AckName {
        AckName {
            parent: self.parent,
            commit: self.commit,
            member: self.member(),
            stream: self.stream,
            number: self.number,
            sent: self.sent,
        }
    }
}

/// Which of two acks of one member for one Commit counts: the later one. Two that no honest member gives have an order
/// all the same, or what came first would decide.
fn supersedes(name: &AckName, known: &Ack) -> bool {
    (name.number, name.stream, name.sent) > (known.number, known.stream, known.sent)
}

impl Verdict {
    fn commit(&self) -> Option<&Commit> {
        match self {
            Self::Unjudged(same) => same.first(),
            Self::Valid(commit, _) => Some(commit),
            Self::Invalid | Self::Surplus => None,
        }
    }
}

impl Known {
    fn commit(&self) -> Option<&Commit> {
        self.verdict.commit()
    }
}
