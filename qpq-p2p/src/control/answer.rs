//! One connection's calls, answered.

use std::{cell::RefCell, rc::Rc, time::Duration};

use capnp::{Error, ErrorKind};
use capnp_rpc::rpc_twoparty_capnp::Side;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    task::JoinError,
    time::timeout,
};

use super::{
    BUILD, Running, VERSION,
    server::{Counted, Desk},
    wire,
};
use crate::{
    control_capnp::{owner, sink},
    event::{Event, OwnerKind},
    failure::{Failure, FailureCode},
    request::Request,
    sink::{Sink, SinkError},
};

/// Requests that run at a time, of all connections. A chat has three.
const REQUESTS: usize = 256;

/// Requests of one connection.
const REQUESTS_EACH: usize = 16;

/// When the owner lets go, what needs no more than this comes to its end.
const LAST_STEP: Duration = Duration::from_millis(50);

/// A client for which there is no place is told so, and then has so long to go.
const REFUSAL: Duration = Duration::from_secs(1);

/// Answers one connection until its other end is gone.
pub(super) async fn until_gone(stream: UnixStream, desk: Rc<Desk>, is_own: bool) {
    let desk = Clerk {
        desk,
        is_own,
        waited_for: RefCell::default(),
        running: Rc::default(),
    };
    let owner: owner::Client = capnp_rpc::new_client(desk);
    // How it ended is nobody's business: a client may die at any time.
    let _ = wire::rpc(stream, Side::Server, Some(owner.client)).await;
}

/// Tells a client that there are too many.
pub(super) async fn refuse(stream: UnixStream) {
    let owner: owner::Client = capnp_rpc::new_client(Full);
    let _ = timeout(REFUSAL, wire::rpc(stream, Side::Server, Some(owner.client))).await;
}

/// Answers nobody: everything fails in the words of capnp's `overloaded`.
struct Full;

impl owner::Server for Full {
    async fn info(self: Rc<Self>, _: owner::InfoParams, _: owner::InfoResults) -> Result<(), Error> {
        Err(Error::overloaded("too many processes use this profile".into()))
    }
}

/// Answers one client.
struct Clerk {
    desk: Rc<Desk>,
    /// Of the process that owns the profile.
    is_own: bool,
    waited_for: RefCell<Option<Counted>>,
    /// As many as there are requests of this client.
    running: Rc<()>,
}

impl owner::Server for Clerk {
    async fn info(
        self: Rc<Self>,
        params: owner::InfoParams,
        mut results: owner::InfoResults,
    ) -> Result<(), Error> {
        let is_waited_for = !self.is_own && !params.get()?.get_lasting();
        self.waited_for
            .replace(is_waited_for.then(|| self.desk.wait_for()));
        let mut results = results.get();
        results.set_version(VERSION);
        results.set_build(BUILD);
        results.set_pid(std::process::id());
        let folder = self.desk.owner.profile().folder();
        results.set_profile(folder.display().to_string());
        results.set_kind(match self.desk.owner.kind() {
            OwnerKind::Chat => owner::Kind::Chat,
            OwnerKind::Daemon => owner::Kind::Daemon,
            OwnerKind::Brief => owner::Kind::Brief,
        });
        Ok(())
    }

    async fn run(
        self: Rc<Self>,
        params: owner::RunParams,
        mut results: owner::RunResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let sink = params.get_sink()?;
        let request = wire::decode(params.get_request()?.as_bytes())
            .map_err(|error| Error::failed(format!("the request was refused: {error}")))?;
        let outcome = self.answer(request, &sink).await?;
        if let Err(failure) = outcome {
            let text = wire::encode(&failure).map_err(|failure| Error::failed(failure.to_string()))?;
            results.get().set_failure(text);
        }
        Ok(())
    }

    async fn release(
        self: Rc<Self>,
        _: owner::ReleaseParams,
        mut results: owner::ReleaseResults,
    ) -> Result<(), Error> {
        let releasing = self.desk.owner.kind() == OwnerKind::Brief;
        results.get().set_releasing(releasing);
        if releasing {
            self.desk.release();
        }
        Ok(())
    }
}

