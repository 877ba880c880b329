//! Requests to a profile, whoever owns it meanwhile.

use std::{fmt, rc::Rc};

use tokio::{sync::Mutex, task::JoinSet};

use super::{
    attach::{Access, Attached, Coming},
    connection::{Broken, Connection},
    resume::{Course, Onward},
    server::Server,
    wire,
};
use crate::{
    failure::Failure,
    request::{Read, Request},
    sink::Sink,
};

/// A process's way to a profile. When the owner ends, it goes on with the next one, or becomes it.
pub struct Client(Rc<Way>);

/// What the requests of a client share.
struct Way {
    access: Access,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Rc<Connection>>,
    /// Where this process is the owner.
    server: Option<Server>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("access", &self.0.access)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the owner of a profile, or becomes it. To be called within a `LocalSet`.
    ///
    /// # Errors
    /// [`Failure`]; exit 8 when the owner does not answer.
    pub async fn attach(access: Access) -> Result<Self, Failure> {
        let client = Self(Rc::new(Way {
            access,
            state: Mutex::default(),
        }));
        client.connection().await?;
        Ok(client)
    }

    /// Answers what the store alone can answer: by the owner, where there is one, else from the disk.
    ///
    /// # Errors
    /// [`Failure`]; the events before it hold.
    pub async fn read(access: &Access, read: Read, sink: &mut impl Sink) -> Result<(), Failure> {
        let mut course = Course::new(Request::Read(read));
        while let Some(connection) = access.connect().await? {
            if let Some(outcome) = ask(&connection, &mut course, sink).await? {
                return outcome;
            }
        }
        let Request::Read(read) = course.request() else {
            return Ok(());
        };
        let outcome = (access.open)()?
            .answer(read, &mut Onward::new(sink, &mut course))
            .await;
        course.conclude(outcome)
    }

    /// Has a request carried out. When its owner ends in the middle, the next one is asked for the rest.
    ///
    /// # Errors
    /// [`Failure`]; the events before it hold.
    pub async fn run(&self, request: Request, sink: &mut impl Sink) -> Result<(), Failure> {
        let mut course = Course::new(request);
        loop {
            let connection = self.connection().await?;
            if let Some(outcome) = ask(&connection, &mut course, sink).await? {
                return outcome;
            }
        }
    }

    /// Who owns the profile now, and whether that is this process.
    ///
    /// # Errors
    /// [`Failure`]; exit 8 when the owner does not answer.
    pub async fn owner(&self) -> Result<(u32, bool), Failure> {
        let pid = self.connection().await?.info().pid;
        Ok((pid, pid == std::process::id()))
    }

    /// Ends. Where this process owns the profile, others that are about to end have two seconds to do so.
    pub async fn close(self) {
        let state = std::mem::take(&mut *self.0.state.lock().await);
        drop(state.connection);
        if let Some(server) = state.server {
            server.end().await;
        }
    }

    #[cfg(test)]
    pub(super) fn is_attaching(&self) -> bool {
        self.0.state.try_lock().is_err()
    }

    /// The connection of the moment. Another one is looked for by a task, which ends with this future: whoever asks may
    /// not be polled while the state is held, and must not hold up the other requests.
    async fn connection(&self) -> Result<Rc<Connection>, Failure> {
        if let Some(connection) = self.0.state.try_lock().ok().and_then(|state| state.standing()) {
            return Ok(connection);
        }
        let way = Rc::clone(&self.0);
        let mut looking = JoinSet::new();
        looking.spawn_local(async move { way.connection().await });
        let found = looking.join_next().await.expect("one task was spawned");
        found.unwrap_or_else(|error| Err(Failure::unexpected("the profile cannot be used", error)))
    }
}

impl State {
    fn standing(&self) -> Option<Rc<Connection>> {
        self.connection
            .as_ref()
            .filter(|one| !one.is_broken())
            .map(Rc::clone)
    }
}

impl Way {
    async fn connection(&self) -> Result<Rc<Connection>, Failure> {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.standing() {
            return Ok(connection);
        }
        let coming = match (state.connection.take(), state.server.take()) {
            (_, Some(server)) if server.goes_on() => {
                let connection = Rc::new(self.access.connect_own(Some(&server)).await?);
                state.server = Some(server);
                state.connection = Some(Rc::clone(&connection));
                return Ok(connection);
            }
            (_, Some(server)) => {
                server.end().await;
                Coming::Released
            }
            (Some(_), None) => Coming::Again,
            (None, None) => Coming::First,
        };
        let Attached { connection, server } = self.access.attach(coming).await?;
        let connection = Rc::new(connection);
        *state = State {
            connection: Some(Rc::clone(&connection)),
            server,
        };
        Ok(connection)
    }
}

/// Asks for what remains of a request; `None`: the owner is gone, and the next one is to be asked.
async fn ask(
    connection: &Connection,
    course: &mut Course,
    sink: &mut impl Sink,
) -> Result<Option<Result<(), Failure>>, Failure> {
    let request = wire::encode(&course.request())?;
    match connection.run(&request, &mut Onward::new(sink, course)).await {
        Ok(outcome) => Ok(Some(course.conclude(outcome))),
        Err(Broken::Failed(failure)) => Err(failure),
        Err(Broken::Gone) => {
            connection.give_up();
            if course.is_done() {
                return Ok(Some(Ok(())));
            }
            course.broke()?;
            Ok(None)
        }
    }
}
