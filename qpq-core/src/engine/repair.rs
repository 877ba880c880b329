//! A conversation outlives its group: when a side has lost the MLS state, a new group takes the place of the old.
//!
//! Whoever hears of a group that is not there says so, with a KeyPackage (NotMember). The group is dead then for
//! the other side as well. Of the two, the smaller PeerId makes the new group and keeps its Welcome until the other's
//! first Head; the larger one answers with a NotMember of its own, and begins every link with one as long as it has
//! no group. So there is always somebody who speaks first, and whatever is lost or repeated is said again or ignored.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{Engine, Event, HandleError, Output, SessionId};
use crate::{
    group::{self, GroupError, WelcomeError},
    id::{CommitId, EpochId, GroupId, MemberId, PeerId, StreamId},
    identity::Context,
    store::{GroupRow, Notice, Offer},
    time::Now,
    wire::{Frame, NotMember, Welcome},
};

/// So many groups may be told of as lost on one link.
const TOLD: usize = 8;
/// So many may be replaced.
const REPLACED: u8 = 4;

impl Engine {
    /// First words about groups on a link: an unconfirmed Welcome, where we stand, or that we stand nowhere.
    pub(super) fn greet_groups(&mut self, id: SessionId, peer: &PeerId) -> Result<(), HandleError> {
        for group in self.store.groups_with(peer)? {
            if let Some(frame) = self.store.welcome(&group.id)? {
                self.outputs.push(Output::Send { session: id, frame });
            }
            self.send_head(id, &group)?;
        }
        let direct = self.store.direct_group(peer)?;
        match direct {
            Some(group) if !group.dead => Ok(()),
            lost if self.waits_for_welcome(peer) => {
                let nameless = GroupId([0; GroupId::LEN]);
                self.tell_not_member(id, lost.map_or(nameless, |group| group.id))
            }
            _ => Ok(()),
        }
    }

    /// The live group a frame is about, and the peer of the link, if that is a member. Where there is no such group
    /// the peer is told.
    pub(super) fn live_group(
        &mut self,
        session: SessionId,
        id: &GroupId,
    ) -> Result<Option<(GroupRow, PeerId)>, HandleError> {
        match self.group_with(session, id) {
            Ok((group, peer)) if !group.dead => return Ok(Some((group, peer))),
            Ok(_) | Err(HandleError::UnknownGroup) => {}
            Err(error) => return Err(error),
        }
        let peer = self.session(session)?.peer;
        let direct = self.store.direct_group(&peer)?;
        let flows = &self.session(session)?.flows;
        if direct.is_some_and(|group| group.unconfirmed || flows.contains_key(&group.id)) {
            // The Welcome that was sent on this link is the answer; or it has come, and this is of before.
            return Err(HandleError::Stale);
        }
        self.tell_not_member(session, *id)?;
        Ok(None)
    }

    /// The other member has no state of a group.
    pub(super) fn not_member(
        &mut self,
        session: SessionId,
        statement: &NotMember,
        now: Now,
    ) -> Result<(), HandleError> {
        let peer = self.session(session)?.peer;
        let signed = statement_bytes(&statement.group, &statement.member, &statement.key_package);
        if MemberId::from(&peer) != statement.member
            || peer
                .verify(Context::NotMember, &[&signed], &statement.signature)
                .is_err()
        {
            return Err(HandleError::Forged("statement"));
        }
        group::read_key_package(&self.store.provider(), &statement.key_package, &peer)?;
        let direct = self.store.direct_group(&peer)?;
        let live = direct.as_ref().filter(|group| !group.dead);
        if live.is_some_and(|group| group.id != statement.group) {
            return Err(HandleError::Stale);
        }
        let link = self.session(session)?;
        link.replaced = link.replaced.saturating_add(1);
        if link.replaced > REPLACED {
            return Err(HandleError::Stale);
        }
        // Who makes one group after the other because no Welcome is ever used tells the user once.
        let again = live.is_some_and(|group| group.unconfirmed);
        if let Some(group) = live {
            self.bury(group)?;
        }
        if self.waits_for_welcome(&peer) {
            return self.tell_not_member(session, statement.group);
        }
        self.replace_group(session, &peer, statement)?;
        match direct {
            Some(group) if !again => self.notice(group.chat, Notice::NewGroup, now),
            _ => Ok(()),
        }
    }

