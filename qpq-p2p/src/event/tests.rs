//! The JSON contract, line by line.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::failure::FailureCode;

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
        delivered: own,
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
            code: "4-otter-violin".into(),
            expires: Time(1_700_000_000_000)
        }),
        r#"{"v":1,"type":"invite","code":"4-otter-violin","expires":"2023-11-14T22:13:20.000Z"}"#
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
    let recipient = |state, reason| Recipient {
        name: "ben".into(),
        id: BEN,
        state,
        reason,
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
        vec![recipient(DeliveryState::Here, Some("away".into()))],
    ));
    assert!(away.ends_with(r#""state":"here","reason":"away"}]}"#), "{away}");
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
