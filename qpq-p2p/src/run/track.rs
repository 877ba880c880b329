//! Watching how far own messages get. Events only say when to look; the store says what is so.

use std::{collections::BTreeMap, time::Duration};

use qpq_core::{
    engine,
    id::MessageId,
    store::read::{Chat, Reader},
};

use super::{Wake, deadline, find_chat, wake};
use crate::{
    event::{DeliveryState, Event, Recipient},
    failure::Failure,
    owner::Owner,
    sink::Sink,
};

pub(super) async fn run(
    owner: &Owner,
    chat: &str,
    ids: Vec<MessageId>,
    patience: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    // Subscribed before the store is asked: what happens in between is told twice rather than never.
    let mut events = owner.node().await?.events();
    let reader = owner.profile().reader()?;
    let chat = find_chat(&reader, chat)?;
    let mut waiting: Waiting = ids
        .into_iter()
        .enumerate()
        .map(|(position, id)| (id, position))
        .collect();
    let mut arrived = delivered(&reader, &waiting)?;
    let until = deadline(patience);
    loop {
        for id in arrived.drain(..) {
            waiting.remove(&id);
            sink.put(sent(owner, &chat, id, DeliveryState::Delivered)).await?;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        match wake(&mut events, Some(until), sink).await? {
            Wake::Event(engine::Event::Progress { id, delivered: true }) if waiting.contains_key(&id) => {
                arrived.push(id);
            }
            Wake::Event(_) => {}
            Wake::Lagged => arrived = delivered(&reader, &waiting)?,
            Wake::TimeOver | Wake::Unwanted => break,
        }
    }
    for id in in_order(&waiting) {
        sink.put(sent(owner, &chat, id, DeliveryState::Here)).await?;
    }
    Ok(())
}

/// Messages by id, each with its position among those asked for: answers keep that order where they can.
type Waiting = BTreeMap<MessageId, usize>;

fn in_order(waiting: &Waiting) -> Vec<MessageId> {
    let mut ids: Vec<_> = waiting.iter().map(|(id, position)| (*position, *id)).collect();
    ids.sort_unstable();
    ids.into_iter().map(|(_, id)| id).collect()
}

fn delivered(reader: &Reader, waiting: &Waiting) -> Result<Vec<MessageId>, Failure> {
    let mut arrived = Vec::new();
    for id in in_order(waiting) {
        if reader.delivered(&id)? == Some(true) {
            arrived.push(id);
        }
    }
    Ok(arrived)
}

/// How far a message got, with the reason where it did not get further.
pub(super) fn sent(owner: &Owner, chat: &Chat, id: MessageId, state: DeliveryState) -> Event {
    let recipients = chat.members.iter().map(|peer| Recipient {
        // A chat of two is named by the other one.
        name: if chat.members.len() == 1 {
            chat.name.clone()
        } else {
            peer.short()
        },
        id: *peer,
        state,
        reason: (state < DeliveryState::Delivered).then(|| {
            let reason = match (owner.is_rolled_back(chat.id), owner.is_online(peer)) {
                (true, _) => "this profile is an older copy of itself",
                (false, true) => "not confirmed yet",
                (false, false) => "away",
            };
            reason.to_owned()
        }),
    });
    Event::Sent {
        id,
        chat: chat.name.clone(),
        state,
        recipients: recipients.collect(),
    }
}
