//! What happens to a group, step by step, and how it is made to end.

use qpq_core::consensus::{What, mls::Mutant};

use super::{
    Random, World,
    invariants::{self, is_healed},
    network::ASLEEP,
    people::{Counts, Disk},
    reference,
    scene::Scene,
};

/// What kind of run.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    pub(crate) members: usize,
    pub(crate) window: usize,
    /// Members 0 and 1 fork on purpose and forge.
    pub(crate) rogues: bool,
    /// Disks are lost, and older copies put back.
    pub(crate) disks: bool,
    /// Who has an older copy is not told so.
    pub(crate) untold: bool,
    pub(crate) mutant: Option<Mutant>,
    /// The steps that happen; `None`: all.
    pub(crate) only: Option<Vec<usize>>,
}

impl Setting {
    /// The run that a seed stands for.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let long = random.percent(10);
        Self {
            seed,
            steps: if long { 200 } else { 40 + random.below(40) },
            members: 3 + random.below(3),
            window: [8, 8, 4, 2, 1][random.below(5)],
            rogues: random.percent(30),
            disks: random.percent(40),
            untold: false,
            mutant: None,
            only: None,
        }
    }

    /// A command that repeats the run.
    pub(crate) fn repro(&self, backend: &str) -> String {
        let only = self.only.as_ref().map(|steps| {
            let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
            format!(" --only {}", steps.join(","))
        });
        format!(
            "scripts/simulate --backend {backend} --seed {}{}",
            self.seed,
            only.unwrap_or_default()
        )
    }
}

/// A run that ended well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) counts: Counts,
    /// Rounds in which everybody met everybody until the group was one again.
    pub(crate) rounds: usize,
}

/// People whom the group may add later.
const NEWCOMERS: usize = 3;
/// Rounds after which a group counts as one that does not heal.
const ROUNDS: usize = 60;

struct Run<W: World> {
    setting: Setting,
    scene: Scene<W>,
    newcomers: usize,
    removals: usize,
    backup: Option<(usize, Disk<W>, usize)>,
}

/// Runs a schedule and checks everything.
pub(crate) fn run<W: World>(setting: &Setting) -> Result<Report, String> {
    let mut run = Run {
        scene: Scene::<W>::new(
            setting.seed,
            setting.members,
            NEWCOMERS,
            setting.window,
            setting.mutant,
        ),
        newcomers: setting.members,
        removals: 0,
        backup: None,
        setting: setting.clone(),
    };
    run.scene.found();
    for step in 0..setting.steps {
        let happens = setting.only.as_ref().is_none_or(|only| only.contains(&step));
        if happens {
            // Each step draws from its own seed, so that one that is left out changes no other.
            run.scene.people.step = step;
            run.happen(&mut Random::new(
                setting.seed.wrapping_mul(1_000_003).wrapping_add(step as u64),
            ));
            run.check()?;
        }
    }
    let rounds = run.heal()?;
    if !invariants::is_dead(&run.scene.people) {
        invariants::check(&mut run.scene.people, &mut run.scene.network)?;
    }
    Ok(Report {
        counts: run.scene.people.counts,
        rounds,
    })
}

impl<W: World> Run<W> {
    fn happen(&mut self, random: &mut Random) {
        let total = self.scene.people.people.len();
        let live: Vec<usize> = (0..total).filter(|who| self.scene.people.is_live(*who)).collect();
        let who = match random.below(8) {
            0 => random.below(total),
            _ => live.get(random.below(live.len())).copied().unwrap_or(0),
        };
        self.scene.people.clock += [200, 1_000, 3_000, 20_000][random.below(4)];
        if random.percent(2) {
            self.scene.people.clock += 3_600_000 * (1 + random.below(30) as i64);
        }
        match random.below(100) {
            0..=34 => self.scene.people.write(who),
            35..=47 => _ = self.scene.people.want(who, &What::Update),
            48..=54 => self.add(who),
            55..=58 => self.remove(who, random),
            59..=61 => self.scene.people.change(who, random),
            62..=66 => self.part(|_| random.below(2) as u8),
            67..=71 => self.part(|_| 0),
            72..=75 => {
                let asleep = if self.scene.network.side[who] == ASLEEP {
                    0
                } else {
                    ASLEEP
                };
                self.part(|other| if other == who { Some(asleep) } else { None });
            }
            76..=83 => self
                .scene
                .network
                .meet(&mut self.scene.people, who, random.below(total)),
            84..=86 => self.scene.people.kill(who),
            87 => self.scene.people.people[who].skew = [-31_536_000_000, 0, 31_536_000_000][random.below(3)],
            88..=90 if self.setting.rogues => self.rogue(who % 2, random),
            91..=92 if self.setting.disks => self.lose_disk(who),
            93..=94 if self.setting.disks => self.copy_disk(who),
            95 => self.scene.people.leave(who, random),
            96..=97 => self.scene.people.accept(who),
            _ => self.scene.packages(),
        }
        if random.percent(50) {
            self.scene.people.act(who, |step| step.tick()).unwrap();
        }
        self.scene.network.deliver(&mut self.scene.people);
        if random.percent(30) {
            self.scene.packages();
        }
    }

