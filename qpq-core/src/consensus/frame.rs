//! What members tell each other. Statements that third members rely on are signed; for the rest it is enough that
//! the link, or the sealed envelope, names its sender.

use sha2::{Digest as _, Sha256};

use super::mls::Mls;
use crate::{
    delivery::Ranges,
    id::{CommitId, EpochId, GroupId, MemberId, MessageId, PeerId, StreamId},
    labels::Context,
};

/// One thing to tell a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Evidence: a Commit, of the sender or of anybody else.
    Commit(Commit),
    /// Evidence: somebody entered an epoch by a Commit.
    Ack(Ack),
    /// An application message.
    App(App),
    /// What the sender has of one of the receiver's streams.
    AppAck(StreamId, Ranges),
    /// The way into the group.
    Welcome(Box<Welcome>),
    /// An invitation is not taken.
    Refuse,
    /// Where the sender stands.
    Head(Head),
    /// All that the sender has, by name.
    Have(Box<Have>),
    /// The sender wants to be added again.
    Rejoin(Box<Rejoin>, Vec<u8>),
    /// The sender wants to be removed.
    Leave(Leave),
    /// The receiver is no member of this branch.
    NotMember(Vec<Entry>),
}

/// A Commit (RFC 9420 §12.4) and why it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The epoch that it ends.
    pub parent: EpochId,
    /// MLSMessage(PrivateMessage(Commit)).
    pub bytes: Vec<u8>,
    /// Statements of members whom it removes or adds again; the Commit's `authenticated_data` is their digest.
    pub reasons: Reasons,
}

/// Signed statements that a Commit is made on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Of members who are removed because they asked for it.
    pub leaves: Vec<Leave>,
    /// Of members who are added again because they asked for it.
    pub rejoins: Vec<Rejoin>,
}

/// "I entered an epoch by this Commit": a vote for it, and a promise that nothing more is first sent before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The epoch that the Commit ended.
    pub parent: EpochId,
    /// The Commit.
    pub commit: CommitId,
    /// Who says so.
    pub signer: PeerId,
    /// The life it is in.
    pub stream: StreamId,
    /// Its place among the acks of that life, from 1.
    pub number: u64,
    /// How many messages it encrypted for the first time in `parent`.
    pub sent: u64,
    /// Over all that, for one group.
    pub signature: [u8; 64],
}

/// "I want to be removed."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// Who says so.
    pub signer: PeerId,
    /// The encryption keys of its leaf, now and in the epochs that it may still go back to: whichever branch wins, but
    /// void once its owner was added anew.
    pub leaves: Vec<[u8; 32]>,
    /// Who is to be the admin when the last one leaves.
    pub successor: Option<MemberId>,
    /// Over all that, for one group.
    pub signature: [u8; 64],
}

/// "I want to be added again, by this KeyPackage, to the epoch that you told me of."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejoin {
    /// Who says so.
    pub signer: PeerId,
    /// The epoch that it answers: the statement is good for a Commit on that one alone.
    pub answered: EpochId,
    /// SHA-256 over the KeyPackageRef.
    pub package: [u8; 32],
    /// Over all that, for one group.
    pub signature: [u8; 64],
}

/// An application message in MLS, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The epoch that it is encrypted in.
    pub epoch: EpochId,
    /// Who sent it.
    pub sender: MemberId,
    /// Its place; authenticated by MLS.
    pub header: Header,
    /// MLSMessage(PrivateMessage).
    pub bytes: Vec<u8>,
}

/// A message's `authenticated_data` (RFC 9420 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Life of its sender.
    pub stream: StreamId,
    /// Place in that life, from 1.
    pub seq: u64,
    /// Its name.
    pub message: MessageId,
    /// The epoch that it was first encrypted in; another than the one it comes in: it is a repair.
    pub first: EpochId,
}

impl Header {
    /// What [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (stream, rest) = bytes.split_at_checked(8)?;
        let (seq, rest) = rest.split_at_checked(8)?;
        let (message, first) = rest.split_at_checked(16)?;
        Some(Self {
            stream: stream.try_into().ok()?,
            seq: u64::from_be_bytes(seq.try_into().ok()?),
            message: message.try_into().ok()?,
            first: first.try_into().ok()?,
        })
    }

    /// `stream 8 | seq 8, big-endian | message 16 | first 16`.
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            &self.stream.0[..],
            &self.seq.to_be_bytes(),
            &self.message.0,
            &self.first.0,
        ]
        .concat()
    }
}

/// The way into the group: an MLS Welcome and the history that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// MLSMessage(Welcome) (RFC 9420 §12.4.3.1).
    pub bytes: Vec<u8>,
    /// The chain up to the Commit that it belongs to, which is the last entry.
    pub log: Vec<Entry>,
    /// Members who have not accepted their own invitation, as far as the sender knows.
    pub invited: Vec<MemberId>,
}