impl Clerk {
    /// Runs a request on a thread of its own: whatever it waits for, and however long it reads the disk, nobody
    /// else waits. Dropped in the middle, it lets the request finish its step.
    async fn answer(&self, request: Request, sink: &sink::Client) -> Result<Result<(), Failure>, Error> {
        let mut cut = self.desk.cut();
        let counted = match self.desk.begin(REQUESTS) {
            Some(counted) if Rc::strong_count(&self.running) <= REQUESTS_EACH => counted,
            _ if *cut.borrow() => return Err(gone()),
            _ => return Err(Error::overloaded("too many requests at once".into())),
        };
        let _running = Rc::clone(&self.running);
        let (pages_in, mut pages) = mpsc::channel(1);
        let (close, closed) = watch::channel(false);
        let mut sink_here = PageSink {
            pages: pages_in,
            closed,
        };
        let (owner, runtime) = (self.desk.owner.clone(), self.desk.runtime.clone());
        let request = self.desk.runtime.spawn_blocking(move || {
            let _running = Running::begin();
            // Gone before it is said to have ended.
            let (owner, runtime) = (owner, runtime);
            runtime.block_on(owner.run(request, &mut sink_here))
        });
        // Counted until the request has ended, not only until its client is gone.
        let (outcome_in, outcome) = oneshot::channel();
        tokio::task::spawn_local(async move {
            let _ = outcome_in.send(request.await);
            drop(counted);
        });
        let mut outcome = std::pin::pin!(outcome);
        let mut unwanted = std::pin::pin!(sink.closed_request().send().promise);
        loop {
            tokio::select! {
                biased;
                () = is_cut(&mut cut) => {
                    // What is nearly done is not left in the dark.
                    let outcome = timeout(LAST_STEP, &mut outcome).await;
                    return told(outcome.map_err(|_| gone())?);
                }
                Some(page) = pages.recv() => tokio::select! {
                    () = is_cut(&mut cut) => return Err(gone()),
                    handed = hand_over(page, sink) => handed?,
                },
                outcome = &mut outcome => return told(outcome),
                // Also when the client is gone.
                _ = &mut unwanted, if !*close.borrow() => {
                    close.send_replace(true);
                }
            }
        }
    }
}

/// The outcome of a request, unless its thread was lost.
fn told(
    outcome: Result<Result<Result<(), Failure>, JoinError>, oneshot::error::RecvError>,
) -> Result<Result<(), Failure>, Error> {
    let outcome = outcome.map_err(|_| gone())?;
    // A panic's message may quote what is secret.
    outcome.map_err(|_| Error::failed("the request was lost".into()))
}

/// What a request answers that was cut short because the owner lets go: the client asks the next owner.
fn gone() -> Error {
    Error::disconnected("this process does not own the profile any more".into())
}

async fn is_cut(cut: &mut watch::Receiver<bool>) {
    if cut.wait_for(|cut| *cut).await.is_err() {
        std::future::pending().await
    }
}

/// Events on their way to a client, as JSON.
struct Page {
    events: Vec<String>,
    taken: oneshot::Sender<usize>,
}

/// One page at a time: a client that is slow stalls its own request, and holds no memory.
async fn hand_over(page: Page, sink: &sink::Client) -> Result<(), Error> {
    let mut call = sink.events_request();
    let count = u32::try_from(page.events.len()).map_err(|_| gone())?;
    let mut list = call.get().init_events(count);
    for (at, event) in (0..count).zip(&page.events) {
        list.set(at, event);
    }
    let answer = call.send().promise.await?;
    let taken = answer.get()?.get_taken().min(count);
    // The request may have ended.
    let _ = page.taken.send(usize::try_from(taken).unwrap_or_default());
    Ok(())
}

/// The sink of a request whose client is in another process.
struct PageSink {
    pages: mpsc::Sender<Page>,
    /// The client wants no more; what ends the request may still be told.
    closed: watch::Receiver<bool>,
}

impl Sink for PageSink {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        self.put_page(vec![event]).await.1
    }

    async fn put_page(&mut self, events: Vec<Event>) -> (usize, Result<(), SinkError>) {
        let mut events = events.into_iter().peekable();
        let mut taken = 0;
        while events.peek().is_some() {
            let (mut page, mut bytes) = (Vec::new(), 0);
            while page.len() < wire::PAGE_EVENTS
                && bytes < wire::PAGE_BYTES
                && let Some(event) = events.next()
            {
                let Ok(event) = wire::encode(&event) else {
                    return (taken, Err(SinkError(std::io::ErrorKind::InvalidData)));
                };
                bytes = bytes.saturating_add(event.len());
                page.push(event);
            }
            let count = page.len();
            let took = self.hand_over(page).await;
            taken += took;
            if took < count {
                return (taken, Err(SinkError(std::io::ErrorKind::BrokenPipe)));
            }
        }
        (taken, Ok(()))
    }

    async fn closed(&self) {
        // The other end is gone with the client.
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}

impl PageSink {
    /// How many were taken; none when the client is gone.
    async fn hand_over(&self, events: Vec<String>) -> usize {
        let (taken_in, taken) = oneshot::channel();
        let page = Page {
            events,
            taken: taken_in,
        };
        if self.pages.send(page).await.is_err() {
            return 0;
        }
        taken.await.unwrap_or_default()
    }
}

/// What a client makes of a call that failed as such.
pub(super) fn refused(kind: ErrorKind, why: &str) -> Failure {
    if kind == ErrorKind::Overloaded {
        return Failure::new(
            FailureCode::ProfileInUse,
            "the profile is in use",
            format!("the qpq that owns it says: {why}"),
            "try again; end some of the many qpq of this profile",
        );
    }
    Failure::unexpected("it is not known whether this was done", why)
}
