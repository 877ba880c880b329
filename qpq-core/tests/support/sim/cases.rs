//! Cases that are told step by step, most of them paid for by others. Each says whether it went well, so that it can
//! also show what goes wrong without a part of the rule.

use qpq_core::{
    consensus::{
        Commit, Frame, What,
        mls::{Change, Mls, Mutant},
    },
    id::{CommitId, EpochId, MessageId},
};

use super::{
    Random, World,
    invariants::is_healed,
    scene::{Parcel, Scene},
};

/// What a case says.
pub(crate) type Told = Result<(), String>;

/// Seeds that are tried where the draw of lots decides whether a case can be told at all.
pub(super) const SEEDS: u64 = 40;

pub(super) fn ensure(holds: bool, what: &str) -> Told {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

pub(super) fn is_commit(parcel: &Parcel) -> bool {
    matches!(parcel.2, Frame::Commit(_))
}

pub(super) fn is_ack_of(parcel: &Parcel, commit: &CommitId) -> bool {
    matches!(&parcel.2, Frame::Ack(ack) if ack.commit == *commit)
}

pub(super) fn is_message(parcel: &Parcel) -> bool {
    matches!(parcel.2, Frame::App(_))
}

pub(super) fn only(parcels: &[Parcel], wanted: impl Fn(&Parcel) -> bool) -> Vec<Parcel> {
    parcels.iter().filter(|parcel| wanted(parcel)).cloned().collect()
}

/// Somebody renews their keys: the plainest Commit.
pub(super) fn update<W: World>(scene: &mut Scene<W>, who: usize) -> CommitId {
    scene.people.want(who, &What::Update);
    last_commit(scene, who)
}

pub(super) fn last_commit<W: World>(scene: &Scene<W>, who: usize) -> CommitId {
    scene.people.people[who].disk.group.log().last().unwrap().commit
}

pub(super) fn shown<W: World>(scene: &Scene<W>, who: usize, message: &MessageId) -> bool {
    scene.people.people[who].disk.shown.contains_key(message)
}

pub(super) fn write<W: World>(scene: &mut Scene<W>, who: usize) -> MessageId {
    scene.people.write(who);
    scene.people.written.last().unwrap().message
}

/// Who is in the group, as a member sees it.
pub(super) fn roster<W: World>(scene: &Scene<W>, who: usize) -> Vec<usize> {
    let mut roster = scene.people.roster(who);
    roster.sort_unstable();
    roster
}

pub(super) fn healed<W: World>(scene: &mut Scene<W>) -> Told {
    for _ in 0..20 {
        scene.round();
        if is_healed(&scene.people) {
            break;
        }
    }
    if let Some(broken) = scene.people.broken.take() {
        return Err(broken);
    }
    ensure(is_healed(&scene.people), "the group did not heal")
}

/// Members who met again know where the others stand.
pub(super) fn awake<W: World>(scene: &mut Scene<W>, who: usize) {
    for other in 0..scene.people.people.len() {
        scene.network.meet(&mut scene.people, who, other);
    }
    scene.network.deliver_all(&mut scene.people);
}

/// Two Commits on one epoch, met by one member in one order and by another in the other: both end in the same epoch,
/// by going back and not by being added again, and what was written on the branch that lost is read by all.
pub(crate) fn both_orders<W: World>(mutant: Option<Mutant>) -> Told {
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 4, 0, 8, mutant);
        update(&mut scene, 0);
        let first = write(&mut scene, 0);
        let of_0 = scene.sent();
        update(&mut scene, 1);
        let second = write(&mut scene, 1);
        let of_1 = scene.sent();
        ensure(!scene.agree([0, 1]), "they forked")?;
        scene.bring(&of_0, 2);
        scene.bring(&of_1, 2);
        scene.bring(&of_1, 3);
        scene.bring(&of_0, 3);
        ensure(scene.agree([2, 3]), "the order in which Commits came decided")?;
        scene.bring(&of_0, 1);
        scene.bring(&of_1, 0);
        let wins = last_commit(&scene, 2);
        for who in 0..4 {
            let log = scene.people.people[who].disk.group.log();
            ensure(
                log.iter().any(|entry| entry.commit == wins),
                "who made the Commit that lost goes back",
            )?;
        }
        let all = scene.sent();
        scene.bring_all(all);
        ensure(scene.agree(0..4), "all end in the same epoch")?;
        for who in 0..4 {
            ensure(
                who == 0 || shown(&scene, who, &first),
                "a message of the first author was lost",
            )?;
            ensure(
                who == 1 || shown(&scene, who, &second),
                "a message of the second author was lost",
            )?;
        }
        ensure(scene.people.counts.rejoins == 0, "nobody has to be added again")?;
    }
    Ok(())
}

