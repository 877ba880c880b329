//! Whom the driver looks for on the network, and whom it lets in.

use std::collections::BTreeMap;

use super::{Directory, Engine, Output};
use crate::{
    card::LanKey,
    id::PeerId,
    store::{Contact, StoreError},
    wire::Frame,
};

impl Engine {
    /// Tells the driver whom to look for and whom to let in.
    pub(super) fn publish_directory(&mut self) -> Result<(), StoreError> {
        let contacts = self
            .store
            .contacts()?
            .into_iter()
            .filter(Contact::is_live)
            .map(|contact| (contact.peer, Some(contact.lan_key)));
        let pending = self
            .store
            .pending_joins(self.requests_gone)?
            .into_iter()
            .map(|(peer, _)| (peer, None));
        let requesters = self.requesters()?;
        let looking_for_links = self.links_looked_for()?;
        let sought = looking_for_links.keys().map(|peer| (*peer, None));
        self.outputs.push(Output::Directory(Directory {
            own_lan_key: self.store.own_lan_key()?,
            requesters: requesters.keys().copied().collect(),
            known: sought
                .chain(pending)
                .chain(requesters.into_iter().map(|(peer, key)| (peer, Some(key))))
                .chain(contacts)
                .collect(),
            inviting: self.invite.as_ref().map(|invite| invite.code.nameplate()),
            links: self
                .store
                .links(self.links_gone)?
                .iter()
                .map(|link| link.keys().lan)
                .collect(),
            looking_for: self.joining.as_ref().map(|joining| joining.code.nameplate()),
            looking_for_links,
            joining: self.joining.is_some() || self.link_joining.is_some(),
        }));
        Ok(())
    }

    /// Who waits for the user's word, and the key of their mDNS token.
    fn requesters(&self) -> Result<BTreeMap<PeerId, LanKey>, StoreError> {
        let own = self.identity.peer_id();
        let requests = self.store.requests()?.into_iter();
        let keys = requests.map(|request| {
            let peer = request.peer;
            let Ok(Frame::ContactRequest(request)) = Frame::decode(&request.frame) else {
                return Err(StoreError::Corrupt("request"));
            };
            let card = request.card.verify(&peer, &own);
            let card = card.map_err(|_| StoreError::Corrupt("card of a request"))?;
            Ok((peer, card.lan_key))
        });
        keys.collect()
    }
}
