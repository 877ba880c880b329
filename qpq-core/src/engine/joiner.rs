//! The joiner's side of a pairing by code: prove it, ask, and enter the group of two.

use std::collections::BTreeSet;

use openmls::group::MlsGroup;
use sha2::{Digest, Sha256};

use super::{
    Engine, Event, HandleError, Output, SessionId, Settles,
    newcomer::Called,
    search::{Attempt, Ended},
    session::{ANSWER_BUDGET, Pairing, STRANGER_BUDGET},
};
use crate::{
    contact::Trust,
    group::{self, WelcomeError},
    id::{GroupId, PeerId},
    invite,
    time::Now,
    wire::{ContactAccept, ContactRequest, Frame, PairStart, Refusal, Role},
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
        let ends = session.ends_for_joiner(own);
        let (state, spake) = invite::Joiner::start(&joining.code, ends, &mut self.rng);
        session.pairing = Pairing::Joiner(Box::new(state));
        // Who was asked before may answer that first.
        let budget = if session.role == Role::Pending {
            ANSWER_BUDGET
        } else {
            STRANGER_BUDGET
        };
        self.limit(id, budget);
        self.post(id, &Frame::PairStart(PairStart::Code { nameplate, spake }));
    }

    /// Step 2: the inviter's message; we prove first.
    pub(super) fn pair_reply(&mut self, id: SessionId, spake: &[u8], now: Now) -> Result<(), HandleError> {
        let session = self.session(id)?;
        let joiner = match std::mem::take(&mut session.pairing) {
            Pairing::Joiner(joiner) => joiner,
            Pairing::LinkJoiner => return self.link_reply(id, spake, now),
            other @ (Pairing::Idle
            | Pairing::Inviter(_)
            | Pairing::JoinerProved(_)
            | Pairing::LinkInviter(_)
            | Pairing::LinkProved(_)
            | Pairing::LinkJoinerProved) => {
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
            Pairing::LinkInviter(link) => self.judge_link_proof(id, link, mac, now),
            Pairing::LinkJoinerProved => self.judge_inviters_proof(id, mac, now),
            other @ (Pairing::Idle | Pairing::Joiner(_) | Pairing::LinkProved(_) | Pairing::LinkJoiner) => {
                session.pairing = other;
                Err(HandleError::Stale)
            }
        }
    }

    /// Step 5: both know the code. The request and the KeyPackage's secrets are durable before it leaves.
    fn request_contact(&mut self, id: SessionId, now: Now) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        let (reference, package) = group::new_key_package(&self.store.provider(), &self.identity)?;
        let expires = self.age.profile_time(now).saturating_add(REQUEST_LIFETIME_MS);
        let request = Frame::ContactRequest(ContactRequest {
            identity: self.identity.peer_id(),
            name: self.store.own_name()?,
            card: self.own_card(&peer)?,
            key_packages: vec![package],
            proof: None,
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
        self.limit(id, ANSWER_BUDGET);
        self.outputs.push(Output::Send {
            session: id,
            frame: request,
        });
        self.publish_directory()?;
        Ok(())
    }

    /// Step 6: the inviter made the contact; enter the group of two.
    pub(super) fn contact_accept(
        &mut self,
        id: SessionId,
        done: &ContactAccept,
        now: Now,
    ) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        let Some(pending) = self.store.pending_join(&peer, self.requests_gone)? else {
            // The inviter did not see our Head yet; the one sent on this link answers.
            return Ok(());
        };
        if self.keeps_crossed(&peer, &done.group)? {
            return Ok(());
        }
        let card = done.card.verify(&peer, &self.identity.peer_id())?;
        let group = self.enter_group(done, &peer)?;
        let provider = self.store.provider();
        let (epoch_id, epoch) = (group::epoch_id(&provider, &group)?, group.epoch().as_u64());
        let trust = if pending.by_link { Trust::Link } else { Trust::Code };
        let Called { name, claimed, held } = self.meet(&card, &done.card, &done.name, trust, now)?;
        self.add_group(done.group, epoch_id, epoch, &peer)?;
        self.keep_group(done.group, group);
        // It answers our request, and so it has the card in that.
        self.note_card_seen(&peer, &pending.request)?;
        let settles = self.end_joins_with(&peer)?;
        self.session(id)?.pairing = Pairing::Idle;
        self.publish_directory()?;
        if held {
            self.event(Event::Held {
                peer,
                name,
                claimed,
                settles,
            });
            self.drop_session(id, now);
            return Ok(());
        }
        self.event(Event::Joined {
            peer,
            name,
            verified: trust.is_verified(),
            settles,
        });
        self.session(id)?.role = Role::Contact;
        self.greet(id, peer, now)
    }

    /// Opens the Welcome into the group of two.
    fn enter_group(&self, done: &ContactAccept, peer: &PeerId) -> Result<MlsGroup, HandleError> {
        if self.store.group(&done.group)?.is_some() {
            return Err(HandleError::Forged("group"));
        }
        let members: BTreeSet<PeerId> = [*peer, self.identity.peer_id()].into();
        let provider = self.store.provider();
        match group::join(&provider, &done.welcome, &done.group, peer, &members) {
            // For a KeyPackage of before: the answer to what we asked since is on its way, or never comes.
            Err(WelcomeError::Invalid) => Err(HandleError::Stale),
            joined => Ok(joined?),
        }
    }

    /// Forgets what was asked and answered on the way to a contact, and tells what that is the end of.
    fn end_joins_with(&mut self, peer: &PeerId) -> Result<Settles, HandleError> {
        self.end_pending_join(peer)?;
        self.store.delete_request(peer)?;
        let crossed = self.store.accepted_join(peer)?;
        self.store.end_accepted_join(peer)?;
        let found = self.joining.take_if(|joining| joining.asked == Some(*peer));
        self.link_joining.take_if(|joining| joining.inviter() == *peer);
        Ok(Settles {
            invite: crossed.is_some_and(|join| !join.by_link),
            join: found.is_some() | self.crossed.remove(peer),
        })
    }

    /// Two invites crossed: each made a group for the other. The one with the smaller hash stays, on both sides.
    fn keeps_crossed(&self, peer: &PeerId, other: &GroupId) -> Result<bool, HandleError> {
        if self.store.accepted_join(peer)?.is_none() {
            return Ok(false);
        }
        let own = self.store.direct_group(peer)?;
        Ok(own.is_some_and(|own| own.id == *other || Sha256::digest(own.id.0) < Sha256::digest(other.0)))
    }

    pub(super) fn pair_refused(
        &mut self,
        id: SessionId,
        refusal: Refusal,
        now: Now,
    ) -> Result<(), HandleError> {
        let session = self.session(id)?;
        let peer = session.peer;
        let by_code = matches!(session.pairing, Pairing::Joiner(_) | Pairing::JoinerProved(_));
        if session.role == Role::Contact && !by_code {
            return Err(HandleError::Stale);
        }
        if !by_code && self.has_link_of(&peer)? {
            return self.link_refused(id, peer, refusal, now);
        }
        let session = self.session(id)?;
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

    /// Forgets requests whose time is over for certain; those that may be over are not heeded any more.
    pub(super) fn expire_pending_joins(&mut self, now: Now) -> Result<(), group::GroupError> {
        let gone = self.age.profile_time(now);
        let before = std::mem::replace(&mut self.requests_gone, gone);
        if self.store.is_join_expiry_between(before, gone)? {
            self.publish_directory()?;
        }
        for peer in self.store.expired_joins(self.age.settled_time(now))? {
            self.end_pending_join(&peer)?;
            self.publish_directory()?;
        }
        Ok(())
    }
}
