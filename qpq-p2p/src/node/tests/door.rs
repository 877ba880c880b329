//! Who gets in while an invite is open.

use super::*;

#[tokio::test]
async fn a_crowd_of_strangers_is_turned_away_and_a_contact_is_not() {
    let inviting = Directory {
        inviting: Some(Nameplate::try_from(1).unwrap()),
        ..directory(1, &[2])
    };
    let mut anna = Player::start(1, free_port(), inviting).await;
    let addresses = anna.endpoint.bound_sockets();
    let knock = async |seed: u8| {
        let endpoint = endpoint::bind(&identity(seed), &Interfaces::Loopback)
            .await
            .unwrap();
        let own = Own {
            peer: id_of(seed),
            session: [seed; 8],
        };
        let connection = endpoint::dial(&endpoint, id_of(1), &addresses).await.unwrap();
        let opened = handshake::open(connection, own, Purpose::Pair, || Duration::ZERO).await;
        (endpoint, opened)
    };
    let mut crowd = Vec::new();
    for seed in 10..18 {
        let (endpoint, opened) = knock(seed).await;
        crowd.push((endpoint, opened.unwrap()));
        assert_eq!(anna.connected().await.peer, id_of(seed));
    }
    // The first says nothing: it makes room for one who does.
    for (_, link) in &mut crowd[1..] {
        link.send.write_all(&app_frame()).await.unwrap();
        assert!(matches!(anna.input().await, Input::Frame { .. }));
    }
    let (_endpoint, ninth) = knock(18).await;
    let mut ninth = ninth.unwrap();
    anna.disconnected().await;
    assert!(CloseCode::Busy.is_reason(&crowd[0].1.connection.closed().await));
    ninth.send.write_all(&app_frame()).await.unwrap();
    while !matches!(anna.input().await, Input::Frame { .. }) {}
    // Now all of them have said something: nobody makes room, but for a contact.
    let (_endpoint, tenth) = knock(19).await;
    assert!(matches!(tenth, Err(HandshakeError::Busy)), "{tenth:?}");
    let (_endpoint, contact) = knock(2).await;
    assert!(contact.is_ok());
    assert_eq!(anna.connected().await.peer, id_of(2));
    // One of the crowd leaves: there is a place again.
    let (_leaving, left) = crowd.pop().unwrap();
    CloseCode::Done.close(&left.connection);
    anna.disconnected().await;
    // The place is free a moment after the engine heard of it.
    let end = Instant::now() + Duration::from_secs(5);
    while let (_, Err(error)) = knock(20).await {
        assert!(Instant::now() < end, "the place was not given back: {error:?}");
    }
    anna.end().await;
}
