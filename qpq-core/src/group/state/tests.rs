//! Commits and Welcomes that openmls allows and we do not, or that no honest member makes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use openmls::{group::GroupId, schedule::PreSharedKeyId};
use rusqlite::types::Value;

use super::{
    super::{
        tests::{Party, party},
        *,
    },
    *,
};
use crate::{
    consensus::mls::Proposed,
    id::{GroupId as Id, MemberId},
};

const ID: Id = Id([7; 16]);

impl Party {
    fn state(&self) -> State<'_> {
        State::load(&self.store, &self.identity, ID).unwrap()
    }

    fn id(&self) -> MemberId {
        MemberId::from(&self.identity.peer_id())
    }

    /// A KeyPackage of this party's key, otherwise as it is wanted.
    fn package_of(
        &self,
        credential: Credential,
        capabilities: Capabilities,
        lifetime: Lifetime,
    ) -> KeyPackage {
        let credential = CredentialWithKey {
            credential,
            signature_key: self.identity.peer_id().0.to_vec().into(),
        };
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities)
            .key_package_lifetime(lifetime)
            .build(CIPHERSUITE, &self.store.provider(), &self.identity, credential);
        bundle.unwrap().into_key_package()
    }

    fn basic(&self) -> Credential {
        BasicCredential::new(self.identity.peer_id().0.to_vec()).into()
    }
}

fn group_data_of(founder: &Party) -> GroupData {
    GroupData {
        name: String::new(),
        admins: vec![founder.id()],
        version: 1,
    }
}

/// Anna, who founded the group, and Ben.
fn pair() -> (Party, Party) {
    let (anna, ben) = (party(1), party(2));
    let mut founder = anna.state();
    founder.create(&group_data_of(&anna)).unwrap();
    let change = Change {
        adds: vec![ben.state().key_package().unwrap()],
        ..Change::default()
    };
    let staged = founder.stage(&change, b"").unwrap().unwrap();
    founder.merge_pending().unwrap();
    assert!(ben.state().join(&staged.welcome.unwrap(), &|_| true).unwrap());
    drop(founder);
    (anna, ben)
}

type Initial<'a> = CommitBuilder<'a, openmls::group::Initial, &'a mut MlsGroup>;

