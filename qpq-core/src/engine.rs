//! One peer as a state machine: inputs in, a durable commit, outputs out.
//!
//! The driver calls [`Engine::handle`] for everything that waits, then [`Engine::commit`] once. Outputs exist
//! only after the commit, so a ratchet step is on disk before its ciphertext leaves, and a message before its
//! acknowledgement. Each `handle` runs under a savepoint: when it fails, nothing changed. The engine does no IO
//! but its database; time and randomness are arguments.
//!
//! `engine/{inviter,joiner,search}` make contacts by code, `engine/link` by link; `engine/newcomer` names them.
//! `engine/contact` is what the user decides about people, `engine/session` the links of the moment.
//! `engine/conversation` carries messages, `engine/{ack,gaps,expiry}` what becomes of them, `engine/repair` replaces
//! the group under them.

mod ack;
mod card;
mod command;
mod contact;
mod conversation;
mod directory;
mod error;
mod expiry;
mod gaps;
mod input;
mod inviter;
mod joiner;
mod link;
mod newcomer;
mod older_copy;
mod output;
mod repair;
mod search;
mod session;

pub use command::{Command, ContactChange, Failure, Reply};
pub use error::{EngineError, Fault, HandleError};
pub use input::{CommandId, Input, Purpose, SessionId};
pub use output::{Directory, Event, Output, Settles};

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use openmls::group::MlsGroup;
use rand_core::CryptoRngCore;

use crate::{
    group,
    id::{GroupId, PeerId},
    identity::Identity,
    secret::Secret,
    store::{Store, StoreError},
    time::Now,
    wire::{Frame, Refusal, rights},
};
use ack::Unacked;
use expiry::Age;
use gaps::{Hole, Watches};
use inviter::OpenInvite;
use link::LinkJoining;
use search::Joining;
use session::{Session, Source};

/// Where the engine's randomness comes from: the operating system's, or a seeded one in tests.
pub type Rng = Box<dyn CryptoRngCore + Send>;

