//! All that a process of the same user may write to the socket of the owner.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

use std::{cell::RefCell, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Handle, Runtime},
    task::LocalSet,
};

use super::{Access, SocketPlace, connection::Connection, server::Server, wire};
use crate::{
    endpoint::Interfaces,
    event::{Event, OwnerKind},
    failure::Failure,
    node::NetworkSettings,
    owner::Owner,
    profile::{self, Profile},
    request::Request,
};

/// Nothing that is asked for here takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// An owner, for all inputs.
struct Stage {
    runtime: Runtime,
    server: Server,
    asked: usize,
    _home: TempDir,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// The bytes of a whole RPC session: it ends when they do, and everybody else is served.
pub(crate) fn socket(input: &[u8]) {
    STAGE.with_borrow_mut(|stage| stage.get_or_insert_with(Stage::new).run(input));
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let home = TempDir::new().unwrap();
        let folder = home.path().join("default");
        profile::create(&folder, "anna").unwrap();
        let network = NetworkSettings {
            interfaces: Interfaces::Loopback,
            mdns_port: 25_399,
        };
        let access = Access {
            folder: folder.clone(),
            socket: SocketPlace::new(folder.clone(), true),
            network,
            kind: OwnerKind::Chat,
            lasting: true,
            open: Box::new(move || Ok(Profile::open(&folder)?)),
            asks: Box::new(|| Ok(false)),
        };
        let server = runtime.block_on(async { serve(&access) });
        Self {
            runtime,
            server,
            asked: 0,
            _home: home,
        }
    }

    fn run(&mut self, input: &[u8]) {
        self.asked += 1;
        // Asking takes longer than most inputs.
        let asks = self.asked % 64 == 1;
        let session = async {
            let mut hostile = self.server.connect().unwrap();
            // It may end before it has read all.
            let _ = hostile.write_all(input).await;
            let _ = hostile.shutdown().await;
            let mut answers = Vec::new();
            let _ = hostile.read_to_end(&mut answers).await;
            if asks {
                let other = Connection::open(self.server.connect().unwrap(), true)
                    .await
                    .ok()
                    .unwrap();
                let mut events: Vec<Event> = Vec::new();
                let outcome = other.run(r#"{"read":"who_am_i"}"#, &mut events).await;
                assert!(matches!(outcome, Ok(Ok(()))) && events.len() == 1);
            }
        };
        let local = LocalSet::new();
        let session = local.run_until(async { tokio::time::timeout(PATIENCE, session).await });
        self.runtime
            .block_on(session)
            .expect("the session ends with its client");
    }
}

fn serve(access: &Access) -> Server {
    let profile = (access.open)().unwrap();
    let mut lock = profile.lock().unwrap();
    let bound = access.socket.bind().unwrap();
    lock.tell_socket(bound.path());
    let owner = Owner::new(profile, lock, access.network.clone(), access.kind);
    Server::start(owner, bound, Handle::current()).unwrap()
}

/// Requests, events and failures as JSON: what is read says the same when it is written again.
pub(crate) fn request(input: &[u8]) {
    macro_rules! same_again {
        ($kind:ty) => {
            if let Ok(read) = wire::decode::<$kind>(input) {
                let text = wire::encode(&read).unwrap();
                let again = wire::decode::<$kind>(text.as_bytes()).unwrap();
                assert_eq!(wire::encode(&again).unwrap(), text);
            }
        };
    }
    same_again!(Request);
    same_again!(Event);
    same_again!(Failure);
}
