//! `qpq send`: one message, or one per line of standard input.

mod told;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use tokio::time::Instant;

use self::told::{given_up, not_delivered, recipients, summary, told_with_kept};
use super::{
    Context, DONE, Exit, INTERRUPTED,
    follow::{Follow, Round},
    input::{self, InputError, Lines, TEXT_MAX},
    output::Output,
    render,
};
use crate::{
    control::Client,
    event::Event,
    failure::Failure,
    request::{Request, Text},
    sink::SinkError,
};

/// Send a message, and wait until it is delivered
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  qpq send ben \"Saturday 9:00?\"\n  make 2>&1 | tail -3 | qpq send ben\n  \
    tail -f app.log | qpq send ben --lines\n\n\
    Exit code 0: delivered; 7: kept, but not delivered before --timeout was over.\n\
    What is kept is delivered whenever both sides run qpq at the same time."
)]
pub(super) struct Arguments {
    /// Name of the chat
    chat: String,
    /// The message; - or nothing: standard input
    #[arg(conflicts_with = "lines")]
    text: Option<String>,
    /// Send every line of standard input as a message of its own
    #[arg(long)]
    lines: bool,
    /// What to wait for; queued: only until the message is kept on this disk
    #[arg(long, value_enum, value_name = "STATE", default_value_t = Wait::Delivered)]
    wait: Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wait {
    Queued,
    Delivered,
}

/// How long people wait for a message to be delivered.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many lines are stored in one transaction.
const BATCH: usize = 64;

/// And so many bytes of them, and one line more: a request has its bounds.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// Where the texts come from.
enum Source {
    One(Option<String>),
    Lines(Lines),
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let source = Source::open(&arguments, context).await?;
    let client = context.client().await?;
    let delivery = Delivery {
        chat: &arguments.chat,
        lines: arguments.lines,
        output: &context.output,
        follow: Follow::new(&client, &arguments.chat),
        stored: 0,
        delivered: 0,
        given_up: 0,
        unsent: None,
        failure: None,
        output_failure: None,
    };
    let patience = context.settings.timeout.unwrap_or(PATIENCE);
    let waits = arguments.wait == Wait::Delivered && !arguments.lines;
    let text = format!("waiting for {}; Ctrl+C ends, and it is kept", arguments.chat);
    let waiting = waits.then(|| context.output.waiting_for(text));
    let outcome = delivery.run(&client, source, arguments.wait, patience).await;
    drop(waiting);
    client.close().await;
    outcome
}

impl Source {
    async fn open(arguments: &Arguments, context: &Context) -> Result<Self, Failure> {
        const HINT: &str = "qpq send ben \"hello\"";
        if arguments.lines {
            return Ok(Self::Lines(Lines::of_stdin()));
        }
        let text = match &arguments.text {
            Some(text) if text != "-" => text.clone(),
            None if io::stdin().is_terminal() => {
                return Err(Failure::usage("nothing was sent", "there is no text", HINT));
            }
            _ => whole_stdin(&context.output).await?,
        };
        if text.is_empty() || text.len() > TEXT_MAX {
            let why = format!("a text has 1 to 65,536 bytes, this one has {}", text.len());
            return Err(Failure::usage("nothing was sent", why, HINT));
        }
        Ok(Self::One(Some(text)))
    }

    /// The next texts, as many as are there already; `None` at the end. Losing the future loses nothing.
    async fn next(&mut self) -> Result<Option<Vec<String>>, InputError> {
        let lines = match self {
            Self::One(text) => return Ok(text.take().map(|text| vec![text])),
            Self::Lines(lines) => lines,
        };
        let Some(first) = lines.next().await.transpose()? else {
            return Ok(None);
        };
        let mut bytes = first.len();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            match lines.ready() {
                Some(Ok(line)) => {
                    bytes = bytes.saturating_add(line.len());
                    batch.push(line);
                }
                // The line before a fault is sent; the fault is met again as the end of the input.
                Some(Err(error)) => {
                    lines.put_back(error);
                    break;
                }
                None => break,
            }
        }
        batch.retain(|line| !line.is_empty());
        Ok(Some(batch))
    }
}

async fn whole_stdin(output: &Output) -> Result<String, Failure> {
    let reading = tokio::task::spawn_blocking(|| input::whole(io::stdin().lock()));
    tokio::select! {
        text = reading => Ok(text.map_err(|error| Failure::unexpected("nothing was sent", error))??),
        () = output.stop() => Err(Failure::interrupted()),
    }
}

