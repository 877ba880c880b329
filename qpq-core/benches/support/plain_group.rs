//! What Commits cost openmls alone: two members of a group of any size, their state in memory, with the settings of our
//! groups.

use std::{collections::HashMap, time::Duration};

use openmls::prelude::{tls_codec::Deserialize as _, *};
use openmls_rust_crypto::OpenMlsRustCrypto;
use qpq_core::identity::Identity;

use crate::{identity, time};

const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

type Rows = HashMap<Vec<u8>, Vec<u8>>;

/// A member, and what its storage held in the beginning.
struct Member {
    provider: OpenMlsRustCrypto,
    identity: Identity,
    rows: Rows,
}

/// Two members of a group, and a Commit of the first that the second has not seen.
pub(crate) struct Plain {
    anna: Member,
    ben: Member,
    id: GroupId,
    commit: Vec<u8>,
}

impl Member {
    fn new(who: u16) -> Self {
        Self {
            provider: OpenMlsRustCrypto::default(),
            identity: identity(who),
            rows: Rows::new(),
        }
    }

    fn credential(&self) -> CredentialWithKey {
        let key = self.identity.peer_id().0.to_vec();
        CredentialWithKey {
            credential: BasicCredential::new(key.clone()).into(),
            signature_key: key.into(),
        }
    }

    fn package(&self) -> KeyPackage {
        let bundle =
            KeyPackage::builder().build(CIPHERSUITE, &self.provider, &self.identity, self.credential());
        bundle.unwrap().into_key_package()
    }

    /// What it holds now is what it goes back to.
    fn keep(&mut self) {
        self.rows = self.provider.storage().values.read().unwrap().clone();
    }

    fn go_back(&self, id: &GroupId) -> MlsGroup {
        *self.provider.storage().values.write().unwrap() = self.rows.clone();
        MlsGroup::load(self.provider.storage(), id).unwrap().unwrap()
    }

    fn stage(&self, group: &mut MlsGroup) -> Vec<u8> {
        let staged = group
            .commit_builder()
            .force_self_update(true)
            .load_psks(self.provider.storage())
            .unwrap()
            .build(
                self.provider.rand(),
                self.provider.crypto(),
                &self.identity,
                |_| true,
            )
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        staged.into_messages().0.to_bytes().unwrap()
    }

    fn process(&self, group: &mut MlsGroup, commit: &[u8]) -> StagedCommit {
        let message = MlsMessageIn::tls_deserialize_exact(commit).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let processed = group.process_message(&self.provider, message).unwrap();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            unreachable!("a Commit");
        };
        *staged
    }

    fn apply(&self, group: &mut MlsGroup, commit: &[u8]) {
        let staged = self.process(group, commit);
        group.merge_staged_commit(&self.provider, staged).unwrap();
    }
}

impl Plain {
    pub(crate) fn new(members: u16) -> Self {
        let (mut anna, mut ben) = (Member::new(0), Member::new(1));
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(CIPHERSUITE)
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .padding_size(64)
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(64, 2_000))
            .build();
        let mut hers = MlsGroup::new(&anna.provider, &anna.identity, &config, anna.credential()).unwrap();
        let mut packages = vec![ben.package()];
        packages.extend((2..members).map(|who| Member::new(who).package()));
        let (_, welcome, _) = hers
            .add_members(&anna.provider, &anna.identity, &packages)
            .unwrap();
        hers.merge_pending_commit(&anna.provider).unwrap();
        let welcome = MlsMessageIn::tls_deserialize_exact(welcome.to_bytes().unwrap()).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = welcome.extract() else {
            unreachable!("a Welcome");
        };
        let mut his = StagedWelcome::new_from_welcome(&ben.provider, config.join_config(), welcome, None)
            .unwrap()
            .into_group(&ben.provider)
            .unwrap();
        let first = anna.stage(&mut hers);
        hers.merge_pending_commit(&anna.provider).unwrap();
        ben.apply(&mut his, &first);
        anna.keep();
        ben.keep();
        let commit = anna.stage(&mut hers);
        let id = hers.group_id().clone();
        Self {
            anna,
            ben,
            id,
            commit,
        }
    }

    /// The time to make a Commit.
    pub(crate) fn staged(&self) -> Duration {
        let mut group = self.anna.go_back(&self.id);
        time(|| drop(self.anna.stage(&mut group)))
    }

    /// The time to enter the epoch of the other's Commit.
    pub(crate) fn applied(&self) -> Duration {
        let mut group = self.ben.go_back(&self.id);
        time(|| self.ben.apply(&mut group, &self.commit))
    }

    /// The time to load the group.
    pub(crate) fn loaded(&self) -> Duration {
        time(|| drop(MlsGroup::load(self.ben.provider.storage(), &self.id).unwrap()))
    }
}
