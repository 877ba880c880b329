//! The links of the moment: who is at the other end, what they may say, what is under way to them.

use std::collections::BTreeMap;

use super::{Engine, Event, HandleError, Output, Purpose, SessionId, search};
use crate::{
    id::{GroupId, MemberId, PeerId, StreamId},
    invite::{self, ChannelBinding},
    time::Now,
    wire::Role,
};

/// Bytes a peer on its way to be a contact may send in all for its one request.
pub(super) const REQUEST_BUDGET: u32 = 16 * 1024;
/// Bytes an inviter may send us in all for its answer, which carries a Welcome.
pub(super) const ANSWER_BUDGET: u32 = 64 * 1024;
/// Bytes a stranger may send while the code is being proved.
pub(super) const STRANGER_BUDGET: u32 = 1024;

/// One link.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    pub(super) channel: ChannelBinding,
    pub(super) role: Role,
    /// The peer proved to know our code on this link.
    pub(super) proved: bool,
    pub(super) pairing: Pairing,
    pub(super) flows: BTreeMap<GroupId, Flow>,
}

/// Where a pairing by code stands on a link.
#[derive(Debug, Default)]
pub(super) enum Pairing {
    /// None is going on.
    #[default]
    Idle,
    /// We are the inviter and wait for the joiner's proof.
    Inviter(invite::Inviter),
    /// We are the joiner and wait for the inviter's SPAKE2 message.
    Joiner(Box<invite::Joiner>),
    /// We are the joiner and wait for the inviter's proof.
    JoinerProved(invite::JoinerWaiting),
}

/// Messages of one group on their way to the member at the other end. There is one from the moment when the
/// member's Head was compared with our own record on this link; nothing is sent before.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The highest number sent on this link.
    pub(super) sent_to: u64,
    /// Sent and not acknowledged: number and frame length.
    pub(super) in_flight: BTreeMap<u64, usize>,
}

/// An acknowledgement owed at the end of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AckDue {
    pub(super) session: SessionId,
    pub(super) group: GroupId,
    pub(super) member: MemberId,
    pub(super) stream: StreamId,
}

impl Session {
    pub(super) fn new(peer: PeerId, channel: ChannelBinding) -> Self {
        Self {
            peer,
            channel,
            role: Role::Stranger,
            proved: false,
            pairing: Pairing::Idle,
            flows: BTreeMap::new(),
        }
    }
}

impl Engine {
    /// A link stands: find out who it is, say where we stand, or go on with a pairing.
    pub(super) fn connected(
        &mut self,
        id: SessionId,
        mut session: Session,
        dialed: bool,
        purpose: Purpose,
        now: Now,
    ) -> Result<(), HandleError> {
        let peer = session.peer;
        let pending = self
            .store
            .pending_joins()?
            .into_iter()
            .find(|(asked, _)| *asked == peer);
        let pairing = purpose == Purpose::Pair;
        let at_our_invite = pairing && !dialed && self.invite.is_some();
        session.role = match (self.store.contact(&peer)?, &pending) {
            (Some(_), _) => Role::Contact,
            // It joins us now, whatever we asked of it before.
            (None, Some(_)) if !at_our_invite => Role::Pending,
            (None, _) => Role::Stranger,
        };
        let role = session.role;
        self.replace_link(&peer, id, now);
        self.sessions.insert(id, session);
        match (role, pending) {
            // It does not know us as a contact, or it would not ask to pair: it lost our answer.
            (Role::Contact, _) if at_our_invite => {}
            (Role::Contact, _) => self.greet(id, peer)?,
            (_, _) if pairing && dialed => self.begin_pairing(id, now),
            (_, _) if at_our_invite => {}
            (_, Some((_, request))) => {
                self.outputs.push(Output::ReadBudget {
                    session: id,
                    bytes: Some(ANSWER_BUDGET),
                });
                self.outputs.push(Output::Send {
                    session: id,
                    frame: request,
                });
            }
            (_, None) => self.drop_session(id, now),
        }
        Ok(())
    }

    /// Makes a link the only one to its peer. A pairing on the one before is over; a contact stays online.
    fn replace_link(&mut self, peer: &PeerId, id: SessionId, now: Now) {
        let Some(old) = self.links.insert(*peer, id) else {
            return;
        };
        self.outputs.push(Output::Close { session: old });
        let role = self.sessions.remove(&old).map(|session| session.role);
        if matches!(role, Some(Role::Stranger | Role::Proven)) {
            self.attempt_ended(peer, search::Ended::LinkLost, now);
        }
    }

    /// First words to a contact: what an interrupted pairing still owes, then where we stand in each group.
    pub(super) fn greet(&mut self, id: SessionId, peer: PeerId) -> Result<(), HandleError> {
        self.outputs.push(Output::ReadBudget {
            session: id,
            bytes: None,
        });
        if let Some(join) = self.store.accepted_join(&peer)? {
            self.outputs.push(Output::Send {
                session: id,
                frame: join.done,
            });
        }
        for group in self.store.groups_with(&peer)? {
            self.send_head(id, &group)?;
        }
        self.event(Event::Online(peer));
        Ok(())
    }

    pub(super) fn disconnected(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        if self.links.get(&session.peer) == Some(&id) {
            self.links.remove(&session.peer);
        }
        match session.role {
            Role::Contact => self.event(Event::Offline(session.peer)),
            Role::Pending => self.plan_redial(session.peer, now),
            Role::Stranger | Role::Proven => self.attempt_ended(&session.peer, search::Ended::LinkLost, now),
        }
    }

    /// Ends a link from this side.
    pub(super) fn drop_session(&mut self, id: SessionId, now: Now) {
        self.outputs.push(Output::Close { session: id });
        self.disconnected(id, now);
    }

    pub(super) fn session(&mut self, id: SessionId) -> Result<&mut Session, HandleError> {
        self.sessions.get_mut(&id).ok_or(HandleError::UnknownSession)
    }
}
