//! What the rule needs of MLS: one group's live state, copies of it by epoch, and judgement of a Commit.

use crate::{
    content::GroupData,
    id::{CommitId, EpochId, MemberId, PeerId},
    labels::Context,
};

/// One member's view of one group, as MLS (RFC 9420) keeps it. It has one *live* state and any number of copies,
/// each under the EpochId it stands in; it decides nothing.
///
/// Every method that returns an error may have left half of its work behind: the caller rolls its transaction
/// back and loads everything again. What others sent and is no good is no error.
pub trait Mls {
    /// The storage failed; nothing is known of what was judged.
    type Error: std::error::Error;

    /// Whose view this is.
    fn own(&self) -> PeerId;

    /// The epoch of the live state; `None`: no group, or we were removed from it.
    fn epoch(&self) -> Option<&Epoch>;

    /// Makes the group, with ourselves as its one member.
    ///
    /// # Errors
    /// The storage failed.
    fn create(&mut self, data: &GroupData) -> Result<(), Self::Error>;

    /// Makes a KeyPackage (RFC 9420 §10) and keeps its private part.
    ///
    /// # Errors
    /// The storage failed.
    fn key_package(&mut self) -> Result<Vec<u8>, Self::Error>;

    /// Deletes the private part of a KeyPackage; none is no error.
    ///
    /// # Errors
    /// The storage failed.
    fn forget_key_package(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Whose KeyPackage this is, and its reference (RFC 9420 §5.2); `None`: nobody could be added by it.
    fn read_key_package(&self, bytes: &[u8]) -> Option<Package>;

    /// Stages a Commit with a path (RFC 9420 §12.4.1) on the live state, which keeps it as pending in place of any
    /// other; `None`: MLS does not allow it, and nothing changed.
    ///
    /// # Errors
    /// The storage failed.
    fn stage(&mut self, change: &Change, aad: &[u8]) -> Result<Option<Staged>, Self::Error>;

    /// Enters the epoch of the pending Commit.
    ///
    /// # Errors
    /// The storage failed, or nothing is pending.
    fn merge_pending(&mut self) -> Result<(), Self::Error>;

    /// What a Commit is, found out on a scratch copy of a state: the live one if it stands in `parent`, else the copy
    /// of it.
    ///
    /// # Errors
    /// The storage failed, or there is no state of that epoch.
    fn judge(&mut self, parent: &EpochId, commit: &[u8]) -> Result<Judgement, Self::Error>;

    /// Enters the epoch of somebody else's Commit that was judged to be valid here; a pending one is dropped.
    ///
    /// # Errors
    /// The storage failed.
    fn apply(&mut self, commit: &[u8]) -> Result<(), Self::Error>;

    /// Replaces the live state by the one that a Welcome (RFC 9420 §12.4.3.1) leads to, if `accept` agrees with it.
    /// `false`: it does not, or the Welcome is no good, and nothing was consumed.
    ///
    /// # Errors
    /// The storage failed.
    fn join(&mut self, welcome: &[u8], accept: &dyn Fn(&Epoch) -> bool) -> Result<bool, Self::Error>;

    /// Deletes the live state.
    ///
    /// # Errors
    /// The storage failed.
    fn abandon(&mut self) -> Result<(), Self::Error>;

    /// Copies the live state, its pending Commit included, under its EpochId: the rows of the group alone, never a
    /// KeyPackage, a PSK or a signature key.
    ///
    /// # Errors
    /// The storage failed, or there is no live state.
    fn snapshot(&mut self) -> Result<(), Self::Error>;

    /// Makes the copy of an epoch the live state. The copy is gone then: a state is in one place only.
    ///
    /// # Errors
    /// The storage failed, or there is no such copy.
    fn restore(&mut self, epoch: &EpochId) -> Result<(), Self::Error>;

    /// Deletes the copy of an epoch, its secrets included; none is no error.
    ///
    /// # Errors
    /// The storage failed.
    fn forget(&mut self, epoch: &EpochId) -> Result<(), Self::Error>;

    /// Encrypts an application message in the live state.
    ///
    /// # Errors
    /// The storage failed, or there is no live epoch.
    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Self::Error>;

    /// Opens an application message of an epoch: in the live state, whose ratchet advances, or on a scratch copy of
    /// another one. `None`: it cannot be opened there.
    ///
    /// # Errors
    /// The storage failed, or there is no state of that epoch.
    fn open(&mut self, epoch: &EpochId, message: &[u8]) -> Result<Option<Opened>, Self::Error>;

    /// Signs a statement with our identity.
    fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; 64];

    /// Whether a statement is its signer's.
    fn verify(&self, signer: &PeerId, context: Context, parts: &[&[u8]], signature: &[u8; 64]) -> bool;

    /// A way in which the rule is broken on purpose, to see that its tests notice.
    #[doc(hidden)]
    fn mutant(&self) -> Option<Mutant> {
        None
    }
}

