//! How much a host may have written down: what it says of one thing again and again is put off, and then the last of it counts. What
//! a task came to, which a host says once, and how an instance is in the end, is never lost. What is put off is written in the order in which it began to
//! wait, and nothing new passes it. Pure: times are passed in.

use super::said::Said;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// So much at once, and one more each time that has passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    burst: u32,
    every: Duration,
}

/// Of one thing: what changes seldom is written at once, and what flaps ten times a minute.
const THING: Rate = Rate { burst: 5, every: Duration::from_secs(6) };
/// Of a host: a hundred instances that start are written at once, and then some are each second.
pub(super) const HOST: Rate = Rate { burst: 500, every: Duration::from_millis(250) };
/// Streams that a host begins. Each is written down.
pub(super) const STREAMS: Rate = Rate { burst: 10, every: Duration::from_secs(10) };
/// Things whose writing is put off, of one host. It runs some tens of instances, and has 32 tasks.
const THINGS_MAX: usize = 2_048;
/// What is put off takes so much at most: some kilobytes of each thing.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// What was taken of a rate: when it would be whole again (generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket(Option<Instant>);

impl Bucket {
    /// Takes one, or says when there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Instant> {
        let whole = self.0.map_or(now, |whole| whole.max(now));
        let room = rate.every * rate.burst.saturating_sub(1);
        if whole.duration_since(now) > room {
            return Err(whole.checked_sub(room).unwrap_or(now));
        }
        self.0 = Some(whole + rate.every);
        Ok(())
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.0.is_none_or(|whole| whole <= now)
    }
}

/// What a report is of. Of each, the last counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Facts,
    Conditions,
    Instance(String),
    Task(String),
}

#[derive(Default)]
struct Entry {
    bucket: Bucket,
    /// Put off.
    waits: Option<Waits>,
}

struct Waits {
    said: Said,
    bytes: usize,
    /// Its place among those that wait.
    turn: u64,
}

/// What one stream has said, as far as it is put off or was said lately.
#[derive(Default)]
pub(super) struct Limits {
    things: BTreeMap<Thing, Entry>,
    /// When the next that is put off is due.
    due: Option<Instant>,
    /// What is put off takes so much.
    bytes: usize,
    /// The turn of the next that has to wait.
    turns: u64,
}

/// What is to be done with a report.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Write it.
    Now(Said),
    /// It is kept for later.
    Later,
    /// More is put off than any host has to say.
    TooMuch,
}

impl Limits {
    /// Takes in what is said.
    pub(super) fn offer(&mut self, said: Said, host: &mut Bucket, now: Instant) -> Verdict {
        let thing = said.thing();
        if self.things.len() >= THINGS_MAX {
            self.forget(now);
        }
        if self.things.len() >= THINGS_MAX && !self.things.contains_key(&thing) {
            return Verdict::TooMuch;
        }
        let entry = self.things.entry(thing).or_default();
        // What waits, waits for its turn: others of this host wait too, and some may be due.
        let waits = entry.waits.is_some() || self.due.is_some_and(|due| due <= now);
        let Err(at) = (if waits { Err(now) } else { entry.take(host, now) }) else {
            return Verdict::Now(said);
        };
        let (bytes, before) = (said.bytes(), entry.waits.as_ref());
        let others = self.bytes.saturating_sub(before.map_or(0, |it| it.bytes));
        let all = others.saturating_add(bytes);
        if all > WAITING_BYTES_MAX {
            return Verdict::TooMuch;
        }
        self.bytes = all;
        let turn = before.map_or(self.turns, |it| it.turn);
        if entry.waits.replace(Waits { said, bytes, turn }).is_none() {
            self.turns += 1;
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
        Verdict::Later
    }

    /// The end of a thing is written without being offered: nothing that was said of it before is worth anything any more.
    pub(super) fn ended(&mut self, thing: &Thing) {
        let before = self.things.remove(thing).and_then(|entry| entry.waits);
        self.bytes = self.bytes.saturating_sub(before.map_or(0, |it| it.bytes));
    }

    /// When there is something to write.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The next that was put off and may be written.
    pub(super) fn pop(&mut self, host: &mut Bucket, now: Instant) -> Option<Said> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        let mut later = |at: Instant| self.due = Some(self.due.map_or(at, |due| due.min(at)));
        let mut first: Option<(u64, &mut Entry)> = None;
        for entry in self.things.values_mut() {
            let Some(turn) = entry.waits.as_ref().map(|it| it.turn) else { continue };
            let mut own = entry.bucket;
            match own.take(THING, now) {
                Ok(()) if first.as_ref().is_none_or(|(other, _)| turn < *other) => {
                    first = Some((turn, entry));
                }
                Ok(()) => {}
                Err(at) => later(at),
            }
        }
        if let Some((_, entry)) = first {
            match entry.take(host, now) {
                Ok(()) => {
                    // Others may be due as well.
                    self.due = Some(now);
                    let waits = entry.waits.take()?;
                    self.bytes = self.bytes.saturating_sub(waits.bytes);
                    return Some(waits.said);
                }
                Err(at) => later(at),
            }
        }
        self.forget(now);
        None
    }

