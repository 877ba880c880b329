//! Messages: stored first, encrypted when they first leave, sent until every recipient acknowledged them.

use super::{Engine, Event, Failure, HandleError, Output, Reply, SessionId, session::AckDue};
use crate::{
    content::{self, Body, Content, MAX_TEXT},
    delivery::{Range, Ranges},
    group::{self, Header},
    id::{GroupId, MemberId, MessageId, PeerId},
    identity::Context,
    store::{GroupRow, NewMessage, Queued, StoreError},
    time::Now,
    wire::{App, AppAck, Frame, Head, StreamRanges},
};

/// Messages on their way to one member at a time.
const WINDOW: usize = 256;
/// Bytes of frames on their way to one member at a time; one message may always go.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Streams of one member: each loss of its disk begins a new one.
const STREAMS: i64 = 64;

impl Engine {
    /// Stores texts for a chat and sends what can be sent.
    pub(super) fn send(&mut self, chat: &str, texts: &[String], now: Now) -> Result<Reply, HandleError> {
        if texts.iter().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
            return Err(Failure::TextLength.into());
        }
        let chat = self.store.find_chat(chat)?.id;
        let group = self.store.group_of_chat(chat)?.ok_or(HandleError::UnknownGroup)?;
        let own = self.identity.peer_id();
        let others = self.others(&group.id)?;
        let recipients = others.iter().map(|(member, _)| *member).collect::<Vec<_>>();
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts {
            let id = self.new_message_id(now);
            let seq = self.store.take_seq(&group.id)?;
            let message = NewMessage {
                chat,
                id,
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
            self.store.queue(row, &group.id, seq, &recipients)?;
            self.event(Event::Message { row });
            ids.push(id);
        }
        for (member, peer) in others {
            self.pump(&group, &member, &peer)?;
        }
        Ok(Reply::Stored { ids })
    }

