//! A database that was put back to an older copy of itself: its ratchets would encrypt other texts under keys that
//! its newer self has used.
//!
//! A member knows messages of ours that we do not: that proves it. From then on nothing is encrypted in the group. What
//! the member had sent since the copy was made is asked for, for it comes by keys that only the old group has; then the
//! group is given up, and the one that takes its place begins with fresh keys and a fresh stream (`repair`).

use std::time::Duration;

use super::{
    Engine, Event, HandleError, Output, SessionId,
    session::{Catching, OlderCopy, Source},
};
use crate::{
    id::GroupId,
    store::{GroupRow, StoreError},
    time::Now,
    wire::Head,
};

/// So long after the last of the member's messages that came no other is waited for.
const CATCH_UP: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether the peer of a link gets nothing of a group on it, for it knows more than this database.
    pub(super) fn is_older_copy(&mut self, session: SessionId, group: &GroupId) -> Result<bool, HandleError> {
        Ok(self.session(session)?.older_copies.contains_key(group))
    }

    /// A member acknowledges what this database never sent: it is an older copy of itself, or the member invents that.
    pub(super) fn rolled_back(&mut self, session: SessionId, group: &GroupRow) -> Result<(), HandleError> {
        if self.begin_doubt(session, group)? {
            self.give_up(session, group)?;
        }
        Ok(())
    }

    /// The same by a Head, which says besides how many messages the member has sent.
    pub(super) fn rolled_back_by(
        &mut self,
        session: SessionId,
        group: &GroupRow,
        head: &Head,
        now: Now,
    ) -> Result<(), HandleError> {
        if !self.begin_doubt(session, group)? {
            return Ok(());
        }
        let of_author = head.streams.iter().find(|one| one.member == head.member);
        let Some(of_author) = of_author else {
            return self.give_up(session, group);
        };
        let source = Source {
            session,
            group: group.id,
            member: head.member,
            stream: of_author.stream,
        };
        let catching = Catching {
            source,
            last: of_author.ranges.last(),
            until: now.monotonic.saturating_add(CATCH_UP),
        };
        if self.has_caught_up(&catching)? {
            return self.give_up(session, group);
        }
        let copies = &mut self.session(session)?.older_copies;
        copies.insert(group.id, OlderCopy::Catching(catching));
        self.unreadable(source, catching.last, now);
        self.outputs.push(Output::WakeAt(catching.until));
        Ok(())
    }

    /// Stops what is sent, and tells the user once on a link; `false`: that was done before.
    fn begin_doubt(&mut self, session: SessionId, group: &GroupRow) -> Result<bool, HandleError> {
        let link = self.session(session)?;
        link.flows.remove(&group.id);
        if link.older_copies.contains_key(&group.id) {
            return Ok(false);
        }
        if !link.doubted.insert(group.chat) {
            let peer = link.peer;
            link.older_copies.insert(group.id, OlderCopy::Again);
            tracing::error!(group = ?group.id, "a member knows messages that were never sent in a new group");
            let chat = group.chat;
            self.event(Event::HeldBack { chat, peer });
            return Ok(false);
        }
        tracing::error!(group = ?group.id, "a member knows messages of ours that this database never sent");
        self.event(Event::RolledBack { chat: group.chat });
        Ok(true)
    }

    /// A message came that may have been the last one that was waited for.
    pub(super) fn note_caught(&mut self, source: Source, now: Now) -> Result<(), HandleError> {
        let copies = &mut self.session(source.session)?.older_copies;
        let Some(OlderCopy::Catching(catching)) = copies.get_mut(&source.group) else {
            return Ok(());
        };
        if catching.source != source {
            return Ok(());
        }
        catching.until = now.monotonic.saturating_add(CATCH_UP);
        let catching = *catching;
        if self.has_caught_up(&catching)? {
            self.end_catching(&catching)?;
        }
        Ok(())
    }

    /// Gives up the groups for which enough was waited.
    pub(super) fn tick_older_copies(&mut self, now: Now) -> Result<(), HandleError> {
        for catching in self
            .catching()
            .filter(|one| one.until <= now.monotonic)
            .collect::<Vec<_>>()
        {
            self.end_catching(&catching)?;
        }
        Ok(())
    }

    /// Groups that are to be given up.
    pub(super) fn catching(&self) -> impl Iterator<Item = Catching> {
        let copies = self
            .sessions
            .values()
            .flat_map(|session| session.older_copies.values());
        copies.filter_map(|copy| match copy {
            OlderCopy::Catching(catching) => Some(*catching),
            OlderCopy::Again => None,
        })
    }

    fn has_caught_up(&self, catching: &Catching) -> Result<bool, StoreError> {
        let source = catching.source;
        let seen = self.store.seen(&source.group, &source.member, &source.stream)?;
        Ok(seen.last() >= catching.last && seen.gaps().as_slice().is_empty())
    }

    /// What lacks now never comes: the keys to it are given up with the group.
    fn end_catching(&mut self, catching: &Catching) -> Result<(), HandleError> {
        let source = catching.source;
        let Some(group) = self.store.group(&source.group)?.filter(|group| !group.dead) else {
            let copies = &mut self.session(source.session)?.older_copies;
            copies.remove(&source.group);
            return Ok(());
        };
        self.tell_missing(group.chat, source, catching.last)?;
        self.give_up(source.session, &group)
    }
}
