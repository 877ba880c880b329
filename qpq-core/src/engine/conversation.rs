//! Messages: stored first, encrypted when they first leave, sent until every recipient acknowledged them.

use std::collections::btree_map::Entry;

use super::{
    Engine, Event, Failure, HandleError, Output, Reply, SessionId, Settles,
    ack::head_parts,
    session::{Flow, Source},
};
use crate::{
    content::{self, Body, Content, MAX_TEXT},
    delivery::{Range, Ranges},
    group::{self, Header},
    id::{GroupId, MemberId, MessageId, PeerId},
    identity::Context,
    store::{GroupRow, NewMessage, Queued, StoreError},
    time::Now,
    wire::{App, Frame, Head, StreamRanges},
};

/// Messages on their way to one member at a time.
const WINDOW: usize = 512;
/// Bytes of frames on their way to one member at a time; one message may always go.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Streams of one member: each loss of its disk begins a new one.
const STREAMS: i64 = 64;

impl Engine {
    /// Stores texts for a chat and sends what can be sent.
    pub(super) fn send(
        &mut self,
        chat: &str,
        texts: &[(MessageId, String)],
        now: Now,
    ) -> Result<Reply, HandleError> {
        if texts
            .iter()
            .any(|(_, text)| text.is_empty() || text.len() > MAX_TEXT)
        {
            return Err(Failure::TextLength.into());
        }
        let found = self.store.find_chat(chat)?;
        for peer in &found.members {
            if let Some(failure) = self.bar_to(peer)? {
                return Err(failure.into());
            }
        }
        let chat = found.id;
        let group = match (self.store.group_of_chat(chat)?, found.members.first()) {
            (Some(group), _) => group,
            (None, Some(peer)) => self.add_dead_group(chat, peer)?,
            (None, None) => return Err(HandleError::UnknownGroup),
        };
        let lived = self.age.at(now);
        let own = self.identity.peer_id();
        let others = self.others(&group.id)?;
        let recipients = others.iter().map(|(_, peer)| *peer).collect::<Vec<_>>();
        for (id, text) in texts {
            if let Some(stored) = self.store.own_body(chat, id)? {
                if stored != text.as_bytes() {
                    return Err(Failure::IdTaken.into());
                }
                continue;
            }
            let seq = self.store.take_seq(&group.id)?;
            let message = NewMessage {
                chat,
                id: *id,
                sender: own,
                stream: group.stream,
                seq,
                sent_at: now.unix_ms,
                stored_at: now.unix_ms,
                own: true,
                body: &Body::Text(text.clone()),
            };
            let row = self
                .store
                .add_message(&message)?
                .ok_or(StoreError::Corrupt("own message exists"))?;
            self.store.queue(row, &group.id, seq, &recipients, lived)?;
            self.event(Event::Message { row });
        }
        for (_, peer) in others {
            self.pump(&group, &peer)?;
        }
        let ids = texts.iter().map(|(id, _)| *id);
        Ok(Reply::Stored { ids: ids.collect() })
    }

    /// Sends a member what it lacks, as far as the window allows. Bodies are encrypted here, once.
    pub(super) fn pump(&mut self, group: &GroupRow, peer: &PeerId) -> Result<(), HandleError> {
        let Some(session) = self.links.get(peer).copied() else {
            return Ok(());
        };
        if self.bar_to(peer)?.is_some() {
            // It waits for the user's word.
            return Ok(());
        }
        let Some(flow) = self
            .sessions
            .get(&session)
            .and_then(|session| session.flows.get(&group.id))
        else {
            return Ok(());
        };
        let room = WINDOW.saturating_sub(flow.in_flight.len());
        if room == 0 {
            return Ok(());
        }
        let mut bytes: usize = flow.in_flight.values().sum();
        for queued in self.store.queued_for(&group.id, peer, flow.sent_to, room)? {
            if bytes > WINDOW_BYTES {
                break;
            }
            let seq = queued.seq;
            let frame = match queued.sealed {
                true => self.store.frame(queued.row)?,
                false => self.seal(group, &queued)?,
            };
            bytes = bytes.saturating_add(frame.len());
            if let Some(flow) = self.session(session)?.flows.get_mut(&group.id) {
                flow.sent_to = seq;
                flow.in_flight.insert(seq, frame.len());
            }
            self.outputs.push(Output::Send { session, frame });
        }
        Ok(())
    }

