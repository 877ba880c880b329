//! Finding the owner of a profile, or becoming it.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    ANSWER,
    connection::{Broken, Connection, not_answering},
    server::Server,
    socket::{self, SocketError, SocketPlace},
};
use crate::{
    event::OwnerKind,
    failure::Failure,
    node::NetworkSettings,
    owner::Owner,
    profile::{self, LockError, Profile, owner_note},
};

/// How often somebody looks again who is neither answered nor the owner.
const LOOK: Duration = Duration::from_millis(10);

/// Whoever is brief leaves a profile that became free to those who stay, for so long.
const MODESTY: Duration = Duration::from_millis(100);

/// Whoever let go of a profile leaves it to the one who asked, for so long.
const RELEASED: Duration = Duration::from_secs(1);

/// How a process gets at a profile.
pub struct Access {
    /// The profile's folder.
    pub folder: PathBuf,
    /// Where its socket is.
    pub socket: SocketPlace,
    /// How the network is used by whoever becomes the owner.
    pub network: NetworkSettings,
    /// What this process is as the owner.
    pub kind: OwnerKind,
    /// It goes on until somebody ends it: nobody has to wait for it.
    pub lasting: bool,
    /// Opens the profile, where this process becomes the owner or reads by itself.
    pub open: Box<dyn Fn() -> Result<Profile, Failure>>,
    /// Whether that asks somebody for a passphrase first. Fails where there is no profile to be opened.
    pub asks: Box<dyn Fn() -> Result<bool, Failure>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("folder", &self.folder)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A connection to the owner, which may be in this process.
pub(super) struct Attached {
    pub(super) connection: Connection,
    pub(super) server: Option<Server>,
}

/// Why this process comes to the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coming {
    /// It has just been started.
    First,
    /// Its owner is gone.
    Again,
    /// It owned the profile and was asked to let go.
    Released,
}

impl Access {
    /// Connects to the owner, or becomes it.
    pub(super) async fn attach(&self, coming: Coming) -> Result<Attached, Failure> {
        let began = Instant::now();
        let own_turn = match coming {
            Coming::First => began,
            Coming::Again if self.kind == OwnerKind::Brief => began + MODESTY,
            Coming::Again => began,
            Coming::Released => began + RELEASED,
        };
        let mut until = began + ANSWER;
        let mut asked = false;
        loop {
            if let Some(connection) = self.connect().await? {
                let may_let_go = connection.info().kind == OwnerKind::Brief && self.kind != OwnerKind::Brief;
                if asked || !may_let_go {
                    return Ok(Attached {
                        connection,
                        server: None,
                    });
                }
                // Once: whoever is faster than this process keeps the profile.
                asked = matches!(connection.release().await, Ok(true));
                until = Instant::now() + ANSWER + ANSWER;
                self.until_free(until).await;
            }
            let holder = if Instant::now() < own_turn {
                None
            } else {
                match self.own(&mut until).await? {
                    Ok(attached) => return Ok(attached),
                    Err(holder) => holder,
                }
            };
            if Instant::now() > until {
                return Err(not_answering(holder.or(owner_note(&self.folder).pid)));
            }
            sleep(LOOK).await;
        }
    }

    /// A connection to the owner, where there is one.
    pub(super) async fn connect(&self) -> Result<Option<Connection>, Failure> {
        // The owner says where it is: its environment may be another one.
        let noted = owner_note(&self.folder).socket;
        let own = match self.socket.path() {
            Ok(path) => Some(path),
            Err(SocketError::TooLong(_)) => None,
            Err(error) => return self.refused(error),
        };
        for path in noted
            .iter()
            .chain(own.as_ref().filter(|own| Some(*own) != noted.as_ref()))
        {
            if let Some(connection) = self.connect_to(path).await? {
                return Ok(Some(connection));
            }
        }
        Ok(None)
    }

    async fn connect_to(&self, path: &Path) -> Result<Option<Connection>, Failure> {
        let stream = match socket::connect(path).await {
            Ok(Some(stream)) => stream,
            Ok(None) => return Ok(None),
            Err(error) => return self.refused(error),
        };
        match Connection::open(stream, self.lasting).await {
            Ok(connection) => Ok(Some(connection)),
            Err(Broken::Gone) => Ok(None),
            Err(Broken::Failed(failure)) => Err(failure),
        }
    }

    /// A profile that is none says so in better words.
    fn refused<T>(&self, error: SocketError) -> Result<Option<T>, Failure> {
        if matches!(error, SocketError::NoProfile(_)) {
            (self.open)()?;
        }
        Err(error.into())
    }

    /// Waits until nobody holds the lock, or the time is over.
    async fn until_free(&self, until: Instant) {
        let noted = owner_note(&self.folder).pid;
        while noted.is_some() && owner_note(&self.folder).pid == noted && Instant::now() < until {
            sleep(LOOK).await;
        }
    }

    /// Becomes the owner, or tells who is.
    async fn own(&self, until: &mut Instant) -> Result<Result<Attached, Option<u32>>, Failure> {
        let asks = (self.asks)()?;
        // Before the profile is opened, which takes its time and memory: one process at a time does it.
        let mut lock = match profile::lock(&self.folder) {
            Ok(lock) => lock,
            Err(LockError::Held(holder)) => return Ok(Err(holder)),
            Err(error) => return Err(error.into()),
        };
        if asks {
            // Nobody waits for a lock while somebody types. What was typed is kept for the next round.
            drop(lock);
            (self.open)()?;
            *until = Instant::now() + ANSWER;
            return Ok(Err(None));
        }
        let profile = (self.open)()?;
        profile.upgrade(&lock)?;
        let bound = self.socket.bind()?;
        lock.tell_socket(bound.path());
        let owner = Owner::new(profile, lock, self.network.clone(), self.kind);
        let server = Server::start(owner, bound, Handle::current())?;
        let server = Some(server);
        let connection = self.connect_own(server.as_ref()).await?;
        Ok(Ok(Attached { connection, server }))
    }

    /// A connection within this process.
    pub(super) async fn connect_own(&self, server: Option<&Server>) -> Result<Connection, Failure> {
        let unexpected = |error| Failure::unexpected("the profile cannot be used", error);
        let stream = server.map(Server::connect).transpose().map_err(unexpected)?;
        let stream = stream.ok_or_else(|| not_answering(None))?;
        match Connection::open(stream, self.lasting).await {
            Ok(connection) => Ok(connection),
            Err(Broken::Gone) => Err(not_answering(Some(std::process::id()))),
            Err(Broken::Failed(failure)) => Err(failure),
        }
    }
}
