//! The inviter's side of a pairing by code: reply, judge the proof, accept the one request.

use std::{collections::BTreeSet, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    Engine, Event, Failure, HandleError, Output, Reply, SessionId,
    session::{Pairing, REQUEST_BUDGET, Session},
};
use crate::{
    card::{Card, UnverifiedCard},
    group,
    id::{GroupId, MemberId, PeerId, StreamId},
    invite::{self, Code, Ends, Nameplate},
    name,
    store::{GroupRow, StoreError},
    time::Now,
    wire::{ContactRequest, Frame, PairDone, PairStart, Refusal, Role},
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
        let reply = Reply::Invited(code.clone());
        let expires = now.monotonic.saturating_add(lifetime);
        self.invite = Some(OpenInvite {
            code,
            expires,
            guesses_left: GUESSES,
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
        let Some(invite) = self
            .invite
            .as_ref()
            .filter(|invite| invite.code.nameplate() == start.nameplate)
        else {
            self.refuse(id, Refusal::NoInvite, now);
            return Ok(());
        };
        let session = self.sessions.get_mut(&id).ok_or(HandleError::UnknownSession)?;
        if !matches!(session.pairing, Pairing::Idle) {
            // One guess per connection.
            return Err(HandleError::Rights);
        }
        let ends = Ends {
            inviter: own,
            joiner: session.peer,
            channel: session.channel,
        };
        let (inviter, spake) = invite::Inviter::reply(&invite.code, ends, &start.spake, &mut self.rng)
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
                self.outputs.push(Output::ReadBudget {
                    session: id,
                    bytes: Some(REQUEST_BUDGET),
                });
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
        let hash = Sha256::digest(bytes).into();
        if request.identity != peer {
            return Err(HandleError::Forged("identity"));
        }
        let accepted = self.store.accepted_join(&peer)?;
        if accepted.as_ref().is_some_and(|join| join.request == hash) {
            // It lost our answer; greeting it on this link has sent it again.
            return Ok(());
        }
        // Who is a contact already may ask again only if the first Welcome was never used.
        let settled = accepted.is_none() && self.store.contact(&peer)?.is_some();
        if !self.session(id)?.proved || settled || self.invite.is_none() {
            self.refuse(id, Refusal::Used, now);
            return Ok(());
        }
        let done = self.accept(&peer, request, now)?.encode();
        self.store.put_accepted_join(&peer, &hash, &done)?;
        let session = self.session(id)?;
        session.role = Role::Contact;
        session.proved = false;
        self.close_invite(Refusal::Used, now)?;
        self.greet(id, peer)
    }

    /// Makes the contact and the group of two, and the answer that brings the joiner into it.
    fn accept(&mut self, peer: &PeerId, request: &ContactRequest, now: Now) -> Result<Frame, HandleError> {
        let card = request.card.verify(peer, &self.identity.peer_id())?;
        self.add_contact(&card, &request.card, &request.name, now)?;
        self.end_pending_join(peer)?;
        self.end_join_with(peer);
        let mut random = [0; GroupId::LEN];
        self.rng.fill_bytes(&mut random);
        let group_id = GroupId(random);
        let provider = self.store.provider();
        let package = request.key_packages.first().ok_or(HandleError::Rights)?;
        let package = group::read_key_package(&provider, package, peer)?;
        let created = group::create(&provider, &self.identity, group_id, &[package])?;
        let epoch_id = group::epoch_id(&provider, &created.group)?;
        let epoch = created.group.epoch().as_u64();
        self.add_group(group_id, epoch_id, epoch, peer)?;
        self.keep_group(group_id, created.group);

        Ok(Frame::PairDone(PairDone {
            name: self.store.own_name()?,
            card: self.own_card(peer)?,
            group: group_id,
            commit: created.commit,
            welcome: created.welcome,
        }))
    }

    /// Stores a contact under the name it gave, or a free one beside it; who is a contact already keeps the name.
    pub(super) fn add_contact(
        &self,
        card: &Card,
        signed: &UnverifiedCard,
        wanted: &str,
        now: Now,
    ) -> Result<String, HandleError> {
        if let Some(known) = self.store.contact(&card.member)? {
            self.store.update_card(card, signed)?;
            return Ok(known.name);
        }
        let short = card.member.short();
        let wanted = name::validate(wanted).unwrap_or_else(|_| short.clone());
        let mut name = wanted.clone();
        let mut namesakes = 0u64;
        while self.store.name_taken(&name)? {
            name = match namesakes {
                0 => format!("{} {short}", truncated(&wanted, 48)),
                _ => format!("{} {short} {namesakes}", truncated(&wanted, 32)),
            };
            namesakes = namesakes.saturating_add(1);
        }
        self.store.add_contact(&name, card, signed, now.unix_ms)?;
        Ok(name)
    }

    /// Stores the group of a conversation of two, with a fresh stream of our own.
    pub(super) fn add_group(
        &mut self,
        id: GroupId,
        epoch_id: crate::id::EpochId,
        epoch: u64,
        peer: &PeerId,
    ) -> Result<(), HandleError> {
        let mut stream = [0; StreamId::LEN];
        self.rng.fill_bytes(&mut stream);
        let chat = self.store.direct_chat(peer)?;
        let mut row = GroupRow {
            id,
            chat,
            epoch_id,
            epoch,
            stream: StreamId(stream),
            next_seq: 1,
        };
        if let Some(old) = self.store.group_of_chat(chat)? {
            // Nobody ever joined it: its stream and what waits in it go over to the new group.
            (row.stream, row.next_seq) = (old.stream, old.next_seq);
            let state = self.take_group(&old.id)?;
            group::delete(&self.store.provider(), state)?;
            self.store.replace_group(&old.id, &id)?;
        }
        let members: BTreeSet<PeerId> = [*peer, self.identity.peer_id()].into();
        let members = members
            .into_iter()
            .map(|peer| (MemberId::from(&peer), peer))
            .collect::<Vec<_>>();
        Ok(self.store.add_group(&row, &members)?)
    }

    /// Our card for one contact.
    pub(super) fn own_card(&self, audience: &PeerId) -> Result<UnverifiedCard, HandleError> {
        let own = self.identity.peer_id();
        let lan_key = self.store.own_lan_key()?;
        let card = Card {
            member: own,
            audience: *audience,
            version: 1,
            endpoint: own,
            lan_key,
        };
        Ok(card.sign(&self.identity))
    }

    /// Says no and ends the link.
    fn refuse(&mut self, id: SessionId, refusal: Refusal, now: Now) {
        self.post(id, &Frame::PairRefused(refusal));
        self.drop_session(id, now);
    }
}

/// The longest prefix of whole characters within so many bytes.
fn truncated(text: &str, bytes: usize) -> &str {
    let end = text
        .char_indices()
        .map(|(at, c)| at.saturating_add(c.len_utf8()))
        .take_while(|end| *end <= bytes)
        .last();
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}
