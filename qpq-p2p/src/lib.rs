//! The `qpq` program as a library: a profile on disk, its node on the network, and the command line over both.
//!
//! | module | what lives there |
//! |---|---|
//! | [`profile`] | folders, modes, the lock; making and opening a profile |
//! | [`config`], [`duration`] | settings and where they come from |
//! | [`request`], [`event`], [`failure`] | what can be asked, and what is answered: plain data, the JSON contract |
//! | [`sink`] | where answers go |
//! | [`owner`], [`run`] | the process that owns a profile answers requests |
//! | [`node`] | the driver of the engine: links, discovery, timers |
//! | [`endpoint`], [`link`], [`lan`] | iroh; one framed stream to one peer; mDNS |
//! | [`cli`] | arguments in, lines out |

pub mod cli;
pub mod config;
pub mod duration;
pub mod endpoint;
pub mod event;
pub mod failure;
pub mod lan;
pub mod link;
pub mod node;
pub mod owner;
pub mod profile;
pub mod request;
pub mod run;
pub mod sink;
