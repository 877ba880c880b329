//! Members of the simulated group, each with a disk, a clock and a screen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use qpq_core::{
    consensus::{
        Ack, Commit, Entry, Frame, Group, Have, Head, Header, Limits, Merit, Output, Reasons, Rejoin, Step,
        What,
        mls::{Change, Epoch, Mls},
    },
    delivery::Ranges,
    id::{CommitId, EpochId, GroupId, MemberId, MessageId, StreamId},
    labels::Context,
    time::Now,
};

use super::{Random, World};

/// Whether runs print what happens.
pub(crate) static TRACE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

const GROUP: GroupId = GroupId([7; 16]);

/// One member.
pub(crate) struct Person<W: World> {
    pub(crate) member: MemberId,
    pub(crate) disk: Disk<W>,
    /// Milliseconds by which its clock is wrong.
    pub(crate) skew: i64,
    /// Whether it asked for or accepted an invitation once.
    pub(crate) wants_in: bool,
    pub(crate) invited: bool,
    pub(crate) removed: bool,
    /// Whether it said that it leaves.
    pub(crate) left: bool,
    /// The last step in which its disk was lost or replaced.
    pub(crate) lost_disk: Option<usize>,
    /// What it was told that will not be: messages and for whom.
    pub(crate) failed: BTreeSet<(MessageId, MemberId)>,
    pub(crate) not_admin: Vec<What>,
}

/// What is on a disk.
pub(crate) struct Disk<W: World> {
    pub(crate) mls: W::Backend,
    pub(crate) group: Group,
    /// Messages that were shown, and how often.
    pub(crate) shown: BTreeMap<MessageId, u32>,
    /// What the user asked for and was not refused, and in which step.
    pub(crate) asked: Vec<What>,
}

impl<W: World> Disk<W> {
    pub(crate) fn mls_epoch(&self) -> Option<&Epoch> {
        self.mls.epoch()
    }
}

/// A message that `write` accepted.
pub(crate) struct Written {
    pub(crate) message: MessageId,
    pub(crate) from: usize,
    pub(crate) stream: StreamId,
    pub(crate) members: BTreeSet<MemberId>,
    pub(crate) at: usize,
}

/// What happened in a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) commits: u64,
    pub(crate) switches: u64,
    pub(crate) rejoins: u64,
    pub(crate) readds: u64,
    pub(crate) messages: u64,
    pub(crate) repairs: u64,
    pub(crate) rogue: u64,
    pub(crate) restarts: u64,
    pub(crate) disks: u64,
    pub(crate) epochs: u64,
    pub(crate) forked: u64,
    pub(crate) frames: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.switches += other.switches;
        self.rejoins += other.rejoins;
        self.readds += other.readds;
        self.messages += other.messages;
        self.repairs += other.repairs;
        self.rogue += other.rogue;
        self.restarts += other.restarts;
        self.disks += other.disks;
        self.epochs += other.epochs;
        self.forked += other.forked;
        self.frames += other.frames;
    }
}

/// Everybody, with all that they see.
pub(crate) struct People<W: World> {
    pub(crate) world: W,
    pub(crate) random: Random,
    pub(crate) people: Vec<Person<W>>,
    /// Milliseconds since the beginning.
    pub(crate) clock: i64,
    /// The step of the schedule.
    pub(crate) step: usize,
    pub(crate) written: Vec<Written>,
    /// Every Commit that left its author, by the epoch that it ends.
    commits: BTreeMap<EpochId, BTreeSet<CommitId>>,
    /// What anybody on the way could have kept of those who asked to be added again.
    pub(crate) rejoins_seen: Vec<(Rejoin, Vec<u8>)>,
    /// How many were there from the beginning.
    pub(crate) founders: usize,
    pub(crate) counts: Counts,
    /// What must never be, as soon as it was.
    pub(crate) broken: Option<String>,
    /// What is on its way out of whoever stepped: from, to, what.
    pub(crate) out: Vec<(usize, usize, Frame)>,
    /// Prints what happens, for whoever looks into a run that failed.
    trace: bool,
    limits: Limits,
}

