//! The places of strangers while an invite is open. Who only sits there makes room for who comes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Unproven strangers at once.
const STRANGERS: usize = 8;

/// A pairing takes a second: who needs longer makes room like one who says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The strangers who are in, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strangers(Arc<Mutex<Seats>>);

#[derive(Debug, Default)]
struct Seats {
    taken: VecDeque<Seat>,
    last: u64,
}

struct Seat {
    number: u64,
    since: Instant,
    spoke: Arc<AtomicBool>,
    evict: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Seat {
    fn is_free_for_others(&self, now: Instant) -> bool {
        !self.spoke.load(Ordering::Relaxed) || now.saturating_duration_since(self.since) >= PATIENCE
    }
}

impl Strangers {
    /// Takes a place, if need be that of the oldest who has not said anything, or not got anywhere.
    pub(crate) fn enter(
        &self,
        now: Instant,
        evict: impl FnOnce() + Send + 'static,
    ) -> Option<StrangersPlace> {
        let mut seats = self.lock();
        let evicted = if seats.taken.len() >= STRANGERS {
            let idle = seats.taken.iter().position(|seat| seat.is_free_for_others(now))?;
            seats.taken.remove(idle)
        } else {
            None
        };
        seats.last += 1;
        let (number, spoke) = (seats.last, Arc::default());
        seats.taken.push_back(Seat {
            number,
            since: now,
            spoke: Arc::clone(&spoke),
            evict: Box::new(evict),
        });
        drop(seats);
        if let Some(seat) = evicted {
            (seat.evict)();
        }
        Some(StrangersPlace {
            strangers: self.clone(),
            number,
            spoke,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the strangers; given back when the stranger is a contact, or gone.
#[derive(Debug)]
pub(crate) struct StrangersPlace {
    strangers: Strangers,
    number: u64,
    spoke: Arc<AtomicBool>,
}

impl StrangersPlace {
    /// To be set when the stranger has said something to the engine.
    pub(crate) fn spoke(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.spoke)
    }
}

impl Drop for StrangersPlace {
    fn drop(&mut self) {
        self.strangers
            .lock()
            .taken
            .retain(|seat| seat.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_says_nothing_makes_room_and_who_pairs_does_not_until_it_takes_too_long() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let (evict, evicted) = mpsc::channel();
        let enter = |name: usize, now| {
            let evict = evict.clone();
            strangers.enter(now, move || evict.send(name).unwrap())
        };
        let mut places: Vec<_> = (0..STRANGERS).map(|name| enter(name, now).unwrap()).collect();
        for place in &places[1..] {
            place.spoke().store(true, Ordering::Relaxed);
        }
        let newcomer = enter(8, now).unwrap();
        assert_eq!(evicted.try_recv(), Ok(0), "the silent one");
        newcomer.spoke().store(true, Ordering::Relaxed);
        assert!(enter(9, now).is_none(), "all of them pair");
        let later = now + PATIENCE;
        places.push(enter(10, later).unwrap());
        assert_eq!(evicted.try_recv(), Ok(1), "the oldest");
        // The places of those who were evicted go with their links, and take nobody else's.
        places.drain(..2);
        assert_eq!(strangers.lock().taken.len(), STRANGERS);
        drop((places, newcomer));
        assert_eq!(strangers.lock().taken.len(), 0);
    }
}
