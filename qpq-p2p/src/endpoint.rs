//! The QUIC endpoint: iroh without anybody else's servers, with the identity as its key and our own limits.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use if_addrs::{IfAddr, Interface};
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey,
    endpoint::{BindOpts, Builder, Connection, QuicTransportConfig, VarInt, presets},
};
use qpq_core::{
    id::PeerId,
    identity::Identity,
    invite::{CHANNEL_LABEL, ChannelBinding},
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The one ALPN of a link between peers. Versions are negotiated inside it: a dialer whose ALPN the peer
/// does not speak would get no answer at all.
pub const ALPN: &[u8] = b"quicnprotochat/p2p/1";

/// A dial ends after this time: iroh itself would try a dead address for 30 s.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Both ends drop a connection that was silent for so long. Links notice within 2 s by themselves
/// (`link`); this is for connections that never became one.
const IDLE_TIMEOUT_MS: u32 = 15_000;

/// Bytes a peer may send ahead of our reading: four of the largest frames.
const RECEIVE_WINDOW: u32 = 1024 * 1024;

/// Bytes of ours that may be under way unacknowledged.
const SEND_WINDOW: u64 = 1024 * 1024;

/// Which network interfaces are used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Interfaces {
    /// All there are, also later ones.
    #[default]
    All,
    /// 127.0.0.1 alone.
    Loopback,
    /// The addresses that these interfaces have when the endpoint is bound.
    Named(Vec<String>),
}

/// A list of interfaces is empty or mixes `all` or `lo` with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`interfaces` is `all`, `lo`, or a list of interface names separated by commas")]
pub struct InterfacesError;

impl FromStr for Interfaces {
    type Err = InterfacesError;

    fn from_str(text: &str) -> Result<Self, InterfacesError> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["all"] => Ok(Self::All),
            ["lo"] => Ok(Self::Loopback),
            list if list.iter().any(|name| ["", "all", "lo"].contains(name)) => Err(InterfacesError),
            _ => Ok(Self::Named(names)),
        }
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Loopback => f.write_str("lo"),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

