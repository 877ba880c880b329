//! Messages: first sends, repairs on the branch that won, receipts, and what cannot be opened yet.

use std::collections::BTreeSet;

use super::{
    App, Frame, Header, Output, SPENT, Spent, Step,
    mls::{Mls, Mutant},
};
use crate::{
    delivery::Ranges,
    id::{EpochId, MemberId, MessageId, StreamId},
};

/// How often the same ciphertext is sent before the message is encrypted anew.
const SENT: u32 = 4;
/// Bytes of messages that wait for their epoch, of one sender and of all.
const STASH_OF_SENDER: usize = 256 << 10;
const STASH: usize = 4 << 20;

/// A message of ours that somebody has not got yet.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its name.
    pub message: MessageId,
    /// Who has yet to have it.
    pub need: BTreeSet<MemberId>,
    /// Of these, whom the user was told will not get it: they were removed.
    pub failed: BTreeSet<MemberId>,
    /// Its place: the life it was written in may not be the one we are in.
    stream: StreamId,
    seq: u64,
    body: Vec<u8>,
    /// The epoch that it was first encrypted in; `None`: it has not left yet.
    first: Option<EpochId>,
    /// Its last ciphertext, and how often it was sent.
    sealed: Option<(EpochId, Vec<u8>, u32)>,
}

impl Outgoing {
    /// Whether everybody has it.
    pub(super) fn is_done(&self) -> bool {
        self.first.is_some() && self.need.is_empty()
    }

    /// Nobody knows what became of it after this copy was made: if it was ever sent, its first epoch is forgotten, and
    /// whoever has it does not count it once more.
    pub(super) fn restored(&mut self) {
        self.sealed = None;
        self.first.get_or_insert(EpochId([0; EpochId::LEN]));
    }
}

/// We are no member, so nobody can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("you are not in this group")]
pub struct NotInGroup;

