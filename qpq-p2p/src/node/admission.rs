//! The door: who may become a link at all. Strangers are closed right after the handshake unless an invite is
//! open, and a flood of them cannot keep a contact out.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iroh::{
    Endpoint,
    endpoint::{Connection, Incoming},
};
use qpq_core::engine::Directory;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::Instant,
};
use tracing::debug;

use super::{
    Clock,
    driver::Arrival,
    strangers::{Strangers, StrangersPlace},
};
use crate::{
    endpoint,
    link::{CloseCode, handshake},
};

/// Handshakes at once, and connections without a Hello: beyond, the oldest one makes room. An honest
/// handshake takes milliseconds, so who stalls is always older.
const PENDING: usize = 64;

/// With so many handshakes pending, a new one must first prove its address.
const RETRY_FROM: usize = 16;

/// A TLS handshake takes at most so long.
const TLS_DEADLINE: Duration = Duration::from_secs(3);

/// Accepts connections until the endpoint is closed.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    pub(crate) own: handshake::Own,
    pub(crate) directory: watch::Receiver<Option<Arc<Directory>>>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    pub(crate) clock: Clock,
    strangers: Strangers,
    greetings: Arc<Mutex<Pending>>,
}

/// What is done with a peer that TLS has identified.
#[derive(Debug)]
enum Admission {
    Contact,
    Stranger(StrangersPlace),
    Refused(CloseCode),
}

impl Door {
    pub(crate) fn new(
        endpoint: Endpoint,
        own: handshake::Own,
        directory: watch::Receiver<Option<Arc<Directory>>>,
        arrivals: mpsc::Sender<Arrival>,
        clock: Clock,
    ) -> Self {
        Self {
            endpoint,
            own,
            directory,
            arrivals,
            clock,
            strangers: Strangers::default(),
            greetings: Arc::default(),
        }
    }

    pub(crate) async fn run(self) {
        let mut handshakes = Pending::default();
        while let Some(incoming) = self.endpoint.accept().await {
            if handshakes.count() >= RETRY_FROM && !incoming.remote_addr_validated() {
                // An error only says that the address is validated, which was asked before.
                let _ = incoming.retry();
                continue;
            }
            let door = self.clone();
            handshakes.admit(tokio::spawn(door.shake_hands(incoming)).abort_handle());
        }
    }

    async fn shake_hands(self, incoming: Incoming) {
        let Ok(accepting) = incoming.accept() else { return };
        let Ok(Ok(connection)) = tokio::time::timeout(TLS_DEADLINE, accepting).await else {
            return;
        };
        let place = match self.judge(&connection) {
            Admission::Contact => None,
            Admission::Stranger(place) => Some(place),
            Admission::Refused(code) => return code.close(&connection),
        };
        let greetings = Arc::clone(&self.greetings);
        let greeting = tokio::spawn(self.greet(connection, place)).abort_handle();
        greetings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(greeting);
    }

    fn judge(&self, connection: &Connection) -> Admission {
        let directory = self.directory.borrow();
        let Some(directory) = directory.as_ref() else {
            return Admission::Refused(CloseCode::Busy);
        };
        if directory.known.contains_key(&endpoint::peer_of(connection)) {
            Admission::Contact
        } else if !directory.admits_strangers() {
            Admission::Refused(CloseCode::Stranger)
        } else {
            let idle = connection.clone();
            let place = self
                .strangers
                .enter(Instant::now(), move || CloseCode::Busy.close(&idle));
            place.map_or(Admission::Refused(CloseCode::Busy), Admission::Stranger)
        }
    }

    async fn greet(self, connection: Connection, place: Option<StrangersPlace>) {
        let clock = self.clock;
        match handshake::accept(connection, self.own, || clock().monotonic).await {
            Ok(opened) => {
                let _ = self.arrivals.send(Arrival::Accepted { opened, place }).await;
            }
            Err(error) => debug!(%error, "an incoming connection became no link"),
        }
    }
}

/// Tasks of the unproven, in the order of their arrival.
#[derive(Debug, Default)]
struct Pending(VecDeque<AbortHandle>);

impl Pending {
    fn count(&mut self) -> usize {
        self.0.retain(|task| !task.is_finished());
        self.0.len()
    }

    fn admit(&mut self, task: AbortHandle) {
        if self.count() >= PENDING
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_stalls_makes_room() {
        let mut pending = Pending::default();
        let first = tokio::spawn(std::future::pending::<()>());
        pending.admit(first.abort_handle());
        for _ in 1..PENDING {
            pending.admit(tokio::spawn(std::future::pending::<()>()).abort_handle());
        }
        assert!(!first.is_finished());
        pending.admit(tokio::spawn(std::future::pending::<()>()).abort_handle());
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(pending.0.len(), PENDING);
    }

    #[tokio::test]
    async fn who_is_done_takes_no_room() {
        let mut pending = Pending::default();
        for _ in 0..PENDING {
            let task = tokio::spawn(async {});
            let handle = task.abort_handle();
            assert!(task.await.is_ok());
            pending.admit(handle);
        }
        assert_eq!(pending.count(), 0);
    }
}
