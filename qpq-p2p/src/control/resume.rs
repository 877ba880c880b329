//! What of a request is asked again when its owner ended in the middle, so that nothing is shown twice or lost.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use qpq_core::{
    id::{LinkId, MessageId, PeerId},
    invite::{Code, Link},
};

use crate::{
    event::{self, Event},
    failure::Failure,
    request::{Reopened, Request, Resumed, Shown},
    sink::{Sink, SinkError},
};

/// `listen` marks messages as read page by page: no more than a page was shown and not marked.
const UNMARKED: usize = 128;

/// How far a request got.
pub(super) struct Course {
    request: Request,
    begun: Instant,
    begun_at: i64,
    /// Whether an owner ended in the middle.
    resumes: bool,
    /// Events that were handed on.
    handed: u64,
    /// Messages that were handed on.
    messages: u64,
    /// Messages that were handed on last.
    last: VecDeque<MessageKey>,
    /// Those that may come again.
    again: BTreeSet<MessageKey>,
    /// Where an answer that is told from its beginning was left.
    skipping: Option<MessageKey>,
    /// Own messages whose state was told.
    told: BTreeSet<MessageId>,
    /// The invite that was told of, with its link, and the guesses that are left.
    invite: Option<(Code, Option<LinkId>, u8)>,
    ready: bool,
    /// Who was told of.
    people: BTreeSet<Somebody>,
    /// Those whom the next owner tells of from the beginning.
    people_again: BTreeSet<Somebody>,
}

/// Somebody who is told of once by each owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Somebody {
    Asking(PeerId),
    Held(PeerId),
    Nearby(PeerId),
    /// Nobody knows who.
    At(SocketAddr),
}

impl Somebody {
    fn of(event: &Event) -> Option<Self> {
        if let Event::Request { id, .. } = event {
            Some(Self::Asking(*id))
        } else if let Event::Held { id, .. } = event {
            Some(Self::Held(*id))
        } else if let Event::Nearby(nearby) = event {
            let somewhere = nearby.addresses.first().copied().map(Self::At);
            nearby.id.map(Self::Nearby).or(somewhere)
        } else {
            None
        }
    }
}

/// So many are remembered; others may be told of twice.
const PEOPLE_MAX: usize = 1_024;

/// Two people may draw the same id, and one may use it in two chats.
type MessageKey = (String, PeerId, MessageId);

/// Guesses of a new invite.
const GUESSES: u8 = 3;

