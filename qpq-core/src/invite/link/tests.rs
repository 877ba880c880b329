//! Links as bytes and as text: each has one form, and every other is refused.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::invite::{ChannelBinding, Ends};

fn link(address: Option<RelayAddress>) -> Link {
    let relay = address.map(|address| RelayHint {
        key: [0xB7; 32],
        address,
        port: 4433.try_into().unwrap(),
    });
    Link::from_parts(PeerId([0xA5; 32]), Secret::new([0x3C; 16]), relay)
}

fn name(name: &str) -> RelayAddress {
    RelayAddress::Name(name.try_into().unwrap())
}

/// One of each kind; the last is the longest there is.
fn all_kinds() -> [(&'static str, Link); 5] {
    [
        ("lan", link(None)),
        ("v4", link(Some(RelayAddress::V4([203, 0, 113, 10].into())))),
        (
            "v6",
            link(Some(RelayAddress::V6("2001:db8::10".parse().unwrap()))),
        ),
        ("name", link(Some(name("relay.example")))),
        ("longest", link(Some(name("a-relay-of-31-character.example")))),
    ]
}

fn vector(file: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("test_vectors/links")
        .join(file);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_kind_has_its_fixed_bytes_and_is_read_back() {
    for (kind, link) in all_kinds() {
        let fixed = vector(&format!("{kind}.txt"));
        assert_eq!(*link.to_text(), fixed.trim_end(), "{kind}");
        assert_eq!(fixed.parse(), Ok(link), "{kind}");
    }
}

#[test]
fn the_longest_has_119_bytes_and_the_shortest_54() {
    let [(_, shortest), .., (_, longest)] = all_kinds();
    assert_eq!((shortest.payload().len(), longest.payload().len()), (54, MAX_LEN));
    assert_eq!(longest.to_text().len(), PREFIX.len() + MAX_CHARS);
}

#[test]
fn every_flipped_bit_is_refused() {
    for (kind, link) in all_kinds() {
        let payload = link.payload();
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Link::from_payload(&flipped),
                Err(LinkError::Damaged),
                "{kind}, bit {bit}"
            );
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for (kind, link) in all_kinds() {
        let payload = link.payload();
        for len in 0..payload.len() {
            assert_eq!(
                Link::from_payload(&payload[..len]),
                Err(LinkError::Damaged),
                "{kind}, {len}"
            );
        }
        for byte in 0..=u8::MAX {
            let longer = [&payload[..], &[byte]].concat();
            assert_eq!(
                Link::from_payload(&longer),
                Err(LinkError::Damaged),
                "{kind}, {byte}"
            );
        }
    }
}

/// A payload with a check that holds, which no honest program makes.
fn forged(body: &[u8]) -> Vec<u8> {
    [body, &check(body)].concat()
}

#[test]
fn what_only_looks_like_a_link_is_refused_behind_a_check_that_holds() {
    let head = [&[VERSION][..], &[0xA5; 32], &[0x3C; 16]].concat();
    let body = |kind: u8, rest: &[u8]| forged(&[&head, &[kind][..], rest].concat());
    let relay = |address: &[u8], port: u16| [&[0xB7; 32][..], address, &port.to_be_bytes()].concat();
    for (payload, why) in [
        (body(0, &[0]), "no relay, and more"),
        (body(4, &relay(&[1, 2, 3], 1)), "three bytes of IPv4"),
        (body(4, &relay(&[1, 2, 3, 4, 5], 1)), "five bytes of IPv4"),
        (body(4, &relay(&[1, 2, 3, 4], 0)), "port 0"),
        (body(6, &relay(&[1; 15], 1)), "fifteen bytes of IPv6"),
        (body(b'n', &relay(b"", 1)), "an empty name"),
        (
            body(b'n', &relay(b"Relay", 1)),
            "upper case: a second form of one name",
        ),
        (body(b'n', &relay(b"10.0.0.1", 1)), "an address as a name"),
        (body(b'n', &relay(b"a..b", 1)), "an empty label"),
        (body(b'n', &relay(b"a.", 1)), "a dot at the end"),
        (body(b'n', &relay(b"-a", 1)), "a dash first"),
        (body(b'n', &relay(b"a\nb", 1)), "a line break"),
        (body(b'n', &relay("é".as_bytes(), 1)), "not ASCII"),
        (body(b'n', &relay(b"\xff", 1)), "no text at all"),
        (body(b'n', &[0xB7; 33]), "no room for a port"),
        (forged(&head), "no kind"),
        (forged(&[VERSION]), "a version alone"),
        (forged(&[]), "a check alone"),
    ] {
        assert_eq!(Link::from_payload(&payload), Err(LinkError::Damaged), "{why}");
    }
    let long = relay(&[b'a'; 32], 1);
    assert_eq!(
        Link::from_payload(&body(b'n', &long)),
        Err(LinkError::Damaged),
        "120 bytes"
    );
    assert_eq!(
        Link::from_payload(&body(9, &relay(&[1], 1))),
        Err(LinkError::Newer),
        "a new kind"
    );
    assert_eq!(
        Link::from_payload(&forged(&[2; 54])),
        Err(LinkError::Newer),
        "a new version"
    );
}

#[test]
fn any_case_look_alikes_line_breaks_and_text_around_it_are_read() {
    for (kind, link) in all_kinds() {
        let text = link.to_text();
        let (head, tail) = text.split_at(60);
        for written in [
            text.to_ascii_lowercase(),
            text.replace('0', "O").replace('1', "l"),
            format!("Hi Ben! Join me: {}. See you, Anna", *text),
            format!("<{}>", *text),
            format!("qpq join {} now", *text),
            format!("{head}\n{tail}\nAnna"),
            format!("> {head}\r\n  {tail}"),
            format!("QPQ:NOTHING and then {}", *text),
        ] {
            assert_eq!(written.parse().as_ref(), Ok(&link), "{kind}: {written}");
        }
    }
}

#[test]
fn a_text_without_a_whole_link_says_what_is_wrong() {
    let text = link(None).to_text();
    assert_eq!("4-otter-violin".parse::<Link>(), Err(LinkError::Missing));
    assert_eq!("".parse::<Link>(), Err(LinkError::Missing));
    assert_eq!("QPQ:".parse::<Link>(), Err(LinkError::Damaged));
    let (cut, _) = text.split_at(80);
    assert_eq!(cut.parse::<Link>(), Err(LinkError::Damaged));
    assert_eq!(format!("{}0", *text).parse::<Link>(), Err(LinkError::Damaged));
    let huge = format!("{}{}", "x".repeat(MAX_TEXT), *text);
    assert_eq!(huge.parse::<Link>(), Err(LinkError::Missing));
}

/// 54 bytes are 86.4 characters: the last one has three bits too many, which must be zero.
#[test]
fn bits_that_no_byte_uses_must_be_zero() {
    let text = link(None).to_text();
    let (rest, last) = text.split_at(text.len() - 1);
    let alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let value = alphabet.find(last).unwrap();
    for bit in [1, 2, 4] {
        let other = alphabet.as_bytes()[value ^ bit] as char;
        assert_eq!(format!("{rest}{other}").parse::<Link>(), Err(LinkError::Damaged));
    }
}

#[test]
fn debug_shows_nothing_of_the_secret() {
    let shown = format!("{:?} {:?}", link(None), link(None).keys());
    assert!(
        !shown.contains("60") && !shown.to_lowercase().contains("3c"),
        "{shown}"
    );
}

#[test]
fn fresh_links_differ_in_secret_and_id() {
    let draw = |seed| Link::new(PeerId([1; 32]), &mut ChaCha20Rng::seed_from_u64(seed));
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1).secret(), draw(2).secret());
    assert_ne!(draw(1).id(), draw(2).id());
}

