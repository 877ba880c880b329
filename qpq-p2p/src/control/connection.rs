//! One connection to the owner of a profile.

use std::{cell::Cell, rc::Rc, time::Duration};

use capnp::{Error, ErrorKind};
use capnp_rpc::rpc_twoparty_capnp::Side;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{ANSWER, BUILD, VERSION, answer::refused, wire};
use crate::{
    control_capnp::{owner, sink},
    event::{Event, OwnerKind},
    failure::{Failure, FailureCode},
    sink::Sink,
};

/// While a request runs, the owner is asked so often whether it is there.
const PULSE: Duration = Duration::from_secs(1);

/// So much of the time for an answer is for asking again.
const SECOND: Duration = Duration::from_millis(500);

/// A connection on which somebody of the same version has answered.
pub(super) struct Connection {
    owner: owner::Client,
    info: Info,
    lasting: bool,
    broken: Cell<bool>,
    rpc: AbortHandle,
}

/// Who owns the profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    pub(super) pid: u32,
    pub(super) kind: OwnerKind,
}

/// Why something was not answered.
#[derive(Debug)]
pub(super) enum Broken {
    /// The owner is gone, or lets go of the profile: whoever is next can be asked.
    Gone,
    /// That is so, or the owner does not go on; nobody else can be asked.
    Failed(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// capnp-rpc begins so what the other end answered; anything else happened on the way, such as half a message from
/// an owner that was killed.
const ANSWERED: &str = "remote exception: ";

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        if error.kind == ErrorKind::Disconnected || !error.extra.starts_with(ANSWERED) {
            Self::Gone
        } else {
            Self::Failed(refused(error.kind, error.extra.trim_start_matches(ANSWERED)))
        }
    }
}

/// An answer that is none.
fn nonsense(error: &Error) -> Broken {
    Broken::Failed(Failure::unexpected(
        "it is not known whether this was done",
        error,
    ))
}

impl Connection {
    /// Asks who is there. The other end must answer in time.
    pub(super) async fn open(stream: UnixStream, lasting: bool) -> Result<Self, Broken> {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let pid = pid.and_then(|pid| u32::try_from(pid).ok());
        let mut system = wire::rpc(stream, Side::Client, None);
        let owner: owner::Client = system.bootstrap(Side::Server);
        let rpc = tokio::task::spawn_local(async move {
            // Its end is seen by every call.
            let _ = system.await;
        });
        let mut connection = Self {
            owner,
            info: Info {
                pid: pid.unwrap_or_default(),
                kind: OwnerKind::Brief,
            },
            lasting,
            broken: Cell::new(false),
            rpc: rpc.abort_handle(),
        };
        connection.info = connection.ask(ANSWER).await?;
        Ok(connection)
    }

    pub(super) fn info(&self) -> Info {
        self.info
    }

