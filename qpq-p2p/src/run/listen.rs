//! Messages of others, each once: what was not read yet, then what comes.
//!
//! Level-triggered: an event only says when to look. What is shown is what the store holds above the cursor,
//! and it is marked as read after the sink took it, so that a restart neither loses nor repeats it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use qpq_core::{
    contact::{Person, Standing},
    engine::{self, Command},
    id::PeerId,
    store::read::{Chat, Message, Query, Reader},
};

use super::{Wake, deadline, find_chat, is_unwanted, news, wake};
use crate::{event::Event, failure::Failure, owner::Owner, request::Shown, sink::Sink};

/// So many messages are shown before they are marked as read, in one transaction.
const PAGE: u32 = 64;

/// What is to be shown.
pub(super) struct Wanted {
    pub(super) chat: Option<String>,
    pub(super) count: Option<u64>,
    pub(super) patience: Option<Duration>,
    pub(super) after: Option<Shown>,
}

pub(super) async fn run(owner: &Owner, wanted: Wanted, sink: &mut impl Sink) -> Result<(), Failure> {
    let reader = owner.profile().reader()?;
    let chat = wanted.chat.map(|name| find_chat(&reader, &name)).transpose()?;
    let mut newcomers = Newcomers::of(chat.as_ref());
    let mut events = owner.node().await?.events();
    let until = wanted.patience.map(deadline);
    let mut left = wanted.count.unwrap_or(u64::MAX);
    let mut progress = Progress::new(&reader, chat.map(|chat| chat.id), wanted.after)?;
    while left > 0 && !is_unwanted(sink).await {
        newcomers.tell(&reader, sink).await?;
        let limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        match progress.next(&reader, limit)? {
            Some(page) => {
                let messages = page.iter().cloned().map(|message| Event::Message(message.into()));
                let (shown, taken) = sink.put_page(messages.collect()).await;
                mark_read(owner, page.get(..shown).unwrap_or_default()).await?;
                taken?;
                left = left.saturating_sub(u64::try_from(page.len()).unwrap_or(u64::MAX));
            }
            None => {
                if !sleep_until_message(&mut events, &reader, until, sink).await? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// How far the store was told.
struct Progress {
    query: Query,
    /// Up to this row it is told what is unread; behind it everything, for other processes of the profile read
    /// and mark as well.
    horizon: i64,
}

impl Progress {
    fn new(reader: &Reader, chat: Option<i64>, after: Option<Shown>) -> Result<Self, Failure> {
        let shown = after
            .map(|shown| reader.row(&shown.from, &shown.id))
            .transpose()?
            .flatten();
        let horizon = match shown {
            Some(row) => row,
            None => {
                let newest = reader.messages(&Query {
                    chat,
                    last: Some(1),
                    ..Query::default()
                })?;
                newest.last().map_or(0, |message| message.row)
            }
        };
        let query = Query {
            chat,
            unread: true,
            ..Query::default()
        };
        Ok(Self { query, horizon })
    }

    /// The next messages of others, at most so many; `None`: there are none now.
    fn next(&mut self, reader: &Reader, limit: u32) -> Result<Option<Vec<Message>>, Failure> {
        self.query.limit = Some(limit);
        loop {
            let mut page = reader.messages(&self.query)?;
            if self.query.unread {
                page.retain(|message| message.row <= self.horizon);
            }
            match page.last() {
                Some(last) => self.query.after_row = last.row,
                None if self.query.unread => {
                    self.query.unread = false;
                    self.query.after_row = self.horizon;
                    continue;
                }
                None => return Ok(None),
            }
            page.retain(|message| !message.own);
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
    }
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
            Wake::Event(
                engine::Event::Message { .. } | engine::Event::Request { .. } | engine::Event::Held { .. },
            )
            | Wake::Lagged => return Ok(true),
            Wake::Event(
                event @ (engine::Event::RequestDropped { .. }
                | engine::Event::Joined { .. }
                | engine::Event::Declined { .. }),
            ) => news::tell(event, sink).await?,
            Wake::Event(engine::Event::Missing { chat, count }) => {
                if let Some(chat) = name_of(reader, chat)? {
                    sink.put(Event::Missing { chat, count }).await?;
                }
            }
            Wake::Event(engine::Event::RolledBack { chat }) => {
                if let Some(chat) = name_of(reader, chat)? {
                    sink.put(Event::RolledBack { chat }).await?;
                }
            }
            Wake::Event(_) => {}
            Wake::TimeOver | Wake::Unwanted => return Ok(false),
        }
    }
}

fn name_of(reader: &Reader, chat: i64) -> Result<Option<String>, Failure> {
    let chats = reader.chats()?.into_iter();
    Ok(chats
        .filter(|known| known.id == chat)
        .map(|chat| chat.name)
        .next())
}

/// Those who wait for the user's word, each told once.
struct Newcomers {
    asking: BTreeSet<PeerId>,
    held: BTreeSet<PeerId>,
    /// Only who calls himself like this, lowercase: they keep the chat of that name from going on.
    claims: Option<String>,
}

impl Newcomers {
    fn of(chat: Option<&Chat>) -> Self {
        Self {
            asking: BTreeSet::new(),
            held: BTreeSet::new(),
            claims: chat.map(|chat| chat.name.to_lowercase()),
        }
    }

    async fn tell(&mut self, reader: &Reader, sink: &mut impl Sink) -> Result<(), Failure> {
        if self.claims.is_none() {
            let asking = reader.asking()?;
            self.asking
                .retain(|peer| asking.iter().any(|one| one.peer == *peer));
            for request in asking {
                if self.asking.insert(request.peer) {
                    let (name, id) = (request.name, request.peer);
                    sink.put(Event::Request { name, id }).await?;
                }
            }
        }
        let mut held = reader.people()?;
        held.retain(|person| self.concerns(person));
        self.held.retain(|peer| held.iter().any(|one| one.peer == *peer));
        for person in held {
            if self.held.insert(person.peer) {
                let (name, id) = (person.name, person.peer);
                sink.put(Event::Held { name, id }).await?;
            }
        }
        Ok(())
    }

    fn concerns(&self, person: &Person) -> bool {
        let is_meant = |claims: &String| person.claimed.to_lowercase() == *claims;
        person.standing == Standing::Held && !person.blocked && self.claims.as_ref().is_none_or(is_meant)
    }
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
