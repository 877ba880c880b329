//! A group, its members and the links between them, for schedules and for cases that are told step by step.

use qpq_core::{
    consensus::{Frame, What, mls::Mutant},
    id::EpochId,
};

use super::{World, network::Network, people::People};

/// A frame on its way: from, to, what.
pub(crate) type Parcel = (usize, usize, Frame);

/// People and their links.
pub(crate) struct Scene<W: World> {
    pub(crate) people: People<W>,
    pub(crate) network: Network,
    founders: usize,
}

impl<W: World> Scene<W> {
    pub(crate) fn new(
        seed: u64,
        founders: usize,
        newcomers: usize,
        window: usize,
        mutant: Option<Mutant>,
    ) -> Self {
        let total = founders + newcomers;
        Self {
            people: People::new(W::new(seed, mutant), seed, total, founders, window),
            network: Network::new(seed, total),
            founders,
        }
    }

    /// The first member adds the others, and everybody comes.
    pub(crate) fn found(&mut self) {
        let people = &mut self.people;
        people.people[0].wants_in = true;
        people.act(0, |step| step.create("group")).unwrap();
        for other in 1..self.founders {
            let member = people.people[other].member;
            people.want(0, &What::Add(member));
            people.give_package(other, 0);
        }
        for a in 0..self.founders {
            for b in 0..a {
                self.network.meet(people, a, b);
            }
        }
        for _ in 0..4 {
            people.clock += 3_000;
            for who in 0..self.founders {
                people.act(who, |step| step.tick()).unwrap();
            }
            self.network.deliver_all(people);
            (0..self.founders).for_each(|who| people.accept(who));
            self.network.deliver_all(people);
        }
    }

    /// A group whose members have nothing to tell each other.
    pub(crate) fn founded(
        seed: u64,
        founders: usize,
        newcomers: usize,
        window: usize,
        mutant: Option<Mutant>,
    ) -> Self {
        let mut scene = Self::new(seed, founders, newcomers, window, mutant);
        scene.found();
        (0..4).for_each(|_| scene.round());
        scene
    }

    /// Everybody who can meets everybody, in some order; then a few seconds pass.
    pub(crate) fn round(&mut self) {
        let total = self.people.people.len();
        let mut pairs: Vec<(usize, usize)> = (0..total).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        self.people.random.clone().shuffle(&mut pairs);
        let _ = self.people.random.next();
        for (a, b) in pairs {
            self.network.meet(&mut self.people, a, b);
            self.network.deliver_all(&mut self.people);
        }
        self.packages();
        for _ in 0..5 {
            self.people.clock += 1_000;
            for who in 0..total {
                self.people.act(who, |step| step.tick()).unwrap();
                self.people.accept(who);
            }
            self.network.deliver_all(&mut self.people);
        }
    }

    /// Everybody who is needed for something and can be reached makes a KeyPackage.
    pub(crate) fn packages(&mut self) {
        for who in 0..self.people.people.len() {
            for other in self.people.needed(who) {
                if self.network.reach(who, other) {
                    self.people.give_package(other, who);
                }
            }
        }
    }

    /// What was sent and is not on its way yet.
    pub(crate) fn sent(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.people.out)
    }

    /// Brings what is for one member, in order.
    pub(crate) fn bring(&mut self, parcels: &[Parcel], to: usize) {
        for (from, _, frame) in parcels.iter().filter(|parcel| parcel.1 == to) {
            let from = self.people.people[*from].member;
            self.people
                .act(to, |step| step.receive(from, frame.clone()))
                .unwrap();
        }
    }

    /// Brings everything, and what comes of it, until nobody has anything to say.
    pub(crate) fn bring_all(&mut self, parcels: Vec<Parcel>) {
        self.people.out.splice(0..0, parcels);
        self.network.deliver_all(&mut self.people);
    }

    /// Whether these members stand in one epoch.
    pub(crate) fn agree(&self, members: impl IntoIterator<Item = usize>) -> bool {
        let epochs: Vec<Option<EpochId>> = members.into_iter().map(|who| self.people.epoch(who)).collect();
        epochs.iter().all(|epoch| epoch.is_some() && *epoch == epochs[0])
    }
}
