//! The adverts seen on the network: at most 256, and a flood of them cannot push out a contact's.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use qpq_core::{card::LanKey, engine::Directory, id::PeerId, invite::Nameplate};

use super::{
    advert::{ADDRESSES, UnverifiedAdvert},
    neighbours::{Neighbours, Who},
};

/// Entries in all.
pub(crate) const ENTRIES: usize = 256;

/// Entries that one contact's token may hold: who replays it must not fill the table with it.
const PER_CONTACT: usize = 8;

/// An advert that was taken back is still worth a dial for a while: goodbyes can be forged, and come with
/// each restart of a daemon.
const AFTERLIFE: Duration = Duration::from_secs(30);

/// What was not heard of for so long, since the browser started again, is believed no more: hosts give their
/// records this lifetime (RFC 6762, section 10).
const UNHEARD: Duration = Duration::from_secs(120);

/// What a new browser has not heard of within this time has most likely gone: its nameplate is free.
const QUIET: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    advert: UnverifiedAdvert,
    /// Whose token it is.
    contact: Option<PeerId>,
    /// Ascends with each change: the newest is the likeliest.
    order: u64,
    /// Another instance was seen with this token before: somebody replays it, and most likely not that one.
    replayed: bool,
    /// Since when it has been withdrawn.
    gone: Option<Duration>,
    /// Since when nobody would have told us that it was withdrawn.
    unheard: Option<Duration>,
}

/// How much an entry is worth keeping, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Unknown,
    Wanted,
    Contact,
}

/// The adverts that are believed to be current.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: BTreeMap<String, Entry>,
    order: u64,
    looking_for: Option<Nameplate>,
    /// The clock when the table was last looked through.
    now: Duration,
}

/// Finds the contact whose token this is, or the inviter whose link's token is there.
pub(crate) fn recognise(directory: &Directory, advert: &UnverifiedAdvert) -> Option<PeerId> {
    let has_token = |key: &LanKey| advert.token.as_ref().is_some_and(|token| key.recognises(token));
    let has_link = |key: &LanKey| advert.link_tokens.iter().any(|token| key.recognises(token));
    let mut known = directory.known.iter();
    let mut inviters = directory.looking_for_links.iter();
    known
        .find(|(_, key)| key.as_ref().is_some_and(has_token))
        .map(|(peer, _)| *peer)
        .or_else(|| inviters.find(|(_, key)| has_link(key)).map(|(peer, _)| *peer))
}

fn is_within(since: Option<Duration>, now: Duration, time: Duration) -> bool {
    since.is_none_or(|since| now.saturating_sub(since) < time)
}

impl Table {
    /// Takes an advert in; `true` when it is there now and says something new.
    pub(crate) fn record(&mut self, advert: UnverifiedAdvert, contact: Option<PeerId>) -> bool {
        let instance = advert.instance.clone();
        let old = self.entries.get_mut(&instance);
        if let Some(old) = old
            && old.advert == advert
            && old.gone.is_none()
            && old.contact == contact
        {
            old.unheard = None;
            return false;
        }
        let replayed = match self.entries.get(&instance) {
            Some(old) if old.advert.token == advert.token => old.replayed,
            Some(_) | None => self.has_token(advert.token),
        };
        self.order += 1;
        let entry = Entry {
            advert,
            contact,
            order: self.order,
            replayed,
            gone: None,
            unheard: None,
        };
        self.entries.insert(instance.clone(), entry);
        self.trim(contact);
        self.entries.contains_key(&instance)
    }

    fn has_token(&self, token: Option<[u8; 16]>) -> bool {
        let mut entries = self.entries.values();
        token.is_some() && entries.any(|entry| entry.advert.token == token)
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The record was withdrawn or has expired.
    pub(crate) fn withdraw(&mut self, instance: &str, now: Duration) {
        if let Some(entry) = self.entries.get_mut(instance) {
            entry.gone.get_or_insert(now);
        }
    }

    /// A new browser looks around: it hears of what is there, and not of what it has never seen going.
    pub(crate) fn doubt(&mut self, now: Duration) {
        for entry in self.entries.values_mut() {
            entry.unheard.get_or_insert(now);
        }
    }

    /// Forgets what was withdrawn, or last heard of, a while ago.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.now = now;
        self.entries.retain(|_, entry| {
            is_within(entry.gone, now, AFTERLIFE) && is_within(entry.unheard, now, UNHEARD)
        });
    }

