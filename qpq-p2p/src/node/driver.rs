//! The driver: one loop that carries out what the engine wants and keeps the links to contacts alive.
//!
//! It awaits nobody but its own `select!`: peers, dials and mDNS are tasks of their own, whose end or panic is
//! one more thing to hear of.

mod dials;
mod ending;
mod links;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iroh::Endpoint;
use qpq_core::{
    engine::{Directory, Event, Input, Output, Purpose, SessionId},
    id::PeerId,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{debug, warn};

use super::{
    Clock,
    engine_thread::{FromEngine, Replies, Worker},
    redial::Redial,
    strangers::StrangersPlace,
    ticker::{sleep_until, tick},
    ways::{LastTry, Ways},
};
use crate::{
    lan::{Lan, News},
    link::{
        CloseCode, Ended, Link, Opened,
        handshake::{HandshakeError, Own},
    },
};
use dials::{Dial, Dials, NoLink};
use links::{Links, Standing};

/// What the tasks at the door and on the phone bring.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// An incoming connection said Hello.
    Accepted {
        opened: Opened,
        place: Option<StrangersPlace>,
    },
    /// A dial led to a link.
    Dialed { opened: Opened, asked: bool },
    /// A dial did not.
    Failed { peer: PeerId, why: NoLink, asked: bool },
}

/// Somebody wants to know the ways to people.
pub(crate) type Question = oneshot::Sender<Ways>;

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) own: Own,
    pub(crate) lan: Lan,
    pub(crate) engine: mpsc::Sender<Input>,
    pub(crate) outputs: mpsc::UnboundedReceiver<FromEngine>,
    pub(crate) replies: Replies,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) directory: watch::Sender<Option<Arc<Directory>>>,
    pub(crate) clock: Clock,
    pub(crate) arrivals_in: mpsc::Sender<Arrival>,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) worker: Worker,
}