/// One run of `send`: stores, follows, tells.
struct Delivery<'a> {
    chat: &'a str,
    lines: bool,
    output: &'a Output,
    follow: Follow<'a>,
    stored: u64,
    delivered: u64,
    given_up: u64,
    /// The first of those that were given up.
    unsent: Option<Event>,
    /// Why there was no more to store.
    failure: Option<Failure>,
    /// Messages go on to be delivered when nobody reads about it any more.
    output_failure: Option<SinkError>,
}

impl Delivery<'_> {
    async fn run(
        mut self,
        client: &Client,
        mut source: Source,
        wait: Wait,
        patience: Duration,
    ) -> Result<Exit, Failure> {
        let mut until = None;
        let mut left_waiting = Round::default();
        while until.is_none() || !(self.follow.is_done() || wait == Wait::Queued) {
            tokio::select! {
                batch = source.next(), if until.is_none() => match self.take(client, batch, wait).await {
                    Ok(Some(queued)) if queued.is_empty() => {}
                    Ok(Some(queued)) => left_waiting.waiting = queued,
                    ended => {
                        self.failure = ended.err();
                        until = Some(Instant::now() + patience);
                    }
                },
                round = self.follow.round(), if wait == Wait::Delivered => self.tell_ended(&round?),
                () = sleep_until(until) => break,
                () = self.output.stop() => break,
            }
        }
        if wait == Wait::Delivered {
            left_waiting = self.follow.last_look().await?;
            self.tell_ended(&left_waiting);
            self.tell_each(&left_waiting.waiting);
        }
        self.finish(wait, &left_waiting.waiting)
    }

    /// Stores a batch; `None` at the end of the input. Returns what is to be told when nothing is waited for.
    async fn take(
        &mut self,
        client: &Client,
        batch: Result<Option<Vec<String>>, InputError>,
        wait: Wait,
    ) -> Result<Option<Vec<Event>>, Failure> {
        let Some(texts) = batch? else { return Ok(None) };
        let mut events = Vec::new();
        if !texts.is_empty() {
            let request = Request::Send {
                chat: self.chat.to_owned(),
                texts: texts.into_iter().map(Text::new).collect::<Result<_, _>>()?,
            };
            client.run(request, &mut events).await?;
        }
        self.stored += u64::try_from(events.len()).unwrap_or(u64::MAX);
        match wait {
            Wait::Delivered => self.follow.add(&events),
            Wait::Queued => self.tell_each(&events),
        }
        Ok(Some(events))
    }

    fn tell_ended(&mut self, round: &Round) {
        self.delivered += u64::try_from(round.delivered.len()).unwrap_or(u64::MAX);
        self.given_up += u64::try_from(round.given_up.len()).unwrap_or(u64::MAX);
        self.unsent = self.unsent.take().or_else(|| round.given_up.first().cloned());
        self.tell_each(&round.delivered);
        self.tell_each(&round.given_up);
    }

    /// A line for each; for many lines people get one summary instead.
    fn tell_each(&mut self, events: &[Event]) {
        let printer = self
            .output
            .printer(|event| if self.lines { None } else { render::sent(event) });
        let failed = events.iter().find_map(|event| printer.write(event).err());
        self.output_failure = self.output_failure.or(failed);
    }

    fn finish(self, wait: Wait, waiting: &[Event]) -> Result<Exit, Failure> {
        let failure = self.failure.map(|failure| told_with_kept(failure, self.stored));
        if self.lines && !self.output.is_json() && (self.stored > 0 || failure.is_none()) {
            let here = self
                .stored
                .saturating_sub(self.delivered)
                .saturating_sub(self.given_up);
            let ends = [
                ("here, waiting for", here, waiting.first()),
                ("not sent any more:", self.given_up, self.unsent.as_ref()),
            ];
            let _ = self.output.lines(&summary(self.stored, self.delivered, ends));
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if self.output.is_stopped() {
            return Ok(INTERRUPTED);
        }
        if wait == Wait::Delivered && self.delivered < self.stored {
            return Err(match (waiting.first(), &self.unsent) {
                (None, Some(unsent)) => given_up(recipients(unsent)),
                (first, _) => not_delivered(first.map(recipients).unwrap_or_default()),
            });
        }
        self.output_failure.map_or(Ok(DONE), |error| Err(error.into()))
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