    /// Whether nothing more comes of it.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get() || self.rpc.is_finished()
    }

    /// Nothing more is asked on it.
    pub(super) fn give_up(&self) {
        self.broken.set(true);
    }

    /// Asks for the profile; whether the owner lets go of it.
    pub(super) async fn release(&self) -> Result<bool, Broken> {
        let call = self.owner.release_request().send().promise;
        let answer = timeout(ANSWER, call).await.map_err(|_| self.no_answer())??;
        Ok(answer.get().map_err(|error| nonsense(&error))?.get_releasing())
    }

    /// Who is there.
    async fn ask(&self, patience: Duration) -> Result<Info, Broken> {
        let mut call = self.owner.info_request();
        call.get().set_lasting(self.lasting);
        let answer = timeout(patience, call.send().promise)
            .await
            .map_err(|_| self.no_answer())??;
        let info = answer.get().map_err(|error| nonsense(&error))?;
        let build = info.get_build().and_then(|build| Ok(build.to_str()?));
        let build = build.map_err(|error| nonsense(&error))?;
        if info.get_version() != VERSION || build != BUILD {
            return Err(other_version(info.get_pid(), build).into());
        }
        let kind = match info.get_kind().map_err(|error| nonsense(&error.into()))? {
            owner::Kind::Chat => OwnerKind::Chat,
            owner::Kind::Daemon => OwnerKind::Daemon,
            owner::Kind::Brief => OwnerKind::Brief,
        };
        let pid = info.get_pid();
        Ok(Info { pid, kind })
    }

    /// Has a request carried out; its outcome as the owner tells it.
    pub(super) async fn run(
        &self,
        request: &str,
        sink: &mut impl Sink,
    ) -> Result<Result<(), Failure>, Broken> {
        let (pages_in, mut pages) = mpsc::channel(1);
        let (close, closed) = watch::channel(false);
        let end: sink::Client = capnp_rpc::new_client(SinkEnd {
            pages: pages_in,
            closed,
        });
        let mut call = self.owner.run_request();
        call.get().set_request(request);
        call.get().set_sink(end);
        let mut outcome = std::pin::pin!(call.send().promise);
        let mut pulse = std::pin::pin!(self.pulse());
        let mut given_up = std::pin::pin!(sleep_until(far_future()));
        let mut not_taken = None;
        loop {
            tokio::select! {
                biased;
                Some(Page { events, taken }) = pages.recv() => {
                    let (count, result) = sink.put_page(events).await;
                    // A request that has ended does not mind.
                    let _ = taken.send(count);
                    if let Err(error) = result {
                        not_taken = Some(error);
                        close.send_replace(true);
                    }
                }
                answer = &mut outcome => {
                    let answer = answer?;
                    let failure = answer.get().and_then(|answer| answer.get_failure());
                    let outcome = read_outcome(failure.map_err(|error| nonsense(&error))?.as_bytes());
                    return Ok(not_taken.map_or(outcome, |error| Err(error.into())));
                }
                broken = &mut pulse => return Err(broken),
                () = &mut given_up => return Err(self.no_answer().into()),
                () = sink.closed(), if !*close.borrow() => {
                    close.send_replace(true);
                    given_up.as_mut().reset(Instant::now() + ANSWER);
                }
            }
        }
    }

    /// Ends when the owner is gone or stands still.
    async fn pulse(&self) -> Broken {
        loop {
            sleep(PULSE).await;
            // Asked twice: had this process been stopped, the first answer may have come and be too late.
            if let Err(Broken::Failed(_)) = self.ask(ANSWER.saturating_sub(SECOND)).await
                && let Err(broken) = self.ask(SECOND).await
            {
                return broken;
            }
        }
    }

    fn no_answer(&self) -> Failure {
        not_answering(Some(self.info.pid).filter(|pid| *pid > 0))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.rpc.abort();
    }
}

fn far_future() -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    Instant::now() + YEAR
}

fn read_outcome(failure: &[u8]) -> Result<(), Failure> {
    if failure.is_empty() {
        return Ok(());
    }
    let read = wire::decode(failure);
    Err(read.unwrap_or_else(|error| Failure::unexpected("it is not known what was done", error)))
}

/// The owner owns, and does not answer.
pub(super) fn not_answering(pid: Option<u32>) -> Failure {
    let who = pid.map_or_else(
        || "the qpq that owns it".to_owned(),
        |pid| format!("the qpq with process id {pid} owns it and"),
    );
    let hint = pid.map_or_else(
        || "end that one, or use another profile: --profile NAME".to_owned(),
        |pid| format!("is it stopped? kill -CONT {pid}; or end it: kill {pid}"),
    );
    Failure::new(
        FailureCode::ProfileInUse,
        "the profile is in use",
        format!("{who} does not answer"),
        hint,
    )
}

fn other_version(pid: u32, build: &str) -> Failure {
    let build: String = build.chars().take(32).collect();
    Failure::new(
        FailureCode::ProfileInUse,
        "the profile is in use",
        format!("another version of qpq ({build}), with process id {pid}, owns it; this one is {BUILD}"),
        format!("end it first: kill {pid}"),
    )
}

/// Events on their way to the sink, and where to say how many it took.
struct Page {
    events: Vec<Event>,
    taken: oneshot::Sender<usize>,
}

/// What the owner calls for one request.
struct SinkEnd {
    pages: mpsc::Sender<Page>,
    closed: watch::Receiver<bool>,
}

impl sink::Server for SinkEnd {
    async fn events(
        self: Rc<Self>,
        params: sink::EventsParams,
        mut results: sink::EventsResults,
    ) -> Result<(), Error> {
        let list = params.get()?.get_events()?;
        let mut events = Vec::new();
        for event in list {
            let event = wire::decode(event?.as_bytes());
            events.push(event.map_err(|error| Error::failed(format!("an event was refused: {error}")))?);
        }
        let (taken_in, taken) = oneshot::channel();
        let page = Page {
            events,
            taken: taken_in,
        };
        if self.pages.send(page).await.is_ok() {
            let taken = taken.await.unwrap_or_default();
            results.get().set_taken(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    async fn closed(self: Rc<Self>, _: sink::ClosedParams, _: sink::ClosedResults) -> Result<(), Error> {
        let mut closed = self.closed.clone();
        // Its other end goes with the request.
        let _ = closed.wait_for(|closed| *closed).await;
        Ok(())
    }
}
