//! Cases of members who restart, sleep, come and go, told step by step.

use std::collections::BTreeSet;

use qpq_core::{
    consensus::{
        Commit, Frame, Reasons, What,
        mls::{Change, Mls, Mutant},
    },
    id::MemberId,
};

use super::{
    World,
    cases::{
        SEEDS, Told, ensure, healed, is_commit, is_message, last_commit, only, roster, shown, update, write,
    },
    scene::{Parcel, Scene},
};
/// Killed between the Commit and its way out: after the restart the group still works, and the Commit stands.
pub(crate) fn killed_before_sending<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(5, 3, 0, 8, mutant);
    let commit = update(&mut scene, 0);
    let message = write(&mut scene, 0);
    scene.people.kill(0);
    ensure(scene.sent().is_empty(), "nothing left")?;
    healed(&mut scene)?;
    ensure(
        scene.agree(0..3) && last_commit(&scene, 1) == commit,
        "the Commit stands",
    )?;
    ensure(
        (1..3).all(|who| shown(&scene, who, &message)),
        "the message is read",
    )
}

/// The author of the Commit that wins restarts, and then the one that loses arrives.
pub(crate) fn winner_restarts<W: World>(mutant: Option<Mutant>) -> Told {
    for seed in 0..SEEDS {
        let mut scene = Scene::<W>::founded(seed, 3, 0, 8, mutant);
        update(&mut scene, 0);
        let of_0 = scene.sent();
        update(&mut scene, 1);
        let of_1 = scene.sent();
        scene.people.kill(0);
        scene.bring(&of_1, 0);
        scene.people.kill(1);
        scene.bring(&of_0, 1);
        ensure(scene.agree([0, 1]), "both stand on the winner, whoever it is")?;
        healed(&mut scene)?;
        ensure(scene.people.counts.rejoins == 0, "nobody has to be added again")?;
    }
    Ok(())
}

/// Somebody loses their disk, is added again, and writes: it is shown, although its numbers begin anew.
pub(crate) fn wiped_member_writes<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(6, 3, 0, 8, mutant);
    let before = write(&mut scene, 2);
    let sent = scene.sent();
    scene.bring_all(sent);
    scene.people.wipe(2);
    healed(&mut scene)?;
    let after = write(&mut scene, 2);
    let sent = scene.sent();
    scene.bring_all(sent);
    ensure(shown(&scene, 0, &before), "what it wrote before was shown")?;
    ensure(
        shown(&scene, 0, &after) && shown(&scene, 1, &after),
        "what it writes in its new life is shown",
    )
}

/// One member is asleep for long: the others write, and read, and forget old secrets but for what it needs.
pub(crate) fn one_sleeper_delays_nobody<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(7, 4, 0, 8, mutant);
    scene.network.side[3] = 9;
    scene.network.part(&mut scene.people);
    for _ in 0..20 {
        update(&mut scene, 0);
        let message = write(&mut scene, 1);
        let sent = scene.sent();
        scene.bring_all(sent);
        ensure(
            [0, 2].into_iter().all(|who| shown(&scene, who, &message)),
            "those who are awake read at once",
        )?;
        ensure(scene.agree(0..3), "those who are awake are one")?;
        let slots = (0..3).map(|who| scene.people.people[who].disk.group.slots().len());
        ensure(slots.max() <= Some(8), "no more than eight old epochs are kept")?;
    }
    scene.network.side[3] = 0;
    healed(&mut scene)?;
    ensure(scene.agree(0..4), "it comes back")
}

/// One member never stops renewing its keys: others still write, and it can be removed.
pub(crate) fn a_thousand_updates<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(8, 4, 0, 8, mutant);
    for at in 0..1_000 {
        update(&mut scene, 3);
        if at % 50 == 0 {
            let message = write(&mut scene, 1);
            let sent = scene.sent();
            scene.bring_all(sent);
            ensure(shown(&scene, 2, &message), "others write all the same")?;
        }
        if at == 700 {
            let member = scene.people.people[3].member;
            scene.people.want(0, &What::Remove(member));
        }
        let sent = scene.sent();
        scene.bring_all(sent);
        if !scene.people.is_live(3) {
            break;
        }
    }
    ensure(roster(&scene, 0) == vec![0, 1, 2], "it can be removed")
}

