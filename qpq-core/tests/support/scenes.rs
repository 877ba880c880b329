//! Valid frames of a real peer that never arrived, and the engine that waits for them.
#![allow(dead_code, reason = "shared by several test files, each of which uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

use qpq_core::{
    card::{Card, LanKey},
    delivery::{Range, Ranges},
    engine::Purpose,
    invite::{ChannelBinding, Ends, Link, Prover},
    wire::{App, AppAck, CardUpdate, Frame, Head, Kind, PairStart, StreamRanges, Want},
};

use crate::{bench::Bench, net::Net};

/// A contact of peer 0 (peer 1), and what it is going to say.
pub(crate) struct Talk {
    pub(crate) bench: Bench,
    /// Said at the beginning of each link already.
    pub(crate) head: Head,
    pub(crate) app: App,
    pub(crate) ack: AppAck,
    pub(crate) want: Want,
    pub(crate) card: CardUpdate,
}

/// Anna is on the bench; Ben, a contact, wrote one message, and got one.
pub(crate) fn talk() -> Talk {
    let mut net = Net::pair();
    net.cut();
    net.connect(1, 0, Purpose::Peer);
    net.run();
    let Some(Frame::Head(head)) = net.sent(1, Kind::Head).pop() else {
        panic!("a Head")
    };
    lose(&mut net, 1, &[Kind::App, Kind::AppAck]);
    net.send(0, "ben", &["to ben"]);
    net.send(1, "anna", &["to anna"]);
    let (Some(Frame::App(app)), Some(Frame::AppAck(ack))) =
        (net.sent(1, Kind::App).pop(), net.sent(1, Kind::AppAck).pop())
    else {
        panic!("a message and an acknowledgement")
    };
    let want = Want {
        group: app.group,
        stream: StreamRanges {
            ranges: Ranges::new(vec![Range { first: 1, last: 1 }]).unwrap(),
            ..ack.stream
        },
    };
    let card = Card {
        member: net.id(1),
        audience: net.id(0),
        version: 7,
        endpoint: net.id(1),
        lan_key: LanKey([77; 32]),
    };
    let card = CardUpdate {
        card: Some(card.sign(&net.identity(1))),
        seen: 1,
    };
    let opening = vec![Frame::Head(head.clone()).encode()];
    Talk {
        bench: Bench::new(net, 0, 1, Purpose::Peer, opening),
        head,
        app,
        ack,
        want,
        card,
    }
}

/// A bench, and the one frame that it waits for.
pub(crate) struct Scene {
    pub(crate) bench: Bench,
    pub(crate) valid: Frame,
}

/// Ben has lost the state of his group with Anna, and says so.
pub(crate) fn not_member() -> Scene {
    let mut net = Net::pair();
    lose(&mut net, 1, &[Kind::NotMember]);
    net.lose_groups(1);
    net.log.clear();
    net.connect(1, 0, Purpose::Peer);
    net.run();
    let valid = net.sent(1, Kind::NotMember).pop().unwrap();
    Scene {
        bench: Bench::new(net, 0, 1, Purpose::Peer, vec![]),
        valid,
    }
}

/// Whoever has the larger id has lost its state, and waits for the Welcome into a new group.
pub(crate) fn welcome() -> Scene {
    let mut net = Net::pair();
    let (waits, makes) = if net.id(0) > net.id(1) { (0, 1) } else { (1, 0) };
    lose(&mut net, makes, &[Kind::Welcome]);
    net.lose_groups(waits);
    net.log.clear();
    net.connect(waits, makes, Purpose::Peer);
    net.run();
    let valid = net.sent(makes, Kind::Welcome).pop().unwrap();
    Scene {
        bench: Bench::new(net, waits, makes, Purpose::Peer, vec![]),
        valid,
    }
}

/// Ben has asked to be a contact, and waits for the answer.
pub(crate) fn contact_accept() -> Scene {
    let mut net = Net::new(&["anna", "ben"]);
    lose(&mut net, 0, &[Kind::ContactAccept, Kind::Head]);
    let code = net.invite(0);
    net.join(1, 0, code);
    let valid = net.sent(0, Kind::ContactAccept).pop().unwrap();
    Scene {
        bench: Bench::new(net, 1, 0, Purpose::Peer, vec![]),
        valid,
    }
}

/// Somebody proved to have Anna's link, and asks to be a contact.
pub(crate) fn contact_request() -> Scene {
    let mut net = Net::new(&["anna", "ben"]);
    lose(&mut net, 1, &[Kind::ContactRequest]);
    let text = net.invite_by_link(0);
    net.join_by_link(1, &text).unwrap();
    let valid = net.sent(1, Kind::ContactRequest).pop().unwrap();
    let link: Link = text.parse().unwrap();
    let ends = Ends {
        inviter: net.id(0),
        joiner: net.id(1),
        channel: ChannelBinding([9; 32]),
    };
    let opening = vec![
        Frame::PairStart(PairStart::Link(link.id())).encode(),
        Frame::PairProof {
            mac: link.keys().proof(Prover::Joiner, &ends),
        }
        .encode(),
    ];
    Scene {
        bench: Bench::new(net, 0, 1, Purpose::Pair, opening),
        valid,
    }
}

/// What the signature of a Head covers, as schemas/peer.capnp says it.
pub(crate) fn head_bytes(head: &Head) -> Vec<Vec<u8>> {
    let mut first = [&head.group.0[..], &head.epoch_id.0, &head.member.0].concat();
    first.extend(head.streams.iter().flat_map(stream_bytes));
    let opened = head.opened.iter();
    let second: Vec<u8> = opened
        .flat_map(|(member, count)| [&member.0[..], &count.to_be_bytes()].concat())
        .collect();
    let parts = [first, second];
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// A stream within what is signed: member 16 | stream 8 | number of ranges 8 | for each range: first 8 | last 8.
pub(crate) fn stream_bytes(one: &StreamRanges) -> Vec<u8> {
    let ranges = one.ranges.as_slice();
    let count = u64::try_from(ranges.len()).unwrap().to_be_bytes();
    let mut bytes = [&one.member.0[..], &one.stream.0, &count].concat();
    for range in ranges {
        bytes.extend([range.first.to_be_bytes(), range.last.to_be_bytes()].concat());
    }
    bytes
}

/// Frames of these kinds from a peer are lost.
fn lose(net: &mut Net, from: usize, kinds: &'static [Kind]) {
    net.lossy = Box::new(move |sender, _, bytes| {
        sender == from && Frame::decode(bytes).is_ok_and(|frame| kinds.contains(&frame.kind()))
    });
}
