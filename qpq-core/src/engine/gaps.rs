//! What others wrote and we lack: asking for it again, answering who asks us, telling the user what stays missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Engine, Event, HandleError, Output, SessionId, session::Source};
use crate::{
    delivery::{Range, Ranges},
    id::{GroupId, MemberId, StreamId},
    store::StoreError,
    time::Now,
    wire::{Frame, Head, StreamRanges, Want},
};

/// The most messages one Want names, and the most of them that are answered.
const WANTED: u64 = 256;
/// The most bytes of frames one Want is answered with; one message may always go.
const WANTED_BYTES: usize = 1024 * 1024;
/// Streams that are asked for at a time on one link: honest members have one.
const HOLES: usize = 16;
/// A stream is asked for after so long, then after twice as long, up to the longest.
const ASK_FIRST: Duration = Duration::from_secs(1);
const ASK_LONGEST: Duration = Duration::from_secs(600);
/// A Want that comes sooner after the one before is not answered. Less than what askers wait: clocks differ.
const ANSWER_GAP: Duration = Duration::from_millis(500);
/// After a Want for what the asker said on the same link to have: twice as long each time, up to the longest. Nobody
/// honest asks so, and each answer moves our ratchet.
const DOUBT_FIRST: Duration = Duration::from_secs(1);
const DOUBT_LONGEST: Duration = Duration::from_secs(600);
/// A gap that lasts so long is told to the user.
const MISSING_AFTER: Duration = Duration::from_secs(60);
/// Repairs that may be encrypted without a sign that one was read. Openmls refuses what is 2,000 generations
/// ahead; with a window of first sends besides, this stays below.
const AHEAD: u64 = 1024;

/// What is asked for of one stream on one link.
#[derive(Debug)]
pub(super) struct Hole {
    /// Came and could not be read.
    unreadable: BTreeSet<u64>,
    /// The last number that the author says to have given away: what lacks up to there is asked for as well.
    up_to: u64,
    /// Not asked for before.
    ask_at: Duration,
    wait: Duration,
    /// To be asked for at the end of the batch, which began at `ask_at` or later.
    due: Option<Duration>,
}

impl Hole {
    /// When to look again, if it is not asked for at the end of this batch.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.due.is_none().then_some(self.ask_at)
    }
}

/// A gap that the user may have to be told of.
#[derive(Debug)]
pub(super) struct Watch {
    /// Gaps below this number.
    below: u64,
    pub(super) due: Duration,
}

/// The gaps of streams for as long as this process lives; which of them were told is on disk.
pub(super) type Watches = BTreeMap<(GroupId, MemberId, StreamId), Watch>;

impl Engine {
    /// A message came that cannot be read. Holds also when the step is taken back: it is only a reason to ask.
    pub(super) fn unreadable(&mut self, source: Source, seq: u64, now: Now) {
        if let Some(hole) = self.hole(source, now.monotonic) {
            if hole.up_to > 0 && hole.wait == ASK_FIRST && hole.unreadable.is_empty() {
                // It came, and will not come again by itself.
                hole.ask_at = hole.ask_at.min(now.monotonic);
            }
            if u64::try_from(hole.unreadable.len()).is_ok_and(|len| len < WANTED) {
                hole.unreadable.insert(seq);
            }
            ask_when_due(hole, now);
        }
    }

    /// A message was stored: what is missing below it is asked for. `filled`: it was one of those.
    pub(super) fn note_gaps(
        &mut self,
        source: Source,
        seen: &Ranges,
        filled: bool,
        now: Now,
    ) -> Result<(), StoreError> {
        if let Some(hole) = self.holes.get_mut(&source) {
            if filled || seen.last() <= hole.up_to {
                // The author answers: what it could not send at once is asked for without delay.
                hole.wait = ASK_FIRST;
            }
            if !filled && seen.last() <= hole.up_to {
                // It may send the rest by itself.
                hole.ask_at = now.monotonic.saturating_add(ASK_FIRST);
                self.outputs.push(Output::WakeAt(hole.ask_at));
            }
        }
        if seen.gaps().as_slice().is_empty() {
            return Ok(());
        }
        self.watch(source.group, source.member, source.stream, seen, now)?;
        if let Some(hole) = self.hole(source, now.monotonic) {
            ask_when_due(hole, now);
        }
        Ok(())
    }

