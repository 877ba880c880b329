//! Looking for the inviter of a typed code: whom to dial, whom to try again, and when a join is over.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Engine, Event, Failure, HandleError, Output, Purpose, Reply,
    session::{Pairing, Session},
};
use crate::{
    id::PeerId,
    invite::{Code, JoinFailure, Nameplate},
    time::Now,
    wire::Role,
};

/// Advertisers that may be tried for one typed code: each may use up one guess of an attacker.
const GUESSES: u8 = 3;
/// Dials to advertisers at a time: dead ones cost three seconds each.
const DIALS: usize = 8;
/// Advertisers remembered for one code.
const CANDIDATES: usize = 64;
/// How long a failed join waits for another advertiser of its nameplate to turn up.
const GRACE: Duration = Duration::from_secs(1);
/// How long to wait before an inviter whose link broke is dialled again.
const REDIAL: Duration = Duration::from_secs(1);
/// How often, before the join is given up.
const REDIALS: u8 = 10;
/// How long a join waits for somebody else of its nameplate where the one it found may not be talked with.
const BARRED_GRACE: Duration = Duration::from_secs(2);

/// A code that is being looked for.
pub(super) struct Joining {
    pub(super) code: Code,
    pub(super) guesses_left: u8,
    /// Advertisers of the nameplate and how far each got.
    candidates: BTreeMap<PeerId, Candidate>,
    /// When to give up, once an attempt failed and no other is under way.
    pub(super) fails: Option<(Duration, JoinFailure)>,
    /// When to dial the inviter again, whose answer got lost with its link.
    redial: Option<(Duration, PeerId)>,
    redials_left: u8,
    /// Who proved the code and was asked to be a contact.
    pub(super) asked: Option<PeerId>,
}

impl Joining {
    /// Whether this peer is one of those who may know the code.
    pub(super) fn tries(&self, peer: &PeerId) -> bool {
        self.candidates.contains_key(peer)
    }

    pub(super) fn note(&mut self, peer: PeerId, attempt: Attempt, now: Now) {
        self.candidates.insert(
            peer,
            Candidate {
                attempt,
                missed: 0,
                not_before: now.monotonic,
            },
        );
    }

    /// When this join wants to be looked at. What an open attempt holds back is looked at when that ends.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let count = |wanted| {
            self.candidates
                .values()
                .filter(|one| one.attempt == wanted)
                .count()
        };
        let (dialing, talking) = (count(Attempt::Dialing), count(Attempt::Talking));
        let fails = self
            .fails
            .map(|(at, _)| at)
            .filter(|_| dialing == 0 && talking == 0);
        let redial = self.redial.map(|(at, _)| at);
        let waiting = self
            .candidates
            .values()
            .filter(|one| one.attempt == Attempt::Waiting);
        let retry = waiting
            .map(|one| one.not_before)
            .min()
            .filter(|_| dialing < DIALS);
        [fails, redial, retry].into_iter().flatten().min()
    }
}

/// An advertiser of the nameplate.
#[derive(Debug)]
struct Candidate {
    attempt: Attempt,
    /// Dials that led nowhere: whoever has fewer is dialled first.
    missed: u32,
    /// Not dialled again before this.
    not_before: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Waiting,
    Dialing,
    Talking,
    Over,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The link broke before anything was proved.
    LinkLost,
    /// The proofs do not match: the code is wrong, or somebody is in the middle.
    WrongCode,
    /// The other side said no.
    Refused,
}

impl Engine {
    pub(super) fn start_join(&mut self, code: Code) -> Result<Reply, HandleError> {
        if self.joining.is_some() || self.link_joining.is_some() {
            return Err(Failure::JoinRunning.into());
        }
        self.joining = Some(Joining {
            code,
            guesses_left: GUESSES,
            candidates: BTreeMap::new(),
            fails: None,
            redial: None,
            redials_left: REDIALS,
            asked: None,
        });
        self.publish_directory()?;
        Ok(Reply::Done)
    }

    /// Stops looking, proving and asking. What the inviter may have accepted meanwhile is never confirmed.
    pub(super) fn cancel_join(&mut self, now: Now) -> Result<Reply, HandleError> {
        self.cancel_link_join(now);
        let asked = self.joining.take().and_then(|joining| joining.asked);
        if let Some(peer) = asked {
            self.end_pending_join(&peer)?;
        }
        let joining = |session: &Session| {
            let proving = matches!(session.pairing, Pairing::Joiner(_) | Pairing::JoinerProved(_));
            proving || (session.role == Role::Pending && Some(session.peer) == asked)
        };
        let joining = self
            .sessions
            .iter()
            .filter(|(_, session)| joining(session))
            .map(|(id, _)| *id);
        for id in joining.collect::<Vec<_>>() {
            self.drop_session(id, now);
        }
        self.publish_directory()?;
        Ok(Reply::Done)
    }

    /// A contact was made the other way round: the join that was after the same peer is over.
    pub(super) fn end_join_with(&mut self, peer: &PeerId) {
        self.link_joining.take_if(|joining| joining.inviter() == *peer);
        if self.joining.take_if(|joining| joining.tries(peer)).is_some() {
            self.crossed.insert(*peer);
        }
    }

