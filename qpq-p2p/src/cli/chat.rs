//! `qpq chat`: a conversation, line by line: what is typed is sent, what comes is printed.

mod batch;

use std::{sync::OnceLock, time::Duration};

use qpq_core::{id::PeerId, sanitize};
use tokio::sync::watch;

use super::{
    Context, DONE, Exit, INTERRUPTED, can_converse,
    follow::{Follow, Round},
    input::{InputError, Lines},
    output::Output,
    render,
};
use crate::{
    control::Client,
    event::{Event, OwnerKind, Reason, Recipient},
    failure::{Failure, FailureCode},
    request::{Read, Request, Text},
    sink::{Sink, SinkError},
};
use batch::Batch;

/// Talk with somebody, line by line
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example:\n  qpq chat ben\n\n\
    Enter sends a line; Ctrl+R shows what you have typed, where something came in between;\n\
    /quit or Ctrl+D ends; a text that begins with / is sent as //text. Exit code 7: something you wrote is kept, but not delivered yet.")]
pub(super) struct Arguments {
    /// Name of the chat [default: the one with the newest message]
    name: Option<String>,
    /// Line by line, without redrawing (always so in this version)
    #[arg(long)]
    plain: bool,
}

/// Earlier messages shown first.
const HISTORY: u32 = 10;

/// How long the end waits for what is not delivered yet.
const FAREWELL: Duration = Duration::from_secs(2);

const PROMPT: &str = "> ";

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    context.output.refuse_closed()?;
    let client = context.lasting_client(OwnerKind::Chat).await?;
    let outcome = match find(&client, arguments.name).await {
        Ok(chat) => converse(&client, &chat, context).await,
        Err(failure) => Err(failure),
    };
    client.close().await;
    outcome
}

/// Who joined, as `NoteJoined` saw it.
#[derive(Debug)]
pub(super) struct Contact {
    name: String,
    id: PeerId,
}

/// Passes events on and keeps who joined.
pub(super) struct NoteJoined<'a, S> {
    pub(super) sink: &'a mut S,
    pub(super) joined: &'a OnceLock<Contact>,
}

impl<S: Sink> Sink for NoteJoined<'_, S> {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        if let Event::Joined { name, id, .. } = &event {
            let _ = self.joined.set(Contact {
                name: name.clone(),
                id: *id,
            });
        }
        self.sink.put(event).await
    }

    async fn closed(&self) {
        self.sink.closed().await;
    }
}

/// Goes on into the conversation with a new contact.
pub(super) async fn with(client: &Client, contact: &Contact, context: &Context) -> Result<Exit, Failure> {
    // By id first: another chat may have the same name.
    let chat = match find(client, Some(contact.id.to_text())).await {
        Err(failure) if failure.code == FailureCode::UnknownChat => {
            find(client, Some(contact.name.clone())).await?
        }
        found => found?,
    };
    converse(client, &chat, context).await
}

async fn find(client: &Client, name: Option<String>) -> Result<String, Failure> {
    let mut found = Vec::new();
    let request = Request::Read(Read::Chat { name });
    client.run(request, &mut found).await?;
    match found.pop() {
        Some(Event::Chat { name, .. }) => Ok(name),
        _ => Err(Failure::unexpected(
            "there is no chat to open",
            "the store answered something else",
        )),
    }
}

async fn converse(client: &Client, chat: &str, context: &Context) -> Result<Exit, Failure> {
    let output = &context.output;
    if !output.is_json() {
        output.heading(&render::header(chat))?;
    }
    let request = Read::Seen {
        chat: chat.to_owned(),
        last: HISTORY,
    };
    client
        .run(Request::Read(request), &mut output.printer(render::heard))
        .await?;

    let (end, ended) = watch::channel(false);
    let mut printer = output.printer(render::heard).until(ended.clone());
    let request = Request::Listen {
        chat: Some(chat.to_owned()),
        count: None,
        patience: None,
        after: None,
    };
    let mut listening = std::pin::pin!(client.run(request, &mut printer));
    let mut talk = Talk {
        client,
        chat,
        output,
        prompts: can_converse() && !output.is_json(),
        follow: Follow::new(client, chat),
        told: None,
    };
    let talked = {
        let mut talking = std::pin::pin!(talk.run(ended));
        // Neither is dropped in the middle: listening ends between two messages, so that none is shown again next
        // time, and talking between two lines, so that none is stored and not told of.
        tokio::select! {
            heard = &mut listening => {
                end.send_replace(true);
                heard.and(talking.await)
            }
            talked = &mut talking => {
                end.send_replace(true);
                listening.await.and(talked)
            }
        }
    };
    let farewell = talk.farewell().await;
    talked?;
    farewell
}

/// The own half of a conversation.
struct Talk<'a> {
    client: &'a Client,
    chat: &'a str,
    output: &'a Output,
    prompts: bool,
    follow: Follow<'a>,
    /// Why something waits, as it was told last.
    told: Option<String>,
}

