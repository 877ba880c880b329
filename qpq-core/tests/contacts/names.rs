//! What people are called: known names under new keys, by code and by link.

use net::Net;
use qpq_core::{
    contact::Standing,
    engine::{Command, ContactChange, Event, Failure, Purpose},
    store::read::Relation,
};

use super::{change, held, names_of, net, person, talk, try_send, two_bens};

#[test]
fn a_new_key_under_a_known_name_is_held() {
    let mut net = two_bens();
    assert_eq!(held(&net, 0).as_deref(), Some("ben (new key)"));
    let asks =
        |event: &Event| matches!(event, Event::Asked { name, settles, .. } if name == "anna" && settles.join);
    assert!(net.peers[2].events.iter().any(asks));
    let newcomer = person(&net, 0, 2).unwrap();
    assert_eq!(
        (newcomer.standing, newcomer.claimed.as_str()),
        (Standing::Held, "ben")
    );
    assert_eq!(try_send(&mut net, 0, "ben", "who?"), Err(Failure::KeyQuestion));
    assert_eq!(
        try_send(&mut net, 0, "ben (new key)", "who?"),
        Err(Failure::KeyQuestion)
    );
    // No way in: not as a contact, not by another invite.
    assert!(
        !net.peers[0]
            .directory
            .as_ref()
            .unwrap()
            .known
            .contains_key(&net.id(2))
    );
    let (_, at_anna) = net.connect(2, 0, Purpose::Peer);
    net.run();
    assert!(net.peers[0].closed.contains(&at_anna));
    net.command(2, Command::CancelJoin).unwrap();
    let code = net.invite(0);
    net.join(2, 0, code);
    assert_eq!(person(&net, 0, 2).unwrap().standing, Standing::Held);
    // The newcomer is not told to be a contact, and the known one is not disturbed.
    assert!(!net.joined(2));
    assert_eq!(net.texts(0, false), Vec::<String>::new());
    net.connect(1, 0, Purpose::Peer);
    net.run();
    net.send(1, "anna", &["still me"]);
    assert_eq!(net.texts(0, false), ["still me"]);
}

#[test]
fn a_held_newcomer_may_get_another_name_or_be_refused() {
    let mut net = two_bens();
    let new = net.id(2);
    assert_eq!(
        change(&mut net, 0, new, ContactChange::Rename("BEN".into())),
        Err(Failure::Name)
    );
    assert_eq!(
        change(&mut net, 0, new, ContactChange::Rename("a:b".into())),
        Err(Failure::Name)
    );
    change(&mut net, 0, new, ContactChange::Rename("ben two".into())).unwrap();
    net.connect(2, 0, Purpose::Peer);
    net.run();
    assert!(net.joined(2));
    talk(&mut net, 0, "ben two", 2, "anna");
    assert!(try_send(&mut net, 0, "ben", "hi").is_ok());

    let mut net = two_bens();
    let new = net.id(2);
    change(&mut net, 0, new, ContactChange::Refuse).unwrap();
    assert_eq!(person(&net, 0, 2), None);
    assert!(try_send(&mut net, 0, "ben", "hi").is_ok());
}

/// The joiner knows another anna: it is the joiner who holds, and the inviter does not count him as joined.
#[test]
fn a_joiner_holds_an_inviter_whose_name_it_knows() {
    let mut net = Net::new(&["anna", "ben", "anna"]);
    for inviter in [0, 2] {
        let code = net.invite(inviter);
        net.join(1, inviter, code);
    }
    assert_eq!(held(&net, 1).as_deref(), Some("anna (new key)"));
    assert!(!net.joined(2));
    assert_eq!(try_send(&mut net, 1, "anna", "who?"), Err(Failure::KeyQuestion));
    let new = net.id(2);
    change(&mut net, 1, new, ContactChange::Replace).unwrap();
    net.connect(1, 2, Purpose::Peer);
    net.run();
    assert!(net.joined(2));
    talk(&mut net, 1, "anna", 2, "ben");
}

