//! One profile, many processes: one owns it and answers the others over a Unix socket (`schemas/control.capnp`).
//!
//! | module | what lives there |
//! |---|---|
//! | `socket` | where the socket is, and who may be at its ends |
//! | `wire` | requests, events and failures as bounded text; the RPC streams |
//! | `server`, `answer` | the owner's end: a thread that answers the socket; one connection's calls |
//! | `attach`, `connection` | finding the owner or becoming it; one connection to it |
//! | `client`, `resume` | requests, whoever owns the profile meanwhile, and what is asked again of the next owner |
//!
//! Every request goes this way, also in the process that owns the profile: there it takes a pair of sockets instead
//! of the one with a name. So there is one path through the code, and a screen that stalls stalls nobody else.

mod answer;
mod attach;
mod client;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod resume;
mod server;
mod socket;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

pub use attach::Access;
pub use client::Client;
pub use socket::SocketPlace;

/// What the two ends must have in common. Requests are not understood across versions of the program, so `BUILD`
/// must be the same, too: two versions on one profile end in an error, not in half a conversation.
const VERSION: u32 = 1;
const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Requests that run in this process, and who waits for the last one to end.
static REQUESTS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A request that runs, until this is dropped.
struct Running;

impl Running {
    fn begin() -> Self {
        let mut count = REQUESTS.0.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add(1);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut count = REQUESTS.0.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        REQUESTS.1.notify_all();
    }
}

/// Waits until no request runs any more: one that opens the database at this moment must not have it taken away by the
/// end of the process. For after the runtime has ended, which lets none wait for anything but the disk.
pub(crate) fn wait_for_requests(at_most: Duration) {
    let count = REQUESTS.0.lock().unwrap_or_else(PoisonError::into_inner);
    drop(REQUESTS.1.wait_timeout_while(count, at_most, |count| *count > 0));
}

/// Nobody waits in silence for longer.
const ANSWER: Duration = Duration::from_secs(2);
