//! The simulator's members on openmls: each with its own database in memory, all their cryptography from one seed.
//!
//! Whether a state in memory is what its rows say shows when it is read again: so each member, at times that its seed
//! chooses, ends its transaction, and now and then loads everything anew.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use qpq_core::{
    consensus::{
        danger::{GroupError, Member},
        mls::{Change, Epoch, Judgement, Mls, Mutant, Opened, Package, Staged},
    },
    content::GroupData,
    id::{EpochId, GroupId, PeerId},
    identity::Identity,
    labels::Context,
    secret::Secret,
};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};

use crate::{
    seeded_crypto::{Oracle, SeededCrypto},
    sim::{Random, World},
};

const GROUP: GroupId = GroupId([7; 16]);

/// Of a hundred calls, those before which a transaction ends.
const COMMITS: u64 = 30;
/// Of a hundred ends of transactions, those after which everything is loaded anew.
const RELOADS: u64 = 20;

thread_local! {
    /// Of the run that is under way in this thread: all that was encrypted, and all epochs that were entered.
    static TRAIL: RefCell<Sha256> = RefCell::default();
}

/// SHA-256 over all that members of this thread's last world encrypted and entered, in order.
pub(crate) fn fingerprint() -> [u8; 32] {
    TRAIL.with_borrow(|trail| trail.clone().finalize().into())
}

fn note(bytes: &[u8]) {
    TRAIL.with_borrow_mut(|trail| trail.update(Sha256::digest(bytes)));
}

/// A world of openmls. Of the mutants, it does not have the back-end's own.
pub(crate) struct Real {
    seed: u64,
    /// How many disks there were: each has its own part of the seed.
    disks: u64,
    oracle: Arc<Oracle>,
    mutant: Option<Mutant>,
}

/// One member's disk, with what its owner has in memory.
pub(crate) struct Openmls {
    number: u8,
    member: Member,
    oracle: Arc<Oracle>,
    rng: Arc<Mutex<ChaCha20Rng>>,
    random: Random,
    mutant: Option<Mutant>,
}

impl Real {
    /// Of the seed, what the next disk draws from.
    fn seed(&mut self) -> u64 {
        self.disks += 1;
        Random::new(self.seed ^ self.disks.rotate_left(32)).next()
    }

    fn identity(&self, number: u8) -> Identity {
        let mut seed = Sha256::new();
        seed.update(self.seed.to_be_bytes());
        seed.update([number]);
        Identity::from_seed(&Secret::new(seed.finalize().into()))
    }

    fn put(&mut self, number: u8, disk: Option<&Openmls>, oracle: Arc<Oracle>) -> Openmls {
        let (identity, seed) = (self.identity(number), self.seed());
        let crypto = Box::new(SeededCrypto::new(seed, Arc::clone(&oracle)));
        let rng = crypto.rng();
        let member = match disk {
            None => Member::new(identity, GROUP, crypto).unwrap(),
            Some(disk) => Member::from_disk(identity, GROUP, crypto, &disk.member.disk().unwrap()).unwrap(),
        };
        Openmls {
            number,
            member,
            oracle,
            rng,
            random: Random::new(seed),
            mutant: self.mutant,
        }
    }
}

impl World for Real {
    type Backend = Openmls;

    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        TRAIL.take();
        Self {
            seed,
            disks: 0,
            oracle: Arc::default(),
            mutant,
        }
    }

    fn member(&mut self, number: u8) -> Openmls {
        self.put(number, None, Arc::clone(&self.oracle))
    }

    fn copy(&mut self, member: &Openmls) -> Openmls {
        self.put(member.number, Some(member), Arc::clone(&self.oracle))
    }

    fn rogue(&mut self, member: &Openmls) -> Openmls {
        self.put(member.number, Some(member), Arc::default())
    }

    fn empty(&mut self, member: &Openmls) -> Openmls {
        self.put(member.number, None, Arc::clone(&self.oracle))
    }

    fn copies(&self, _member: &Self::Backend) -> Option<BTreeSet<EpochId>> {
        None
    }

    fn reused(&self) -> Option<String> {
        let reused = self.oracle.keys_used_twice();
        (reused > 0).then(|| format!("{reused} keys were used for two plaintexts"))
    }
}

