//! What the engine wants done. Outputs exist only after their transaction is on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    card::LanKey,
    delivery::Delivery,
    engine::{CommandId, Failure, Purpose, Reply, SessionId},
    id::{MessageId, PeerId},
    invite::{JoinFailure, Nameplate},
};

/// Something the driver must do.
#[non_exhaustive]
pub enum Output {
    /// Send a frame, framing included, on a link.
    Send {
        /// The link.
        session: SessionId,
        /// Bytes to send as they are.
        frame: Vec<u8>,
    },
    /// End a link after what was queued for it has been sent.
    Close {
        /// The link.
        session: SessionId,
    },
    /// How many more bytes of frames may be read from a link, all together; `None`: any number.
    /// Takes effect before any later output is carried out.
    ReadBudget {
        /// The link.
        session: SessionId,
        /// Bytes, framing included.
        bytes: Option<u32>,
    },
    /// Dial somebody who was seen by `Input::Advert`; ends in `Input::Connected` or `Input::DialFailed`.
    Dial {
        /// Who.
        peer: PeerId,
        /// For Hello.
        purpose: Purpose,
    },
    /// Whom to look for, whom to let in, what to advertise. Replaces the one before.
    Directory(Directory),
    /// The answer to one command.
    Reply {
        /// Which.
        id: CommandId,
        /// Its outcome.
        result: Result<Reply, Failure>,
    },
    /// Something that people or programs may want to know.
    Event(Event),
    /// `Input::Tick` is wanted at this reading of the monotonic clock (or at once, when it has passed).
    WakeAt(Duration),
    /// Follows `Input::Ending`: what was still owed to peers was among the outputs before.
    Settled,
}

impl std::fmt::Debug for Output {
    /// Frames by their length, replies by their number: some carry keys and codes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Send { session, frame } => write!(f, "Send({session:?}, {} bytes)", frame.len()),
            Self::Close { session } => write!(f, "Close({session:?})"),
            Self::ReadBudget { session, bytes } => write!(f, "ReadBudget({session:?}, {bytes:?})"),
            Self::Dial { peer, purpose } => write!(f, "Dial({peer:?}, {purpose:?})"),
            Self::Directory(_) => f.write_str("Directory"),
            Self::Reply { id, .. } => write!(f, "Reply({id:?})"),
            Self::Event(event) => write!(f, "Event({event:?})"),
            Self::WakeAt(at) => write!(f, "WakeAt({at:?})"),
            Self::Settled => f.write_str("Settled"),
        }
    }
}

/// What the driver must know to answer the network without asking the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The key of the own mDNS token.
    pub own_lan_key: LanKey,
    /// Who may connect, and by which key their mDNS token is recognised (`None` until their card came).
    pub known: BTreeMap<PeerId, Option<LanKey>>,
    /// Those of `known` whose request to be a contact waits for the user: they may say little.
    pub requesters: BTreeSet<PeerId>,
    /// While an invite is open: what to advertise. Strangers may connect.
    pub inviting: Option<Nameplate>,
    /// Keys of the links to advertise, those that are open first. While there is one, strangers may connect.
    pub links: Vec<LanKey>,
    /// While a join is looking for its inviter.
    pub looking_for: Option<Nameplate>,
    /// Inviters (all of them in `known`) who are recognised by the key of a link of theirs, and dialled to pair.
    pub looking_for_links: BTreeMap<PeerId, LanKey>,
    /// The user waits for a join: look again and again.
    pub joining: bool,
}

impl Directory {
    /// Of a profile that knows nobody and waits for nobody.
    pub fn new(own_lan_key: LanKey) -> Self {
        Self {
            own_lan_key,
            known: BTreeMap::new(),
            requesters: BTreeSet::new(),
            inviting: None,
            links: Vec::new(),
            looking_for: None,
            looking_for_links: BTreeMap::new(),
            joining: false,
        }
    }

    /// Whether somebody whom nobody knows may connect.
    pub fn admits_strangers(&self) -> bool {
        self.inviting.is_some() || !self.links.is_empty()
    }
}

/// Which waits of the user a meeting is the end of: several may go on at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settles {
    /// The open invite by code was used.
    pub invite: bool,
    /// The search for the inviter of a code found whom it looked for.
    pub join: bool,
}

/// Something that happened, in the order of the transactions. A wake-up, not the truth: the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A pairing is complete: each is the other's contact, and both disks say so.
    Joined {
        /// Who.
        peer: PeerId,
        /// Their display name (hostile text, valid by `name::validate`).
        name: String,
        /// Both keys were verified by a code.
        verified: bool,
        /// What it is the end of.
        settles: Settles,
    },
    /// A join ended without a contact.
    JoinFailed(JoinFailure),
    /// A wrong code was tried against the open invite.
    GuessFailed {
        /// Guesses left; at 0 the invite is closed.
        left: u8,
    },
    /// The open invite was not used in time.
    InviteExpired,
    /// The engine was lost and opened again by its driver, who says so: open invites and joins are gone, all
    /// links are down, what was stored is there.
    Reopened,
    /// Somebody asks to be a contact, by a link: the user decides.
    Request {
        /// Who.
        peer: PeerId,
        /// Their display name (hostile text, valid by `name::validate`).
        name: String,
    },
    /// More requests came than are kept: the oldest was dropped.
    RequestDropped {
        /// Who.
        peer: PeerId,
        /// Their display name (hostile text, valid by `name::validate`).
        name: String,
    },
    /// A join by link: the inviter has our request on its disk, and decides.
    Asked {
        /// Who.
        peer: PeerId,
        /// Their display name (hostile text, valid by `name::validate`).
        name: String,
        /// What it is the end of.
        settles: Settles,
    },
    /// A person who was asked by link to be a contact said no.
    Declined {
        /// Who.
        peer: PeerId,
        /// Their display name, or short id where it never came.
        name: String,
    },
    /// Somebody new calls himself like a contact: nothing is shown or sent until the user has decided.
    Held {
        /// Who.
        peer: PeerId,
        /// As they are shown: `ben (new key)`.
        name: String,
        /// As they call themselves (hostile text, valid by `name::validate`).
        claimed: String,
        /// What it is the end of.
        settles: Settles,
    },
    /// What is known about a person changed: name, trust, blocked, removed, replaced.
    Contact(PeerId),
    /// A message was stored, own or another's.
    Message {
        /// Its row; rows ascend in the order of arrival.
        row: i64,
    },
    /// Some recipient's state of an own message changed, or its reason.
    Progress {
        /// Which message.
        id: MessageId,
        /// How far it got: the least advanced of its recipients.
        state: Delivery,
    },
    /// Messages of a contact are missing between those that came, for a minute now. They are asked for; when one
    /// comes after all, its row says that it is late. Each gap is told once.
    Missing {
        /// Row of the chat.
        chat: i64,
        /// How many.
        count: u64,
    },
    /// In the group that took the place of one that was given up, the peer says again to have what was never sent:
    /// nothing more goes there on this link.
    HeldBack {
        /// Row of the chat.
        chat: i64,
        /// Whose link it is.
        peer: PeerId,
    },
    /// A contact proved that this database is an older copy of itself: nothing is sent in this chat until a new
    /// group was made for it.
    RolledBack {
        /// Row of the chat.
        chat: i64,
    },
    /// A new group took the place of the one before.
    Renewed {
        /// Row of the chat.
        chat: i64,
    },
    /// A contact's link stands and may carry messages.
    Online(PeerId),
    /// A contact's link ended.
    Offline(PeerId),
}