    /// Sends a member what it lacks, as far as the window allows. Bodies are encrypted here, once.
    fn pump(&mut self, group: &GroupRow, member: &MemberId, peer: &PeerId) -> Result<(), HandleError> {
        let Some(session) = self.links.get(peer).copied() else {
            return Ok(());
        };
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
        for queued in self.store.queued_for(&group.id, member, flow.sent_to, room)? {
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

    /// Encrypts one message and keeps the ciphertext: it is never made twice.
    fn seal(&mut self, group: &GroupRow, queued: &Queued) -> Result<Vec<u8>, HandleError> {
        let (text, sent_at) = self.store.own_text(queued.row)?;
        let plaintext = zeroize::Zeroizing::new(content::encode_text(sent_at, &text));
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
        let (group, _) = self.group_with(session, &app.group)?;
        let author = self
            .store
            .member(&group.id, &app.member)?
            .ok_or(HandleError::Forged("author"))?;
        let mut seen = self.store.seen(&group.id, &app.member, &app.stream)?;
        let ack = AckDue {
            session,
            group: group.id,
            member: app.member,
            stream: app.stream,
        };
        if seen.contains(app.seq) {
            self.acks_due.insert(ack);
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
        let header = Header {
            stream: app.stream,
            seq: app.seq,
            message: app.message,
        };
        let mut state = self.take_group(&group.id)?;
        let (member, peer, plaintext) =
            group::open_message(&self.store.provider(), &mut state, header, &app.mls)?;
        if member != app.member || peer != author || peer == self.identity.peer_id() {
            return Err(HandleError::Forged("author"));
        }
        let row = match Content::decode(&zeroize::Zeroizing::new(plaintext)) {
            Ok(content) => self.store.add_message(&NewMessage {
                chat: group.chat,
                id: app.message,
                sender: peer,
                stream: app.stream,
                seq: app.seq,
                sent_at: content.sent_at,
                stored_at: now.unix_ms,
                own: false,
                body: &content.body,
            })?,
            // A member's nonsense is skipped, or its author would send it for ever and nothing after it.
            Err(error) => {
                tracing::info!(%error, "a message has no readable content");
                None
            }
        };
        if let Some(range) = seen.insert(app.seq) {
            self.store.mark_seen(&group.id, &app.member, &app.stream, range)?;
        }
        self.keep_group(group.id, state);
        self.acks_due.insert(ack);
        if let Some(row) = row {
            self.event(Event::Message { row });
        }
        Ok(())
    }

    /// A member has some of our messages.
    pub(super) fn app_ack(&mut self, session: SessionId, ack: &AppAck) -> Result<(), HandleError> {
        let (group, peer) = self.group_with(session, &ack.group)?;
        let signed = ack_bytes(&ack.group, &ack.member, &ack.stream);
        if MemberId::from(&peer) != ack.member
            || peer.verify(Context::AppAck, &[&signed], &ack.signature).is_err()
        {
            return Err(HandleError::Forged("acknowledgement"));
        }
        let own = MemberId::from(&self.identity.peer_id());
        if (ack.stream.member, ack.stream.stream) != (own, group.stream)
            || !self.acknowledged(session, &group, &ack.member, &ack.stream.ranges)?
        {
            return Ok(());
        }
        self.pump(&group, &ack.member, &peer)
    }

    /// A member says where it stands. From here on messages may be encrypted for it on this link: had our disk
    /// been put back to an older copy, its record of our stream would go further than our own.
    pub(super) fn head(&mut self, session: SessionId, head: &Head) -> Result<(), HandleError> {
        let (group, peer) = self.group_with(session, &head.group)?;
        let signed = head_bytes(head);
        if MemberId::from(&peer) != head.member
            || peer.verify(Context::Head, &[&signed], &head.signature).is_err()
        {
            return Err(HandleError::Forged("head"));
        }
        if self.store.end_accepted_join(&peer)? {
            // Its first Head confirms the Welcome: only now it is sure that both are contacts.
            let name = self
                .store
                .contact(&peer)?
                .map(|contact| contact.name)
                .unwrap_or_default();
            self.event(Event::Joined {
                peer,
                name,
                verified: true,
            });
        }
        let own = MemberId::from(&self.identity.peer_id());
        let have = head
            .streams
            .iter()
            .find(|one| one.member == own && one.stream == group.stream);
        let have = have.map(|one| one.ranges.clone()).unwrap_or_default();
        if !self.acknowledged(session, &group, &head.member, &have)? {
            return Ok(());
        }
        // Only the first Head of a link begins a flow: a later one must not make us send everything again.
        self.session(session)?.flows.entry(group.id).or_default();
        self.pump(&group, &head.member, &peer)
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
            signature: [0; 64],
        };
        head.signature = self.identity.sign(Context::Head, &[&head_bytes(&head)]);
        self.post(session, &Frame::Head(head));
        Ok(())
    }

    /// Acknowledges what the batch stored, one statement per stream: called right before the commit.
    pub(super) fn push_acks(&mut self) -> Result<(), StoreError> {
        let own = MemberId::from(&self.identity.peer_id());
        for due in std::mem::take(&mut self.acks_due) {
            if !self.sessions.contains_key(&due.session) {
                continue;
            }
            let ranges = self.store.seen(&due.group, &due.member, &due.stream)?.truncated();
            let stream = StreamRanges {
                member: due.member,
                stream: due.stream,
                ranges,
            };
            let signature = self
                .identity
                .sign(Context::AppAck, &[&ack_bytes(&due.group, &own, &stream)]);
            self.post(
                due.session,
                &Frame::AppAck(AppAck {
                    group: due.group,
                    member: own,
                    stream,
                    signature,
                }),
            );
        }
        Ok(())
    }

    /// Notes what a member has of our stream. `false`: it has what this database never sent, so this database is
    /// an older copy; nothing is believed, and nothing more is sent to the member on this link.
    fn acknowledged(
        &mut self,
        session: SessionId,
        group: &GroupRow,
        member: &MemberId,
        ranges: &Ranges,
    ) -> Result<bool, HandleError> {
        if ranges.last() >= self.store.first_unsent(group)? {
            tracing::error!(group = ?group.id, "a member knows messages of ours that this database never sent");
            self.session(session)?.flows.remove(&group.id);
            self.event(Event::RolledBack { chat: group.chat });
            return Ok(false);
        }
        for (id, delivered) in self.store.acknowledge(&group.id, member, ranges)? {
            self.event(Event::Progress { id, delivered });
        }
        if let Some(flow) = self.session(session)?.flows.get_mut(&group.id) {
            flow.in_flight.retain(|seq, _| !ranges.contains(*seq));
        }
        Ok(true)
    }

    /// The group a frame is about, if the peer of its link is a member, and that peer.
    fn group_with(&mut self, session: SessionId, id: &GroupId) -> Result<(GroupRow, PeerId), HandleError> {
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

    fn new_message_id(&mut self, now: Now) -> MessageId {
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        MessageId::new(now.unix_ms, random)
    }
}

/// What an AppAck's signature covers, unambiguous by fixed lengths and counts.
fn ack_bytes(group: &GroupId, member: &MemberId, stream: &StreamRanges) -> Vec<u8> {
    [&group.0[..], &member.0, &stream_bytes(stream)].concat()
}

/// What a Head's signature covers.
fn head_bytes(head: &Head) -> Vec<u8> {
    let streams = head.streams.iter().flat_map(stream_bytes);
    [&head.group.0[..], &head.epoch_id.0, &head.member.0]
        .concat()
        .into_iter()
        .chain(streams)
        .collect()
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
