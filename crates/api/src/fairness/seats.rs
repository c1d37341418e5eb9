//! Places for requests that are worked on, of which there are so many as fit into memory. When all are
//! taken, the next goes to whoever of those that wait holds the fewest, so that nobody who asks for
//! little waits behind one who asks for much.
//!
//! Modelled after the API Priority and Fairness of Kubernetes, with a line for each caller where it
//! has lines that callers share by a hash.

use super::Level;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// How many places there are, and who may have how many of them.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// All of them.
    pub all: usize,
    /// Of these, only for administrators of the plane and agents on machines.
    pub kept: usize,
    /// Most that one caller holds.
    pub caller: usize,
    /// Most requests of one caller that wait for a place.
    pub waiting: usize,
}

/// A request's place. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    caller: Arc<str>,
}

/// As many requests of this caller wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The places.
#[derive(Debug)]
pub(crate) struct Seats {
    limits: Places,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    callers: HashMap<Arc<str>, Held>,
    /// Callers whose next request can have a place once one is free, best first.
    next: BTreeSet<Rank>,
    /// Numbers requests in the order they came.
    number: u64,
}

/// What one caller holds and waits for.
#[derive(Debug)]
struct Held {
    level: Level,
    places: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Seat>)>,
}

/// Level first, then who holds the fewest, then who came first.
type Rank = (Level, usize, u64, Arc<str>);

impl Seats {
    pub(crate) fn new(limits: Places) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// A place, as soon as it is this caller's turn.
    pub(crate) async fn take(
        self: &Arc<Self>,
        caller: &Arc<str>,
        level: Level,
    ) -> Result<Seat, Full> {
        let waiting = {
            let mut state = self.lock();
            state.number += 1;
            let number = state.number;
            let held = state.callers.entry(caller.clone()).or_insert_with(|| Held {
                level,
                places: 0,
                waiting: VecDeque::new(),
            });
            if held.waiting.len() >= self.limits.waiting {
                return Err(Full);
            }
            let (seat, waiting) = oneshot::channel();
            let before = held.rank(caller, self.limits.caller);
            held.waiting.push_back((number, seat));
            let after = held.rank(caller, self.limits.caller);
            state.move_to(before, after);
            let unwanted = self.hand_out(&mut state);
            drop(state);
            drop(unwanted);
            waiting
        };
        // The sender is kept until there is a place.
        waiting.await.map_err(|_| Full)
    }

    /// Gives free places to those who wait. Answers those that were no longer wanted, to be dropped
    /// when the state is not locked.
    fn hand_out(self: &Arc<Self>, state: &mut State) -> Vec<Seat> {
        let mut unwanted = Vec::new();
        while let Some(rank) = state.next.first().cloned() {
            let free = self.limits.all.saturating_sub(state.taken);
            let kept = if rank.0 == Level::Usual { self.limits.kept } else { 0 };
            if free <= kept {
                break;
            }
            let caller = rank.3.clone();
            let Some(held) = state.callers.get_mut(&caller) else {
                state.next.remove(&rank);
                continue;
            };
            let Some((_, waits)) = held.waiting.pop_front() else {
                state.next.remove(&rank);
                continue;
            };
            // One that has gone away needs none.
            let given = !waits.is_closed();
            if given {
                held.places += 1;
            }
            let after = held.rank(&caller, self.limits.caller);
            if held.places == 0 && held.waiting.is_empty() {
                state.callers.remove(&caller);
            }
            state.move_to(Some(rank), after);
            if given {
                state.taken += 1;
                let seat = Seat { seats: self.clone(), caller };
                unwanted.extend(waits.send(seat).err());
            }
        }
        unwanted
    }

