//! The frames as owned values: what decoding yields and encoding takes.

use crate::{
    card::UnverifiedCard,
    delivery::Ranges,
    engine::Purpose,
    id::{CommitId, EpochId, GroupId, LinkId, MemberId, MessageId, PeerId, StreamId},
    invite::Nameplate,
};

/// An Ed25519 signature, 64 bytes.
pub type Signature = [u8; 64];

/// Any frame. One that came from the network is well-formed, and nothing more: its claims are unverified.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// First in both directions.
    Hello(Hello),
    /// Last before a wilful close.
    Bye(Bye),
    /// Asks for a [`Frame::Pong`] with the same number.
    Ping(u64),
    /// Answers a [`Frame::Ping`].
    Pong(u64),
    /// Joiner to inviter: begins a pairing by code.
    PairStart(PairStart),
    /// Inviter to joiner: its SPAKE2 message.
    PairReply {
        /// 33 bytes.
        spake: Vec<u8>,
    },
    /// Key confirmation, the joiner's first.
    PairProof {
        /// HMAC-SHA-256.
        mac: [u8; 32],
    },
    /// Joiner to inviter, once both proofs held.
    ContactRequest(ContactRequest),
    /// Inviter to joiner: the contact stands on the inviter's disk.
    ContactAccept(ContactAccept),
    /// Either to the other: no contact comes of this.
    PairRefused(Refusal),
    /// One MLS application message.
    App(App),
    /// What a member has of one stream.
    AppAck(AppAck),
    /// Where a member stands in a group; first frame for a group on a new link.
    Head(Head),
    /// Inviter to joiner: a person said no to the request.
    ContactRefuse,
    /// Inviter to joiner: the request by link is on disk and waits for a person.
    ContactKept {
        /// Display name of the inviter as sent: hostile.
        name: String,
    },
    /// How to reach the sender, and how much of that it knows about the receiver.
    Card(CardUpdate),
    /// Messages of the receiver that the sender lacks or cannot read.
    Want(Want),
    /// The sender has no state of a group.
    NotMember(NotMember),
    /// A new group of two in place of one that is lost.
    Welcome(Welcome),
}

impl std::fmt::Debug for Frame {
    /// The kind alone: cards carry keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame::{:?}", self.kind())
    }
}

/// The kind of a frame, without its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named like the frames of the same enum above")]
#[non_exhaustive]
pub enum Kind {
    Hello,
    Bye,
    Ping,
    Pong,
    PairStart,
    PairReply,
    PairProof,
    ContactRequest,
    ContactAccept,
    PairRefused,
    App,
    AppAck,
    Head,
    ContactRefuse,
    ContactKept,
    Card,
    Want,
    NotMember,
    Welcome,
}

impl Frame {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Bye(_) => Kind::Bye,
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
            Self::PairStart(_) => Kind::PairStart,
            Self::PairReply { .. } => Kind::PairReply,
            Self::PairProof { .. } => Kind::PairProof,
            Self::ContactRequest(_) => Kind::ContactRequest,
            Self::ContactAccept(_) => Kind::ContactAccept,
            Self::PairRefused(_) => Kind::PairRefused,
            Self::App(_) => Kind::App,
            Self::AppAck(_) => Kind::AppAck,
            Self::Head(_) => Kind::Head,
            Self::ContactRefuse => Kind::ContactRefuse,
            Self::ContactKept { .. } => Kind::ContactKept,
            Self::Card(_) => Kind::Card,
            Self::Want(_) => Kind::Want,
            Self::NotMember(_) => Kind::NotMember,
            Self::Welcome(_) => Kind::Welcome,
        }
    }
}

/// What the link layer must tell apart before anything reaches the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkFrame {
    /// See [`Frame::Hello`].
    Hello(Hello),
    /// See [`Frame::Bye`].
    Bye(Bye),
    /// See [`Frame::Ping`].
    Ping(u64),
    /// See [`Frame::Pong`].
    Pong(u64),
    /// For the engine; only its union tag was looked at.
    Other,
}

/// The first frame in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version spoken.
    pub min: u16,
    /// Newest version spoken.
    pub max: u16,
    /// Feature bits; none is defined yet, unknown ones are ignored.
    pub features: u64,
    /// Drawn at process start: another value means that the peer restarted.
    pub session: [u8; 8],
    /// Why the dialer dials; meaningless from the other side.
    pub purpose: Purpose,
}

