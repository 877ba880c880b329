//! What an mDNS record of ours says, and how little of a record is believed.

use std::net::{IpAddr, SocketAddr};

use mdns_sd::{ResolvedService, ScopedIp};
use qpq_core::{base32, card::LanKey, id::PeerId, invite::Nameplate};

use crate::endpoint::Ports;

/// Addresses taken from one record: hosts have some that only they can use, and not all are dialled.
pub(crate) const ADDRESSES: usize = 16;

/// Instance names are at most a DNS label long; ours have 16 characters.
const INSTANCE_MAX: usize = 128;

const TOKEN: &str = "t";
const NAMEPLATE: &str = "n";
const ENDPOINT: &str = "id";
const NAME: &str = "name";
const PORT_V6: &str = "p6";

/// What is announced of the own profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) key: LanKey,
    /// Only while an invite is open: where and by what name the inviter is found.
    pub(crate) invite: Option<(Nameplate, PeerId, String)>,
}

impl Announcement {
    /// The TXT record, for a port pair and a fresh nonce.
    pub(crate) fn txt(&self, nonce: [u8; 8], ports: Ports) -> Vec<(String, String)> {
        let mut txt = vec![(TOKEN.to_owned(), base32::encode(&self.key.token(nonce)))];
        if let (Some(v4), Some(v6)) = (ports.v4, ports.v6)
            && v4 != v6
        {
            txt.push((PORT_V6.to_owned(), v6.to_string()));
        }
        if let Some((nameplate, peer, name)) = &self.invite {
            txt.push((NAMEPLATE.to_owned(), nameplate.to_string()));
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
    pub(crate) token: Option<[u8; 16]>,
    pub(crate) claim: Option<Claim>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Reads a record; `None` when nothing in it can be used.
pub(crate) fn read(service: &ResolvedService) -> Option<UnverifiedAdvert> {
    let instance = service.get_fullname();
    let token = text(service, TOKEN).and_then(|text| base32::decode(text).ok()?.try_into().ok());
    let claim = read_claim(service);
    let addresses = read_addresses(service);
    let usable =
        instance.len() <= INSTANCE_MAX && !addresses.is_empty() && (token.is_some() || claim.is_some());
    usable.then(|| UnverifiedAdvert {
        instance: instance.to_owned(),
        token,
        claim,
        addresses,
    })
}

fn text<'a>(service: &'a ResolvedService, key: &str) -> Option<&'a str> {
    service
        .get_property_val_str(key)
        .filter(|value| value.len() <= 64)
}

fn read_claim(service: &ResolvedService) -> Option<Claim> {
    let number: u16 = text(service, NAMEPLATE)?.parse().ok()?;
    let peer = base32::decode(text(service, ENDPOINT)?).ok()?;
    let nameplate = Nameplate::try_from(number).ok()?;
    Some(Claim {
        nameplate,
        peer: PeerId::try_from(peer.as_slice()).ok()?,
    })
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
        };
        let txt = announcement.txt(
            [5; 8],
            Ports {
                v4: Some(4_711),
                v6: Some(4_712),
            },
        );
        let advert = read(&service("10.0.0.1,2001:db8::1", &txt)).unwrap();
        assert_eq!(advert.token, Some(key.token([5; 8])));
        assert_eq!(advert.claim, Some(Claim { nameplate, peer }));
        let expected = ["10.0.0.1:4711", "[2001:db8::1]:4712"].map(|text| text.parse().unwrap());
        assert_eq!(advert.addresses, expected);
    }

    #[test]
    fn nothing_but_the_token_is_shown_without_an_invite() {
        let announcement = Announcement {
            key: LanKey([1; 32]),
            invite: None,
        };
        let txt = announcement.txt(
            [5; 8],
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

    #[test]
    fn hostile_records_yield_little_or_nothing() {
        let token = pair(TOKEN, &base32::encode(&[7; 16]));
        let id = pair(ENDPOINT, &PeerId([9; 32]).to_text());
        for (ips, txt, why) in [
            ("10.0.0.1", vec![], "neither token nor claim"),
            ("10.0.0.1", vec![pair(TOKEN, "zzz")], "a short token"),
            ("10.0.0.1", vec![pair(TOKEN, &"0".repeat(200))], "a long token"),
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
