//! The links of the moment: who is at the other end, what they may say, what is under way to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Engine, Event, HandleError, Output, Purpose, SessionId, search};
use crate::{
    delivery::Ranges,
    id::{GroupId, LinkId, MemberId, PeerId, StreamId},
    invite::{self, ChannelBinding, Ends},
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
    /// Groups that the peer was told we have no state of.
    pub(super) told: BTreeSet<GroupId>,
    /// How often the peer made us replace a group.
    pub(super) replaced: u8,
    /// Groups of which the peer knows messages of ours that our database never sent.
    pub(super) older_copies: BTreeMap<GroupId, OlderCopy>,
    /// Chats in which it said so once: of the group that took the place, that cannot be.
    pub(super) doubted: BTreeSet<i64>,
}

/// What becomes of a group after a peer's word that our database is an older copy of itself. Nothing is encrypted there.
#[derive(Debug)]
pub(super) enum OlderCopy {
    /// What the peer had sent is asked for before the group is given up.
    Catching(Catching),
    /// It is the one that took the place of such a group: nothing more goes there on this link.
    Again,
}

/// A group whose keys were used by a newer self of this database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Catching {
    /// The peer's stream in the group.
    pub(super) source: Source,
    /// The last number that the peer said to have there.
    pub(super) last: u64,
    /// By the monotonic clock: then the group is given up, whatever is missing.
    pub(super) until: Duration,
}

/// Where a pairing stands on a connection.
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
    /// By link: we are the inviter and wait for the joiner's proof.
    LinkInviter(LinkId),
    /// By link: the joiner proved to know it, and may send its request.
    LinkProved(LinkId),
    /// By link: we are the joiner and wait for the inviter to know the link.
    LinkJoiner,
    /// By link: we are the joiner and wait for the inviter's proof.
    LinkJoinerProved,
}

/// Messages of one group on their way to the member at the other end. There is one from the moment when the
/// member's Head was compared with our own record on this link; nothing is sent before.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The highest number sent on this link.
    pub(super) sent_to: u64,
    /// Sent and not acknowledged: number and frame length.
    pub(super) in_flight: BTreeMap<u64, usize>,
    /// Encrypted once more because the member asked, and not acknowledged.
    pub(super) repairing: BTreeSet<u64>,
    /// When a Want was answered last, by the monotonic clock.
    pub(super) repaired_at: Option<Duration>,
    /// So long no other Want is answered after that.
    pub(super) repair_wait: Duration,
    /// What the member said on this link to have.
    pub(super) has: Ranges,
}

/// Where messages come from: a stream of a group's member, on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
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
            told: BTreeSet::new(),
            replaced: 0,
            older_copies: BTreeMap::new(),
            doubted: BTreeSet::new(),
        }
    }

    /// What a pairing on this connection is bound to, where we are the inviter.
    pub(super) fn ends_for_inviter(&self, own: PeerId) -> Ends {
        Ends {
            inviter: own,
            joiner: self.peer,
            channel: self.channel,
        }
    }

    /// The same, where we are the joiner.
    pub(super) fn ends_for_joiner(&self, own: PeerId) -> Ends {
        Ends {
            inviter: self.peer,
            joiner: own,
            channel: self.channel,
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
            .pending_joins(self.requests_gone)?
            .into_iter()
            .find(|(asked, _)| *asked == peer);
        let pairing = purpose == Purpose::Pair;
        let at_our_invite = pairing && !dialed && self.is_inviting()?;
        let by_link = pairing && dialed && self.joins_by_link(&peer)?;
        let contact = self.store.contact(&peer)?;
        let requests = self.store.request(&peer)?.is_some();
        session.role = match (&contact, &pending) {
            (Some(contact), _) if contact.is_live() => Role::Contact,
            // It joins us now, whatever we asked of it before.
            (_, Some(_)) if !at_our_invite => Role::Pending,
            (_, _) if requests => Role::Requester,
            (_, _) => Role::Stranger,
        };
        let role = session.role;
        self.replace_link(&peer, id, now);
        self.sessions.insert(id, session);
        match (role, pending) {
            _ if contact.is_some_and(|contact| contact.is_barred()) => self.drop_session(id, now),
            // It lost its state or our answer, or it wants to be verified: greeted when that is done.
            (Role::Contact, _) if at_our_invite => {}
            (_, _) if by_link => self.begin_link(id, peer)?,
            (_, _) if pairing && dialed && self.joining.is_some() => self.begin_pairing(id, now),
            (Role::Contact, _) => self.greet(id, peer, now)?,
            (_, _) if pairing && dialed => self.drop_session(id, now),
            (_, _) if at_our_invite => {}
            (Role::Requester, _) => self.admit_requester(id, &peer, now)?,
            (_, Some((_, request))) => {
                self.limit(id, ANSWER_BUDGET);
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
        let role = self.forget_session(old).map(|session| session.role);
        if matches!(role, Some(Role::Stranger | Role::Proven)) {
            self.attempt_ended(peer, search::Ended::LinkLost, now);
        }
    }

    /// First words to a contact: what an interrupted pairing still owes, then where we stand in each group.
    pub(super) fn greet(&mut self, id: SessionId, peer: PeerId, now: Now) -> Result<(), HandleError> {
        self.store.set_last_seen(&peer, now.unix_ms)?;
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
        self.send_card(id, &peer)?;
        self.greet_groups(id, &peer)?;
        self.event(Event::Online(peer));
        Ok(())
    }

    pub(super) fn disconnected(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.forget_session(id) else {
            return;
        };
        if self.links.get(&session.peer) == Some(&id) {
            self.links.remove(&session.peer);
        }
        match session.role {
            Role::Contact => {
                if self.store.set_last_seen(&session.peer, now.unix_ms).is_err() {
                    self.poisoned = true;
                }
                self.event(Event::Offline(session.peer));
                if matches!(session.pairing, Pairing::Joiner(_) | Pairing::JoinerProved(_)) {
                    self.attempt_ended(&session.peer, search::Ended::LinkLost, now);
                }
            }
            Role::Requester => {}
            Role::Pending => self.plan_redial(session.peer, now),
            Role::Stranger | Role::Proven => self.attempt_ended(&session.peer, search::Ended::LinkLost, now),
        }
    }

    /// How many bytes the peer may send from now on.
    pub(super) fn limit(&mut self, id: SessionId, bytes: u32) {
        self.outputs.push(Output::ReadBudget {
            session: id,
            bytes: Some(bytes),
        });
    }

    /// Takes a link out, and what was due on it: the next Head says it all.
    fn forget_session(&mut self, id: SessionId) -> Option<Session> {
        self.acks.retain(|source, _| source.session != id);
        self.holes.retain(|source, _| source.session != id);
        self.sessions.remove(&id)
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
