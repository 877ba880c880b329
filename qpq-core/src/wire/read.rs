//! Bytes to frames. Every length is checked here, once; lists are counted before they are walked.

use capnp::{message::ReaderOptions, serialize};

use super::{
    App, AppAck, Bye, CardUpdate, ContactAccept, ContactRequest, Frame, FrameError, HEADER, Head, Hello,
    LinkFrame, NESTING, NotMember, PairStart, Refusal, StreamRanges, Want, Welcome, body_len,
};
use crate::{
    card::UnverifiedCard,
    delivery::{MAX_RANGES, Range, Ranges},
    engine::Purpose,
    id::{CommitId, EpochId, GroupId, LinkId, MemberId, MessageId, PeerId, StreamId},
    invite::Nameplate,
    peer_capnp::{self as schema, frame::Which},
};

/// The most streams, and the most members, a Head may list.
const MAX_STREAMS: u32 = 512;
/// The most KeyPackages a ContactRequest may carry.
const MAX_KEY_PACKAGES: u32 = 2;

impl Frame {
    /// Decodes one whole frame, framing included.
    ///
    /// # Errors
    /// [`FrameError`]; nothing larger than the input was allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let message = open(bytes)?;
        let root: schema::frame::Reader<'_> = message.get_root()?;
        Ok(match root.which()? {
            Which::Hello(hello) => Self::Hello(read_hello(hello?)?),
            Which::Bye(reason) => Self::Bye(read_bye(reason?)),
            Which::Ping(nonce) => Self::Ping(nonce),
            Which::Pong(nonce) => Self::Pong(nonce),
            Which::PairStart(start) => Self::PairStart(read_start(start?)?),
            Which::PairReply(reply) => Self::PairReply {
                spake: reply?.get_spake()?.to_vec(),
            },
            Which::PairProof(proof) => Self::PairProof {
                mac: fixed(proof?.get_mac()?, "mac")?,
            },
            Which::ContactRequest(request) => Self::ContactRequest(read_request(request?)?),
            Which::ContactAccept(done) => Self::ContactAccept(read_done(done?)?),
            // A reason of a later version still means no.
            Which::PairRefused(refusal) => Self::PairRefused(refusal.map_or(Refusal::Invalid, read_refusal)),
            Which::App(app) => Self::App(read_app(app?)?),
            Which::AppAck(ack) => Self::AppAck(read_ack(ack?)?),
            Which::Head(head) => Self::Head(read_head(head?)?),
            Which::ContactRefuse(()) => Self::ContactRefuse,
            Which::ContactKept(kept) => Self::ContactKept {
                name: kept?.get_name()?.to_string()?,
            },
            Which::Card(update) => Self::Card(read_card_update(update?)?),
            Which::Want(want) => Self::Want(read_want(want?)?),
            Which::NotMember(statement) => Self::NotMember(read_not_member(statement?)?),
            Which::Welcome(welcome) => Self::Welcome(read_welcome(welcome?)?),
        })
    }
}

/// Tells the link layer's own frames from the engine's, of which only the union tag is looked at.
///
/// # Errors
/// [`FrameError`], except that a kind of a later version is `Other`.
pub fn link_frame(bytes: &[u8]) -> Result<LinkFrame, FrameError> {
    let message = open(bytes)?;
    let root: schema::frame::Reader<'_> = message.get_root()?;
    let Ok(which) = root.which() else {
        return Ok(LinkFrame::Other);
    };
    Ok(match which {
        Which::Hello(hello) => LinkFrame::Hello(read_hello(hello?)?),
        Which::Bye(reason) => LinkFrame::Bye(read_bye(reason?)),
        Which::Ping(nonce) => LinkFrame::Ping(nonce),
        Which::Pong(nonce) => LinkFrame::Pong(nonce),
        Which::PairStart(_)
        | Which::PairReply(_)
        | Which::PairProof(_)
        | Which::ContactRequest(_)
        | Which::ContactAccept(_)
        | Which::PairRefused(_)
        | Which::App(_)
        | Which::AppAck(_)
        | Which::Head(_)
        | Which::ContactRefuse(())
        | Which::ContactKept(_)
        | Which::Card(_)
        | Which::Want(_)
        | Which::NotMember(_)
        | Which::Welcome(_) => LinkFrame::Other,
    })
}