/// A peer.
pub struct Engine {
    store: Store,
    identity: Identity,
    rng: Rng,
    /// MLS state as on disk; dropped whenever a savepoint is rolled back.
    groups: BTreeMap<GroupId, MlsGroup>,
    sessions: BTreeMap<SessionId, Session>,
    /// The one live link of each peer.
    links: BTreeMap<PeerId, SessionId>,
    invite: Option<OpenInvite>,
    joining: Option<Joining>,
    /// Whom we searched by a code, and who asked us first.
    crossed: BTreeSet<PeerId>,
    link_joining: Option<LinkJoining>,
    /// Messages on our disk that are not acknowledged yet.
    acks: BTreeMap<Source, Unacked>,
    /// Messages that are asked for again.
    holes: BTreeMap<Source, Hole>,
    watches: Watches,
    age: Age,
    /// Own links that expired by then, in profile time, nobody comes with any more.
    links_gone: i64,
    /// When links are looked at again, by the monotonic clock.
    links_due: Duration,
    /// Own requests that expired by then, in profile time, are as good as forgotten.
    requests_gone: i64,
    outputs: Vec<Output>,
    in_batch: bool,
    poisoned: bool,
    /// The batch deleted what must not stay readable in the log.
    purged: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("peer", &self.identity.peer_id())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the database of an existing profile. The outputs are what was due before the restart.
    ///
    /// # Errors
    /// [`StoreError`]; the file is unchanged.
    pub fn open(
        path: &Path,
        key: &Secret<32>,
        identity: Identity,
        rng: Rng,
        now: Now,
    ) -> Result<(Self, Vec<Output>), EngineError> {
        let mut engine = Self {
            store: Store::open(path, key)?,
            identity,
            rng,
            groups: BTreeMap::new(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            invite: None,
            joining: None,
            crossed: BTreeSet::new(),
            link_joining: None,
            acks: BTreeMap::new(),
            holes: BTreeMap::new(),
            watches: BTreeMap::new(),
            age: Age::new(now),
            links_gone: i64::MIN,
            links_due: now.monotonic,
            requests_gone: i64::MIN,
            outputs: Vec::new(),
            in_batch: false,
            poisoned: false,
            purged: false,
        };
        engine.begin()?;
        engine.resume_age(now)?;
        engine.expire_pending_joins(now)?;
        engine.expire_links(now)?;
        engine.watch_all(now)?;
        engine.publish_directory()?;
        engine.plan_wake();
        let outputs = engine.commit()?;
        Ok((engine, outputs))
    }

    /// Handles one input inside the batch's transaction, under a savepoint.
    ///
    /// # Errors
    /// [`HandleError`]: the input was refused and changed nothing. What follows from that (a `Close`, a failed
    /// `Reply`) is among the outputs, so a driver has only to log it.
    pub fn handle(&mut self, input: Input, now: Now) -> Result<(), HandleError> {
        let (command, session) = match &input {
            Input::Command { id, .. } => (Some(*id), None),
            Input::Frame { session, .. } => (None, Some(*session)),
            Input::Connected { .. }
            | Input::Disconnected { .. }
            | Input::DialFailed { .. }
            | Input::Advert { .. }
            | Input::Tick
            | Input::Ending => (None, None),
        };
        let outputs = self.outputs.len();
        let acks = self.acks.clone();
        let Err(error) = self.step(input, now) else {
            return Ok(());
        };
        self.outputs.truncate(outputs);
        self.acks = acks;
        self.groups.clear();
        if error.fault() == Fault::Disk || (self.in_batch && self.store.undo().is_err()) {
            self.poisoned = true;
        }
        match (command, session, error.fault()) {
            (Some(id), _, fault) => {
                let failure = match (&error, fault) {
                    (HandleError::Command(failure), Fault::Caller) => failure.clone(),
                    (_, Fault::Peer | Fault::Nobody | Fault::Caller | Fault::Disk) => Failure::NotStored,
                };
                self.outputs.push(Output::Reply {
                    id,
                    result: Err(failure),
                });
            }
            (None, Some(session), Fault::Peer) => self.drop_session(session, now),
            _ => {}
        }
        Err(error)
    }

    /// Makes everything handled since the last commit durable and returns what is to be done now.
    ///
    /// # Errors
    /// [`EngineError`]: nothing of the batch was stored; drop the engine and open it again.
    pub fn commit(&mut self) -> Result<Vec<Output>, EngineError> {
        if self.poisoned || (self.in_batch && self.store.lost_transaction()) {
            return Err(EngineError::Poisoned);
        }
        self.push_acks().inspect_err(|_| self.poisoned = true)?;
        self.push_wants().inspect_err(|_| self.poisoned = true)?;
        self.store.commit().inspect_err(|_| self.poisoned = true)?;
        self.in_batch = false;
        if std::mem::take(&mut self.purged)
            && let Err(error) = self.store.truncate_log()
        {
            tracing::warn!(%error, "what was deleted stays in the log until it is written over");
        }
        Ok(std::mem::take(&mut self.outputs))
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.store.begin()?;
        self.in_batch = true;
        Ok(())
    }

    fn step(&mut self, input: Input, now: Now) -> Result<(), HandleError> {
        self.begin()?;
        self.store.savepoint()?;
        self.dispatch(input, now)?;
        Ok(self.store.release()?)
    }

    fn dispatch(&mut self, input: Input, now: Now) -> Result<(), HandleError> {
        match input {
            Input::Command { id, command } => {
                let reply = self.command(command, now)?;
                self.outputs.push(Output::Reply {
                    id,
                    result: Ok(reply),
                });
                Ok(())
            }
            Input::Connected {
                session,
                peer,
                dialed,
                purpose,
                channel,
            } => self.connected(session, Session::new(peer, channel), dialed, purpose, now),
            Input::Frame { session, bytes } => self.frame(session, &bytes, now),
            Input::Disconnected { session } => {
                self.disconnected(session, now);
                Ok(())
            }
            Input::DialFailed { peer } => {
                self.dial_failed(&peer, now);
                Ok(())
            }
            Input::Advert { peer, nameplate } => self.advert(peer, nameplate, now),
            Input::Tick => self.tick(now),
            Input::Ending => {
                self.hurry_acks()?;
                self.outputs.push(Output::Settled);
                Ok(())
            }
        }
    }

    fn command(&mut self, command: Command, now: Now) -> Result<Reply, HandleError> {
        match command {
            Command::Invite { nameplate, lifetime } => self.open_invite(nameplate, lifetime, now),
            Command::ReopenInvite {
                code,
                guesses_left,
                lifetime,
            } => self.reopen_invite(code, guesses_left, lifetime, now),
            Command::CancelInvite => {
                self.close_invite(Refusal::Cancelled, now)?;
                Ok(Reply::Done)
            }
            Command::Join(code) => self.start_join(code),
            Command::CancelJoin => self.cancel_join(now),
            Command::InviteLink { lifetime } => self.invite_by_link(lifetime, now),
            Command::CancelLink(link) => self.cancel_link(&link, now),
            Command::ForgetLink(link) => {
                self.store.forget_link(&link)?;
                self.publish_directory()?;
                Ok(Reply::Done)
            }
            Command::JoinLink(link) => self.start_link_join(link, now),
            Command::Send { chat, texts } => self.send(&chat, &texts, now),
            Command::Contact { peer, change } => self.change_contact(&peer, change, now),
            Command::MarkRead { row } => {
                self.store.mark_read(row)?;
                Ok(Reply::Done)
            }
        }
    }

    /// Decodes a frame, checks that its sender may send it, and hands it to its handler.
    fn frame(&mut self, session: SessionId, bytes: &[u8], now: Now) -> Result<(), HandleError> {
        let role = self
            .sessions
            .get(&session)
            .ok_or(HandleError::UnknownSession)?
            .role;
        let frame = Frame::decode(bytes)?;
        tracing::trace!(kind = ?frame.kind(), ?session, "frame");
        if !rights(frame.kind(), role) {
            return Err(HandleError::Rights);
        }
        match frame {
            Frame::PairStart(start) => self.pair_start(session, &start, now),
            Frame::PairReply { spake } => self.pair_reply(session, &spake, now),
            Frame::PairProof { mac } => self.pair_proof(session, &mac, now),
            Frame::ContactRequest(request) if request.proof.is_some() => {
                self.link_request(session, &request, bytes, now)
            }
            Frame::ContactRequest(request) => self.contact_request(session, &request, bytes, now),
            Frame::ContactAccept(done) => self.contact_accept(session, &done, now),
            Frame::PairRefused(refusal) => self.pair_refused(session, refusal, now),
            Frame::App(app) => self.app(session, &app, now),
            Frame::AppAck(ack) => self.app_ack(session, &ack),
            Frame::Head(head) => self.head(session, &head, now),
            Frame::ContactRefuse => self.contact_refused(session, now),
            Frame::ContactKept { name } => self.contact_kept(session, &name, now),
            Frame::Card(update) => self.card(session, &update),
            Frame::Want(want) => self.want(session, &want, now),
            Frame::NotMember(statement) => self.not_member(session, &statement, now),
            Frame::Welcome(welcome) => self.welcome(session, &welcome, now),
            Frame::Hello(_) | Frame::Bye(_) | Frame::Ping(_) | Frame::Pong(_) => Err(HandleError::Rights),
        }
    }

    fn tick(&mut self, now: Now) -> Result<(), HandleError> {
        if self
            .invite
            .as_ref()
            .is_some_and(|invite| invite.expires <= now.monotonic)
        {
            self.close_invite(Refusal::Expired, now)?;
            self.event(Event::InviteExpired);
        }
        self.tick_age(now)?;
        self.expire_pending_joins(now)?;
        self.tick_links(now)?;
        self.tick_join(now);
        self.tick_acks(now);
        self.tick_gaps(now)?;
        self.tick_older_copies(now)?;
        self.plan_wake();
        Ok(())
    }

    /// A group's MLS state, from memory or disk. Put it back with `keep_group` once the step went well.
    fn take_group(&mut self, id: &GroupId) -> Result<MlsGroup, group::GroupError> {
        match self.groups.remove(id) {
            Some(group) => Ok(group),
            None => group::load(&self.store.provider(), id),
        }
    }

    fn keep_group(&mut self, id: GroupId, group: MlsGroup) {
        self.groups.insert(id, group);
    }

    fn event(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    fn post(&mut self, session: SessionId, frame: &Frame) {
        self.outputs.push(Output::Send {
            session,
            frame: frame.encode(),
        });
    }

    /// Asks for the next tick: a driver forgets what was asked for before the last one.
    fn plan_wake(&mut self) {
        let invite = self.invite.as_ref().map(|invite| invite.expires);
        let join = self.joining.as_ref().and_then(Joining::next_deadline);
        let acks = self.acks.values().filter_map(Unacked::wake_at);
        let holes = self.holes.values().filter_map(Hole::wake_at);
        let watches = self.watches.values().map(|watch| watch.due);
        let all = invite
            .into_iter()
            .chain(join)
            .chain(acks)
            .chain(holes)
            .chain(watches)
            .chain(self.catching().map(|copy| copy.until));
        let at = all.fold(self.age.next_look.min(self.links_due), Duration::min);
        self.outputs.push(Output::WakeAt(at));
    }

    fn wake_in(&mut self, delay: Duration, now: Now) {
        self.outputs
            .push(Output::WakeAt(now.monotonic.saturating_add(delay)));
    }
}
