//! Storing messages. From here on they are kept; how far they get is `track`'s to tell.

use qpq_core::engine::{Command, Reply};

use super::{contact, find_chat, track::told};
use crate::{failure::Failure, owner::Owner, request::Text, sink::Sink};

pub(super) async fn run(
    owner: &Owner,
    chat: &str,
    texts: Vec<Text>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let reader = owner.profile().reader()?;
    let found = find_chat(&reader, chat)?;
    let send = Command::Send {
        chat: chat.to_owned(),
        texts: texts.into_iter().map(|Text { id, text }| (id, text)).collect(),
    };
    let sent = owner.node().await?.command(send).await;
    let Reply::Stored { ids } = sent.map_err(|failure| contact::barred(failure, &found.name))? else {
        return Err(Failure::unexpected(
            "nothing was sent",
            "the engine answered something else",
        ));
    };
    let events = told(owner, &reader, &found, &ids).await?;
    Ok(sink.put_page(events).await.1?)
}
