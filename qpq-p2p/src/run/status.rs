//! The state of the profile: what runs, who can be reached and how, what waits and why.

use qpq_core::store::read::{Chat, Reader};

use super::moment::{Moment, name_of};
use crate::{
    event::{Event, Path, PeerStatus, Queued, Status, Waiting},
    failure::Failure,
    owner::Owner,
    profile::Profile,
    sink::Sink,
};

/// As its owner knows it.
pub(super) async fn of_owner(owner: &Owner, sink: &mut impl Sink) -> Result<(), Failure> {
    let ways = owner.ways().await;
    let moment = Moment::new(&owner.profile().reader()?, ways)?;
    let ready = moment.is_running() && owner.is_network_up();
    tell(owner.profile(), &moment, ready, sink).await
}

/// As the store knows it, where nobody runs.
pub(super) async fn of_store(profile: &Profile, sink: &mut impl Sink) -> Result<(), Failure> {
    let moment = Moment::new(&profile.reader()?, None)?;
    tell(profile, &moment, false, sink).await
}

async fn tell(profile: &Profile, moment: &Moment, ready: bool, sink: &mut impl Sink) -> Result<(), Failure> {
    let reader = profile.reader()?;
    let chats = reader.chats()?;
    let status = Status {
        ready,
        pid: moment.is_running().then(std::process::id),
        id: profile.peer_id(),
        relays: [],
        peers: chats
            .iter()
            .filter(|chat| chat.live)
            .flat_map(|chat| peers(moment, chat))
            .collect(),
        outbox: outbox(&reader, moment)?,
    };
    sink.put(Event::Status(status)).await?;
    Ok(())
}

fn peers<'a>(moment: &'a Moment, chat: &'a Chat) -> impl Iterator<Item = PeerStatus> + 'a {
    chat.members.iter().map(|peer| {
        let link = moment.way(peer).and_then(|way| way.link);
        let why = link.is_none().then(|| moment.why(chat.id, peer));
        PeerStatus {
            name: name_of(chat, peer),
            id: *peer,
            path: link.map_or(Path::None, |link| link.path.into()),
            rtt_ms: link.map(|link| u64::try_from(link.rtt.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)),
            reason: why.map(|reason| reason.to_string()),
            reason_code: why,
        }
    })
}

/// What waits in all chats, oldest first.
fn outbox(reader: &Reader, moment: &Moment) -> Result<Vec<Queued>, Failure> {
    let entry = |queued: qpq_core::store::read::Waiting| {
        let waiting = queued.waiting.into_iter().map(|recipient| {
            let reason = moment.why(queued.chat_id, &recipient.peer);
            Waiting {
                name: recipient.name,
                id: recipient.peer,
                reason: reason.to_string(),
                reason_code: reason,
            }
        });
        Queued {
            id: queued.id,
            chat: queued.chat,
            waiting: waiting.collect(),
        }
    };
    Ok(reader.outbox(None)?.into_iter().map(entry).collect())
}
