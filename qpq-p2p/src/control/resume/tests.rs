//! What is shown and asked again when owners change.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use super::*;
use crate::{
    event::{DeliveryState, Message, Nearby, OwnerKind, Time},
    request::{Decision, Read, Text},
};

fn message(n: u8) -> Event {
    Event::Message(Message {
        id: MessageId([n; 16]),
        chat: "ben".into(),
        from: "ben".into(),
        from_id: PeerId([2; 32]),
        verified: true,
        time: Time(0),
        seq: n.into(),
        text: n.to_string(),
        own: false,
        arrival_time: false,
        late: false,
        notice: false,
    })
}

fn sent(n: u8) -> Event {
    Event::Sent {
        id: MessageId([n; 16]),
        chat: "ben".into(),
        state: DeliveryState::Here,
        recipients: vec![],
    }
}

/// What of these events is shown, and how many are taken.
async fn hand(course: &mut Course, events: Vec<Event>) -> (Vec<Event>, usize) {
    let mut shown = Vec::new();
    let (taken, _) = Onward::new(&mut shown, course).put_page(events).await;
    (shown, taken)
}

fn listen(count: Option<u64>) -> Course {
    Course::new(Request::Listen {
        chat: None,
        count,
        patience: None,
        after: None,
    })
}

#[tokio::test]
async fn a_page_that_was_shown_and_not_marked_is_taken_again_and_not_shown() {
    let mut course = listen(None);
    let page = || vec![message(1), message(2)];
    assert_eq!(hand(&mut course, page()).await, (page(), 2));
    course.broke().unwrap();
    let Request::Listen { after, .. } = course.request() else {
        panic!("another request")
    };
    assert_eq!(after.map(|shown| shown.id), Some(MessageId([2; 16])));
    let again = hand(&mut course, vec![message(1), message(2), message(3)]).await;
    assert_eq!(again, (vec![message(3)], 3));
    course.broke().unwrap();
    assert_eq!(
        hand(&mut course, vec![message(3), message(4)]).await,
        (vec![message(4)], 2)
    );
    // An id that comes a third time is another message: the same author may use it in two chats.
    assert_eq!(hand(&mut course, vec![message(3)]).await, (vec![message(3)], 1));
}

#[tokio::test]
async fn listen_counts_what_was_shown_under_all_owners() {
    let mut course = listen(Some(3));
    assert_eq!(hand(&mut course, vec![message(1), message(2)]).await.1, 2);
    assert!(!course.is_done());
    course.broke().unwrap();
    let (shown, taken) = hand(&mut course, (1..=5).map(message).collect()).await;
    assert_eq!((shown, taken), (vec![message(3)], 3), "the others stay unread");
    assert!(course.is_done());
    let outcome = course.conclude(Err(Failure::interrupted()));
    assert_eq!(outcome, Ok(()));
    // Whoever asks for no more is told so.
    Onward::new(&mut Vec::new(), &mut course).closed().await;
}

#[tokio::test]
async fn log_goes_on_behind_the_message_that_was_shown_last() {
    let mut course = Course::new(Request::Read(Read::Log {
        chat: None,
        last: None,
        since: None,
        grep: None,
    }));
    hand(&mut course, vec![message(1), message(2)]).await;
    course.broke().unwrap();
    assert!(course.conclude(Ok(())).is_err(), "the rest is missing");
    let (shown, taken) = hand(&mut course, (1..=4).map(message).collect()).await;
    assert_eq!((shown, taken), (vec![message(3), message(4)], 4));
    assert_eq!(course.conclude(Ok(())), Ok(()));
}

#[tokio::test]
async fn send_and_track_ask_for_what_was_not_told() {
    let texts = vec![
        Text {
            id: MessageId([1; 16]),
            text: "hi".into(),
        };
        1
    ];
    let chat = || "ben".to_owned();
    let mut course = Course::new(Request::Send { chat: chat(), texts });
    hand(&mut course, vec![sent(1)]).await;
    course.broke().unwrap();
    assert_eq!(hand(&mut course, vec![sent(1)]).await, (vec![], 1));

    let mut course = Course::new(Request::Track {
        chat: chat(),
        ids: vec![MessageId([1; 16]), MessageId([2; 16])],
        patience: Duration::from_secs(10),
    });
    hand(&mut course, vec![sent(1)]).await;
    course.broke().unwrap();
    let Request::Track { ids, patience, .. } = course.request() else {
        panic!("another request")
    };
    assert_eq!(ids, [MessageId([2; 16])]);
    assert!(patience < Duration::from_secs(10));
    assert!(!course.is_done());
    hand(&mut course, vec![sent(2)]).await;
    assert!(course.is_done());
}