    /// Sides change for those that `side` says something about.
    fn part<S: Into<Option<u8>>>(&mut self, mut side: impl FnMut(usize) -> S) {
        for who in 0..self.scene.people.people.len() {
            if let Some(side) = side(who).into() {
                self.scene.network.side[who] = side;
            }
        }
        self.scene.network.part(&mut self.scene.people);
    }

    fn add(&mut self, who: usize) {
        if self.newcomers < self.scene.people.people.len() {
            let member = self.scene.people.people[self.newcomers].member;
            if self.scene.people.want(who, &What::Add(member)) {
                if self.scene.network.reach(who, self.newcomers) {
                    self.scene.people.give_package(self.newcomers, who);
                }
                self.newcomers += 1;
            }
        }
    }

    fn remove(&mut self, who: usize, random: &mut Random) {
        let roster = self.scene.people.roster(who);
        if self.removals < 2 && roster.len() > 2 {
            let other = roster[random.below(roster.len())];
            let member = self.scene.people.people[other].member;
            if other != who && self.scene.people.want(who, &What::Remove(member)) {
                self.scene.people.people[other].removed = true;
                self.removals += 1;
            }
        }
    }

    fn rogue(&mut self, who: usize, random: &mut Random) {
        let victim = random.percent(30).then(|| random.below(self.setting.members));
        if random.percent(30) {
            self.scene.people.forge(who, random);
        }
        if let Some((roster, frame)) = self.scene.people.rogue(who, victim) {
            for other in roster {
                if other != who && random.percent(50) {
                    self.scene.people.out.push((who, other, frame.clone()));
                }
            }
        }
    }

    fn may_lose(&self, who: usize) -> bool {
        let live = (0..self.scene.people.people.len())
            .filter(|who| self.scene.people.is_live(*who))
            .count();
        let lost = self
            .scene
            .people
            .people
            .iter()
            .filter(|person| person.lost_disk.is_some())
            .count();
        self.scene.people.is_live(who) && live > 2 && lost < 2
    }

    fn lose_disk(&mut self, who: usize) {
        if self.may_lose(who) {
            self.scene.people.wipe(who);
        }
    }

    fn copy_disk(&mut self, who: usize) {
        match self.backup.take() {
            None if self.scene.people.is_live(who) => {
                self.backup = Some((who, self.scene.people.backup(who), self.scene.people.step));
            }
            Some((whose, disk, at)) if self.scene.people.step > at + 3 && self.may_lose(whose) => {
                self.scene.people.restore(whose, disk, !self.setting.untold);
            }
            other => self.backup = other,
        }
    }

    /// What must hold at any time.
    fn check(&mut self) -> Result<(), String> {
        if self.setting.mutant.is_none() {
            for person in &self.scene.people.people {
                reference::check(&person.disk.group, person.disk.mls_epoch())?;
            }
        }
        if self.setting.mutant.is_none() {
            invariants::no_forgotten_copies(&self.scene.people)?;
        }
        self.scene.people.broken.take().map_or(Ok(()), Err)
    }

    /// Everybody is awake, and every link works: how many rounds it takes until the group is one again.
    fn heal(&mut self) -> Result<usize, String> {
        self.part(|_| 0);
        for round in 0..ROUNDS {
            self.scene.round();
            self.check()?;
            if is_healed(&self.scene.people) || invariants::is_dead(&self.scene.people) {
                return Ok(round + 1);
            }
        }
        let waits: Vec<_> = (0..self.scene.people.people.len())
            .map(|who| self.scene.people.act(who, |step| step.waits_for()))
            .collect();
        let people = invariants::describe(&self.scene.people);
        let left = invariants::left_to_do(&self.scene.people).unwrap_or_default();
        Err(format!(
            "I1: no convergence: {left}{people}\n  waiting for: {waits:?}"
        ))
    }
}

/// A run that still breaks the same rule, with as few steps as can be found by leaving some out.
pub(crate) fn shrink<W: World>(setting: &Setting) -> Setting {
    let rule = |setting: &Setting| {
        run::<W>(setting)
            .err()
            .map(|error| error.chars().take(2).collect::<String>())
    };
    let broken = rule(setting);
    let mut steps: Vec<usize> = setting
        .only
        .clone()
        .unwrap_or_else(|| (0..setting.steps).collect());
    let mut part = steps.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + part).min(steps.len()));
            let shorter = Setting {
                only: Some(fewer.clone()),
                ..setting.clone()
            };
            if rule(&shorter) == broken {
                steps = fewer;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    Setting {
        only: Some(steps),
        ..setting.clone()
    }
}
