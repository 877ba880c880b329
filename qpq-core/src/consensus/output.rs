//! What a step gives back: what to send, and what to tell the user.

use super::{Frame, Header, What};
use crate::id::{CommitId, MemberId, MessageId};

/// What comes of a step, in order; it may leave once the step is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Tell somebody something.
    Send(MemberId, Frame),
    /// A message to show, for the first time.
    Message {
        /// Who wrote it.
        sender: MemberId,
        /// Its place.
        header: Header,
        /// What it says.
        body: Vec<u8>,
    },
    /// Somebody has a message of ours.
    Delivered(MessageId, MemberId),
    /// A message of ours will not reach somebody any more: they were removed.
    Failed(MessageId, MemberId),
    /// Somebody invites us: `accept` or `refuse`.
    Invitation(MemberId),
    /// We are in another epoch; `switched`: what was done since an older one was undone for it.
    Entered {
        /// Whether a branch was left.
        switched: bool,
    },
    /// We are a member no more.
    Removed,
    /// To do what the user asked for, a fresh KeyPackage of this person is needed (`Step::package`).
    NeedPackage(MemberId),
    /// What the user asked for cannot be done any more: we are no admin.
    NotAdmin(What),
    /// Somebody made two Commits on one epoch; both are kept as a proof.
    Equivocation(MemberId, CommitId, CommitId),
    /// Two branches went apart so far that this one was left for good, to be added again.
    Rejoining,
    /// Somebody has words of ours that this database does not know: it is an older copy. Nothing leaves until
    /// `Step::restored` is called.
    OlderCopy,
    /// A new life has begun; the group is joined anew.
    Restored,
}
