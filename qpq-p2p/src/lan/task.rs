//! The task that speaks mDNS: one `select!` over both daemons, the directory and two clocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use mdns_sd::{DaemonEvent, ServiceEvent};
use qpq_core::{
    engine::{Directory, Input},
    id::PeerId,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{debug, warn};

use super::{
    Ears, HOUSEKEEPING, LanOptions, News, Shown,
    advert::{self, Announcement, Claim, UnverifiedAdvert},
    daemon::{Browser, MdnsSettings, Responder},
    lock, random,
    table::{self, Table},
};
use crate::node::ticker::sleep_until;

/// A token is shown for so long; who recognises one cannot follow its owner by the next.
const ROTATE: Duration = Duration::from_secs(15 * 60);

/// A browser that has found so many instances is replaced: a network of honest people has fewer, and the
/// daemon searches its list from end to end for each record.
const FOUND_MAX: usize = 2_048;

/// A browser lives at least so long, or a flood would keep it from ever asking its question.
const BROWSER_MIN_AGE: Duration = Duration::from_millis(250);

/// Who announces itself may not listen for this long yet.
const GREETING_DELAY: Duration = Duration::from_millis(40);

/// Least time between an announcement and a greeting.
const GREETING_GAP: Duration = Duration::from_millis(100);

/// Claimants reported for one nameplate: a joiner tries three of them.
const CLAIMANTS_MAX: usize = 64;

/// Addresses for which one claimant is reported again.
const CLAIMED_ADDRESSES_MAX: usize = 64;

pub(super) struct Task {
    settings: MdnsSettings,
    options: LanOptions,
    ears: Ears,
    news: mpsc::Sender<News>,
    engine: mpsc::Sender<Input>,
    table: Arc<Mutex<Table>>,
    current: Option<Arc<Directory>>,
    announced: Option<Announcement>,
    announced_at: Instant,
    /// When somebody who came is to be told of our invite, or who we are.
    greet_at: Option<Instant>,
    browser: Option<Browser>,
    responder: Option<Responder>,
    browser_since: Instant,
    responder_since: Instant,
    found: usize,
    /// Claimants that the engine knows, with the addresses that they had then.
    reported: BTreeMap<PeerId, BTreeSet<SocketAddr>>,
    started: Instant,
}

/// What can happen to the task.
enum Happening {
    Service(ServiceEvent),
    BrowserLost,
    Network(DaemonEvent),
    ResponderLost,
    Directory,
    Visible,
    Stop,
    Greet,
    Rotate,
    Housekeeping,
}

impl Task {
    pub(super) fn new(
        options: LanOptions,
        ears: Ears,
        news: mpsc::Sender<News>,
        engine: mpsc::Sender<Input>,
        table: Arc<Mutex<Table>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            settings: MdnsSettings {
                interfaces: options.interfaces.clone(),
                port: options.mdns_port,
            },
            options,
            ears,
            news,
            engine,
            table,
            current: None,
            announced: None,
            announced_at: now,
            greet_at: None,
            browser: None,
            responder: None,
            browser_since: now,
            responder_since: now,
            found: 0,
            reported: BTreeMap::new(),
            started: now,
        }
    }

    pub(super) async fn run(mut self) {
        self.start_browser();
        self.start_responder();
        self.follow_directory().await;
        let mut rotate = interval(ROTATE);
        let mut housekeeping = interval(HOUSEKEEPING);
        rotate.set_missed_tick_behavior(MissedTickBehavior::Delay);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick of an interval comes at once: the nonce is fresh.
        rotate.reset();
        loop {
            let happening = tokio::select! {
                event = next_service(self.browser.as_mut()) => event,
                event = next_network(self.responder.as_mut()) => event,
                changed = self.ears.directory.changed() => {
                    if changed.is_ok() { Happening::Directory } else { Happening::Stop }
                }
                // Its other end lives as long as there is somebody who could turn it.
                Ok(()) = self.ears.visible.changed() => Happening::Visible,
                () = sleep_until(self.greet_at) => Happening::Greet,
                _ = rotate.tick() => Happening::Rotate,
                _ = housekeeping.tick() => Happening::Housekeeping,
            };
            match happening {
                Happening::Service(event) => self.on_service(event).await,
                Happening::BrowserLost => self.browser = None,
                Happening::Network(event) => self.on_network(&event).await,
                Happening::ResponderLost => self.replace_responder(),
                Happening::Directory => self.follow_directory().await,
                Happening::Visible => self.follow_visible(),
                Happening::Greet | Happening::Rotate => self.announce(),
                Happening::Housekeeping => self.keep_house(),
                Happening::Stop => break,
            }
        }
        self.stop().await;
    }

    async fn stop(self) {
        drop(self.browser);
        if let Some(responder) = &self.responder {
            responder.stop().await;
        }
    }

    fn start_browser(&mut self) {
        self.found = 0;
        lock(&self.table).doubt(self.started.elapsed());
        self.browser_since = Instant::now();
        self.browser = Browser::start(&self.settings)
            .inspect_err(|error| warn!(%error, "the local network cannot be searched"))
            .ok();
    }

    fn start_responder(&mut self) {
        self.responder_since = Instant::now();
        self.responder = Responder::start(&self.settings)
            .inspect_err(|error| warn!(%error, "nothing can be announced on the local network"))
            .ok();
        self.announce();
    }

    /// At once, but not more often than the house is kept: each one announces itself anew.
    fn replace_responder(&mut self) {
        self.responder = None;
        if self.responder_since.elapsed() >= HOUSEKEEPING {
            self.start_responder();
        }
    }

    async fn follow_directory(&mut self) {
        let Some(directory) = self.ears.directory.borrow_and_update().clone() else {
            return;
        };
        if self
            .current
            .as_ref()
            .is_none_or(|old| old.looking_for != directory.looking_for)
        {
            self.reported.clear();
        }
        let appeared = lock(&self.table).judge(&directory);
        self.current = Some(directory);
        self.follow_visible();
        for peer in appeared {
            let _ = self.news.send(News::Contact(peer)).await;
        }
        let looking_for = self.current.as_ref().and_then(|now| now.looking_for);
        if let Some(nameplate) = looking_for {
            let claimants = lock(&self.table).claimants(nameplate);
            for peer in claimants {
                self.report_claimant(Claim { nameplate, peer }).await;
            }
        }
    }

    /// Announces what is to be known of us, where that is something new.
    fn follow_visible(&mut self) {
        let is_visible = *self.ears.visible.borrow_and_update() > 0;
        let Some(directory) = &self.current else { return };
        let (peer, name) = (self.options.own, &self.options.own_name);
        let announcement = Announcement {
            key: directory.own_lan_key.clone(),
            invite: directory
                .inviting
                .map(|nameplate| (nameplate, peer, name.clone())),
            visible: is_visible.then(|| Shown {
                peer,
                name: name.clone(),
            }),
            links: directory.links.clone(),
        };
        if self.announced.as_ref() != Some(&announcement) {
            self.announced = Some(announcement);
            self.announce();
        }
    }

    /// Puts the current announcement on the network, with nothing in it that links it to the one before.
    fn announce(&mut self) {
        self.greet_at = None;
        let (Some(responder), Some(announcement)) = (&mut self.responder, &self.announced) else {
            return;
        };
        let Some(port) = self.options.ports.v4.or(self.options.ports.v6) else {
            return;
        };
        self.announced_at = Instant::now();
        let txt = announcement.txt(random, self.options.ports);
        if let Err(error) = responder.announce(port, &txt) {
            warn!(%error, "the own record was not announced");
        }
    }

    /// Tells somebody who came of our invite, or who we are. Its question for it may come within a second of our last
    /// announcement, and is not answered then.
    fn greet(&mut self) {
        let tells = |own: &Announcement| own.is_inviting() || own.visible.is_some();
        if self.announced.as_ref().is_some_and(tells) {
            self.greet_at
                .get_or_insert((Instant::now() + GREETING_DELAY).max(self.announced_at + GREETING_GAP));
        }
    }

    /// A new address means a new network, where the token of the old one must not be seen.
    async fn on_network(&mut self, event: &DaemonEvent) {
        match event {
            DaemonEvent::IpAdd(_) | DaemonEvent::IpDel(_) => {
                self.announce();
                let _ = self.news.send(News::NetworkChanged).await;
            }
            DaemonEvent::Error(error) => debug!(%error, "mDNS"),
            DaemonEvent::Announce(..) | DaemonEvent::NameChange(_) | DaemonEvent::Respond(_) | _ => {}
        }
    }

    async fn on_service(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceFound(..) => {
                self.found += 1;
                if self.found > FOUND_MAX && self.browser_since.elapsed() >= BROWSER_MIN_AGE {
                    debug!(
                        found = self.found,
                        "a flood of services: the browser starts again"
                    );
                    self.start_browser();
                }
            }
            ServiceEvent::ServiceResolved(service) => self.on_resolved(&service).await,
            ServiceEvent::ServiceRemoved(_, instance) => {
                lock(&self.table).withdraw(&instance, self.started.elapsed());
            }
            ServiceEvent::SearchStarted(_) | ServiceEvent::SearchStopped(_) | _ => {}
        }
    }

    async fn on_resolved(&mut self, service: &mdns_sd::ResolvedService) {
        let Some(advert) = advert::read(service) else {
            return;
        };
        if self.is_own(&advert) {
            return;
        }
        let contact = self
            .current
            .as_ref()
            .and_then(|now| table::recognise(now, &advert));
        let claim = advert.claim;
        if !lock(&self.table).record(advert, contact) {
            return;
        }
        if let Some(peer) = contact {
            let _ = self.news.send(News::Contact(peer)).await;
        }
        if let Some(claim) = claim {
            self.report_claimant(claim).await;
        } else if contact.is_none() {
            self.greet();
        }
    }

    fn is_own(&self, advert: &UnverifiedAdvert) -> bool {
        let (Some(own), Some(token)) = (&self.announced, &advert.token) else {
            return false;
        };
        own.key.recognises(token)
    }

    /// Tells the engine of somebody who claims the nameplate that is looked for, and again with each new address:
    /// the ones before may lead nowhere.
    async fn report_claimant(&mut self, Claim { nameplate, peer }: Claim) {
        let looking_for = self.current.as_ref().and_then(|now| now.looking_for);
        let room = self.reported.len() < CLAIMANTS_MAX || self.reported.contains_key(&peer);
        if looking_for != Some(nameplate) || peer == self.options.own || !room {
            return;
        }
        let addresses = lock(&self.table).addresses_of(peer);
        let reported = self.reported.entry(peer).or_default();
        let before = reported.len();
        reported.extend(addresses);
        if reported.len() > before && before < CLAIMED_ADDRESSES_MAX {
            let _ = self.engine.send(Input::Advert { peer, nameplate }).await;
        }
    }

    fn keep_house(&mut self) {
        lock(&self.table).expire(self.started.elapsed());
        // What was heard may have been incomplete, and would not be asked for again: a search begins anew.
        let searching = self.current.as_ref().is_some_and(|now| now.joining);
        let browser_ok = !searching && self.browser.as_mut().is_some_and(Browser::check);
        if !browser_ok {
            self.start_browser();
        }
        if !self.responder.as_mut().is_some_and(Responder::check) {
            self.start_responder();
        }
    }
}

/// The next event of a browser that may not be there.
async fn next_service(browser: Option<&mut Browser>) -> Happening {
    match browser {
        Some(browser) => browser
            .next()
            .await
            .map_or(Happening::BrowserLost, Happening::Service),
        None => std::future::pending().await,
    }
}

async fn next_network(responder: Option<&mut Responder>) -> Happening {
    match responder {
        Some(responder) => responder
            .next()
            .await
            .map_or(Happening::ResponderLost, Happening::Network),
        None => std::future::pending().await,
    }
}