    /// Makes the group that takes the place of a dead one, and brings the other in.
    fn replace_group(
        &mut self,
        session: SessionId,
        peer: &PeerId,
        statement: &NotMember,
    ) -> Result<(), HandleError> {
        let (group, commit, welcome) = self.create_group(peer, &statement.key_package)?;
        let frame = Frame::Welcome(Welcome {
            group,
            commit,
            welcome,
        })
        .encode();
        self.store.put_welcome(&group, &frame)?;
        self.outputs.push(Output::Send { session, frame });
        let row = self.store.group(&group)?.ok_or(HandleError::UnknownGroup)?;
        self.send_head(session, &row)
    }

    /// A new group takes the place of the one that is lost. Only for a KeyPackage which we offered; whether there
    /// is a live group besides does not matter, for the only other member has left it.
    pub(super) fn welcome(
        &mut self,
        session: SessionId,
        welcome: &Welcome,
        now: Now,
    ) -> Result<(), HandleError> {
        let (peer, own) = (self.session(session)?.peer, self.identity.peer_id());
        let known = self.store.group(&welcome.group)?.is_some();
        if known || !self.waits_for_welcome(&peer) || self.store.offer(&peer)?.is_none() {
            return Err(HandleError::Stale);
        }
        let provider = self.store.provider();
        let members = BTreeSet::from([peer, own]);
        let state = match group::join(&provider, &welcome.welcome, &welcome.group, &peer, &members) {
            Ok(state) => state,
            Err(WelcomeError::Invalid) => {
                // Made for secrets that are gone: what we say of this group next carries a fresh KeyPackage.
                tracing::info!("a Welcome cannot be used");
                return Ok(self.end_offer(&peer)?);
            }
            Err(error) => return Err(error.into()),
        };
        let (epoch_id, epoch) = (group::epoch_id(&provider, &state)?, state.epoch().as_u64());
        self.add_group(welcome.group, epoch_id, epoch, &peer)?;
        self.keep_group(welcome.group, state);
        let row = self
            .store
            .group(&welcome.group)?
            .ok_or(HandleError::UnknownGroup)?;
        self.notice(row.chat, Notice::NewGroup, now)?;
        self.send_head(session, &row)
    }

    /// Nothing we encrypt in a group is read any more: it is as good as lost.
    pub(super) fn give_up(&mut self, session: SessionId, group: &GroupRow) -> Result<(), HandleError> {
        self.bury(group)?;
        self.tell_not_member(session, group.id)
    }

    /// Makes a group with the owner of a KeyPackage in it, for the conversation with them.
    pub(super) fn create_group(
        &mut self,
        peer: &PeerId,
        key_package: &[u8],
    ) -> Result<(GroupId, CommitId, Vec<u8>), HandleError> {
        let id = GroupId(self.random());
        let provider = self.store.provider();
        let package = group::read_key_package(&provider, key_package, peer)?;
        let created = group::create(&provider, &self.identity, id, &[package])?;
        let epoch_id = group::epoch_id(&provider, &created.group)?;
        self.add_group(id, epoch_id, created.group.epoch().as_u64(), peer)?;
        self.keep_group(id, created.group);
        Ok((id, created.commit, created.welcome))
    }

    /// Stores the group of a conversation of two in place of any before, with a fresh stream of our own. What waits
    /// is numbered anew for it, so that nobody misses in it what was delivered before.
    pub(super) fn add_group(
        &mut self,
        id: GroupId,
        epoch_id: EpochId,
        epoch: u64,
        peer: &PeerId,
    ) -> Result<(), HandleError> {
        let chat = self.store.direct_chat(peer)?;
        if let Some(old) = self.store.group_of_chat(chat)? {
            self.drop_group(&old)?;
            self.event(Event::Renewed { chat });
        }
        let mut row = self.group_row(chat, id);
        (row.epoch_id, row.epoch) = (epoch_id, epoch);
        row.next_seq = self.store.requeue(&row)?;
        self.store.add_group(&row, &self.both(peer))?;
        Ok(self.end_offer(peer)?)
    }

