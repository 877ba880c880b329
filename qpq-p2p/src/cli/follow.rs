//! Follows own messages until they are delivered: one `Track` request at a time, in short rounds, so that
//! messages sent meanwhile are not kept waiting.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use qpq_core::id::MessageId;

use crate::{
    control::Client,
    event::{DeliveryState, Event},
    failure::Failure,
    request::Request,
};

/// The longest that one round takes.
const ROUND: Duration = Duration::from_secs(1);

/// So many are asked for at once, the oldest first: whoever is away for 100,000 lines costs no more than for these.
const WINDOW: usize = 1_024;

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Event>, Failure>> + 'a>>;

/// Messages of one chat that are not delivered yet.
pub(super) struct Follow<'a> {
    client: &'a Client,
    chat: String,
    /// Not asked for in the round that is going on; the oldest first.
    waiting: VecDeque<MessageId>,
    asked: Vec<MessageId>,
    round: Option<Answer<'a>>,
}

/// `Sent` events, by state.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) delivered: Vec<Event>,
    /// Nothing more is done for these.
    pub(super) given_up: Vec<Event>,
    pub(super) waiting: Vec<Event>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(client: &'a Client, chat: &str) -> Self {
        Self {
            client,
            chat: chat.to_owned(),
            waiting: VecDeque::new(),
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
            self.asked = window(&mut self.waiting);
            self.round = Some(track(self.client, self.chat.clone(), self.asked.clone(), ROUND));
        }
        let Some(round) = &mut self.round else {
            std::future::pending().await
        };
        let events = round.await;
        self.round = None;
        self.asked.clear();
        let round = Round::of(events?);
        for id in round.waiting.iter().rev().filter_map(sent_id) {
            self.waiting.push_front(id);
        }
        Ok(round)
    }

    /// How far they got by now. Nothing is followed any more.
    pub(super) async fn last_look(&mut self) -> Result<Round, Failure> {
        self.round = None;
        let mut ids = VecDeque::from(std::mem::take(&mut self.asked));
        ids.append(&mut self.waiting);
        let mut events = Vec::new();
        while !ids.is_empty() {
            let asked = window(&mut ids);
            events.append(&mut track(self.client, self.chat.clone(), asked, Duration::ZERO).await?);
        }
        Ok(Round::of(events))
    }
}

impl Round {
    fn of(events: Vec<Event>) -> Self {
        let is = |event: &Event, of: fn(DeliveryState) -> bool| matches!(event, Event::Sent { state, .. } if of(*state));
        let (waiting, ended): (Vec<_>, _) = events
            .into_iter()
            .partition(|event| is(event, DeliveryState::is_waiting));
        let (delivered, given_up) = ended
            .into_iter()
            .partition(|event| is(event, DeliveryState::has_arrived));
        Self {
            delivered,
            given_up,
            waiting,
        }
    }
}

/// Takes the oldest.
fn window(ids: &mut VecDeque<MessageId>) -> Vec<MessageId> {
    ids.drain(..ids.len().min(WINDOW)).collect()
}

fn track<'a>(client: &'a Client, chat: String, ids: Vec<MessageId>, patience: Duration) -> Answer<'a> {
    Box::pin(async move {
        let mut events = Vec::new();
        client
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