/// What Ben makes of a Commit that Anna builds past our checks. (What openmls itself does not build, `None` as well,
/// it does not take from others either.)
fn judged(anna: &Party, ben: &Party, build: impl FnOnce(Initial<'_>) -> Initial<'_>) -> Option<Proposed> {
    let provider = anna.store.provider();
    let mut group = load(&provider, &ID).unwrap();
    let built = build(group.commit_builder())
        .load_psks(provider.storage())
        .unwrap()
        .build(provider.rand(), provider.crypto(), &anna.identity, |_| true)
        .ok()?;
    let (commit, _, _) = built.stage_commit(&provider).unwrap().into_messages();
    judge_at(ben, &commit.tls_serialize_detached().unwrap())
}

fn judge_at(ben: &Party, commit: &[u8]) -> Option<Proposed> {
    let mut state = ben.state();
    let epoch = state.epoch().unwrap().id;
    state.judge(&epoch, commit).unwrap().proposed()
}

#[test]
fn a_commit_without_a_path_is_invalid() {
    let (anna, ben) = pair();
    let carla = party(3);
    let package = carla.package_of(carla.basic(), capabilities(), unbounded());
    let add = |path: bool| {
        let adds = [package.clone()];
        judged(&anna, &ben, |commit| {
            commit.force_self_update(path).propose_adds(adds)
        })
    };
    assert!(add(false).is_none());
    assert!(add(true).is_some());
}

#[test]
fn a_key_package_that_is_not_its_owners_makes_the_commit_invalid() {
    let (anna, ben, carla) = (pair(), party(3), party(4));
    let ((anna, ben), mallory, carla) = (anna, ben, carla);
    let add = |package: KeyPackage| {
        judged(&anna, &ben, |commit| {
            commit.force_self_update(true).propose_adds([package])
        })
    };
    let good = carla.package_of(carla.basic(), capabilities(), unbounded());
    assert_eq!(add(good).unwrap().adds[0].member, carla.id());
    let of_another = mallory.package_of(carla.basic(), capabilities(), unbounded());
    assert!(add(of_another).is_none());
    let longer = BasicCredential::new(vec![1; 33]).into();
    assert!(add(carla.package_of(longer, capabilities(), unbounded())).is_none());
    let unable = Capabilities::builder()
        .ciphersuites(vec![
            Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
            CIPHERSUITE,
        ])
        .extensions(vec![GROUP_DATA])
        .credentials(vec![CredentialType::Basic])
        .build();
    assert!(add(carla.package_of(carla.basic(), unable, unbounded())).is_some());
}

/// A clock would decide what is valid.
#[test]
fn a_key_package_that_ends_makes_the_commit_invalid_and_is_not_staged() {
    let (anna, ben) = pair();
    let carla = party(3);
    let package = carla.package_of(carla.basic(), capabilities(), Lifetime::new(1_000_000));
    let bytes = MlsMessageOut::from(package.clone())
        .tls_serialize_detached()
        .unwrap();
    assert!(
        judged(&anna, &ben, |commit| commit
            .force_self_update(true)
            .propose_adds([package]))
        .is_none()
    );
    assert!(anna.state().read_key_package(&bytes).is_none());
    let change = Change {
        adds: vec![bytes],
        ..Change::default()
    };
    assert!(anna.state().stage(&change, b"").unwrap().is_none());
}

#[test]
fn only_the_groups_data_may_change_among_its_extensions() {
    let (anna, ben) = pair();
    let with = |extensions: Vec<Extension>| {
        let extensions = Extensions::from_vec(extensions).unwrap();
        judged(&anna, &ben, |commit| {
            let commit = commit.force_self_update(true);
            commit.propose_group_context_extensions(extensions).unwrap()
        })
    };
    let required = || Extension::RequiredCapabilities(required_capabilities());
    let data = |bytes: Vec<u8>| Extension::Unknown(GROUP_DATA_TYPE, UnknownExtension(bytes));
    let good = group_data_of(&ben).encode();
    let proposed = with(vec![required(), data(good.clone())]).unwrap();
    assert_eq!(proposed.data, Some(group_data_of(&ben)));
    let less = RequiredCapabilitiesExtension::new(&[], &[], &[CredentialType::Basic]);
    let senders = Extension::ExternalSenders(vec![ExternalSender::new(
        ben.identity.peer_id().0.to_vec().into(),
        ben.basic(),
    )]);
    for rogue in [
        vec![required(), data(b"garbage".to_vec())],
        vec![required()],
        vec![data(good.clone())],
        vec![Extension::RequiredCapabilities(less), data(good.clone())],
        vec![required(), data(good), senders],
    ] {
        assert!(with(rogue).is_none());
    }
}

#[test]
fn a_commit_with_a_psk_is_invalid_though_we_have_it() {
    let (anna, ben) = pair();
    let nonce = vec![1; 32];
    let id = PreSharedKeyId::external(b"psk".to_vec(), nonce);
    for party in [&anna, &ben] {
        id.store(&party.store.provider(), &[9; 32]).unwrap();
    }
    let psk = Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)));
    assert!(
        judged(&anna, &ben, |commit| commit
            .force_self_update(true)
            .add_proposal(psk))
        .is_none()
    );
}

#[test]
fn a_proposal_that_is_not_in_its_commit_makes_it_invalid() {
    let (anna, ben) = pair();
    let carla = party(3);
    let package = carla.package_of(carla.basic(), capabilities(), unbounded());
    let provider = anna.store.provider();
    let mut group = load(&provider, &ID).unwrap();
    let (proposal, _) = group
        .propose_add_member(&provider, &anna.identity, &package)
        .unwrap();
    let (commit, _, _) = group
        .commit_to_pending_proposals(&provider, &anna.identity)
        .unwrap();
    let [proposal, commit] = [proposal, commit].map(|message| message.tls_serialize_detached().unwrap());
    let epoch = ben.state().epoch().unwrap().id;
    assert!(ben.state().open(&epoch, &proposal).unwrap().is_none());
    assert!(judge_at(&ben, &proposal).is_none());
    assert!(judge_at(&ben, &commit).is_none());
}

