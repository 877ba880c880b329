//! The orderly end of a node, in about a second at most.

use std::time::Duration;

use qpq_core::{
    engine::{Input, Output},
    wire::Bye,
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{debug, warn};

use super::Driver;
use crate::node::engine_thread::FromEngine;

/// For the Byes to arrive and the record to be withdrawn.
const GOODBYE: Duration = Duration::from_millis(400);

/// For iroh to tell the connections that are left; a dead path would cost it three seconds.
const CLOSE: Duration = Duration::from_millis(300);

/// For the last commit, which is done at once unless the disk is slow: nobody is to be torn down in the middle of one.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// For the engine to say what it still owes to peers.
const SETTLE: Duration = Duration::from_millis(200);

impl Driver {
    /// Links first, then the network, then the engine: what peers sent until the end is still stored.
    pub(super) async fn end(mut self) {
        if timeout(SETTLE, self.settle()).await.is_err() {
            debug!("the engine had no time to settle");
        }
        let Self {
            parts,
            links,
            mut running,
            ..
        } = self;
        links.all().for_each(|link| link.finish(Some(Bye::Shutdown)));
        // The local network follows this channel, and ends with it.
        drop(parts.directory);
        let all_links = async { while running.join_next().await.is_some() {} };
        let goodbye = async { tokio::join!(all_links, parts.lan.stopped()) };
        if timeout(GOODBYE, goodbye).await.is_err() {
            debug!("not everybody heard the goodbye");
        }
        if timeout(CLOSE, parts.endpoint.close()).await.is_err() {
            debug!("not every connection was closed in time");
        }
        let worker = parts.worker;
        if timeout(LAST_COMMIT, spawn_blocking(move || drop(worker)))
            .await
            .is_err()
        {
            warn!("the last commit takes long");
        }
        let mut outputs = parts.outputs;
        while let Ok(message) = outputs.try_recv() {
            let FromEngine::Outputs(list) = message else {
                continue;
            };
            for output in list {
                if let Output::Reply { id, result } = output {
                    parts.replies.answer(id, result);
                }
            }
        }
        parts.replies.drop_all();
    }

    /// Acknowledgements wait a moment for each other: whoever ends in that moment sends them first.
    async fn settle(&mut self) {
        if self.parts.engine.send(Input::Ending).await.is_err() {
            return;
        }
        while let Some(message) = self.parts.outputs.recv().await {
            let settled = matches!(
                &message,
                FromEngine::Outputs(outputs) if outputs.iter().any(|output| matches!(output, Output::Settled))
            );
            self.on_engine(message);
            if settled {
                return;
            }
        }
    }
}
