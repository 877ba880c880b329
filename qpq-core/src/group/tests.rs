//! Credentials that do not bind their key are refused wherever one is met, and what fails is undone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;

use openmls::prelude::tls_codec::Serialize as _;

use super::*;
use crate::{
    id::{MessageId, StreamId},
    secret::Secret,
    store::{self, Store},
};

/// Somebody with a database and an identity, in an open transaction.
pub(super) struct Party {
    pub(super) store: Store,
    pub(super) identity: Identity,
    _dir: tempfile::TempDir,
}

pub(super) fn party(seed: u8) -> Party {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("qpq.db"), Secret::new([seed; 32]));
    store::create(&path, &key, "somebody", &Secret::new([0; 32])).unwrap();
    let store = Store::open(&path, &key).unwrap();
    store.begin().unwrap();
    Party {
        store,
        identity: Identity::from_seed(&Secret::new([seed; 32])),
        _dir: dir,
    }
}

impl Party {
    fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn package(&self) -> Vec<u8> {
        new_key_package(&self.store.provider(), &self.identity).unwrap().1
    }

    /// A KeyPackage whose leaf is signed by this party and names somebody else, or has other capabilities.
    fn forged_package(&self, credential: Credential, capabilities: Capabilities) -> Vec<u8> {
        let credential = CredentialWithKey {
            credential,
            signature_key: self.peer().0.to_vec().into(),
        };
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities)
            .key_package_lifetime(unbounded())
            .build(CIPHERSUITE, &self.store.provider(), &self.identity, credential)
            .unwrap();
        MlsMessageOut::from(bundle.into_key_package())
            .tls_serialize_detached()
            .unwrap()
    }

    /// Makes a group and adds the owner of a KeyPackage without looking at it, as a malicious member would.
    fn create_unchecked(&self, id: crate::id::GroupId, package: &[u8]) -> create::Created {
        use openmls::prelude::tls_codec::Deserialize as _;
        let MlsMessageBodyIn::KeyPackage(package) =
            MlsMessageIn::tls_deserialize_exact(package).unwrap().extract()
        else {
            panic!("a KeyPackage")
        };
        let provider = self.store.provider();
        let package = package
            .validate(provider.crypto(), ProtocolVersion::Mls10)
            .unwrap();
        create(&provider, &self.identity, id, &[package]).unwrap()
    }
}

fn basic(peer: PeerId) -> Credential {
    BasicCredential::new(peer.0.to_vec()).into()
}

const GROUP: crate::id::GroupId = crate::id::GroupId([7; 16]);

fn header(seq: u64) -> Header {
    Header {
        stream: StreamId([1; 8]),
        seq,
        message: MessageId([2; 16]),
    }
}

/// Two parties in one group.
fn pair() -> (Party, MlsGroup, Party, MlsGroup) {
    let (anna, ben) = (party(1), party(2));
    let created = anna.create_unchecked(GROUP, &ben.package());
    let members = BTreeSet::from([anna.peer(), ben.peer()]);
    let joined = join(
        &ben.store.provider(),
        &created.welcome,
        &GROUP,
        &anna.peer(),
        &members,
    )
    .unwrap();
    (anna, created.group, ben, joined)
}

#[test]
fn both_members_derive_the_same_epoch_id_and_read_each_other() {
    let (anna, mut at_anna, ben, mut at_ben) = pair();
    let id = |party: &Party, group: &MlsGroup| epoch_id(&party.store.provider(), group).unwrap();
    assert_eq!(id(&anna, &at_anna), id(&ben, &at_ben));
    let bytes = seal_message(
        &anna.store.provider(),
        &anna.identity,
        &mut at_anna,
        header(1),
        b"hi",
    )
    .unwrap();
    let opened = open_message(&ben.store.provider(), &mut at_ben, header(1), &bytes).unwrap();
    assert_eq!(
        opened,
        (MemberId::from(&anna.peer()), anna.peer(), b"hi".to_vec())
    );
}

#[test]
fn a_key_package_of_somebody_else_is_refused() {
    let (anna, ben, mallory) = (party(1), party(2), party(3));
    let provider = anna.store.provider();
    let error = |bytes: &[u8], owner: &Party| read_key_package(&provider, bytes, &owner.peer()).unwrap_err();
    assert!(read_key_package(&provider, &ben.package(), &ben.peer()).is_ok());
    assert!(matches!(
        error(&mallory.package(), &ben),
        KeyPackageError::Identity
    ));
    // Signed by Mallory's key, says "Ben".
    let forged = mallory.forged_package(basic(ben.peer()), capabilities());
    assert!(matches!(error(&forged, &ben), KeyPackageError::Identity));
    assert!(matches!(error(&forged, &mallory), KeyPackageError::Identity));
}

