//! Making a Commit: what it is to do, when it is our turn, and entering its epoch.

use super::{
    Commit, Frame, Intent, Judged, MAX_MEMBERS, Merit, Output, Reasons, Step, What,
    evidence::PER_AUTHOR,
    frame::Statement as _,
    mls::{Change, Epoch, Mls, Mutant, Staged},
    rule,
    validity::data_without,
    welcome::Held,
};
use crate::{
    content::GroupData,
    id::{CommitId, MemberId},
};

/// Our keys are renewed after this long, in milliseconds, or this many messages.
const RENEW_MS: i64 = 7 * 24 * 3_600_000;
const RENEW_MESSAGES: u64 = 1_000;
/// Milliseconds in which Rejoins are gathered where there is only one other member to ask.
const GATHER_OF_TWO_MS: i64 = 50;
/// In a group of more members than this a newcomer renews its keys once: as long as it has not, every Commit of the
/// others has to encrypt to it alone (RFC 9420 §7.8). Not more often than this, in milliseconds, in one group.
const LARGE: usize = 32;
const NEWCOMER_MS: i64 = 600_000;

/// What one Commit is to do, and why it may.
#[derive(Debug, Default)]
struct Plan {
    change: Change,
    reasons: Reasons,
    intents: Vec<What>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.intents.is_empty() && self.change == Change::default()
    }

    fn remove(&mut self, member: MemberId) {
        if !self.change.removes.contains(&member) {
            self.change.removes.push(member);
        }
    }

    /// Those who are removed and not added again.
    fn removed(&self) -> Vec<MemberId> {
        let readded = |member: &MemberId| {
            self.reasons
                .rejoins
                .iter()
                .any(|rejoin| rejoin.member() == *member)
        };
        let removes = self.change.removes.iter();
        removes.filter(|member| !readded(member)).copied().collect()
    }
}