/// The loop and its state.
pub(crate) struct Driver {
    parts: Parts,
    links: Links,
    running: JoinSet<(SessionId, Ended)>,
    redial: BTreeMap<PeerId, Redial>,
    /// Of those who are known.
    last_tries: BTreeMap<PeerId, LastTry>,
    /// Chats that a newer self of this profile went on with, until they are set up again; proved anew on each link.
    rolled_back: BTreeSet<i64>,
    /// Those who say so again of what was set up anew, and the chat: nothing more goes there on their link.
    held_back: BTreeMap<PeerId, i64>,
    dials: Dials,
    wake: mpsc::UnboundedSender<Duration>,
    mdns_lost: bool,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let (wake, wakes) = mpsc::unbounded_channel();
        tokio::spawn(tick(wakes, parts.engine.clone(), Arc::clone(&parts.clock)));
        let dials = Dials::new(
            parts.endpoint.clone(),
            parts.own,
            Arc::clone(&parts.clock),
            parts.arrivals_in.clone(),
        );
        Self {
            parts,
            links: Links::default(),
            running: JoinSet::new(),
            redial: BTreeMap::new(),
            last_tries: BTreeMap::new(),
            rolled_back: BTreeSet::new(),
            held_back: BTreeMap::new(),
            dials,
            wake,
            mdns_lost: false,
        }
    }

    /// Drives until told to stop, or until the engine's thread is gone.
    pub(crate) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let redial_at = self.next_redial();
            tokio::select! {
                _ = &mut stopped => break,
                message = self.parts.outputs.recv() => match message {
                    Some(message) => self.on_engine(message),
                    None => break,
                },
                Some(arrival) = self.parts.arrivals.recv() => self.on_arrival(arrival),
                Some(ended) = self.running.join_next() => match ended {
                    Ok((session, ended)) => self.on_ended(session, ended),
                    Err(error) => debug!(%error, "the task of a link was lost"),
                },
                news = self.parts.news.recv(), if !self.mdns_lost => match news {
                    Some(News::Contact(peer)) => self.on_seen(peer),
                    Some(News::NetworkChanged) => self.links.all().for_each(Link::probe),
                    None => self.mdns_lost = true,
                },
                Some(question) = self.parts.questions.recv() => {
                    // Whoever asked may have left.
                    let _ = question.send(self.report());
                }
                () = sleep_until(redial_at) => self.redial_due(),
            }
        }
        self.end().await;
    }

    fn on_engine(&mut self, message: FromEngine) {
        match message {
            FromEngine::Outputs(outputs) => outputs.into_iter().for_each(|output| self.carry_out(output)),
            FromEngine::Lost => self.kill_links(),
            FromEngine::Reopened(outputs) => {
                self.kill_links();
                outputs.into_iter().for_each(|output| self.carry_out(output));
                self.carry_out(Output::Event(Event::Reopened));
            }
        }
    }

    fn kill_links(&self) {
        self.links.all().for_each(|link| link.kill(CloseCode::Done));
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { session, frame } => {
                crate::failpoint::tap(&frame);
                if let Some(link) = self.links.find(session) {
                    link.send(frame);
                }
            }
            Output::Close { session } => {
                if let Some(link) = self.links.find(session) {
                    link.finish(None);
                }
            }
            Output::ReadBudget { session, bytes } => {
                if let Some(link) = self.links.find(session) {
                    link.limit(bytes);
                }
            }
            Output::Dial { peer, purpose } => self.dial_for_engine(peer, purpose),
            Output::Directory(directory) => self.follow(directory),
            Output::Reply { id, result } => self.parts.replies.answer(id, result),
            Output::Event(event) => {
                self.note(&event);
                // Nobody may be listening.
                let _ = self.parts.events.send(event);
            }
            Output::WakeAt(at) => {
                let _ = self.wake.send(at);
            }
            // Who asked for it looks for it himself.
            Output::Settled => {}
            // `Output` may grow; an engine of this workspace never emits what its driver does not know.
            other => debug!(?other, "an output that nobody carries out"),
        }
    }

    fn note(&mut self, event: &Event) {
        if let Event::HeldBack { chat, peer } = event {
            self.held_back.insert(*peer, *chat);
        } else if let Event::Online(peer) | Event::Offline(peer) = event {
            // That is said of one link.
            self.held_back.remove(peer);
        } else if let Event::RolledBack { chat } = event {
            self.rolled_back.insert(*chat);
        } else if let Event::Renewed { chat } = event {
            self.rolled_back.remove(chat);
        } else if matches!(event, Event::Reopened | Event::Joined { .. }) {
            // What was made anew goes on; elsewhere the next word of the contact proves it again.
            self.rolled_back.clear();
        }
    }

    fn follow(&mut self, directory: Directory) {
        self.links.promote(&directory);
        self.redial.retain(|peer, _| directory.known.contains_key(peer));
        self.last_tries
            .retain(|peer, _| directory.known.contains_key(peer));
        self.parts.directory.send_replace(Some(Arc::new(directory)));
    }

    fn standing(&self, peer: PeerId) -> Standing {
        let directory = self.parts.directory.borrow();
        directory
            .as_ref()
            .map_or(Standing::Stranger, |directory| Standing::of(peer, directory))
    }

    fn is_known(&self, peer: PeerId) -> bool {
        self.standing(peer) != Standing::Stranger
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Accepted { opened, place } => {
                let is_inviting = self
                    .parts
                    .directory
                    .borrow()
                    .as_ref()
                    .is_some_and(|now| now.admits_strangers());
                // The directory may have changed since the door was opened.
                if self.is_known(opened.peer) || (place.is_some() && is_inviting) {
                    self.take_in(opened, place);
                } else {
                    CloseCode::Stranger.close(&opened.connection);
                }
            }
            Arrival::Dialed { opened, asked } => {
                let peer = opened.peer;
                self.dials.decided(peer);
                self.dial_ended(peer, asked);
                if !self.is_known(peer) && !asked {
                    CloseCode::Stranger.close(&opened.connection);
                } else if !self.take_in(opened, None) && asked {
                    self.tell_engine(Input::DialFailed { peer });
                }
            }
            Arrival::Failed { peer, why, asked } => {
                self.dial_ended(peer, asked);
                self.on_failed(peer, &why, asked);
            }
        }
    }

    fn dial_ended(&mut self, peer: PeerId, asked: bool) {
        if let Some(redial) = self.redial.get_mut(&peer).filter(|_| !asked) {
            redial.ended_dial();
        }
    }

    fn on_failed(&mut self, peer: PeerId, why: &NoLink, asked: bool) {
        if let NoLink::Handshake(HandshakeError::Version(_)) = why {
            warn!(?peer, error = %why, "a contact cannot be talked to");
        } else {
            debug!(?peer, error = %why, "a dial led to no link");
        }
        self.note_failure(peer, why);
        if asked {
            return self.tell_engine(Input::DialFailed { peer });
        }
        let Some(redial) = self.redial.get_mut(&peer) else {
            return;
        };
        if why.is_refusal() {
            redial.refused(Instant::now(), jitter());
        } else if !matches!(why, NoLink::Superseded) {
            redial.failed(Instant::now(), jitter());
        }
    }

    /// Makes a link of an opened stream, unless the one that is there stays.
    fn take_in(&mut self, opened: Opened, place: Option<StrangersPlace>) -> bool {
        if let Some(redial) = self.redial.get_mut(&opened.peer) {
            redial.connected();
        }
        self.last_tries.remove(&opened.peer);
        let standing = self.standing(opened.peer);
        let engine = self.parts.engine.clone();
        let Some((session, run)) = self.links.take_in(opened, place, standing, engine) else {
            return false;
        };
        self.running.spawn(async move { (session, run.await) });
        true
    }

    fn on_ended(&mut self, session: SessionId, ended: Ended) {
        let Some((peer, since)) = self.links.remove(session) else {
            return;
        };
        debug!(?peer, ?ended, "a link ended");
        if self.links.of(peer).is_some() || !self.is_known(peer) {
            return;
        }
        self.note_end(peer, ended);
        let lived = (self.parts.clock)().monotonic.saturating_sub(since);
        let (now, redial) = (Instant::now(), self.redial.entry(peer).or_default());
        match ended {
            Ended::Bye(_) => redial.left(now, lived, jitter()),
            Ended::NotAdmitted => redial.refused(now, jitter()),
            Ended::Closed
            | Ended::Silent
            | Ended::Protocol
            | Ended::Budget
            | Ended::NoEngine
            | Ended::Bug => redial.lost(now, lived, jitter()),
        }
    }

    /// A contact's record appeared or changed.
    fn on_seen(&mut self, peer: PeerId) {
        if let Some(link) = self.links.of(peer) {
            // It may have moved: iroh would not notice, and would dial its old address while the link stands.
            link.probe();
            self.redial.entry(peer).or_default().seen();
        } else if self.is_known(peer) && peer != self.parts.own.peer {
            self.redial.entry(peer).or_default().fresh(Instant::now());
        }
    }

    fn next_redial(&self) -> Option<Instant> {
        self.redial.values().filter_map(Redial::next).min()
    }

    fn redial_due(&mut self) {
        let now = Instant::now();
        let due: Vec<PeerId> = self
            .redial
            .iter()
            .filter(|(_, redial)| redial.next().is_some_and(|at| at <= now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            let addresses = self.parts.lan.addresses_of(peer);
            if addresses.is_empty() || self.links.of(peer).is_some() {
                // A new record, or the end of the link, begins anew.
                self.redial.entry(peer).or_default().rest();
            } else {
                self.redial.entry(peer).or_default().begin(now);
                self.dials.start(Dial {
                    peer,
                    purpose: self.purpose_of(peer),
                    addresses,
                    asked: false,
                    at: now,
                });
            }
        }
    }

    /// Whoever is known by a link of theirs does not know us yet.
    fn purpose_of(&self, peer: PeerId) -> Purpose {
        let directory = self.parts.directory.borrow();
        let by_link = directory
            .as_ref()
            .is_some_and(|now| now.looking_for_links.contains_key(&peer));
        if by_link { Purpose::Pair } else { Purpose::Peer }
    }

    /// Dials somebody whom the engine knows from an advert, at most once a second.
    fn dial_for_engine(&mut self, peer: PeerId, purpose: Purpose) {
        let addresses = self.parts.lan.addresses_of(peer);
        if addresses.is_empty() {
            return self.tell_engine(Input::DialFailed { peer });
        }
        let at = self.dials.book(peer, Instant::now());
        self.dials.start(Dial {
            peer,
            purpose,
            addresses,
            asked: true,
            at,
        });
    }

    /// The driver never waits for room in the engine's queue; somebody else does.
    fn tell_engine(&self, input: Input) {
        let engine = self.parts.engine.clone();
        tokio::spawn(async move { engine.send(input).await });
    }
}

/// A number in 0..=1.
fn jitter() -> f64 {
    f64::from(crate::lan::random()[0]) / 255.0
}