#[test]
fn a_credential_of_another_length_or_type_is_refused() {
    let (anna, ben) = (party(1), party(2));
    let provider = anna.store.provider();
    let longer = [ben.peer().0.to_vec(), vec![0]].concat();
    let other = [
        BasicCredential::new(longer).into(),
        BasicCredential::new(vec![]).into(),
        Credential::new(CredentialType::Other(0xF000), ben.peer().0.to_vec()),
    ];
    for credential in other {
        let capabilities = Capabilities::builder()
            .ciphersuites(vec![CIPHERSUITE])
            .extensions(vec![ExtensionType::LastResort, GROUP_DATA])
            .credentials(vec![CredentialType::Basic, CredentialType::Other(0xF000)])
            .build();
        let package = ben.forged_package(credential, capabilities);
        assert!(read_key_package(&provider, &package, &ben.peer()).is_err());
    }
}

#[test]
fn a_key_package_without_the_groups_extension_is_refused() {
    let (anna, ben) = (party(1), party(2));
    let package = ben.forged_package(basic(ben.peer()), Capabilities::default());
    let refused = read_key_package(&anna.store.provider(), &package, &ben.peer());
    assert!(matches!(refused, Err(KeyPackageError::Unsupported)));
}

/// What passes our checks can be added; what could not be added is refused before, as its sender's fault.
#[test]
fn a_key_package_that_could_not_be_added_is_refused_as_its_senders_fault() {
    let (anna, ben) = (party(1), party(2));
    let able = |suites: Vec<Ciphersuite>, credentials: Vec<CredentialType>| {
        Capabilities::builder()
            .ciphersuites(suites)
            .extensions(vec![ExtensionType::LastResort, GROUP_DATA])
            .credentials(credentials)
            .build()
    };
    let other = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
    for capabilities in [
        able(vec![other], vec![CredentialType::Basic]),
        able(vec![CIPHERSUITE], vec![CredentialType::Other(0xF000)]),
    ] {
        let package = ben.forged_package(basic(ben.peer()), capabilities);
        assert!(read_key_package(&anna.store.provider(), &package, &ben.peer()).is_err());
    }
}

#[test]
fn a_deleted_key_package_joins_nothing() {
    let (anna, ben) = (party(1), party(2));
    let (reference, package) = new_key_package(&ben.store.provider(), &ben.identity).unwrap();
    let created = anna.create_unchecked(GROUP, &package);
    delete_key_package(&ben.store.provider(), &reference).unwrap();
    let members = BTreeSet::from([anna.peer(), ben.peer()]);
    let refused = join(
        &ben.store.provider(),
        &created.welcome,
        &GROUP,
        &anna.peer(),
        &members,
    );
    assert!(matches!(refused.map(|_| ()), Err(WelcomeError::Invalid)));
}

#[test]
fn garbage_and_flipped_key_packages_are_refused() {
    let (anna, ben) = (party(1), party(2));
    let package = ben.package();
    for at in (0..package.len()).step_by(3) {
        let mut flipped = package.clone();
        flipped[at] ^= 1;
        assert!(
            read_key_package(&anna.store.provider(), &flipped, &ben.peer()).is_err(),
            "byte {at}"
        );
        assert!(
            read_key_package(&anna.store.provider(), &package[..at], &ben.peer()).is_err(),
            "cut {at}"
        );
    }
}

#[test]
fn a_welcome_into_another_roster_or_group_or_by_another_adder_is_refused() {
    let (anna, ben, carla) = (party(1), party(2), party(3));
    let created = anna.create_unchecked(GROUP, &ben.package());
    let both = BTreeSet::from([anna.peer(), ben.peer()]);
    let try_join = |id: &crate::id::GroupId, adder: &Party, members: &BTreeSet<PeerId>| {
        ben.store.savepoint().unwrap();
        let result = join(
            &ben.store.provider(),
            &created.welcome,
            id,
            &adder.peer(),
            members,
        );
        ben.store.undo().unwrap();
        result.map(|_| ()).unwrap_err()
    };
    let three = BTreeSet::from([anna.peer(), ben.peer(), carla.peer()]);
    let others = BTreeSet::from([carla.peer(), ben.peer()]);
    assert!(matches!(try_join(&GROUP, &anna, &three), WelcomeError::Members));
    assert!(matches!(try_join(&GROUP, &anna, &others), WelcomeError::Members));
    assert!(matches!(try_join(&GROUP, &carla, &both), WelcomeError::Members));
    assert!(matches!(
        try_join(&crate::id::GroupId([8; 16]), &anna, &both),
        WelcomeError::Group
    ));
    // The refused joins consumed nothing: the savepoint gave the KeyPackage back.
    assert!(
        join(
            &ben.store.provider(),
            &created.welcome,
            &GROUP,
            &anna.peer(),
            &both
        )
        .is_ok()
    );
}

