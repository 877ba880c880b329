//! Floods, replays and what survives them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::lan::advert::Claim;

const BEN: PeerId = PeerId([2; 32]);

fn address(n: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + n), 1))
}

fn advert(n: u32) -> UnverifiedAdvert {
    UnverifiedAdvert {
        instance: format!("i{n}"),
        token: Some([0; 16]),
        claim: None,
        shown: None,
        link_tokens: Vec::new(),
        addresses: vec![address(n)],
    }
}

fn claim(n: u32, nameplate: u16) -> UnverifiedAdvert {
    let peer = PeerId([u8::try_from(n % 251).unwrap(); 32]);
    UnverifiedAdvert {
        claim: Some(Claim {
            nameplate: Nameplate::try_from(nameplate).unwrap(),
            peer,
        }),
        ..advert(n)
    }
}

fn directory(looking_for: Option<Nameplate>) -> Directory {
    Directory {
        known: [(BEN, Some(LanKey([2; 32])))].into(),
        looking_for,
        ..Directory::new(LanKey([1; 32]))
    }
}

#[test]
fn a_flood_of_strangers_keeps_the_bound_and_the_contact() {
    let mut table = Table::default();
    assert!(table.record(advert(0), Some(BEN)));
    for n in 1..60_000 {
        table.record(advert(n), None);
        assert!(table.entries.len() <= ENTRIES);
    }
    assert_eq!(table.addresses_of(BEN), [address(0)]);
}

#[test]
fn a_contact_is_taken_in_by_a_full_table() {
    let mut table = Table::default();
    for n in 1..1_000 {
        table.record(advert(n), None);
    }
    assert!(table.record(advert(0), Some(BEN)));
    assert_eq!(table.addresses_of(BEN), [address(0)]);
}

fn advert_of(n: u32, token: u8, addresses: &[u32]) -> UnverifiedAdvert {
    UnverifiedAdvert {
        token: Some([token; 16]),
        addresses: addresses.iter().copied().map(address).collect(),
        ..advert(n)
    }
}

#[test]
fn a_replayed_token_holds_eight_entries_and_leaves_the_genuine_one_in_front() {
    let mut table = Table::default();
    assert!(table.record(advert_of(0, 1, &[0]), Some(BEN)));
    for n in 1..1_000 {
        let many: Vec<_> = (0..8).map(|i| 8 * n + i).collect();
        table.record(advert_of(n, 1, &many), Some(BEN));
    }
    assert_eq!(table.entries.len(), PER_CONTACT);
    assert_eq!(table.addresses_of(BEN).first(), Some(&address(0)));
    // A changed record of the same instance is still the first of its token.
    assert!(table.record(advert_of(0, 1, &[1, 2]), Some(BEN)));
    assert_eq!(table.addresses_of(BEN).first(), Some(&address(1)));
}

#[test]
fn the_newest_token_is_tried_first_and_each_advert_in_its_turn() {
    let mut table = Table::default();
    table.record(advert_of(1, 1, &[10, 11, 12]), Some(BEN));
    table.record(advert_of(2, 2, &[20, 21]), Some(BEN));
    table.record(advert_of(3, 2, &[30, 31]), Some(BEN));
    let expected = [20, 10, 30, 21, 11, 31, 12].map(address);
    assert_eq!(table.addresses_of(BEN), expected);
}

#[test]
fn tokens_that_were_all_genuine_once_make_room_for_the_newest() {
    let mut table = Table::default();
    for n in 0..20 {
        table.record(advert_of(n, u8::try_from(n).unwrap(), &[n]), Some(BEN));
    }
    assert_eq!(table.entries.len(), PER_CONTACT);
    assert_eq!(table.addresses_of(BEN).first(), Some(&address(19)));
}

#[test]
fn the_nameplate_that_is_looked_for_outlives_a_flood() {
    let mut table = Table::default();
    table.judge(&directory(Some(Nameplate::try_from(4).unwrap())));
    table.record(claim(7, 4), None);
    for n in 1_000..2_000 {
        table.record(claim(n, 5), None);
    }
    assert_eq!(
        table.claimants(Nameplate::try_from(4).unwrap()),
        BTreeSet::from([PeerId([7; 32])])
    );
    assert_eq!(table.addresses_of(PeerId([7; 32])).first(), Some(&address(7)));
}

