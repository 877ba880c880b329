//! What an mDNS record of ours says, and how little of a record is believed.

use std::net::{IpAddr, SocketAddr};

use mdns_sd::{ResolvedService, ScopedIp};
use qpq_core::{base32, card::LanKey, id::PeerId, invite::Nameplate, name};

use super::neighbours::Shown;
use crate::endpoint::Ports;

/// Addresses taken from one record: hosts have some that only they can use, and not all are dialled.
pub(crate) const ADDRESSES: usize = 16;

/// Instance names are at most a DNS label long; ours have 16 characters.
const INSTANCE_MAX: usize = 128;

/// Links announced at once: their tokens are one TXT string, of at most 255 bytes.
pub(crate) const LINKS: usize = 8;

/// Bytes of a token.
const TOKEN_LEN: usize = 16;

const TOKEN: &str = "t";
const NAMEPLATE: &str = "n";
const ENDPOINT: &str = "id";
const NAME: &str = "name";
const PORT_V6: &str = "p6";
const LINK_TOKENS: &str = "l";

/// What is announced of the own profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) key: LanKey,
    /// Only while an invite is open: where and by what name the inviter is found.
    pub(crate) invite: Option<(Nameplate, PeerId, String)>,
    /// Only while the user wants to be seen by everybody.
    pub(crate) visible: Option<Shown>,
    /// Keys of links; the first [`LINKS`] are shown, to their holders alone.
    pub(crate) links: Vec<LanKey>,
}

impl Announcement {
    /// Whether somebody who comes may be a joiner.
    pub(crate) fn is_inviting(&self) -> bool {
        self.invite.is_some() || !self.links.is_empty()
    }

    /// The TXT record, for a port pair, with a fresh nonce for each token.
    pub(crate) fn txt(&self, mut nonce: impl FnMut() -> [u8; 8], ports: Ports) -> Vec<(String, String)> {
        let mut txt = vec![(TOKEN.to_owned(), base32::encode(&self.key.token(nonce())))];
        if !self.links.is_empty() {
            let shown = self.links.iter().take(LINKS);
            let tokens: Vec<_> = shown.map(|key| key.token(nonce())).collect();
            txt.push((LINK_TOKENS.to_owned(), base32::encode(&tokens.concat())));
        }
        if let (Some(v4), Some(v6)) = (ports.v4, ports.v6)
            && v4 != v6
        {
            txt.push((PORT_V6.to_owned(), v6.to_string()));
        }
        if let Some((nameplate, peer, name)) = &self.invite {
            txt.push((NAMEPLATE.to_owned(), nameplate.to_string()));
            txt.push((ENDPOINT.to_owned(), peer.to_text()));
            txt.push((NAME.to_owned(), name.clone()));
        } else if let Some(Shown { peer, name }) = &self.visible {
            txt.push((ENDPOINT.to_owned(), peer.to_text()));
            txt.push((NAME.to_owned(), name.clone()));
        }
        txt
    }
}

/// An inviter's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) nameplate: Nameplate,
    pub(crate) peer: PeerId,
}

/// A record that somebody sent: a hint whom to dial where, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnverifiedAdvert {
    pub(crate) instance: String,
    pub(crate) token: Option<[u8; TOKEN_LEN]>,
    /// At most [`LINKS`].
    pub(crate) link_tokens: Vec<[u8; TOKEN_LEN]>,
    pub(crate) claim: Option<Claim>,
    pub(crate) shown: Option<Shown>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Reads a record; `None` when nothing in it can be used.
pub(crate) fn read(service: &ResolvedService) -> Option<UnverifiedAdvert> {
    let instance = service.get_fullname();
    let token = text(service, TOKEN).and_then(|text| base32::decode(text).ok()?.try_into().ok());
    let link_tokens = read_link_tokens(service);
    let peer = read_peer(service);
    let claim = peer.and_then(|peer| read_claim(service, peer));
    let shown = peer.and_then(|peer| read_shown(service, peer));
    let addresses = read_addresses(service);
    let tells = token.is_some() || claim.is_some() || shown.is_some() || !link_tokens.is_empty();
    let usable = instance.len() <= INSTANCE_MAX && !addresses.is_empty() && tells;
    usable.then(|| UnverifiedAdvert {
        instance: instance.to_owned(),
        token,
        link_tokens,
        claim,
        shown,
        addresses,
    })
}