impl Talk<'_> {
    /// Sends line by line until the input ends, or listening does.
    async fn run(&mut self, mut ended: watch::Receiver<bool>) -> Result<(), Failure> {
        self.prompt()?;
        let mut lines = Lines::of_stdin();
        while !*ended.borrow() {
            tokio::select! {
                line = lines.next() => {
                    let Some(line) = line else { return Ok(()) };
                    match line {
                        // Nobody has pressed Enter.
                        Err(InputError::Half(_)) => self.output.leave_prompt()?,
                        Ok(_) | Err(_) => self.output.answered(),
                    }
                    let Batch { texts, refused, end } = Batch::take(line, &mut lines);
                    self.say(texts).await?;
                    for why in refused {
                        self.output.refusal(&why)?;
                    }
                    if let Some(end) = end {
                        return end;
                    }
                    self.prompt()?;
                }
                round = self.follow.round() => self.tell(&round?)?,
                _ = ended.changed() => {}
            }
        }
        Ok(())
    }

    async fn say(&mut self, texts: Vec<String>) -> Result<(), Failure> {
        if !texts.is_empty() {
            let mut events = Vec::new();
            let request = Request::Send {
                chat: self.chat.to_owned(),
                texts: texts.into_iter().map(Text::new).collect::<Result<_, _>>()?,
            };
            self.client.run(request, &mut events).await?;
            self.follow.add(&events);
        }
        Ok(())
    }

    /// Tells that something waits, again when there is another reason, and once that nothing does any more.
    fn tell(&mut self, round: &Round) -> Result<(), SinkError> {
        if self.output.is_json() {
            let mut ended = round.delivered.iter().chain(&round.given_up);
            return ended.try_for_each(|event| self.output.printer(render::heard).write(event));
        }
        if let Some(event) = round.given_up.first() {
            // What waits beside it is told in the next round.
            self.told = None;
            return self.output.lines(&unsent(event));
        }
        let why = round.waiting.first().map(who_lacks);
        if why == self.told || (why.is_none() && !self.follow.is_done()) {
            return Ok(());
        }
        let text = match &why {
            Some(why) => format!("(not delivered yet: {why})"),
            None => "(delivered)".to_owned(),
        };
        self.told = why;
        self.output.lines(&text)
    }

    fn prompt(&self) -> Result<(), SinkError> {
        if self.prompts {
            self.output.prompt(PROMPT)
        } else {
            Ok(())
        }
    }

    /// Gives what is not delivered a last chance, and tells the truth about it.
    async fn farewell(&mut self) -> Result<Exit, Failure> {
        // Ctrl+D and Ctrl+C leave the prompt standing.
        self.output.leave_prompt()?;
        let until = tokio::time::Instant::now() + FAREWELL;
        while !self.follow.is_done() {
            match tokio::time::timeout_at(until, self.follow.round()).await {
                Ok(round) => self.tell(&round?)?,
                Err(_) => break,
            }
        }
        let round = self.follow.last_look().await?;
        for event in [&round.delivered, &round.given_up, &round.waiting]
            .into_iter()
            .flatten()
        {
            if self.output.is_json() {
                self.output.printer(render::heard).write(event)?;
            }
        }
        if let Some(event) = round.given_up.first().filter(|_| !self.output.is_json()) {
            self.output.lines(&unsent(event))?;
        }
        if let Some(event) = round.waiting.first() {
            if !self.output.is_json() {
                self.output.lines(&kept(round.waiting.len(), event))?;
            }
            return Ok(self.exit(FailureCode::NotDelivered.exit()));
        }
        Ok(self.exit(DONE))
    }

    fn exit(&self, otherwise: Exit) -> Exit {
        if self.output.is_stopped() {
            INTERRUPTED
        } else {
            otherwise
        }
    }
}

/// `ben is away`
fn who_lacks(event: &Event) -> String {
    let Event::Sent { recipients, .. } = event else {
        return String::new();
    };
    let lacks = |recipient: &Recipient| {
        let name = sanitize::name(&recipient.name);
        match (recipient.reason_code, recipient.reason.as_deref()) {
            (Some(Reason::Away), _) => format!("{name} is away"),
            (Some(Reason::NotConfirmed), _) | (_, None) => format!("{name} has not confirmed yet"),
            (Some(Reason::OlderCopy), Some(reason)) => reason.to_owned(),
            (_, Some(reason)) => format!("{name}: {}", sanitize::name(reason)),
        }
    };
    recipients.iter().map(lacks).collect::<Vec<_>>().join(", ")
}

fn unsent(event: &Event) -> String {
    format!("(not sent any more: {})", who_lacks(event))
}

fn kept(count: usize, event: &Event) -> String {
    let messages = if count == 1 { "message is" } else { "messages are" };
    format!(
        "({count} {messages} kept here, not delivered yet: {})",
        who_lacks(event)
    )
}

#[cfg(test)]
mod tests {
    use qpq_core::id::MessageId;

    use super::*;
    use crate::event::DeliveryState;

    #[test]
    fn what_is_not_delivered_is_told_with_its_reason() {
        let sent = |reason: Reason| Event::Sent {
            id: MessageId([0; 16]),
            chat: "ben".into(),
            state: DeliveryState::Here,
            recipients: vec![Recipient {
                name: "ben".into(),
                id: PeerId([0; 32]),
                state: DeliveryState::Here,
                reason: Some(reason.to_string()),
                reason_code: Some(reason),
            }],
        };
        assert_eq!(who_lacks(&sent(Reason::Away)), "ben is away");
        assert_eq!(who_lacks(&sent(Reason::Blocked)), "ben: blocked by you");
        assert_eq!(
            kept(1, &sent(Reason::Away)),
            "(1 message is kept here, not delivered yet: ben is away)"
        );
        assert_eq!(
            unsent(&sent(Reason::Removed)),
            "(not sent any more: ben: removed by you)"
        );
        assert_eq!(
            kept(2, &sent(Reason::NotConfirmed)),
            "(2 messages are kept here, not delivered yet: ben has not confirmed yet)"
        );
    }
}