/// Names and admins are the same for whoever made the Commit and whoever followed.
pub(crate) fn data_is_the_same_for_all<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(9, 3, 0, 8, mutant);
    let member = scene.people.people[1].member;
    scene.people.want(0, &What::Name("violins".to_owned()));
    scene.people.want(0, &What::Admin(member, true));
    let sent = scene.sent();
    scene.bring_all(sent);
    let data = (0..3).map(|who| scene.people.people[who].disk.mls.epoch().unwrap().data.clone());
    let data: Vec<_> = data.collect();
    ensure(data.iter().all(|one| *one == data[0]), "all see the same")?;
    let admins: BTreeSet<MemberId> = data[0].admins.iter().copied().collect();
    ensure(
        data[0].name == "violins" && admins.contains(&member) && admins.len() == 2,
        "and what was asked for",
    )
}

/// After a removal nobody believes that the group forked.
pub(crate) fn no_false_alarm_after_a_removal<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(10, 4, 0, 8, mutant);
    let member = scene.people.people[3].member;
    scene.people.want(0, &What::Remove(member));
    let sent = scene.sent();
    scene.bring_all(sent);
    let switches = scene.people.counts.switches;
    for _ in 0..5 {
        scene.round();
    }
    let counts = scene.people.counts;
    ensure(
        counts.rejoins == 0 && counts.switches == switches,
        "nobody goes back, or asks to be added again",
    )?;
    ensure(roster(&scene, 0) == vec![0, 1, 2], "the removal is in force")
}

/// Clocks that are off by a year change nothing in the history.
pub(crate) fn clocks_change_nothing<W: World>(mutant: Option<Mutant>) -> Told {
    let ends = [0, -31_536_000_000, 31_536_000_000].map(|skew| {
        let mut scene = Scene::<W>::founded(11, 4, 0, 8, mutant);
        scene.people.people[1].skew = skew;
        update(&mut scene, 0);
        let of_0 = scene.sent();
        update(&mut scene, 1);
        let of_1 = scene.sent();
        scene.bring(&of_0, 2);
        scene.bring(&of_1, 2);
        scene.people.epoch(2)
    });
    ensure(ends.iter().all(|end| *end == ends[0]), "the same Commit wins")
}

/// A Welcome of somebody whom the user did not accept is not opened.
pub(crate) fn nobody_is_added_unasked<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(12, 2, 1, 8, mutant);
    let newcomer = scene.people.people[2].member;
    scene.people.want(0, &What::Add(newcomer));
    scene.people.give_package(2, 0);
    scene.people.clock += 3_000;
    scene.people.act(0, |step| step.tick()).unwrap();
    let sent = scene.sent();
    scene.bring(&sent, 2);
    ensure(!scene.people.is_live(2), "the Welcome waits")?;
    ensure(scene.sent().is_empty(), "and nobody hears of it")?;
    scene.people.act(2, |step| step.refuse());
    scene.people.people[2].invited = false;
    let sent = scene.sent();
    scene.bring_all(sent);
    healed(&mut scene)?;
    ensure(roster(&scene, 0) == vec![0, 1], "who refuses is taken off again")
}

/// The Welcome comes before the Commit that added its reader, which is no rival of anything then.
pub(crate) fn welcome_before_commit<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(13, 3, 1, 8, mutant);
    let newcomer = scene.people.people[3].member;
    scene.people.want(0, &What::Add(newcomer));
    scene.people.give_package(3, 0);
    let commit = only(&scene.people.out, is_commit);
    scene.people.clock += 3_000;
    scene.people.act(0, |step| step.tick()).unwrap();
    let sent = scene.sent();
    scene.bring(&sent, 3);
    scene.people.accept(3);
    let stood = scene.people.epoch(3);
    let again: Vec<Parcel> = commit
        .into_iter()
        .map(|(from, _, frame)| (from, 3, frame))
        .collect();
    scene.bring(&again, 3);
    ensure(
        stood.is_some() && scene.people.epoch(3) == stood,
        "it stands where it stood",
    )?;
    scene.bring_all(sent);
    healed(&mut scene)?;
    ensure(
        scene.agree(0..4) && scene.people.counts.rejoins == 0,
        "and so do all",
    )
}

