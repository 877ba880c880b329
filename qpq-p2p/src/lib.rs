//! The `qpq` program as a library: a profile on disk, its node on the network, and the command line over both.
//!
//! | module | what lives there |
//! |---|---|
//! | [`profile`] | folders, modes, the lock; making and opening a profile |
//! | [`config`], [`duration`] | settings and where they come from |
//! | [`request`], [`event`], [`failure`], [`text_id`] | what can be asked, and what is answered: plain data, the JSON contract |
//! | [`sink`] | where answers go |
//! | [`control`] | one profile for many processes: the socket of its owner |
//! | [`owner`], [`run`] | the process that owns a profile answers requests |
//! | [`node`] | the driver of the engine: links, discovery, timers |
//! | [`endpoint`], [`link`], [`lan`] | iroh; one framed stream to one peer; mDNS |
//! | [`cli`] | arguments in, lines out |
//! | [`failpoint`] | where tests kill, in debug builds |

pub mod cli;
pub mod config;
pub mod control;
pub mod duration;
pub mod endpoint;
pub mod event;
pub mod failpoint;
pub mod failure;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod lan;
pub mod link;
pub mod node;
pub mod owner;
pub mod profile;
pub mod request;
pub mod run;
pub mod sink;
pub mod text_id;

/// Code that capnpc made from `schemas/control.capnp`.
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
mod control_capnp {
    include!(concat!(env!("OUT_DIR"), "/control_capnp.rs"));
}
