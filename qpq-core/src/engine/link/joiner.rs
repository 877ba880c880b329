//! The joiner's side of a link: whom to look for, what to prove, what to ask and when that is settled.

use std::collections::BTreeMap;

use super::super::{
    Engine, Event, Failure, HandleError, Output, Reply, SessionId, Settles,
    contact::ANSWER_LIFETIME_MS,
    session::{ANSWER_BUDGET, Pairing, STRANGER_BUDGET, Session},
};
use crate::{
    card::LanKey,
    contact::Standing,
    group,
    id::PeerId,
    invite::{JoinFailure, Link, LinkKeys, Prover},
    secret::Secret,
    store::{PendingLink, StoreError},
    time::Now,
    wire::{ContactRequest, Frame, PairStart, Refusal, Role},
};

/// A link whose inviter is being looked for. Nothing of it is stored before the inviter has proved to know it.
pub(in crate::engine) struct LinkJoining(Link);

impl LinkJoining {
    pub(in crate::engine) fn inviter(&self) -> PeerId {
        self.0.inviter()
    }
}

impl Engine {
    pub(in crate::engine) fn start_link_join(&mut self, link: Link, now: Now) -> Result<Reply, HandleError> {
        let inviter = link.inviter();
        if self.joining.is_some() || self.link_joining.is_some() {
            return Err(Failure::JoinRunning.into());
        }
        if inviter == self.identity.peer_id() {
            return Err(Failure::OwnLink.into());
        }
        if let Some(contact) = self.store.contact(&inviter)? {
            if contact.blocked {
                return Err(Failure::Blocked.into());
            }
            match contact.standing {
                Standing::Known => return Err(Failure::AlreadyContact(contact.name).into()),
                Standing::Held => return Err(Failure::KeyQuestion.into()),
                Standing::Removed => {}
            }
        }
        let pending = self.store.pending_link(&inviter, self.requests_gone)?;
        if let Some(name) = pending
            .filter(|pending| pending.secret == *link.secret())
            .and_then(|pending| pending.inviter)
        {
            // Asked with this very link before.
            self.event(Event::Asked {
                peer: inviter,
                name,
                settles: Settles::default(),
            });
            return Ok(Reply::Done);
        }
        self.link_joining = Some(LinkJoining(link));
        if let Some(session) = self.links.get(&inviter).copied() {
            // It was made for something else: the next one begins with the proof.
            self.drop_session(session, now);
        }
        self.publish_directory()?;
        Ok(Reply::Done)
    }