    /// A dead group for a chat that has none, so that messages can wait.
    pub(super) fn add_dead_group(&mut self, chat: i64, peer: &PeerId) -> Result<GroupRow, HandleError> {
        let id = GroupId(self.random());
        let mut row = self.group_row(chat, id);
        row.dead = true;
        row.next_seq = self.store.requeue(&row)?;
        self.store.add_group(&row, &self.both(peer))?;
        Ok(row)
    }

    fn group_row(&mut self, chat: i64, id: GroupId) -> GroupRow {
        GroupRow {
            id,
            chat,
            epoch_id: EpochId([0; EpochId::LEN]),
            epoch: 0,
            stream: StreamId(self.random()),
            next_seq: 1,
            dead: false,
            unconfirmed: false,
            ahead: 0,
        }
    }

    /// The roster of a conversation of two.
    fn both(&self, peer: &PeerId) -> Vec<(MemberId, PeerId)> {
        let members = BTreeSet::from([*peer, self.identity.peer_id()]);
        let leaf = |peer: PeerId| (MemberId::from(&peer), peer);
        members.into_iter().map(leaf).collect()
    }

    /// Deletes a group's MLS state. Its chat stays, and what waits in it.
    fn bury(&mut self, group: &GroupRow) -> Result<(), HandleError> {
        if group.dead {
            return Ok(());
        }
        let state = self.take_group(&group.id)?;
        group::delete(&self.store, &group.id, state)?;
        self.store.mark_dead(&group.id)?;
        for session in self.sessions.values_mut() {
            session.flows.remove(&group.id);
            session.older_copies.remove(&group.id);
        }
        self.acks.retain(|source, _| source.group != group.id);
        self.holes.retain(|source, _| source.group != group.id);
        Ok(())
    }

    /// Takes a group away. Its chat stays, and what waits in it is for the group that takes its place.
    pub(super) fn drop_group(&mut self, group: &GroupRow) -> Result<(), HandleError> {
        self.bury(group)?;
        Ok(self.store.drop_group(&group.id)?)
    }

    /// Says that we have no state of a group, once for each on a link.
    fn tell_not_member(&mut self, session: SessionId, group: GroupId) -> Result<(), HandleError> {
        let link = self.session(session)?;
        if link.told.len() >= TOLD || !link.told.insert(group) {
            return Ok(());
        }
        let (peer, member) = (link.peer, MemberId::from(&self.identity.peer_id()));
        let key_package = self.own_offer(&peer)?;
        let signed = statement_bytes(&group, &member, &key_package);
        let statement = NotMember {
            group,
            member,
            key_package,
            signature: self.identity.sign(Context::NotMember, &[&signed]),
        };
        self.post(session, &Frame::NotMember(statement));
        Ok(())
    }

    /// The KeyPackage for one contact: the same one until it was used.
    fn own_offer(&self, peer: &PeerId) -> Result<Vec<u8>, HandleError> {
        if let Some(offer) = self.store.offer(peer)? {
            return Ok(offer.key_package);
        }
        let (reference, key_package) = group::new_key_package(&self.store.provider(), &self.identity)?;
        let offer = Offer {
            reference,
            key_package,
        };
        self.store.put_offer(peer, &offer)?;
        Ok(offer.key_package)
    }

    /// Forgets the KeyPackage for a contact, and its secrets.
    pub(super) fn end_offer(&self, peer: &PeerId) -> Result<(), GroupError> {
        if let Some(offer) = self.store.offer(peer)? {
            group::delete_key_package(&self.store.provider(), &offer.reference)?;
            self.store.end_offer(peer)?;
        }
        Ok(())
    }

    /// Adds a line of our own to a chat.
    pub(super) fn notice(&mut self, chat: i64, notice: Notice, now: Now) -> Result<(), HandleError> {
        let row = self.store.add_notice(chat, notice, now)?;
        self.event(Event::Message { row });
        Ok(())
    }

    /// Of two, the larger PeerId is brought in by the smaller.
    fn waits_for_welcome(&self, peer: &PeerId) -> bool {
        self.identity.peer_id() > *peer
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut random = [0; N];
        self.rng.fill_bytes(&mut random);
        random
    }
}

/// What a NotMember's signature covers.
fn statement_bytes(group: &GroupId, member: &MemberId, key_package: &[u8]) -> Vec<u8> {
    [&group.0[..], &member.0, &Sha256::digest(key_package)].concat()
}
