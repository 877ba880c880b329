//! A running node: the engine on its thread, the endpoint, the local network, and the driver between them.
//!
//! ```text
//! commands, link readers, mDNS --inputs (256)--> engine thread --outputs--> driver --> links, callers, events
//! ```
//! Whoever has an input waits for room in the engine's queue by himself; the driver never does, so that it
//! always empties the outputs. The engine never waits for the driver. So nothing waits in a circle.

mod admission;
pub mod clock;
mod driver;
mod engine_thread;
mod redial;
mod strangers;
pub(crate) mod ticker;
pub mod ways;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use iroh::Endpoint;
use qpq_core::{
    engine::{Command, CommandId, Engine, EngineError, Event, Failure, Input, Output, Reply},
    identity::Identity,
    invite::Nameplate,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::{
    admission::Door,
    driver::{Driver, Question},
    engine_thread::{EngineThread, FromEngine, QUEUE, Replies, Worker},
};
pub use clock::Clock;
pub use ways::Ways;

use crate::{
    endpoint::{self, BindError, Interfaces},
    lan::{self, Lan, LanHandle, LanOptions},
    link::handshake::Own,
};

/// Events that a slow listener may lag behind.
const EVENTS: usize = 1_024;

/// Connections and results of dials that may wait for the driver.
const ARRIVALS: usize = 64;

/// The port of mDNS (RFC 6762 §11).
pub const MDNS_PORT: u16 = 5_353;

/// How the network is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Which interfaces.
    pub interfaces: Interfaces,
    /// The UDP port of mDNS; another one than 5353 only for tests.
    pub mdns_port: u16,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::All,
            mdns_port: MDNS_PORT,
        }
    }
}

/// Opens the engine again after it was lost.
pub type Reopen = Box<dyn FnMut() -> Result<(Engine, Vec<Output>), EngineError> + Send>;

/// What a node is made of.
pub struct NodeOptions {
    /// Opened by the caller.
    pub engine: Engine,
    /// What [`Engine::open`] returned.
    pub first_outputs: Vec<Output>,
    /// The key of the endpoint.
    pub identity: Identity,
    /// The display name, shown on the local network while an invite is open.
    pub own_name: String,
    /// How the network is used.
    pub settings: NetworkSettings,
    /// The clocks; [`clock::system`] outside of tests.
    pub clock: Clock,
    /// Opens the engine again after a failed commit.
    pub reopen: Reopen,
}

impl fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeOptions")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no endpoint to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The engine's thread was not started.
    #[error("no thread for the engine")]
    Thread(#[source] io::Error),
}

/// A running node. Dropped without [`Node::shutdown`], it ends in the background.
pub struct Node {
    engine: mpsc::Sender<Input>,
    replies: Replies,
    next_command: AtomicU64,
    events: broadcast::Sender<Event>,
    lan: LanHandle,
    questions: mpsc::Sender<Question>,
    ending: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

impl Node {
    /// Starts a node; needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: no endpoint or no thread. A network that is down is no error: the node waits for it.
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        let (engine, inputs) = mpsc::channel(QUEUE);
        let (outputs_in, outputs) = mpsc::unbounded_channel();
        let (replies, stop) = (Replies::default(), Arc::new(AtomicBool::new(false)));
        // An unbounded channel refuses only when its other end is gone: here it stands.
        let _ = outputs_in.send(FromEngine::Outputs(options.first_outputs));
        let own_side = OwnSide {
            endpoint: endpoint::bind(&options.identity, &options.settings.interfaces).await?,
            own: Own {
                peer: options.identity.peer_id(),
                session: lan::random(),
            },
            own_name: options.own_name,
            settings: options.settings,
            clock: Arc::clone(&options.clock),
        };
        let thread = EngineThread {
            inputs,
            outputs: outputs_in,
            replies: replies.clone(),
            clock: options.clock,
            reopen: options.reopen,
            stop: Arc::clone(&stop),
        };
        let thread = thread.start(options.engine).map_err(StartError::Thread)?;
        let side = EngineSide {
            engine: engine.clone(),
            outputs,
            replies: replies.clone(),
            worker: Worker::new(thread, stop, engine.clone()),
        };
        let (questions, asked) = mpsc::channel(ARRIVALS);
        let (driver, lan, events) = assemble(own_side, side, asked);
        let (stop_in, stopped) = oneshot::channel();
        let task = tokio::spawn(driver.run(stopped));
        let ending = Mutex::new(Some((stop_in, task)));
        Ok(Self {
            engine,
            replies,
            next_command: AtomicU64::new(1),
            events,
            lan,
            questions,
            ending,
        })
    }