    /// Stops looking. A request that has left stays.
    pub(in crate::engine) fn cancel_link_join(&mut self, now: Now) {
        if self.link_joining.take().is_none() {
            return;
        }
        let proving =
            |session: &Session| matches!(session.pairing, Pairing::LinkJoiner | Pairing::LinkJoinerProved);
        let proving = self.sessions.iter().filter(|(_, session)| proving(session));
        for id in proving.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_session(id, now);
        }
    }

    /// Inviters to be recognised by their link: of the running join, and those who may not have our request.
    pub(in crate::engine) fn links_looked_for(&self) -> Result<BTreeMap<PeerId, LanKey>, StoreError> {
        let pending = self.store.pending_links(self.requests_gone)?.into_iter();
        let unkept = pending.filter(|pending| pending.inviter.is_none());
        let unkept = unkept.map(|pending| (pending.peer, LinkKeys::derive(&pending.secret).lan));
        let joining = self
            .link_joining
            .iter()
            .map(|LinkJoining(link)| (link.inviter(), link.keys().lan));
        let mut sought = unkept.chain(joining).collect::<BTreeMap<_, _>>();
        for contact in self.store.contacts()? {
            if contact.is_live() {
                // Known by a better key, and there is nothing left to ask.
                sought.remove(&contact.peer);
            }
        }
        Ok(sought)
    }

    /// The keys of the link by which we join this peer: of the running join, or of a request it may not have.
    fn keys_for(&self, peer: &PeerId) -> Result<Option<LinkKeys>, StoreError> {
        if let Some(LinkJoining(link)) = &self.link_joining
            && link.inviter() == *peer
        {
            return Ok(Some(link.keys()));
        }
        let pending = self.store.pending_link(peer, self.requests_gone)?;
        let unkept = pending.filter(|pending| pending.inviter.is_none());
        Ok(unkept.map(|pending| LinkKeys::derive(&pending.secret)))
    }

    /// Whether a link that we dialled is for a join by link.
    pub(in crate::engine) fn joins_by_link(&self, peer: &PeerId) -> Result<bool, StoreError> {
        let by_code = self.joining.as_ref().is_some_and(|joining| joining.tries(peer));
        let contact = self.store.contact(peer)?;
        let is_contact = contact.is_some_and(|contact| contact.is_live());
        Ok(!by_code && !is_contact && self.keys_for(peer)?.is_some())
    }

    /// Whether a refusal of this peer is about a link of its.
    pub(in crate::engine) fn has_link_of(&self, peer: &PeerId) -> Result<bool, StoreError> {
        let joining = self.link_joining.as_ref();
        let joins = joining.is_some_and(|joining| joining.inviter() == *peer);
        Ok(joins || self.store.pending_link(peer, self.requests_gone)?.is_some())
    }

    /// Step 1: a link to the inviter stands, whom TLS has shown to be the one that the link names.
    pub(in crate::engine) fn begin_link(&mut self, id: SessionId, peer: PeerId) -> Result<(), HandleError> {
        let keys = self.keys_for(&peer)?.ok_or(HandleError::Stale)?;
        let session = self.session(id)?;
        session.pairing = Pairing::LinkJoiner;
        let budget = if session.role == Role::Pending {
            ANSWER_BUDGET
        } else {
            STRANGER_BUDGET
        };
        self.limit(id, budget);
        self.post(id, &Frame::PairStart(PairStart::Link(keys.id)));
        Ok(())
    }

    /// Step 2: the inviter knows the link; we prove first.
    pub(in crate::engine) fn link_reply(
        &mut self,
        id: SessionId,
        spake: &[u8],
        now: Now,
    ) -> Result<(), HandleError> {
        if !spake.is_empty() {
            return Err(HandleError::Forged("reply"));
        }
        let own = self.identity.peer_id();
        let session = self.session(id)?;
        let ends = session.ends_for_joiner(own);
        let Some(keys) = self.keys_for(&ends.inviter)? else {
            self.drop_session(id, now);
            return Ok(());
        };
        self.session(id)?.pairing = Pairing::LinkJoinerProved;
        let mac = keys.proof(Prover::Joiner, &ends);
        self.post(id, &Frame::PairProof { mac });
        Ok(())
    }

    /// Step 4: both know the link. The request and the KeyPackage's secrets are durable before it leaves.
    pub(in crate::engine) fn judge_inviters_proof(
        &mut self,
        id: SessionId,
        mac: &[u8; 32],
        now: Now,
    ) -> Result<(), HandleError> {
        let own = self.identity.peer_id();
        let session = self.session(id)?;
        let ends = session.ends_for_joiner(own);
        let Some(keys) = self.keys_for(&ends.inviter)? else {
            self.drop_session(id, now);
            return Ok(());
        };
        if !keys.holds(Prover::Inviter, &ends, mac) {
            return Err(HandleError::Forged("proof"));
        }
        let frame = self.request_by_link(&ends.inviter, now)?;
        let session = self.session(id)?;
        session.role = Role::Pending;
        session.pairing = Pairing::Idle;
        self.limit(id, ANSWER_BUDGET);
        self.outputs.push(Output::Send { session: id, frame });
        Ok(self.publish_directory()?)
    }

    /// The request for this inviter: the one that may have got lost, or a new one.
    fn request_by_link(&mut self, inviter: &PeerId, now: Now) -> Result<Vec<u8>, HandleError> {
        let joining = self
            .link_joining
            .as_ref()
            .filter(|joining| joining.inviter() == *inviter);
        let pending = self.store.pending_link(inviter, self.requests_gone)?;
        let Some(LinkJoining(link)) = joining else {
            return pending.map(|pending| pending.request).ok_or(HandleError::Stale);
        };
        if let Some(pending) = pending.filter(|pending| pending.secret == *link.secret()) {
            return Ok(pending.request);
        }
        let own = self.identity.peer_id();
        let (keys, secret) = (link.keys(), Secret::new(*link.secret().expose()));
        let (reference, package) = group::new_key_package(&self.store.provider(), &self.identity)?;
        let key_packages = vec![package];
        let request = Frame::ContactRequest(ContactRequest {
            identity: own,
            name: self.store.own_name()?,
            card: self.own_card(inviter)?,
            proof: Some(keys.request_proof(inviter, &own, &key_packages)),
            key_packages,
        })
        .encode();
        self.end_pending_join(inviter)?;
        let pending = PendingLink {
            peer: *inviter,
            request: request.clone(),
            secret,
            inviter: None,
        };
        let expires = self.age.profile_time(now).saturating_add(ANSWER_LIFETIME_MS);
        self.store.put_pending_link(&pending, &reference, expires)?;
        Ok(request)
    }

    /// The inviter said no to the link, or to the request that came by it: that is dead.
    pub(in crate::engine) fn link_refused(
        &mut self,
        id: SessionId,
        peer: PeerId,
        refusal: Refusal,
        now: Now,
    ) -> Result<(), HandleError> {
        let joining = self.link_joining.take_if(|joining| joining.inviter() == peer);
        let pending = self.store.pending_link(&peer, self.requests_gone)?;
        let is_about = |pending: &PendingLink| {
            joining
                .as_ref()
                .is_none_or(|LinkJoining(link)| pending.secret == *link.secret())
        };
        if pending.as_ref().is_some_and(is_about) {
            self.end_pending_join(&peer)?;
            // Nobody redials for it.
            self.session(id)?.role = Role::Stranger;
        }
        if joining.is_some() {
            self.event(Event::JoinFailed(match refusal {
                Refusal::Used => JoinFailure::LinkUsed,
                Refusal::Expired => JoinFailure::LinkExpired,
                Refusal::Cancelled => JoinFailure::LinkCancelled,
                Refusal::NoInvite => JoinFailure::LinkUnknown,
                Refusal::WrongCode | Refusal::Blocked | Refusal::Busy | Refusal::Invalid => {
                    JoinFailure::Refused
                }
            }));
        }
        self.publish_directory()?;
        self.drop_session(id, now);
        Ok(())
    }
}