/// Its bytes are in the clear, and it is from nobody who is in.
#[test]
fn a_commit_from_outside_is_invalid() {
    let (anna, ben) = pair();
    let mallory = party(4);
    let provider = anna.store.provider();
    let group = load(&provider, &ID).unwrap();
    let info = group
        .export_group_info(provider.crypto(), &anna.identity, true)
        .unwrap();
    let info = info.tls_serialize_detached().unwrap();
    let MlsMessageBodyIn::GroupInfo(info) = MlsMessageIn::tls_deserialize_exact(&info).unwrap().extract()
    else {
        panic!("a GroupInfo")
    };
    let outside = mallory.store.provider();
    let leaf = LeafNodeParameters::builder()
        .with_capabilities(capabilities())
        .build();
    let (_, bundle) = MlsGroup::external_commit_builder()
        .with_config(join_config())
        .build_group(&outside, info, credential(&mallory.identity))
        .unwrap()
        .leaf_node_parameters(leaf)
        .load_psks(outside.storage())
        .unwrap()
        .build(outside.rand(), outside.crypto(), &mallory.identity, |_| true)
        .unwrap()
        .finalize(&outside)
        .unwrap();
    let commit = bundle.into_commit().tls_serialize_detached().unwrap();
    assert!(judge_at(&ben, &commit).is_none());
}

/// Its author is who the leaf names now, and stays so.
#[test]
fn a_committer_that_becomes_somebody_else_makes_the_commit_invalid() {
    let (anna, ben) = pair();
    let carla = party(3);
    let other = LeafNodeParameters::builder()
        .with_credential_with_key(CredentialWithKey {
            credential: carla.basic(),
            signature_key: anna.identity.peer_id().0.to_vec().into(),
        })
        .build();
    assert!(judged(&anna, &ben, |commit| commit.leaf_node_parameters(other)).is_none());
    let unable = Capabilities::builder()
        .ciphersuites(vec![
            Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        ])
        .extensions(vec![GROUP_DATA])
        .credentials(vec![CredentialType::Basic])
        .build();
    let unable = LeafNodeParameters::builder().with_capabilities(unable).build();
    assert!(judged(&anna, &ben, |commit| commit.leaf_node_parameters(unable)).is_none());
}

/// As it comes back to a life of ours that does not know it, whether the state still has it pending or not.
#[test]
fn a_commit_of_our_own_is_neither_valid_nor_invalid() {
    let (anna, ben) = pair();
    let base = ben.state().epoch().unwrap().id;
    let judged = |party: &Party, commit: &[u8]| party.state().judge(&base, commit).unwrap();
    ben.store.savepoint().unwrap();
    let staged = ben.state().stage(&Change::default(), b"").unwrap();
    let commit = staged.unwrap().commit;
    assert_eq!(judged(&ben, &commit), Judgement::Own);
    ben.store.undo().unwrap();
    assert_eq!(judged(&ben, &commit), Judgement::Own);
    assert_eq!(judged(&anna, &commit).proposed().unwrap().author, ben.id());
    ben.state().snapshot().unwrap();
    assert!(ben.state().apply(&commit).is_err());
    ben.state().restore(&base).unwrap();
    // On the copy of an epoch that was left, too; and what is of another epoch is invalid, whoever sent it.
    ben.state().snapshot().unwrap();
    let other = ben.state().stage(&Change::default(), b"").unwrap().unwrap();
    ben.state().merge_pending().unwrap();
    assert_eq!(judged(&ben, &commit), Judgement::Own);
    let now = ben.state().epoch().unwrap().id;
    for commit in [&commit, &other.commit] {
        assert_eq!(ben.state().judge(&now, commit).unwrap(), Judgement::Invalid);
    }
}