/// All of them or, where the text is none of ours, nothing.
fn read_link_tokens(service: &ResolvedService) -> Vec<[u8; TOKEN_LEN]> {
    let text = service.get_property_val_str(LINK_TOKENS).unwrap_or_default();
    let bytes = base32::decode(text).unwrap_or_default();
    let (tokens, rest) = bytes.as_chunks();
    if rest.is_empty() && tokens.len() <= LINKS {
        tokens.to_vec()
    } else {
        Vec::new()
    }
}

fn text<'a>(service: &'a ResolvedService, key: &str) -> Option<&'a str> {
    service
        .get_property_val_str(key)
        .filter(|value| value.len() <= 64)
}

fn read_peer(service: &ResolvedService) -> Option<PeerId> {
    let peer = base32::decode(text(service, ENDPOINT)?).ok()?;
    PeerId::try_from(peer.as_slice()).ok()
}

fn read_claim(service: &ResolvedService, peer: PeerId) -> Option<Claim> {
    let number: u16 = text(service, NAMEPLATE)?.parse().ok()?;
    let nameplate = Nameplate::try_from(number).ok()?;
    Some(Claim { nameplate, peer })
}

/// Whose name is not one is shown without.
fn read_shown(service: &ResolvedService, peer: PeerId) -> Option<Shown> {
    let name = name::validate(text(service, NAME)?).ok()?;
    Some(Shown { peer, name })
}

/// At most [`ADDRESSES`], in an order of their own: IPv4, then IPv6.
fn read_addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let port_v4 = service.get_port();
    let port_v6 = text(service, PORT_V6)
        .and_then(|port| port.parse().ok())
        .unwrap_or(port_v4);
    let mut addresses: Vec<SocketAddr> = service
        .get_addresses()
        .iter()
        .filter(|ip| is_host(ip.to_ip_addr()) && (!ip.is_loopback() || came_by_loopback(ip)))
        .map(|ip| match ip.to_ip_addr() {
            v6 @ IpAddr::V6(_) => SocketAddr::new(v6, port_v6),
            v4 @ IpAddr::V4(_) => SocketAddr::new(v4, port_v4),
        })
        .filter(|address| address.port() != 0)
        .collect();
    addresses.sort_unstable();
    addresses.truncate(ADDRESSES);
    addresses
}

/// Whether an address is that of a host that can answer. IPv4 in the clothes of IPv6 only hides.
///
/// A link-local IPv6 address is not: iroh 1.4 forgets its scope, so that the other side cannot answer, and a
/// connection that reached it there first stays deaf at its other addresses too.
fn is_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => {
            let is_disguised = v6.to_ipv4_mapped().is_some();
            !(v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || is_disguised)
        }
    }
}

