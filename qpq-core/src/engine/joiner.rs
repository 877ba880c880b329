//! The joiner's side of a pairing by code: prove it, ask, and enter the group of two.

use std::collections::BTreeSet;

use super::{
    Engine, Event, HandleError, Output, SessionId,
    search::{Attempt, Ended},
    session::{ANSWER_BUDGET, Pairing, STRANGER_BUDGET},
};
use crate::{
    group,
    id::PeerId,
    invite::{self, Ends},
    time::Now,
    wire::{ContactRequest, Frame, PairDone, PairStart, Refusal, Role},
};

/// How long an unanswered request is repeated, in milliseconds.
const REQUEST_LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

impl Engine {
    /// Step 1: a link to an advertiser stands. It costs one guess.
    pub(super) fn begin_pairing(&mut self, id: SessionId, now: Now) {
        let own = self.identity.peer_id();
        let (Some(joining), Some(session)) = (&mut self.joining, self.sessions.get_mut(&id)) else {
            return self.drop_session(id, now);
        };
        if joining.guesses_left == 0 {
            return self.drop_session(id, now);
        }
        joining.guesses_left = joining.guesses_left.saturating_sub(1);
        joining.note(session.peer, Attempt::Talking, now);
        let nameplate = joining.code.nameplate();
        let ends = Ends {
            inviter: session.peer,
            joiner: own,
            channel: session.channel,
        };
        let (state, spake) = invite::Joiner::start(&joining.code, ends, &mut self.rng);
        session.pairing = Pairing::Joiner(Box::new(state));
        // Who was asked before may answer that first.
        let budget = if session.role == Role::Pending {
            ANSWER_BUDGET
        } else {
            STRANGER_BUDGET
        };
        self.outputs.push(Output::ReadBudget {
            session: id,
            bytes: Some(budget),
        });
        self.post(id, &Frame::PairStart(PairStart { nameplate, spake }));
    }

    /// Step 2: the inviter's message; we prove first.
    pub(super) fn pair_reply(&mut self, id: SessionId, spake: &[u8], now: Now) -> Result<(), HandleError> {
        let session = self.session(id)?;
        let joiner = match std::mem::take(&mut session.pairing) {
            Pairing::Joiner(joiner) => joiner,
            other @ (Pairing::Idle | Pairing::Inviter(_) | Pairing::JoinerProved(_)) => {
                session.pairing = other;
                return Err(HandleError::Stale);
            }
        };
        match joiner.reply(spake) {
            Ok((waiting, mac)) => {
                session.pairing = Pairing::JoinerProved(waiting);
                self.post(id, &Frame::PairProof { mac });
            }
            Err(_) => self.end_attempt(id, Ended::WrongCode, now),
        }
        Ok(())
    }

    /// Steps 3 and 4: a proof, judged by whichever side we are on.
    pub(super) fn pair_proof(&mut self, id: SessionId, mac: &[u8; 32], now: Now) -> Result<(), HandleError> {
        let session = self.session(id)?;
        match std::mem::take(&mut session.pairing) {
            Pairing::Inviter(inviter) => self.judge_proof(id, inviter, mac, now),
            Pairing::JoinerProved(waiting) => match waiting.confirm(mac) {
                Ok(()) => self.request_contact(id, now),
                Err(_) => {
                    self.end_attempt(id, Ended::WrongCode, now);
                    Ok(())
                }
            },
            other @ (Pairing::Idle | Pairing::Joiner(_)) => {
                session.pairing = other;
                Err(HandleError::Stale)
            }
        }
    }

    /// Step 5: both know the code. The request and the KeyPackage's secrets are durable before it leaves.
    fn request_contact(&mut self, id: SessionId, now: Now) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        let (reference, package) = group::new_key_package(&self.store.provider(), &self.identity)?;
        let expires = now.unix_ms.saturating_add(REQUEST_LIFETIME_MS);
        let request = Frame::ContactRequest(ContactRequest {
            identity: self.identity.peer_id(),
            name: self.store.own_name()?,
            card: self.own_card(&peer)?,
            key_packages: vec![package],
        })
        .encode();
        self.end_pending_join(&peer)?;
        self.store
            .put_pending_join(&peer, &request, &reference, expires)?;
        self.session(id)?.role = Role::Pending;
        if let Some(joining) = &mut self.joining {
            joining.fails = None;
            joining.asked = Some(peer);
        }
        self.outputs.push(Output::ReadBudget {
            session: id,
            bytes: Some(ANSWER_BUDGET),
        });
        self.outputs.push(Output::Send {
            session: id,
            frame: request,
        });
        self.publish_directory()?;
        Ok(())
    }

    /// Step 6: the inviter made the contact; enter the group of two.
    pub(super) fn pair_done(&mut self, id: SessionId, done: &PairDone, now: Now) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        if self.session(id)?.role == Role::Contact {
            // The inviter did not see our Head yet; the one sent on this link answers.
            return Ok(());
        }
        let own = self.identity.peer_id();
        let card = done.card.verify(&peer, &own)?;
        if self.store.group(&done.group)?.is_some() {
            return Err(HandleError::Forged("group"));
        }
        let members: BTreeSet<PeerId> = [peer, own].into();
        let provider = self.store.provider();
        let group = group::join(&provider, &done.welcome, &done.group, &peer, &members)?;
        let (epoch_id, epoch) = (group::epoch_id(&provider, &group)?, group.epoch().as_u64());
        let name = self.add_contact(&card, &done.card, &done.name, now)?;
        self.add_group(done.group, epoch_id, epoch, &peer)?;
        self.end_pending_join(&peer)?;
        self.keep_group(done.group, group);
        self.session(id)?.pairing = Pairing::Idle;
        self.joining = None;
        self.publish_directory()?;
        self.event(Event::Joined {
            peer,
            name,
            verified: true,
        });
        self.session(id)?.role = Role::Contact;
        self.greet(id, peer)
    }

    pub(super) fn pair_refused(
        &mut self,
        id: SessionId,
        refusal: Refusal,
        now: Now,
    ) -> Result<(), HandleError> {
        let session = self.session(id)?;
        let peer = session.peer;
        if session.role == Role::Contact {
            return Err(HandleError::Stale);
        }
        if session.role == Role::Pending && matches!(session.pairing, Pairing::Idle) {
            // Our request is dead; the role is lowered so that nobody redials for it.
            session.role = Role::Stranger;
            self.end_pending_join(&peer)?;
            self.publish_directory()?;
        }
        let ended = if refusal == Refusal::WrongCode {
            Ended::WrongCode
        } else {
            Ended::Refused
        };
        self.end_attempt(id, ended, now);
        Ok(())
    }

    fn end_attempt(&mut self, id: SessionId, ended: Ended, now: Now) {
        if let Some(session) = self.sessions.get(&id) {
            let peer = session.peer;
            self.attempt_ended(&peer, ended, now);
        }
        self.drop_session(id, now);
    }

    /// Forgets a request, and the secrets of the KeyPackage that went with it.
    pub(super) fn end_pending_join(&mut self, peer: &PeerId) -> Result<(), group::GroupError> {
        if let Some(key_package) = self.store.end_pending_join(peer)? {
            group::delete_key_package(&self.store.provider(), &key_package)?;
        }
        Ok(())
    }

    pub(super) fn expire_pending_joins(&mut self, now: Now) -> Result<(), group::GroupError> {
        for peer in self.store.expired_joins(now.unix_ms)? {
            self.end_pending_join(&peer)?;
            self.publish_directory()?;
        }
        Ok(())
    }
}
