//! What the user decides about people: accept, refuse, rename, replace, block, remove.

use super::{
    ContactChange, Engine, Event, Failure, HandleError, Reply, SessionId, Settles, session::REQUEST_BUDGET,
};
use crate::{
    card::LanKey,
    contact::{Standing, Trust},
    id::PeerId,
    name,
    store::{Contact, NewContact, Notice, Request},
    time::Now,
    wire::{Frame, Role},
};

/// How long a person may take to answer a request, in milliseconds.
pub(super) const ANSWER_LIFETIME_MS: i64 = 30 * 24 * 60 * 60 * 1000;

impl Engine {
    /// The user decided about a person.
    pub(super) fn change_contact(
        &mut self,
        peer: &PeerId,
        change: ContactChange,
        now: Now,
    ) -> Result<Reply, HandleError> {
        let contact = self.store.contact(peer)?;
        let request = self.store.request(peer)?.filter(|request| !request.refused);
        if contact.is_none()
            && request.is_none()
            && self.store.pending_join(peer, self.requests_gone)?.is_none()
        {
            return Err(Failure::UnknownContact.into());
        }
        match (change, contact, request) {
            (ContactChange::Accept, _, Some(request)) => self.accept_request(&request, now)?,
            (ContactChange::Accept, Some(held), None) => self.take_claimed_name(&held)?,
            (ContactChange::Refuse, _, Some(_)) => self.refuse_request(peer, now)?,
            (ContactChange::Refuse, Some(held), None) if held.standing == Standing::Held => {
                // Whoever was a contact before keeps the history that the user kept.
                let purge = !self.store.has_history(peer)?;
                self.remove_contact(peer, purge, now)?;
            }
            (ContactChange::Rename(name), contact, request) => {
                self.rename(peer, &name, contact.as_ref(), request.is_some())?;
            }
            (ContactChange::Replace, Some(held), None) => self.replace_by_contact(&held, now)?,
            (ContactChange::Replace, _, Some(request)) => self.replace_by_request(&request, now)?,
            (ContactChange::Block(true), contact, request) if contact.is_some() || request.is_some() => {
                self.block(peer, contact.as_ref(), request.as_ref(), now)?;
            }
            (ContactChange::Block(false), Some(_), _) => self.store.set_blocked(peer, false)?,
            (ContactChange::Remove { purge }, _, _) => self.remove_contact(peer, purge, now)?,
            (ContactChange::Verified, Some(contact), _) if contact.standing == Standing::Known => {
                self.store.raise_trust(peer, Trust::Number)?;
            }
            (
                ContactChange::Accept
                | ContactChange::Refuse
                | ContactChange::Replace
                | ContactChange::Block(_)
                | ContactChange::Verified,
                _,
                _,
            ) => return Err(Failure::NothingToDecide.into()),
        }
        self.publish_directory()?;
        self.event(Event::Contact(*peer));
        self.pump_all()?;
        Ok(Reply::Done)
    }

    /// What waited for the user's word goes on.
    fn pump_all(&mut self) -> Result<(), HandleError> {
        for peer in self.links.keys().copied().collect::<Vec<_>>() {
            if let Some(group) = self.store.direct_group(&peer)? {
                self.pump(&group, &peer)?;
            }
        }
        Ok(())
    }

    /// Why nothing may be sent to a person now.
    pub(super) fn bar_to(&self, peer: &PeerId) -> Result<Option<Failure>, HandleError> {
        let Some(contact) = self.store.contact(peer)? else {
            return Ok(Some(Failure::UnknownContact));
        };
        Ok(match contact.standing {
            Standing::Removed => Some(Failure::UnknownContact),
            _ if contact.blocked => Some(Failure::Blocked),
            Standing::Held => Some(Failure::KeyQuestion),
            Standing::Known => {
                let asked = self
                    .store
                    .open_questions()?
                    .contains(&contact.name.to_lowercase());
                asked.then_some(Failure::KeyQuestion)
            }
        })
    }

