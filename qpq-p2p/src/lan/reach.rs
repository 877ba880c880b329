//! Which addresses may be dialled at all: those of neighbours, and never our own.

use std::net::{IpAddr, SocketAddr};

use if_addrs::{IfAddr, Interface};
use tracing::debug;

use crate::endpoint::{Interfaces, Ports};

/// The networks that this host is on. Records of neighbours name addresses on them; whoever names another one
/// wants us to knock at somebody else's door.
#[derive(Debug)]
pub(crate) struct Reach {
    /// Own addresses with the length of their prefixes.
    networks: Vec<(IpAddr, u8)>,
    ports: Ports,
}

impl Reach {
    /// As the system tells it now.
    pub(crate) fn now(interfaces: &Interfaces, ports: Ports) -> Self {
        let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            debug!(%error, "network interfaces cannot be listed");
            Vec::new()
        });
        let used = found.iter().filter(|interface| is_used(interface, interfaces));
        let networks = used.map(|interface| match &interface.addr {
            IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
            IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
        });
        Self {
            networks: networks.collect(),
            ports,
        }
    }

    /// Whether a neighbour may be there.
    pub(crate) fn admits(&self, address: &SocketAddr) -> bool {
        self.is_near(address.ip()) && !self.is_own(address)
    }

    /// Whether an address is on one of our networks, or our own.
    pub(crate) fn is_near(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| contains(*network, ip))
    }

    fn is_own(&self, address: &SocketAddr) -> bool {
        let (ip, port) = (address.ip(), Some(address.port()));
        let own_port = port
            == if ip.is_ipv4() {
                self.ports.v4
            } else {
                self.ports.v6
            };
        // Every address of the loopback network leads to the same socket.
        own_port && (ip.is_loopback() || self.networks.iter().any(|(own, _)| *own == ip))
    }
}

fn is_used(interface: &Interface, interfaces: &Interfaces) -> bool {
    match interfaces {
        Interfaces::All => true,
        Interfaces::Loopback => interface.is_loopback(),
        Interfaces::Named(names) => names.contains(&interface.name),
    }
}

/// Whether an address is one of a network's hosts: the last one of an IPv4 network is all of them.
fn contains((network, prefix): (IpAddr, u8), ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let is_broadcast = hosts > 1 && ip.to_bits() | !hosts == u32::MAX;
            (network.to_bits() ^ ip.to_bits()) & !hosts == 0 && !is_broadcast
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let hosts = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
            (network.to_bits() ^ ip.to_bits()) & !hosts == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn only_neighbours_are_dialled() {
        let network = |ip: &str, prefix| (ip.parse().unwrap(), prefix);
        let reach = Reach {
            networks: vec![
                network("127.0.0.1", 8),
                network("10.77.0.5", 20),
                network("100.64.0.9", 32),
                network("fd77::5", 64),
            ],
            ports: Ports {
                v4: Some(4_000),
                v6: Some(6_000),
            },
        };
        for (address, admitted, why) in [
            ("10.77.0.6:4000", true, "a neighbour"),
            ("10.77.15.254:4000", true, "the last one"),
            ("10.77.16.1:4000", false, "beyond the prefix"),
            ("10.77.15.255:4000", false, "everybody"),
            ("93.184.215.14:443", false, "the Internet"),
            ("100.64.0.10:4000", false, "a network of one"),
            ("[fd77::6]:6000", true, "a neighbour"),
            ("[fd77:0:0:1::6]:6000", false, "beyond the prefix"),
            ("[2606:2800::1]:443", false, "the Internet"),
            ("10.77.0.5:4000", false, "our own socket"),
            ("10.77.0.5:4001", true, "another program on our host"),
            ("127.0.0.9:4000", false, "our own socket, too"),
            ("127.0.0.1:4001", true, "another program on our host"),
            ("[fd77::5]:6000", false, "our own socket"),
            ("[fd77::5]:4000", true, "another program on our host"),
        ] {
            assert_eq!(
                reach.admits(&address.parse().unwrap()),
                admitted,
                "{address}: {why}"
            );
        }
    }

    #[test]
    fn the_loopback_network_is_reached_by_loopback() {
        let ports = Ports { v4: None, v6: None };
        let reach = Reach::now(&Interfaces::Loopback, ports);
        assert!(reach.admits(&"127.0.0.1:4000".parse().unwrap()));
        let named = Reach::now(&Interfaces::Named(vec!["no-such-if0".into()]), ports);
        assert!(!named.admits(&"127.0.0.1:4000".parse().unwrap()));
    }
}
