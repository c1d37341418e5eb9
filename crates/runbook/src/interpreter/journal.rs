//! The journal of a run while a decision is made: its entries, found by path, and their bounds.

use quarterdeck_model::{
    Duration, Time,
    kinds::{RunStatus, StepPhase, StepStatus},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::HashMap, io};

/// Most entries: a status is read and written whole, and people read it.
pub const JOURNAL_STEPS_MAX: usize = 2_000;
/// Most bytes of inputs, items and outputs in one journal. With the entries themselves it stays
/// within what an object of the API may be.
pub const JOURNAL_BYTES_MAX: usize = 1024 * 1024;
/// Values smaller than this are not counted against [`JOURNAL_BYTES_MAX`]: all entries with one of
/// them each are less than half of it.
const UNCOUNTED_BYTES_MAX: usize = 256;
/// Longest message.
const MESSAGE_BYTES_MAX: usize = 1024;

pub(super) struct Journal {
    pub(super) status: RunStatus,
    places: HashMap<String, usize>,
    latest: Time,
    before: Before,
}

/// What was recorded, as far as it may have changed since: comparing costs what a decision touches,
/// not what the whole run did.
struct Before {
    /// All but the entries.
    head: RunStatus,
    /// How many entries there were.
    steps: usize,
    /// Those that were opened for a change, as they were.
    opened: HashMap<usize, StepStatus>,
    /// Entries were taken out, so that places are no longer what they were.
    moved: bool,
}

impl Journal {
    pub(super) fn new(mut status: RunStatus) -> Self {
        let steps = std::mem::take(&mut status.steps);
        let (head, known) = (status.clone(), steps.len());
        status.steps = steps;
        let before = Before { head, steps: known, opened: HashMap::new(), moved: false };
        let mut journal = Self { status, places: HashMap::new(), latest: epoch(), before };
        journal.index();
        journal
    }

    /// Lets `change` take entries out and change others.
    pub(super) fn rewrite(&mut self, change: impl FnOnce(&mut Vec<StepStatus>)) {
        self.before.moved = true;
        change(&mut self.status.steps);
        self.index();
    }

    fn index(&mut self) {
        let entries = self.status.steps.iter().enumerate();
        self.places = entries.map(|(at, entry)| (entry.name.clone(), at)).collect();
        let times = self.status.steps.iter().flat_map(|entry| [entry.start_time, entry.end_time]);
        self.latest = times
            .chain([self.status.start_time, self.status.completion_time])
            .flatten()
            .max()
            .unwrap_or_else(epoch);
    }

    /// What is recorded from now on, and from which entry on it differs from what was.
    pub(super) fn finish(self) -> (RunStatus, Option<usize>) {
        let Self { mut status, before, .. } = self;
        if before.moved {
            return (status, Some(0));
        }
        let opened = before.opened.iter();
        let differs = opened.filter(|(at, entry)| status.steps.get(**at) != Some(*entry));
        let mut first = differs.map(|(at, _)| *at).min();
        let steps = std::mem::take(&mut status.steps);
        if first.is_none() && (status != before.head || steps.len() > before.steps) {
            first = Some(before.steps);
        }
        status.steps = steps;
        (status, first)
    }

    pub(super) fn len(&self) -> usize {
        self.status.steps.len()
    }

    /// The latest time recorded.
    pub(super) fn latest(&self) -> Time {
        self.latest
    }

    /// The time at which something ends that ends at `now`: each a microsecond after the one before,
    /// so that the order in which steps ended is recorded.
    pub(super) fn end_time(&mut self, now: Time) -> Time {
        if now > self.latest {
            self.latest = now;
        } else {
            let tick = std::time::Duration::from_micros(1);
            let next = self.latest.timestamp().checked_add(tick);
            self.latest = next.map_or(self.latest, Time::new);
        }
        self.latest
    }

    pub(super) fn place(&self, path: &str) -> Option<usize> {
        self.places.get(path).copied()
    }

