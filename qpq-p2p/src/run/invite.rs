//! An invite by spoken code, with a link beside it: open both, wait until the code was used, close it whatever
//! happens. The link stays.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use qpq_core::{
    engine::{self, Command, Reply, Settles},
    id::LinkId,
    invite::{Code, Nameplate},
};
use tokio::{sync::broadcast::Receiver, time::Instant};

use super::{Newcomers, Wake, contact, deadline, lost, missed, news, wake};
use crate::{
    duration,
    event::{Event, Spoken, Time},
    failure::{Failure, FailureCode},
    owner::Owner,
    request::Reopened,
    sink::Sink,
};

/// Other inviters on this network are heard within this time: their nameplates are left to them.
const HEAR_OTHERS: Duration = Duration::from_millis(300);

/// Short numbers are easier to say; the rest is for crowded networks.
const SHORT: std::ops::RangeInclusive<u16> = 1..=99;
const LONG: std::ops::RangeInclusive<u16> = 100..=999;

pub(super) async fn run(
    owner: &Owner,
    lifetime: Duration,
    patience: Option<Duration>,
    reopened: Option<Reopened>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let node = owner.node().await?;
    let newcomers = Newcomers::watch(owner)?;
    let mut events = node.events();
    let mut term = Term {
        lifetime,
        patience,
        elapsed: Duration::ZERO,
    };
    // The code and its link were told by the owner before.
    let told = reopened.is_some();
    let mut link = reopened.as_ref().and_then(|reopened| reopened.link);
    let command = match reopened {
        None => {
            tokio::time::sleep(HEAR_OTHERS).await;
            let nameplate = pick(&node.nameplates_in_use(), random()?)?;
            Command::Invite { nameplate, lifetime }
        }
        Some(Reopened {
            code,
            link: _,
            guesses_left,
            resumed,
        }) => {
            if let Some(joined) = missed(owner, resumed)? {
                return Ok(sink.put(joined).await?);
            }
            term.elapsed = resumed.elapsed;
            Command::ReopenInvite {
                code,
                guesses_left,
                lifetime: lifetime.saturating_sub(resumed.elapsed),
            }
        }
    };
    let Reply::Invited(code) = owner.command(command).await? else {
        return Err(Failure::unexpected(
            "no code was made",
            "the engine answered something else",
        ));
    };
    let mut waited = match told {
        true => Ok(()),
        false => tell(owner, &code, lifetime, sink).await.map(|told| link = told),
    };
    if waited.is_ok() {
        waited = wait(&mut events, newcomers, term, sink).await;
    }
    take_back(owner, &waited, link).await;
    waited
}

/// What is of no use any more. The failure to be told is the first one.
async fn take_back(owner: &Owner, waited: &Result<(), Failure>, link: Option<LinkId>) {
    let useless = match (waited, link) {
        // One invite is for one person: who was told the code does not need the link.
        (Ok(()), Some(link)) => Command::ForgetLink(link),
        (Ok(()), None) => return,
        // A dying engine forgets the code anyway.
        (Err(_), _) => Command::CancelInvite,
    };
    let _ = owner.command(useless).await;
}

/// Tells the code, and a link for those who are not within earshot: where there are too many, the code will do.
async fn tell(
    owner: &Owner,
    code: &Code,
    lifetime: Duration,
    sink: &mut impl Sink,
) -> Result<Option<LinkId>, Failure> {
    let node = owner.node().await?;
    let link = match node.command(Command::InviteLink { lifetime }).await {
        Ok(Reply::Link { link, .. }) => Some(link),
        Ok(_) | Err(engine::Failure::TooManyLinks) => None,
        Err(failure) => return Err(failure.into()),
    };
    let told = sink.put(Event::Invite {
        code: Some(Spoken(code.to_string())),
        link: link.as_ref().map(|link| Spoken(link.to_text().to_string())),
        expires: expiry(lifetime),
    });
    // Whether anybody has seen them when this fails is not known: the link stays.
    told.await?;
    Ok(link.map(|link| link.id()))
}

/// How long an invite goes on.
struct Term {
    lifetime: Duration,
    patience: Option<Duration>,
    /// So much of both is over.
    elapsed: Duration,
}

