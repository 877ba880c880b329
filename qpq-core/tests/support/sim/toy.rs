//! MLS as a toy: hash chains instead of key schedules, handles instead of ciphertexts. What it keeps of the real
//! thing is what the rule depends on: a state can be copied, a ratchet advances, nobody processes what they
//! encrypted themselves, and who has no state of an epoch reads nothing of it.

use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet, convert::Infallible, rc::Rc};

use qpq_core::{
    consensus::mls::{Change, Epoch, Judgement, Leaf, Mls, Mutant, Opened, Package, Proposed, Staged},
    content::GroupData,
    id::{EpochId, MemberId, PeerId},
    labels::Context,
};
use sha2::{Digest as _, Sha256};

use super::{Random, World};

/// Everything that was ever encrypted, by the bytes that stand for it.
pub(crate) struct Toys {
    random: Random,
    things: BTreeMap<Vec<u8>, Thing>,
    /// Keys that were used: the epoch, the sender, whether for a Commit, the generation.
    used: BTreeSet<(EpochId, MemberId, bool, u64)>,
    reused: Option<String>,
    mutant: Option<Mutant>,
}

enum Thing {
    Package(Package),
    Commit(Rc<Commit>),
    Welcome(Vec<[u8; 32]>, Epoch),
    Message(EpochId, MemberId, u64, Vec<u8>, Vec<u8>),
}

struct Commit {
    parent: EpochId,
    proposed: Proposed,
    next: Epoch,
}

/// One member's disk: the live state, its copies, and private parts of KeyPackages.
#[derive(Clone)]
pub(crate) struct Toy {
    world: Rc<RefCell<Toys>>,
    own: PeerId,
    live: Option<State>,
    copies: BTreeMap<EpochId, State>,
    /// What a fault of the back-end mistakes for the name of an epoch.
    numbers: BTreeMap<EpochId, u64>,
    packages: BTreeSet<[u8; 32]>,
    watched: bool,
    mutant: Option<Mutant>,
}

#[derive(Clone)]
struct State {
    epoch: Epoch,
    pending: Option<Rc<Commit>>,
    messages: u64,
    commits: u64,
    opened: BTreeSet<(MemberId, u64)>,
}

impl World for Rc<RefCell<Toys>> {
    type Backend = Toy;

    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        Self::new(RefCell::new(Toys {
            random: Random::new(seed ^ 0x70f5),
            things: BTreeMap::new(),
            used: BTreeSet::new(),
            reused: None,
            mutant,
        }))
    }

    fn member(&mut self, number: u8) -> Toy {
        Toy {
            world: Self::clone(self),
            own: PeerId([number; 32]),
            live: None,
            copies: BTreeMap::new(),
            numbers: BTreeMap::new(),
            packages: BTreeSet::new(),
            watched: true,
            mutant: self.borrow().mutant,
        }
    }

    fn copy(&mut self, member: &Toy) -> Toy {
        member.clone()
    }

    fn rogue(&mut self, member: &Toy) -> Toy {
        Toy {
            watched: false,
            ..member.clone()
        }
    }

    fn empty(&mut self, member: &Toy) -> Toy {
        Toy {
            live: None,
            copies: BTreeMap::new(),
            packages: BTreeSet::new(),
            ..member.clone()
        }
    }

    fn copies(&self, member: &Toy) -> Option<BTreeSet<EpochId>> {
        Some(member.copies.keys().copied().collect())
    }

    fn reused(&self) -> Option<String> {
        self.borrow().reused.clone()
    }
}

impl Toys {
    fn put(&mut self, thing: Thing) -> Vec<u8> {
        let mut name = u64::try_from(self.things.len()).unwrap().to_be_bytes().to_vec();
        name.extend(self.random.bytes::<8>());
        self.things.insert(name.clone(), thing);
        name
    }
}

impl Toy {
    fn me(&self) -> MemberId {
        MemberId::from(&self.own)
    }

    /// Where the copy of an epoch is.
    fn place(&self, epoch: &EpochId) -> EpochId {
        let number = self
            .numbers
            .get(epoch)
            .filter(|_| self.mutant == Some(Mutant::SnapshotByNumber));
        number.map_or(*epoch, |number| {
            let mut place = EpochId([0; 16]);
            place.0[8..].copy_from_slice(&number.to_be_bytes());
            place
        })
    }

    fn state(&self, epoch: &EpochId) -> Option<&State> {
        let live = self.live.as_ref().filter(|live| live.epoch.id == *epoch);
        live.or_else(|| self.copies.get(&self.place(epoch)))
    }

