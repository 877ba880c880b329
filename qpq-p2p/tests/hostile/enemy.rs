//! What an enemy on the network has: mDNS, and endpoints that speak the wire by hand.

use std::net::{Ipv4Addr, SocketAddr};

use iroh::{
    Endpoint,
    endpoint::{ConnectError, ConnectingError, Connection, ConnectionError, RecvStream, SendStream},
};
use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use qpq_core::{
    engine::Purpose,
    id::PeerId,
    identity::Identity,
    wire::{self, Frame, Hello},
};
use qpq_p2p::endpoint::{self, DialError, Interfaces};
use rand_core::OsRng;

use crate::soon;

const SERVICE: &str = "_qpq._udp.local.";

/// Somebody who answers mDNS with whatever he likes.
pub(crate) struct Forger(ServiceDaemon);

impl Forger {
    pub(crate) fn on(mdns_port: u16) -> Self {
        let daemon = ServiceDaemon::new_with_port(mdns_port).unwrap();
        daemon.disable_interface(IfKind::All).unwrap();
        daemon.enable_interface(IfKind::LoopbackV4).unwrap();
        Self(daemon)
    }

    /// Announces a record that leads to a port of this host.
    pub(crate) fn announce(&self, instance: &str, port: u16, txt: &[(&str, String)]) {
        let mut service = ServiceInfo::new(SERVICE, instance, "forged.local.", "", port, txt)
            .unwrap()
            .enable_addr_auto();
        service.set_requires_probe(false);
        // The queue of the daemon is bounded, and it empties it.
        while let Err(error) = self.0.register(service.clone()) {
            assert!(matches!(error, mdns_sd::Error::Again), "{error}");
            std::thread::yield_now();
        }
    }

    /// Claims that a peer waits under a nameplate.
    pub(crate) fn claim(&self, nameplate: &str, peer: PeerId, port: u16) {
        let txt = [
            ("n", nameplate.to_owned()),
            ("id", peer.to_text()),
            ("name", "anna".to_owned()),
        ];
        self.announce(&peer.to_text()[..16], port, &txt);
    }

    /// Waits for a record of somebody else.
    pub(crate) async fn find(&self, wanted: impl Fn(&ResolvedService) -> bool) -> ResolvedService {
        let events = self.0.browse(SERVICE).unwrap();
        let found = soon("the record", async {
            loop {
                if let ServiceEvent::ServiceResolved(service) = events.recv_async().await.unwrap()
                    && wanted(&service)
                {
                    return *service;
                }
            }
        });
        found.await
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        let _ = self.0.shutdown();
    }
}

/// Somebody with a key of his own.
#[derive(Clone)]
pub(crate) struct Stranger {
    pub(crate) id: PeerId,
    pub(crate) endpoint: Endpoint,
}

impl Stranger {
    pub(crate) async fn new() -> Self {
        let identity = Identity::generate(&mut OsRng);
        let endpoint = endpoint::bind(&identity, &Interfaces::Loopback).await.unwrap();
        Self {
            id: identity.peer_id(),
            endpoint,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        endpoint::ports(&self.endpoint).v4.unwrap()
    }

    /// Connects; an error is how the other end closed the connection before it was made here.
    pub(crate) async fn dial(&self, peer: PeerId, port: u16) -> Result<Connection, ConnectionError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match endpoint::dial(&self.endpoint, peer, &[address]).await {
            Ok(connection) => Ok(connection),
            Err(DialError::Connect(
                ConnectError::Connecting {
                    source: ConnectingError::ConnectionError { source, .. },
                    ..
                }
                | ConnectError::Connection { source, .. },
            )) => Err(source),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Waits for the next connection that somebody makes to us.
    pub(crate) async fn accept(&self) -> Option<Connection> {
        loop {
            if let Ok(connection) = self.endpoint.accept().await?.await {
                return Some(connection);
            }
        }
    }
}

/// A stream of frames, without any rule.
pub(crate) struct Frames {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Frames {
    /// The next whole frame; `None` at the end, however that comes.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        next_frame(&mut self.recv).await
    }

    pub(crate) async fn post(&mut self, bytes: &[u8]) {
        // The other end may have closed the connection: then whoever reads sees it.
        let _ = self.send.write_all(bytes).await;
    }
}

pub(crate) async fn next_frame(recv: &mut RecvStream) -> Option<Vec<u8>> {
    let mut header = [0; wire::HEADER];
    recv.read_exact(&mut header).await.ok()?;
    let mut frame = vec![0; wire::HEADER + wire::body_len(&header).unwrap()];
    frame[..wire::HEADER].copy_from_slice(&header);
    recv.read_exact(&mut frame[wire::HEADER..]).await.ok()?;
    Some(frame)
}

/// The first frame of a joiner, and of whoever answers one.
pub(crate) fn hello() -> Vec<u8> {
    Frame::Hello(Hello {
        min: *wire::VERSION.start(),
        max: *wire::VERSION.end(),
        features: 0,
        session: [7; 8],
        purpose: Purpose::Pair,
    })
    .encode()
}

/// With which code the other end closed a connection.
#[track_caller]
pub(crate) fn close_code(error: &ConnectionError) -> u64 {
    let ConnectionError::ApplicationClosed(close) = error else {
        panic!("the other end was to close the connection: {error:?}")
    };
    close.error_code.into_inner()
}
