//! Messages of others, each once: what was not read yet, then what comes.
//!
//! Level-triggered: an event only says when to look. What is shown is what the store holds above the cursor,
//! and it is marked as read after the sink took it, so that a restart neither loses nor repeats it.

use std::{collections::BTreeMap, time::Duration};

use qpq_core::{
    engine::{self, Command},
    store::read::{Message, Query, Reader},
};

use super::{Wake, deadline, find_chat, is_unwanted, wake};
use crate::{
    event::Event,
    failure::Failure,
    owner::Owner,
    sink::{Sink, SinkError},
};

/// So many messages are shown before they are marked as read, in one transaction.
const PAGE: u32 = 64;

pub(super) async fn run(
    owner: &Owner,
    chat: Option<&str>,
    count: Option<u64>,
    patience: Option<Duration>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let reader = owner.profile().reader()?;
    let chat = chat
        .map(|name| find_chat(&reader, name))
        .transpose()?
        .map(|chat| chat.id);
    let mut events = owner.node().await?.events();
    let until = patience.map(deadline);
    let mut left = count.unwrap_or(u64::MAX);
    let mut query = Query {
        chat,
        unread: true,
        ..Query::default()
    };
    while left > 0 && !is_unwanted(sink).await {
        query.limit = Some(u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let page = reader.messages(&query)?;
        let (shown, taken) = show(&page, sink).await;
        mark_read(owner, page.get(..shown).unwrap_or_default()).await?;
        taken?;
        if let Some(last) = page.last() {
            query.after_row = last.row;
            left = left.saturating_sub(u64::try_from(page.len()).unwrap_or(u64::MAX));
            continue;
        }
        if !sleep_until_message(&mut events, &reader, until, sink).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits for a reason to look at the store; false when it is time to end.
async fn sleep_until_message(
    events: &mut tokio::sync::broadcast::Receiver<engine::Event>,
    reader: &Reader,
    until: Option<tokio::time::Instant>,
    sink: &mut impl Sink,
) -> Result<bool, Failure> {
    loop {
        match wake(events, until, sink).await? {
            Wake::Event(engine::Event::Message { .. }) | Wake::Lagged => return Ok(true),
            Wake::Event(engine::Event::Joined { peer, name, verified }) => {
                sink.put(Event::Joined {
                    name,
                    id: peer,
                    verified,
                })
                .await?;
            }
            Wake::Event(engine::Event::RolledBack { chat }) => {
                let chats = reader.chats()?;
                if let Some(chat) = chats.into_iter().find(|known| known.id == chat) {
                    sink.put(Event::RolledBack { chat: chat.name }).await?;
                }
            }
            Wake::Event(_) => {}
            Wake::TimeOver | Wake::Unwanted => return Ok(false),
        }
    }
}

/// Hands messages over; says how many the sink took, and why it took no more.
async fn show(page: &[Message], sink: &mut impl Sink) -> (usize, Result<(), SinkError>) {
    for (shown, message) in page.iter().enumerate() {
        if let Err(error) = sink.put(Event::Message(message.clone().into())).await {
            return (shown, Err(error));
        }
    }
    (page.len(), Ok(()))
}

/// The cursor is kept per chat: each moves to the newest message shown from it.
async fn mark_read(owner: &Owner, shown: &[Message]) -> Result<(), Failure> {
    // With the author, for two chats may have one name.
    let newest: BTreeMap<_, _> = shown
        .iter()
        .map(|message| ((message.chat.as_str(), message.from), message.row))
        .collect();
    for row in newest.into_values() {
        owner.command(Command::MarkRead { row }).await?;
    }
    Ok(())
}
