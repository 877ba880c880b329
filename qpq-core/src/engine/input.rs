//! What the driver tells the engine.

use crate::{
    engine::Command,
    id::PeerId,
    invite::{ChannelBinding, Nameplate},
};

/// Names one command, so that its reply finds its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Names one link for its life: a late message of an old link cannot be mistaken for the new one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Why a link was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To talk to a contact.
    Peer,
    /// To become contacts: a stranger may speak only while an invite is open.
    Pair,
}

/// Everything that can happen to an engine.
#[non_exhaustive]
pub enum Input {
    /// The user wants something; answered by exactly one `Output::Reply`.
    Command {
        /// Chosen by the driver.
        id: CommandId,
        /// What is wanted.
        command: Command,
    },
    /// A link stands and both Hellos were exchanged.
    Connected {
        /// Chosen by the driver, never used again.
        session: SessionId,
        /// The peer as TLS proved it.
        peer: PeerId,
        /// Whether this side dialled.
        dialed: bool,
        /// As the dialer's Hello says.
        purpose: Purpose,
        /// What only the two ends of this very connection know.
        channel: ChannelBinding,
    },
    /// One whole frame came, framing included; Hello, Bye, Ping and Pong never get here.
    Frame {
        /// The link it came on.
        session: SessionId,
        /// Hostile bytes.
        bytes: Vec<u8>,
    },
    /// A link ended.
    Disconnected {
        /// The link.
        session: SessionId,
    },
    /// A dial asked for by `Output::Dial` did not lead to a link.
    DialFailed {
        /// Who did not answer.
        peer: PeerId,
    },
    /// Somebody on this network claims to wait under the nameplate that is being looked for
    /// (`Directory::looking_for`). A hint to dial, nothing more.
    Advert {
        /// Who the advert says it is; TLS will prove or refute it.
        peer: PeerId,
        /// The claimed nameplate.
        nameplate: Nameplate,
    },
    /// Time went by (see `Output::WakeAt`).
    Tick,
    /// The links are going to end by the driver's will; answered by `Output::Settled`.
    Ending,
}

impl std::fmt::Debug for Input {
    /// Frames by their length: some carry keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command { id, command } => write!(f, "Command({id:?}, {command:?})"),
            Self::Connected { session, peer, .. } => write!(f, "Connected({session:?}, {peer:?})"),
            Self::Frame { session, bytes } => write!(f, "Frame({session:?}, {} bytes)", bytes.len()),
            Self::Disconnected { session } => write!(f, "Disconnected({session:?})"),
            Self::DialFailed { peer } => write!(f, "DialFailed({peer:?})"),
            Self::Advert { peer, nameplate } => write!(f, "Advert({peer:?}, {nameplate:?})"),
            Self::Tick => f.write_str("Tick"),
            Self::Ending => f.write_str("Ending"),
        }
    }
}