#[tokio::test]
async fn an_invite_keeps_its_code_and_its_guesses_and_tells_it_once() {
    let mut course = Course::new(Request::Invite {
        lifetime: Duration::from_secs(60),
        patience: None,
        reopened: None,
    });
    let told = || Event::Invite {
        code: Some("4-otter-violin".into()),
        link: None,
        expires: Time(0),
    };
    assert_eq!(hand(&mut course, vec![told()]).await.0.len(), 1);
    hand(&mut course, vec![Event::GuessFailed { left: 2 }]).await;
    course.broke().unwrap();
    let Request::Invite {
        reopened: Some(reopened),
        ..
    } = course.request()
    else {
        panic!("another request")
    };
    assert_eq!(
        (reopened.code.to_string().as_str(), reopened.guesses_left),
        ("4-otter-violin", 2)
    );
    assert_eq!(hand(&mut course, vec![told()]).await, (vec![], 1));
}

#[tokio::test]
async fn what_was_half_told_and_is_no_list_is_not_told_again() {
    let mut course = Course::new(Request::Read(Read::WhoAmI));
    course.broke().unwrap();
    let identity = Event::Identity {
        name: "anna".into(),
        id: PeerId([1; 32]),
    };
    hand(&mut course, vec![identity]).await;
    assert_eq!(course.broke().unwrap_err().code.exit(), 1);
    let mut course = Course::new(Request::Stay);
    let ready = || Event::Ready {
        id: PeerId([1; 32]),
        pid: 1,
        owner: OwnerKind::Daemon,
    };
    assert_eq!(hand(&mut course, vec![ready()]).await.0.len(), 1);
    course.broke().unwrap();
    assert_eq!(hand(&mut course, vec![ready()]).await, (vec![], 1));
}

#[tokio::test]
async fn what_says_that_it_was_done_is_done_whatever_becomes_of_the_owner() {
    let who = || "ben".to_owned();
    let id = LinkId([7; 8]);
    for request in [
        Request::Contact {
            who: who(),
            decision: Decision::Refuse,
        },
        Request::Verify {
            who: who(),
            number: "1".repeat(60),
        },
        Request::InviteLink {
            lifetime: Duration::from_secs(60),
        },
        Request::CancelLink { id },
    ] {
        let mut course = Course::new(request.clone());
        assert!(!course.is_done());
        assert_eq!(course.broke().unwrap_err().code.exit(), 1, "{request:?}");
        hand(&mut course, vec![Event::LinkCancelled { id }]).await;
        assert!(course.is_done(), "{request:?}");
    }
}

#[tokio::test]
async fn people_are_told_of_once_whoever_owns_the_profile() {
    let (name, id) = (|| "ben".to_owned(), PeerId([2; 32]));
    let request = || Event::Request { name: name(), id };
    let nearby = |id: Option<PeerId>| {
        Event::Nearby(Nearby {
            name: None,
            id,
            contact: false,
            addresses: vec![([10, 0, 0, 7], 4_711).into()],
        })
    };
    let all = || {
        let held = Event::Held { name: name(), id };
        vec![request(), held, nearby(Some(id)), nearby(None)]
    };
    let mut course = listen(None);
    assert_eq!(hand(&mut course, all()).await, (all(), 4));
    for _ in 0..2 {
        course.broke().unwrap();
        assert_eq!(hand(&mut course, all()).await, (vec![], 4));
    }
    // Under the same owner it is another request.
    assert_eq!(hand(&mut course, vec![request()]).await.0, vec![request()]);
    let dropped = || Event::RequestDropped { name: name(), id };
    assert_eq!(hand(&mut course, vec![dropped()]).await.0, vec![dropped()]);
    course.broke().unwrap();
    assert_eq!(
        hand(&mut course, vec![request(), dropped()]).await.0,
        vec![request(), dropped()]
    );
}