impl Course {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            begun: Instant::now(),
            begun_at: Timestamp::now().as_millisecond(),
            resumes: false,
            handed: 0,
            messages: 0,
            last: VecDeque::new(),
            again: BTreeSet::new(),
            skipping: None,
            told: BTreeSet::new(),
            invite: None,
            ready: false,
            people: BTreeSet::new(),
            people_again: BTreeSet::new(),
        }
    }

    /// What is to be asked now.
    pub(super) fn request(&self) -> Request {
        let mut request = self.request.clone();
        if !self.resumes {
            return request;
        }
        let elapsed = self.begun.elapsed();
        let gone = Resumed {
            since: self.begun_at,
            elapsed,
        };
        let rest = |patience: &mut Duration| *patience = patience.saturating_sub(elapsed);
        if let Request::Track { ids, patience, .. } = &mut request {
            ids.retain(|id| !self.told.contains(id));
            rest(patience);
        } else if let Request::Nearby { patience, .. } = &mut request {
            rest(patience);
        } else if let Request::Listen { patience, after, .. } = &mut request {
            // `count` is kept by this side.
            patience.iter_mut().for_each(rest);
            *after = self
                .last
                .back()
                .map(|(_, from, id)| Shown { from: *from, id: *id });
        } else if let Request::JoinLink { patience, .. } = &mut request {
            rest(patience);
        } else if let Request::Join { resumed, .. } = &mut request {
            *resumed = Some(gone);
        } else if let Request::Invite { reopened, .. } = &mut request {
            *reopened = self.invite.clone().map(|(code, link, guesses_left)| Reopened {
                code,
                link,
                guesses_left,
                resumed: gone,
            });
        }
        request
    }

    /// The owner ended in the middle.
    ///
    /// # Errors
    /// [`Failure`]: this cannot be asked again.
    pub(super) fn broke(&mut self) -> Result<(), Failure> {
        let starts_anew = matches!(
            self.request,
            Request::Send { .. }
                | Request::Track { .. }
                | Request::Listen { .. }
                | Request::Nearby { .. }
                | Request::Join { .. }
                | Request::JoinLink { .. }
                | Request::Invite { .. }
                | Request::Stay
        );
        let is_read = matches!(self.request, Request::Read(_));
        if !starts_anew && !(is_read && (self.handed == 0 || self.messages == self.handed)) {
            return Err(Failure::unexpected(
                "it is not known whether this was done",
                "the qpq that owned the profile ended in the middle",
            ));
        }
        self.resumes = true;
        self.people_again = self.people.clone();
        if is_read {
            self.skipping = self.last.back().cloned();
        } else {
            self.again = self.last.iter().cloned().collect();
        }
        Ok(())
    }

    /// Whether everything that was asked for was told.
    pub(super) fn is_done(&self) -> bool {
        if let Request::Listen {
            count: Some(count), ..
        } = &self.request
        {
            return self.messages >= *count;
        }
        if let Request::Track { ids, .. } = &self.request {
            return ids.iter().all(|id| self.told.contains(id));
        }
        // Their event says that it was done. What may follow is for the sake of others.
        let says_so = matches!(
            self.request,
            Request::Contact { .. }
                | Request::Verify { .. }
                | Request::InviteLink { .. }
                | Request::CancelLink { .. }
        );
        says_so && self.handed > 0
    }

    /// What the outcome of the last owner means for the whole.
    pub(super) fn conclude(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        if self.is_done() {
            return Ok(());
        }
        if outcome.is_ok() && self.skipping.is_some() {
            return Err(Failure::unexpected(
                "not everything was shown",
                "the messages changed while they were read",
            ));
        }
        outcome
    }

    /// Whether an event is news; one that is not is taken and not shown.
    fn is_news(&mut self, event: &Event) -> bool {
        if let Event::Message(message) = event {
            let key = key(message);
            if let Some(left_at) = &self.skipping {
                if *left_at == key {
                    self.skipping = None;
                }
                return false;
            }
            return !self.again.remove(&key);
        }
        if let Event::Sent { id, .. } = event {
            return !self.told.contains(id);
        }
        if let Some(somebody) = Somebody::of(event) {
            return !self.people_again.remove(&somebody);
        }
        // The code is told once, and once that all is ready.
        !(matches!(event, Event::Invite { .. }) && self.invite.is_some()
            || matches!(event, Event::Ready { .. }) && self.ready)
    }

    /// An event was handed on.
    fn note(&mut self, event: &Event) {
        self.handed = self.handed.saturating_add(1);
        if let Some(somebody) = Somebody::of(event).filter(|_| self.people.len() < PEOPLE_MAX) {
            self.people.insert(somebody);
        } else if let Event::RequestDropped { id, .. } | Event::Joined { id, .. } = event {
            // Should they ask again, that is news.
            self.people.remove(&Somebody::Asking(*id));
            self.people_again.remove(&Somebody::Asking(*id));
        }
        if let Event::Message(message) = event {
            self.messages = self.messages.saturating_add(1);
            if self.last.len() >= UNMARKED {
                self.last.pop_front();
            }
            self.last.push_back(key(message));
        } else if let Event::Sent { id, .. } = event {
            self.told.insert(*id);
        } else if let Event::Invite {
            code: Some(code),
            link,
            ..
        } = event
        {
            let link = link.as_ref().and_then(|link| link.0.parse::<Link>().ok());
            let id = link.map(|link| link.id());
            self.invite = code.0.parse().ok().map(|code| (code, id, GUESSES));
        } else if let Event::GuessFailed { left } = event {
            if let Some((_, _, guesses_left)) = &mut self.invite {
                *guesses_left = *left;
            }
        } else if matches!(event, Event::Ready { .. }) {
            self.ready = true;
        }
    }
}

fn key(message: &event::Message) -> MessageKey {
    (message.chat.clone(), message.from_id, message.id)
}

/// Hands on what is news, and no more than was asked for.
pub(super) struct Onward<'a, S> {
    sink: &'a mut S,
    course: &'a mut Course,
}

impl<'a, S: Sink> Onward<'a, S> {
    pub(super) fn new(sink: &'a mut S, course: &'a mut Course) -> Self {
        Self { sink, course }
    }
}

impl<S: Sink> Sink for Onward<'_, S> {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        if matches!(event, Event::Message(_)) && self.course.is_done() {
            return Err(SinkError(std::io::ErrorKind::BrokenPipe));
        }
        if !self.course.is_news(&event) {
            return Ok(());
        }
        let noted = event.clone();
        self.sink.put(event).await?;
        self.course.note(&noted);
        Ok(())
    }

    async fn closed(&self) {
        // The owner of the moment does not know what the ones before it have told.
        if !(self.course.resumes && self.course.is_done()) {
            self.sink.closed().await;
        }
    }
}

#[cfg(test)]
mod tests;