/// A member who is being removed commits something itself at the same moment: the removal wins, whatever the lots say.
pub(crate) fn victim_races_its_removal<W: World>(mutant: Option<Mutant>) -> Told {
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 4, 0, 8, mutant);
        let victim = scene.people.people[3].member;
        // An admin as well, or its being none would decide.
        scene.people.want(0, &What::Admin(victim, true));
        let sent = scene.sent();
        scene.bring_all(sent);
        scene.people.want(0, &What::Remove(victim));
        let removal = scene.sent();
        update(&mut scene, 3);
        let evasion = scene.sent();
        for who in [1, 2] {
            scene.bring(&evasion, who);
            scene.bring(&removal, who);
        }
        scene.bring(&evasion, 0);
        scene.bring(&removal, 3);
        ensure(scene.agree(0..3), "the others agree")?;
        ensure(!scene.people.is_live(3), "the victim is out")?;
        healed(&mut scene)?;
        ensure(roster(&scene, 0) == vec![0, 1, 2], "the removal is in force")?;
    }
    Ok(())
}

/// An admin and somebody who is none commit at the same moment: the admin's Commit wins, whatever the lots say.
pub(crate) fn admins_come_first<W: World>(mutant: Option<Mutant>) -> Told {
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 5, 0, 8, mutant);
        let of_admin = update(&mut scene, 0);
        let first = scene.sent();
        update(&mut scene, 1);
        let second = scene.sent();
        scene.bring(&second, 2);
        scene.bring(&first, 2);
        ensure(last_commit(&scene, 2) == of_admin, "the admin's Commit wins")?;
    }
    Ok(())
}

/// Whoever is no admin removes somebody who did not ask for it: nobody follows.
pub(crate) fn only_admins_remove<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(1, 4, 0, 8, mutant);
    update(&mut scene, 1);
    let quiet = scene.sent();
    scene.bring(&quiet, 2);
    // 1 stands past the epoch that it forks now; 2 has both before it.
    let (_, rogue) = scene.people.rogue(1, Some(3)).ok_or("no epoch to fork")?;
    scene.bring(&[(1, 2, rogue)], 2);
    ensure(
        roster(&scene, 2).contains(&3),
        "a removal by a member who is no admin is refused",
    )
}

/// The member whose Commit has the acks of most keeps everybody there, also when a better one comes late.
pub(crate) fn late_rival<W: World>(mutant: Option<Mutant>) -> Told {
    let mut told = false;
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 5, 0, 8, mutant);
        // 4 commits and falls asleep before anybody hears of it.
        update(&mut scene, 4);
        let rival = scene.sent();
        for _ in 0..4 {
            update(&mut scene, 1);
            for _ in 0..3 {
                let sent = scene.sent();
                (0..4).for_each(|who| scene.bring(&sent, who));
            }
        }
        let stood = scene.people.epoch(0);
        let switches = scene.people.counts.switches;
        (0..4).for_each(|who| scene.bring(&rival, who));
        // Without the acks it might have won; with them it never does.
        ensure(
            scene.agree(0..4) && scene.people.epoch(0) == stood,
            "whoever is certified stays",
        )?;
        ensure(
            scene.people.counts.switches == switches,
            "nobody goes back for it",
        )?;
        told = true;
        healed(&mut scene)?;
        ensure(
            scene.agree(0..5) && scene.people.counts.rejoins == 0,
            "its author goes back and follows",
        )?;
    }
    ensure(told, "the case was never told")
}

/// Two halves of a group, apart for more epochs than there are slots. Unequal: the larger half has the certificates.
/// Equal: the key at the fork decides. The half that loses is added again, and nothing that either wrote is lost.
pub(crate) fn two_sided_partition<W: World>(members: usize, half: usize, mutant: Option<Mutant>) -> Told {
    for seed in 0..8 {
        let mut scene = Scene::<W>::founded(seed, members, 0, 4, mutant);
        scene
            .network
            .side
            .iter_mut()
            .skip(half)
            .for_each(|side| *side = 1);
        scene.network.part(&mut scene.people);
        let mut written = Vec::new();
        for round in 0..7 {
            for (from, size) in [(0, half), (half, members - half)] {
                update(&mut scene, from + round % size);
                for who in from..from + size {
                    written.push((who, write(&mut scene, who)));
                }
            }
            scene.network.deliver_all(&mut scene.people);
        }
        ensure(
            scene.agree(0..half) && scene.agree(half..members),
            "each half is one",
        )?;
        let halves = [0, members - 1].map(|who| scene.people.epoch(who));
        ensure(halves[0] != halves[1], "the halves differ")?;
        let fork = scene.people.people[0].disk.group.log().len() - 7;
        let larger = scene.people.people[0].disk.group.log()[fork].commit;
        scene.network.side.fill(0);
        healed(&mut scene)?;
        ensure(scene.agree(0..members), "the halves are one again")?;
        if half > members - half {
            let log = scene.people.people[members - 1].disk.group.log();
            ensure(
                log.iter().any(|entry| entry.commit == larger),
                "the larger half's branch is the one that stays",
            )?;
        }
        for (author, message) in &written {
            for who in (0..members).filter(|who| who != author) {
                ensure(shown(&scene, who, message), "a message of a half was lost")?;
            }
        }
    }
    Ok(())
}