/// Mallory adds a leaf that says "Anna" with her own key beside the victim's.
#[test]
fn a_welcome_with_a_leaf_that_lies_about_its_owner_is_refused() {
    let (mallory, ben, anna) = (party(4), party(2), party(1));
    let forged = MlsGroup::new_with_group_id(
        &mallory.store.provider(),
        &mallory.identity,
        &create_config(&GroupData {
            name: String::new(),
            admins: vec![],
            version: 1,
        })
        .unwrap(),
        GroupId::from_slice(&GROUP.0),
        CredentialWithKey {
            credential: basic(anna.peer()),
            signature_key: mallory.peer().0.to_vec().into(),
        },
    );
    let mut group = forged.unwrap();
    let provider = mallory.store.provider();
    let package = read_key_package(&provider, &ben.package(), &ben.peer()).unwrap();
    let (_, welcome, _) = group
        .add_members(&provider, &mallory.identity, &[package])
        .unwrap();
    let welcome = welcome.tls_serialize_detached().unwrap();
    let members = BTreeSet::from([anna.peer(), ben.peer()]);
    let refused = join(&ben.store.provider(), &welcome, &GROUP, &anna.peer(), &members);
    assert!(matches!(refused.map(|_| ()), Err(WelcomeError::Members)));
}

#[test]
fn a_header_that_lies_a_flipped_byte_and_a_replay_are_refused() {
    let (anna, mut at_anna, ben, _) = pair();
    let bytes = seal_message(
        &anna.store.provider(),
        &anna.identity,
        &mut at_anna,
        header(1),
        b"hi",
    )
    .unwrap();
    let open = |header: Header, bytes: &[u8]| {
        ben.store.savepoint().unwrap();
        let mut group = load(&ben.store.provider(), &GROUP).unwrap();
        let result = open_message(&ben.store.provider(), &mut group, header, bytes).map(|_| ());
        ben.store.undo().unwrap();
        result
    };
    assert!(matches!(open(header(2), &bytes), Err(MessageError::Mismatch)));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(open(header(1), &flipped).is_err(), "byte {at}");
    }
    // All of that changed nothing: the message opens, once.
    let mut group = load(&ben.store.provider(), &GROUP).unwrap();
    assert!(open_message(&ben.store.provider(), &mut group, header(1), &bytes).is_ok());
    assert!(matches!(
        open_message(&ben.store.provider(), &mut group, header(1), &bytes),
        Err(MessageError::Unreadable(_))
    ));
}

/// No Commit is made after the first one yet, so one that comes is refused, whoever made it.
#[test]
fn a_commit_is_refused_and_changes_nothing() {
    let (anna, mut at_anna, ben, at_ben) = pair();
    let before = epoch_id(&ben.store.provider(), &at_ben).unwrap();
    let update = at_anna
        .self_update(
            &anna.store.provider(),
            &anna.identity,
            LeafNodeParameters::default(),
        )
        .unwrap()
        .into_commit()
        .tls_serialize_detached()
        .unwrap();
    ben.store.savepoint().unwrap();
    let mut group = at_ben;
    let refused = open_message(&ben.store.provider(), &mut group, header(1), &update);
    ben.store.undo().unwrap();
    assert!(matches!(refused, Err(MessageError::Mismatch)));
    let group = load(&ben.store.provider(), &GROUP).unwrap();
    assert_eq!(epoch_id(&ben.store.provider(), &group).unwrap(), before);
}

/// Lengths on the wire fall in steps: they do not tell the length of a text.
#[test]
fn ciphertexts_are_padded() {
    let (anna, mut at_anna, _ben, _) = pair();
    let provider = anna.store.provider();
    let lengths: BTreeSet<usize> = (1..=40)
        .map(|len| {
            seal_message(&provider, &anna.identity, &mut at_anna, header(1), &vec![0; len])
                .unwrap()
                .len()
        })
        .collect();
    assert!(lengths.len() <= 2, "{lengths:?}");
}