/// Sender data is not signed: with our leaf in it, its reader learns no more than that.
#[test]
fn a_commit_of_our_own_that_was_changed_is_invalid_for_others_alone() {
    let (anna, ben) = pair();
    let base = ben.state().epoch().unwrap().id;
    let staged = ben.state().stage(&Change::default(), b"").unwrap();
    let mut commit = staged.unwrap().commit;
    *commit.last_mut().unwrap() ^= 1;
    assert_eq!(ben.state().judge(&base, &commit).unwrap(), Judgement::Own);
    assert_eq!(anna.state().judge(&base, &commit).unwrap(), Judgement::Invalid);
}

#[test]
fn a_welcome_into_a_group_that_is_not_as_ours_are_is_refused() {
    let (mallory, ben) = (party(4), party(2));
    let provider = mallory.store.provider();
    let senders = Extension::ExternalSenders(vec![]);
    let extensions = [
        vec![Extension::RequiredCapabilities(required_capabilities())],
        vec![
            Extension::RequiredCapabilities(required_capabilities()),
            Extension::Unknown(GROUP_DATA_TYPE, UnknownExtension(b"garbage".to_vec())),
        ],
        vec![
            Extension::RequiredCapabilities(required_capabilities()),
            Extension::Unknown(GROUP_DATA_TYPE, UnknownExtension(group_data_of(&ben).encode())),
            senders,
        ],
    ];
    for extensions in extensions {
        mallory.store.drop_mls(&ID).unwrap();
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(CIPHERSUITE)
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .capabilities(capabilities())
            .with_group_context_extensions(Extensions::from_vec(extensions).unwrap())
            .build();
        let id = GroupId::from_slice(&ID.0);
        let own = credential(&mallory.identity);
        let group = MlsGroup::new_with_group_id(&provider, &mallory.identity, &config, id, own);
        let package = ben.package_of(ben.basic(), capabilities(), unbounded());
        let (_, welcome, _) = group
            .unwrap()
            .add_members(&provider, &mallory.identity, &[package])
            .unwrap();
        let welcome = welcome.tls_serialize_detached().unwrap();
        let mut state = ben.state();
        assert!(!state.join(&welcome, &|_| true).unwrap());
        assert!(state.epoch().is_none());
    }
}

#[test]
fn nothing_of_a_deleted_group_stays_and_another_group_does() {
    let (_, ben) = pair();
    let other = Id([8; 16]);
    let mut another = State::load(&ben.store, &ben.identity, other).unwrap();
    another.create(&group_data_of(&ben)).unwrap();
    another.snapshot().unwrap();
    for _ in 0..2 {
        ben.state().snapshot().unwrap();
        ben.state().stage(&Change::default(), b"").unwrap().unwrap();
        ben.state().merge_pending().unwrap();
    }
    ben.state().stage(&Change::default(), b"").unwrap().unwrap();
    let of_group = |id: Id| {
        let id = serde_json::to_vec(&GroupId::from_slice(&id.0)).unwrap();
        let tables = ben.store.all_rows().unwrap();
        let rows = tables.into_iter().flat_map(|(_, rows)| rows);
        let has = |value: &Value| *value == Value::Blob(id.clone());
        rows.filter(|row| row.iter().any(has)).count()
    };
    let copies = |id: Id| {
        let tables = ben.store.all_rows().unwrap();
        let (_, rows) = tables.into_iter().find(|(name, _)| name == "mls_copy").unwrap();
        rows.iter()
            .filter(|row| row[0] == Value::Blob(id.0.to_vec()))
            .count()
    };
    let kept = (of_group(other), copies(other));
    assert!(of_group(ID) > 0 && copies(ID) > 0 && kept.0 > 0 && kept.1 > 0);
    let group = load(&ben.store.provider(), &ID).unwrap();
    delete(&ben.store, &ID, group).unwrap();
    assert_eq!((of_group(ID), copies(ID)), (0, 0));
    assert_eq!((of_group(other), copies(other)), kept);
}
