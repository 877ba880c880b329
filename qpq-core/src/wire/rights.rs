//! The one table of who may send which frame to the engine.

use super::Kind;

/// What a link's peer is to this profile right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nobody known; admitted because an invite is open or because we dialled to join.
    Stranger,
    /// Proved to know the code on this link.
    Proven,
    /// Asked us by a link to be a contact; its request waits for a person.
    Requester,
    /// Asked by us to be a contact, not yet confirmed.
    Pending,
    /// A contact.
    Contact,
}

impl Role {
    /// Every role, for tests that walk the table.
    pub const ALL: [Self; 5] = [
        Self::Stranger,
        Self::Proven,
        Self::Requester,
        Self::Pending,
        Self::Contact,
    ];
}

/// Whether a peer in `role` may send a frame of this kind. Group frames are checked against the roster as well.
///
/// Hello, Bye, Ping and Pong end in the link layer: nobody may send them to the engine.
pub fn rights(kind: Kind, role: Role) -> bool {
    match kind {
        Kind::Hello | Kind::Bye | Kind::Ping | Kind::Pong => false,
        // A contact whose side of the pairing was lost may prove the code again.
        Kind::PairStart => matches!(role, Role::Stranger | Role::Requester | Role::Contact),
        Kind::PairProof => matches!(
            role,
            Role::Stranger | Role::Requester | Role::Pending | Role::Contact
        ),
        // Who asked before and got no answer proves a new code; a late reply to that is stale, not hostile.
        Kind::PairReply => role != Role::Proven,
        // Whom we asked may ask us at the same time.
        Kind::ContactRequest => matches!(
            role,
            Role::Proven | Role::Requester | Role::Pending | Role::Contact
        ),
        Kind::ContactAccept => matches!(role, Role::Pending | Role::Contact),
        Kind::PairRefused => true,
        Kind::ContactKept | Kind::ContactRefuse => role == Role::Pending,
        Kind::App | Kind::AppAck | Kind::Head | Kind::Card | Kind::Want | Kind::NotMember | Kind::Welcome => {
            role == Role::Contact
        }
    }
}
