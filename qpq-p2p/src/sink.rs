//! Where the answer to a request goes, event by event.

use std::io;

use crate::{
    event::Event,
    failure::{Failure, FailureCode},
};

/// Takes the events of one request.
pub trait Sink {
    /// Takes one event. It is out of our hands when this returns: written and flushed, or sent.
    ///
    /// # Errors
    /// [`SinkError`]: the event was not taken, and no further one will be.
    fn put(&mut self, event: Event) -> impl Future<Output = Result<(), SinkError>>;

    /// Takes several events at once, which costs whoever is far away one round trip. Says how many were taken,
    /// and why no more where those were not all.
    fn put_page(&mut self, events: Vec<Event>) -> impl Future<Output = (usize, Result<(), SinkError>)> {
        async move {
            let count = events.len();
            for (taken, event) in events.into_iter().enumerate() {
                if let Err(error) = self.put(event).await {
                    return (taken, Err(error));
                }
            }
            (count, Ok(()))
        }
    }

    /// Ends when no more events are wanted: after Ctrl+C, or when the client is gone. A request in progress
    /// then finishes its step and ends.
    fn closed(&self) -> impl Future<Output = ()>;
}

/// An event could not be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the output could not be written: {0}")]
pub struct SinkError(pub io::ErrorKind);

impl From<SinkError> for Failure {
    /// A broken pipe is no error: whoever reads has seen enough.
    fn from(error: SinkError) -> Self {
        let gone = error.0 == io::ErrorKind::BrokenPipe;
        let code = if gone {
            FailureCode::OutputClosed
        } else {
            FailureCode::Unexpected
        };
        Self::new(
            code,
            "the output could not be written",
            error.0.to_string(),
            "look at where standard output goes",
        )
    }
}

/// Keeps the events: for answers which are worked on before anything is shown.
impl Sink for Vec<Event> {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        self.push(event);
        Ok(())
    }

    async fn closed(&self) {
        std::future::pending().await
    }
}