    /// A link stands again: what was missing is asked for once the author had the time to send it by itself.
    pub(super) fn resume_gaps(
        &mut self,
        session: SessionId,
        group: &GroupId,
        head: &Head,
        now: Now,
    ) -> Result<(), StoreError> {
        let author = head.member;
        let mut streams = BTreeMap::new();
        for one in self.store.all_seen(group)? {
            if one.member == author && !one.ranges.gaps().as_slice().is_empty() {
                streams.insert(one.stream, 0);
            }
        }
        // What it had sent to a newer self of this database it does not send again by itself.
        for own in head.streams.iter().filter(|one| one.member == author) {
            let (stream, last) = (own.stream, own.ranges.last());
            if self.store.seen(group, &author, &stream)?.last() < last {
                streams.insert(stream, last);
            }
        }
        let first = now.monotonic.saturating_add(ASK_FIRST);
        for (stream, last) in streams {
            let source = Source {
                session,
                group: *group,
                member: author,
                stream,
            };
            if let Some(hole) = self.hole(source, first) {
                hole.up_to = last;
                let at = hole.ask_at;
                self.outputs.push(Output::WakeAt(at));
            }
        }
        Ok(())
    }

    /// What is asked for of a stream; `None`: too many others are asked for on this link.
    fn hole(&mut self, source: Source, ask_at: Duration) -> Option<&mut Hole> {
        let others = self.holes.keys().filter(|one| one.session == source.session);
        if !self.holes.contains_key(&source) && others.count() >= HOLES {
            return None;
        }
        Some(self.holes.entry(source).or_insert(Hole {
            unreadable: BTreeSet::new(),
            up_to: 0,
            ask_at,
            wait: ASK_FIRST,
            due: None,
        }))
    }

    /// Asks for what is due: called right before the commit.
    pub(super) fn push_wants(&mut self) -> Result<(), StoreError> {
        let due = self
            .holes
            .iter()
            .filter_map(|(source, hole)| Some((*source, hole.due?)));
        for (source, at) in due.collect::<Vec<_>>() {
            let seen = self.store.seen(&source.group, &source.member, &source.stream)?;
            let mut wanted = seen.gaps();
            if let Some(hole) = self.holes.get(&source) {
                let unread = hole.unreadable.iter().filter(|seq| !seen.contains(**seq));
                unread.for_each(|seq| _ = wanted.insert(*seq));
                wanted = wanted.union(&after(&seen, hole.up_to));
            }
            if wanted.as_slice().is_empty() {
                self.holes.remove(&source);
                continue;
            }
            if let Some(hole) = self.holes.get_mut(&source) {
                hole.unreadable.retain(|seq| !seen.contains(*seq));
                hole.due = None;
                hole.ask_at = at.saturating_add(hole.wait);
                hole.wait = hole.wait.saturating_mul(2).min(ASK_LONGEST);
                self.outputs.push(Output::WakeAt(hole.ask_at));
            }
            let stream = StreamRanges {
                member: source.member,
                stream: source.stream,
                ranges: wanted.smallest(WANTED),
            };
            let group = source.group;
            self.post(source.session, &Frame::Want(Want { group, stream }));
        }
        Ok(())
    }

    /// A member cannot read some of our messages: they are encrypted once more, in their old places.
    pub(super) fn want(&mut self, session: SessionId, want: &Want, now: Now) -> Result<(), HandleError> {
        let Some((group, peer)) = self.live_group(session, &want.group)? else {
            return Ok(());
        };
        let own = self.identity.peer_id();
        let flow = self.session(session)?.flows.get_mut(&group.id);
        let flow = flow.ok_or(HandleError::Stale)?;
        let wait = flow.repair_wait.max(ANSWER_GAP);
        let too_soon = |at: Duration| now.monotonic < at.saturating_add(wait);
        if (want.stream.member, want.stream.stream) != (MemberId::from(&own), group.stream)
            || flow.repaired_at.is_some_and(too_soon)
        {
            return Err(HandleError::Stale);
        }
        flow.repaired_at = Some(now.monotonic);
        let sent_to = flow.sent_to;
        let limit = usize::try_from(WANTED).unwrap_or(usize::MAX);
        let ranges = &want.stream.ranges;
        let wanted = self
            .store
            .repairable(&group, &own, &peer, ranges, sent_to, limit)?;
        if let Some(flow) = self.session(session)?.flows.get_mut(&group.id)
            && wanted.iter().any(|queued| flow.has.contains(queued.seq))
        {
            let doubled = flow.repair_wait.saturating_mul(2);
            flow.repair_wait = doubled.clamp(DOUBT_FIRST, DOUBT_LONGEST);
        }
        let (mut bytes, mut ahead) = (0usize, group.ahead);
        for queued in wanted {
            if bytes > WANTED_BYTES {
                break;
            }
            if ahead >= AHEAD {
                tracing::warn!(group = ?group.id, "a member reads nothing of ours any more");
                return self.give_up(session, &group);
            }
            let frame = self.seal(&group, &queued)?;
            bytes = bytes.saturating_add(frame.len());
            ahead = ahead.saturating_add(1);
            if let Some(flow) = self.session(session)?.flows.get_mut(&group.id) {
                flow.repairing.insert(queued.seq);
                // Of a delivered message nothing is under way for the window.
                flow.in_flight
                    .entry(queued.seq)
                    .and_modify(|len| *len = frame.len());
            }
            self.outputs.push(Output::Send { session, frame });
        }
        Ok(self.store.put_ahead(&group.id, ahead)?)
    }