/// Opens a Cap'n Proto message in stream framing, one segment, within the limits; also used for cards.
pub(crate) fn open(
    bytes: &[u8],
) -> Result<capnp::message::Reader<serialize::BufferSegments<&[u8]>>, FrameError> {
    let header = bytes.first_chunk::<HEADER>().ok_or(FrameError::Length)?;
    if body_len(header)?.checked_add(HEADER) != Some(bytes.len()) {
        return Err(FrameError::Length);
    }
    let mut options = ReaderOptions::new();
    // Each part is read once: who lets pointers share what they point at would make us copy more than came.
    options
        .traversal_limit_in_words(Some(bytes.len() / 8))
        .nesting_limit(NESTING);
    Ok(capnp::message::Reader::new(
        serialize::BufferSegments::new(bytes, options)?,
        options,
    ))
}

/// A field of a fixed number of bytes.
pub(crate) fn fixed<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], FrameError> {
    bytes.try_into().map_err(|_| FrameError::Field(field))
}

fn read_hello(from: schema::hello::Reader<'_>) -> Result<Hello, FrameError> {
    let (min, max) = (from.get_version_min(), from.get_version_max());
    if min > max {
        return Err(FrameError::Field("version"));
    }
    Ok(Hello {
        min,
        max,
        features: from.get_features(),
        session: fixed(from.get_session()?, "session")?,
        purpose: match from.get_purpose()? {
            schema::Purpose::Peer => Purpose::Peer,
            schema::Purpose::Pair => Purpose::Pair,
        },
    })
}

fn read_bye(reason: schema::Reason) -> Bye {
    match reason {
        schema::Reason::Replaced => Bye::Replaced,
        schema::Reason::Shutdown => Bye::Shutdown,
        schema::Reason::Protocol => Bye::Protocol,
    }
}

fn read_refusal(refusal: schema::Refusal) -> Refusal {
    match refusal {
        schema::Refusal::NoInvite => Refusal::NoInvite,
        schema::Refusal::WrongCode => Refusal::WrongCode,
        schema::Refusal::Used => Refusal::Used,
        schema::Refusal::Expired => Refusal::Expired,
        schema::Refusal::Cancelled => Refusal::Cancelled,
        schema::Refusal::Blocked => Refusal::Blocked,
        schema::Refusal::Busy => Refusal::Busy,
        schema::Refusal::Invalid => Refusal::Invalid,
    }
}

fn read_start(from: schema::pair_start::Reader<'_>) -> Result<PairStart, FrameError> {
    if from.has_link() {
        return Ok(PairStart::Link(LinkId(fixed(from.get_link()?, "link")?)));
    }
    Ok(PairStart::Code {
        nameplate: Nameplate::try_from(from.get_nameplate()).map_err(|_| FrameError::Field("nameplate"))?,
        spake: from.get_spake()?.to_vec(),
    })
}

fn read_card_update(from: schema::card_update::Reader<'_>) -> Result<CardUpdate, FrameError> {
    let card = from.has_card().then(|| read_card(from.get_card()?));
    Ok(CardUpdate {
        card: card.transpose()?,
        seen: from.get_seen(),
    })
}

fn read_card(from: schema::signed_card::Reader<'_>) -> Result<UnverifiedCard, FrameError> {
    Ok(UnverifiedCard {
        body: from.get_body()?.to_vec(),
        signature: fixed(from.get_signature()?, "card signature")?,
    })
}

fn read_request(from: schema::contact_request::Reader<'_>) -> Result<ContactRequest, FrameError> {
    let packages = from.get_key_packages()?;
    if !(1..=MAX_KEY_PACKAGES).contains(&packages.len()) {
        return Err(FrameError::Field("keyPackages"));
    }
    Ok(ContactRequest {
        identity: PeerId(fixed(from.get_identity()?, "identity")?),
        name: from.get_name()?.to_string()?,
        card: read_card(from.get_card()?)?,
        key_packages: packages
            .iter()
            .map(|package| Ok(package?.to_vec()))
            .collect::<Result<_, FrameError>>()?,
        proof: from
            .has_proof()
            .then(|| fixed(from.get_proof()?, "proof"))
            .transpose()?,
    })
}

