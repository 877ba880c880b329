//! Bare iroh between two processes: our endpoint's settings, one stream, frames that are sent back.

use std::{
    io::BufRead,
    net::SocketAddr,
    time::{Duration, Instant},
};

use qpq_core::{id::PeerId, identity::Identity};
use qpq_p2p::endpoint::{self, Interfaces};
use rand_core::OsRng;

use super::{PAUSE, TEXT, process::Process, report::Quantiles};

/// Connections that are made and closed.
pub(crate) const CONNECTS: usize = 50;

/// What was measured.
pub(crate) struct Bare {
    pub(crate) one_way: Quantiles,
    /// After pauses: what sleeps must be woken.
    pub(crate) one_way_paced: Quantiles,
    pub(crate) connect: Quantiles,
}

/// The other end: prints its id and address, and sends back whatever comes.
#[tokio::main]
pub(crate) async fn serve() {
    let identity = Identity::generate(&mut OsRng);
    let endpoint = endpoint::bind(&identity, &Interfaces::Loopback).await.unwrap();
    let port = endpoint::ports(&endpoint).v4.unwrap();
    println!("{} 127.0.0.1:{port}", identity.peer_id().to_text());
    tokio::task::spawn_blocking(|| {
        // The end of its input is its end.
        for _ in std::io::stdin().lock().lines() {}
        std::process::exit(0);
    });
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.unwrap();
            let (mut send, mut recv) = connection.accept_bi().await.unwrap();
            let mut frame = [0; TEXT];
            while recv.read_exact(&mut frame).await.is_ok() {
                if send.write_all(&frame).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[tokio::main]
pub(crate) async fn round_trips(count: usize) -> Bare {
    let mut server = Process::start(&["bare"]);
    let line = server.line();
    let (peer, address) = line.split_once(' ').unwrap();
    let (peer, address): (PeerId, SocketAddr) = (peer.parse().unwrap(), address.parse().unwrap());
    let identity = Identity::generate(&mut OsRng);
    let mut connect = Vec::new();
    let endpoint = endpoint::bind(&identity, &Interfaces::Loopback).await.unwrap();
    let frame = [7; TEXT];
    for _ in 0..CONNECTS {
        let start = Instant::now();
        let connection = endpoint::dial(&endpoint, peer, &[address]).await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&frame).await.unwrap();
        recv.read_exact(&mut [0; TEXT]).await.unwrap();
        connect.push(start.elapsed());
        connection.close(0_u32.into(), b"");
    }
    let connection = endpoint::dial(&endpoint, peer, &[address]).await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let mut halves = Vec::new();
    for pause in [Duration::ZERO, PAUSE] {
        let mut times = Vec::new();
        for _ in 0..count {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let start = Instant::now();
            send.write_all(&frame).await.unwrap();
            recv.read_exact(&mut [0; TEXT]).await.unwrap();
            times.push(start.elapsed() / 2);
        }
        halves.push(Quantiles::of(times));
    }
    connection.close(0_u32.into(), b"");
    endpoint.close().await;
    Bare {
        one_way: halves[0],
        one_way_paced: halves[1],
        connect: Quantiles::of(connect),
    }
}
