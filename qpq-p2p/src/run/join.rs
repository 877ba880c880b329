//! Using an invite: look for whoever waits under the code, and prove to each other that both know it.

use std::time::Duration;

use qpq_core::{
    engine::{self, Command},
    invite::{Code, JoinFailure},
    store::read::Reader,
};
use tokio::sync::broadcast::Receiver;

use super::{Newcomers, Wake, deadline, lost, wake};
use crate::{
    duration,
    event::Event,
    failure::{Failure, FailureCode},
    owner::Owner,
    sink::Sink,
};

pub(super) async fn run(
    owner: &Owner,
    code: Code,
    patience: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let newcomers = Newcomers::watch(owner)?;
    let mut events = owner.node().await?.events();
    owner.command(Command::Join(code)).await?;
    let mut waited = wait(&mut events, &newcomers, patience, sink).await;
    if let Err(failure) = &mut waited
        && failure.code == FailureCode::NobodyFound
        && !owner.is_network_up()
    {
        "no network is up".clone_into(&mut failure.why);
    }
    if waited.is_err() {
        // The failure to be told is the first one; an ended join does not mind.
        let _ = owner.command(Command::CancelJoin).await;
        // It may have come to its end just then.
        if let Some(joined) = newcomers.first()? {
            return Ok(sink.put(joined).await?);
        }
    }
    waited
}

async fn wait(
    events: &mut Receiver<engine::Event>,
    newcomers: &Newcomers,
    patience: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let until = deadline(patience);
    loop {
        match wake(events, Some(until), sink).await? {
            Wake::Event(engine::Event::Joined { peer, name, verified }) => {
                return Ok(sink
                    .put(Event::Joined {
                        name,
                        id: peer,
                        verified,
                    })
                    .await?);
            }
            Wake::Event(engine::Event::JoinFailed(failure)) => {
                return Err(failed(&newcomers.reader, failure));
            }
            Wake::Event(engine::Event::Reopened) => return Err(lost()),
            Wake::Lagged => {
                if let Some(joined) = newcomers.first()? {
                    return Ok(sink.put(joined).await?);
                }
            }
            Wake::Event(_) => {}
            Wake::TimeOver => return Err(nobody(patience)),
            Wake::Unwanted => return Err(Failure::interrupted()),
        }
    }
}

fn failed(reader: &Reader, failure: JoinFailure) -> Failure {
    if let JoinFailure::AlreadyContact(peer) = failure {
        let chats = reader.chats().unwrap_or_default();
        let known = chats.into_iter().find(|chat| chat.members == [peer]);
        return already(known.map_or_else(|| peer.short(), |chat| chat.name));
    }
    refused(failure)
}

fn already(name: String) -> Failure {
    Failure::new(
        FailureCode::AlreadyContact,
        format!("{name} is a contact already"),
        "whoever waits under this number is nobody new",
        format!("talk to them: qpq chat {name}"),
    )
}

fn refused(failure: JoinFailure) -> Failure {
    let why = failure.to_string();
    let (code, hint) = match failure {
        JoinFailure::WrongCode => (
            FailureCode::WrongCode,
            "ask for the code again, letter by letter; three wrong ones end their invite",
        ),
        JoinFailure::Refused => (FailureCode::Refused, "ask for a new code: qpq invite"),
        JoinFailure::AlreadyContact(peer) => return already(peer.short()),
        JoinFailure::GuessesSpent => (
            FailureCode::GuessesSpent,
            "ask for a new code: qpq invite; somebody on this network may interfere",
        ),
    };
    Failure::new(code, "you did not become contacts", why, hint)
}

fn nobody(patience: Duration) -> Failure {
    Failure::new(
        FailureCode::NobodyFound,
        "nobody was found",
        format!(
            "nobody on this network waited under this code for {}",
            duration::for_people(patience)
        ),
        "are you on the same network, and is their `qpq invite` still waiting?",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[tokio::test]
    async fn nobody_looks_for_an_inviter_with_an_engine_that_is_lost() {
        let home = tempfile::TempDir::new().unwrap();
        let folder = home.path().join("default");
        crate::profile::create(&folder, "ben").unwrap();
        let newcomers = Newcomers {
            reader: crate::profile::Profile::open(&folder).unwrap().reader().unwrap(),
            known: std::collections::BTreeSet::new(),
        };
        let (sender, mut events) = tokio::sync::broadcast::channel(8);
        sender.send(engine::Event::Reopened).unwrap();
        let waited = wait(
            &mut events,
            &newcomers,
            Duration::from_secs(3_600),
            &mut Vec::new(),
        )
        .await;
        let code = waited.unwrap_err().code;
        assert_eq!((code, code.exit()), (FailureCode::NotStored, 1));
    }

    #[test]
    fn each_way_to_fail_has_its_exit_code() {
        assert_eq!(refused(JoinFailure::WrongCode).code.exit(), 5);
        assert_eq!(refused(JoinFailure::GuessesSpent).code.exit(), 5);
        assert_eq!(refused(JoinFailure::Refused).code.exit(), 9);
        assert_eq!(nobody(Duration::from_secs(30)).code.exit(), 4);
    }
}