impl Openmls {
    /// The member at work; what it did before may have become durable by then.
    fn member(&mut self) -> &mut Member {
        if self.random.percent(COMMITS) {
            self.member.commit().unwrap();
            if self.random.percent(RELOADS) {
                let before = self.epoch().cloned();
                self.member.roll_back().unwrap();
                assert_eq!(self.epoch(), before.as_ref(), "what was loaded is what was left");
            }
        }
        &mut self.member
    }

    /// Stages until the members who are removed stand in the order of their leaves: openmls takes them out of a hash
    /// map, whose order is no seed's.
    fn stage_in_order(&mut self, change: &Change, aad: &[u8]) -> Result<Option<Staged>, GroupError> {
        let before = self.rng.lock().unwrap().clone();
        loop {
            *self.rng.lock().unwrap() = before.clone();
            self.oracle.hold();
            let staged = self.member.attempt(|member| {
                let staged = member.stage(change, aad);
                member.pending_removes().is_sorted().then_some(staged)
            });
            self.oracle.decide(!matches!(staged, Ok(None)));
            if let Some(staged) = staged? {
                return staged;
            }
        }
    }

    fn entered(&self) {
        note(&self.member.epoch_authenticator().unwrap_or_default());
    }
}

impl Mls for Openmls {
    type Error = GroupError;

    fn own(&self) -> PeerId {
        self.member.own()
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.member.epoch()
    }

    fn create(&mut self, data: &GroupData) -> Result<(), GroupError> {
        self.member().create(data)?;
        self.entered();
        Ok(())
    }

    fn key_package(&mut self) -> Result<Vec<u8>, GroupError> {
        let package = self.member().key_package()?;
        note(&package);
        Ok(package)
    }

    fn forget_key_package(&mut self, bytes: &[u8]) -> Result<(), GroupError> {
        self.member().forget_key_package(bytes)
    }

    fn read_key_package(&self, bytes: &[u8]) -> Option<Package> {
        self.member.read_key_package(bytes)
    }

    fn stage(&mut self, change: &Change, aad: &[u8]) -> Result<Option<Staged>, GroupError> {
        self.member();
        let staged = self.stage_in_order(change, aad)?;
        if let Some(staged) = &staged {
            note(&staged.commit);
            note(staged.welcome.as_deref().unwrap_or_default());
        }
        Ok(staged)
    }

    fn merge_pending(&mut self) -> Result<(), GroupError> {
        self.member().merge_pending()?;
        self.entered();
        Ok(())
    }

    fn judge(&mut self, parent: &EpochId, commit: &[u8]) -> Result<Judgement, GroupError> {
        self.member().judge(parent, commit)
    }

    fn apply(&mut self, commit: &[u8]) -> Result<(), GroupError> {
        self.member().apply(commit)?;
        self.entered();
        Ok(())
    }

    fn join(&mut self, welcome: &[u8], accept: &dyn Fn(&Epoch) -> bool) -> Result<bool, GroupError> {
        let joined = self.member().join(welcome, accept)?;
        self.entered();
        Ok(joined)
    }

    fn abandon(&mut self) -> Result<(), GroupError> {
        self.member().abandon()
    }

    fn snapshot(&mut self) -> Result<(), GroupError> {
        self.member().snapshot()
    }

    fn restore(&mut self, epoch: &EpochId) -> Result<(), GroupError> {
        self.member().restore(epoch)?;
        self.entered();
        Ok(())
    }

    fn forget(&mut self, epoch: &EpochId) -> Result<(), GroupError> {
        self.member().forget(epoch)
    }

    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, GroupError> {
        let sealed = self.member().seal(aad, plaintext)?;
        note(&sealed);
        Ok(sealed)
    }

    fn open(&mut self, epoch: &EpochId, message: &[u8]) -> Result<Option<Opened>, GroupError> {
        self.member().open(epoch, message)
    }

    fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; 64] {
        self.member.sign(context, parts)
    }

    fn verify(&self, signer: &PeerId, context: Context, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        self.member.verify(signer, context, parts, signature)
    }

    fn mutant(&self) -> Option<Mutant> {
        self.mutant
    }
}