/// One epoch of one branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Its name, different on every branch.
    pub id: EpochId,
    /// Its number (RFC 9420 §8.1), the same on every branch: a hint.
    pub number: u64,
    /// The members, in the order of their leaves.
    pub roster: Vec<Leaf>,
    /// The group's shared data.
    pub data: GroupData,
}

/// A member's leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Who it is.
    pub member: MemberId,
    /// Its encryption key (RFC 9420 §7.2): new with each Commit of its owner, and each time the owner is added.
    pub key: [u8; 32],
}

/// Somebody's KeyPackage, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Who would be added by it.
    pub member: MemberId,
    /// SHA-256 over its KeyPackageRef (RFC 9420 §5.2).
    pub reference: [u8; 32],
}

/// What a Commit of ours is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// KeyPackages of those to be added.
    pub adds: Vec<Vec<u8>>,
    /// Members to be removed; whoever is among the added as well is added again.
    pub removes: Vec<MemberId>,
    /// The group's data from then on.
    pub data: Option<GroupData>,
}

/// A Commit of ours that is pending.
#[derive(Debug, Clone)]
pub struct Staged {
    /// MLSMessage(PrivateMessage(Commit)).
    pub commit: Vec<u8>,
    /// MLSMessage(Welcome), when somebody is added.
    pub welcome: Option<Vec<u8>>,
}

/// What a Commit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Valid for MLS.
    Valid(Proposed),
    /// No valid Commit in that epoch, for anybody, ever.
    Invalid,
    /// It says that it is ours, and MLS cannot process what we encrypted ourselves: of a life whose disk is gone, or a
    /// forgery. Others can tell.
    Own,
}

impl Judgement {
    /// What a valid Commit proposes.
    pub fn proposed(self) -> Option<Proposed> {
        match self {
            Self::Valid(proposed) => Some(proposed),
            Self::Invalid | Self::Own => None,
        }
    }
}

/// What a Commit proposes, as everybody reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Who made it.
    pub author: MemberId,
    /// Who is added, and by which KeyPackage.
    pub adds: Vec<Package>,
    /// Who is removed; those added again included.
    pub removes: Vec<MemberId>,
    /// The group's data, when it is replaced.
    pub data: Option<GroupData>,
    /// Its `authenticated_data` (RFC 9420 §6.3).
    pub aad: Vec<u8>,
}

/// An application message, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it.
    pub sender: MemberId,
    /// Its `authenticated_data`.
    pub aad: Vec<u8>,
    /// What it says.
    pub plaintext: Vec<u8>,
}

impl Epoch {
    /// Whether somebody is a member in this epoch.
    pub fn has(&self, member: &MemberId) -> bool {
        self.leaf(member).is_some()
    }

    /// A member's leaf.
    pub fn leaf(&self, member: &MemberId) -> Option<&Leaf> {
        self.roster.iter().find(|leaf| leaf.member == *member)
    }

    /// The members, in the order of their leaves.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        self.roster.iter().map(|leaf| leaf.member)
    }

    /// Whether somebody may add and remove members here.
    pub fn is_admin(&self, member: &MemberId) -> bool {
        self.has(member) && self.data.admins.contains(member)
    }
}

impl CommitId {
    /// The name of a Commit: SHA-256 of its MLSMessage bytes.
    pub fn of(commit: &[u8]) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(commit).into())
    }
}

/// Faults of the rule that its tests must notice: what goes wrong without each of its parts.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// What was lost on the way is not sent again.
    NoRetransmission,
    /// Nobody is added again.
    NoReadd,
    /// Whoever is not in the roster of the moment is not owed anything any more.
    NeedTrimmedByRoster,
    /// The Commit that came first stays.
    ArrivalOrder,
    /// A back-end's: copies of states are kept by number instead of by EpochId.
    SnapshotByNumber,
    /// Acks do not count.
    NoCertificate,
    /// A branch that was left is entered again from its base.
    NoParking,
    /// Commits use no keys, as far as `spent` knows.
    SpentWithoutCommits,
    /// Of a branch that is left, only the tip is parked.
    ParkTipOnly,
    /// Parked states are thrown out while the way back is still being walked.
    EvictInside,
    /// A slot is settled when every stream was read to where its owner stood.
    SettleByPosition,
    /// Sequence numbers are those of a member, whatever life it is in.
    SeenByMember,
    /// A removal has no precedence.
    NoClass,
    /// The Commit of an admin has no precedence over another's.
    NoAdmins,
    /// Any member may remove any other.
    AnyoneRemoves,
    /// Messages for epochs not reached yet are dropped.
    NoStash,
    /// A Commit of ours that lost is not made again.
    NoReissue,
    /// A KeyPackage may be used for a Rejoin that answered another epoch.
    OldRejoin,
    /// Whoever says that we are no member is believed.
    UnaskedNotMember,
    /// A copy of a base is taken before the Commit is staged: the own Commit cannot be applied again.
    SnapshotBeforeStaging,
    /// An older copy of the disk goes on as if nothing had happened.
    IgnoreRestore,
}
