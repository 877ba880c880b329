//! Storing messages. From here on they are kept; how far they get is `track`'s to tell.

use qpq_core::engine::{Command, Reply};

use super::{find_chat, track::sent};
use crate::{event::DeliveryState, failure::Failure, owner::Owner, sink::Sink};

pub(super) async fn run(
    owner: &Owner,
    chat: &str,
    texts: Vec<String>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let found = find_chat(&owner.profile().reader()?, chat)?;
    let Reply::Stored { ids } = owner
        .command(Command::Send {
            chat: chat.to_owned(),
            texts,
        })
        .await?
    else {
        return Err(Failure::unexpected(
            "nothing was sent",
            "the engine answered something else",
        ));
    };
    for id in ids {
        sink.put(sent(owner, &found, id, DeliveryState::Here)).await?;
    }
    Ok(())
}
