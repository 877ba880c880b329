//! First contact by link: the joiner proves that it has the link and asks; the inviter keeps the request until a
//! person decides.
//!
//! ```text
//! joiner                                  inviter
//!   PairStart{link}           ------->    a link of ours
//!                             <-------    PairReply{}
//!   PairProof                 ------->    only now is told what became of the link
//!                             <-------    PairProof
//!   one commit: KeyPackage, pending join
//!   ContactRequest{.., proof} ------->    one commit: request, link used
//!                             <-------    ContactKept{name}
//! ```
//! The proof in the request holds on every later link too, so that it can be repeated without the first steps.

mod joiner;

pub(super) use joiner::LinkJoining;

use std::time::Duration;

use super::{
    Engine, Event, Failure, HandleError, Output, Reply, SessionId,
    newcomer::Called,
    session::{Pairing, REQUEST_BUDGET},
};

use crate::{
    contact::Trust,
    group,
    id::{LinkId, PeerId},
    invite::{Link, Prover},
    store::{LinkRow, LinkState, NewRequest, StoreError},
    time::Now,
    wire::{ContactRequest, Frame, Refusal, Role},
};

/// Links that may be open at a time.
const OPEN: usize = 8;
/// Requests that may wait for the user.
const REQUESTS: usize = 64;
/// How long who comes too late is still told so, in milliseconds.
const LATE_MS: i64 = 24 * 60 * 60 * 1000;

impl Engine {
    pub(super) fn invite_by_link(&mut self, lifetime: Duration, now: Now) -> Result<Reply, HandleError> {
        let links = self.store.links(self.links_gone)?;
        let time = self.age.profile_time(now);
        let open = |link: &&LinkRow| link.state(time, now.unix_ms) == LinkState::Open;
        if links.iter().filter(open).count() >= OPEN {
            return Err(Failure::TooManyLinks.into());
        }
        let link = Link::new(self.identity.peer_id(), &mut self.rng);
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let expires = time.saturating_add(lifetime);
        let printed = self.age.wall_time(now).saturating_add(lifetime);
        self.store
            .put_link(&link.id(), link.secret(), time, expires, printed)?;
        self.expire_links(now)?;
        self.publish_directory()?;
        // What people are told is by the clock that they see.
        let expires = now.unix_ms.saturating_add(lifetime);
        Ok(Reply::Link { link, expires })
    }

    pub(super) fn cancel_link(&mut self, link: &LinkId, now: Now) -> Result<Reply, HandleError> {
        let time = self.age.profile_time(now);
        let known = self.store.link(link, self.links_gone)?;
        let known = known.map(|link| link.state(time, now.unix_ms));
        if !matches!(known, Some(LinkState::Open | LinkState::Used)) {
            return Err(Failure::UnknownLink.into());
        }
        self.store.cancel_link(link, time)?;
        self.publish_directory()?;
        Ok(Reply::Done)
    }

    /// Forgets links that expired so long ago that nobody comes with them any more.
    pub(super) fn expire_links(&mut self, now: Now) -> Result<(), StoreError> {
        let time = self.age.profile_time(now);
        let gone = time.saturating_sub(LATE_MS);
        let certain = self.age.settled_time(now).saturating_sub(LATE_MS);
        let hidden = self.store.links(self.links_gone)?.len() > self.store.links(gone)?.len();
        self.links_gone = gone;
        if self.store.forget_links(certain)? > 0 || hidden {
            self.publish_directory()?;
        }
        self.links_due = self.age.next_look;
        if let Some(next) = self.store.next_link_expiry(gone)? {
            let left = u64::try_from(next.saturating_sub(gone)).unwrap_or(0);
            let at = now.monotonic.saturating_add(Duration::from_millis(left));
            self.links_due = self.links_due.min(at);
        }
        self.outputs.push(Output::WakeAt(self.links_due));
        Ok(())
    }

    /// The same when it is due: each tick would be too often.
    pub(super) fn tick_links(&mut self, now: Now) -> Result<(), StoreError> {
        if now.monotonic < self.links_due {
            return Ok(());
        }
        self.expire_links(now)
    }