impl<W: World> People<W> {
    fn tell(&self, who: usize, output: &Output) {
        let at = format!(
            "step {} clock {} {who} in {:?}",
            self.step,
            self.clock,
            self.epoch(who)
        );
        match output {
            Output::Send(to, frame) => {
                let to = self.number(to);
                match frame {
                    Frame::Commit(commit) => println!(
                        "{at} -> {to}: Commit on {:?} {:?}",
                        commit.parent,
                        CommitId::of(&commit.bytes)
                    ),
                    Frame::Ack(ack) => println!(
                        "{at} -> {to}: Ack by {} of {:?} on {:?} sent {}",
                        self.number(&MemberId::from(&ack.signer)),
                        ack.commit,
                        ack.parent,
                        ack.sent
                    ),
                    Frame::App(app) => println!(
                        "{at} -> {to}: App {:?} #{} first {:?}",
                        app.header.stream, app.header.seq, app.header.first
                    ),
                    Frame::Welcome(_) => println!("{at} -> {to}: Welcome"),
                    Frame::Have(have) => println!("{at} -> {to}: Have in {:?} ask {}", have.epoch, have.ask),
                    other => println!(
                        "{at} -> {to}: {}",
                        format!("{other:?}").chars().take(60).collect::<String>()
                    ),
                }
            }
            other => println!("{at}: {other:?}"),
        }
    }

    pub(crate) fn new(mut world: W, seed: u64, people: usize, founders: usize, window: usize) -> Self {
        let mut random = Random::new(seed ^ 0xbeef);
        let limits = Limits {
            window,
            ..Limits::default()
        };
        let people = (0..people)
            .map(|number| {
                let mls = world.member(number as u8 + 1);
                let own = mls.own();
                let stream = StreamId(random.bytes());
                Person {
                    member: MemberId::from(&own),
                    disk: Disk {
                        group: Group::new(GROUP, &own, stream, limits),
                        mls,
                        shown: BTreeMap::new(),
                        asked: Vec::new(),
                    },
                    skew: 0,
                    wants_in: false,
                    invited: false,
                    removed: false,
                    left: false,
                    lost_disk: None,
                    failed: BTreeSet::new(),
                    not_admin: Vec::new(),
                }
            })
            .collect();
        Self {
            world,
            random,
            people,
            clock: 0,
            step: 0,
            written: Vec::new(),
            commits: BTreeMap::new(),
            rejoins_seen: Vec::new(),
            founders,
            counts: Counts::default(),
            broken: None,
            out: Vec::new(),
            trace: TRACE.load(std::sync::atomic::Ordering::Relaxed),
            limits,
        }
    }

    pub(crate) fn number(&self, member: &MemberId) -> usize {
        self.people
            .iter()
            .position(|person| person.member == *member)
            .unwrap()
    }

    pub(crate) fn epoch(&self, who: usize) -> Option<EpochId> {
        self.people[who].disk.mls.epoch().map(|epoch| epoch.id)
    }

    pub(crate) fn is_live(&self, who: usize) -> bool {
        self.epoch(who).is_some()
    }

    pub(crate) fn roster(&self, who: usize) -> Vec<usize> {
        let epoch = self.people[who].disk.mls.epoch();
        epoch
            .into_iter()
            .flat_map(|epoch| epoch.members())
            .map(|member| self.number(&member))
            .collect()
    }