#[test]
fn a_token_is_recognised_when_its_card_comes_later() {
    let mut table = Table::default();
    let token = LanKey([2; 32]).token([3; 8]);
    table.record(
        UnverifiedAdvert {
            token: Some(token),
            ..advert(1)
        },
        None,
    );
    table.record(
        UnverifiedAdvert {
            token: Some(LanKey([9; 32]).token([3; 8])),
            ..advert(2)
        },
        None,
    );
    assert_eq!(table.addresses_of(BEN), []);
    assert_eq!(table.judge(&directory(None)), BTreeSet::from([BEN]));
    assert_eq!(table.addresses_of(BEN), [address(1)]);
    assert_eq!(
        table.judge(&directory(None)),
        BTreeSet::new(),
        "only what is new is reported"
    );
}

#[test]
fn only_news_are_news() {
    let mut table = Table::default();
    assert!(table.record(advert(1), None));
    assert!(!table.record(advert(1), None));
    assert!(table.record(
        UnverifiedAdvert {
            addresses: vec![address(9)],
            ..advert(1)
        },
        None
    ));
    table.withdraw("i1", Duration::ZERO);
    assert!(table.record(advert(1), None));
}

#[test]
fn a_withdrawn_advert_is_dialled_for_a_while_but_frees_its_nameplate() {
    let mut table = Table::default();
    table.record(claim(7, 4), None);
    assert_eq!(
        table.nameplates(),
        BTreeSet::from([Nameplate::try_from(4).unwrap()])
    );
    table.withdraw("i7", Duration::from_secs(1));
    assert_eq!(table.nameplates(), BTreeSet::new());
    table.expire(Duration::from_secs(30));
    assert_eq!(table.addresses_of(PeerId([7; 32])), [address(7)]);
    table.expire(Duration::from_secs(31));
    assert_eq!(table.addresses_of(PeerId([7; 32])), []);
}

#[test]
fn what_a_new_browser_does_not_hear_of_is_forgotten_in_the_end() {
    let (mut table, nameplate) = (Table::default(), Nameplate::try_from(4).unwrap());
    table.record(claim(7, 4), None);
    table.record(claim(8, 4), None);
    table.doubt(Duration::from_secs(1));
    assert_eq!(
        table.nameplates(),
        BTreeSet::from([nameplate]),
        "most are still there"
    );
    assert!(!table.record(claim(7, 4), None), "being there still is no news");
    table.expire(Duration::from_secs(6));
    assert_eq!(
        table.nameplates(),
        BTreeSet::from([nameplate]),
        "one of two was heard again"
    );
    table.withdraw("i7", Duration::from_secs(110));
    assert_eq!(
        table.nameplates(),
        BTreeSet::new(),
        "the other one is most likely gone"
    );
    assert!(table.record(claim(7, 4), None));
    table.expire(Duration::from_secs(120));
    assert_eq!(table.claimants(nameplate).len(), 2);
    table.doubt(Duration::from_secs(120));
    table.expire(Duration::from_secs(121));
    assert_eq!(table.claimants(nameplate), BTreeSet::from([PeerId([7; 32])]));
}

#[test]
fn the_newest_advert_says_whether_a_contact_is_there() {
    let mut table = Table::default();
    let with = |n: u32, nonce: u8| UnverifiedAdvert {
        token: Some([nonce; 16]),
        ..advert(n)
    };
    assert!(table.seen().is_empty());
    table.record(with(1, 1), Some(BEN));
    assert_eq!(table.seen(), BTreeSet::from([BEN]));
    // Ben was killed, began anew and left in order.
    table.record(with(2, 2), Some(BEN));
    table.withdraw("i2", Duration::ZERO);
    assert!(table.seen().is_empty());
    // Somebody replays what he said.
    table.record(with(3, 2), Some(BEN));
    assert!(table.seen().is_empty());
    table.record(with(4, 4), Some(BEN));
    assert_eq!(table.seen(), BTreeSet::from([BEN]));
}