/// c, then its rival c' is certified, then c is certified as well: its author returns to the states that it left, its
/// own pending Commit included, and uses no key twice.
pub(crate) fn branch_entered_again<W: World>(window: usize, mutant: Option<Mutant>) -> Told {
    let mut told = 0;
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 5, 0, window, mutant);
        // 0 writes in two epochs of its own branch; nobody hears of it yet.
        let c = update(&mut scene, 0);
        let mut of_0 = scene.sent();
        let on_first = [write(&mut scene, 0), write(&mut scene, 0)];
        update(&mut scene, 0);
        let on_second = write(&mut scene, 0);
        let tip = scene.people.epoch(0);
        let first: EpochId = scene.people.people[0].disk.group.log().last().unwrap().parent;
        of_0.extend(scene.sent());
        let rival = update(&mut scene, 1);
        let on_rival = write(&mut scene, 1);
        let of_1 = scene.sent();
        // 2 and 3 enter c' first, and then c where the lots say so.
        let commit_c = only(&of_0, |parcel| {
            is_commit(parcel)
                && matches!(&parcel.2, Frame::Commit(commit) if CommitId::of(&commit.bytes) == c)
        });
        let mut of_others = Vec::new();
        for who in [2, 3] {
            scene.bring(&only(&of_1, is_commit), who);
            scene.bring(&commit_c, who);
            of_others.extend(scene.sent());
        }
        if !of_others.iter().any(|parcel| is_ack_of(parcel, &c)) {
            continue;
        }
        told += 1;
        scene.bring(&of_1, 0);
        scene.bring(&only(&of_others, |parcel| is_ack_of(parcel, &rival)), 0);
        ensure(
            scene.people.epoch(0) != tip,
            "c' is certified: 0 leaves its branch",
        )?;
        let there = write(&mut scene, 0);
        scene.bring(&only(&of_others, |parcel| is_ack_of(parcel, &c)), 0);
        ensure(
            scene.people.epoch(0) == tip,
            "c is certified: 0 is back where it was, by its parked states",
        )?;
        let slots: Vec<EpochId> = scene.people.people[0].disk.group.slots().collect();
        ensure(slots.contains(&first), "the state in between is a slot again")?;
        let after = write(&mut scene, 0);
        update(&mut scene, 0);
        let mut all = of_0;
        all.extend(of_1);
        all.extend(of_others);
        all.extend(scene.sent());
        scene.bring_all(all);
        healed(&mut scene)?;
        ensure(scene.agree(0..5), "all end in the same epoch")?;
        for message in on_first.iter().chain([&on_second, &there, &after]) {
            ensure(
                (1..5).all(|who| shown(&scene, who, message)),
                "a message of 0 was lost",
            )?;
        }
        ensure(
            [0, 2, 3, 4].into_iter().all(|who| shown(&scene, who, &on_rival)),
            "a message of 1 was lost",
        )?;
        ensure(scene.people.counts.rejoins == 0, "nobody has to be added again")?;
    }
    ensure(told >= 5, "the case was hardly ever told")
}

/// A newcomer who joined by the Welcome of a Commit that lost is added once more, and what it wrote is read.
pub(crate) fn lost_welcome<W: World>(mutant: Option<Mutant>) -> Told {
    let mut told = 0;
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 4, 1, 8, mutant);
        // 1 is no admin; 0 adds 4, while 2 and 3 make another branch, certified by acks of most.
        let newcomer = scene.people.people[4].member;
        scene.people.want(0, &What::Add(newcomer));
        scene.people.give_package(4, 0);
        scene.people.clock += 3_000;
        scene.people.act(0, |step| step.tick()).unwrap();
        let of_0 = scene.sent();
        scene.bring(&of_0, 4);
        scene.people.accept(4);
        let there = write(&mut scene, 4);
        let _lost = scene.sent();
        ensure(
            scene.agree([0, 4]),
            "the newcomer is on the branch of whoever added it",
        )?;
        update(&mut scene, 1);
        for _ in 0..3 {
            let sent = scene.sent();
            (1..4).for_each(|who| scene.bring(&sent, who));
        }
        let wins = last_commit(&scene, 1);
        healed(&mut scene)?;
        let log = scene.people.people[0].disk.group.log();
        if !log.iter().any(|entry| entry.commit == wins) {
            continue;
        }
        told += 1;
        ensure(scene.agree(0..5), "the newcomer is in the group")?;
        ensure(
            (0..4).all(|who| shown(&scene, who, &there)),
            "what it wrote on the branch that lost is read",
        )?;
    }
    ensure(told > 0, "the case was never told")
}