    /// Has a command carried out; the reply comes when its outcome is on disk.
    ///
    /// # Errors
    /// The engine's [`Failure`]; `NotStored` also when the node is shutting down.
    pub async fn command(&self, command: Command) -> Result<Reply, Failure> {
        let id = CommandId(self.next_command.fetch_add(1, Ordering::Relaxed));
        let reply = self.replies.expect(id);
        if self.engine.send(Input::Command { id, command }).await.is_err() {
            return Err(Failure::NotStored);
        }
        reply.await.unwrap_or(Err(Failure::NotStored))
    }

    /// What happens from now on. A listener that lags more than 1,024 events behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The nameplates that others advertise on this network, as far as they were seen until now.
    pub fn nameplates_in_use(&self) -> BTreeSet<Nameplate> {
        self.lan.nameplates()
    }

    /// How contacts can be reached at this moment; `None` when the node is shutting down.
    pub async fn ways(&self) -> Option<Ways> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.ok()?;
        answer.await.ok()
    }

    /// Who is on the local network.
    pub(crate) fn lan(&self) -> &LanHandle {
        &self.lan
    }

    /// Says Bye to the peers, withdraws the own record, closes the endpoint and ends the engine's thread; takes
    /// about a second at most. A second call returns at once.
    pub async fn shutdown(&self) {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, task)) = ending {
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

/// What the driver stands on, on the side of the network.
struct OwnSide {
    endpoint: Endpoint,
    own: Own,
    own_name: String,
    settings: NetworkSettings,
    clock: Clock,
}

/// The driver's ends of the channels to the engine's thread.
struct EngineSide {
    engine: mpsc::Sender<Input>,
    outputs: mpsc::UnboundedReceiver<FromEngine>,
    replies: Replies,
    worker: Worker,
}

/// Starts discovery and the door, and puts the driver between them and the engine.
fn assemble(
    own: OwnSide,
    engine: EngineSide,
    questions: mpsc::Receiver<Question>,
) -> (Driver, LanHandle, broadcast::Sender<Event>) {
    let (directory, directory_seen) = watch::channel(None);
    let (news_in, news) = mpsc::channel(ARRIVALS);
    let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS);
    let (events, _) = broadcast::channel(EVENTS);
    let lan_options = LanOptions {
        interfaces: own.settings.interfaces,
        mdns_port: own.settings.mdns_port,
        ports: endpoint::ports(&own.endpoint),
        own: own.own.peer,
        own_name: own.own_name,
    };
    let lan = Lan::start(
        lan_options,
        directory_seen.clone(),
        news_in,
        engine.engine.clone(),
    );
    let lan_handle = lan.handle();
    let clock = own.clock;
    let door = Door::new(
        own.endpoint.clone(),
        own.own,
        directory_seen,
        arrivals_in.clone(),
        Arc::clone(&clock),
    );
    tokio::spawn(door.run());
    let driver = Driver::new(driver::Parts {
        endpoint: own.endpoint,
        own: own.own,
        lan,
        engine: engine.engine,
        outputs: engine.outputs,
        replies: engine.replies,
        events: events.clone(),
        directory,
        clock,
        arrivals_in,
        arrivals,
        news,
        questions,
        worker: engine.worker,
    });
    (driver, lan_handle, events)
}
