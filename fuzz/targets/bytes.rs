//! Bytes from the network, before anything is known about their sender.

use qpq_core::{
    card::UnverifiedCard,
    content::{Body, Content, GroupData, MAX_TEXT},
    identity::{Context, Identity},
    secret::Secret,
    wire::{self, Frame, FrameError, HEADER, LinkFrame, MAX_WORDS},
};

/// Header and content of a frame: a header that is out of bounds is refused before anything is allocated, what is
/// read says the same when it is written again, and the link layer tells the same frames from the engine's.
pub(super) fn frame(input: &[u8]) {
    if let Some(header) = input.first_chunk::<HEADER>()
        && let Ok(body) = wire::body_len(header)
    {
        assert!(body > 0 && body <= 8 * usize::try_from(MAX_WORDS).unwrap() && body.is_multiple_of(8));
    }
    // Also with a header that fits, or most inputs would end there.
    let body = input.get(HEADER..).unwrap_or_default();
    let words = u32::try_from(body.len() / 8).unwrap();
    let fitting = [&[0; 4][..], &words.to_le_bytes(), &body[..body.len() / 8 * 8]].concat();
    for bytes in [input, &fitting] {
        let link = wire::link_frame(bytes);
        match Frame::decode(bytes) {
            Ok(frame) => {
                assert!(Frame::decode(&frame.encode()).unwrap() == frame);
                let own = matches!(
                    frame,
                    Frame::Hello(_) | Frame::Bye(_) | Frame::Ping(_) | Frame::Pong(_)
                );
                assert_eq!(link.unwrap() == LinkFrame::Other, !own);
            }
            Err(FrameError::Unknown) => _ = link,
            // The content is the engine's to judge.
            Err(_) => assert!(link.is_err() || link.unwrap() == LinkFrame::Other),
        }
    }
}

/// A card whose signature holds, whatever it says: only what its member says of itself, for its reader, is believed.
pub(super) fn card(input: &[u8]) {
    let ben = Identity::from_seed(&Secret::new([2; 32]));
    let anna = Identity::from_seed(&Secret::new([1; 32])).peer_id();
    let card = UnverifiedCard {
        body: input.to_vec(),
        signature: ben.sign(Context::Card, &[input]),
    };
    assert!(card.verify(&anna, &ben.peer_id()).is_err());
    if let Ok(read) = card.verify(&ben.peer_id(), &anna) {
        assert!(read.member == ben.peer_id() && read.audience == anna);
        assert!(i64::try_from(read.version).is_ok());
    }
}

/// What a member encrypted, and what all members of a group agree on.
pub(super) fn content(input: &[u8]) {
    if let Ok(content) = Content::decode(input) {
        match content.body {
            Body::Text(text) => assert!(!text.is_empty() && text.len() <= MAX_TEXT),
            Body::Later(bytes) => assert_eq!(bytes, input),
        }
    }
    if let Ok(data) = GroupData::decode(input) {
        assert!(GroupData::decode(&data.encode()).unwrap() == data);
    }
}
