//! Follows own messages until they are delivered: one `Track` request at a time, in short rounds, so that
//! messages sent meanwhile are not kept waiting.

use std::{pin::Pin, time::Duration};

use qpq_core::id::MessageId;

use crate::{
    event::{DeliveryState, Event},
    failure::Failure,
    owner::Owner,
    request::Request,
};

/// The longest that one round takes.
const ROUND: Duration = Duration::from_secs(1);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Event>, Failure>> + 'a>>;

/// Messages of one chat that are not delivered yet.
pub(super) struct Follow<'a> {
    owner: &'a Owner,
    chat: String,
    /// Not asked for in the round that is going on.
    waiting: Vec<MessageId>,
    asked: Vec<MessageId>,
    round: Option<Answer<'a>>,
}

/// `Sent` events, by state.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) delivered: Vec<Event>,
    pub(super) waiting: Vec<Event>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(owner: &'a Owner, chat: &str) -> Self {
        Self {
            owner,
            chat: chat.to_owned(),
            waiting: Vec::new(),
            asked: Vec::new(),
            round: None,
        }
    }

    /// Follows what these `Sent` events are about.
    pub(super) fn add(&mut self, events: &[Event]) {
        self.waiting.extend(events.iter().filter_map(sent_id));
    }

    /// Whether all was delivered.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.round.is_none()
    }

    /// How far the messages got, some moments later; never ends when there is nothing to follow. Losing the
    /// future loses nothing.
    pub(super) async fn round(&mut self) -> Result<Round, Failure> {
        if self.round.is_none() {
            if self.waiting.is_empty() {
                std::future::pending().await
            }
            self.asked = std::mem::take(&mut self.waiting);
            self.round = Some(track(self.owner, self.chat.clone(), self.asked.clone(), ROUND));
        }
        let Some(round) = &mut self.round else {
            std::future::pending().await
        };
        let events = round.await;
        self.round = None;
        self.asked.clear();
        let round = Round::of(events?);
        self.add(&round.waiting);
        Ok(round)
    }

    /// How far they got by now. Nothing is followed any more.
    pub(super) async fn last_look(&mut self) -> Result<Round, Failure> {
        self.round = None;
        let mut ids = std::mem::take(&mut self.asked);
        ids.append(&mut self.waiting);
        if ids.is_empty() {
            return Ok(Round::default());
        }
        track(self.owner, self.chat.clone(), ids, Duration::ZERO)
            .await
            .map(Round::of)
    }
}

impl Round {
    fn of(events: Vec<Event>) -> Self {
        let is_delivered =
            |event: &Event| matches!(event, Event::Sent { state, .. } if *state >= DeliveryState::Delivered);
        let (delivered, waiting) = events.into_iter().partition(is_delivered);
        Self { delivered, waiting }
    }
}

fn track<'a>(owner: &'a Owner, chat: String, ids: Vec<MessageId>, patience: Duration) -> Answer<'a> {
    Box::pin(async move {
        let mut events = Vec::new();
        owner
            .run(Request::Track { chat, ids, patience }, &mut events)
            .await?;
        Ok(events)
    })
}

fn sent_id(event: &Event) -> Option<MessageId> {
    let Event::Sent { id, .. } = event else {
        return None;
    };
    Some(*id)
}
