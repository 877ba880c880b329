//! Links that lose, double, delay, reorder and repeat, between members who are apart or asleep.

use qpq_core::consensus::Frame;

use super::{Random, World, people::People};

/// Frames that a relay remembers, to bring them once more when it likes.
const REMEMBERED: usize = 200;

/// What is on its way, and who can reach whom.
pub(crate) struct Network {
    random: Random,
    /// When it arrives at the earliest, from, to, what.
    wire: Vec<(i64, usize, usize, Frame)>,
    old: Vec<(usize, usize, Frame)>,
    /// Members with the same number reach each other; nobody reaches 9.
    pub(crate) side: Vec<u8>,
}

pub(crate) const ASLEEP: u8 = 9;

impl Network {
    pub(crate) fn new(seed: u64, people: usize) -> Self {
        Self {
            random: Random::new(seed ^ 0x11e7),
            wire: Vec::new(),
            old: Vec::new(),
            side: vec![0; people],
        }
    }

    pub(crate) fn reach(&self, a: usize, b: usize) -> bool {
        a != b && self.side[a] == self.side[b] && self.side[a] != ASLEEP
    }

    /// What everybody sent gets on its way.
    fn take<W: World>(&mut self, people: &mut People<W>, reliable: bool) {
        for (from, to, frame) in std::mem::take(&mut people.out) {
            if reliable {
                self.wire.push((people.clock, from, to, frame));
                continue;
            }
            if self.side[from] == ASLEEP || self.random.percent(15) {
                continue;
            }
            if self.old.len() < REMEMBERED {
                self.old.push((from, to, frame.clone()));
            } else {
                let at = self.random.below(REMEMBERED);
                self.old[at] = (from, to, frame.clone());
            }
            for _ in 0..=u8::from(self.random.percent(10)) {
                let delay = self.random.below(12_000) as i64;
                self.wire.push((people.clock + delay, from, to, frame.clone()));
            }
        }
        if !reliable && self.random.percent(5) && !self.old.is_empty() {
            let (from, to, frame) = self.old[self.random.below(self.old.len())].clone();
            self.wire.push((people.clock, from, to, frame));
        }
    }

    /// What is due arrives, in any order, where there is a way; the rest of it is lost.
    pub(crate) fn deliver<W: World>(&mut self, people: &mut People<W>) {
        self.take(people, false);
        let (mut due, later) = std::mem::take(&mut self.wire)
            .into_iter()
            .partition::<Vec<_>, _>(|frame| frame.0 <= people.clock);
        self.wire = later;
        while !due.is_empty() {
            let (_, from, to, frame) = due.swap_remove(self.random.below(due.len()));
            if self.reach(from, to) {
                receive(people, from, to, frame);
            }
        }
        self.take(people, false);
    }

    /// Everything arrives, in order, until there is nothing more.
    pub(crate) fn deliver_all<W: World>(&mut self, people: &mut People<W>) {
        for _ in 0..5_000 {
            self.take(people, true);
            let wire = std::mem::take(&mut self.wire);
            if wire.is_empty() {
                return;
            }
            for (_, from, to, frame) in wire {
                if self.reach(from, to) {
                    receive(people, from, to, frame);
                }
            }
        }
        people
            .broken
            .get_or_insert("livelock: the members never have nothing more to tell each other".to_owned());
    }

    /// Two members meet, or meet again.
    pub(crate) fn meet<W: World>(&mut self, people: &mut People<W>, a: usize, b: usize) {
        if self.reach(a, b) {
            for (who, other) in [(a, b), (b, a)] {
                let other = people.people[other].member;
                people.act(who, |step| step.connected(other)).unwrap();
            }
        }
    }

    /// Who can reach whom has changed.
    pub(crate) fn part<W: World>(&mut self, people: &mut People<W>) {
        for a in 0..self.side.len() {
            for b in 0..self.side.len() {
                if a != b && !self.reach(a, b) {
                    let other = people.people[b].member;
                    people.act(a, |step| step.disconnected(&other));
                }
            }
        }
    }
}

fn receive<W: World>(people: &mut People<W>, from: usize, to: usize, frame: Frame) {
    let from = people.people[from].member;
    people.act(to, |step| step.receive(from, frame)).unwrap();
}
