//! The only place that prints. Everything passes through `sanitize` here, so that nothing which others wrote
//! can reach the terminal as more than text.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use qpq_core::sanitize;
use tokio::sync::watch;

use crate::{
    config::Color,
    event::{Event, EventLine, FailureLine, WarningLine},
    failure::Failure,
    sink::{Sink, SinkError},
};

mod hidden;
mod json;
mod screen;

pub(crate) use hidden::Hidden;
pub(crate) use screen::writes_under_way;

/// Where lines go, and in which form.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    bold: bool,
    /// True from the first Ctrl+C or SIGTERM on.
    stopped: watch::Receiver<bool>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool, color: Color, stopped: watch::Receiver<bool>) -> Self {
        Self {
            json,
            quiet,
            bold: !json && wants_colour(color),
            stopped,
        }
    }

    /// Whether answers are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether hints and progress are left out.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Refuses to show what is shown once to nobody at all.
    pub(crate) fn refuse_closed(&self) -> Result<(), SinkError> {
        if screen::is_closed() {
            return Err(SinkError(io::ErrorKind::NotConnected));
        }
        Ok(())
    }

    /// Whether a signal asked to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Writes one or more lines of the answer for people. Flushed when this returns.
    pub(crate) fn lines(&self, text: &str) -> Result<(), SinkError> {
        screen::out(format!("{}\n", sanitize::text(text)).as_bytes())
    }

    /// The same, set off from the rest where the terminal can.
    pub(crate) fn heading(&self, text: &str) -> Result<(), SinkError> {
        let text = sanitize::text(text);
        if self.bold {
            screen::out(format!("\x1b[1m{text}\x1b[0m\n").as_bytes())
        } else {
            self.lines(&text)
        }
    }

    /// Whether a figure of so many columns can be shown, which only makes sense to people.
    pub(crate) fn has_room(&self, columns: usize) -> bool {
        !self.json && screen::columns().is_some_and(|width| columns <= width)
    }

    /// Writes a figure whose blocks are light and whose gaps are dark, also where the terminal's colours are the
    /// other way round.
    pub(crate) fn figure(&self, text: &str) -> Result<(), SinkError> {
        if !self.bold {
            return self.lines(text);
        }
        let line = |line: &str| format!("\x1b[40;97m{}\x1b[0m\n", sanitize::name(line));
        screen::out(text.lines().map(line).collect::<String>().as_bytes())
    }

    /// Tells why something was not done, where that is no reason to end.
    pub(crate) fn refusal(&self, text: &str) -> Result<(), SinkError> {
        if self.json {
            warn(text, true);
            return Ok(());
        }
        self.lines(&format!("({text})"))
    }

    /// Writes the start of a line that the user goes on with. Until it is answered or left, everything else is
    /// written above it.
    pub(crate) fn prompt(&self, text: &str) -> Result<(), SinkError> {
        screen::ask(&sanitize::name(text))
    }

    /// The user has answered the prompt with Enter.
    pub(crate) fn answered(&self) {
        screen::answered();
    }

    /// Goes on below a prompt that was not answered.
    pub(crate) fn leave_prompt(&self) -> Result<(), SinkError> {
        screen::leave()
    }

    /// Ends when a signal asks to stop.
    pub(crate) async fn stop(&self) {
        becomes_true(self.stopped.clone()).await;
    }

    /// Tells something on standard error that is no part of the answer.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            write_err(&[text]);
        }
    }

    /// Tells what is waited for, where that goes on for so long that somebody wonders: until the guard is dropped.
    pub(crate) fn waiting_for(&self, text: impl Into<String>) -> Waiting {
        let (output, text) = (self.clone(), text.into());
        Waiting(tokio::spawn(async move {
            tokio::time::sleep(WONDER).await;
            if io::stderr().is_terminal() {
                output.note(&text);
            }
        }))
    }

    /// Asks on standard error; the answer is the caller's to read.
    pub(crate) fn ask(&self, text: &str) {
        screen::err(sanitize::name(text).as_bytes());
    }

    /// Tells the three lines of a failure, or its JSON object, unless there is nothing to tell.
    pub(crate) fn failure(&self, failure: &Failure) {
        report(failure, self.json, self.quiet);
    }

    /// A sink that writes events as JSON, or as `render` has it for people.
    pub(crate) fn printer<R: Fn(&Event) -> Option<String> + Send + Sync>(&self, render: R) -> Printer<R> {
        Printer {
            output: self.clone(),
            render,
            stop: self.stopped.clone(),
            messages: 0,
        }
    }
}