    /// Notes that a key was used; the same for two plaintexts is what I6 forbids.
    fn encrypt(&self, epoch: EpochId, commit: bool, generation: u64) {
        let mut world = self.world.borrow_mut();
        if self.watched && !world.used.insert((epoch, self.me(), commit, generation)) {
            let kind = if commit { "a Commit" } else { "a message" };
            world.reused = Some(format!(
                "{:?} encrypted {kind} in {epoch:?} by key {generation} twice",
                self.me()
            ));
        }
    }

    fn enter(&mut self, commit: &Commit) {
        let epoch = commit.next.clone();
        // Whoever is added again was removed, as far as MLS knows: only the Welcome leads on.
        let stays = epoch.has(&self.me()) && !commit.proposed.removes.contains(&self.me());
        self.live = stays.then(|| State::new(epoch));
    }

    fn commit(&self, bytes: &[u8]) -> Option<Rc<Commit>> {
        match self.world.borrow().things.get(bytes) {
            Some(Thing::Commit(commit)) => Some(Rc::clone(commit)),
            _ => None,
        }
    }
}

impl State {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            pending: None,
            messages: 0,
            commits: 0,
            opened: BTreeSet::new(),
        }
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

impl Mls for Toy {
    type Error = Infallible;

    fn own(&self) -> PeerId {
        self.own
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.live.as_ref().map(|live| &live.epoch)
    }

    fn create(&mut self, data: &GroupData) -> Result<(), Infallible> {
        let secret = self.world.borrow_mut().random.bytes::<16>();
        self.live = Some(State::new(Epoch {
            id: EpochId(secret),
            number: 0,
            roster: vec![Leaf {
                member: self.me(),
                key: [0; 32],
            }],
            data: data.clone(),
        }));
        Ok(())
    }

    fn key_package(&mut self) -> Result<Vec<u8>, Infallible> {
        let mut world = self.world.borrow_mut();
        let package = Package {
            member: self.me(),
            reference: world.random.bytes(),
        };
        self.packages.insert(package.reference);
        Ok(world.put(Thing::Package(package)))
    }

    fn forget_key_package(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        if let Some(package) = self.read_key_package(bytes) {
            self.packages.remove(&package.reference);
        }
        Ok(())
    }

    fn read_key_package(&self, bytes: &[u8]) -> Option<Package> {
        match self.world.borrow().things.get(bytes) {
            Some(Thing::Package(package)) => Some(*package),
            _ => None,
        }
    }

    fn stage(&mut self, change: &Change, aad: &[u8]) -> Result<Option<Staged>, Infallible> {
        let me = self.me();
        let adds: Vec<Package> = change
            .adds
            .iter()
            .filter_map(|add| self.read_key_package(add))
            .collect();
        let live = self.live.as_mut().expect("there is a live state");
        live.pending = None;
        live.commits += 1;
        let (parent, generation) = (live.epoch.clone(), live.commits);
        let proposed = Proposed {
            author: me,
            adds,
            removes: change.removes.clone(),
            data: change.data.clone(),
            aad: aad.to_vec(),
        };
        self.encrypt(parent.id, true, generation);
        let name = self.world.borrow().things.len().to_be_bytes();
        let Some(next) = next(&parent, &proposed, &hash(&[&parent.id.0, &name, &me.0])) else {
            return Ok(None);
        };
        let mut world = self.world.borrow_mut();
        let references: Vec<[u8; 32]> = proposed.adds.iter().map(|add| add.reference).collect();
        let welcome = (!references.is_empty()).then(|| world.put(Thing::Welcome(references, next.clone())));
        let commit = Rc::new(Commit {
            parent: parent.id,
            proposed,
            next,
        });
        let bytes = world.put(Thing::Commit(Rc::clone(&commit)));
        self.live.as_mut().expect("there is a live state").pending = Some(commit);
        Ok(Some(Staged {
            commit: bytes,
            welcome,
        }))
    }

    fn merge_pending(&mut self) -> Result<(), Infallible> {
        let live = self.live.as_mut().expect("there is a live state");
        let pending = live.pending.take().expect("a Commit is pending");
        self.enter(&pending);
        Ok(())
    }

    fn judge(&mut self, parent: &EpochId, commit: &[u8]) -> Result<Judgement, Infallible> {
        let state = self.state(parent).expect("there is a state of the epoch");
        let commit = self
            .commit(commit)
            .filter(|commit| commit.parent == state.epoch.id);
        Ok(match commit {
            Some(commit) if commit.proposed.author == self.me() => Judgement::Own,
            Some(commit) => Judgement::Valid(commit.proposed.clone()),
            None => Judgement::Invalid,
        })
    }

    fn apply(&mut self, commit: &[u8]) -> Result<(), Infallible> {
        let commit = self.commit(commit).expect("it was judged");
        self.enter(&commit);
        Ok(())
    }

