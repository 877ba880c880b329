//! Both ends in one process, and ends that are not what they should be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{rc::Rc, time::Instant};

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side;
use tempfile::TempDir;
use tokio::{runtime::Handle, task::LocalSet};

use super::{
    ANSWER, Access, BUILD, Client, SocketPlace, VERSION,
    connection::{Broken, Connection},
    server::Server,
    wire,
};
use crate::{
    control_capnp::{owner, sink},
    event::{Event, OwnerKind},
    failure::{Failure, FailureCode},
    node::NetworkSettings,
    owner::Owner,
    profile::{self, Profile},
    request::{Read, Request},
};

fn anna() -> (TempDir, Access) {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("default");
    profile::create(&folder, "anna").unwrap();
    let access = access(&folder, OwnerKind::Brief);
    (home, access)
}

fn access(folder: &std::path::Path, kind: OwnerKind) -> Access {
    let opened = folder.to_owned();
    Access {
        folder: folder.to_owned(),
        socket: SocketPlace::new(folder.to_owned(), true),
        network: NetworkSettings::default(),
        kind,
        lasting: true,
        open: Box::new(move || Ok(Profile::open(&opened)?)),
        asks: Box::new(|| Ok(false)),
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

async fn who_am_i(client: &Client) -> Result<Vec<Event>, Failure> {
    let mut events = Vec::new();
    client.run(Request::Read(Read::WhoAmI), &mut events).await?;
    Ok(events)
}

/// An owner that is not of this version, or of none at all.
struct Stranger {
    version: u32,
    build: String,
}

impl owner::Server for Stranger {
    async fn info(
        self: Rc<Self>,
        _: owner::InfoParams,
        mut results: owner::InfoResults,
    ) -> Result<(), Error> {
        let mut results = results.get();
        results.set_version(self.version);
        results.set_build(&self.build);
        results.set_pid(4242);
        Ok(())
    }
}

#[tokio::test]
async fn another_version_is_named_and_nothing_is_asked_of_it() {
    let strangers = [
        (VERSION + 1, BUILD.to_owned()),
        (VERSION, "99.0.0".to_owned()),
        (VERSION, "x".repeat(100_000)),
    ];
    let run = async {
        for (version, build) in strangers {
            let (near, far) = tokio::net::UnixStream::pair().unwrap();
            let stranger: owner::Client = capnp_rpc::new_client(Stranger { version, build });
            tokio::task::spawn_local(wire::rpc(far, Side::Server, Some(stranger.client)));
            let Err(Broken::Failed(failure)) = Connection::open(near, false).await else {
                panic!("it was believed")
            };
            assert_eq!(failure.code, FailureCode::ProfileInUse);
            assert!(
                failure.why.contains("4242") && failure.why.len() < 200,
                "{failure}"
            );
        }
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn the_first_owns_and_the_others_are_its_clients() {
    let (home, first) = anna();
    let folder = home.path().join("default");
    let run = async {
        let first = Client::attach(first).await.unwrap();
        let second = Client::attach(access(&folder, OwnerKind::Brief)).await.unwrap();
        assert_eq!(who_am_i(&first).await, who_am_i(&second).await);
        assert!(first.owner().await.unwrap().1);
        first.close().await;
        // The second becomes the owner with its next request.
        assert_eq!(who_am_i(&second).await.unwrap().len(), 1);
        assert!(
            (access(&folder, OwnerKind::Brief).open)()
                .unwrap()
                .lock()
                .is_err()
        );
        second.close().await;
        assert!((access(&folder, OwnerKind::Brief).open)().unwrap().lock().is_ok());
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_request_that_is_set_aside_while_the_owner_changes_holds_up_no_other() {
    let (home, first) = anna();
    let folder = home.path().join("default");
    let run = async {
        let first = Client::attach(first).await.unwrap();
        let second = Client::attach(access(&folder, OwnerKind::Brief)).await.unwrap();
        first.close().await;
        // It looks for the next owner, and then nobody asks it how far it is.
        let mut aside = Box::pin(who_am_i(&second));
        while !second.is_attaching() {
            tokio::select! {
                biased;
                _ = &mut aside => panic!("nothing was looked for"),
                () = tokio::task::yield_now() => {}
            }
        }
        let other = tokio::time::timeout(ANSWER, who_am_i(&second)).await;
        assert_eq!(other.expect("it is not held up").unwrap().len(), 1);
        assert_eq!(aside.await.unwrap().len(), 1);
        second.close().await;
        assert!((access(&folder, OwnerKind::Brief).open)().unwrap().lock().is_ok());
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_brief_owner_lets_go_for_a_chat_and_goes_on_as_its_client() {
    let (home, brief) = anna();
    let folder = home.path().join("default");
    let run = async {
        let brief = Client::attach(brief).await.unwrap();
        let chat = Client::attach(access(&folder, OwnerKind::Chat)).await.unwrap();
        assert_eq!(who_am_i(&chat).await, who_am_i(&brief).await);
        // Nobody takes it from a chat: this one is attached at once.
        let began = Instant::now();
        let daemon = Client::attach(access(&folder, OwnerKind::Daemon)).await.unwrap();
        assert!(began.elapsed() < ANSWER);
        for client in [brief, daemon, chat] {
            client.close().await;
        }
    };
    LocalSet::new().run_until(run).await;
}

/// Takes nothing, and says so late or never.
struct Deaf;

impl sink::Server for Deaf {
    async fn events(self: Rc<Self>, _: sink::EventsParams, _: sink::EventsResults) -> Result<(), Error> {
        std::future::pending().await
    }

    async fn closed(self: Rc<Self>, _: sink::ClosedParams, _: sink::ClosedResults) -> Result<(), Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_client_that_stalls_or_talks_nonsense_is_its_own_problem() {
    let (_home, access) = anna();
    let run = async {
        let server = serve(&access);
        let stream = server.connect().unwrap();
        let mut system = wire::rpc(stream, Side::Client, None);
        let hostile: owner::Client = system.bootstrap(Side::Server);
        tokio::task::spawn_local(system);
        let ask = |text: &str| {
            let mut call = hostile.run_request();
            call.get().set_request(text);
            call.get().set_sink(capnp_rpc::new_client(Deaf));
            call.send().promise
        };
        for text in [
            "",
            "{}",
            "[",
            "\"stay",
            &"[".repeat(10_000),
            &" ".repeat(wire::REQUEST_MAX + 1),
        ] {
            let refused = ask(text).await.err().unwrap();
            assert!(
                refused.extra.contains("the request was refused"),
                "{}",
                refused.extra
            );
        }
        // One page that is never answered, as often as it may be asked for, and more.
        let stalled: Vec<_> = (0..16).map(|_| ask(r#"{"read":"who_am_i"}"#)).collect();
        let refused = ask(r#"{"read":"who_am_i"}"#).await.err().unwrap();
        assert!(refused.extra.contains("too many requests"), "{}", refused.extra);
        // Everybody else is served.
        let other = Connection::open(server.connect().unwrap(), true)
            .await
            .ok()
            .unwrap();
        let mut events = Vec::new();
        let outcome = other.run(r#"{"read":"who_am_i"}"#, &mut events).await;
        assert!(matches!(outcome, Ok(Ok(()))) && events.len() == 1);
        // Dropped, they make room.
        drop(stalled);
        let again = ask(r#"{"read":"nonsense"}"#).await.err().unwrap();
        assert!(again.extra.contains("refused"), "{}", again.extra);
        let began = Instant::now();
        server.end().await;
        assert!(began.elapsed() < ANSWER, "nobody waits for who stalls");
    };
    LocalSet::new().run_until(run).await;
}