fn ends(inviter: u8, joiner: u8, channel: u8) -> Ends {
    Ends {
        inviter: PeerId([inviter; 32]),
        joiner: PeerId([joiner; 32]),
        channel: ChannelBinding([channel; 32]),
    }
}

/// Another program that derives these, or a change of this one that does not, cannot talk to it.
#[test]
fn derived_values_and_proofs_are_the_fixed_ones() {
    let keys = link(None).keys();
    let (inviter, joiner) = (PeerId([1; 32]), PeerId([2; 32]));
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let packages = [b"first".to_vec(), b"second".to_vec()];
    let derived = [
        format!("id {}", hex(&keys.id.0)),
        format!("lan {}", hex(&keys.lan.0)),
        format!("joiner {}", hex(&keys.proof(Prover::Joiner, &ends(1, 2, 3)))),
        format!("inviter {}", hex(&keys.proof(Prover::Inviter, &ends(1, 2, 3)))),
        format!(
            "request {}",
            hex(&keys.request_proof(&inviter, &joiner, &packages))
        ),
    ];
    assert_eq!(derived.join("\n"), vector("keys.txt").trim_end());
}

#[test]
fn a_proof_holds_for_its_link_role_ends_and_channel_alone() {
    let keys = link(None).keys();
    let other = LinkKeys::derive(&Secret::new([0x3D; 16]));
    let proof = keys.proof(Prover::Joiner, &ends(1, 2, 3));
    assert!(keys.holds(Prover::Joiner, &ends(1, 2, 3), &proof));
    assert!(!keys.holds(Prover::Inviter, &ends(1, 2, 3), &proof));
    assert!(!other.holds(Prover::Joiner, &ends(1, 2, 3), &proof));
    for ends in [ends(9, 2, 3), ends(1, 9, 3), ends(1, 2, 9), ends(2, 1, 3)] {
        assert!(!keys.holds(Prover::Joiner, &ends, &proof), "{ends:?}");
    }
    for bit in 0..256 {
        let mut flipped = proof;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!keys.holds(Prover::Joiner, &ends(1, 2, 3), &flipped), "bit {bit}");
    }
}

#[test]
fn the_proof_of_a_request_holds_for_its_people_and_key_packages_alone() {
    let keys = link(None).keys();
    let (anna, ben) = (PeerId([1; 32]), PeerId([2; 32]));
    let packages = [b"first".to_vec(), b"second".to_vec()];
    let proof = keys.request_proof(&anna, &ben, &packages);
    assert!(keys.request_holds(&anna, &ben, &packages, &proof));
    assert!(!keys.request_holds(&ben, &anna, &packages, &proof));
    assert!(!keys.request_holds(&anna, &anna, &packages, &proof));
    assert!(!keys.request_holds(&anna, &ben, &packages[..1], &proof));
    let swapped = [packages[1].clone(), packages[0].clone()];
    assert!(!keys.request_holds(&anna, &ben, &swapped, &proof));
    let joined = [b"firstsecond".to_vec()];
    assert!(!keys.request_holds(&anna, &ben, &joined, &proof));
}

proptest! {
    #[test]
    fn hostile_bytes_do_no_harm_and_what_is_read_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Link::from_payload(&bytes);
        let forged = forged(&[&[VERSION][..], &bytes].concat());
        if let Ok(link) = Link::from_payload(&forged) {
            prop_assert_eq!(&*link.payload(), &forged);
            prop_assert_eq!(link.to_text().parse(), Ok(link));
        }
    }

    #[test]
    fn hostile_text_does_no_harm(text: String, digits in "(?i)(qpq:[0-9a-z \n:]{0,250}){0,3}") {
        let _ = (text.parse::<Link>(), digits.parse::<Link>());
    }
}