    /// One step of one member, as one transaction; what it sends leaves afterwards.
    pub(crate) fn act<T>(&mut self, who: usize, act: impl FnOnce(&mut Step<'_, W::Backend>) -> T) -> T {
        let now = Now {
            monotonic: Duration::from_millis(self.clock as u64),
            unix_ms: 1_700_000_000_000 + self.clock + self.people[who].skew,
        };
        let disk = &mut self.people[who].disk;
        let mut step = disk.group.step(&mut disk.mls, now);
        let result = act(&mut step);
        let outputs = step.finish();
        self.take(who, outputs);
        result
    }

    fn take(&mut self, who: usize, outputs: Vec<Output>) {
        for output in outputs {
            if self.trace {
                self.tell(who, &output);
            }
            match output {
                Output::Send(to, frame) => {
                    self.count(&frame, who);
                    let to = self.number(&to);
                    self.out.push((who, to, frame));
                }
                Output::Message { sender, header, .. } => self.show(who, &sender, &header),
                Output::Failed(message, member) => {
                    self.people[who].failed.insert((message, member));
                }
                Output::Invitation(_) => self.people[who].invited = true,
                Output::Entered { switched } => self.counts.switches += u64::from(switched),
                Output::Rejoining => self.counts.rejoins += 1,
                Output::NotAdmin(what) => self.people[who].not_admin.push(what),
                Output::OlderCopy => {
                    let stream = StreamId(self.random.bytes());
                    self.people[who].disk.asked.clear();
                    self.people[who].lost_disk.get_or_insert(self.step);
                    self.act(who, |step| step.restored(stream)).unwrap();
                }
                Output::NeedPackage(_)
                | Output::Delivered(..)
                | Output::Removed
                | Output::Equivocation(..)
                | Output::Restored => {}
            }
        }
        if let Some(reused) = self.world.reused() {
            self.broken.get_or_insert(format!("I6: {reused}"));
        }
    }

    fn count(&mut self, frame: &Frame, who: usize) {
        self.counts.frames += 1;
        match frame {
            Frame::App(app) if app.header.first != app.epoch && app.sender == self.people[who].member => {
                self.counts.repairs += 1;
            }
            Frame::Rejoin(rejoin, package) => self.rejoins_seen.push((**rejoin, package.clone())),
            Frame::Commit(commit) => {
                let rivals = self.commits.entry(commit.parent).or_default();
                if rivals.insert(CommitId::of(&commit.bytes)) {
                    self.counts.commits += 1;
                    self.counts.readds += commit.reasons.rejoins.len() as u64;
                    self.counts.epochs += u64::from(rivals.len() == 1);
                    self.counts.forked += u64::from(rivals.len() == 2);
                }
            }
            _ => {}
        }
    }

    fn show(&mut self, who: usize, _sender: &MemberId, header: &Header) {
        let shown = self.people[who].disk.shown.entry(header.message).or_default();
        *shown += 1;
        if *shown > 1 {
            self.broken
                .get_or_insert(format!("I5: {who} was shown {:?} twice", header.message));
        }
    }

    pub(crate) fn write(&mut self, who: usize) {
        if !self.is_live(who) {
            return;
        }
        let message = MessageId(self.random.bytes());
        let roster = self.roster(who);
        let stream = self.people[who].disk.group.stream();
        let body = message.0.to_vec();
        if self.act(who, |step| step.write(message, body)).unwrap().is_ok() {
            let members = roster.into_iter().filter(|other| *other != who);
            self.written.push(Written {
                message,
                from: who,
                stream,
                members: members.map(|other| self.people[other].member).collect(),
                at: self.step,
            });
            self.counts.messages += 1;
        }
    }

    /// Whether it was not refused.
    pub(crate) fn want(&mut self, who: usize, what: &What) -> bool {
        let wanted = self.act(who, |step| step.want(what.clone())).unwrap().is_ok();
        if wanted {
            self.people[who].disk.asked.push(what.clone());
        }
        wanted
    }

    /// Somebody makes a KeyPackage for somebody.
    pub(crate) fn give_package(&mut self, from: usize, to: usize) {
        let package = self.people[from].disk.mls.key_package().unwrap();
        self.act(to, |step| step.package(package)).unwrap();
    }

    /// Whose KeyPackages are needed for what the user wants.
    pub(crate) fn needed(&self, who: usize) -> Vec<usize> {
        let disk = &self.people[who].disk;
        let Some(epoch) = disk.mls.epoch() else {
            return Vec::new();
        };
        let intents = disk.group.intents().iter();
        let added = intents.filter_map(|intent| match &intent.what {
            What::Add(member) if !epoch.has(member) => Some(self.number(member)),
            _ => None,
        });
        added.collect()
    }

    /// Its user renames the group, or makes somebody an admin, or no admin.
    pub(crate) fn change(&mut self, who: usize, random: &mut Random) {
        let roster = self.roster(who);
        let Some(other) = roster.get(random.below(roster.len())).copied() else {
            return;
        };
        let member = self.people[other].member;
        let what = match random.below(4) {
            0 => What::Name(format!("name {}", self.step)),
            1 | 2 => What::Admin(member, true),
            _ => What::Admin(member, false),
        };
        self.want(who, &what);
    }

    /// Its user leaves the group.
    pub(crate) fn leave(&mut self, who: usize, random: &mut Random) {
        let gone = self.people.iter().filter(|person| person.removed).count();
        let roster = self.roster(who);
        if roster.len() > 2 && gone < 2 {
            let successor = roster
                .get(random.below(roster.len()))
                .map(|other| self.people[*other].member);
            let left = self.act(who, |step| step.leave_group(successor)).unwrap();
            self.people[who].removed |= left.is_ok();
            self.people[who].left |= left.is_ok();
            self.people[who].wants_in &= left.is_err();
        }
    }

    /// A member signs in the name of another, promises what it did not do, and tells of branches that do not exist.
    pub(crate) fn forge(&mut self, who: usize, random: &mut Random) {
        let log = self.people[who].disk.group.log().to_vec();
        let Some(entry) = log.get(random.below(log.len())) else {
            return;
        };
        let roster = self.roster(who);
        let other = roster.get(random.below(roster.len())).map_or(who, |other| *other);
        let ack = Ack {
            parent: entry.parent,
            commit: CommitId(random.bytes()),
            signer: self.people[other].disk.mls.own(),
            stream: StreamId(random.bytes()),
            number: 1,
            sent: random.next(),
            signature: random.bytes(),
        };
        // As good as a claim can be, on an epoch that everybody remembers.
        let merit = Merit {
            author: self.people[other].member,
            removes: true,
            by_admin: true,
        };
        let lie = Entry {
            commit: ack.commit,
            merit,
            roster: vec![self.people[who].member],
            ..entry.clone()
        };
        // Its own signature is the one that it can give.
        let mut signed = Ack {
            signer: self.people[who].disk.mls.own(),
            ..ack
        };
        let numbers = [signed.number.to_be_bytes(), signed.sent.to_be_bytes()];
        let parts: [&[u8]; 6] = [
            &GROUP.0,
            &signed.parent.0,
            &signed.commit.0,
            &signed.stream.0,
            &numbers[0],
            &numbers[1],
        ];
        signed.signature = self.people[who].disk.mls.sign(Context::Ack, &parts);
        for to in roster {
            let frames = [
                Frame::Ack(signed),
                Frame::Ack(Ack {
                    commit: entry.commit,
                    ..ack
                }),
                Frame::Ack(ack),
                Frame::NotMember(vec![lie.clone()]),
                Frame::Have(Box::new(Have {
                    epoch: Some(EpochId(random.bytes())),
                    log: vec![lie.clone()],
                    commits: Vec::new(),
                    acks: Vec::new(),
                    seen: Vec::new(),
                    ask: true,
                })),
            ];
            self.out.extend(frames.into_iter().map(|frame| (who, to, frame)));
            let junk = Commit {
                parent: EpochId(random.bytes()),
                bytes: vec![0; 200 << 10],
                reasons: Reasons::default(),
            };
            let stream = self.people[to].disk.group.stream();
            let head = Head {
                epoch: Some(EpochId(random.bytes())),
                digest: random.bytes(),
                heard: vec![(stream, u64::MAX)],
            };
            let more = [
                Frame::Commit(junk),
                Frame::Head(head),
                Frame::AppAck(stream, Ranges::default()),
                Frame::Refuse,
            ];
            self.out.extend(more.into_iter().map(|frame| (who, to, frame)));
        }
    }

    /// The process ends between two transactions, and with it what had not left yet.
    pub(crate) fn kill(&mut self, who: usize) {
        self.out.retain(|(from, ..)| *from != who);
        let disk = &mut self.people[who].disk;
        disk.group = disk.group.clone().restarted();
        self.counts.restarts += 1;
    }

    pub(crate) fn backup(&mut self, who: usize) -> Disk<W> {
        let disk = &self.people[who].disk;
        Disk {
            mls: self.world.copy(&disk.mls),
            group: disk.group.clone(),
            shown: disk.shown.clone(),
            asked: disk.asked.clone(),
        }
    }

    /// An older copy of its disk is put back. Where it is not told so, it has to find out.
    pub(crate) fn restore(&mut self, who: usize, mut disk: Disk<W>, told: bool) {
        disk.group = disk.group.restarted();
        // What was carried out is not done again unasked.
        disk.asked.clear();
        self.out.retain(|(from, ..)| *from != who);
        self.people[who].disk = disk;
        self.people[who].lost_disk = Some(self.step);
        self.counts.disks += 1;
        if told {
            let stream = StreamId(self.random.bytes());
            self.act(who, |step| step.restored(stream)).unwrap();
        }
    }

    /// Its disk is lost but for its identity; it knows which group it was in.
    pub(crate) fn wipe(&mut self, who: usize) {
        self.out.retain(|(from, ..)| *from != who);
        let mls = self.world.empty(&self.people[who].disk.mls);
        let stream = StreamId(self.random.bytes());
        self.people[who].disk = Disk {
            group: Group::new(GROUP, &mls.own(), stream, self.limits),
            mls,
            shown: BTreeMap::new(),
            asked: Vec::new(),
        };
        self.people[who].lost_disk = Some(self.step);
        self.counts.disks += 1;
        if self.people[who].wants_in {
            let _ = self.act(who, |step| step.accept()).unwrap();
        }
    }

    /// Its people accept the invitation.
    pub(crate) fn accept(&mut self, who: usize) {
        if std::mem::take(&mut self.people[who].invited) && !self.people[who].left {
            self.people[who].wants_in = true;
            let _ = self.act(who, |step| step.accept()).unwrap();
        }
    }

    /// A member breaks the rules: another Commit on an epoch that it passed, its own state untouched.
    pub(crate) fn rogue(&mut self, who: usize, removes: Option<usize>) -> Option<(Vec<usize>, Frame)> {
        let epochs: Vec<EpochId> = self.people[who].disk.group.slots().collect();
        let epoch = *epochs.get(self.random.below(epochs.len()))?;
        let mut mls = self.world.rogue(&self.people[who].disk.mls);
        mls.restore(&epoch).unwrap();
        let roster: Vec<MemberId> = mls.epoch()?.members().collect();
        let removes = removes.map(|other| self.people[other].member);
        let removes: Vec<MemberId> = removes
            .into_iter()
            .filter(|other| roster.contains(other) && *other != self.people[who].member)
            .collect();
        let change = Change {
            removes,
            ..Change::default()
        };
        let reasons = Reasons::default();
        let staged = mls.stage(&change, &reasons.digest()).unwrap()?;
        self.counts.rogue += 1;
        let is_admin = mls
            .epoch()
            .is_some_and(|epoch| epoch.is_admin(&self.people[who].member));
        for other in change.removes.iter().filter(|_| is_admin) {
            let other = self.number(other);
            self.people[other].removed = true;
        }
        let commit = Commit {
            parent: epoch,
            bytes: staged.commit,
            reasons,
        };
        Some((
            roster.iter().map(|member| self.number(member)).collect(),
            Frame::Commit(commit),
        ))
    }
}
