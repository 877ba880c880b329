//! What every verb works with: settings, output, and the way to the profile.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use qpq_core::passphrase::Passphrase;

use super::{can_converse, output::Output, unlock};
use crate::{
    config::{Layer, Layers},
    control::{Access, Client, SocketPlace},
    event::OwnerKind,
    failure::Failure,
    profile::{Folders, SealedProfile},
    request::Read,
    sink::Sink,
};

/// What every verb works with.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) folders: Folders,
    pub(super) settings: Layer,
    /// What the settings were made of.
    pub(super) layers: Layers,
    pub(super) output: Output,
    /// What opened the profile: whoever goes on in another's place is not asked again.
    pub(super) passphrase: Arc<Mutex<Option<Passphrase>>>,
}

impl Context {
    pub(super) fn folder(&self) -> PathBuf {
        self.folders
            .profile(&self.settings.profile.clone().unwrap_or_default())
    }

    /// How this process gets at the profile. Lasting: it goes on until somebody ends it.
    pub(super) fn access(&self, kind: OwnerKind, lasting: bool) -> Access {
        let folder = self.folder();
        let (opened, context) = (folder.clone(), self.clone());
        let (sealed, asker) = (folder.clone(), self.clone());
        Access {
            socket: SocketPlace::new(folder.clone(), self.settings.home.is_some()),
            folder,
            network: self.settings.network(),
            kind,
            lasting,
            open: Box::new(move || unlock::open(&SealedProfile::read(&opened)?, &context)),
            asks: Box::new(move || unlock::asks(&SealedProfile::read(&sealed)?, &asker)),
        }
    }

    /// Attaches to the owner of the profile, or becomes it, for as long as one thing takes.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        Client::attach(self.access(OwnerKind::Brief, false)).await
    }

    /// The same for what goes on until somebody ends it.
    pub(super) async fn lasting_client(&self, kind: OwnerKind) -> Result<Client, Failure> {
        Client::attach(self.access(kind, true)).await
    }

    /// Has answered what needs no network.
    pub(super) async fn read(&self, read: Read, sink: &mut impl Sink) -> Result<(), Failure> {
        Client::read(&self.access(OwnerKind::Brief, false), read, sink).await
    }

    /// Whether somebody can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.settings.no_input != Some(true) && can_converse()
    }
}