    /// Whether strangers are expected.
    pub(super) fn is_inviting(&self) -> Result<bool, StoreError> {
        Ok(self.invite.is_some() || !self.store.links(self.links_gone)?.is_empty())
    }

    /// Step 1: somebody has a link of ours, or says so.
    pub(super) fn link_start(&mut self, id: SessionId, link: LinkId, now: Now) -> Result<(), HandleError> {
        let session = self.session(id)?;
        let (peer, role) = (session.peer, session.role);
        if !matches!(session.pairing, Pairing::Idle) {
            // One link per connection.
            return Err(HandleError::Rights);
        }
        let known = self.store.link(&link, self.links_gone)?;
        let accepted = role == Role::Contact && self.store.accepted_join(&peer)?.is_some();
        if accepted && known.as_ref().is_none_or(|link| link.used_by == Some(peer)) {
            // It was accepted and does not know yet.
            return self.greet(id, peer, now);
        }
        let refusal = match (role, known) {
            // By another link: what was accepted, it cannot use any more.
            (Role::Contact, Some(_)) if accepted => None,
            (Role::Contact, _) => Some(Refusal::Invalid),
            (_, None) => Some(Refusal::NoInvite),
            (Role::Stranger | Role::Proven | Role::Requester | Role::Pending, Some(_)) => None,
        };
        if let Some(refusal) = refusal {
            self.refuse(id, refusal, now);
            return Ok(());
        }
        self.session(id)?.pairing = Pairing::LinkInviter(link);
        self.post(id, &Frame::PairReply { spake: Vec::new() });
        Ok(())
    }

    /// Step 3: the joiner proves to have the link. Whoever has not learns nothing about it.
    pub(super) fn judge_link_proof(
        &mut self,
        id: SessionId,
        link: LinkId,
        mac: &[u8; 32],
        now: Now,
    ) -> Result<(), HandleError> {
        let own = self.identity.peer_id();
        let session = self.session(id)?;
        let peer = session.peer;
        let ends = session.ends_for_inviter(own);
        let Some(link) = self.store.link(&link, self.links_gone)? else {
            self.refuse(id, Refusal::Cancelled, now);
            return Ok(());
        };
        let keys = link.keys();
        if !keys.holds(Prover::Joiner, &ends, mac) {
            self.refuse(id, Refusal::WrongCode, now);
            return Ok(());
        }
        if self.turns_away(id, &link, &peer, now)? {
            return Ok(());
        }
        let session = self.session(id)?;
        session.role = session.role.max(Role::Proven);
        session.pairing = Pairing::LinkProved(link.id);
        self.limit(id, REQUEST_BUDGET);
        let mac = keys.proof(Prover::Inviter, &ends);
        self.post(id, &Frame::PairProof { mac });
        Ok(())
    }

    /// Step 5: who has the link asks. One commit keeps the request and uses the link up; a person decides later.
    pub(super) fn link_request(
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
        if self.session(id)?.role == Role::Contact {
            return self.accepted_asks_again(id, request, bytes, now);
        }
        match self.store.request(&peer)? {
            Some(known) if known.frame != bytes => {}
            Some(known) if known.refused => return self.tell_refused(id, &peer, now),
            Some(_) => return self.say_kept(id),
            None => {}
        }
        let Some(link) = self.link_of_request(id, request)? else {
            return Err(HandleError::Forged("proof"));
        };
        if self.turns_away(id, &link, &peer, now)? {
            return Ok(());
        }
        self.keep_request(id, request, bytes, &link.id, now)?;
        self.say_kept(id)
    }