/// Nobody on the network may make us dial our own host.
fn came_by_loopback(ip: &ScopedIp) -> bool {
    let is_loopback = |name: &str| matches!(name, "lo" | "lo0");
    match ip {
        ScopedIp::V4(v4) => v4.interface_ids().iter().any(|id| is_loopback(&id.name)),
        ScopedIp::V6(v6) => is_loopback(&v6.scope_id().name),
        // The enum is open: a kind that we do not know came from nowhere that we know.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use mdns_sd::ServiceInfo;

    use super::*;
    use crate::lan::SERVICE;

    fn service(ips: &str, txt: &[(String, String)]) -> ResolvedService {
        ServiceInfo::new(SERVICE, "i", "h.local.", ips, 4_711, txt)
            .unwrap()
            .as_resolved_service()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn an_announcement_is_read_as_it_was_written() {
        let key = LanKey([1; 32]);
        let (nameplate, peer) = (Nameplate::try_from(4).unwrap(), PeerId([9; 32]));
        let announcement = Announcement {
            key: key.clone(),
            invite: Some((nameplate, peer, "anna".to_owned())),
            visible: None,
            links: Vec::new(),
        };
        let txt = announcement.txt(
            || [5; 8],
            Ports {
                v4: Some(4_711),
                v6: Some(4_712),
            },
        );
        let advert = read(&service("10.0.0.1,2001:db8::1", &txt)).unwrap();
        assert_eq!(advert.token, Some(key.token([5; 8])));
        assert_eq!(advert.claim, Some(Claim { nameplate, peer }));
        let name = "anna".to_owned();
        assert_eq!(advert.shown, Some(Shown { peer, name }));
        let expected = ["10.0.0.1:4711", "[2001:db8::1]:4712"].map(|text| text.parse().unwrap());
        assert_eq!(advert.addresses, expected);
    }

    #[test]
    fn nothing_but_the_token_is_shown_without_an_invite() {
        let announcement = Announcement {
            key: LanKey([1; 32]),
            invite: None,
            visible: None,
            links: Vec::new(),
        };
        let txt = announcement.txt(
            || [5; 8],
            Ports {
                v4: Some(1),
                v6: Some(1),
            },
        );
        assert_eq!(
            txt.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            [TOKEN]
        );
    }

    /// Eight tokens are as long as a TXT string gets, and no two of them have a nonce in common.
    #[test]
    fn links_are_shown_as_tokens_that_their_keys_recognise() {
        let links: Vec<_> = (0..10).map(|n| LanKey([n; 32])).collect();
        let announcement = Announcement {
            key: LanKey([99; 32]),
            invite: None,
            visible: None,
            links: links.clone(),
        };
        let mut nonce = 0u64;
        let count = || {
            nonce += 1;
            nonce.to_be_bytes()
        };
        let ports = Ports {
            v4: Some(1),
            v6: Some(1),
        };
        let txt = announcement.txt(count, ports);
        assert!(txt.iter().all(|(key, value)| key.len() + 1 + value.len() <= 255));
        let advert = read(&service("10.0.0.1", &txt)).unwrap();
        assert_eq!(advert.link_tokens.len(), LINKS);
        for (token, key) in advert.link_tokens.iter().zip(&links) {
            assert!(key.recognises(token));
        }
        assert!(!advert.link_tokens.iter().any(|token| links[8].recognises(token)));
        let nonces: std::collections::BTreeSet<_> =
            advert.link_tokens.iter().map(|token| &token[..8]).collect();
        assert_eq!(nonces.len(), LINKS);
    }

    #[test]
    fn who_is_visible_shows_name_and_id_and_a_name_that_is_none_is_not_taken() {
        let peer = PeerId([9; 32]);
        let ports = Ports {
            v4: Some(1),
            v6: None,
        };
        for (name, shown) in [
            ("anna", Some("anna")),
            (" anna ", Some("anna")),
            ("", None),
            ("an\u{1b}[2Jna", None),
            ("an\u{202e}na", None),
            ("anna, 10:02: hi", None),
            ("@all", None),
        ] {
            let announcement = Announcement {
                key: LanKey([1; 32]),
                invite: None,
                visible: Some(Shown {
                    peer,
                    name: name.to_owned(),
                }),
                links: Vec::new(),
            };
            let advert = read(&service("10.0.0.1", &announcement.txt(|| [5; 8], ports))).unwrap();
            let name = advert.shown.as_ref().map(|shown| shown.name.as_str());
            assert_eq!(name, shown);
            assert_eq!(advert.claim, None);
        }
    }

    #[test]
    fn hostile_records_yield_little_or_nothing() {
        let token = pair(TOKEN, &base32::encode(&[7; 16]));
        let id = pair(ENDPOINT, &PeerId([9; 32]).to_text());
        for (ips, txt, why) in [
            ("10.0.0.1", vec![], "neither token nor claim"),
            ("10.0.0.1", vec![pair(TOKEN, "zzz")], "a short token"),
            ("10.0.0.1", vec![pair(TOKEN, &"0".repeat(200))], "a long token"),
            ("10.0.0.1", vec![pair(LINK_TOKENS, "")], "no link token"),
            (
                "10.0.0.1",
                vec![pair(LINK_TOKENS, &base32::encode(&[7; 17]))],
                "half a link token",
            ),
            (
                "10.0.0.1",
                vec![pair(LINK_TOKENS, &base32::encode(&[7; 16 * 9]))],
                "more link tokens than anybody shows",
            ),
            (
                "10.0.0.1",
                vec![pair(NAMEPLATE, "4")],
                "a nameplate without an id",
            ),
            (
                "10.0.0.1",
                vec![pair(NAMEPLATE, "1000"), id],
                "a nameplate out of range",
            ),
            ("127.0.0.1", vec![token.clone()], "our own host"),
            ("224.0.0.1,0.0.0.0", vec![token.clone()], "no host at all"),
            ("ff02::fb,::", vec![token.clone()], "no host either"),
            ("fe80::1", vec![token.clone()], "a host that cannot answer"),
            (
                "::ffff:127.0.0.1,::ffff:224.0.0.1,::ffff:10.0.0.1",
                vec![token.clone()],
                "IPv4 that hides",
            ),
        ] {
            assert_eq!(read(&service(ips, &txt)), None, "{why}");
        }
        let many = (1..=40)
            .map(|i| format!("10.0.0.{i}"))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(
            read(&service(&many, &[token])).unwrap().addresses.len(),
            ADDRESSES
        );
    }
}
