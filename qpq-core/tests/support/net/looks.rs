//! What tests about repairs look at.

use qpq_core::{
    engine::{Event, Purpose, SessionId},
    store::read::Notice,
    wire::{App, Frame, Kind},
};

use super::Net;

impl Net {
    /// The messages that this peer sent, lost ones with them.
    pub(crate) fn apps(&self, from: usize) -> Vec<App> {
        let frames = self.sent(from, Kind::App).into_iter();
        frames
            .map(|frame| match frame {
                Frame::App(app) => app,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// How often a new group was told of in the history.
    pub(crate) fn new_groups(&self, at: usize) -> usize {
        let messages = self.messages(at).into_iter();
        messages
            .filter(|message| message.notice == Some(Notice::NewGroup))
            .count()
    }

    /// How many such events there were.
    pub(crate) fn count(&self, at: usize, wanted: impl Fn(&Event) -> bool) -> usize {
        let events = self.peers[at].events.iter();
        events.filter(|event| wanted(event)).count()
    }

    /// Whether anybody was proved to be an older copy.
    pub(crate) fn rolled_back(&self) -> bool {
        let is_told = |event: &Event| matches!(event, Event::RolledBack { .. });
        (0..self.peers.len()).any(|at| self.count(at, is_told) > 0)
    }

    /// A fresh link between the first two, whatever was before.
    pub(crate) fn reconnect(&mut self) -> (SessionId, SessionId) {
        let link = self.connect(0, 1, Purpose::Peer);
        self.run();
        link
    }
}
