//! Using an invite: look for whoever waits under the code, and prove to each other that both know it.

use std::time::Duration;

use qpq_core::{
    contact::Person,
    engine::{self, Command, Settles},
    invite::{Code, JoinFailure},
    store::read::Reader,
};
use tokio::sync::broadcast::Receiver;

use super::{
    Newcomers, Wake,
    contact::{self, quoted},
    deadline, lost, missed, news, wake,
};
use crate::{
    duration,
    failure::{Failure, FailureCode},
    owner::Owner,
    request::Resumed,
    sink::Sink,
};

pub(super) async fn run(
    owner: &Owner,
    code: Code,
    patience: Duration,
    resumed: Option<Resumed>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let newcomers = Newcomers::watch(owner)?;
    let mut events = owner.node().await?.events();
    if let Some(resumed) = resumed
        && let Some(joined) = missed(owner, resumed)?
    {
        return Ok(sink.put(joined).await?);
    }
    owner.command(Command::Join(code)).await?;
    let elapsed = resumed.map_or(Duration::ZERO, |resumed| resumed.elapsed);
    let mut waited = wait(&mut events, &newcomers, patience, elapsed, sink).await;
    if let Err(failure) = &mut waited
        && failure.code == FailureCode::NobodyFound
        && !owner.is_network_up()
    {
        "no network is up".clone_into(&mut failure.why);
    }
    if waited.is_ok() {
        owner.note_joined();
    } else {
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
    elapsed: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let until = deadline(patience.saturating_sub(elapsed));
    loop {
        match wake(events, Some(until), sink).await? {
            Wake::Event(
                event @ (engine::Event::Joined {
                    settles: Settles { join: true, .. },
                    ..
                }
                | engine::Event::Asked {
                    settles: Settles { join: true, .. },
                    ..
                }),
            ) => return news::tell(event, sink).await,
            Wake::Event(engine::Event::Held {
                name,
                claimed,
                settles: Settles { join: true, .. },
                ..
            }) => return Err(contact::key_question(&claimed, &name)),
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

pub(super) fn failed(reader: &Reader, failure: JoinFailure) -> Failure {
    if let JoinFailure::Barred(peer) = failure {
        let people = reader.people().unwrap_or_default();
        let known = people.into_iter().find(|person| person.peer == peer);
        return barred(known.as_ref());
    }
    refused(failure)
}

/// Whoever waits under this number is somebody the user has to decide about first.
fn barred(person: Option<&Person>) -> Failure {
    match person {
        Some(person) if person.blocked => Failure::new(
            FailureCode::Blocked,
            format!("you have blocked {}", person.name),
            "whoever waits under this number is that person",
            format!("let them in again: qpq contact unblock {}", quoted(&person.name)),
        ),
        Some(person) => contact::key_question(&person.claimed, &person.name),
        None => refused(JoinFailure::Refused),
    }
}

fn refused(failure: JoinFailure) -> Failure {
    let why = failure.to_string();
    let (code, hint) = match failure {
        JoinFailure::WrongCode => (
            FailureCode::WrongCode,
            "ask for the code again, letter by letter; three wrong ones end their invite",
        ),
        JoinFailure::Refused => (FailureCode::Refused, "ask for a new code: qpq invite"),
        JoinFailure::LinkUsed
        | JoinFailure::LinkExpired
        | JoinFailure::LinkCancelled
        | JoinFailure::LinkUnknown => (FailureCode::Refused, "ask for a new link: qpq invite --link"),
        JoinFailure::Barred(_) => (FailureCode::Blocked, "qpq contact list"),
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
            Duration::ZERO,
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