/// Why no endpoint could be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The system's list of interfaces could not be read.
    #[error("network interfaces cannot be listed")]
    Interfaces(#[source] io::Error),
    /// None of the named interfaces has an address.
    #[error("no address on the interfaces {0}")]
    NoAddress(Interfaces),
    /// iroh refused an address.
    #[error("an address cannot be bound")]
    Address(#[from] iroh::endpoint::InvalidSocketAddr),
    /// The sockets could not be bound.
    #[error("the network endpoint cannot be bound")]
    Bind(#[from] iroh::endpoint::BindError),
}

/// Why a dial led to no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The peer id is not a valid Ed25519 key.
    #[error("the peer id is not a public key")]
    Key,
    /// Nobody answered within [`DIAL_TIMEOUT`].
    #[error("no answer")]
    Timeout,
    /// The handshake failed: above all, another key answered.
    #[error("the connection failed")]
    Connect(#[from] iroh::endpoint::ConnectError),
}

/// The UDP ports of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of the IPv4 socket.
    pub v4: Option<u16>,
    /// Of the IPv6 socket.
    pub v6: Option<u16>,
}

/// Binds an endpoint that speaks [`ALPN`] only, asks no relay, no DNS and no port mapper, and accepts one
/// bidirectional stream per connection.
///
/// # Errors
/// [`BindError`]: a wish for named interfaces that cannot be met, or no socket to be had.
pub async fn bind(identity: &Identity, interfaces: &Interfaces) -> Result<Endpoint, BindError> {
    let builder = Endpoint::builder(presets::Empty)
        .crypto_provider(provider())
        .secret_key(SecretKey::from_bytes(identity.seed().expose()))
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .transport_config(transport());
    let builder = match interfaces {
        // iroh binds both unspecified addresses by itself; the one of IPv6 may fail.
        Interfaces::All => builder,
        Interfaces::Loopback => builder
            .clear_ip_transports()
            .bind_addr(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?,
        Interfaces::Named(names) => {
            let list = if_addrs::get_if_addrs().map_err(BindError::Interfaces)?;
            let wanted: Vec<_> = list
                .into_iter()
                .filter(|found| names.contains(&found.name))
                .collect();
            if wanted.is_empty() {
                return Err(BindError::NoAddress(interfaces.clone()));
            }
            bind_named(builder.clear_ip_transports(), &wanted)?
        }
    };
    Ok(builder.bind().await?)
}

/// Connects to a peer at any of these addresses; TLS proves that it is the peer.
///
/// # Errors
/// [`DialError`], after [`DIAL_TIMEOUT`] at the latest.
pub async fn dial(
    endpoint: &Endpoint,
    peer: PeerId,
    addresses: &[SocketAddr],
) -> Result<Connection, DialError> {
    let id = EndpointId::from_bytes(peer.as_bytes()).map_err(|_| DialError::Key)?;
    let address = addresses
        .iter()
        .fold(EndpointAddr::new(id), |address, ip| address.with_ip_addr(*ip));
    match tokio::time::timeout(DIAL_TIMEOUT, endpoint.connect(address, ALPN)).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(DialError::Timeout),
    }
}

/// The peer at the other end, as TLS proved it.
pub fn peer_of(connection: &Connection) -> PeerId {
    PeerId(*connection.remote_id().as_bytes())
}

/// What only the two ends of this connection know (RFC 8446 §7.5); `None` when TLS cannot tell.
pub fn channel_binding(connection: &Connection) -> Option<ChannelBinding> {
    let mut secret = [0; 32];
    connection
        .export_keying_material(&mut secret, CHANNEL_LABEL, &[])
        .ok()?;
    Some(ChannelBinding(secret))
}

/// The ports that an advert must name.
pub fn ports(endpoint: &Endpoint) -> Ports {
    let bound = endpoint.bound_sockets();
    let port = |v4: bool| {
        bound
            .iter()
            .find(|address| address.is_ipv4() == v4)
            .map(SocketAddr::port)
    };
    Ports {
        v4: port(true),
        v6: port(false),
    }
}

/// aws-lc-rs with the hybrid key exchange first: recorded traffic stays closed to a quantum computer.
fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    Arc::new(CryptoProvider {
        kx_groups,
        ..aws_lc_rs::default_provider()
    })
}

fn transport() -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .build()
}

/// Binds the addresses of the interfaces, one socket each. iroh takes one default per family, and nothing after
/// it: the first address of each family is the default, and comes last. Link-local IPv6 addresses are left out,
/// for iroh forgets their scope (see `lan::advert`).
fn bind_named(mut builder: Builder, interfaces: &[Interface]) -> Result<Builder, BindError> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for interface in interfaces {
        match &interface.addr {
            IfAddr::V4(one) => v4.push((IpAddr::from(one.ip), prefix_len(&one.netmask.octets()))),
            IfAddr::V6(one) if one.ip.is_unicast_link_local() => {}
            IfAddr::V6(one) => v6.push((IpAddr::from(one.ip), prefix_len(&one.netmask.octets()))),
        }
    }
    for family in [v4, v6] {
        for (at, (ip, prefix)) in family.into_iter().enumerate().rev() {
            let options = BindOpts::default()
                .set_prefix_len(prefix)
                .set_is_default_route(at == 0)
                // An IPv6 address may still be under duplicate detection: that must not stop the rest.
                .set_is_required(ip.is_ipv4());
            builder = builder.bind_addr_with_opts(SocketAddr::new(ip, 0), options)?;
        }
    }
    Ok(builder)
}