    /// All that is put off: the stream ends.
    pub(super) fn rest(&mut self) -> Vec<Said> {
        let all = std::mem::take(self).things.into_values().filter_map(|entry| entry.waits);
        let mut all: Vec<Waits> = all.collect();
        all.sort_by_key(|it| it.turn);
        all.into_iter().map(|it| it.said).collect()
    }

    /// Keeps nothing of what was said long ago: there are as many of these as agents.
    fn forget(&mut self, now: Instant) {
        self.things.retain(|_, entry| entry.waits.is_some() || !entry.bucket.is_full(now));
    }
}

impl Entry {
    fn take(&mut self, host: &mut Bucket, now: Instant) -> Result<(), Instant> {
        let mut own = self.bucket;
        own.take(THING, now)?;
        host.take(HOST, now)?;
        self.bucket = own;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quarterdeck_model::{
        agent::{InstanceReport, TaskReport},
        kinds::{AgentTaskPhase, AgentTaskStatus, MachineFacts},
    };

    fn facts(number: usize) -> Said {
        Said::Facts(Box::new(MachineFacts { hostname: number.to_string(), ..Default::default() }))
    }

    fn instance(uid: &str, number: usize) -> Said {
        let report =
            InstanceReport { name: number.to_string(), uid: uid.into(), ..Default::default() };
        Said::Instance(Box::new(report))
    }

    fn task(phase: AgentTaskPhase) -> Said {
        let status = AgentTaskStatus { phase, ..Default::default() };
        Said::Task(Box::new(TaskReport { name: "t".into(), uid: "u".into(), status }))
    }

    #[test]
    fn what_flaps_is_put_off_and_the_last_counts() {
        let begun = Instant::now();
        let (mut limits, mut host) = (Limits::default(), Bucket::default());
        let mut written = Vec::new();
        // Two hundred times a second, for a minute.
        for number in 0..12_000_usize {
            let now = begun + Duration::from_millis(5) * u32::try_from(number).unwrap();
            if let Verdict::Now(said) = limits.offer(facts(number), &mut host, now) {
                written.push(said);
            }
            written.extend(limits.pop(&mut host, now));
        }
        assert!(written.len() <= 5 + 10, "{}", written.len());
        let end = limits.due().unwrap();
        assert_eq!(limits.pop(&mut host, end), Some(facts(11_999)));
        assert_eq!((limits.pop(&mut host, end), limits.due()), (None, None));
        limits.forget(end + Duration::from_secs(60));
        assert!(limits.things.is_empty(), "nothing is kept");
    }

    #[test]
    fn once_a_task_has_ended_what_it_had_printed_is_written_no_more() {
        let now = Instant::now();
        let (mut limits, mut host) = (Limits::default(), Bucket::default());
        for _ in 0..5 {
            let said = task(AgentTaskPhase::Running);
            assert_eq!(limits.offer(said.clone(), &mut host, now), Verdict::Now(said));
        }
        assert_eq!(limits.offer(task(AgentTaskPhase::Running), &mut host, now), Verdict::Later);
        limits.ended(&task(AgentTaskPhase::Failed).thing());
        assert_eq!(limits.bytes, 0);
        assert!(limits.rest().is_empty());
    }

    #[test]
    fn who_makes_up_instances_is_stopped() {
        let now = Instant::now();
        let (mut limits, mut host) = (Limits::default(), Bucket::default());
        let verdicts = (0..THINGS_MAX + 1)
            .map(|it| limits.offer(instance(&it.to_string(), 0), &mut host, now));
        let (mut written, mut stopped) = (0, false);
        for verdict in verdicts {
            written += usize::from(matches!(verdict, Verdict::Now(_)));
            stopped |= verdict == Verdict::TooMuch;
        }
        assert_eq!((written, stopped), (500, true));
    }

    #[test]
    fn who_waits_longest_is_next_and_nothing_new_goes_past() {
        let begun = Instant::now();
        let (mut limits, mut host) = (Limits::default(), Bucket::default());
        while host.take(HOST, begun).is_ok() {}
        for uid in ["z", "a", "z"] {
            assert_eq!(limits.offer(instance(uid, 1), &mut host, begun), Verdict::Later);
        }
        let due = limits.due().unwrap();
        // There is one for it, and it is not the first that waits.
        assert_eq!(limits.offer(instance("b", 1), &mut host, due), Verdict::Later);
        let mut order = Vec::new();
        while let Some(due) = limits.due() {
            order.extend(limits.pop(&mut host, due));
        }
        assert_eq!(order, ["z", "a", "b"].map(|uid| instance(uid, 1)));
        assert_eq!(limits.bytes, 0);
    }

    #[test]
    fn what_waits_takes_only_so_much() {
        let now = Instant::now();
        let (mut limits, mut host) = (Limits::default(), Bucket::default());
        while host.take(HOST, now).is_ok() {}
        let large = |uid: &str| {
            let name = "n".repeat(WAITING_BYTES_MAX / 4);
            Said::Instance(Box::new(InstanceReport { name, uid: uid.into(), ..Default::default() }))
        };
        for uid in ["a", "b", "c", "a", "b"] {
            assert_eq!(limits.offer(large(uid), &mut host, now), Verdict::Later);
        }
        assert_eq!(limits.offer(large("d"), &mut host, now), Verdict::TooMuch);
    }

    proptest! {
        /// Whatever is said and when: the last of each thing is written in the end, and no more than the rates allow.
        #[test]
        fn the_last_of_each_is_written(
            said in prop::collection::vec((0..4_u8, 0..3_000_u64), 1..300)
        ) {
            let begun = Instant::now();
            let (mut limits, mut host) = (Limits::default(), Bucket::default());
            let (mut written, mut last) = (BTreeMap::new(), BTreeMap::new());
            let (mut now, mut count) = (begun, 0_u32);
            for (number, (uid, passed)) in said.into_iter().enumerate() {
                now += Duration::from_millis(passed);
                let mut note = |said: Said| if let Said::Instance(report) = said {
                    count += 1;
                    written.insert(report.uid.clone(), report.name.clone());
                };
                while let Some(said) = limits.pop(&mut host, now) {
                    note(said);
                }
                last.insert(uid.to_string(), number.to_string());
                match limits.offer(instance(&uid.to_string(), number), &mut host, now) {
                    Verdict::Now(said) => note(said),
                    verdict => prop_assert_eq!(verdict, Verdict::Later),
                }
            }
            let seconds = u32::try_from(now.duration_since(begun).as_secs()).unwrap();
            prop_assert!(count <= 4 * (5 + seconds / 6 + 1));
            while let Some(due) = limits.due() {
                while let Some(Said::Instance(report)) = limits.pop(&mut host, due) {
                    written.insert(report.uid.clone(), report.name.clone());
                }
            }
            prop_assert_eq!(written, last);
        }
    }
}