    /// Somebody claims the nameplate. Whoever it is, the code decides.
    pub(super) fn advert(&mut self, peer: PeerId, nameplate: Nameplate, now: Now) -> Result<(), HandleError> {
        let own = peer == self.identity.peer_id();
        let barred = self
            .store
            .contact(&peer)?
            .is_some_and(|contact| contact.is_barred());
        let Some(joining) = self
            .joining
            .as_mut()
            .filter(|joining| joining.code.nameplate() == nameplate)
        else {
            return Ok(());
        };
        if barred {
            // Anybody can say so: it ends the join only when nobody else turns up.
            let at = now.monotonic.saturating_add(BARRED_GRACE);
            joining.fails.get_or_insert((at, JoinFailure::Barred(peer)));
            self.wake_in(BARRED_GRACE, now);
        } else if !own {
            let room = joining.candidates.len() < CANDIDATES;
            match joining.candidates.get_mut(&peer) {
                // Said again, it may be said with another address.
                Some(known) => known.not_before = now.monotonic,
                None if room => joining.note(peer, Attempt::Waiting, now),
                None => {}
            }
            self.dial_candidates(now);
        }
        Ok(())
    }

    fn dial_candidates(&mut self, now: Now) {
        let Some(joining) = &mut self.joining else { return };
        let is = |attempt: Attempt| move |candidate: &Candidate| candidate.attempt == attempt;
        let busy = joining
            .candidates
            .values()
            .filter(|candidate| is(Attempt::Dialing)(candidate))
            .count();
        let mut due: Vec<_> = joining
            .candidates
            .iter_mut()
            .filter(|(_, one)| is(Attempt::Waiting)(one) && one.not_before <= now.monotonic)
            .collect();
        due.sort_by_key(|(_, candidate)| candidate.missed);
        for (peer, candidate) in due.into_iter().take(DIALS.saturating_sub(busy)) {
            candidate.attempt = Attempt::Dialing;
            self.outputs.push(Output::Dial {
                peer: *peer,
                purpose: Purpose::Pair,
            });
        }
    }

    /// Nobody answered: try again later, for an advert may be early, an address stale, a packet lost.
    pub(super) fn dial_failed(&mut self, peer: &PeerId, now: Now) {
        let Some(joining) = &mut self.joining else { return };
        if joining.asked == Some(*peer) {
            return self.plan_redial(*peer, now);
        }
        if let Some(candidate) = joining.candidates.get_mut(peer)
            && candidate.attempt == Attempt::Dialing
        {
            candidate.attempt = Attempt::Waiting;
            candidate.missed = candidate.missed.saturating_add(1);
            candidate.not_before = now.monotonic.saturating_add(REDIAL);
            self.wake_in(REDIAL, now);
        }
        self.dial_candidates(now);
        self.settle_join(now);
    }

    /// Notes how an attempt of the running join ended; others of the same nameplate may still succeed.
    pub(super) fn attempt_ended(&mut self, peer: &PeerId, ended: Ended, now: Now) {
        let Some(joining) = &mut self.joining else { return };
        if !joining
            .candidates
            .get(peer)
            .is_some_and(|candidate| candidate.attempt == Attempt::Talking)
        {
            return;
        }
        let failure = match ended {
            _ if joining.guesses_left == 0 => JoinFailure::GuessesSpent,
            Ended::WrongCode => JoinFailure::WrongCode,
            Ended::LinkLost | Ended::Refused => JoinFailure::Refused,
        };
        // A wrong code is the more telling reason: it is not overwritten by a lost link.
        let telling = joining
            .fails
            .is_some_and(|(_, known)| known == JoinFailure::WrongCode);
        let failure = if telling && failure == JoinFailure::Refused {
            JoinFailure::WrongCode
        } else {
            failure
        };
        joining.fails = Some((now.monotonic.saturating_add(GRACE), failure));
        self.mark_over(peer);
        self.dial_candidates(now);
        self.wake_in(GRACE, now);
        self.settle_join(now);
    }

    /// Ends a join that failed and has nobody left to try.
    fn settle_join(&mut self, now: Now) {
        let Some(joining) = &self.joining else { return };
        let Some((at, failure)) = joining.fails else {
            return;
        };
        let mut attempts = joining.candidates.values().map(|candidate| candidate.attempt);
        let talking = attempts.clone().any(|attempt| attempt == Attempt::Talking);
        let dialing = attempts.any(|attempt| attempt == Attempt::Dialing);
        let spent = joining.guesses_left == 0;
        if talking || !(spent || (at <= now.monotonic && !dialing)) {
            return;
        }
        self.joining = None;
        self.event(Event::JoinFailed(failure));
        if self.publish_directory().is_err() {
            self.poisoned = true;
        }
    }

    /// The link broke after we asked: while the user waits, try again, at most once a second.
    pub(super) fn plan_redial(&mut self, peer: PeerId, now: Now) {
        let Some(joining) = &mut self.joining else { return };
        let at = now.monotonic.saturating_add(REDIAL);
        match joining.redials_left.checked_sub(1) {
            Some(left) => (joining.redials_left, joining.redial) = (left, Some((at, peer))),
            // Our request stays: should the inviter come back having accepted it, it is answered then.
            None => {
                joining.note(peer, Attempt::Over, now);
                joining.fails = Some((now.monotonic, JoinFailure::Refused));
            }
        }
        self.wake_in(REDIAL, now);
    }

    /// Does what a running join has planned for this time.
    pub(super) fn tick_join(&mut self, now: Now) {
        if let Some(joining) = &mut self.joining
            && let Some((_, peer)) = joining.redial.take_if(|(at, _)| *at <= now.monotonic)
        {
            self.outputs.push(Output::Dial {
                peer,
                purpose: Purpose::Peer,
            });
        }
        self.dial_candidates(now);
        self.settle_join(now);
    }

    fn mark_over(&mut self, peer: &PeerId) {
        if let Some(known) = self
            .joining
            .as_mut()
            .and_then(|joining| joining.candidates.get_mut(peer))
        {
            known.attempt = Attempt::Over;
        }
    }
}