    pub(super) fn find(&self, path: &str) -> Option<&StepStatus> {
        self.entry(self.place(path)?)
    }

    pub(super) fn entry(&self, at: usize) -> Option<&StepStatus> {
        self.status.steps.get(at)
    }

    pub(super) fn entry_mut(&mut self, at: usize) -> Option<&mut StepStatus> {
        let entry = self.status.steps.get_mut(at)?;
        if at < self.before.steps && !self.before.moved {
            self.before.opened.entry(at).or_insert_with(|| entry.clone());
        }
        Some(entry)
    }

    /// Adds an entry and says where it is.
    pub(super) fn push(&mut self, entry: StepStatus) -> usize {
        let at = self.status.steps.len();
        self.places.insert(entry.name.clone(), at);
        self.status.steps.push(entry);
        at
    }

    /// Paths of the entries under `prefix` that have not ended.
    pub(super) fn unended(&self, prefix: &str) -> Vec<usize> {
        let entries = self.status.steps.iter().enumerate();
        entries
            .filter(|(_, entry)| !entry.phase.ended() && entry.name.starts_with(prefix))
            .map(|(at, _)| at)
            .collect()
    }

    /// Whether `value` may be added: `most` bytes by itself, and within the journal's bound.
    ///
    /// # Errors
    /// A reason and a sentence.
    pub(super) fn admit(
        &self,
        what: &str,
        value: &impl Serialize,
        most: usize,
    ) -> Result<(), (&'static str, String)> {
        let bytes = size(value);
        if bytes > most {
            return Err(("TooLarge", format!("{what} has {bytes} bytes; at most {most} are kept")));
        }
        if bytes > UNCOUNTED_BYTES_MAX && self.bytes() + bytes > JOURNAL_BYTES_MAX {
            let why = format!(
                "{what} has {bytes} bytes; with it the run's journal would be more than \
                 {JOURNAL_BYTES_MAX} bytes"
            );
            return Err(("JournalFull", why));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let values = |entry: &StepStatus| {
            let own = [&entry.input, &entry.output].into_iter().flatten().map(size).sum::<usize>();
            own + entry.items.as_ref().map_or(0, size) + size(&entry.outputs)
        };
        self.status.steps.iter().map(values).sum()
    }
}

/// What is shown of a step to expressions.
pub(super) fn shown(entry: &StepStatus, dry_run: bool) -> Value {
    let mut shown = serde_json::Map::new();
    shown.insert("phase".into(), phase_name(entry.phase).into());
    // What a step gives back is unknown when it is only rehearsed; reading it must say so.
    if entry.phase == StepPhase::Succeeded && !dry_run {
        shown.insert("output".into(), entry.output.clone().unwrap_or_default());
    }
    let outputs = entry.outputs.iter().map(|(name, value)| (name.clone(), value.clone()));
    shown.insert("outputs".into(), Value::Object(outputs.collect()));
    shown.insert("attempts".into(), entry.attempts.into());
    for (name, value) in [("reason", &entry.reason), ("message", &entry.message)] {
        if let Some(value) = value {
            shown.insert(name.into(), value.clone().into());
        }
    }
    Value::Object(shown)
}

fn phase_name(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Running => "Running",
        StepPhase::Waiting => "Waiting",
        StepPhase::Succeeded => "Succeeded",
        StepPhase::Failed => "Failed",
        StepPhase::Skipped => "Skipped",
        StepPhase::Cancelled => "Cancelled",
    }
}

/// `time` and then `span`.
pub(super) fn after(time: Time, span: Duration) -> Time {
    let later = time.timestamp().checked_add(span.as_std());
    Time::new(later.unwrap_or(jiff::Timestamp::MAX))
}

/// `text`, cut to the longest a message may be.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

fn epoch() -> Time {
    Time::new(jiff::Timestamp::UNIX_EPOCH)
}

/// Bytes of `value` as JSON.
fn size(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing JSON to a counter cannot fail; if it did, the value would be refused as too large.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX / 4, |()| count.0)
}
