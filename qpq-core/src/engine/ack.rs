//! Acknowledgements: what we owe others for what is on our disk, and what others have of ours.

use std::time::Duration;

use super::{Engine, Event, HandleError, Output, SessionId, session::Source};
use crate::{
    delivery::{Delivery, Ranges},
    id::{GroupId, MemberId, MessageId, PeerId},
    identity::Context,
    store::{GroupRow, StoreError},
    time::Now,
    wire::{AppAck, Frame, Head, StreamRanges},
};

/// How long an acknowledgement waits for others to go with it.
const DELAY: Duration = Duration::from_millis(50);
/// So many messages of a stream are acknowledged at once: a quarter of what may be under way.
const MESSAGES: usize = 64;
/// And so many bytes.
const BYTES: usize = 256 * 1024;

/// What is on our disk and not acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unacked {
    messages: usize,
    bytes: usize,
    /// When its author is told at the latest.
    due: Duration,
    /// That time has come.
    over: bool,
}

impl Unacked {
    /// When to look again, if it does not leave at the end of this batch.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        (!self.is_due()).then_some(self.due)
    }

    fn is_due(&self) -> bool {
        self.over || self.messages >= MESSAGES || self.bytes >= BYTES
    }
}

impl Engine {
    /// A message of this length is stored: its author is told after the commit, together with what follows soon.
    pub(super) fn owe_ack(&mut self, source: Source, bytes: usize, now: Now) {
        let due = now.monotonic.saturating_add(DELAY);
        if !self.acks.contains_key(&source) {
            self.outputs.push(Output::WakeAt(due));
        }
        let unacked = self.acks.entry(source).or_insert(Unacked {
            messages: 0,
            bytes: 0,
            due,
            over: false,
        });
        unacked.messages = unacked.messages.saturating_add(1);
        unacked.bytes = unacked.bytes.saturating_add(bytes);
    }

    /// Notes which acknowledgements have waited long enough.
    pub(super) fn tick_acks(&mut self, now: Now) {
        for unacked in self.acks.values_mut() {
            unacked.over = unacked.due <= now.monotonic;
        }
    }

    /// Sends what is not due yet: the links are going to end. All of it was committed before, or is by this batch.
    pub(super) fn hurry_acks(&mut self) -> Result<(), StoreError> {
        self.acks.values_mut().for_each(|unacked| unacked.over = true);
        self.push_acks()
    }

    /// Sends the acknowledgements that are due: called right before the commit that makes them true.
    pub(super) fn push_acks(&mut self) -> Result<(), StoreError> {
        let due = self.acks.iter().filter(|(_, unacked)| unacked.is_due());
        let due: Vec<Source> = due.map(|(source, _)| *source).collect();
        for source in due {
            self.acks.remove(&source);
            self.push_ack(source)?;
        }
        Ok(())
    }

    fn push_ack(&mut self, source: Source) -> Result<(), StoreError> {
        let own = MemberId::from(&self.identity.peer_id());
        let stream = StreamRanges {
            member: source.member,
            stream: source.stream,
            ranges: self
                .store
                .seen(&source.group, &source.member, &source.stream)?
                .truncated(),
        };
        let signed = ack_bytes(&source.group, &own, &stream);
        let ack = AppAck {
            group: source.group,
            member: own,
            stream,
            signature: self.identity.sign(Context::AppAck, &[&signed]),
        };
        self.post(source.session, &Frame::AppAck(ack));
        Ok(())
    }

    /// A member has some of our messages.
    pub(super) fn app_ack(&mut self, session: SessionId, ack: &AppAck) -> Result<(), HandleError> {
        let (group, peer) = self.group_with(session, &ack.group)?;
        if group.dead {
            // Its messages have no number that counts any more.
            return Err(HandleError::Stale);
        }
        let signed = ack_bytes(&ack.group, &ack.member, &ack.stream);
        if MemberId::from(&peer) != ack.member
            || peer.verify(Context::AppAck, &[&signed], &ack.signature).is_err()
        {
            return Err(HandleError::Forged("acknowledgement"));
        }
        let own = MemberId::from(&self.identity.peer_id());
        if (ack.stream.member, ack.stream.stream) != (own, group.stream)
            || !self.acknowledged(session, &group, &peer, &ack.stream.ranges)?
        {
            return Ok(());
        }
        self.pump(&group, &peer)
    }

    /// Notes what a member has of our stream. `false`: it has what this database never sent, so this database is
    /// an older copy; nothing is believed, and nothing more is sent to the member on this link.
    pub(super) fn acknowledged(
        &mut self,
        session: SessionId,
        group: &GroupRow,
        peer: &PeerId,
        ranges: &Ranges,
    ) -> Result<bool, HandleError> {
        if self.is_older_copy(session, &group.id)? {
            return Ok(false);
        }
        if ranges.last() >= self.store.first_unsent(group)? {
            self.rolled_back(session, group)?;
            return Ok(false);
        }
        let changed = self.store.acknowledge(group, peer, ranges)?;
        self.progress(changed);
        if let Some(flow) = self.session(session)?.flows.get_mut(&group.id) {
            flow.has = flow.has.union(ranges);
            flow.in_flight.retain(|seq, _| !ranges.contains(*seq));
            let asked = flow.repairing.len();
            flow.repairing.retain(|seq| !ranges.contains(*seq));
            if flow.repairing.len() < asked && group.ahead > 0 {
                // It asked for this and has it now: its ratchet followed ours.
                self.store.put_ahead(&group.id, 0)?;
            }
        }
        Ok(true)
    }

    /// Tells how far own messages got.
    pub(super) fn progress(&mut self, changed: Vec<(MessageId, Delivery)>) {
        for (id, state) in changed {
            self.event(Event::Progress { id, state });
        }
    }
}

/// What an AppAck's signature covers, unambiguous by fixed lengths and counts.
fn ack_bytes(group: &GroupId, member: &MemberId, stream: &StreamRanges) -> Vec<u8> {
    [&group.0[..], &member.0, &stream_bytes(stream)].concat()
}

/// What a Head's signature covers: two parts, the second only where there is something in it, so that a peer of a
/// build that does not know of it can verify ours.
pub(super) fn head_parts(head: &Head) -> Vec<Vec<u8>> {
    let streams = head.streams.iter().flat_map(stream_bytes);
    let stands = [&head.group.0[..], &head.epoch_id.0, &head.member.0].concat();
    let stands = stands.into_iter().chain(streams).collect();
    let opened = head.opened.iter();
    let opened = opened.flat_map(|(member, count)| [&member.0[..], &count.to_be_bytes()].concat());
    let mut parts = vec![stands, opened.collect::<Vec<_>>()];
    parts.retain(|part| !part.is_empty());
    parts
}

/// `member 16 | stream 8 | count 8 | ranges`.
fn stream_bytes(stream: &StreamRanges) -> Vec<u8> {
    let ranges = stream.ranges.to_bytes();
    let count = u64::try_from(stream.ranges.as_slice().len()).unwrap_or(u64::MAX);
    [
        &stream.member.0[..],
        &stream.stream.0,
        &count.to_be_bytes(),
        &ranges,
    ]
    .concat()
}
