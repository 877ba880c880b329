//! Coming in: Welcomes are held until their Commit stands, and opened when the branch they lead to wins.

use std::collections::BTreeSet;

use super::{Frame, LOG, Output, Step, Welcome, mls::Mls};
use crate::id::{CommitId, EpochId, MemberId};

/// Milliseconds after which nobody comes by a Welcome any more.
const WELCOME_MS: i64 = 30 * 24 * 3_600_000;
/// Invitations to one group that wait for the user.
const INVITATIONS: usize = 8;

/// A Welcome that we owe.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The Commit that it belongs to.
    at: (EpochId, CommitId),
    joiners: Vec<MemberId>,
    bytes: Vec<u8>,
    since: i64,
    released: bool,
}

impl Held {
    pub(super) fn new(at: (EpochId, CommitId), joiners: Vec<MemberId>, bytes: Vec<u8>, since: i64) -> Self {
        Self {
            at,
            joiners,
            bytes,
            since,
            released: false,
        }
    }
}

impl<M: Mls> Step<'_, M> {
    /// Sends Welcomes whose Commit is certified, or acked by whoever could, or waited long enough: whoever joins by
    /// one whose Commit then loses has to be added once more.
    pub(super) fn release_welcomes(&mut self) {
        for at in 0..self.record.welcomes.len() {
            let Some(held) = self.record.welcomes.get(at) else {
                break;
            };
            let (commit, now) = (held.at.1, self.ticks());
            self.session.held.entry(commit).or_insert(now);
            let ready = !held.released && self.is_on_chain(held) && self.is_ready(held);
            if ready {
                let joiners = held.joiners.clone();
                joiners
                    .into_iter()
                    .for_each(|joiner| self.send_welcome(at, joiner));
                if let Some(held) = self.record.welcomes.get_mut(at) {
                    held.released = true;
                }
            }
        }
        self.drop_welcomes();
    }

    fn is_on_chain(&self, held: &Held) -> bool {
        self.record
            .log
            .iter()
            .any(|entry| (entry.parent, entry.commit) == held.at)
    }

    fn is_ready(&self, held: &Held) -> bool {
        let (parent, commit) = &held.at;
        let evidence = &self.record.evidence;
        let roster = self.roster_of(parent).unwrap_or_default();
        let mut there = roster
            .iter()
            .filter(|member| self.session.connected.contains(member));
        evidence.is_certified(parent, commit, &roster)
            || there.all(|member| evidence.has_acked(parent, commit, member))
            || self
                .session
                .held
                .get(commit)
                .is_some_and(|since| self.ticks().saturating_sub(*since) >= self.limits.welcome_ms)
    }

    fn send_welcome(&mut self, at: usize, joiner: MemberId) {
        let Some(held) = self.record.welcomes.get(at) else {
            return;
        };
        let mut log = self.record.log.clone();
        if let Some(last) = log
            .iter()
            .position(|entry| (entry.parent, entry.commit) == held.at)
        {
            log.truncate(last.saturating_add(1));
        }
        let welcome = Welcome {
            bytes: held.bytes.clone(),
            log,
            invited: self.record.invited.iter().copied().collect(),
        };
        self.send(joiner, Frame::Welcome(Box::new(welcome)));
    }

    /// Sends a Welcome again to whoever has not come by it.
    pub(super) fn welcome_again(&mut self, joiner: MemberId) {
        for at in 0..self.record.welcomes.len() {
            let owed = self.record.welcomes.get(at).is_some_and(|held| {
                let (parent, commit) = &held.at;
                held.released
                    && held.joiners.contains(&joiner)
                    && self.is_on_chain(held)
                    && !self.record.evidence.has_acked(parent, commit, &joiner)
            });
            if owed {
                self.send_welcome(at, joiner);
            }
        }
    }

    fn drop_welcomes(&mut self) {
        let record = &mut *self.record;
        let (log, open, evidence) = (&record.log, !record.slots.is_empty(), &record.evidence);
        let now = record.clock;
        record.welcomes.retain(|held| {
            let (parent, commit) = &held.at;
            let on_chain = log.iter().any(|entry| entry.commit == *commit);
            let mut joiners = held.joiners.iter();
            now.saturating_sub(held.since) < WELCOME_MS
                && (on_chain || open)
                && !joiners.all(|joiner| evidence.has_acked(parent, commit, joiner))
        });
    }

    /// A Welcome: what we asked for, or an invitation, for the user to accept.
    pub(super) fn welcome_came(&mut self, from: MemberId, welcome: Welcome) -> Result<(), M::Error> {
        let newcomer = self.record.accepted && self.record.log.is_empty() && self.epoch_id().is_none();
        if self.record.package.is_some() || newcomer {
            self.join(&welcome)?;
        } else if self.epoch_id().is_none() {
            self.record.invitations.retain(|(inviter, _)| *inviter != from);
            let surplus = self
                .record
                .invitations
                .len()
                .saturating_add(1)
                .saturating_sub(INVITATIONS);
            self.record.invitations.drain(..surplus);
            self.record.invitations.push((from, welcome));
            self.outputs.push(Output::Invitation(from));
        }
        Ok(())
    }

    /// Accepts the invitation. `false`: there is none that leads anywhere any more; whoever invites next is let in.
    ///
    /// # Errors
    /// The storage failed.
    pub fn accept(&mut self) -> Result<bool, M::Error> {
        let own = self.record.own;
        self.record.accepted = true;
        self.record.leaves.remove(&own);
        let mut joined = false;
        for (_, welcome) in std::mem::take(&mut self.record.invitations) {
            joined |= self.join(&welcome)?;
        }
        self.pursue()?;
        Ok(joined)
    }

    /// Refuses the invitation.
    pub fn refuse(&mut self) {
        for (inviter, _) in std::mem::take(&mut self.record.invitations) {
            self.send(inviter, Frame::Refuse);
        }
    }

    fn join(&mut self, welcome: &Welcome) -> Result<bool, M::Error> {
        let Some(last) = welcome.log.last().cloned() else {
            return Ok(false);
        };
        let known = |entry: &super::Entry| self.record.log.iter().any(|own| own.commit == entry.commit);
        let wins = match self.mls.epoch() {
            Some(_) => self.loses_to(&welcome.log),
            // We were removed: any branch but one of our own past.
            None => self.was_added_again() || !welcome.log.iter().all(known),
        };
        if !wins {
            return Ok(false);
        }
        let own = self.record.own;
        let spent: BTreeSet<EpochId> = self.record.spent.keys().copied().collect();
        let accept = |epoch: &super::mls::Epoch| epoch.has(&own) && !spent.contains(&epoch.id);
        if !self.mls.join(&welcome.bytes, &accept)? {
            return Ok(false);
        }
        self.forget_copies()?;
        self.forget_package()?;
        let first = self.record.log.is_empty() && self.record.seq == 0;
        self.session.compared |= first;
        let surplus = welcome.log.len().saturating_sub(LOG);
        let log = welcome.log.iter().skip(surplus).cloned().collect();
        let old = std::mem::replace(&mut self.record.log, log);
        self.bury_all(&old);
        self.record.invited = welcome
            .invited
            .iter()
            .copied()
            .filter(|member| *member != own)
            .collect();
        self.acknowledge(last.parent, last.commit, []);
        self.outputs.push(Output::Entered { switched: !first });
        self.note_done();
        self.reconcile()?;
        self.open_stash()?;
        self.repair_all()?;
        Ok(true)
    }

    /// Whether the last Commit of our chain removed us and added us again: its Welcome is the way into the epoch that
    /// it leads to, and MLS has none but that.
    pub(super) fn was_added_again(&self) -> bool {
        let judged = |entry: &super::Entry| self.record.evidence.judged(&entry.parent, &entry.commit);
        let stays = |judged: &super::Judged| !judged.removed.contains(&self.record.own);
        self.epoch_id().is_none() && self.record.log.last().and_then(judged).is_some_and(stays)
    }

    /// Deletes every state but the live one.
    pub(super) fn forget_copies(&mut self) -> Result<(), M::Error> {
        let slots = std::mem::take(&mut self.record.slots);
        let parked = std::mem::take(&mut self.record.parked);
        let epochs = slots.iter().map(|slot| slot.parent.id).chain(parked.into_keys());
        for epoch in epochs {
            self.mls.forget(&epoch)?;
        }
        self.record.pending = None;
        Ok(())
    }
}
