//! The protocol engine of a quicproquo peer: everything but sockets, clocks and threads.
//!
//! A peer is one [`engine::Engine`]. It takes inputs, keeps its state in one encrypted database, and gives back
//! outputs once they are durable. Whoever embeds it moves the bytes; `qpq-p2p` is such a driver.
//!
//! # Map
//! | to read about | begin at |
//! |---|---|
//! | what can happen and what comes of it | [`engine`]: `Input`, `Output`, `Command`, `Event`; [`time`] |
//! | who somebody is | [`identity`], [`id`], [`card`]; [`labels`]: what each signature and key is for |
//! | how two people meet | [`invite`]: the spoken code and its PAKE; [`words`]; [`contact`]: what comes of it |
//! | how they talk | `group`: MLS; [`delivery`]: who has which messages |
//! | how a group keeps one history | [`consensus`]: the rule, not wired into [`engine`] yet |
//! | what is on the wire | [`wire`]: frames, limits, rights; [`content`]: what MLS carries |
//! | what is on the disk | [`store`]: `qpq.db`; [`vault`]: `qpq-state.bin`, by `codec`; [`passphrase`] |
//! | what is shown to people | [`sanitize`], [`name`], [`base32`] |
//! | what is wiped | [`secret`] |
//! | where tests kill | [`failpoint`] |
//!
//! # Glossary
//! Words of RFC 9420 and RFC 9750 mean what they mean there. Ours:
//! - **nameplate**: the number in front of a spoken code, by which a joiner finds the inviter's advert.
//! - **card**: a signed statement of how to reach a member, made for one reader.
//! - **LAN key**: recognises its owner's mDNS token; contacts have it, strangers do not.
//! - **stream**: one life of a member in a group; sequence numbers count within it.
//! - **head**: a member's word on where it stands in a group; signed in [`wire`], not in [`consensus`].
//! - **evidence**: Commits and signed acks of them, what a group's chain of Commits follows from ([`consensus`]).
//! - **certificate**: acks of a Commit from more than half of the members of the epoch that it ends; not finality.
//! - **slot**: a Commit at the end of the chain that may still lose; the state before it is kept.
//! - **parked**: of a state on a branch that was left: kept for the way back, because keys were used in it.
//! - **intent**: what the user asked for, with the Commits that carried it; made again when they lose.
//! - **repair**: a message encrypted once more for those who lack it, under the same stream, number and id.
//! - **EpochId**, **CommitId**, **MemberId**: names that, unlike numbers, are unique on every branch ([`id`]).
//! - **directory**: what the driver must know to answer the network without asking the engine.
#![warn(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

pub mod base32;
pub mod card;
mod codec;
pub mod consensus;
pub mod contact;
pub mod content;
pub mod delivery;
pub mod engine;
pub mod failpoint;
mod group;
pub mod id;
pub mod identity;
pub mod invite;
pub mod labels;
pub mod name;
pub mod passphrase;
pub mod sanitize;
pub mod secret;
pub mod store;
pub mod time;
pub mod vault;
pub mod wire;
pub mod words;

/// Code that capnpc made from `schemas/`; private, because owned types with checked lengths stand before it.
macro_rules! generated {
    ($module:ident, $file:literal) => {
        #[allow(
            missing_docs,
            missing_debug_implementations,
            unreachable_pub,
            unused_qualifications,
            elided_lifetimes_in_paths,
            dead_code,
            clippy::all,
            clippy::restriction,
            clippy::nursery,
            clippy::pedantic,
            reason = "generated code"
        )]
        mod $module {
            include!(concat!(env!("OUT_DIR"), $file));
        }
    };
}
generated!(peer_capnp, "/peer_capnp.rs");
generated!(content_capnp, "/content_capnp.rs");