    fn keep_request(
        &mut self,
        id: SessionId,
        request: &ContactRequest,
        bytes: &[u8],
        link: &LinkId,
        now: Now,
    ) -> Result<(), HandleError> {
        let peer = request.identity;
        request.card.verify(&peer, &self.identity.peer_id())?;
        for package in &request.key_packages {
            group::read_key_package(&self.store.provider(), package, &peer)?;
        }
        let Called { name, claimed, .. } = self.name_newcomer(&peer, &request.name)?;
        let new = NewRequest {
            peer: &peer,
            name: &name,
            claimed: &claimed,
            frame: bytes,
            link,
        };
        self.store.put_request(&new, now.unix_ms)?;
        self.store.use_link(link, &peer, self.age.profile_time(now))?;
        self.drop_oldest_requests(now)?;
        let session = self.session(id)?;
        session.role = session.role.max(Role::Requester);
        session.pairing = Pairing::Idle;
        self.publish_directory()?;
        self.event(Event::Request { peer, name });
        Ok(())
    }

    /// Accepted meanwhile: the answer was sent when this link began, and the request was on its way. Or what was
    /// accepted is of no use to them any more, and they came with another link.
    fn accepted_asks_again(
        &mut self,
        id: SessionId,
        request: &ContactRequest,
        bytes: &[u8],
        now: Now,
    ) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        let Some(accepted) = self.store.accepted_join(&peer)? else {
            return Ok(());
        };
        if accepted.answers(bytes) || !accepted.by_link {
            return Ok(());
        }
        let Some(link) = self.link_of_request(id, request)? else {
            return Err(HandleError::Forged("proof"));
        };
        if self.turns_away(id, &link, &peer, now)? {
            return Ok(());
        }
        self.accept(&peer, request, bytes, Trust::Link, now)?;
        self.store.use_link(&link.id, &peer, self.age.profile_time(now))?;
        self.session(id)?.pairing = Pairing::Idle;
        self.greet(id, peer, now)
    }

    fn say_kept(&mut self, id: SessionId) -> Result<(), HandleError> {
        let name = self.store.own_name()?;
        self.post(id, &Frame::ContactKept { name });
        Ok(())
    }

    /// The link that a request proves: the one that was proved on this connection, or any.
    fn link_of_request(
        &mut self,
        id: SessionId,
        request: &ContactRequest,
    ) -> Result<Option<LinkRow>, HandleError> {
        let own = self.identity.peer_id();
        let session = self.session(id)?;
        let (peer, proved) = (session.peer, &session.pairing);
        let only = if let Pairing::LinkProved(link) = proved {
            Some(*link)
        } else {
            None
        };
        let Some(proof) = request.proof else {
            return Ok(None);
        };
        let links = self.store.links(self.links_gone)?.into_iter();
        let mut candidates = links.filter(|link| only.is_none_or(|only| only == link.id));
        Ok(candidates.find(|link| {
            let keys = link.keys();
            keys.request_holds(&own, &peer, &request.key_packages, &proof)
        }))
    }

    /// Refuses a link that is good for nobody, or not for this one. Its first user may come again while the
    /// request waits.
    fn turns_away(
        &mut self,
        id: SessionId,
        link: &LinkRow,
        peer: &PeerId,
        now: Now,
    ) -> Result<bool, HandleError> {
        let waits = self.store.request(peer)?.is_some_and(|request| !request.refused);
        let own = link.used_by == Some(*peer) && waits;
        let refusal = match link.state(self.age.profile_time(now), now.unix_ms) {
            LinkState::Open => return Ok(false),
            LinkState::Used if own => return Ok(false),
            LinkState::Used => Refusal::Used,
            LinkState::Cancelled => Refusal::Cancelled,
            LinkState::Expired => Refusal::Expired,
        };
        if refusal == Refusal::Used {
            self.store.count_refused(&link.id)?;
        }
        self.refuse(id, refusal, now);
        Ok(true)
    }

    fn drop_oldest_requests(&mut self, now: Now) -> Result<(), HandleError> {
        let requests = self.store.requests()?;
        let too_many = requests.len().saturating_sub(REQUESTS);
        for request in requests.into_iter().take(too_many) {
            let (peer, name) = (request.peer, request.name);
            self.store.delete_request(&peer)?;
            if let Some(session) = self.links.get(&peer).copied() {
                self.refuse(session, Refusal::Busy, now);
            }
            self.event(Event::RequestDropped { peer, name });
        }
        Ok(())
    }
}
