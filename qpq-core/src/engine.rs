//! One peer as a state machine: inputs in, a durable commit, outputs out.
//!
//! The driver calls [`Engine::handle`] for everything that waits, then [`Engine::commit`] once. Outputs exist
//! only after the commit, so a ratchet step is on disk before its ciphertext leaves, and a message before its
//! acknowledgement. Each `handle` runs under a savepoint: when it fails, nothing changed. The engine does no IO
//! but its database; time and randomness are arguments.
//!
//! `engine/{inviter,joiner,search}` make contacts, `engine/conversation` carries messages, `engine/session`
//! knows the links.

mod command;
mod conversation;
mod error;
mod input;
mod inviter;
mod joiner;
mod output;
mod search;
mod session;

pub use command::{Command, Failure, Reply};
pub use error::{EngineError, Fault, HandleError};
pub use input::{CommandId, Input, Purpose, SessionId};
pub use output::{Directory, Event, Output};

use std::{collections::BTreeMap, path::Path, time::Duration};

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
use inviter::OpenInvite;
use search::Joining;
use session::{AckDue, Session};

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
    acks_due: std::collections::BTreeSet<AckDue>,
    outputs: Vec<Output>,
    in_batch: bool,
    poisoned: bool,
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
            acks_due: std::collections::BTreeSet::new(),
            outputs: Vec::new(),
            in_batch: false,
            poisoned: false,
        };
        engine.begin()?;
        engine.expire_pending_joins(now)?;
        engine.publish_directory()?;
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
            | Input::Tick => (None, None),
        };
        let outputs = self.outputs.len();
        let acks = self.acks_due.clone();
        let Err(error) = self.step(input, now) else {
            return Ok(());
        };
        self.outputs.truncate(outputs);
        self.acks_due = acks;
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
        self.store.commit().inspect_err(|_| self.poisoned = true)?;
        self.in_batch = false;
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
        }
    }

    fn command(&mut self, command: Command, now: Now) -> Result<Reply, HandleError> {
        match command {
            Command::Invite { nameplate, lifetime } => self.open_invite(nameplate, lifetime, now),
            Command::CancelInvite => {
                self.close_invite(Refusal::Cancelled, now)?;
                Ok(Reply::Done)
            }
            Command::Join(code) => self.start_join(code),
            Command::CancelJoin => self.cancel_join(now),
            Command::Send { chat, texts } => self.send(&chat, &texts, now),
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
            Frame::ContactRequest(request) => self.contact_request(session, &request, bytes, now),
            Frame::PairDone(done) => self.pair_done(session, &done, now),
            Frame::PairRefused(refusal) => self.pair_refused(session, refusal, now),
            Frame::App(app) => self.app(session, &app, now),
            Frame::AppAck(ack) => self.app_ack(session, &ack),
            Frame::Head(head) => self.head(session, &head),
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
        self.expire_pending_joins(now)?;
        self.tick_join(now);
        self.plan_wake();
        Ok(())
    }

    /// Tells the driver whom to look for and whom to let in.
    fn publish_directory(&mut self) -> Result<(), StoreError> {
        let contacts = self
            .store
            .contacts()?
            .into_iter()
            .map(|contact| (contact.peer, Some(contact.lan_key)));
        let pending = self
            .store
            .pending_joins()?
            .into_iter()
            .map(|(peer, _)| (peer, None));
        self.outputs.push(Output::Directory(Directory {
            own_lan_key: self.store.own_lan_key()?,
            known: pending.chain(contacts).collect(),
            inviting: self.invite.as_ref().map(|invite| invite.code.nameplate()),
            looking_for: self.joining.as_ref().map(|joining| joining.code.nameplate()),
        }));
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
        if let Some(at) = invite.into_iter().chain(join).min() {
            self.outputs.push(Output::WakeAt(at));
        }
    }

    fn wake_in(&mut self, delay: Duration, now: Now) {
        self.outputs
            .push(Output::WakeAt(now.monotonic.saturating_add(delay)));
    }
}
