//! The JSON contract, line by line.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use qpq_core::delivery::Delivery;

use crate::failure::{Failure, FailureCode};

const BEN: PeerId = PeerId([0; 32]);
const BEN_TEXT: &str = "0000000000000000000000000000000000000000000000000000";

fn line(event: &Event) -> String {
    serde_json::to_string(&EventLine::from(event)).unwrap()
}

fn stored(sent_at: i64, stored_at: i64, own: bool) -> qpq_core::store::read::Message {
    qpq_core::store::read::Message {
        row: 7,
        id: MessageId([0; 16]),
        chat: "ben".into(),
        from: BEN,
        from_name: "ben".into(),
        own,
        verified: true,
        seq: 3,
        text: "hi".into(),
        sent_at,
        stored_at,
        late: false,
        state: own.then_some(Delivery::Delivered),
        notice: None,
    }
}

#[test]
fn links_and_requests_have_their_fields_in_order() {
    let link = |used_by: Option<PeerId>| Event::Link {
        id: LinkId([0xff; 8]),
        expires: Time(1_700_000_000_000),
        used_by,
        used_by_name: used_by.map(|_| "ben".into()),
        refused: 2,
    };
    assert_eq!(
        line(&link(None)),
        r#"{"v":1,"type":"link","id":"zzzzzzzzzzzzy","expires":"2023-11-14T22:13:20.000Z","refused":2}"#
    );
    assert_eq!(
        line(&link(Some(BEN))),
        format!(
            r#"{{"v":1,"type":"link","id":"zzzzzzzzzzzzy","expires":"2023-11-14T22:13:20.000Z","used_by":"{BEN_TEXT}","used_by_name":"ben","refused":2}}"#
        )
    );
    assert_eq!(
        line(&Event::LinkCancelled {
            id: LinkId([0xff; 8])
        }),
        r#"{"v":1,"type":"link_cancelled","id":"zzzzzzzzzzzzy"}"#
    );
    let (name, id) = (String::from("ben"), BEN);
    for (event, kind) in [
        (
            Event::Asked {
                name: name.clone(),
                id,
            },
            "asked",
        ),
        (
            Event::Request {
                name: name.clone(),
                id,
            },
            "request",
        ),
        (
            Event::Refused {
                name: name.clone(),
                id,
            },
            "refused",
        ),
        (Event::RequestDropped { name, id }, "request_dropped"),
    ] {
        let expected = format!(r#"{{"v":1,"type":"{kind}","name":"ben","id":"{BEN_TEXT}"}}"#);
        assert_eq!(line(&event), expected);
    }
}

#[test]
fn identity_invite_and_joined_have_their_fields_in_order() {
    assert_eq!(
        line(&Event::Identity {
            name: "ben".into(),
            id: BEN
        }),
        format!(r#"{{"v":1,"type":"identity","name":"ben","id":"{BEN_TEXT}"}}"#)
    );
    assert_eq!(
        line(&Event::Invite {
            code: Some("4-otter-violin".into()),
            link: None,
            expires: Time(1_700_000_000_000)
        }),
        r#"{"v":1,"type":"invite","code":"4-otter-violin","expires":"2023-11-14T22:13:20.000Z"}"#
    );
    assert_eq!(
        line(&Event::Invite {
            code: Some("4-otter-violin".into()),
            link: Some("QPQ:06".into()),
            expires: Time(1_700_000_000_000)
        }),
        r#"{"v":1,"type":"invite","code":"4-otter-violin","link":"QPQ:06","expires":"2023-11-14T22:13:20.000Z"}"#
    );
    assert_eq!(
        line(&Event::Joined {
            name: "ben".into(),
            id: BEN,
            verified: true
        }),
        format!(r#"{{"v":1,"type":"joined","name":"ben","id":"{BEN_TEXT}","verified":true}}"#)
    );
    assert_eq!(
        line(&Event::GuessFailed { left: 2 }),
        r#"{"v":1,"type":"guess_failed","left":2}"#
    );
}

#[test]
fn sent_names_a_reason_only_where_there_is_one() {
    let recipient = |state, why: Option<Reason>| Recipient {
        name: "ben".into(),
        id: BEN,
        state,
        reason: why.map(|reason| reason.to_string()),
        reason_code: why,
    };
    let sent = |state, recipients| Event::Sent {
        id: MessageId([0; 16]),
        chat: "ben".into(),
        state,
        recipients,
    };
    assert_eq!(
        line(&sent(
            DeliveryState::Delivered,
            vec![recipient(DeliveryState::Delivered, None)]
        )),
        format!(
            r#"{{"v":1,"type":"sent","id":"00000000000000000000000000","chat":"ben","state":"delivered","recipients":[{{"name":"ben","id":"{BEN_TEXT}","state":"delivered"}}]}}"#
        )
    );
    let away = line(&sent(
        DeliveryState::Here,
        vec![recipient(DeliveryState::Here, Some(Reason::Away))],
    ));
    assert!(
        away.ends_with(r#""state":"here","reason":"away","reason_code":"away"}]}"#),
        "{away}"
    );
}

#[test]
fn message_says_own_only_for_own_ones() {
    let others = line(&Event::Message(
        stored(1_700_000_000_123, 1_700_000_000_500, false).into(),
    ));
    assert_eq!(
        others,
        format!(
            r#"{{"v":1,"type":"message","id":"00000000000000000000000000","chat":"ben","from":"ben","from_id":"{BEN_TEXT}","verified":true,"time":"2023-11-14T22:13:20.123Z","seq":3,"text":"hi"}}"#
        )
    );
    let own = line(&Event::Message(stored(0, 0, true).into()));
    assert!(own.ends_with(r#""text":"hi","own":true}"#), "{own}");
}

#[test]
fn an_authors_clock_is_believed_for_ten_minutes_only() {
    let tolerance = 600_000;
    for (sent, shown, arrival) in [
        (-tolerance, -tolerance, false),
        (-tolerance - 1, 0, true),
        (tolerance + 1, 0, true),
        (i64::MIN, 0, true),
    ] {
        let message = Message::from(stored(sent, 0, false));
        assert_eq!((message.time, message.arrival_time), (Time(shown), arrival));
    }
}

#[test]
fn a_time_beyond_the_calendar_is_the_nearest_one() {
    let json = |ms| serde_json::to_string(&Time(ms)).unwrap();
    assert!(json(i64::MAX).starts_with("\"9999-12-3"), "{}", json(i64::MAX));
    assert!(json(i64::MIN).starts_with("\"-009999-01-0"), "{}", json(i64::MIN));
}

#[test]
fn failures_carry_code_and_exit() {
    let failure = Failure::new(
        FailureCode::UnknownChat,
        "no chat bob",
        "nobody has this name",
        "qpq join CODE",
    );
    assert_eq!(
        serde_json::to_string(&FailureLine::from(&failure)).unwrap(),
        r#"{"v":1,"type":"error","code":"unknown_chat","exit":6,"what":"no chat bob","why":"nobody has this name","hint":"qpq join CODE"}"#
    );
}

#[test]
fn a_status_says_which_way_leads_to_whom_and_why_something_waits() {
    let linked = PeerStatus {
        name: "ben".into(),
        id: BEN,
        path: Path::Lan,
        rtt_ms: Some(2),
        reason: None,
        reason_code: None,
    };
    let gone = PeerStatus {
        path: Path::None,
        rtt_ms: None,
        reason: Some(Reason::Away.to_string()),
        reason_code: Some(Reason::Away),
        ..linked.clone()
    };
    let status = Status {
        ready: true,
        pid: Some(47),
        id: BEN,
        relays: [],
        peers: vec![linked, gone],
        outbox: vec![Queued {
            id: MessageId([0; 16]),
            chat: "ben".into(),
            waiting: vec![Waiting {
                name: "ben".into(),
                id: BEN,
                reason: Reason::Away.to_string(),
                reason_code: Reason::Away,
            }],
        }],
    };
    assert_eq!(
        line(&Event::Status(status)),
        format!(
            concat!(
                r#"{{"v":1,"type":"status","ready":true,"pid":47,"id":"{0}","relays":[],"peers":["#,
                r#"{{"name":"ben","id":"{0}","path":"lan","rtt_ms":2}},"#,
                r#"{{"name":"ben","id":"{0}","path":"none","reason":"away","reason_code":"away"}}],"#,
                r#""outbox":[{{"id":"00000000000000000000000000","chat":"ben","#,
                r#""waiting":[{{"name":"ben","id":"{0}","reason":"away","reason_code":"away"}}]}}]}}"#
            ),
            BEN_TEXT
        )
    );
}

#[test]
fn who_is_nearby_has_a_name_only_where_one_was_shown() {
    let unknown = Nearby {
        name: None,
        id: None,
        contact: false,
        addresses: vec![([10, 0, 0, 7], 4_711).into()],
    };
    assert_eq!(
        line(&Event::Nearby(unknown.clone())),
        r#"{"v":1,"type":"nearby","contact":false,"addresses":["10.0.0.7:4711"]}"#
    );
    let ben = Nearby {
        name: Some("ben".into()),
        id: Some(BEN),
        contact: true,
        ..unknown
    };
    assert_eq!(
        line(&Event::Nearby(ben)),
        format!(
            r#"{{"v":1,"type":"nearby","name":"ben","id":"{BEN_TEXT}","contact":true,"addresses":["10.0.0.7:4711"]}}"#
        )
    );
}

#[test]
fn an_event_is_read_back_as_it_was() {
    let recipient = Recipient {
        name: "ben".into(),
        id: BEN,
        state: DeliveryState::Here,
        reason: Some("away".into()),
        reason_code: Some(Reason::Away),
    };
    for event in [
        Event::Identity {
            name: "b\u{1b}\u{202e}en".into(),
            id: BEN,
        },
        Event::Invite {
            code: Some("4-otter-violin".into()),
            link: None,
            expires: Time(1_700_000_000_001),
        },
        Event::Sent {
            id: MessageId([7; 16]),
            chat: "ben".into(),
            state: DeliveryState::Here,
            recipients: vec![recipient],
        },
        Event::Message(stored(5, 5, true).into()),
        Event::Message(stored(i64::MAX, 5, false).into()),
        Event::Ready {
            id: BEN,
            pid: 1,
            owner: OwnerKind::Daemon,
        },
    ] {
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        assert!(!format!("{event:?}").contains("otter"));
    }
}