async fn wait(
    events: &mut Receiver<engine::Event>,
    newcomers: Newcomers,
    term: Term,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let Term {
        lifetime,
        patience,
        elapsed,
    } = term;
    let impatient = patience.is_some_and(|patience| patience < lifetime);
    let until: Instant = deadline(
        patience
            .map_or(lifetime, |patience| patience.min(lifetime))
            .saturating_sub(elapsed),
    );
    loop {
        match wake(events, Some(until), sink).await? {
            Wake::Event(
                event @ engine::Event::Joined {
                    settles: Settles { invite: true, .. },
                    ..
                },
            ) => return news::tell(event, sink).await,
            Wake::Event(engine::Event::Held {
                name,
                claimed,
                settles: Settles { invite: true, .. },
                ..
            }) => return Err(contact::key_question(&claimed, &name)),
            Wake::Event(engine::Event::GuessFailed { left: 0 }) => return Err(spent()),
            // The engine's clock goes on while the machine sleeps, where our deadline does not.
            Wake::Event(engine::Event::InviteExpired) => return Err(expired(lifetime)),
            Wake::Event(engine::Event::Reopened) => return Err(lost()),
            Wake::Event(engine::Event::GuessFailed { left }) => sink.put(Event::GuessFailed { left }).await?,
            Wake::Event(event @ engine::Event::Request { .. }) => news::tell(event, sink).await?,
            Wake::Lagged => {
                if let Some(joined) = newcomers.first()? {
                    return Ok(sink.put(joined).await?);
                }
            }
            Wake::Event(_) => {}
            Wake::TimeOver if impatient => return Err(unused()),
            Wake::TimeOver => return Err(expired(lifetime)),
            Wake::Unwanted => return Err(Failure::interrupted()),
        }
    }
}

fn expiry(lifetime: Duration) -> Time {
    let ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    Time(Timestamp::now().as_millisecond().saturating_add(ms))
}

/// Chooses a nameplate that nobody advertises.
fn pick(in_use: &BTreeSet<Nameplate>, random: u32) -> Result<Nameplate, Failure> {
    for range in [SHORT, LONG] {
        let free: Vec<_> = range
            .filter_map(|number| Nameplate::try_from(number).ok())
            .filter(|nameplate| !in_use.contains(nameplate))
            .collect();
        let index = usize::try_from(random)
            .unwrap_or_default()
            .checked_rem(free.len());
        if let Some(nameplate) = index.and_then(|index| free.get(index)) {
            return Ok(*nameplate);
        }
    }
    Err(Failure::new(
        FailureCode::NoNetwork,
        "no code was made",
        "all 999 numbers are taken on this network",
        "somebody floods this network: use another one",
    ))
}

fn random() -> Result<u32, Failure> {
    getrandom::u32().map_err(|error| Failure::unexpected("no code was made", error))
}

fn spent() -> Failure {
    Failure::new(
        FailureCode::GuessesSpent,
        "the code was cancelled",
        "three wrong codes were tried",
        "make a new one: qpq invite; somebody on this network may be guessing",
    )
}

fn expired(lifetime: Duration) -> Failure {
    Failure::new(
        FailureCode::InviteExpired,
        "the code has expired",
        format!("nobody used it within {}", duration::for_people(lifetime)),
        "make a new one: qpq invite",
    )
}

fn unused() -> Failure {
    Failure::new(
        FailureCode::NobodyFound,
        "the code was cancelled",
        "nobody used it within the given --timeout",
        "make a new one: qpq invite",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn nameplate(number: u16) -> Nameplate {
        number.try_into().unwrap()
    }

    fn used(range: impl Iterator<Item = u16>) -> BTreeSet<Nameplate> {
        range
            .filter_map(|number| Nameplate::try_from(number).ok())
            .collect()
    }

    #[test]
    fn a_short_nameplate_is_preferred_and_none_in_use_is_taken() {
        for random in [0, 1, 98, 99, u32::MAX] {
            assert!(SHORT.contains(&pick(&BTreeSet::new(), random).unwrap().number()));
            assert_eq!(
                pick(&used((1..=99).filter(|n| *n != 42)), random).unwrap(),
                nameplate(42)
            );
            assert!(LONG.contains(&pick(&used(SHORT), random).unwrap().number()));
        }
    }

    async fn waited_through(event: engine::Event) -> FailureCode {
        let home = tempfile::TempDir::new().unwrap();
        let folder = home.path().join("default");
        crate::profile::create(&folder, "anna").unwrap();
        let newcomers = Newcomers {
            reader: crate::profile::Profile::open(&folder).unwrap().reader().unwrap(),
            known: BTreeSet::new(),
        };
        let (sender, mut events) = tokio::sync::broadcast::channel(8);
        sender
            .send(engine::Event::Offline(qpq_core::id::PeerId([1; 32])))
            .unwrap();
        sender.send(event).unwrap();
        let day = Duration::from_secs(24 * 3_600);
        let term = Term {
            lifetime: day,
            patience: None,
            elapsed: Duration::ZERO,
        };
        let waited = wait(&mut events, newcomers, term, &mut Vec::new()).await;
        waited.unwrap_err().code
    }

    #[tokio::test]
    async fn nobody_waits_on_a_code_that_is_dead() {
        let expired = waited_through(engine::Event::InviteExpired).await;
        assert_eq!((expired, expired.exit()), (FailureCode::InviteExpired, 9));
        let lost = waited_through(engine::Event::Reopened).await;
        assert_eq!((lost, lost.exit()), (FailureCode::NotStored, 1));
    }

    #[test]
    fn a_network_without_a_free_nameplate_is_told() {
        assert_eq!(pick(&used(1..=999), 5).unwrap_err().code, FailureCode::NoNetwork);
    }
}
