//! Frames to bytes.

use capnp::message::{Builder, HeapAllocator};

use super::{
    App, AppAck, Bye, ContactRequest, Frame, Head, Hello, PairDone, Refusal, Signature, StreamRanges,
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
            Self::PairDone(done) => done.welcome.len(),
            Self::ContactRequest(request) => request.key_packages.iter().map(Vec::len).sum(),
            Self::Head(head) => head.streams.len().saturating_mul(128),
            Self::Hello(_)
            | Self::Bye(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::PairStart(_)
            | Self::PairReply { .. }
            | Self::PairProof { .. }
            | Self::PairRefused(_)
            | Self::AppAck(_) => 0,
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
            Self::PairStart(start) => {
                let mut to = root.init_pair_start();
                to.set_nameplate(start.nameplate.number());
                to.set_spake(&start.spake);
            }
            Self::PairReply { spake } => root.init_pair_reply().set_spake(spake),
            Self::PairProof { mac } => root.init_pair_proof().set_mac(mac),
            Self::ContactRequest(request) => fill_request(root.init_contact_request(), request),
            Self::PairDone(done) => fill_done(root.init_pair_done(), done),
            Self::PairRefused(refusal) => root.set_pair_refused(refusal_tag(*refusal)),
            Self::App(app) => fill_app(root.init_app(), app),
            Self::AppAck(ack) => fill_ack(root.init_app_ack(), ack),
            Self::Head(head) => fill_head(root.init_head(), head),
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

fn fill_card(mut to: schema::signed_card::Builder<'_>, card: &UnverifiedCard) {
    to.set_body(&card.body);
    to.set_signature(&card.signature);
}

fn fill_request(mut to: schema::contact_request::Builder<'_>, request: &ContactRequest) {
    to.set_identity(&request.identity.0);
    to.set_name(&request.name);
    fill_card(to.reborrow().init_card(), &request.card);
    let mut list = to.init_key_packages(u32::try_from(request.key_packages.len()).unwrap_or(u32::MAX));
    for (at, package) in (0..).zip(&request.key_packages) {
        list.set(at, package);
    }
}

fn fill_done(mut to: schema::pair_done::Builder<'_>, done: &PairDone) {
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
