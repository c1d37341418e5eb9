//! What each caller keeps open, counted: connections, and watches on them. What is counted here costs
//! memory for as long as it lasts, whatever its caller does with it.

use super::Line;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How much of something there may be.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Of one caller.
    pub caller: usize,
    /// In all.
    pub all: usize,
    /// Of these, only for callers who showed who they are.
    pub kept: usize,
}

/// Why there is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The caller has as many as it may.
    Caller(usize),
    /// There are as many as there may be.
    All(usize),
}

/// Counts what is open.
pub(crate) struct Connections {
    most: Most,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: usize,
    /// Only of callers that have something open.
    callers: HashMap<Arc<str>, (usize, Line)>,
}

/// One that is open, until it is dropped.
pub(crate) struct Open {
    connections: Arc<Connections>,
    caller: Arc<str>,
    /// The line of its caller.
    pub(crate) line: Line,
}

impl Connections {
    pub(crate) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default() })
    }

    /// Counts one more of `caller`, who is known or not.
    pub(crate) fn open(self: &Arc<Self>, caller: &Arc<str>, known: bool) -> Result<Open, Refused> {
        let mut state = self.lock();
        let all = self.most.all.saturating_sub(if known { 0 } else { self.most.kept });
        if state.all >= all {
            return Err(Refused::All(all));
        }
        let (count, line) = match state.callers.get_mut(caller) {
            Some(counted) => counted,
            None => state.callers.entry(caller.clone()).or_default(),
        };
        if *count >= self.most.caller {
            return Err(Refused::Caller(self.most.caller));
        }
        *count += 1;
        let line = line.clone();
        state.all += 1;
        Ok(Open { connections: self.clone(), caller: caller.clone(), line })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// To whom it is counted.
    pub(crate) fn caller(&self) -> &Arc<str> {
        &self.caller
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.all = state.all.saturating_sub(1);
        if let Some((count, _)) = state.callers.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_take_all_and_nothing_is_left_behind() {
        let connections = Connections::new(Most { caller: 2, all: 3, kept: 1 });
        let (ann, bob, eve): (Arc<str>, Arc<str>, Arc<str>) =
            ("ann".into(), "bob".into(), "eve".into());
        let mut open: Vec<Open> =
            [&ann, &ann].into_iter().filter_map(|it| connections.open(it, true).ok()).collect();
        assert_eq!(connections.open(&eve, false).err(), Some(Refused::All(2)), "one is kept");
        open.extend(connections.open(&bob, true).ok());
        assert_eq!(open.len(), 3);
        assert_eq!(connections.open(&eve, true).err(), Some(Refused::All(3)));
        drop(open);
        let first = connections.open(&ann, true);
        assert!(first.is_ok() && connections.open(&bob, true).is_ok());
        let second = connections.open(&ann, true);
        assert_eq!(connections.open(&ann, true).err(), Some(Refused::Caller(2)));
        drop((first, second));
        let state = connections.lock();
        assert_eq!((state.all, state.callers.len()), (0, 0));
    }
}