impl<M: Mls> Step<'_, M> {
    /// Does what is to be done and can be done now.
    pub(super) fn pursue(&mut self) -> Result<(), M::Error> {
        self.send_waiting()?;
        self.sign_leave_again()?;
        let Some(epoch) = self.mls.epoch().cloned() else {
            return Ok(());
        };
        if !self.may_speak() {
            return Ok(());
        }
        self.session
            .rejoins
            .retain(|_, (rejoin, ..)| rejoin.answered == epoch.id);
        self.renew(&epoch);
        let mut plan = Plan::default();
        self.plan_intents(&epoch, &mut plan);
        self.plan_leaves(&epoch, &mut plan);
        self.plan_rejoins(&epoch, &mut plan);
        let own = self.record.own;
        let ours = self.record.evidence.valid(&epoch.id);
        let ours = ours.filter(|(_, judged)| judged.merit.author == own).count();
        // Of more on one epoch everybody would drop some.
        if plan.is_empty() || ours >= PER_AUTHOR {
            return Ok(());
        }
        self.commit(&epoch, plan)
    }

    fn plan_intents(&mut self, epoch: &Epoch, plan: &mut Plan) {
        let own = self.record.own;
        let may = |intent: &&Intent| self.is_open(intent, epoch) && intent.what.check(epoch, &own).is_ok();
        let open: Vec<What> = self
            .record
            .intents
            .iter()
            .filter(may)
            .map(|intent| intent.what.clone())
            .collect();
        let GroupData {
            mut name,
            mut admins,
            version,
        } = epoch.data.clone();
        let room = MAX_MEMBERS.saturating_sub(epoch.roster.len());
        for what in open {
            match &what {
                What::Add(member) => match self.session.packages.get(member) {
                    Some(package) if plan.change.adds.len() < room => plan.change.adds.push(package.clone()),
                    Some(_) => continue,
                    None => {
                        self.outputs.push(Output::NeedPackage(*member));
                        continue;
                    }
                },
                What::Remove(member) => plan.remove(*member),
                What::Name(wanted) => name.clone_from(wanted),
                What::Admin(member, true) => admins.push(*member),
                // The last one stays, whatever was asked for.
                What::Admin(member, false) if admins.as_slice() == [*member] => continue,
                What::Admin(member, false) => admins.retain(|admin| admin != member),
                What::Update => {}
            }
            plan.intents.push(what);
        }
        if admins != epoch.data.admins || name != epoch.data.name {
            let version = version.saturating_add(1);
            plan.change.data = Some(GroupData {
                name,
                admins,
                version,
            });
        }
    }

    /// Whoever leaves is removed by any member, when its turn came and nobody did it before.
    fn plan_leaves(&mut self, epoch: &Epoch, plan: &mut Plan) {
        let (now, turn) = (self.ticks(), self.turn(epoch));
        for (member, leave) in &self.record.leaves {
            let since = *self.session.noticed.entry(*member).or_insert(now);
            let leaf = epoch.leaf(member).filter(|leaf| leave.leaves.contains(&leaf.key));
            if leaf.is_some() && *member != self.record.own && now.saturating_sub(since) >= turn {
                plan.reasons.leaves.push(leave.clone());
                plan.remove(*member);
            }
        }
    }

    /// Whoever asked is added again, by any member, all in one Commit.
    fn plan_rejoins(&mut self, epoch: &Epoch, plan: &mut Plan) {
        if self.is_mutant(Mutant::NoReadd) {
            return;
        }
        let gather = if epoch.roster.len() <= 2 {
            GATHER_OF_TWO_MS
        } else {
            self.limits.spread_ms
        };
        let wait = gather.saturating_add(self.turn(epoch));
        let now = self.ticks();
        for (member, (rejoin, package, since)) in &self.session.rejoins {
            let due = epoch.has(member) && now.saturating_sub(*since) >= wait;
            if due && !plan.change.removes.contains(member) {
                plan.reasons.rejoins.push(*rejoin);
                plan.remove(*member);
                plan.change.adds.push(package.clone());
            }
        }
    }

    /// Keys that are old, or were used much, are renewed: an intent like any other, so that it is not lost with a branch.
    fn renew(&mut self, epoch: &Epoch) {
        if self.record.updated == 0 {
            self.record.updated = self.record.clock;
            self.record.newcomer = !self.record.log.is_empty() && epoch.roster.len() > LARGE;
        }
        let spent = self.record.spent.get(&epoch.id).map_or(0, |spent| spent.messages);
        let last = self.record.slots.last().map_or(0, |slot| slot.since);
        let due = spent >= RENEW_MESSAGES
            || self.since(self.record.updated) >= RENEW_MS
            || self.record.newcomer && self.since(last) >= NEWCOMER_MS;
        let open = |intent: &Intent| intent.what == What::Update && self.is_open(intent, epoch);
        if due && !self.record.intents.iter().any(open) {
            self.record.intents.retain(|intent| intent.what != What::Update);
            self.record
                .intents
                .push(Intent::new(What::Update, self.record.clock));
        }
    }

    /// Milliseconds to wait before doing what others could do as well: by a fresh draw of lots per epoch.
    fn turn(&self, epoch: &Epoch) -> i64 {
        let rank = |member: &MemberId| rule::rank(&epoch.id, member);
        let own = rank(&self.record.own);
        let before = epoch.members().filter(|member| rank(member) < own).count();
        let (before, members) = (i64::try_from(before), i64::try_from(epoch.roster.len()));
        let spread = self.limits.spread_ms.saturating_mul(before.unwrap_or(i64::MAX));
        spread.checked_div(members.unwrap_or(i64::MAX)).unwrap_or(0)
    }

    /// Makes a Commit and enters its epoch.
    fn commit(&mut self, epoch: &Epoch, mut plan: Plan) -> Result<(), M::Error> {
        let removed = plan.removed();
        let left: Vec<MemberId> = epoch
            .members()
            .filter(|member| !removed.contains(member))
            .collect();
        let data = plan.change.data.take().unwrap_or_else(|| epoch.data.clone());
        let data = data_without(&data, &left, &removed, &plan.reasons.leaves);
        plan.change.data = (data != epoch.data).then_some(data);
        let adds = plan.change.adds.iter();
        let adds = adds.filter_map(|bytes| self.mls.read_key_package(bytes));
        let joiners: Vec<MemberId> = adds.map(|package| package.member).collect();
        let Some(Staged { commit, welcome }) = self.stage(epoch, &plan)? else {
            return self.commit_alone(epoch, plan);
        };
        self.mls.merge_pending()?;

        let id = CommitId::of(&commit);
        let commit = Commit {
            parent: epoch.id,
            bytes: commit,
            reasons: plan.reasons,
        };
        let judged = Judged {
            merit: Merit {
                author: self.record.own,
                removes: !removed.is_empty(),
                by_admin: epoch.is_admin(&self.record.own),
            },
            added: joiners
                .iter()
                .filter(|member| !epoch.has(member))
                .copied()
                .collect(),
            removed,
        };
        self.record.pending = None;
        (self.record.updated, self.record.newcomer) = (self.record.clock, false);
        self.record.evidence.put_own(id, commit.clone(), judged.clone());
        let carried = |intent: &&mut Intent| plan.intents.contains(&intent.what);
        self.record
            .intents
            .iter_mut()
            .filter(carried)
            .for_each(|intent| intent.commits.push(id));
        for joiner in &joiners {
            self.session.packages.remove(joiner);
            self.session.rejoins.remove(joiner);
        }
        self.extend(epoch, id, &judged, Some(id));
        self.send_to_all(epoch.members(), &Frame::Commit(commit));
        self.acknowledge(epoch.id, id, epoch.members());
        if let Some(welcome) = welcome {
            let held = Held::new((epoch.id, id), joiners, welcome, self.record.clock);
            self.record.welcomes.push(held);
        }
        self.outputs.push(Output::Entered { switched: false });
        self.release_welcomes();
        self.settle()
    }

    /// Somebody's KeyPackage is not what it seemed: none of those is tried again, and what else there is to do is done
    /// without them.
    fn commit_alone(&mut self, epoch: &Epoch, mut plan: Plan) -> Result<(), M::Error> {
        if plan.change.adds.is_empty() {
            return Ok(());
        }
        self.session.packages.clear();
        self.session.rejoins.clear();
        let again = plan.reasons.rejoins.drain(..).map(|rejoin| rejoin.member());
        let again: Vec<MemberId> = again.collect();
        plan.change.removes.retain(|member| !again.contains(member));
        plan.change.adds.clear();
        plan.intents.retain(|what| !matches!(what, What::Add(_)));
        if plan.is_empty() {
            Ok(())
        } else {
            self.commit(epoch, plan)
        }
    }

    /// Has MLS make the Commit, and keeps the state before it, with the Commit pending: the only way to enter it again.
    fn stage(&mut self, epoch: &Epoch, plan: &Plan) -> Result<Option<Staged>, M::Error> {
        let early = self.is_mutant(Mutant::SnapshotBeforeStaging);
        if early {
            self.mls.snapshot()?;
        }
        let staged = self.mls.stage(&plan.change, &plan.reasons.digest())?;
        if staged.is_none() {
            return Ok(None);
        }
        self.spend(epoch.id, |spent| spent.commits = spent.commits.saturating_add(1));
        if !early {
            self.mls.snapshot()?;
        }
        Ok(staged)
    }
}