    /// Remembers that a stream has gaps, so that the user is told if they last.
    pub(super) fn watch(
        &mut self,
        group: GroupId,
        member: MemberId,
        stream: StreamId,
        seen: &Ranges,
        now: Now,
    ) -> Result<(), StoreError> {
        let key = (group, member, stream);
        if self.watches.contains_key(&key)
            || seen.gaps().last() <= self.store.told_to(&group, &member, &stream)?
        {
            return Ok(());
        }
        let due = now.monotonic.saturating_add(MISSING_AFTER);
        let below = seen.last();
        self.watches.insert(key, Watch { below, due });
        self.outputs.push(Output::WakeAt(due));
        Ok(())
    }

    /// Begins to watch what was missing when the process ended.
    pub(super) fn watch_all(&mut self, now: Now) -> Result<(), StoreError> {
        for (group, member, stream) in self.store.torn_streams()? {
            let seen = self.store.seen(&group, &member, &stream)?;
            self.watch(group, member, stream, &seen, now)?;
        }
        Ok(())
    }

    /// Tells the user of all that lacks up to a number and is given up now, as far as that was not told.
    pub(super) fn tell_missing(&mut self, chat: i64, source: Source, last: u64) -> Result<(), StoreError> {
        let Source {
            group,
            member,
            stream,
            ..
        } = source;
        self.watches.remove(&(group, member, stream));
        let seen = self.store.seen(&group, &member, &stream)?;
        let lacks = seen.gaps().union(&after(&seen, last));
        let told_to = self.store.told_to(&group, &member, &stream)?;
        let count = lacks.within(told_to.saturating_add(1), u64::MAX).count();
        if count > 0 {
            self.event(Event::Missing { chat, count });
        }
        self.store
            .put_told_to(&group, &member, &stream, last.max(seen.last()))
    }

    /// Asks again for what is still missing, and tells the user of gaps that last.
    pub(super) fn tick_gaps(&mut self, now: Now) -> Result<(), StoreError> {
        self.holes.values_mut().for_each(|hole| ask_when_due(hole, now));
        let due = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.due <= now.monotonic);
        for ((group, member, stream), below) in
            due.map(|(key, watch)| (*key, watch.below)).collect::<Vec<_>>()
        {
            self.watches.remove(&(group, member, stream));
            let Some(row) = self.store.group(&group)? else {
                continue;
            };
            let seen = self.store.seen(&group, &member, &stream)?;
            let told_to = self.store.told_to(&group, &member, &stream)?;
            let count = seen.gaps().within(told_to.saturating_add(1), below).count();
            if count > 0 {
                self.event(Event::Missing {
                    chat: row.chat,
                    count,
                });
            }
            self.store.put_told_to(&group, &member, &stream, below)?;
            self.watch(group, member, stream, &seen, now)?;
        }
        Ok(())
    }
}

/// What lacks at the end, up to this number.
fn after(seen: &Ranges, up_to: u64) -> Ranges {
    let first = seen.last().saturating_add(1);
    let rest = (first <= up_to).then_some(Range { first, last: up_to });
    Ranges::new(rest.into_iter().collect()).unwrap_or_default()
}

/// At most once within a hole's wait.
fn ask_when_due(hole: &mut Hole, now: Now) {
    if hole.ask_at <= now.monotonic {
        hole.due = Some(now.monotonic);
    }
}
