//! What a node knows about the way to a contact, from the first record to the last.

use super::*;

#[tokio::test]
async fn the_way_to_a_contact_is_known_while_it_stands_and_after_its_end() {
    let port = free_port();
    let anna = Player::start(1, port, directory(1, &[2])).await;
    anna.sees(id_of(2), |way| *way == Way::default()).await;
    let ben = Player::start(2, port, directory(2, &[1])).await;
    let is_near = |way: &Way| {
        let link = way.link.as_ref();
        link.is_some_and(|link| link.path == PathKind::Lan && link.rtt < Duration::from_secs(1))
    };
    anna.sees(id_of(2), is_near).await;
    ben.sees(id_of(1), is_near).await;
    // Ben says Bye and withdraws his record: he is not there, and nobody is to blame.
    ben.end().await;
    anna.sees(id_of(2), |way| *way == Way::default()).await;
    anna.end().await;
}

#[tokio::test]
async fn who_closes_the_door_is_told_from_who_does_not_answer() {
    let port = free_port();
    // Anna has removed Ben.
    let anna = Player::start(1, port, directory(1, &[])).await;
    let ben = Player::start(2, port, directory(2, &[1])).await;
    ben.sees(id_of(1), |way| way.seen && way.last_try == LastTry::Closed)
        .await;
    assert_eq!(ben.way_to(id_of(1)).await.unwrap().link, None);
    // She takes him back.
    anna.wants(Output::Directory(directory(1, &[2])));
    ben.sees(id_of(1), |way| way.link.is_some()).await;
    anna.end().await;
    ben.end().await;
}

#[tokio::test]
async fn who_lets_strangers_in_and_ends_the_link_before_a_word_closes_it() {
    let port = free_port();
    // Anna has removed Ben, and an invite of hers is open: her engine is asked what he is.
    let inviting = Directory {
        inviting: Some(Nameplate::try_from(1).unwrap()),
        ..directory(1, &[])
    };
    let mut anna = Player::start(1, port, inviting).await;
    let ben = Player::start(2, port, directory(2, &[1])).await;
    let Met { session, .. } = anna.connected().await;
    anna.wants(Output::Close { session });
    ben.sees(id_of(1), |way| way.last_try == LastTry::Closed).await;
    anna.end().await;
    ben.end().await;
}

#[tokio::test]
async fn whose_record_is_there_and_whose_socket_is_not_does_not_answer() {
    let port = free_port();
    let ben = Player::start(2, port, directory(2, &[1])).await;
    // Anna's record names a port at which nobody is.
    let nobody = free_port();
    let responder = lan::tests::announced(port, nobody, &LanKey([1; 32]));
    ben.sees(id_of(1), |way| way.seen && way.last_try == LastTry::NoAnswer)
        .await;
    responder.shutdown().unwrap();
    ben.end().await;
}