/// Why a link is closed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bye {
    /// A newer link to the same peer stands.
    Replaced,
    /// The process ends.
    Shutdown,
    /// The other side broke the protocol, or no version is common.
    Protocol,
}

/// Which invite a joiner uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairStart {
    /// A spoken code.
    Code {
        /// Which invite.
        nameplate: Nameplate,
        /// The joiner's SPAKE2 message, 33 bytes.
        spake: Vec<u8>,
    },
    /// A link.
    Link(LinkId),
}

/// A proven joiner asks to be a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRequest {
    /// Who asks; must be the peer of the link.
    pub identity: PeerId,
    /// Display name as sent: hostile.
    pub name: String,
    /// How to reach the joiner.
    pub card: UnverifiedCard,
    /// 1 or 2, each an MLSMessage(KeyPackage) (RFC 9420 §10).
    pub key_packages: Vec<Vec<u8>>,
    /// By link: that the joiner knows its secret.
    pub proof: Option<[u8; 32]>,
}

/// The contact stands: everything the joiner needs to be in the group of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactAccept {
    /// Display name of the inviter as sent: hostile.
    pub name: String,
    /// How to reach the inviter.
    pub card: UnverifiedCard,
    /// The group.
    pub group: GroupId,
    /// The Commit that added the joiner.
    pub commit: CommitId,
    /// MLSMessage(Welcome) (RFC 9420 §12.4.3.1).
    pub welcome: Vec<u8>,
}

/// Why no contact comes of a pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Refusal {
    NoInvite,
    WrongCode,
    Used,
    Expired,
    Cancelled,
    Blocked,
    Busy,
    Invalid,
}

/// One MLS application message with what its `authenticated_data` repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Group.
    pub group: GroupId,
    /// Epoch it was encrypted in.
    pub epoch_id: EpochId,
    /// Hint only.
    pub epoch: u64,
    /// Author.
    pub member: MemberId,
    /// Stream of the author.
    pub stream: StreamId,
    /// Position in the stream, from 1, below 2^63.
    pub seq: u64,
    /// Its id for people.
    pub message: MessageId,
    /// MLSMessage(PrivateMessage) (RFC 9420 §6.3).
    pub mls: Vec<u8>,
}

/// A member's signed word on what it has of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppAck {
    /// Group.
    pub group: GroupId,
    /// Who has it.
    pub member: MemberId,
    /// Of what.
    pub stream: StreamRanges,
    /// By the member's leaf key.
    pub signature: Signature,
}

/// A member's signed word on where it stands in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Group.
    pub group: GroupId,
    /// Its epoch.
    pub epoch_id: EpochId,
    /// Hint only.
    pub epoch: u64,
    /// Who speaks.
    pub member: MemberId,
    /// What it has of every stream it knows, its own included.
    pub streams: Vec<StreamRanges>,
    /// How many messages each member encrypted in this epoch, as far as the speaker opened them.
    pub opened: Vec<(MemberId, u64)>,
    /// By the member's leaf key.
    pub signature: Signature,
}

/// The sender's card for the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardUpdate {
    /// Absent where `seen` is all there is to say.
    pub card: Option<UnverifiedCard>,
    /// The version of the receiver's own card that the sender has.
    pub seen: u64,
}

/// Messages of the receiver's own stream that are to be encrypted once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Group.
    pub group: GroupId,
    /// Which messages; the author is the receiver.
    pub stream: StreamRanges,
}

/// A signed word that its member has no state of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMember {
    /// Group.
    pub group: GroupId,
    /// Who speaks.
    pub member: MemberId,
    /// MLSMessage(KeyPackage) (RFC 9420 §10) for the group that takes its place.
    pub key_package: Vec<u8>,
    /// By the member's leaf key.
    pub signature: Signature,
}

/// Brings the receiver into a new group of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The new group.
    pub group: GroupId,
    /// The Commit that added the receiver.
    pub commit: CommitId,
    /// MLSMessage(Welcome) (RFC 9420 §12.4.3.1).
    pub welcome: Vec<u8>,
}

/// Which messages of one stream somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRanges {
    /// Author of the stream.
    pub member: MemberId,
    /// The stream.
    pub stream: StreamId,
    /// What is there.
    pub ranges: Ranges,
}