/// So long nobody wonders.
const WONDER: Duration = Duration::from_secs(2);

/// Something that is waited for.
#[derive(Debug)]
pub(crate) struct Waiting(tokio::task::JoinHandle<()>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells a failure when there is no [`Output`] yet.
pub(crate) fn report(failure: &Failure, json: bool, quiet: bool) {
    if failure.code.is_silent() {
        return;
    }
    if json {
        screen::err(&json::line(&FailureLine::from(failure)));
    } else if quiet {
        write_err(&[&failure.what, &failure.why]);
    } else {
        let hint = format!("hint: {}", failure.hint);
        write_err(&[&failure.what, &failure.why, &hint]);
    }
}

/// Tells a warning when there is no [`Output`] yet.
pub(crate) fn warn(text: &str, json: bool) {
    if json {
        screen::err(&json::line(&WarningLine::from(text)));
    } else {
        write_err(&[&format!("warning: {text}")]);
    }
}

/// Tells what went wrong beside the request, whatever that is doing.
pub(crate) fn background(text: &str, json: bool) {
    if json {
        warn(text, json);
    } else {
        write_err(&[&format!("qpq: {text}")]);
    }
}

/// Help and version: our own text, as it is.
pub(crate) fn help(text: &str, to_stderr: bool) -> Result<(), SinkError> {
    if to_stderr {
        screen::err(text.as_bytes());
        return Ok(());
    }
    screen::out(text.as_bytes())
}

/// A file for another program, such as a manual page: our own text, as it is.
pub(crate) fn document(bytes: &[u8]) -> Result<(), SinkError> {
    screen::out(bytes)
}

/// Writes events as they come.
#[derive(Debug)]
pub(crate) struct Printer<R> {
    output: Output,
    render: R,
    stop: watch::Receiver<bool>,
    messages: u64,
}

impl<R> Printer<R> {
    /// How many messages were written.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Also ends when this becomes true.
    pub(crate) fn until(mut self, stop: watch::Receiver<bool>) -> Self {
        self.stop = stop;
        self
    }
}

impl<R: Fn(&Event) -> Option<String>> Printer<R> {
    /// Writes one event.
    pub(crate) fn write(&self, event: &Event) -> Result<(), SinkError> {
        if self.output.json {
            return screen::out(&json::line(&EventLine::from(event)));
        }
        match (self.render)(event) {
            Some(text) => self.output.lines(&text),
            None => Ok(()),
        }
    }
}

impl<R: Fn(&Event) -> Option<String> + Send + Sync> Sink for Printer<R> {
    async fn put(&mut self, event: Event) -> Result<(), SinkError> {
        self.write(&event)?;
        if matches!(event, Event::Message(_)) {
            self.messages += 1;
        }
        Ok(())
    }

    async fn closed(&self) {
        tokio::select! {
            () = becomes_true(self.stop.clone()) => {}
            () = becomes_true(self.output.stopped.clone()) => {}
        }
    }
}

/// A watch whose other end is gone will never become true.
async fn becomes_true(mut watch: watch::Receiver<bool>) {
    if watch.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending().await
    }
}

fn write_err(lines: &[&str]) {
    let text: String = lines
        .iter()
        .map(|line| format!("{}\n", sanitize::name(line)))
        .collect();
    screen::err(text.as_bytes());
}

fn wants_colour(color: Color) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let is = |name, wanted: &str| set(name).is_some_and(|value| value == wanted);
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let forced = set("CLICOLOR_FORCE").is_some() && !is("CLICOLOR_FORCE", "0");
            let refused = set("NO_COLOR").is_some() || is("CLICOLOR", "0") || is("TERM", "dumb");
            !refused && (forced || io::stdout().is_terminal())
        }
    }
}
