//! The engine's own thread: everything that waits is handled, then committed once, then released.
//!
//! It blocks on the disk and on its queue of inputs, never on the driver: the way back is unbounded, and
//! bounded all the same by the inputs, of which at most 256 wait and as many are in work.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use qpq_core::engine::{CommandId, Engine, Failure, Input, Output, Reply};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use super::{Clock, Reopen};
use crate::failure::with_causes;

/// Inputs that may wait, and the largest batch of one commit.
pub(crate) const QUEUE: usize = 256;

/// Waits between two attempts to open the engine again.
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_LONGEST: Duration = Duration::from_secs(5);

/// An engine that was lost sooner was opened in vain: the waits go on where they were.
const SETTLED: Duration = Duration::from_secs(10);

/// How often a thread without an engine looks at its queue.
const REFUSE_EVERY: Duration = Duration::from_millis(20);

/// What the driver hears.
#[derive(Debug)]
pub(crate) enum FromEngine {
    /// The outputs of one commit, in order.
    Outputs(Vec<Output>),
    /// The engine was lost: no link that stands now is known to the next one.
    Lost,
    /// There is an engine again, with its first outputs. Links that were announced to nobody in between must
    /// go as well.
    Reopened(Vec<Output>),
}

type Callers = BTreeMap<CommandId, oneshot::Sender<Result<Reply, Failure>>>;

/// Callers that wait for their reply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replies(Arc<Mutex<Callers>>);

impl Replies {
    pub(crate) fn expect(&self, id: CommandId) -> oneshot::Receiver<Result<Reply, Failure>> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, sender);
        receiver
    }

    pub(crate) fn answer(&self, id: CommandId, result: Result<Reply, Failure>) {
        if let Some(caller) = self.lock().remove(&id) {
            // The caller may have given up.
            let _ = caller.send(result);
        }
    }

    /// Whoever still waits hears that nothing was stored.
    pub(crate) fn drop_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Callers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
pub(crate) struct EngineThread {
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) outputs: mpsc::UnboundedSender<FromEngine>,
    pub(crate) replies: Replies,
    pub(crate) clock: Clock,
    pub(crate) reopen: Reopen,
    /// Set before a last input: the thread ends when its queue is empty.
    pub(crate) stop: Arc<AtomicBool>,
}

/// The thread, as whoever ends it holds it, and waits for it: a process that ended while the thread closes the
/// database would take SQLite and its cryptography away under it, and die of that.
pub(crate) struct Worker {
    thread: Option<thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    inputs: mpsc::Sender<Input>,
}

impl Worker {
    pub(crate) fn new(
        thread: thread::JoinHandle<()>,
        stop: Arc<AtomicBool>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        Self {
            thread: Some(thread),
            stop,
            inputs,
        }
    }
}

impl Drop for Worker {
    /// Has the thread end when its queue is empty, and waits for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes a thread that waits; a full queue means that it does not.
        let _ = self.inputs.try_send(Input::Tick);
        // It has panicked, or ends as soon as the disk lets it.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

impl EngineThread {
    /// Starts the thread; it ends by `stop` or when nobody can send inputs any more.
    pub(crate) fn start(self, engine: Engine) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new()
            .name("qpq-engine".to_owned())
            .spawn(move || self.run(engine))
    }

    fn run(mut self, engine: Engine) {
        let (mut engine, mut since, mut wait) = (Some(engine), Instant::now(), Duration::ZERO);
        while let Some(batch) = self.next_batch() {
            let commands: Vec<CommandId> = batch.iter().filter_map(command_id).collect();
            let done = engine
                .as_mut()
                .map_or(Err(Failure::NotStored), |engine| self.step(engine, batch));
            if let Err(failure) = done {
                // First the engine's connection to the database must be closed.
                drop(engine.take());
                commands
                    .into_iter()
                    .for_each(|id| self.replies.answer(id, Err(failure.clone())));
                let _ = self.outputs.send(FromEngine::Lost);
                if since.elapsed() >= SETTLED {
                    wait = Duration::ZERO;
                }
                engine = self.reopen(&mut wait, failure);
                since = Instant::now();
            }
        }
        // The queue must be closed before its callers are let go, or a late one would wait for ever.
        drop(self.inputs);
        self.replies.drop_all();
    }

    /// Waits for an input and takes all that wait behind it.
    fn next_batch(&mut self) -> Option<Vec<Input>> {
        let first = match self.inputs.try_recv() {
            Ok(first) => first,
            Err(_) if self.stop.load(Ordering::Acquire) => return None,
            Err(_) => self.inputs.blocking_recv()?,
        };
        let mut batch = vec![first];
        while batch.len() < QUEUE
            && let Ok(next) = self.inputs.try_recv()
        {
            batch.push(next);
        }
        Some(batch)
    }

    /// One transaction. After an error, which is for whoever waits, the engine must not be used any more.
    fn step(&self, engine: &mut Engine, batch: Vec<Input>) -> Result<(), Failure> {
        let mut failure = Failure::NotStored;
        // A panic is our bug; it costs this batch, which the database rolls back, and not the process.
        let committed = catch_unwind(AssertUnwindSafe(|| {
            for input in batch {
                // What follows from a refusal, a failed reply too, is among the outputs.
                if let Err(error) = engine.handle(input, (self.clock)()) {
                    debug!(%error, "an input was refused");
                    if error.is_damage() {
                        failure = Failure::Damaged;
                    }
                }
            }
            engine.commit()
        }));
        match committed {
            Ok(Ok(outputs)) => {
                let _ = self.outputs.send(FromEngine::Outputs(outputs));
                Ok(())
            }
            Ok(Err(error)) => {
                error!(error = %with_causes(&error), "nothing could be stored");
                Err(if error.is_damage() {
                    Failure::Damaged
                } else {
                    failure
                })
            }
            Err(_) => {
                error!("the engine panicked");
                Err(Failure::NotStored)
            }
        }
    }

