//! Keeping a profile online, for `daemon`.

use std::time::Duration;

use crate::{event::Event, failure::Failure, owner::Owner, sink::Sink};

/// Systems do not tell in one way when a network comes up: it is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(owner: &Owner, sink: &mut impl Sink) -> Result<(), Failure> {
    owner.node().await?;
    while !owner.is_network_up() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = sink.closed() => return Ok(()),
        }
    }
    sink.put(Event::Ready {
        id: owner.profile().peer_id(),
        pid: std::process::id(),
        owner: owner.kind(),
    })
    .await?;
    sink.closed().await;
    Ok(())
}