    /// Encrypts one message and, as long as somebody lacks it, keeps the ciphertext: that is what is sent again.
    pub(super) fn seal(&mut self, group: &GroupRow, queued: &Queued) -> Result<Vec<u8>, HandleError> {
        let (text, sent_at) = self.store.own_text(queued.row)?;
        let sealed = self.store.count_seal(&group.id)?;
        let plaintext = zeroize::Zeroizing::new(content::encode_text(sent_at, sealed, &text));
        let header = Header {
            stream: group.stream,
            seq: queued.seq,
            message: queued.id,
        };
        let mut state = self.take_group(&group.id)?;
        let mls = group::seal_message(
            &self.store.provider(),
            &self.identity,
            &mut state,
            header,
            &plaintext,
        )?;
        self.keep_group(group.id, state);
        let frame = Frame::App(App {
            group: group.id,
            epoch_id: group.epoch_id,
            epoch: group.epoch,
            member: MemberId::from(&self.identity.peer_id()),
            stream: group.stream,
            seq: queued.seq,
            message: queued.id,
            mls,
        })
        .encode();
        self.store.put_frame(queued.row, &frame)?;
        Ok(frame)
    }

    /// A message came. Plaintext, ratchet and dedupe are committed together; the acknowledgement follows them.
    pub(super) fn app(&mut self, session: SessionId, app: &App, now: Now) -> Result<(), HandleError> {
        let Some((group, _)) = self.live_group(session, &app.group)? else {
            return Ok(());
        };
        let author = self
            .store
            .member(&group.id, &app.member)?
            .ok_or(HandleError::Forged("author"))?;
        let mut seen = self.store.seen(&group.id, &app.member, &app.stream)?;
        let source = Source {
            session,
            group: group.id,
            member: app.member,
            stream: app.stream,
        };
        if seen.contains(app.seq) {
            self.owe_ack(source, app.mls.len(), now);
            return Ok(());
        }
        if !seen.has_room_for(app.seq) {
            // Honest members send in order: what would tear so many holes waits until some are filled.
            return Err(HandleError::Stale);
        }
        if seen.as_slice().is_empty() && self.store.stream_count(&group.id, &app.member)? >= STREAMS {
            return Err(HandleError::Forged("stream"));
        }
        if app.epoch_id != group.epoch_id {
            return Err(HandleError::Message(group::MessageError::OtherEpoch));
        }
        let row = self.open_app(source, &group, author, app, now)?;
        let filled = app.seq < seen.last();
        if let Some(range) = seen.insert(app.seq) {
            self.store.mark_seen(&group.id, &app.member, &app.stream, range)?;
        }
        self.owe_ack(source, app.mls.len(), now);
        self.note_gaps(source, &seen, filled, now)?;
        if let Some(row) = row {
            self.event(Event::Message { row });
        }
        self.note_caught(source, now)
    }

    /// Decrypts a message and stores what it says. `None`: there is nothing new to show.
    fn open_app(
        &mut self,
        source: Source,
        group: &GroupRow,
        author: PeerId,
        app: &App,
        now: Now,
    ) -> Result<Option<i64>, HandleError> {
        let header = Header {
            stream: app.stream,
            seq: app.seq,
            message: app.message,
        };
        let mut state = self.take_group(&group.id)?;
        let opened = group::open_message(&self.store.provider(), &mut state, header, &app.mls);
        if opened
            .as_ref()
            .is_err_and(|error| !matches!(error, group::MessageError::Own(_)))
        {
            self.unreadable(source, app.seq, now);
        }
        let (member, peer, plaintext) = opened?;
        if member != app.member || peer != author || peer == self.identity.peer_id() {
            return Err(HandleError::Forged("author"));
        }
        self.keep_group(group.id, state);
        let content = match Content::decode(&zeroize::Zeroizing::new(plaintext)) {
            Ok(content) => content,
            // A member's nonsense is skipped, or its author would send it for ever and nothing after it.
            Err(error) => {
                tracing::info!(%error, "a message has no readable content");
                return Ok(None);
            }
        };
        self.store.note_opened(&group.id, &member, content.sealed)?;
        Ok(self.store.add_message(&NewMessage {
            chat: group.chat,
            id: app.message,
            sender: peer,
            stream: app.stream,
            seq: app.seq,
            sent_at: content.sent_at,
            stored_at: now.unix_ms,
            own: false,
            body: &content.body,
        })?)
    }

