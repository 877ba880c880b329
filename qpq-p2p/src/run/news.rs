//! What the engine says of people, as it is told on.

use qpq_core::engine;

use crate::{event::Event, failure::Failure, sink::Sink};

/// Tells what became of a person; whatever else happened is not told.
pub(super) async fn tell(event: engine::Event, sink: &mut impl Sink) -> Result<(), Failure> {
    match of_person(event) {
        Some(news) => Ok(sink.put(news).await?),
        None => Ok(()),
    }
}

fn of_person(event: engine::Event) -> Option<Event> {
    Some(match event {
        engine::Event::Joined {
            peer: id,
            name,
            verified,
            ..
        } => Event::Joined { name, id, verified },
        engine::Event::Request { peer: id, name } => Event::Request { name, id },
        engine::Event::RequestDropped { peer: id, name } => Event::RequestDropped { name, id },
        engine::Event::Asked { peer: id, name, .. } => Event::Asked { name, id },
        engine::Event::Declined { peer: id, name } => Event::Declined { name, id },
        engine::Event::Held { peer: id, name, .. } => Event::Held { name, id },
        engine::Event::JoinFailed(_)
        | engine::Event::GuessFailed { .. }
        | engine::Event::InviteExpired
        | engine::Event::Reopened
        | engine::Event::Contact(_)
        | engine::Event::Message { .. }
        | engine::Event::Progress { .. }
        | engine::Event::Missing { .. }
        | engine::Event::RolledBack { .. }
        | engine::Event::Renewed { .. }
        | engine::Event::Online(_)
        | engine::Event::Offline(_)
        | _ => return None,
    })
}