fn prefix_len(mask: &[u8]) -> u8 {
    mask.iter().fold(0, |sum: u8, byte| {
        sum.saturating_add(u8::try_from(byte.leading_ones()).unwrap_or(8))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use qpq_core::secret::Secret;

    use super::*;

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(&Secret::new([seed; 32]))
    }

    #[test]
    fn interfaces_are_read_and_written() {
        for (text, value) in [
            ("all", Some(Interfaces::All)),
            ("lo", Some(Interfaces::Loopback)),
            (
                "eth0, wlan0",
                Some(Interfaces::Named(vec!["eth0".into(), "wlan0".into()])),
            ),
            ("", None),
            ("eth0,", None),
            ("eth0,all", None),
        ] {
            assert_eq!(text.parse().ok(), value, "{text:?}");
        }
        assert_eq!(Interfaces::Named(vec!["a".into(), "b".into()]).to_string(), "a,b");
    }

    #[test]
    fn netmasks_become_prefix_lengths() {
        assert_eq!(prefix_len(&[255, 255, 240, 0]), 20);
        assert_eq!(prefix_len(&[255; 16]), 128);
        assert_eq!(prefix_len(&[0; 4]), 0);
    }

    #[tokio::test]
    async fn both_ends_prove_their_identity_and_share_a_channel_binding() {
        let (anna, ben) = (identity(1), identity(2));
        let server = bind(&anna, &Interfaces::Loopback).await.unwrap();
        let client = bind(&ben, &Interfaces::Loopback).await.unwrap();
        let addresses = server.bound_sockets();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        let accepting = tokio::spawn({
            let server = server.clone();
            async move { server.accept().await.unwrap().await.unwrap() }
        });
        let dialed = dial(&client, anna.peer_id(), &addresses).await.unwrap();
        let accepted = accepting.await.unwrap();
        assert_eq!(peer_of(&dialed), anna.peer_id());
        assert_eq!(peer_of(&accepted), ben.peer_id());
        assert_eq!(
            channel_binding(&dialed).unwrap(),
            channel_binding(&accepted).unwrap()
        );
        client.close().await;
        server.close().await;
    }

    #[tokio::test]
    async fn a_dial_to_another_key_fails() {
        let server = bind(&identity(1), &Interfaces::Loopback).await.unwrap();
        let client = bind(&identity(2), &Interfaces::Loopback).await.unwrap();
        let accepting = tokio::spawn({
            let server = server.clone();
            async move {
                while let Some(incoming) = server.accept().await {
                    let _ = incoming.await;
                }
            }
        });
        assert!(
            dial(&client, identity(3).peer_id(), &server.bound_sockets())
                .await
                .is_err()
        );
        accepting.abort();
        client.close().await;
        server.close().await;
    }

    #[tokio::test]
    async fn named_interfaces_are_bound_by_their_addresses_and_all_by_both_families() {
        let loopback = if_addrs::get_if_addrs()
            .unwrap()
            .into_iter()
            .find(Interface::is_loopback)
            .unwrap();
        let named = bind(&identity(1), &Interfaces::Named(vec![loopback.name]))
            .await
            .unwrap();
        assert!(!named.bound_sockets().is_empty());
        assert!(
            named
                .bound_sockets()
                .iter()
                .all(|address| address.ip().is_loopback())
        );
        let all = bind(&identity(2), &Interfaces::All).await.unwrap();
        assert!(
            all.bound_sockets()
                .iter()
                .all(|address| address.ip().is_unspecified())
        );
        assert!(ports(&all).v4.is_some());
        let accepting = tokio::spawn({
            let named = named.clone();
            // A dial tries every address at once, and lets go of all but one.
            async move {
                loop {
                    if let Ok(connection) = named.accept().await.unwrap().await {
                        return connection;
                    }
                }
            }
        });
        assert!(
            dial(&all, identity(1).peer_id(), &named.bound_sockets())
                .await
                .is_ok()
        );
        accepting.await.unwrap();
        named.close().await;
        all.close().await;
    }

    #[tokio::test]
    async fn an_unknown_interface_is_named_in_the_error() {
        let wish = Interfaces::Named(vec!["no-such-if0".into()]);
        let error = bind(&identity(1), &wish).await.unwrap_err();
        assert!(error.to_string().contains("no-such-if0"));
    }
}
