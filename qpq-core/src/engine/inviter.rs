//! The inviter's side of a pairing by code: reply, judge the proof, accept the one request.

use std::time::Duration;

use super::{
    Engine, Event, Failure, HandleError, Output, Reply, SessionId, Settles,
    session::{Pairing, REQUEST_BUDGET, Session},
};
use crate::{
    contact::Trust,
    id::PeerId,
    invite::{self, Code, Nameplate},
    store::StoreError,
    time::Now,
    wire::{ContactAccept, ContactRequest, Frame, PairStart, Refusal, Role},
};

/// Wrong proofs that close an invite.
const GUESSES: u8 = 3;

/// An invite by code. It lives in memory and dies with the process.
pub(super) struct OpenInvite {
    pub(super) code: Code,
    pub(super) expires: Duration,
    guesses_left: u8,
}

impl Engine {
    pub(super) fn open_invite(
        &mut self,
        nameplate: Nameplate,
        lifetime: Duration,
        now: Now,
    ) -> Result<Reply, HandleError> {
        if self.invite.is_some() {
            return Err(Failure::InviteOpen.into());
        }
        let code = Code::generate(nameplate, &mut self.rng);
        self.reopen_invite(code, GUESSES, lifetime, now)
    }

    /// The same for a code that was told already.
    pub(super) fn reopen_invite(
        &mut self,
        code: Code,
        guesses_left: u8,
        lifetime: Duration,
        now: Now,
    ) -> Result<Reply, HandleError> {
        if self.invite.is_some() {
            return Err(Failure::InviteOpen.into());
        }
        let reply = Reply::Invited(code.clone());
        let expires = now.monotonic.saturating_add(lifetime);
        self.invite = Some(OpenInvite {
            code,
            expires,
            guesses_left: guesses_left.clamp(1, GUESSES),
        });
        self.publish_directory()?;
        self.outputs.push(Output::WakeAt(expires));
        Ok(reply)
    }

    /// Closes the invite and turns away who was proving its code: a proof never counts for the next one.
    pub(super) fn close_invite(&mut self, reason: Refusal, now: Now) -> Result<(), StoreError> {
        self.invite = None;
        let proving = |session: &Session| session.proved || matches!(session.pairing, Pairing::Inviter(_));
        let proving = self
            .sessions
            .iter()
            .filter(|(_, session)| proving(session))
            .map(|(id, _)| *id);
        for id in proving.collect::<Vec<_>>() {
            self.refuse(id, reason, now);
        }
        self.publish_directory()
    }

    /// Step 1: a joiner begins.
    pub(super) fn pair_start(
        &mut self,
        id: SessionId,
        start: &PairStart,
        now: Now,
    ) -> Result<(), HandleError> {
        let own = self.identity.peer_id();
        let (nameplate, spake) = match start {
            PairStart::Code { nameplate, spake } => (*nameplate, spake),
            PairStart::Link(link) => return self.link_start(id, *link, now),
        };
        let Some(invite) = self
            .invite
            .as_ref()
            .filter(|invite| invite.code.nameplate() == nameplate)
        else {
            self.refuse(id, Refusal::NoInvite, now);
            return Ok(());
        };
        let session = self.sessions.get_mut(&id).ok_or(HandleError::UnknownSession)?;
        if !matches!(session.pairing, Pairing::Idle) {
            // One guess per connection.
            return Err(HandleError::Rights);
        }
        let ends = session.ends_for_inviter(own);
        let (inviter, spake) = invite::Inviter::reply(&invite.code, ends, spake, &mut self.rng)
            .map_err(|_| HandleError::Forged("SPAKE2 message"))?;
        session.pairing = Pairing::Inviter(inviter);
        self.post(id, &Frame::PairReply { spake });
        Ok(())
    }

    /// Step 3: the joiner proves to know the code, or has made one of three wrong guesses.
    pub(super) fn judge_proof(
        &mut self,
        id: SessionId,
        inviter: invite::Inviter,
        mac: &[u8; 32],
        now: Now,
    ) -> Result<(), HandleError> {
        let Some(invite) = &mut self.invite else {
            self.refuse(id, Refusal::Cancelled, now);
            return Ok(());
        };
        match inviter.confirm(mac) {
            Ok(mac) => {
                let session = self.session(id)?;
                session.role = session.role.max(Role::Proven);
                session.proved = true;
                self.limit(id, REQUEST_BUDGET);
                self.post(id, &Frame::PairProof { mac });
            }
            Err(_) => {
                invite.guesses_left = invite.guesses_left.saturating_sub(1);
                let left = invite.guesses_left;
                if left == 0 {
                    self.close_invite(Refusal::Cancelled, now)?;
                }
                self.event(Event::GuessFailed { left });
                self.refuse(id, Refusal::WrongCode, now);
            }
        }
        Ok(())
    }

    /// Step 5: the proven joiner asks. One commit makes the contact, the group and the answer, which is kept
    /// until the joiner's first Head, so that the same request again gets the same answer.
    pub(super) fn contact_request(
        &mut self,
        id: SessionId,
        request: &ContactRequest,
        bytes: &[u8],
        now: Now,
    ) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        if request.identity != peer {
            return Err(HandleError::Forged("identity"));
        }
        let accepted = self.store.accepted_join(&peer)?;
        if accepted.as_ref().is_some_and(|join| join.answers(bytes)) {
            // It lost our answer; greeting it on this link has sent it again.
            return Ok(());
        }
        if !self.session(id)?.proved || self.invite.is_none() {
            self.refuse(id, Refusal::Used, now);
            return Ok(());
        }
        // Who is a contact already may come again: its state may be lost, or it was introduced by a link only.
        self.accept(&peer, request, bytes, Trust::Code, now)?;
        self.session(id)?.proved = false;
        self.close_invite(Refusal::Used, now)?;
        if self
            .store
            .contact(&peer)?
            .is_some_and(|contact| contact.is_live())
        {
            self.session(id)?.role = Role::Contact;
            return self.greet(id, peer, now);
        }
        let name = self.store.own_name()?;
        self.post(id, &Frame::ContactKept { name });
        self.drop_session(id, now);
        Ok(())
    }

    /// Makes the contact and the group of two, and keeps the answer that brings the joiner into it. `bytes` is the
    /// request's frame, by which the same one is known again.
    pub(super) fn accept(
        &mut self,
        peer: &PeerId,
        request: &ContactRequest,
        bytes: &[u8],
        trust: Trust,
        now: Now,
    ) -> Result<(), HandleError> {
        let card = request.card.verify(peer, &self.identity.peer_id())?;
        let met = self.meet(&card, &request.card, &request.name, trust, now)?;
        self.end_join_with(peer);
        if met.held {
            let settles = Settles {
                invite: trust == Trust::Code,
                join: self.crossed.remove(peer),
            };
            self.event(Event::Held {
                peer: *peer,
                name: met.name,
                claimed: met.claimed,
                settles,
            });
        }
        self.store.delete_request(peer)?;
        let package = request.key_packages.first().ok_or(HandleError::Rights)?;
        let (group, commit, welcome) = self.create_group(peer, package)?;
        let accept = Frame::ContactAccept(ContactAccept {
            name: self.store.own_name()?,
            card: self.own_card(peer)?,
            group,
            commit,
            welcome,
        });
        self.store
            .put_accepted_join(peer, bytes, &accept.encode(), trust == Trust::Link)?;
        Ok(())
    }

    /// Says no and ends the link.
    pub(super) fn refuse(&mut self, id: SessionId, refusal: Refusal, now: Now) {
        self.post(id, &Frame::PairRefused(refusal));
        self.drop_session(id, now);
    }
}