/// Where a member stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its epoch; `None`: it has no live state.
    pub epoch: Option<EpochId>,
    /// Over the evidence: equal when two members have the same.
    pub digest: [u8; 32],
    /// How far the sender read the receiver's streams: a receiver that never wrote so much is an older copy.
    pub heard: Vec<(StreamId, u64)>,
}

/// All that a member has, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    /// Its epoch; `None`: it has no live state.
    pub epoch: Option<EpochId>,
    /// Its chain.
    pub log: Vec<Entry>,
    /// Commits it has, or will not have.
    pub commits: Vec<(EpochId, CommitId)>,
    /// Acks it has.
    pub acks: Vec<AckName>,
    /// What it read of the receiver's streams.
    pub seen: Vec<(StreamId, Ranges)>,
    /// Whether the receiver is to answer with the same.
    pub ask: bool,
}

/// An ack without its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AckName {
    /// The epoch that the Commit ended.
    pub parent: EpochId,
    /// The Commit.
    pub commit: CommitId,
    /// Who gave it.
    pub member: MemberId,
    /// In which life.
    pub stream: StreamId,
    /// Its place among the acks of that life.
    pub number: u64,
    /// How many messages it tells of.
    pub sent: u64,
}

/// One Commit of a chain, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number of the epoch that it ended: a hint.
    pub number: u64,
    /// The epoch that it ended.
    pub parent: EpochId,
    /// The Commit.
    pub commit: CommitId,
    /// What it competes by.
    pub merit: Merit,
    /// The members of `parent`; told to newcomers alone.
    pub roster: Vec<MemberId>,
}

/// What of a Commit's key is the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merit {
    /// Who made it.
    pub author: MemberId,
    /// Whether it removes a member without adding them again.
    pub removes: bool,
    /// Whether its author was an admin in the parent epoch.
    pub by_admin: bool,
}

impl Reasons {
    /// SHA-256 over the statements, in their order.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let nowhere = GroupId([0; GroupId::LEN]);
        let leaves = self
            .leaves
            .iter()
            .map(|leave| (leave.parts(&nowhere), leave.signer, leave.signature));
        let rejoins = self
            .rejoins
            .iter()
            .map(|rejoin| (rejoin.parts(&nowhere), rejoin.signer, rejoin.signature));
        for (kind, (parts, signer, signature)) in
            leaves.map(|one| (1u8, one)).chain(rejoins.map(|one| (2, one)))
        {
            hash.update([kind]);
            for part in parts.iter().map(Vec::as_slice).chain([&signer.0[..], &signature]) {
                // Lengths, so that two lists never give the same bytes.
                hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }
}

/// A statement by a member's identity, for one group.
pub(super) trait Statement {
    const CONTEXT: Context;

    fn signer(&self) -> &PeerId;
    fn signature(&self) -> &[u8; 64];
    fn parts(&self, group: &GroupId) -> Vec<Vec<u8>>;

    fn member(&self) -> MemberId {
        MemberId::from(self.signer())
    }

    fn is_signed<M: Mls>(&self, mls: &M, group: &GroupId) -> bool {
        let parts = self.parts(group);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        mls.verify(self.signer(), Self::CONTEXT, &parts, self.signature())
    }

    fn signed_by<M: Mls>(&self, mls: &M, group: &GroupId) -> [u8; 64] {
        let parts = self.parts(group);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        mls.sign(Self::CONTEXT, &parts)
    }
}

impl Statement for Ack {
    const CONTEXT: Context = Context::Ack;

    fn signer(&self) -> &PeerId {
        &self.signer
    }

    fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    fn parts(&self, group: &GroupId) -> Vec<Vec<u8>> {
        vec![
            group.0.to_vec(),
            self.parent.0.to_vec(),
            self.commit.0.to_vec(),
            self.stream.0.to_vec(),
            self.number.to_be_bytes().to_vec(),
            self.sent.to_be_bytes().to_vec(),
        ]
    }
}

impl Statement for Leave {
    const CONTEXT: Context = Context::Leave;

    fn signer(&self) -> &PeerId {
        &self.signer
    }

    fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    fn parts(&self, group: &GroupId) -> Vec<Vec<u8>> {
        let successor = self.successor.map(|member| member.0.to_vec());
        vec![
            group.0.to_vec(),
            self.leaves.concat(),
            successor.unwrap_or_default(),
        ]
    }
}

impl Statement for Rejoin {
    const CONTEXT: Context = Context::Rejoin;

    fn signer(&self) -> &PeerId {
        &self.signer
    }

    fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    fn parts(&self, group: &GroupId) -> Vec<Vec<u8>> {
        vec![group.0.to_vec(), self.answered.0.to_vec(), self.package.to_vec()]
    }
}
