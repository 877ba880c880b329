//! The links that stand: one announced link per peer, whatever dials cross.

use std::{collections::BTreeMap, time::Duration};

use qpq_core::{
    engine::{Directory, Input, SessionId},
    id::PeerId,
    wire::Bye,
};
use tokio::sync::mpsc;

use crate::{
    link::{
        self, Control, Ended, Link, Opened, PENDING_BUDGET, REQUESTER_BUDGET, STRANGER_BUDGET, handshake,
        rule,
    },
    node::strangers::StrangersPlace,
};

/// What somebody is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Contact,
    /// Asked to be a contact, and has not answered yet.
    Pending,
    /// Asks us to be a contact, and has no answer yet.
    Requester,
    Stranger,
}

impl Standing {
    pub(super) fn of(peer: PeerId, directory: &Directory) -> Self {
        match directory.known.get(&peer) {
            Some(_) if directory.requesters.contains(&peer) => Self::Requester,
            Some(Some(_)) => Self::Contact,
            Some(None) => Self::Pending,
            None => Self::Stranger,
        }
    }

    /// What may be read from a link before the engine says more.
    fn budget(self) -> Option<u32> {
        match self {
            Self::Contact => None,
            Self::Pending => Some(PENDING_BUDGET),
            Self::Requester => Some(REQUESTER_BUDGET),
            Self::Stranger => Some(STRANGER_BUDGET),
        }
    }
}

/// All links by their session, also those that are ending, and the current one of each peer.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_session: BTreeMap<SessionId, (Link, Option<StrangersPlace>)>,
    current: BTreeMap<PeerId, SessionId>,
    last_session: u64,
}

impl Links {
    pub(super) fn find(&self, session: SessionId) -> Option<&Link> {
        self.by_session.get(&session).map(|(link, _)| link)
    }

    pub(super) fn of(&self, peer: PeerId) -> Option<&Link> {
        self.find(*self.current.get(&peer)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Link> {
        self.by_session.values().map(|(link, _)| link)
    }

    /// Starts a link, or turns it away in favour of the one that is there. The loser hears Bye(replaced).
    pub(super) fn take_in(
        &mut self,
        opened: Opened,
        place: Option<StrangersPlace>,
        standing: Standing,
        engine: mpsc::Sender<Input>,
    ) -> Option<(SessionId, impl Future<Output = Ended> + Send + use<>)> {
        let peer = opened.peer;
        if let Some(old) = self.of(peer) {
            match rule::keep(&old.candidate, &opened.candidate) {
                rule::Keep::Old => {
                    tokio::spawn(handshake::turn_away(opened, Bye::Replaced));
                    return None;
                }
                rule::Keep::New => old.finish(Some(Bye::Replaced)),
            }
        }
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let spoke = place.as_ref().map(StrangersPlace::spoke).unwrap_or_default();
        let control = Control::new(standing.budget(), spoke);
        let (link, run) = link::start(opened, session, control, engine);
        self.by_session.insert(session, (link, place));
        self.current.insert(peer, session);
        Some((session, run))
    }

    /// Forgets a link that ended; returns whose it was, and the clock when it began.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<(PeerId, Duration)> {
        let (link, _) = self.by_session.remove(&session)?;
        if self.current.get(&link.peer) == Some(&session) {
            self.current.remove(&link.peer);
        }
        Some((link.peer, link.candidate.greeted))
    }

    /// Strangers who are contacts by now get a contact's rights. They free their place, as does who waits for the
    /// user's word.
    pub(super) fn promote(&mut self, directory: &Directory) {
        for (link, place) in self.by_session.values_mut() {
            let standing = Standing::of(link.peer, directory);
            if matches!(standing, Standing::Contact | Standing::Requester) {
                *place = None;
            }
            if standing == Standing::Contact && link.is_limited() {
                link.limit(None);
            }
        }
    }
}