/// An insider signs that it entered a Commit that does not exist, and says that we are no member there: a word that
/// nobody asked for deletes nothing.
pub(crate) fn forged_not_member<W: World>(mutant: Option<Mutant>) -> Told {
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 4, 0, 8, mutant);
        update(&mut scene, 0);
        // Too few know of it yet for a certificate.
        let sent = scene.sent();
        scene.bring(&sent, 1);
        scene.bring(&sent, 3);
        let mut kept = scene.sent();
        let mut random = Random::new(seed);
        scene.people.forge(3, &mut random);
        let lies = scene.sent();
        scene.bring(&lies, 1);
        ensure(scene.people.is_live(1), "a lie cost a member its state")?;
        kept.extend(sent);
        kept.extend(scene.sent());
        scene.bring_all(kept);
        healed(&mut scene)?;
    }
    Ok(())
}

/// A Welcome that leads to a branch that loses against ours is not opened.
pub(crate) fn stale_welcome<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(2, 5, 0, 8, mutant);
    // 3 lost its disk and asks 0, who is apart from the others by now, to be added again.
    scene.people.wipe(3);
    scene.network.side = vec![0, 1, 1, 0, 1];
    awake(&mut scene, 3);
    for _ in 0..6 {
        scene.people.clock += 1_000;
        scene.people.act(0, |step| step.tick()).unwrap();
    }
    let of_0 = scene.sent();
    ensure(
        of_0.iter().any(|parcel| matches!(parcel.2, Frame::Welcome(_))),
        "0 added 3 again",
    )?;
    // Before its Welcome arrives, the others, who are more, add 3 on their branch.
    scene.network.side = vec![9, 0, 0, 0, 0];
    for _ in 0..2 {
        scene.people.clock += 12_000;
        update(&mut scene, 1);
        scene.network.deliver_all(&mut scene.people);
        awake(&mut scene, 3);
        for _ in 0..8 {
            scene.people.clock += 1_000;
            (1..5).for_each(|who| scene.people.act(who, |step| step.tick()).unwrap());
            scene.network.deliver_all(&mut scene.people);
        }
    }
    ensure(scene.agree(1..5), "3 is with the others")?;
    let stood = scene.people.epoch(3);
    scene.bring(&of_0, 3);
    ensure(
        scene.people.epoch(3) == stood,
        "a Welcome into a branch that loses is not opened",
    )
}

/// A message of an epoch that its reader has not reached waits, also over a restart, and is read with the Commit.
pub(crate) fn message_before_its_commit<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(3, 3, 0, 8, mutant);
    update(&mut scene, 0);
    let message = write(&mut scene, 0);
    let sent = scene.sent();
    scene.bring(&only(&sent, is_message), 1);
    ensure(!shown(&scene, 1, &message), "it cannot be read yet")?;
    scene.people.kill(1);
    scene.bring(&only(&sent, is_commit), 1);
    ensure(
        shown(&scene, 1, &message),
        "it is read with its Commit, and nobody sends it again",
    )
}

/// A KeyPackage and its Rejoin, seen before, are used by somebody else for another epoch: nobody follows.
pub(crate) fn old_rejoin<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(4, 4, 0, 8, mutant);
    scene.people.wipe(3);
    awake(&mut scene, 3);
    let asked = scene.people.rejoins_seen.last().cloned().ok_or("nobody asked")?;
    for _ in 0..6 {
        scene.people.clock += 1_000;
        (0..4).for_each(|who| scene.people.act(who, |step| step.tick()).unwrap());
        scene.network.deliver_all(&mut scene.people);
    }
    ensure(scene.agree(0..4), "3 is back")?;
    let rejoin = qpq_core::consensus::Reasons {
        leaves: Vec::new(),
        rejoins: vec![asked.0],
    };
    let mut mls = scene.people.world.rogue(&scene.people.people[1].disk.mls);
    let parent = mls.epoch().unwrap().id;
    let change = Change {
        adds: vec![asked.1],
        removes: vec![scene.people.people[3].member],
        data: None,
    };
    let staged = mls
        .stage(&change, &rejoin.digest())
        .unwrap()
        .ok_or("it could not be staged")?;
    let commit = Commit {
        parent,
        bytes: staged.commit,
        reasons: rejoin,
    };
    scene.bring(&[(1, 2, Frame::Commit(commit))], 2);
    ensure(
        scene.people.epoch(2) == Some(parent),
        "an old Rejoin is good for nothing",
    )
}