    /// Judges all entries by a new directory, and returns the contacts that were not recognised before.
    pub(crate) fn judge(&mut self, directory: &Directory) -> BTreeSet<PeerId> {
        self.looking_for = directory.looking_for;
        let mut appeared = BTreeSet::new();
        for entry in self.entries.values_mut() {
            let contact = recognise(directory, &entry.advert);
            if contact != entry.contact {
                entry.contact = contact;
                appeared.extend(contact);
            }
        }
        appeared
    }

    /// Where a peer may be: by its token, then by its own claim, the newest first. In turns, so that no advert
    /// pushes out those of the others by the number of its addresses.
    pub(crate) fn addresses_of(&self, peer: PeerId) -> Vec<SocketAddr> {
        let mut found: Vec<_> = self
            .entries
            .values()
            .filter(|entry| entry.contact == Some(peer) || entry.advert.claim.is_some_and(|c| c.peer == peer))
            .collect();
        found.sort_by_key(|entry| {
            let by_token = entry.contact == Some(peer);
            Reverse((by_token, !entry.replayed, self.worth(entry), entry.order))
        });
        let mut addresses = Vec::new();
        for turn in 0..ADDRESSES {
            for address in found.iter().filter_map(|entry| entry.advert.addresses.get(turn)) {
                if !addresses.contains(address) {
                    addresses.push(*address);
                }
            }
        }
        addresses
    }

    /// The contacts whose token is advertised now. The newest advert decides: who was killed has left his last one
    /// behind.
    pub(crate) fn seen(&self) -> BTreeSet<PeerId> {
        let mut newest: BTreeMap<PeerId, &Entry> = BTreeMap::new();
        for entry in self.entries.values() {
            let rank = |entry: &Entry| (!entry.replayed, entry.order);
            if let Some(contact) = entry.contact
                && newest.get(&contact).is_none_or(|other| rank(other) < rank(entry))
            {
                newest.insert(contact, entry);
            }
        }
        newest.retain(|_, entry| entry.gone.is_none());
        newest.into_keys().collect()
    }

    /// Who is there now, each once.
    pub(crate) fn neighbours(&self) -> Neighbours {
        let mut found = Neighbours::new();
        for entry in self.entries.values().filter(|entry| entry.gone.is_none()) {
            let advert = &entry.advert;
            let who = match (entry.contact, &advert.shown, advert.addresses.first()) {
                (Some(peer), _, _) => Who::Contact(peer),
                (None, Some(shown), _) => Who::Shown(shown.clone()),
                (None, None, Some(first)) => Who::Unknown(*first),
                (None, None, None) => continue,
            };
            found.entry(who).or_default().extend(&advert.addresses);
        }
        found
    }

    /// Who claims to wait under this nameplate.
    pub(crate) fn claimants(&self, nameplate: Nameplate) -> BTreeSet<PeerId> {
        let claims = self.entries.values().filter_map(|entry| entry.advert.claim);
        claims
            .filter(|claim| claim.nameplate == nameplate)
            .map(|claim| claim.peer)
            .collect()
    }

    /// The nameplates that somebody advertises now.
    pub(crate) fn nameplates(&self) -> BTreeSet<Nameplate> {
        let current = |entry: &&Entry| entry.gone.is_none() && is_within(entry.unheard, self.now, QUIET);
        self.entries
            .values()
            .filter(current)
            .filter_map(|entry| entry.advert.claim)
            .map(|claim| claim.nameplate)
            .collect()
    }

    /// Keeps the bounds after an entry of this contact came in or changed.
    fn trim(&mut self, contact: Option<PeerId>) {
        let same = || {
            self.entries
                .values()
                .filter(|entry| contact.is_some() && entry.contact == contact)
        };
        let victim = if same().count() > PER_CONTACT {
            same().min_by_key(|entry| (!entry.replayed, entry.order))
        } else if self.entries.len() > ENTRIES {
            self.entries
                .values()
                .min_by_key(|entry| (self.worth(entry), entry.order))
        } else {
            None
        };
        if let Some(instance) = victim.map(|entry| entry.advert.instance.clone()) {
            self.entries.remove(&instance);
        }
    }

    fn worth(&self, entry: &Entry) -> Worth {
        let wanted = entry
            .advert
            .claim
            .is_some_and(|claim| Some(claim.nameplate) == self.looking_for);
        match entry.contact {
            Some(_) => Worth::Contact,
            None if wanted => Worth::Wanted,
            None => Worth::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
