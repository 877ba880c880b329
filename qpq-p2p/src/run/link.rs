//! Invites by link: make one, take it back, use somebody's.

use std::time::Duration;

use qpq_core::{
    engine::{self, Command, Reply},
    id::{LinkId, PeerId},
    invite::{Link, LinkError},
    store::read::Reader,
};
use tokio::sync::broadcast::Receiver;

use super::{Wake, deadline, join::failed, lost, news, wake};
use crate::{
    duration,
    event::{Event, Spoken, Time},
    failure::{Failure, FailureCode},
    owner::Owner,
    sink::Sink,
};

/// The inviter's name, once our request is on its disk.
type Asked = Option<String>;

/// The link is on the disk before anybody sees it.
pub(super) async fn invite(owner: &Owner, lifetime: Duration, sink: &mut impl Sink) -> Result<(), Failure> {
    let Reply::Link { link, expires } = owner.command(Command::InviteLink { lifetime }).await? else {
        return Err(Failure::unexpected(
            "no link was made",
            "the engine answered something else",
        ));
    };
    let told = sink.put(Event::Invite {
        code: None,
        link: Some(Spoken(link.to_text().to_string())),
        expires: Time(expires),
    });
    // Whether anybody has seen it when this fails is not known: it stays.
    Ok(told.await?)
}

pub(super) async fn cancel(owner: &Owner, id: LinkId, sink: &mut impl Sink) -> Result<(), Failure> {
    owner.command(Command::CancelLink(id)).await?;
    Ok(sink.put(Event::LinkCancelled { id }).await?)
}

pub(super) async fn join(
    owner: &Owner,
    link: &str,
    patience: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let link: Link = link.parse()?;
    let inviter = link.inviter();
    let reader = owner.profile().reader()?;
    let before = asked(&reader, inviter)?;
    let mut events = owner.node().await?.events();
    owner.command(Command::JoinLink(link)).await?;
    let waited = wait(&mut events, &reader, inviter, before.as_ref(), patience, sink).await;
    let Err(mut failure) = waited else {
        return Ok(());
    };
    // The failure to be told is the first one; an ended join does not mind.
    let _ = owner.command(Command::CancelJoin).await;
    if failure.code == FailureCode::NobodyFound {
        // It may have come to its end just then.
        if let Some(asked) = kept(&reader, inviter, before.as_ref())? {
            return Ok(sink.put(asked).await?);
        }
        if asked(&reader, inviter)? == Some(None) {
            return Err(unconfirmed(patience));
        }
        if !owner.is_network_up() {
            "no network is up".clone_into(&mut failure.why);
        }
    }
    Err(failure)
}

async fn wait(
    events: &mut Receiver<engine::Event>,
    reader: &Reader,
    inviter: PeerId,
    before: Option<&Asked>,
    patience: Duration,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let until = deadline(patience);
    loop {
        match wake(events, Some(until), sink).await? {
            // Joined: accepted at once, or met by a code meanwhile.
            Wake::Event(event @ (engine::Event::Asked { peer, .. } | engine::Event::Joined { peer, .. }))
                if peer == inviter =>
            {
                return news::tell(event, sink).await;
            }
            Wake::Event(engine::Event::JoinFailed(failure)) => return Err(failed(reader, failure)),
            Wake::Event(engine::Event::Reopened) => return Err(lost()),
            Wake::Lagged => {
                if let Some(asked) = kept(reader, inviter, before)? {
                    return Ok(sink.put(asked).await?);
                }
            }
            Wake::Event(_) => {}
            Wake::TimeOver => return Err(nobody(patience)),
            Wake::Unwanted => return Err(Failure::interrupted()),
        }
    }
}

/// Whether the inviter has our request, and did not have it before.
fn kept(reader: &Reader, inviter: PeerId, before: Option<&Asked>) -> Result<Option<Event>, Failure> {
    let now = asked(reader, inviter)?.filter(|now| before != Some(now));
    Ok(now.flatten().map(|name| Event::Asked { name, id: inviter }))
}

/// Our request to the inviter, where one waits.
fn asked(reader: &Reader, inviter: PeerId) -> Result<Option<Asked>, Failure> {
    let all = reader.asked()?;
    Ok(all
        .into_iter()
        .find(|(peer, _)| *peer == inviter)
        .map(|(_, name)| name))
}

fn nobody(patience: Duration) -> Failure {
    Failure::new(
        FailureCode::NobodyFound,
        "nobody was asked",
        format!(
            "whoever made this link was not found on this network within {}; the request was not sent",
            duration::for_people(patience)
        ),
        "are you on the same network, and does a qpq of theirs run? An old link may have expired",
    )
}

fn unconfirmed(patience: Duration) -> Failure {
    Failure::new(
        FailureCode::NotDelivered,
        "your request is kept here",
        format!(
            "whoever made this link did not confirm it within {}",
            duration::for_people(patience)
        ),
        "it is sent again whenever both sides run qpq, such as: qpq listen",
    )
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let hint = if error == LinkError::Newer {
            "use a newer qpq"
        } else {
            "copy all of it, from QPQ: to its end"
        };
        Self::usage("this link cannot be used", error.to_string(), hint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn each_way_to_fail_has_its_exit_code() {
        let second = Duration::from_secs(1);
        assert_eq!(nobody(second).code.exit(), 4);
        assert_eq!(unconfirmed(second).code.exit(), 7);
        for error in [LinkError::Missing, LinkError::Damaged, LinkError::Newer] {
            assert_eq!(Failure::from(error).code.exit(), 2);
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_an_inviter_with_an_engine_that_is_lost() {
        let home = tempfile::TempDir::new().unwrap();
        let folder = home.path().join("default");
        crate::profile::create(&folder, "ben").unwrap();
        let reader = crate::profile::Profile::open(&folder).unwrap().reader().unwrap();
        let (sender, mut events) = tokio::sync::broadcast::channel(8);
        sender.send(engine::Event::Reopened).unwrap();
        let (anna, hour) = (PeerId([1; 32]), Duration::from_secs(3_600));
        let waited = wait(&mut events, &reader, anna, None, hour, &mut Vec::new()).await;
        assert_eq!(waited.unwrap_err().code, FailureCode::NotStored);
    }
}