fn read_done(from: schema::contact_accept::Reader<'_>) -> Result<ContactAccept, FrameError> {
    Ok(ContactAccept {
        name: from.get_name()?.to_string()?,
        card: read_card(from.get_card()?)?,
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        commit: CommitId(fixed(from.get_commit_id()?, "commitId")?),
        welcome: from.get_welcome()?.to_vec(),
    })
}

fn read_app(from: schema::app::Reader<'_>) -> Result<App, FrameError> {
    let seq = from.get_seq();
    if seq == 0 || i64::try_from(seq).is_err() {
        return Err(FrameError::Field("seq"));
    }
    Ok(App {
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        epoch_id: EpochId(fixed(from.get_epoch_id()?, "epochId")?),
        epoch: from.get_epoch(),
        member: MemberId(fixed(from.get_member()?, "member")?),
        stream: StreamId(fixed(from.get_stream()?, "stream")?),
        seq,
        message: MessageId(fixed(from.get_message_id()?, "messageId")?),
        mls: from.get_mls()?.to_vec(),
    })
}

fn read_ack(from: schema::app_ack::Reader<'_>) -> Result<AppAck, FrameError> {
    Ok(AppAck {
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        member: MemberId(fixed(from.get_member()?, "member")?),
        stream: read_stream(from.get_stream()?)?,
        signature: fixed(from.get_signature()?, "signature")?,
    })
}

fn read_head(from: schema::head::Reader<'_>) -> Result<Head, FrameError> {
    let streams = from.get_streams()?;
    if streams.len() > MAX_STREAMS {
        return Err(FrameError::Field("streams"));
    }
    let opened = from.get_opened()?;
    if opened.len() > MAX_STREAMS {
        return Err(FrameError::Field("opened"));
    }
    Ok(Head {
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        epoch_id: EpochId(fixed(from.get_epoch_id()?, "epochId")?),
        epoch: from.get_epoch(),
        member: MemberId(fixed(from.get_member()?, "member")?),
        streams: streams.iter().map(read_stream).collect::<Result<_, _>>()?,
        opened: opened
            .iter()
            .map(|one| Ok((MemberId(fixed(one.get_member()?, "member")?), one.get_count())))
            .collect::<Result<_, FrameError>>()?,
        signature: fixed(from.get_signature()?, "signature")?,
    })
}

fn read_want(from: schema::want::Reader<'_>) -> Result<Want, FrameError> {
    Ok(Want {
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        stream: read_stream(from.get_stream()?)?,
    })
}

fn read_not_member(from: schema::not_member::Reader<'_>) -> Result<NotMember, FrameError> {
    Ok(NotMember {
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        member: MemberId(fixed(from.get_member()?, "member")?),
        key_package: from.get_key_package()?.to_vec(),
        signature: fixed(from.get_signature()?, "signature")?,
    })
}

fn read_welcome(from: schema::welcome::Reader<'_>) -> Result<Welcome, FrameError> {
    Ok(Welcome {
        group: GroupId(fixed(from.get_group_id()?, "groupId")?),
        commit: CommitId(fixed(from.get_commit_id()?, "commitId")?),
        welcome: from.get_welcome()?.to_vec(),
    })
}

fn read_stream(from: schema::stream_ranges::Reader<'_>) -> Result<StreamRanges, FrameError> {
    let list = from.get_ranges()?;
    if list.len() > MAX_RANGES {
        return Err(FrameError::Field("ranges"));
    }
    let ranges = list
        .iter()
        .map(|range| Range {
            first: range.get_first(),
            last: range.get_last(),
        })
        .collect();
    Ok(StreamRanges {
        member: MemberId(fixed(from.get_member()?, "member")?),
        stream: StreamId(fixed(from.get_stream()?, "stream")?),
        ranges: Ranges::new(ranges).ok_or(FrameError::Field("ranges"))?,
    })
}
