//! The owner's end: a thread that answers the socket, and the order in which an owner lets go.

use std::{
    cell::{Cell, RefCell},
    io,
    os::unix::net::UnixStream as StdStream,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
    task::{JoinSet, LocalSet},
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    answer,
    socket::{Bound, check_peer},
};
use crate::{failure::Failure, owner::Owner};

/// So many connections at a time; each process of a user has one.
const CONNECTIONS: usize = 64;

/// An owner that has done its own work stays so long for others that are about to end as well.
const LINGER: Duration = Duration::from_secs(2);

/// A request that is told to end has so long for the step it is in.
const STEP: Duration = Duration::from_millis(500);

/// How long after a failed `accept` the next one is tried: without free file numbers it fails at once.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The thread that answers. Dropped, it ends in the background.
#[derive(Debug)]
pub(super) struct Server {
    own: mpsc::UnboundedSender<StdStream>,
    ending: watch::Sender<Ending>,
    ended: oneshot::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// As soon as nobody is worth waiting for.
    WhenQuiet,
    AtOnce,
}

impl Server {
    /// Starts to answer. Requests run on `runtime`, so that nothing of them is on the thread which answers.
    pub(super) fn start(owner: Owner, bound: Bound, runtime: Handle) -> Result<Self, Failure> {
        let unexpected = |error| Failure::unexpected("the profile cannot be shared", error);
        let (own, own_ends) = mpsc::unbounded_channel();
        let (ending, _) = watch::channel(Ending::No);
        let (ended_in, ended) = oneshot::channel();
        let local = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unexpected)?;
        let told = ending.clone();
        let answer = move || {
            let tasks = LocalSet::new();
            let desk = Rc::new(Desk::new(Arc::new(owner), runtime, told));
            tasks.block_on(&local, serve(Rc::clone(&desk), bound, own_ends));
            // Connections first, then the lock: whoever sees the one gone finds the other free.
            drop(tasks);
            drop(local);
            drop(desk);
            let _ = ended_in.send(());
        };
        let thread = thread::Builder::new()
            .name("qpq-control".to_owned())
            .spawn(answer)
            .map_err(unexpected)?;
        Ok(Self {
            own,
            ending,
            ended,
            thread,
        })
    }

    /// A connection of the process that owns the profile.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        let (near, far) = StdStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        self.own.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        UnixStream::from_std(near)
    }

    /// Whether it has not been asked to let go.
    pub(super) fn goes_on(&self) -> bool {
        *self.ending.borrow() == Ending::No && !self.thread.is_finished()
    }

    /// Ends when nobody is worth waiting for; returns when the profile is free.
    pub(super) async fn end(self) {
        let again = |ending: &mut Ending| {
            let begins = *ending == Ending::No;
            if begins {
                *ending = Ending::WhenQuiet;
            }
            begins
        };
        self.ending.send_if_modified(again);
        // The thread sends it as its last deed, or has panicked.
        let _ = self.ended.await;
        let _ = self.thread.join();
    }
}

/// What all connections share.
pub(super) struct Desk {
    pub(super) owner: Arc<Owner>,
    pub(super) runtime: Handle,
    ending: watch::Sender<Ending>,
    /// True from the moment on when no request may answer any more.
    cut: watch::Sender<bool>,
    running: Cell<usize>,
    waited_for: Cell<usize>,
    /// Something above became less.
    less: Notify,
}

impl Desk {
    fn new(owner: Arc<Owner>, runtime: Handle, ending: watch::Sender<Ending>) -> Self {
        let (cut, _) = watch::channel(false);
        Self {
            owner,
            runtime,
            ending,
            cut,
            running: Cell::new(0),
            waited_for: Cell::new(0),
            less: Notify::new(),
        }
    }

    /// Lets go of the profile for somebody who asked.
    pub(super) fn release(&self) {
        self.ending.send_replace(Ending::AtOnce);
    }

    /// Becomes true when no request may answer any more.
    pub(super) fn cut(&self) -> watch::Receiver<bool> {
        self.cut.subscribe()
    }