/// While the question is open, nothing that waits leaves, not even for the key that was known.
#[test]
fn what_waits_for_a_known_name_waits_for_the_answer() {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    net.crash(1);
    net.run();
    net.send(0, "ben", &["for ben alone"]);
    let code = net.invite(0);
    net.join(2, 0, code);
    net.start(1);
    net.connect(1, 0, Purpose::Peer);
    net.run();
    assert_eq!(net.texts(1, false), Vec::<String>::new());
    let relations = net.reader(0).relations().unwrap();
    assert_eq!(relations[&net.id(1)], Relation::Held);
    let newcomer = net.id(2);
    change(&mut net, 0, newcomer, ContactChange::Refuse).unwrap();
    assert_eq!(net.texts(1, false), ["for ben alone"]);
}

/// The name rule is the same by link: whoever claims a contact's name is not accepted under the mark that it got.
#[test]
fn a_request_under_a_known_name_is_not_accepted_before_it_has_another() {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    let link = net.invite_by_link(0);
    net.join_by_link(2, &link).unwrap();
    assert_eq!(net.reader(0).asking().unwrap()[0].name, "ben (new key)");
    let newcomer = net.id(2);
    assert_eq!(
        change(&mut net, 0, newcomer, ContactChange::Accept),
        Err(Failure::Name)
    );
    change(&mut net, 0, newcomer, ContactChange::Rename("benno".into())).unwrap();
    change(&mut net, 0, newcomer, ContactChange::Accept).unwrap();
    assert_eq!(names_of(&net, 0), ["ben", "benno"]);
}

/// Somebody who asks by link under the name of a contact: what is for that name waits, too.
#[test]
fn a_request_under_a_known_name_is_a_question_as_well() {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    let link = net.invite_by_link(0);
    net.join_by_link(2, &link).unwrap();
    assert_eq!(try_send(&mut net, 0, "ben", "which?"), Err(Failure::KeyQuestion));
    assert_eq!(net.reader(0).relations().unwrap()[&net.id(1)], Relation::Held);
    let newcomer = net.id(2);
    change(&mut net, 0, newcomer, ContactChange::Refuse).unwrap();
    assert!(try_send(&mut net, 0, "ben", "you").is_ok());
}

/// A contact of long ago comes back under a name that is another's by now: the history with both is kept.
#[test]
fn a_former_contact_that_is_held_keeps_its_history() {
    for refused in [true, false] {
        let mut net = Net::new(&["anna", "ben", "ben"]);
        let code = net.invite(0);
        net.join(1, 0, code);
        net.send(0, "ben", &["long ago"]);
        let (former, other) = (net.id(1), net.id(2));
        change(&mut net, 0, former, ContactChange::Remove { purge: false }).unwrap();
        let code = net.invite(0);
        net.join(2, 0, code);
        net.send(0, "ben", &["since then"]);
        let code = net.invite(0);
        net.join(1, 0, code);
        assert_eq!(person(&net, 0, 1).unwrap().standing, Standing::Held);
        let decision = if refused {
            ContactChange::Refuse
        } else {
            ContactChange::Replace
        };
        change(&mut net, 0, former, decision).unwrap();
        assert_eq!(net.texts(0, true), ["long ago", "since then"]);
        let live = if refused { other } else { former };
        let chat = net.reader(0).find_chat("ben").unwrap();
        assert_eq!(chat.members, [live]);
    }
}

/// The mark is told from the name, also where the name looks like one.
#[test]
fn a_name_that_ends_in_the_mark_is_told_as_it_was_claimed() {
    let mut net = Net::new(&["anna", "(new key)", "(new key)"]);
    for newcomer in [1, 2] {
        let code = net.invite(0);
        net.join(newcomer, 0, code);
    }
    let told = |event: &Event| {
        matches!(event, Event::Held { name, claimed, .. }
            if name == "(new key) (new key)" && claimed == "(new key)")
    };
    assert!(net.peers[0].events.iter().any(told));
}

/// The rule for names is one: by link as by code, the user's own is taken, and nobody is held for it.
#[test]
fn who_has_the_users_own_name_is_shown_under_another_by_code_and_by_link() {
    let mut net = Net::new(&["anna", "Anna", "Anna"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    let link = net.invite_by_link(0);
    net.join_by_link(2, &link).unwrap();
    let shown = |at| format!("Anna {}", net.id(at).short());
    let (met, asking) = (shown(1), shown(2));
    assert_eq!(net.reader(0).asking().unwrap()[0].name, asking);
    assert_eq!(names_of(&net, 0), [met]);
    let requester = net.id(2);
    change(&mut net, 0, requester, ContactChange::Accept).unwrap();
    assert!(names_of(&net, 0).contains(&asking));
}