    /// A request by link becomes a contact, and a group of two.
    fn accept_request(&mut self, request: &Request, now: Now) -> Result<(), HandleError> {
        let is_held = request.is_marked() && self.store.namesake(&request.claimed)?.is_some();
        if is_held || self.store.name_taken(&request.name)? {
            return Err(Failure::Name.into());
        }
        let Frame::ContactRequest(mut frame) = Frame::decode(&request.frame)? else {
            return Err(Failure::NothingToDecide.into());
        };
        frame.name.clone_from(&request.name);
        self.accept(&request.peer, &frame, &request.frame, Trust::Link, now)?;
        let Some(id) = self.links.get(&request.peer).copied() else {
            return Ok(());
        };
        self.session(id)?.role = Role::Contact;
        self.greet(id, request.peer, now)
    }

    fn refuse_request(&mut self, peer: &PeerId, now: Now) -> Result<(), HandleError> {
        self.store.refuse_request(peer)?;
        match self.links.get(peer).copied() {
            Some(id) => self.tell_refused(id, peer, now),
            None => Ok(()),
        }
    }

    /// Tells a requester that the user said no; whether it arrives is not known, but asking again is in vain.
    pub(super) fn tell_refused(&mut self, id: SessionId, peer: &PeerId, now: Now) -> Result<(), HandleError> {
        self.post(id, &Frame::ContactRefuse);
        self.store.delete_request(peer)?;
        self.drop_session(id, now);
        Ok(())
    }

    /// Reads what a requester may still send: its request once more.
    pub(super) fn admit_requester(
        &mut self,
        id: SessionId,
        peer: &PeerId,
        now: Now,
    ) -> Result<(), HandleError> {
        if self.store.request(peer)?.is_some_and(|request| request.refused) {
            return self.tell_refused(id, peer, now);
        }
        self.limit(id, REQUEST_BUDGET);
        Ok(())
    }

    /// Whoever is held gets the name they claim, once it is nobody's.
    fn take_claimed_name(&mut self, held: &Contact) -> Result<(), HandleError> {
        if held.standing != Standing::Held {
            return Err(Failure::NothingToDecide.into());
        }
        let claimed = held.claimed.clone();
        self.rename(&held.peer, &claimed, Some(held), false)
    }

    fn rename(
        &mut self,
        peer: &PeerId,
        wanted: &str,
        contact: Option<&Contact>,
        requests: bool,
    ) -> Result<(), HandleError> {
        let name = name::validate(wanted).map_err(|_| Failure::Name)?;
        let same = self
            .store
            .namesake(&name)?
            .is_some_and(|other| other.peer == *peer);
        if !same && self.store.name_taken(&name)? {
            return Err(Failure::Name.into());
        }
        match contact {
            _ if requests => self.store.rename_request(peer, &name)?,
            Some(contact) if contact.standing != Standing::Removed => {
                self.store.set_name(peer, &name)?;
                self.store.set_standing(peer, Standing::Known)?;
            }
            _ => return Err(Failure::NothingToDecide.into()),
        }
        Ok(())
    }

    /// The new key under a known name is that person's: the conversation goes on with it.
    fn replace_by_contact(&mut self, held: &Contact, now: Now) -> Result<(), HandleError> {
        if held.standing != Standing::Held {
            return Err(Failure::NothingToDecide.into());
        }
        let Some(old) = self.store.namesake(&held.claimed)? else {
            return self.take_claimed_name(held);
        };
        self.end_link_to(&old.peer, now);
        if let Some(old_group) = self.store.direct_group(&old.peer)? {
            self.drop_group(&old_group)?;
        }
        self.end_pending_join(&old.peer)?;
        self.store.end_accepted_join(&old.peer)?;
        self.end_offer(&old.peer)?;
        self.store.replace_person(&old.peer, &held.peer)?;
        if let Some(group) = self.store.direct_group(&held.peer)? {
            // Its own stream was never used: what waited for the old key is the first in it.
            let next = self.store.requeue(&group)?;
            self.store.set_next_seq(&group.id, next)?;
            self.notice(group.chat, Notice::NewKey, now)?;
        }
        self.store.set_standing(&old.peer, Standing::Removed)?;
        self.store.set_name(&held.peer, &old.name)?;
        self.store.set_standing(&held.peer, Standing::Known)?;
        self.event(Event::Contact(old.peer));
        Ok(())
    }

    /// The same for somebody who asks by link: first a held contact, then in the old one's place.
    fn replace_by_request(&mut self, request: &Request, now: Now) -> Result<(), HandleError> {
        let Frame::ContactRequest(frame) = Frame::decode(&request.frame)? else {
            return Err(Failure::NothingToDecide.into());
        };
        self.accept(&request.peer, &frame, &request.frame, Trust::Link, now)?;
        let held = self
            .store
            .contact(&request.peer)?
            .ok_or(Failure::UnknownContact)?;
        if held.standing == Standing::Held {
            self.replace_by_contact(&held, now)?;
        }
        self.end_link_to(&request.peer, now);
        Ok(())
    }

