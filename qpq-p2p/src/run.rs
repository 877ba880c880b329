//! Requests, answered in this process: one file per request.

pub(crate) mod contact;
mod invite;
mod join;
mod link;
mod listen;
mod moment;
mod nearby;
mod news;
mod read;
mod send;
mod status;
mod stay;
mod track;

use std::{collections::BTreeSet, time::Duration};

use qpq_core::{
    engine::{self, Event},
    store::read::{Chat, FindError, Reader},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

use crate::{
    event,
    failure::{Failure, FailureCode},
    owner::{DAMAGED_HINT, Owner},
    request::{Read, Request, Resumed},
    sink::Sink,
};

impl Owner {
    /// Answers a request, event by event.
    ///
    /// # Errors
    /// [`Failure`]; the events before it hold.
    pub async fn run(&self, request: Request, sink: &mut impl Sink) -> Result<(), Failure> {
        match request {
            Request::Read(Read::Status) => status::of_owner(self, sink).await,
            Request::Read(Read::Contacts { who, all }) => {
                let (reader, ways) = (self.profile().reader()?, self.ways().await);
                contact::list(&reader, who.as_deref(), all, ways.as_ref(), sink).await
            }
            Request::Read(read) => self.profile().answer(read, sink).await,
            Request::Invite {
                lifetime,
                patience,
                reopened,
            } => invite::run(self, lifetime, patience, reopened, sink).await,
            Request::Join {
                code,
                patience,
                resumed,
            } => join::run(self, code, patience, resumed, sink).await,
            Request::InviteLink { lifetime } => link::invite(self, lifetime, sink).await,
            Request::CancelLink { id } => link::cancel(self, id, sink).await,
            Request::JoinLink { link, patience } => link::join(self, &link.0, patience, sink).await,
            Request::Stay => stay::run(self, sink).await,
            Request::Send { chat, texts } => send::run(self, &chat, texts, sink).await,
            Request::Track { chat, ids, patience } => track::run(self, &chat, ids, patience, sink).await,
            Request::Contact { who, decision } => contact::decide(self, &who, decision, sink).await,
            Request::Verify { who, number } => contact::compare(self, &who, &number, sink).await,
            Request::Nearby { visible, patience } => nearby::run(self, visible, patience, sink).await,
            Request::Listen {
                chat,
                count,
                patience,
                after,
            } => {
                let wanted = listen::Wanted {
                    chat,
                    count,
                    patience,
                    after,
                };
                listen::run(self, wanted, sink).await
            }
        }
    }
}

/// What ends a wait.
enum Wake {
    /// Something happened.
    Event(Event),
    /// So much happened that some of it was not told: ask the store.
    Lagged,
    /// The time is over.
    TimeOver,
    /// Nobody wants more events.
    Unwanted,
}

/// Waits for the next thing of importance.
async fn wake(
    events: &mut Receiver<Event>,
    deadline: Option<Instant>,
    sink: &impl Sink,
) -> Result<Wake, Failure> {
    let time_over = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sink.closed() => Ok(Wake::Unwanted),
        () = time_over => Ok(Wake::TimeOver),
        event = events.recv() => match event {
            Ok(event) => Ok(Wake::Event(event)),
            Err(RecvError::Lagged(_)) => Ok(Wake::Lagged),
            Err(RecvError::Closed) => Err(Failure::unexpected("the request was not finished", "the node has ended")),
        },
    }
}

/// Whether the sink has closed, without waiting: for loops that have enough to do.
async fn is_unwanted(sink: &impl Sink) -> bool {
    tokio::select! {
        biased;
        () = sink.closed() => true,
        () = std::future::ready(()) => false,
    }
}

/// Tells who became a contact, for when the event that says so may have been lost.
struct Newcomers {
    reader: Reader,
    known: BTreeSet<i64>,
}

impl Newcomers {
    /// From now on.
    fn watch(owner: &Owner) -> Result<Self, Failure> {
        let reader = owner.profile().reader()?;
        let known = reader.chats()?.iter().map(|chat| chat.id).collect();
        Ok(Self { reader, known })
    }

    fn first(&self) -> Result<Option<event::Event>, Failure> {
        let new = self
            .reader
            .chats()?
            .into_iter()
            .find(|chat| !self.known.contains(&chat.id));
        Ok(new.and_then(joined_event))
    }
}

/// Who became a contact while a request had no owner.
fn missed(owner: &Owner, resumed: Resumed) -> Result<Option<event::Event>, Failure> {
    let joined = owner.profile().reader()?.joined_since(resumed.since)?;
    Ok(joined.and_then(joined_event))
}

fn joined_event(chat: Chat) -> Option<event::Event> {
    let Chat {
        name,
        members,
        verified,
        ..
    } = chat;
    let id = *members.first()?;
    Some(event::Event::Joined { name, id, verified })
}

/// The engine was lost while this waited, and what it waited for with it.
fn lost() -> Failure {
    Failure::new(
        FailureCode::NotStored,
        "this was interrupted",
        "the disk did not take what came",
        "make room on the disk, then try again",
    )
}

fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}

/// At most so many names are listed where one was not found.
const CANDIDATES: usize = 10;

/// Finds a chat, or tells which there are.
fn find_chat(reader: &Reader, name: &str) -> Result<Chat, Failure> {
    reader.find_chat(name).map_err(|error| match error {
        FindError::Unknown => unknown_chat(reader, name),
        FindError::Ambiguous(candidates) => ambiguous_chat(name, &candidates),
        FindError::Store(error) => error.into(),
    })
}

fn unknown_chat(reader: &Reader, name: &str) -> Failure {
    if let Some(failure) = contact::no_chat_yet(reader, name) {
        return failure;
    }
    let chats = reader.chats().unwrap_or_default();
    let hint = if chats.is_empty() {
        "meet somebody first: qpq invite, or qpq join CODE".to_owned()
    } else {
        format!(
            "one of these: {}",
            listed(chats.iter().map(|chat| chat.name.as_str()))
        )
    };
    let why = "nobody you know has this name";
    Failure::new(
        FailureCode::UnknownChat,
        format!("there is no chat {name}"),
        why,
        hint,
    )
}

fn ambiguous_chat(name: &str, candidates: &[String]) -> Failure {
    Failure::new(
        FailureCode::AmbiguousChat,
        format!("{name} can be more than one chat"),
        "several have this name",
        format!(
            "say which, by id: {}",
            listed(candidates.iter().map(String::as_str))
        ),
    )
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let left_out = names.len().saturating_sub(CANDIDATES);
    let mut list: Vec<_> = names.take(CANDIDATES).map(str::to_owned).collect();
    if left_out > 0 {
        list.push(format!("and {left_out} more"));
    }
    list.join(", ")
}

impl From<engine::Failure> for Failure {
    fn from(failure: engine::Failure) -> Self {
        const WHAT: &str = "this was not done";
        let why = failure.to_string();
        match failure {
            engine::Failure::UnknownChat => Self::new(
                FailureCode::UnknownChat,
                WHAT,
                why,
                "meet somebody first: qpq invite",
            ),
            engine::Failure::AmbiguousChat(candidates) => ambiguous_chat("this name", &candidates),
            engine::Failure::TextLength => {
                Self::usage("the message was not sent", why, "send it in several messages")
            }
            engine::Failure::KeyQuestion => Self::new(
                FailureCode::KeyChanged,
                "nothing was sent",
                "somebody with a new key has this name and waits for your word",
                "see who: qpq contact list; then qpq contact replace NAME, or qpq contact rename",
            ),
            engine::Failure::Blocked => Self::new(
                FailureCode::Blocked,
                WHAT,
                why,
                "let them in again: qpq contact unblock NAME",
            ),
            engine::Failure::UnknownContact => Self::new(
                FailureCode::UnknownContact,
                WHAT,
                "this person is no contact, or not any more",
                "qpq contact list",
            ),
            engine::Failure::NotStored => Self::new(
                FailureCode::NotStored,
                "nothing was stored",
                "the disk did not take it",
                "make room on the disk, then try again",
            ),
            engine::Failure::Damaged => Self::new(
                FailureCode::ProfileUnreadable,
                "nothing was stored",
                why,
                DAMAGED_HINT,
            ),
            engine::Failure::TooManyLinks => Self::usage(
                "no link was made",
                why,
                "take one back: qpq invite list, then qpq invite cancel ID",
            ),
            engine::Failure::UnknownLink => Self::new(
                FailureCode::UnknownLink,
                "no link was taken back",
                why,
                "qpq invite list shows the links that can be used",
            ),
            engine::Failure::OwnLink => Self::usage(
                "nobody was asked",
                why,
                "send it to the person whom you want as a contact",
            ),
            engine::Failure::AlreadyContact(name) => Self::new(
                FailureCode::AlreadyContact,
                format!("{name} is a contact already"),
                "this person made the link",
                format!("talk to them: qpq chat {}", contact::quoted(&name)),
            ),
            engine::Failure::InviteOpen | engine::Failure::JoinRunning => {
                Self::usage(WHAT, why, "wait for it to end, or end it")
            }
            engine::Failure::IdTaken | _ => Self::unexpected(WHAT, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_candidates_are_cut() {
        let names: Vec<_> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(
            listed(names.iter().map(String::as_str)),
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more"
        );
        assert_eq!(listed(["ben"].into_iter()), "ben");
    }

    #[test]
    fn engine_failures_have_the_exit_codes_of_the_contract() {
        for (failure, exit) in [
            (engine::Failure::UnknownChat, 6),
            (engine::Failure::AmbiguousChat(vec!["a".into()]), 6),
            (engine::Failure::TextLength, 2),
            (engine::Failure::NotStored, 1),
            (engine::Failure::Damaged, 3),
            (engine::Failure::InviteOpen, 2),
        ] {
            assert_eq!(Failure::from(failure).code.exit(), exit);
        }
    }
}