    /// A member says where it stands. From here on messages may be encrypted for it on this link: had our disk
    /// been put back to an older copy, its record of our stream would go further than our own.
    pub(super) fn head(&mut self, session: SessionId, head: &Head, now: Now) -> Result<(), HandleError> {
        let Some((group, peer)) = self.live_group(session, &head.group)? else {
            return Ok(());
        };
        if MemberId::from(&peer) != head.member
            || peer
                .verify(Context::Head, &slices(&head_parts(head)), &head.signature)
                .is_err()
        {
            return Err(HandleError::Forged("head"));
        }
        if head.epoch_id != group.epoch_id {
            tracing::warn!(group = ?group.id, "a member stands in another epoch");
            return Ok(());
        }
        if group.unconfirmed {
            self.store.end_welcome(&group.id)?;
        }
        // Both are in this group: nobody needs a KeyPackage for another.
        self.end_offer(&peer)?;
        if let Some(join) = self.store.accepted_join(&peer)? {
            self.note_card_seen(&peer, &join.done)?;
            self.store.end_accepted_join(&peer)?;
            // Its first Head confirms the Welcome: only now it is sure that both are contacts.
            self.end_pending_join(&peer)?;
            self.publish_directory()?;
            let settles = Settles {
                invite: !join.by_link,
                join: self.crossed.remove(&peer),
            };
            if let Some(contact) = self.store.contact(&peer)? {
                self.event(Event::Joined {
                    peer,
                    name: contact.name,
                    verified: contact.trust.is_verified(),
                    settles,
                });
            }
        }
        let own = MemberId::from(&self.identity.peer_id());
        let have = head
            .streams
            .iter()
            .find(|one| one.member == own && one.stream == group.stream);
        let have = have.map(|one| one.ranges.clone()).unwrap_or_default();
        let opened = head.opened.iter().filter(|(member, _)| *member == own);
        let opened = opened.map(|(_, count)| *count).max().unwrap_or(0);
        // Messages or, for repairs, keys were used that this database would use again.
        if opened > self.store.sealed(&group.id)? || have.last() >= self.store.first_unsent(&group)? {
            return self.rolled_back_by(session, &group, head, now);
        }
        if !self.acknowledged(session, &group, &peer, &have)? {
            return Ok(());
        }
        // Only the first Head of a link begins a flow: a later one must not make us send everything again.
        if let Entry::Vacant(flow) = self.session(session)?.flows.entry(group.id) {
            flow.insert(Flow {
                has: have,
                ..Flow::default()
            });
            self.resume_gaps(session, &group.id, head, now)?;
        }
        self.pump(&group, &peer)
    }

    /// Says where we stand in a group.
    pub(super) fn send_head(&mut self, session: SessionId, group: &GroupRow) -> Result<(), HandleError> {
        let own = MemberId::from(&self.identity.peer_id());
        let mut streams = self.store.all_seen(&group.id)?;
        let last = group.next_seq.saturating_sub(1);
        let ranges = Ranges::new(Vec::from_iter((last > 0).then_some(Range { first: 1, last })));
        streams.push(StreamRanges {
            member: own,
            stream: group.stream,
            ranges: ranges.unwrap_or_default(),
        });
        let mut head = Head {
            group: group.id,
            epoch_id: group.epoch_id,
            epoch: group.epoch,
            member: own,
            streams,
            opened: self.store.opened(&group.id)?,
            signature: [0; 64],
        };
        head.signature = self.identity.sign(Context::Head, &slices(&head_parts(&head)));
        self.post(session, &Frame::Head(head));
        Ok(())
    }

    /// The group a frame is about, if the peer of its link is a member, and that peer.
    pub(super) fn group_with(
        &mut self,
        session: SessionId,
        id: &GroupId,
    ) -> Result<(GroupRow, PeerId), HandleError> {
        let peer = self.session(session)?.peer;
        let group = self.store.group(id)?.ok_or(HandleError::UnknownGroup)?;
        self.store
            .member(id, &MemberId::from(&peer))?
            .ok_or(HandleError::Rights)?;
        Ok((group, peer))
    }

    fn others(&self, group: &GroupId) -> Result<Vec<(MemberId, PeerId)>, StoreError> {
        let own = self.identity.peer_id();
        Ok(self
            .store
            .members(group)?
            .into_iter()
            .filter(|(_, peer)| *peer != own)
            .collect())
    }
}

fn slices(parts: &[Vec<u8>]) -> Vec<&[u8]> {
    parts.iter().map(Vec::as_slice).collect()
}
