//! Frames to bytes.

use capnp::message::{Builder, HeapAllocator};

use super::{
    App, AppAck, Bye, CardUpdate, ContactAccept, ContactRequest, Frame, Head, Hello, NotMember, PairStart,
    Refusal, Signature, StreamRanges, Welcome,
};
use crate::{
    card::UnverifiedCard,
    engine::Purpose,
    peer_capnp::{self as schema, frame},
};

impl Frame {
    /// Encodes the frame, framing included.
    ///
    /// The result is one segment, whatever the content: the first segment is made large enough.
    pub fn encode(&self) -> Vec<u8> {
        let mut words = self.size_hint();
        loop {
            let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
            self.fill(message.init_root());
            if message.get_segments_for_output().len() == 1 {
                return capnp::serialize::write_message_to_words(&message);
            }
            words = words.saturating_mul(2);
        }
    }

    /// A first segment that usually suffices, in words.
    fn size_hint(&self) -> u32 {
        let bytes = match self {
            Self::App(app) => app.mls.len(),
            Self::ContactAccept(done) => done.welcome.len(),
            Self::ContactRequest(request) => request.key_packages.iter().map(Vec::len).sum(),
            Self::Head(head) => head
                .streams
                .len()
                .saturating_mul(128)
                .saturating_add(head.opened.len().saturating_mul(32)),
            Self::Hello(_)
            | Self::Bye(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::PairStart(_)
            | Self::PairReply { .. }
            | Self::PairProof { .. }
            | Self::PairRefused(_)
            | Self::AppAck(_)
            | Self::ContactRefuse
            | Self::ContactKept { .. }
            | Self::Card(_)
            | Self::Want(_) => 0,
            Self::NotMember(statement) => statement.key_package.len(),
            Self::Welcome(welcome) => welcome.welcome.len(),
        };
        u32::try_from(bytes / 8)
            .unwrap_or(u32::MAX / 4)
            .saturating_add(96)
    }

    fn fill(&self, mut root: frame::Builder<'_>) {
        match self {
            Self::Hello(hello) => fill_hello(root.init_hello(), hello),
            Self::Bye(bye) => root.set_bye(match bye {
                Bye::Replaced => schema::Reason::Replaced,
                Bye::Shutdown => schema::Reason::Shutdown,
                Bye::Protocol => schema::Reason::Protocol,
            }),
            Self::Ping(nonce) => root.set_ping(*nonce),
            Self::Pong(nonce) => root.set_pong(*nonce),
            Self::PairStart(start) => fill_start(root.init_pair_start(), start),
            Self::PairReply { spake } => root.init_pair_reply().set_spake(spake),
            Self::PairProof { mac } => root.init_pair_proof().set_mac(mac),
            Self::ContactRequest(request) => fill_request(root.init_contact_request(), request),
            Self::ContactAccept(done) => fill_done(root.init_contact_accept(), done),
            Self::PairRefused(refusal) => root.set_pair_refused(refusal_tag(*refusal)),
            Self::App(app) => fill_app(root.init_app(), app),
            Self::AppAck(ack) => fill_ack(root.init_app_ack(), ack),
            Self::Head(head) => fill_head(root.init_head(), head),
            Self::ContactRefuse => root.set_contact_refuse(()),
            Self::ContactKept { name } => root.init_contact_kept().set_name(name),
            Self::Card(update) => fill_card_update(root.init_card(), update),
            Self::Want(want) => {
                let mut to = root.init_want();
                to.set_group_id(&want.group.0);
                fill_stream(to.init_stream(), &want.stream);
            }
            Self::NotMember(statement) => fill_not_member(root.init_not_member(), statement),
            Self::Welcome(welcome) => fill_welcome(root.init_welcome(), welcome),
        }
    }
}

fn fill_hello(mut to: schema::hello::Builder<'_>, hello: &Hello) {
    to.set_version_min(hello.min);
    to.set_version_max(hello.max);
    to.set_features(hello.features);
    to.set_session(&hello.session);
    to.set_purpose(match hello.purpose {
        Purpose::Peer => schema::Purpose::Peer,
        Purpose::Pair => schema::Purpose::Pair,
    });
}

fn fill_start(mut to: schema::pair_start::Builder<'_>, start: &PairStart) {
    match start {
        PairStart::Code { nameplate, spake } => {
            to.set_nameplate(nameplate.number());
            to.set_spake(spake);
        }
        PairStart::Link(link) => to.set_link(&link.0),
    }
}

fn fill_card_update(mut to: schema::card_update::Builder<'_>, update: &CardUpdate) {
    if let Some(card) = &update.card {
        fill_card(to.reborrow().init_card(), card);
    }
    to.set_seen(update.seen);
}

fn fill_not_member(mut to: schema::not_member::Builder<'_>, statement: &NotMember) {
    to.set_group_id(&statement.group.0);
    to.set_member(&statement.member.0);
    to.set_key_package(&statement.key_package);
    to.set_signature(signature(&statement.signature));
}

fn fill_welcome(mut to: schema::welcome::Builder<'_>, welcome: &Welcome) {
    to.set_group_id(&welcome.group.0);
    to.set_commit_id(&welcome.commit.0);
    to.set_welcome(&welcome.welcome);
}

fn fill_card(mut to: schema::signed_card::Builder<'_>, card: &UnverifiedCard) {
    to.set_body(&card.body);
    to.set_signature(&card.signature);
}

fn fill_request(mut to: schema::contact_request::Builder<'_>, request: &ContactRequest) {
    to.set_identity(&request.identity.0);
    to.set_name(&request.name);
    fill_card(to.reborrow().init_card(), &request.card);
    if let Some(proof) = &request.proof {
        to.set_proof(proof);
    }
    let mut list = to.init_key_packages(u32::try_from(request.key_packages.len()).unwrap_or(u32::MAX));
    for (at, package) in (0..).zip(&request.key_packages) {
        list.set(at, package);
    }
}

fn fill_done(mut to: schema::contact_accept::Builder<'_>, done: &ContactAccept) {
    to.set_name(&done.name);
    fill_card(to.reborrow().init_card(), &done.card);
    to.set_group_id(&done.group.0);
    to.set_commit_id(&done.commit.0);
    to.set_welcome(&done.welcome);
}

fn refusal_tag(refusal: Refusal) -> schema::Refusal {
    match refusal {
        Refusal::NoInvite => schema::Refusal::NoInvite,
        Refusal::WrongCode => schema::Refusal::WrongCode,
        Refusal::Used => schema::Refusal::Used,
        Refusal::Expired => schema::Refusal::Expired,
        Refusal::Cancelled => schema::Refusal::Cancelled,
        Refusal::Blocked => schema::Refusal::Blocked,
        Refusal::Busy => schema::Refusal::Busy,
        Refusal::Invalid => schema::Refusal::Invalid,
    }
}

fn fill_app(mut to: schema::app::Builder<'_>, app: &App) {
    to.set_group_id(&app.group.0);
    to.set_epoch_id(&app.epoch_id.0);
    to.set_epoch(app.epoch);
    to.set_member(&app.member.0);
    to.set_stream(&app.stream.0);
    to.set_seq(app.seq);
    to.set_message_id(&app.message.0);
    to.set_mls(&app.mls);
}

fn fill_ack(mut to: schema::app_ack::Builder<'_>, ack: &AppAck) {
    to.set_group_id(&ack.group.0);
    to.set_member(&ack.member.0);
    fill_stream(to.reborrow().init_stream(), &ack.stream);
    to.set_signature(signature(&ack.signature));
}

fn fill_head(mut to: schema::head::Builder<'_>, head: &Head) {
    to.set_group_id(&head.group.0);
    to.set_epoch_id(&head.epoch_id.0);
    to.set_epoch(head.epoch);
    to.set_member(&head.member.0);
    let mut list = to
        .reborrow()
        .init_streams(u32::try_from(head.streams.len()).unwrap_or(u32::MAX));
    for (at, stream) in (0..).zip(&head.streams) {
        fill_stream(list.reborrow().get(at), stream);
    }
    to.set_signature(signature(&head.signature));
    if head.opened.is_empty() {
        return;
    }
    let mut list = to.init_opened(u32::try_from(head.opened.len()).unwrap_or(u32::MAX));
    for (at, (member, count)) in (0..).zip(&head.opened) {
        let mut to = list.reborrow().get(at);
        to.set_member(&member.0);
        to.set_count(*count);
    }
}

fn fill_stream(mut to: schema::stream_ranges::Builder<'_>, stream: &StreamRanges) {
    to.set_member(&stream.member.0);
    to.set_stream(&stream.stream.0);
    let ranges = stream.ranges.as_slice();
    let mut list = to.init_ranges(u32::try_from(ranges.len()).unwrap_or(u32::MAX));
    for (at, range) in (0..).zip(ranges) {
        let mut to = list.reborrow().get(at);
        to.set_first(range.first);
        to.set_last(range.last);
    }
}

fn signature(signature: &Signature) -> &[u8] {
    signature
}
