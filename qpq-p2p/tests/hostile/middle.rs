//! A man in the middle: the joiner and the inviter see only him, and he passes every frame on.

use std::sync::{Arc, Mutex};

use iroh::endpoint::{RecvStream, SendStream};
use qpq_core::wire::{Frame, Kind};

use crate::{
    assert_knows_nobody,
    enemy::{Forger, Stranger, next_frame},
    id,
    people::{Person, code_of, free_port, object, text},
    soon,
};

type Passed = Arc<Mutex<Vec<Kind>>>;

/// Passes frames on until either end is done.
async fn pass_on(mut from: RecvStream, mut to: SendStream, passed: Passed) {
    while let Some(frame) = next_frame(&mut from).await {
        if let Ok(frame) = Frame::decode(&frame) {
            passed.lock().unwrap().push(frame.kind());
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
    let _ = to.finish();
    let _ = to.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_relays_a_pairing_between_two_others_fails_at_both() {
    // Two networks: nobody sees the other but by the one who is on both.
    let (anna, ben) = (Person::new("anna", free_port()), Person::new("ben", free_port()));
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    let nameplate = code.split_once('-').unwrap().0;
    let (annas, bens) = (Forger::on(anna.mdns_port), Forger::on(ben.mdns_port));
    let record = annas
        .find(|service| service.get_property_val_str("n") == Some(nameplate))
        .await;
    let middle = Stranger::new().await;
    bens.claim(nameplate, middle.id, middle.port());

    let join = ben.start(&["join", &code, "--json", "--timeout", "30s"]);
    let dialed = soon("ben's dial", middle.accept()).await.unwrap();
    let dials = middle.dial(id(&anna), record.get_port()).await.unwrap();
    let (to_ben, from_ben) = soon("ben's stream", dialed.accept_bi()).await.unwrap();
    let (to_anna, from_anna) = dials.open_bi().await.unwrap();
    let (up, down) = (Passed::default(), Passed::default());
    let relayed = async {
        tokio::join!(
            pass_on(from_ben, to_anna, Arc::clone(&up)),
            pass_on(from_anna, to_ben, Arc::clone(&down)),
        )
    };
    soon("the end of the pairing", relayed).await;
    dialed.close(0_u32.into(), b"");

    let output = tokio::task::spawn_blocking(move || join.output()).await.unwrap();
    let error = object(std::str::from_utf8(&output.stderr).unwrap());
    assert_eq!(error["code"], "wrong_code");
    assert_eq!(text(output, 5), "");
    let failed = object(&invite.line());
    assert_eq!(
        (&failed["type"], &failed["left"]),
        (&"guess_failed".into(), &2.into())
    );
    // He did pass on all that there was to see.
    assert_eq!(
        *up.lock().unwrap(),
        [Kind::Hello, Kind::PairStart, Kind::PairProof]
    );
    assert_eq!(
        *down.lock().unwrap(),
        [Kind::Hello, Kind::PairReply, Kind::PairRefused]
    );
    invite.kill();
    assert_knows_nobody(&anna);
    assert_knows_nobody(&ben);
}