    /// A request runs until this is dropped; `None`: no more may.
    pub(super) fn begin(self: &Rc<Self>, limit: usize) -> Option<Counted> {
        (self.running.get() < limit && !*self.cut.borrow()).then(|| Counted::new(self, |desk| &desk.running))
    }

    /// A client is worth waiting for until this is dropped.
    pub(super) fn wait_for(self: &Rc<Self>) -> Counted {
        Counted::new(self, |desk| &desk.waited_for)
    }

    async fn becomes_zero(&self, count: &Cell<usize>) {
        while count.get() > 0 {
            self.less.notified().await;
        }
    }

    /// Ends when it is time to let go.
    async fn ends(&self) {
        let mut ending = self.ending.subscribe();
        // The sender is ours.
        let _ = ending.wait_for(|ending| *ending != Ending::No).await;
        let quiet = timeout(LINGER, self.becomes_zero(&self.waited_for));
        tokio::select! {
            _ = quiet => {}
            _ = ending.wait_for(|ending| *ending == Ending::AtOnce) => {}
        }
    }
}

/// One of a number that is counted, until it is dropped.
pub(super) struct Counted {
    desk: Rc<Desk>,
    count: fn(&Desk) -> &Cell<usize>,
}

impl Counted {
    fn new(desk: &Rc<Desk>, count: fn(&Desk) -> &Cell<usize>) -> Self {
        let cell = count(desk);
        cell.set(cell.get().saturating_add(1));
        let desk = Rc::clone(desk);
        Self { desk, count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let cell = (self.count)(&self.desk);
        cell.set(cell.get().saturating_sub(1));
        self.desk.less.notify_one();
    }
}

/// Answers until it is time to let go, then lets go in order.
async fn serve(desk: Rc<Desk>, mut bound: Bound, mut own: mpsc::UnboundedReceiver<StdStream>) {
    let listener = bound.listener();
    if let Err(error) = &listener {
        warn!(%error, "other processes cannot use this profile meanwhile");
    }
    let listener = listener.ok();
    // Panics in one connection are its own.
    let connections = RefCell::new(JoinSet::new());
    let answering = async {
        loop {
            tokio::select! {
                stream = accept(listener.as_ref()) => admit(stream, &bound, &desk, &connections),
                Some(stream) = own.recv() => {
                    if let Ok(stream) = UnixStream::from_std(stream) {
                        connections.borrow_mut().spawn_local(answer::until_gone(stream, Rc::clone(&desk), true));
                    }
                }
                () = std::future::poll_fn(|context| reap(&connections, context)) => {}
            }
        }
    };
    tokio::select! {
        () = answering => {}
        () = desk.ends() => {}
    }
    // No name, no new clients; and what is cut short is asked again of the next owner.
    drop(bound);
    desk.cut.send_replace(true);
    let _ = timeout(STEP, desk.becomes_zero(&desk.running)).await;
    desk.owner.close().await;
}

/// Forgets connections that have ended.
fn reap(connections: &RefCell<JoinSet<()>>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
    match connections.borrow_mut().poll_join_next(context) {
        std::task::Poll::Ready(Some(Err(error))) => {
            debug!(%error, "a connection of another process was lost");
            std::task::Poll::Ready(())
        }
        std::task::Poll::Ready(Some(Ok(()))) => std::task::Poll::Ready(()),
        // Looked at again with the next connection.
        std::task::Poll::Ready(None) | std::task::Poll::Pending => std::task::Poll::Pending,
    }
}

async fn accept(listener: Option<&UnixListener>) -> UnixStream {
    let Some(listener) = listener else {
        std::future::pending().await
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                debug!(%error, "nobody was let in");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn admit(stream: UnixStream, bound: &Bound, desk: &Rc<Desk>, connections: &RefCell<JoinSet<()>>) {
    if let Err(error) = check_peer(&stream, bound.path()) {
        warn!(%error, "somebody was turned away");
        return;
    }
    let mut connections = connections.borrow_mut();
    let desk = Rc::clone(desk);
    if connections.len() < CONNECTIONS {
        connections.spawn_local(answer::until_gone(stream, desk, false));
    } else if connections.len() < CONNECTIONS.saturating_mul(2) {
        // They hear why, and have a moment to do so.
        connections.spawn_local(answer::refuse(stream));
    }
}
