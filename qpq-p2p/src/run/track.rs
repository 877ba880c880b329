//! Watching how far own messages get. Events only say when to look; the store says what is so.

use std::{collections::BTreeMap, time::Duration};

use qpq_core::{
    delivery::Delivery,
    engine,
    id::MessageId,
    store::read::{Chat, Reader},
};

use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{Wake, deadline, find_chat, moment::Moment, wake};
use crate::{event::Event, failure::Failure, owner::Owner, sink::Sink};

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
    let mut arrived = final_ones(&reader, &mut waiting)?;
    let until = deadline(patience);
    loop {
        if !arrived.is_empty() {
            let ended = std::mem::take(&mut arrived);
            sink.put_page(told(owner, &reader, &chat, &ended).await?)
                .await
                .1?;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        match wake(&mut events, Some(until), sink).await? {
            Wake::Event(event) => {
                arrived.extend(arrival(&event, &mut waiting));
                if !drain(&mut events, &mut waiting, &mut arrived) {
                    arrived.append(&mut final_ones(&reader, &mut waiting)?);
                }
            }
            Wake::Lagged => arrived = final_ones(&reader, &mut waiting)?,
            Wake::TimeOver | Wake::Unwanted => break,
        }
    }
    let left = told(owner, &reader, &chat, &in_order(&waiting)).await?;
    Ok(sink.put_page(left).await.1?)
}

/// How far messages got by now.
pub(super) async fn told(
    owner: &Owner,
    reader: &Reader,
    chat: &Chat,
    ids: &[MessageId],
) -> Result<Vec<Event>, Failure> {
    let moment = Moment::new(reader, owner.ways().await)?;
    ids.iter().map(|id| moment.sent(reader, chat, *id)).collect()
}

/// Messages by id, each with its position among those asked for: answers keep that order where they can.
type Waiting = BTreeMap<MessageId, usize>;

fn in_order(waiting: &Waiting) -> Vec<MessageId> {
    let mut ids: Vec<_> = waiting.iter().map(|(id, position)| (*position, *id)).collect();
    ids.sort_unstable();
    ids.into_iter().map(|(_, id)| id).collect()
}

/// Takes off the list what nothing more is waited for.
fn final_ones(reader: &Reader, waiting: &mut Waiting) -> Result<Vec<MessageId>, Failure> {
    let mut arrived = Vec::new();
    for id in in_order(waiting) {
        let ended = match reader.recipients(&id)? {
            Some(recipients) => {
                !recipients.is_empty() && recipients.iter().all(|recipient| is_final(recipient.state))
            }
            // Deleted with the rest of the history.
            None => true,
        };
        if ended {
            waiting.remove(&id);
            arrived.push(id);
        }
    }
    Ok(arrived)
}

/// The message that an event is the last word about; taken off the list.
fn arrival(event: &engine::Event, waiting: &mut Waiting) -> Option<MessageId> {
    let engine::Event::Progress { id, state } = event else {
        return None;
    };
    (is_final(*state) && waiting.remove(id).is_some()).then_some(*id)
}

/// Takes the events that are there already: a picture of the moment is then taken once for all of them. False:
/// some were lost.
fn drain(events: &mut Receiver<engine::Event>, waiting: &mut Waiting, arrived: &mut Vec<MessageId>) -> bool {
    loop {
        match events.try_recv() {
            Ok(event) => arrived.extend(arrival(&event, waiting)),
            Err(TryRecvError::Lagged(_)) => return false,
            // The next wait says that the node has ended.
            Err(TryRecvError::Empty | TryRecvError::Closed) => return true,
        }
    }
}

/// Whether nothing more is waited for.
fn is_final(state: Delivery) -> bool {
    !matches!(state, Delivery::Here | Delivery::OnRelay)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_is_there_already_is_taken_at_once_and_each_message_once() {
        let (sender, mut events) = tokio::sync::broadcast::channel(8);
        let id = |n: u8| MessageId([n; 16]);
        let mut waiting: Waiting = (1..=4).map(|n| (id(n), usize::from(n))).collect();
        let progress = |n, state| {
            let id = id(n);
            sender.send(engine::Event::Progress { id, state }).unwrap();
        };
        progress(2, Delivery::Delivered);
        progress(2, Delivery::Read);
        progress(3, Delivery::OnRelay);
        progress(9, Delivery::Delivered);
        progress(1, Delivery::Expired);
        let mut arrived = Vec::new();
        assert!(drain(&mut events, &mut waiting, &mut arrived));
        assert_eq!(arrived, [id(2), id(1)]);
        assert_eq!(in_order(&waiting), [id(3), id(4)]);
        for _ in 0..9 {
            progress(3, Delivery::Delivered);
        }
        assert!(
            !drain(&mut events, &mut waiting, &mut arrived),
            "the store is asked"
        );
    }
}