    fn give_back(&self, state: &mut State, caller: &Arc<str>) {
        state.taken = state.taken.saturating_sub(1);
        let Some(held) = state.callers.get_mut(caller) else { return };
        let before = held.rank(caller, self.limits.caller);
        held.places = held.places.saturating_sub(1);
        let after = held.rank(caller, self.limits.caller);
        if held.places == 0 && held.waiting.is_empty() {
            state.callers.remove(caller);
        }
        state.move_to(before, after);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body whose memory is its request's until it was sent.
pub(crate) struct Seated<B> {
    pub(crate) body: B,
    pub(crate) seat: Option<Seat>,
}

impl<B: Body + Unpin> Body for Seated<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.seat = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Held {
    /// Its rank among those who wait; none when it waits for nothing, or holds all it may.
    fn rank(&self, caller: &Arc<str>, most: usize) -> Option<Rank> {
        let (number, _) = self.waiting.front()?;
        (self.places < most).then(|| (self.level, self.places, *number, caller.clone()))
    }
}

impl State {
    fn move_to(&mut self, before: Option<Rank>, after: Option<Rank>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.next.remove(&before);
        }
        self.next.extend(after);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let seats = self.seats.clone();
        let mut state = seats.lock();
        seats.give_back(&mut state, &self.caller);
        let unwanted = seats.hand_out(&mut state);
        drop(state);
        drop(unwanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use std::pin::Pin;

    type Waiting = Pin<Box<dyn Future<Output = Result<Seat, Full>>>>;

    fn take(seats: &Arc<Seats>, caller: &str, level: Level) -> Waiting {
        let (seats, caller) = (seats.clone(), Arc::from(caller));
        Box::pin(async move { seats.take(&caller, level).await })
    }

    /// The seat, if there is one now.
    fn now(waiting: &mut Waiting) -> Option<Result<Seat, Full>> {
        waiting.now_or_never()
    }

    const LIMITS: Places = Places { all: 4, kept: 1, caller: 3, waiting: 5 };

    #[test]
    fn who_holds_the_fewest_is_next() {
        let seats = Seats::new(LIMITS);
        let mut flood: Vec<Waiting> = (0..6).map(|_| take(&seats, "flood", Level::Usual)).collect();
        let mut held: Vec<Seat> =
            flood.iter_mut().filter_map(|waiting| now(waiting)?.ok()).collect();
        assert_eq!(held.len(), 3, "one place is kept for others than people");
        let mut ann = take(&seats, "ann", Level::Usual);
        assert!(now(&mut ann).is_none());
        let mut system = take(&seats, "system", Level::System);
        assert!(matches!(now(&mut system), Some(Ok(_))), "there is a place kept");
        held.pop();
        let ann = now(&mut ann);
        assert!(matches!(ann, Some(Ok(_))), "ann came last and holds none");
        assert!(flood.iter_mut().skip(3).all(|waiting| now(waiting).is_none()));
        drop(ann);
        assert!(matches!(now(&mut flood[3]), Some(Ok(_))));
    }

    #[test]
    fn a_caller_has_a_limit_and_a_line_that_ends() {
        let seats = Seats::new(Places { all: 100, kept: 0, ..LIMITS });
        let mut all: Vec<Waiting> = (0..9).map(|_| take(&seats, "ann", Level::Usual)).collect();
        let found: Vec<_> = all.iter_mut().map(now).collect();
        let full = |found: &Option<Result<Seat, Full>>| matches!(found, Some(Err(Full)));
        assert_eq!(found.iter().filter(|found| matches!(found, Some(Ok(_)))).count(), 3);
        assert_eq!(found.iter().filter(|found| full(found)).count(), 1, "three hold, five wait");
        assert!(matches!(now(&mut take(&seats, "bob", Level::Usual)), Some(Ok(_))));
    }

    proptest! {
        /// Whatever comes and goes: never more than there are, nothing waits while it could have a
        /// place, and in the end all are free.
        #[test]
        fn places_are_neither_lost_nor_doubled(
            steps in prop::collection::vec((0..3_usize, 0..5_u8, any::<bool>()), 1..200)
        ) {
            let seats = Seats::new(LIMITS);
            let mut waiting: Vec<(usize, Waiting)> = Vec::new();
            let mut held: Vec<(usize, Seat)> = Vec::new();
            for (what, who, first) in steps {
                match what {
                    0 => {
                        let level = if who == 0 { Level::System } else { Level::Usual };
                        waiting.push((who.into(), take(&seats, &who.to_string(), level)));
                    }
                    1 if !held.is_empty() => drop(held.remove(if first { 0 } else { held.len() - 1 })),
                    _ if !waiting.is_empty() => drop(waiting.remove(if first { 0 } else { waiting.len() - 1 })),
                    _ => {}
                }
                let mut left = Vec::new();
                for (who, mut it) in waiting {
                    match now(&mut it) {
                        Some(Ok(seat)) => held.push((who, seat)),
                        Some(Err(Full)) => {}
                        None => left.push((who, it)),
                    }
                }
                waiting = left;
                prop_assert!(held.len() <= LIMITS.all);
                let of = |who: usize| held.iter().filter(|(holder, _)| *holder == who).count();
                prop_assert!((0..5).all(|who| of(who) <= LIMITS.caller));
                prop_assert_eq!(seats.lock().taken, held.len());
                let free = LIMITS.all - held.len();
                for (who, _) in &waiting {
                    let may = of(*who) < LIMITS.caller && free > usize::from(*who != 0);
                    prop_assert!(!may, "{who} waits with {free} free and {} held", of(*who));
                }
            }
            drop((waiting, held));
            prop_assert_eq!(seats.lock().taken, 0);
            let mut all: Vec<Waiting> =
                (0..LIMITS.all).map(|who| take(&seats, &format!("new {who}"), Level::System)).collect();
            let found: Vec<_> = all.iter_mut().map(now).collect();
            prop_assert!(found.iter().all(|found| matches!(found, Some(Ok(_)))));
            drop(found);
            prop_assert!(seats.lock().callers.is_empty());
        }
    }
}
