//! What happened, as sentences in order: kept to be read when something breaks, and counted into one number
//! that two runs of the same seed share.

use crate::clock::Clock;
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex},
};

/// How many sentences are kept.
const KEPT: usize = 120;

/// Cloning shares it.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    clock: Clock,
    lines: VecDeque<String>,
    hasher: DefaultHasher,
    broken: Option<String>,
    /// Every sentence is printed as it is said.
    aloud: bool,
}

impl Trace {
    pub(crate) fn new(clock: Clock, aloud: bool) -> Self {
        let (lines, hasher) = (VecDeque::new(), DefaultHasher::new());
        Self(Arc::new(Mutex::new(Inner { clock, lines, hasher, broken: None, aloud })))
    }

    /// Tells what happens.
    pub(crate) fn say(&self, what: impl Into<String>) {
        let inner = &mut *self.0.lock().unwrap();
        if inner.broken.is_some() {
            // What comes after the first thing that broke only hides it.
            return;
        }
        let now = inner.clock.now();
        let time = format!("{now:.3}");
        let time = time.get(11..23).unwrap_or(&time);
        let line = format!("{time}  {}", what.into());
        line.hash(&mut inner.hasher);
        if inner.aloud {
            println!("{line}");
        }
        if inner.lines.len() == KEPT {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// Counts what is not told in full.
    pub(crate) fn count(&self, bytes: &[u8]) {
        self.0.lock().unwrap().hasher.write(bytes);
    }

    /// Something is not as it must be. The first such thing counts.
    pub(crate) fn broken(&self, what: impl Into<String>) {
        let what = what.into();
        self.say(format!("BROKEN: {what}"));
        self.0.lock().unwrap().broken.get_or_insert(what);
    }

    /// What broke first.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.0.lock().unwrap().broken.clone()
    }

    /// The number of all that was told.
    pub(crate) fn number(&self) -> u64 {
        self.0.lock().unwrap().hasher.finish()
    }

    /// The last sentences, one a line.
    pub(crate) fn last(&self) -> String {
        let inner = self.0.lock().unwrap();
        inner.lines.iter().map(|line| format!("    {line}\n")).collect()
    }
}
