//! Members of one group on openmls, each with its own database in memory and all of them with one seed.
//!
//! `World::member` makes one; each is an `Mls`. `World::put_back` gives a member an older copy of its disk,
//! `World::lose_disk` a new one: the identity stays, what was drawn does not come again.
#![allow(dead_code, reason = "shared by several programs, each of which uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests fail by panicking"
)]

#[path = "seeded_crypto.rs"]
pub(crate) mod seeded_crypto;

use std::sync::Arc;

use qpq_core::{
    consensus::{
        danger::{Disk, Member},
        mls::{Change, Epoch, Mls, Staged},
    },
    content::GroupData,
    id::{EpochId, GroupId, MemberId},
    identity::Identity,
    secret::Secret,
};
use seeded_crypto::{Oracle, SeededCrypto};

/// The one group of a world.
pub(crate) const GROUP: GroupId = GroupId([7; 16]);

/// What all members have in common.
pub(crate) struct World {
    seed: u64,
    /// How many cryptographies there were: each has its own part of the seed.
    lives: u64,
    pub(crate) oracle: Arc<Oracle>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            lives: 0,
            oracle: Arc::default(),
        }
    }

    /// Member `who`, in no group.
    pub(crate) fn member(&mut self, who: u8) -> Member {
        Member::new(identity(who), GROUP, self.crypto()).unwrap()
    }

    /// A member whose disk is what it was.
    pub(crate) fn put_back(&mut self, who: u8, disk: &Disk) -> Member {
        Member::from_disk(identity(who), GROUP, self.crypto(), disk).unwrap()
    }

    /// A member that has its identity and nothing else.
    pub(crate) fn lose_disk(&mut self, who: u8) -> Member {
        self.member(who)
    }

    /// Members 0..n in one group of which 0 is the admin, all in its second epoch.
    pub(crate) fn group(&mut self, n: u8) -> Vec<Member> {
        self.group_of(n, n)
    }

    /// Of a group of `n`, those below `live`: the others are in it, and have no state of it.
    pub(crate) fn group_of(&mut self, n: u8, live: u8) -> Vec<Member> {
        let mut members: Vec<Member> = (0..n).map(|who| self.member(who)).collect();
        let (founder, others) = members.split_first_mut().unwrap();
        founder.create(&data("", 1)).unwrap();
        let adds = others.iter_mut().map(|other| other.key_package().unwrap());
        let adds: Vec<_> = adds.collect();
        if adds.is_empty() {
            return members;
        }
        let staged = enter_own(founder, &add(&adds));
        for other in others.iter_mut().take(usize::from(live) - 1) {
            assert!(other.join(staged.welcome.as_ref().unwrap(), &|_| true).unwrap());
        }
        members.truncate(usize::from(live));
        members
    }

    fn crypto(&mut self) -> Box<SeededCrypto> {
        self.lives += 1;
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(self.lives);
        Box::new(SeededCrypto::new(seed, Arc::clone(&self.oracle)))
    }
}

pub(crate) fn identity(who: u8) -> Identity {
    Identity::from_seed(&Secret::new([who.wrapping_add(1); 32]))
}

pub(crate) fn member_id(who: u8) -> MemberId {
    MemberId::from(&identity(who).peer_id())
}

/// Group data with member 0 as the admin.
pub(crate) fn data(name: &str, version: u64) -> GroupData {
    GroupData {
        name: name.to_owned(),
        admins: vec![member_id(0)],
        version,
    }
}

pub(crate) fn add(packages: &[Vec<u8>]) -> Change {
    Change {
        adds: packages.to_vec(),
        ..Change::default()
    }
}

pub(crate) fn remove(who: u8) -> Change {
    Change {
        removes: vec![member_id(who)],
        ..Change::default()
    }
}

/// A Commit that changes nothing but its author's keys.
pub(crate) fn update() -> Change {
    Change::default()
}

/// Stages a Commit and enters its epoch at once; no copy is kept.
pub(crate) fn enter_own(member: &mut Member, change: &Change) -> Staged {
    let staged = member.stage(change, b"aad").unwrap().unwrap();
    member.merge_pending().unwrap();
    staged
}

pub(crate) fn epoch(member: &Member) -> &Epoch {
    member.epoch().unwrap()
}

pub(crate) fn epoch_id(member: &Member) -> EpochId {
    epoch(member).id
}