/// Bytes that cannot be read stop nothing that comes after them.
pub(crate) fn garbage_stops_nothing<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(14, 3, 0, 8, mutant);
    let messages = [write(&mut scene, 0), write(&mut scene, 0)];
    let mut sent = only(&scene.sent(), is_message);
    if let Some((_, _, Frame::App(app))) = sent.iter_mut().find(|parcel| parcel.1 == 1) {
        app.bytes.reverse();
    }
    scene.bring(&sent, 1);
    ensure(shown(&scene, 1, &messages[1]), "what comes after it is read")?;
    healed(&mut scene)?;
    ensure(
        shown(&scene, 1, &messages[0]),
        "and what it stood for is sent again",
    )
}

/// The last admin leaves: whoever it named is the next one, and the group goes on.
pub(crate) fn last_admin_leaves<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(15, 4, 0, 8, mutant);
    let heir = scene.people.people[2].member;
    let left = scene.people.act(0, |step| step.leave_group(Some(heir))).unwrap();
    ensure(left.is_ok(), "the last admin may leave")?;
    for _ in 0..8 {
        scene.round();
    }
    ensure(
        roster(&scene, 1) == vec![1, 2, 3] && scene.agree(1..4),
        "it is gone",
    )?;
    let admins = scene.people.people[1]
        .disk
        .mls
        .epoch()
        .unwrap()
        .data
        .admins
        .clone();
    ensure(admins == vec![heir], "and its heir is the admin")
}

/// A creator and a joiner who wait for the same sleeper keep the same old epochs.
pub(crate) fn equal_windows<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(16, 3, 0, 8, mutant);
    scene.network.side[2] = 9;
    scene.network.part(&mut scene.people);
    for _ in 0..12 {
        update(&mut scene, 1);
        let sent = scene.sent();
        scene.bring_all(sent);
    }
    let slots = [0, 1].map(|who| scene.people.people[who].disk.group.slots().collect::<Vec<_>>());
    ensure(
        slots[0] == slots[1] && slots[0].len() == 8,
        "the same eight epochs are kept by both",
    )
}

/// Whoever is no admin adds somebody: nobody follows.
pub(crate) fn only_admins_add<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(17, 3, 1, 8, mutant);
    let package = scene.people.people[3].disk.mls.key_package().unwrap();
    let mut mls = scene.people.world.rogue(&scene.people.people[1].disk.mls);
    let parent = mls.epoch().unwrap().id;
    let change = Change {
        adds: vec![package],
        ..Change::default()
    };
    let reasons = Reasons::default();
    let staged = mls
        .stage(&change, &reasons.digest())
        .unwrap()
        .ok_or("it could not be staged")?;
    let bytes = staged.commit;
    scene.bring(
        &[(
            1,
            2,
            Frame::Commit(Commit {
                parent,
                bytes,
                reasons,
            }),
        )],
        2,
    );
    ensure(
        scene.people.epoch(2) == Some(parent),
        "an addition by a member who is no admin is refused",
    )
}

/// A Commit whose reasons somebody took away on the way, and then the whole one: the first stands in nobody's way.
pub(crate) fn stripped_reasons<W: World>(mutant: Option<Mutant>) -> Told {
    let mut scene = Scene::<W>::founded(18, 4, 0, 8, mutant);
    let left = scene.people.act(3, |step| step.leave_group(None)).unwrap();
    ensure(left.is_ok(), "whoever wants to leave may")?;
    let leaves = scene.sent();
    scene.bring(&leaves, 1);
    scene.people.clock += 10_000;
    scene.people.act(1, |step| step.tick()).unwrap();
    let sent = only(&scene.sent(), is_commit);
    ensure(!sent.is_empty(), "1 removes 3, who asked for it")?;
    let mut stripped = sent.clone();
    for (_, _, frame) in &mut stripped {
        if let Frame::Commit(commit) = frame {
            commit.reasons = Reasons::default();
        }
    }
    scene.bring(&stripped, 2);
    ensure(
        roster(&scene, 2) == vec![0, 1, 2, 3],
        "without its reasons it is not followed",
    )?;
    scene.bring(&sent, 2);
    ensure(roster(&scene, 2) == vec![0, 1, 2], "with them it is")
}
