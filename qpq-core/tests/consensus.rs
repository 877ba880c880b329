//! The rule in cases that are told step by step, on the toy back-end; `simulator.rs` has the random ones.

#[path = "support/sim.rs"]
mod sim;

use std::{cell::RefCell, rc::Rc};

use qpq_core::consensus::mls::Mutant;
use sim::{cases, lives, toy::Toys};

type Toy = Rc<RefCell<Toys>>;

/// A test for each case, named for what it shows.
macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {$(
        #[test]
        fn $name() {
            let told: cases::Told = $case(None);
            told.unwrap();
        }
    )*};
}

cases! {
    commits_in_either_order_lead_to_one_epoch: cases::both_orders::<Toy>;
    a_victim_cannot_outrun_its_removal: cases::victim_races_its_removal::<Toy>;
    an_admins_commit_comes_first: cases::admins_come_first::<Toy>;
    only_admins_remove: cases::only_admins_remove::<Toy>;
    only_admins_add: lives::only_admins_add::<Toy>;
    reasons_that_were_taken_away_stand_in_nobodys_way: lives::stripped_reasons::<Toy>;
    a_late_rival_moves_nobody_who_is_certified: cases::late_rival::<Toy>;
    a_larger_half_keeps_its_branch: |mutant| cases::two_sided_partition::<Toy>(5, 3, mutant);
    equal_halves_become_one_again: |mutant| cases::two_sided_partition::<Toy>(6, 3, mutant);
    two_members_apart_become_one_again: |mutant| cases::two_sided_partition::<Toy>(2, 1, mutant);
    a_branch_is_entered_again_where_it_was_left: |mutant| cases::branch_entered_again::<Toy>(8, mutant);
    a_branch_is_entered_again_with_a_window_of_two: |mutant| cases::branch_entered_again::<Toy>(2, mutant);
    a_newcomer_whose_welcome_was_lost_is_added_again: cases::lost_welcome::<Toy>;
    a_signed_lie_costs_nobody_its_state: cases::forged_not_member::<Toy>;
    a_welcome_into_a_branch_that_loses_is_not_opened: cases::stale_welcome::<Toy>;
    a_message_before_its_commit_survives_a_restart: cases::message_before_its_commit::<Toy>;
    an_old_rejoin_is_good_for_nothing: cases::old_rejoin::<Toy>;
    a_commit_whose_author_was_killed_before_sending_it_stands: lives::killed_before_sending::<Toy>;
    a_losing_commit_after_a_restart_of_the_winner_changes_nothing: lives::winner_restarts::<Toy>;
    what_a_wiped_member_writes_is_shown: lives::wiped_member_writes::<Toy>;
    one_sleeper_delays_nobody: lives::one_sleeper_delays_nobody::<Toy>;
    a_thousand_updates_stop_nobody: lives::a_thousand_updates::<Toy>;
    name_and_admins_are_the_same_for_all: lives::data_is_the_same_for_all::<Toy>;
    a_removal_raises_no_false_alarm: lives::no_false_alarm_after_a_removal::<Toy>;
    clocks_do_not_reorder: lives::clocks_change_nothing::<Toy>;
    nobody_is_added_unasked: lives::nobody_is_added_unasked::<Toy>;
    a_joiner_may_see_the_commit_that_added_it: lives::welcome_before_commit::<Toy>;
    garbage_stops_nothing: lives::garbage_stops_nothing::<Toy>;
    the_last_admin_leaves_and_the_group_goes_on: lives::last_admin_leaves::<Toy>;
    creator_and_joiner_have_equal_windows: lives::equal_windows::<Toy>;
}

/// A test for each part of the rule that random schedules do not miss, because the members heal all the same: without
/// it a case ends otherwise than it should.
macro_rules! missed {
    ($($name:ident: $mutant:ident breaks $case:expr;)*) => {$(
        #[test]
        fn $name() {
            let told: cases::Told = $case(Some(Mutant::$mutant));
            assert!(told.is_err(), "nobody noticed");
        }
    )*};
}

missed! {
    where_the_first_to_come_stays_the_order_decides: ArrivalOrder breaks cases::both_orders::<Toy>;
    without_certificates_a_late_rival_moves_everybody: NoCertificate breaks cases::late_rival::<Toy>;
    with_the_tip_alone_parked_the_way_back_is_closed: ParkTipOnly breaks |mutant| cases::branch_entered_again::<Toy>(8, mutant);
    evicting_on_the_way_throws_out_what_is_returned_to: EvictInside breaks |mutant| cases::branch_entered_again::<Toy>(2, mutant);
    without_classes_a_victim_outruns_its_removal: NoClass breaks cases::victim_races_its_removal::<Toy>;
    without_admins_in_the_key_lots_decide: NoAdmins breaks cases::admins_come_first::<Toy>;
    where_anybody_removes_anybody_can_be_removed: AnyoneRemoves breaks cases::only_admins_remove::<Toy>;
    without_a_stash_what_comes_early_is_lost: NoStash breaks cases::message_before_its_commit::<Toy>;
    with_old_rejoins_anybody_can_be_thrown_out_of_their_state: OldRejoin breaks cases::old_rejoin::<Toy>;
    a_signed_lie_that_nobody_asked_for_costs_a_member_its_state: UnaskedNotMember breaks cases::forged_not_member::<Toy>;
}