    fn join(&mut self, welcome: &[u8], accept: &dyn Fn(&Epoch) -> bool) -> Result<bool, Infallible> {
        let epoch = match self.world.borrow().things.get(welcome) {
            Some(Thing::Welcome(references, epoch)) => {
                let own = references
                    .iter()
                    .find(|reference| self.packages.contains(*reference));
                own.filter(|_| accept(epoch)).map(|own| (*own, epoch.clone()))
            }
            _ => None,
        };
        let Some((reference, epoch)) = epoch else {
            return Ok(false);
        };
        self.packages.remove(&reference);
        self.live = Some(State::new(epoch));
        Ok(true)
    }

    fn abandon(&mut self) -> Result<(), Infallible> {
        self.live = None;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), Infallible> {
        let live = self.live.clone().expect("there is a live state");
        self.numbers.insert(live.epoch.id, live.epoch.number);
        self.copies.insert(self.place(&live.epoch.id), live);
        Ok(())
    }

    fn restore(&mut self, epoch: &EpochId) -> Result<(), Infallible> {
        let copy = self.copies.remove(&self.place(epoch));
        assert!(copy.is_some() || self.mutant.is_some(), "there is a copy");
        self.live = copy;
        Ok(())
    }

    fn forget(&mut self, epoch: &EpochId) -> Result<(), Infallible> {
        self.copies.remove(&self.place(epoch));
        Ok(())
    }

    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Infallible> {
        let live = self.live.as_mut().expect("there is a live state");
        live.messages += 1;
        let (epoch, generation) = (live.epoch.id, live.messages);
        self.encrypt(epoch, false, generation);
        let message = Thing::Message(epoch, self.me(), generation, aad.to_vec(), plaintext.to_vec());
        Ok(self.world.borrow_mut().put(message))
    }

    fn open(&mut self, epoch: &EpochId, message: &[u8]) -> Result<Option<Opened>, Infallible> {
        let (sender, generation, opened) = match self.world.borrow().things.get(message) {
            Some(Thing::Message(of, sender, generation, aad, plaintext)) if of == epoch => {
                let (sender, aad, plaintext) = (*sender, aad.clone(), plaintext.clone());
                (
                    sender,
                    *generation,
                    Opened {
                        sender,
                        aad,
                        plaintext,
                    },
                )
            }
            _ => return Ok(None),
        };
        let is_live = self.epoch().is_some_and(|live| live.id == *epoch);
        let state = self.state(epoch).expect("there is a state of the epoch");
        let used = state.opened.contains(&(sender, generation));
        if state.epoch.id != *epoch || used || sender == self.me() || !state.epoch.has(&sender) {
            return Ok(None);
        }
        if is_live && let Some(live) = &mut self.live {
            live.opened.insert((sender, generation));
        }
        Ok(Some(opened))
    }

    fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; 64] {
        signature(&self.own, context, parts)
    }

    fn verify(&self, signer: &PeerId, context: Context, parts: &[&[u8]], given: &[u8; 64]) -> bool {
        signature(signer, context, parts) == *given
    }

    fn mutant(&self) -> Option<Mutant> {
        self.mutant
    }
}

/// Nobody in these worlds makes one in somebody else's name but by drawing random bytes.
fn signature(signer: &PeerId, context: Context, parts: &[&[u8]]) -> [u8; 64] {
    let mut all: Vec<&[u8]> = vec![&signer.0, context.label().as_bytes()];
    all.extend(parts);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&hash(&all));
    signature
}

/// The epoch after a Commit; `None`: MLS does not allow it.
fn next(parent: &Epoch, proposed: &Proposed, secret: &[u8; 32]) -> Option<Epoch> {
    let Proposed {
        author,
        adds,
        removes,
        data,
        ..
    } = proposed;
    if removes.contains(author) || !removes.iter().all(|member| parent.has(member)) {
        return None;
    }
    let mut roster = parent.roster.clone();
    roster.retain(|leaf| !removes.contains(&leaf.member));
    for add in adds {
        if roster.iter().any(|leaf| leaf.member == add.member) {
            return None;
        }
        roster.push(Leaf {
            member: add.member,
            key: add.reference,
        });
    }
    roster
        .iter_mut()
        .filter(|leaf| leaf.member == *author)
        .for_each(|leaf| leaf.key = *secret);
    let mut id = [0; 16];
    id.copy_from_slice(&secret[..16]);
    Some(Epoch {
        id: EpochId(id),
        number: parent.number + 1,
        roster,
        data: data.clone().unwrap_or_else(|| parent.data.clone()),
    })
}
