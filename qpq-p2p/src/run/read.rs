//! What the store alone can answer, beside a running owner too.

use qpq_core::store::read::{Chat, Message, Query, Reader};

use super::{contact, find_chat, is_unwanted, status};
use crate::{
    event::{Event, Time},
    failure::{Failure, FailureCode},
    profile::Profile,
    request::Read,
    sink::Sink,
};

/// So many messages are held in memory at a time.
const PAGE: u32 = 256;

impl Profile {
    /// Answers from the store, without network and lock.
    ///
    /// # Errors
    /// [`Failure`]; the events before it hold.
    pub async fn answer(&self, read: Read, sink: &mut impl Sink) -> Result<(), Failure> {
        let reader = self.reader()?;
        match read {
            Read::WhoAmI => {
                let name = reader.own_name()?;
                sink.put(Event::Identity {
                    name,
                    id: self.peer_id(),
                })
                .await?;
            }
            Read::Status => status::of_store(self, sink).await?,
            Read::Links => links(&reader, sink).await?,
            Read::Chat { name } => {
                let chat = match name {
                    Some(name) => find_chat(&reader, &name)?,
                    None => latest_chat(&reader)?,
                };
                sink.put(Event::Chat {
                    name: chat.name,
                    verified: chat.verified,
                })
                .await?;
            }
            Read::Log {
                chat,
                last,
                since,
                grep,
            } => {
                let chat = chat.map(|name| find_chat(&reader, &name)).transpose()?;
                let query = Query {
                    chat: chat.map(|chat| chat.id),
                    last,
                    since,
                    grep,
                    ..Query::default()
                };
                log(reader, query, sink).await?;
            }
            Read::Contacts { who, all } => contact::list(&reader, who.as_deref(), all, None, sink).await?,
            Read::SafetyNumber { who } => contact::safety_number(self, &reader, &who, sink).await?,
            Read::Seen { chat, last } => {
                let chat = find_chat(&reader, &chat)?;
                let seen = seen(&reader, chat.id, last)?;
                let events = seen.into_iter().map(|message| Event::Message(message.into()));
                sink.put_page(events.collect()).await.1?;
            }
        }
        Ok(())
    }
}

async fn links(reader: &Reader, sink: &mut impl Sink) -> Result<(), Failure> {
    for link in reader.links(jiff::Timestamp::now().as_millisecond())? {
        sink.put(Event::Link {
            id: link.id,
            expires: Time(link.expires_at),
            used_by: link.used_by,
            used_by_name: link.used_by_name,
            refused: link.refused,
        })
        .await?;
    }
    Ok(())
}

/// Sends what the query finds: the newest at once, everything page by page.
async fn log(reader: Reader, mut query: Query, sink: &mut impl Sink) -> Result<(), Failure> {
    if query.last.is_none() {
        query.limit = Some(PAGE);
    }
    loop {
        let page = reader.messages(&query)?;
        let Some(last) = page.last() else { return Ok(()) };
        query.after_row = last.row;
        let events = page.into_iter().map(|message| Event::Message(message.into()));
        sink.put_page(events.collect()).await.1?;
        if query.limit.is_none() || is_unwanted(sink).await {
            return Ok(());
        }
    }
}

/// The newest messages that `listen` will not bring.
fn seen(reader: &Reader, chat: i64, last: u32) -> Result<Vec<Message>, Failure> {
    let query = Query {
        chat: Some(chat),
        ..Query::default()
    };
    let unread = reader.messages(&Query {
        unread: true,
        limit: Some(1),
        ..query.clone()
    })?;
    let Some(first_unread) = unread.first().map(|message| message.row) else {
        return Ok(reader.messages(&Query {
            last: Some(last),
            ..query
        })?);
    };
    // From the first unread one on, everything is either unread or written by oneself since.
    let mut window = last;
    loop {
        let mut messages = reader.messages(&Query {
            last: Some(window),
            ..query.clone()
        })?;
        let complete = messages.len() < usize::try_from(window).unwrap_or(usize::MAX);
        messages.retain(|message| message.row < first_unread);
        let surplus = messages
            .len()
            .saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
        if complete || messages.len() >= usize::try_from(last).unwrap_or(usize::MAX) {
            return Ok(messages.split_off(surplus));
        }
        window = window.saturating_mul(2);
    }
}

fn latest_chat(reader: &Reader) -> Result<Chat, Failure> {
    let newest = reader.messages(&Query {
        last: Some(1),
        ..Query::default()
    })?;
    let mut chats = reader.chats()?;
    if let Some(message) = newest.first()
        && let Some(position) = chats.iter().position(|chat| chat.name == message.chat)
    {
        return Ok(chats.swap_remove(position));
    }
    if chats.len() == 1 {
        return Ok(chats.swap_remove(0));
    }
    let (code, why) = if chats.is_empty() {
        (FailureCode::UnknownChat, "you know nobody yet")
    } else {
        (
            FailureCode::AmbiguousChat,
            "there are several, none of them with a message",
        )
    };
    let hint = if chats.is_empty() {
        "qpq invite, or qpq join CODE"
    } else {
        "say which: qpq chat NAME"
    };
    Err(Failure::new(code, "there is no chat to open", why, hint))
}