    /// Opens the engine again, however long it takes; meanwhile commands are answered with what happened. The first
    /// attempt is made after `wait`, which grows with each.
    fn reopen(&mut self, wait: &mut Duration, mut failure: Failure) -> Option<Engine> {
        loop {
            self.refuse_for(*wait, &failure);
            *wait = wait.saturating_mul(2).clamp(REOPEN_FIRST, REOPEN_LONGEST);
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            match catch_unwind(AssertUnwindSafe(|| (self.reopen)())) {
                Ok(Ok((engine, outputs))) => {
                    let _ = self.outputs.send(FromEngine::Reopened(outputs));
                    return Some(engine);
                }
                Ok(Err(error)) => {
                    if error.is_damage() {
                        failure = Failure::Damaged;
                    }
                    error!(error = %with_causes(&error), "the engine cannot be opened again");
                }
                Err(_) => error!("opening the engine panicked"),
            }
        }
    }

    /// Lets time pass without an engine. Nobody waits in silence meanwhile.
    fn refuse_for(&mut self, wait: Duration, failure: &Failure) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
            while let Ok(input) = self.inputs.try_recv() {
                command_id(&input)
                    .into_iter()
                    .for_each(|id| self.replies.answer(id, Err(failure.clone())));
            }
            thread::sleep(REFUSE_EVERY);
        }
    }
}

fn command_id(input: &Input) -> Option<CommandId> {
    if let Input::Command { id, .. } = input {
        Some(*id)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use qpq_core::{engine::Command, id::MessageId, identity::Identity, secret::Secret, store};
    use tempfile::TempDir;

    use super::*;
    use crate::node::clock;

    /// A thread with a real engine, which is lost by each input when the clock breaks.
    struct Running {
        inputs: mpsc::Sender<Input>,
        outputs: mpsc::UnboundedReceiver<FromEngine>,
        replies: Replies,
        thread: thread::JoinHandle<()>,
        stop: Arc<AtomicBool>,
        home: TempDir,
    }

    fn start(clock: Clock) -> Running {
        let home = TempDir::new().unwrap();
        let path = home.path().join("store");
        let secret = || Secret::new([7; 32]);
        store::create(&path, &secret(), "anna", &secret()).unwrap();
        let open = move || {
            let identity = Identity::from_seed(&secret());
            Engine::open(
                &path,
                &secret(),
                identity,
                Box::new(rand_core::OsRng),
                clock::system()(),
            )
        };
        let (engine, _) = open().unwrap();
        let (inputs, inputs_out) = mpsc::channel(QUEUE);
        let (outputs_in, outputs) = mpsc::unbounded_channel();
        let (replies, stop) = (Replies::default(), Arc::default());
        let thread = EngineThread {
            inputs: inputs_out,
            outputs: outputs_in,
            replies: replies.clone(),
            clock,
            reopen: Box::new(open),
            stop: Arc::clone(&stop),
        };
        Running {
            inputs,
            outputs,
            replies,
            thread: thread.start(engine).unwrap(),
            stop,
            home,
        }
    }

    #[test]
    fn a_refused_command_is_answered_by_the_engine_and_with_its_reason() {
        let mut running = start(clock::system());
        let id = CommandId(1);
        let mut reply = running.replies.expect(id);
        let command = Command::Send {
            chat: "nobody".to_owned(),
            texts: vec![(MessageId([1; 16]), "hi".to_owned())],
        };
        running
            .inputs
            .blocking_send(Input::Command { id, command })
            .unwrap();
        let Some(FromEngine::Outputs(outputs)) = running.outputs.blocking_recv() else {
            panic!("outputs were expected")
        };
        assert!(matches!(
            outputs.as_slice(),
            [Output::Reply {
                id: CommandId(1),
                result: Err(Failure::UnknownChat)
            }]
        ));
        assert!(reply.try_recv().is_err(), "nobody was faster");
        drop(running.inputs);
        running.thread.join().unwrap();
    }

    #[test]
    fn an_engine_that_is_lost_again_and_again_is_opened_less_and_less_often() {
        let mut running = start(Arc::new(|| {
            panic!("the clock is broken, as it should be in this test")
        }));
        let before = Instant::now();
        for _ in 0..3 {
            running.inputs.blocking_send(Input::Tick).unwrap();
            assert!(matches!(running.outputs.blocking_recv(), Some(FromEngine::Lost)));
            assert!(matches!(
                running.outputs.blocking_recv(),
                Some(FromEngine::Reopened(_))
            ));
        }
        assert!(
            before.elapsed() >= REOPEN_FIRST * 3,
            "at once, then after one wait, then after two"
        );
        drop(running.inputs);
        running.thread.join().unwrap();
    }

    #[test]
    fn whoever_lets_go_of_the_thread_waits_until_it_has_left_the_database() {
        for _ in 0..20 {
            let running = start(clock::system());
            let log = running.home.path().join("store-wal");
            assert!(log.exists(), "the database is open");
            // Somebody else may still be able to send.
            let _other = running.inputs.clone();
            drop(Worker::new(running.thread, running.stop, running.inputs));
            assert!(!log.exists(), "whoever closes it last takes its log away");
        }
    }
}