impl<M: Mls> Step<'_, M> {
    /// Writes a message to everybody who is a member now. It leaves when another member's word was compared with
    /// ours; from then on it is owed to each of them, whatever branch wins.
    ///
    /// # Errors
    /// The storage failed; inside, [`NotInGroup`].
    pub fn write(&mut self, message: MessageId, body: Vec<u8>) -> Result<Result<(), NotInGroup>, M::Error> {
        let own = self.record.own;
        let members = self.members();
        if !members.contains(&own) {
            return Ok(Err(NotInGroup));
        }
        self.record.seq = self.record.seq.saturating_add(1);
        let seq = self.record.seq;
        let stream = self.record.stream;
        self.record.seen.entry((own, stream)).or_default().insert(seq);
        self.record.outbox.push(Outgoing {
            message,
            need: members.into_iter().filter(|member| *member != own).collect(),
            failed: BTreeSet::new(),
            stream,
            seq,
            body,
            first: None,
            sealed: None,
        });
        self.send_waiting()?;
        Ok(Ok(()))
    }

    /// Encrypts what has not left yet.
    pub(super) fn send_waiting(&mut self) -> Result<(), M::Error> {
        if !self.may_speak() {
            return Ok(());
        }
        let members = self.members();
        for at in 0..self.record.outbox.len() {
            let waits = self
                .record
                .outbox
                .get(at)
                .is_some_and(|outgoing| outgoing.first.is_none());
            if waits && let Some(epoch) = self.epoch_id() {
                self.spend(epoch, |spent| spent.first = spent.first.saturating_add(1));
                let own = self.record.own;
                if let Some(outgoing) = self.record.outbox.get_mut(at) {
                    // Members who came since it was written can read it as well.
                    outgoing
                        .need
                        .extend(members.iter().filter(|member| **member != own));
                    outgoing.first = Some(epoch);
                    if outgoing.stream == self.record.stream {
                        self.record.left = self.record.left.max(outgoing.seq);
                    }
                }
                self.send_to(at, &members)?;
            }
        }
        self.record.outbox.retain(|outgoing| !outgoing.is_done());
        Ok(())
    }

    /// Sends everything that is still owed, on the branch that we came to.
    pub(super) fn repair_all(&mut self) -> Result<(), M::Error> {
        self.repair(None)
    }

    /// Sends what a member, or everybody, is still owed.
    pub(super) fn repair(&mut self, only: Option<MemberId>) -> Result<(), M::Error> {
        if !self.may_speak() || self.is_mutant(Mutant::NoRetransmission) {
            return Ok(());
        }
        let members = self.members();
        if self.is_mutant(Mutant::NeedTrimmedByRoster) {
            for outgoing in &mut self.record.outbox {
                outgoing.need.retain(|member| members.contains(member));
            }
        }
        for at in 0..self.record.outbox.len() {
            let Some(outgoing) = self.record.outbox.get(at) else {
                break;
            };
            let owed = outgoing
                .need
                .iter()
                .filter(|member| members.contains(member) && only.is_none_or(|only| only == **member));
            let owed: Vec<MemberId> = owed.copied().collect();
            if outgoing.first.is_some() && !owed.is_empty() {
                self.send_to(at, &owed)?;
            }
        }
        Ok(())
    }

    /// Sends one message, encrypted in the live epoch.
    fn send_to(&mut self, at: usize, members: &[MemberId]) -> Result<(), M::Error> {
        let Some(epoch) = self.epoch_id() else {
            return Ok(());
        };
        let Some(outgoing) = self.record.outbox.get(at) else {
            return Ok(());
        };
        let header = Header {
            stream: outgoing.stream,
            seq: outgoing.seq,
            message: outgoing.message,
            first: outgoing.first.unwrap_or(epoch),
        };
        // Whoever lacks it time and again cannot open it: another one got in its way, or too many overtook it.
        let sealed = outgoing.sealed.as_ref();
        let sealed = sealed.filter(|(sealed, _, sent)| *sealed == epoch && *sent < SENT);
        let (bytes, sent) = match sealed {
            Some((_, bytes, sent)) => (bytes.clone(), sent.saturating_add(1)),
            None => {
                let bytes = self.mls.seal(&header.to_bytes(), &outgoing.body)?;
                self.spend(epoch, |spent| spent.messages = spent.messages.saturating_add(1));
                (bytes, 1)
            }
        };
        if let Some(outgoing) = self.record.outbox.get_mut(at) {
            outgoing.sealed = Some((epoch, bytes.clone(), sent));
        }
        let sender = self.record.own;
        let app = App {
            epoch,
            sender,
            header,
            bytes,
        };
        self.send_to_all(members.iter().copied(), &Frame::App(app));
        Ok(())
    }

    /// Notes that keys were used.
    pub(super) fn spend(&mut self, epoch: EpochId, count: impl FnOnce(&mut Spent)) {
        let orders = self.record.spent.values().map(|spent| spent.order);
        let next = orders.max().unwrap_or(0).saturating_add(1);
        let spent = self.record.spent.entry(epoch).or_insert(Spent {
            order: next,
            ..Spent::default()
        });
        count(spent);
        if self.record.spent.len() > SPENT {
            let first = self.record.spent.iter().min_by_key(|(_, spent)| spent.order);
            let first = first.map(|(epoch, _)| *epoch);
            first.map(|epoch| self.record.spent.remove(&epoch));
        }
    }

    /// Whether keys may be used: there is a live epoch, and nobody knows of more that we sent than we do ourselves.
    pub(super) fn may_speak(&self) -> bool {
        let alone = self.members().len() == 1;
        self.epoch_id().is_some() && (alone || self.session.compared || self.is_mutant(Mutant::IgnoreRestore))
    }

    pub(super) fn app_came(&mut self, app: App) -> Result<(), M::Error> {
        if self.has_seen(&app) {
            self.acknowledge_app(app.sender, app.header.stream);
            return Ok(());
        }
        let held = self.epoch_id() == Some(app.epoch)
            || self.record.slots.iter().any(|slot| slot.parent.id == app.epoch)
            || self.record.parked.contains_key(&app.epoch);
        if held {
            return self.open(&app);
        }
        if self.record.log.iter().any(|entry| entry.parent == app.epoch) {
            // Its secrets are deleted: its sender is told what we have, and repairs it.
            self.want_from(app.sender);
        } else {
            self.put_aside(app);
        }
        Ok(())
    }

    fn seen_key(&self, app: &App) -> (MemberId, StreamId) {
        if self.is_mutant(Mutant::SeenByMember) {
            return (app.sender, StreamId([0; StreamId::LEN]));
        }
        (app.sender, app.header.stream)
    }

    fn has_seen(&self, app: &App) -> bool {
        let seen = self.record.seen.get(&self.seen_key(app));
        seen.is_some_and(|seen| seen.contains(app.header.seq))
    }

    fn open(&mut self, app: &App) -> Result<(), M::Error> {
        let Some(opened) = self.mls.open(&app.epoch, &app.bytes)? else {
            self.want_from(app.sender);
            return Ok(());
        };
        // What MLS authenticated counts, and not what the frame says: the key is used up.
        let Some(header) = Header::from_bytes(&opened.aad) else {
            return Ok(());
        };
        let app = &App {
            sender: opened.sender,
            header,
            ..app.clone()
        };
        let seen = self.record.seen.get(&self.seen_key(app));
        if seen.is_some_and(|seen| seen.contains(header.seq) || !seen.has_room_for(header.seq)) {
            return Ok(());
        }
        let key = self.seen_key(app);
        if self
            .record
            .seen
            .entry(key)
            .or_default()
            .insert(app.header.seq)
            .is_none()
        {
            return Ok(());
        }
        let count = self
            .record
            .opened
            .entry((app.header.first, app.sender))
            .or_default();
        *count = count.saturating_add(1);
        self.outputs.push(Output::Message {
            sender: app.sender,
            header: app.header,
            body: opened.plaintext,
        });
        self.acknowledge_app(app.sender, app.header.stream);
        self.settle()
    }

    fn acknowledge_app(&mut self, sender: MemberId, stream: StreamId) {
        if let Some(seen) = self.record.seen.get(&(sender, stream)).cloned() {
            self.send(sender, Frame::AppAck(stream, seen.truncated()));
        }
    }

    /// Gives a message up: it is sent to nobody any more.
    pub fn expire(&mut self, message: &MessageId) {
        self.record.outbox.retain(|outgoing| outgoing.message != *message);
    }

    pub(super) fn app_ack_came(&mut self, from: MemberId, stream: StreamId, ranges: &Ranges) {
        for outgoing in &mut self.record.outbox {
            let has = outgoing.stream == stream && ranges.contains(outgoing.seq);
            if has && outgoing.first.is_some() && outgoing.need.remove(&from) {
                self.outputs.push(Output::Delivered(outgoing.message, from));
            }
        }
        self.record.outbox.retain(|outgoing| !outgoing.is_done());
    }

    /// Keeps a message of an epoch that we have not reached, in place of the oldest ones where there is no room.
    fn put_aside(&mut self, app: App) {
        if self.record.stash.contains(&app) || self.is_mutant(Mutant::NoStash) {
            return;
        }
        let sender = app.sender;
        self.record.stash.push(app);
        while let Some(at) = self.first_too_much(sender) {
            self.record.stash.remove(at);
        }
    }

    fn first_too_much(&self, sender: MemberId) -> Option<usize> {
        let stash = &self.record.stash;
        let size = |app: &App| app.bytes.len();
        let of_sender = stash.iter().filter(|app| app.sender == sender);
        if of_sender.map(size).fold(0, usize::saturating_add) > STASH_OF_SENDER {
            return stash.iter().position(|app| app.sender == sender);
        }
        let all = stash.iter().map(size).fold(0, usize::saturating_add);
        (all > STASH).then_some(0)
    }

    /// Opens what waited for an epoch that there is a state of now.
    pub(super) fn open_stash(&mut self) -> Result<(), M::Error> {
        for app in std::mem::take(&mut self.record.stash) {
            self.app_came(app)?;
        }
        Ok(())
    }
}