    /// No link, request or Welcome from this person; nobody who has our old key recognises us any more.
    fn block(
        &mut self,
        peer: &PeerId,
        contact: Option<&Contact>,
        request: Option<&Request>,
        now: Now,
    ) -> Result<(), HandleError> {
        if contact.is_none()
            && let Some(request) = request
            && let Frame::ContactRequest(frame) = Frame::decode(&request.frame)?
        {
            let card = frame.card.verify(peer, &self.identity.peer_id())?;
            let new = NewContact {
                name: &request.name,
                claimed: &request.name,
                trust: Trust::Link,
                standing: Standing::Removed,
                card: &card,
                signed: &frame.card,
            };
            self.store.add_contact(&new, now.unix_ms)?;
        }
        self.store.delete_request(peer)?;
        self.end_pending_join(peer)?;
        self.store.set_blocked(peer, true)?;
        self.store.replace_lan_key(&LanKey::random(&mut self.rng))?;
        self.end_link_to(peer, now);
        for (peer, id) in self.links.clone() {
            if self.session(id)?.role == Role::Contact {
                self.send_card(id, &peer)?;
            }
        }
        Ok(())
    }

    /// Forgets a person: MLS state and keys, and the history too where it is purged.
    fn remove_contact(&mut self, peer: &PeerId, purge: bool, now: Now) -> Result<(), HandleError> {
        self.end_link_to(peer, now);
        self.end_pending_join(peer)?;
        self.store.end_accepted_join(peer)?;
        self.store.delete_request(peer)?;
        let failed = self.store.fail_waiting(peer)?;
        self.progress(failed);
        if let Some(group) = self.store.direct_group(peer)? {
            self.drop_group(&group)?;
        }
        self.end_offer(peer)?;
        if purge {
            self.store.purge(peer)?;
            self.purged = true;
        }
        match self.store.contact(peer)? {
            // A blocked one stays known as such.
            Some(contact) if purge && !contact.blocked => self.store.delete_contact(peer)?,
            Some(_) => self.store.set_standing(peer, Standing::Removed)?,
            None => {}
        }
        Ok(())
    }

    fn end_link_to(&mut self, peer: &PeerId, now: Now) {
        if let Some(id) = self.links.get(peer).copied() {
            self.drop_session(id, now);
        }
    }

    /// The inviter has our request on its disk: by a link always, by a code where it holds us for our name.
    pub(super) fn contact_kept(&mut self, id: SessionId, name: &str, now: Now) -> Result<(), HandleError> {
        let peer = self.session(id)?.peer;
        let pending = self
            .store
            .pending_join(&peer, self.requests_gone)?
            .ok_or(HandleError::Stale)?;
        let by_link = self.link_joining.take_if(|joining| joining.inviter() == peer);
        let by_code = self.joining.take_if(|joining| joining.asked == Some(peer));
        if by_link.is_none() && by_code.is_none() && pending.inviter.is_some() {
            // Said before.
            return Ok(());
        }
        let name = name::validate(name).unwrap_or_else(|_| peer.short());
        let expires = self.age.profile_time(now).saturating_add(ANSWER_LIFETIME_MS);
        self.store.keep_inviter(&peer, &name, expires)?;
        self.publish_directory()?;
        let settles = Settles {
            join: by_code.is_some(),
            ..Settles::default()
        };
        self.event(Event::Asked { peer, name, settles });
        Ok(())
    }

    /// The inviter's user said no.
    pub(super) fn contact_refused(&mut self, id: SessionId, now: Now) -> Result<(), HandleError> {
        let session = self.session(id)?;
        let peer = session.peer;
        // Nobody redials for a request that is dead.
        session.role = Role::Stranger;
        let name = self
            .store
            .pending_join(&peer, self.requests_gone)?
            .and_then(|pending| pending.inviter);
        self.end_pending_join(&peer)?;
        self.publish_directory()?;
        self.event(Event::Declined {
            peer,
            name: name.unwrap_or_else(|| peer.short()),
        });
        self.drop_session(id, now);
        Ok(())
    }
}
