//! What can go wrong with a store, written into a good history. Each has as few traces as it can: nothing
//! else in the history gives it away.

use quarterdeck_testing::{
    history::{
        Change, EventKind, Freshness, Get, History, Kind, Outcome, Revision, Span, Step, Write,
    },
    random::Random,
};
use std::time::Duration;

/// Plants one; none where the history has no place for it.
type Plant = fn(&mut History, &mut Random) -> Option<String>;

pub(crate) const PLANTED: [(&str, &[Kind], Plant); 24] = [
    ("a stale read", &[Kind::StaleRead, Kind::Resurrected], stale_read),
    ("time going back between replicas", &[Kind::StaleRead, Kind::Resurrected], time_goes_back),
    ("a read that misses what was created", &[Kind::StaleRead], missing),
    ("a deleted object that is there again", &[Kind::Resurrected, Kind::StaleRead], resurrected),
    ("a read older than it had to be", &[Kind::TooOld], too_old),
    ("a read from the future", &[Kind::FromTheFuture], from_the_future),
    ("an old revision given to a later write", &[Kind::OutOfOrder], out_of_order),
    ("a lost update", &[Kind::LostUpdate], lost_update),
    ("an object created over another", &[Kind::LostUpdate], created_over),
    ("an acknowledged write that is lost", &[Kind::NotASnapshot], lost_write),
    ("a write applied twice", &[Kind::AppliedTwice], applied_twice),
    ("a deletion acknowledged twice", &[Kind::AppliedTwice], deleted_twice),
    ("a refused write that took effect", &[Kind::RefusedButApplied], refused_but_applied),
    ("a value that nobody wrote", &[Kind::NeverWritten], never_written),
    ("a revision given twice", &[Kind::RevisionReused], revision_reused),
    ("a list torn between its pages", &[Kind::TornList], torn_list),
    ("a list torn between its objects", &[Kind::NotASnapshot], torn_inside),
    ("a list that is older than what was answered", &[Kind::StaleRead], stale_list),
    ("an event told twice", &[Kind::Repeated], repeated),
    ("an event told again after reconnecting", &[Kind::Repeated], repeated_after_reconnecting),
    ("an event left out", &[Kind::Missed], missed),
    ("events told out of order", &[Kind::Reordered], reordered),
    ("an event of the wrong type", &[Kind::WrongEvent], wrong_event),
    ("a bookmark that goes back", &[Kind::BookmarkWentBack], bookmark_went_back),
];

/// A put that was acknowledged.
fn done(write: &Write) -> Option<(Revision, u64)> {
    match write.outcome {
        Outcome::Done(Some(revision)) => Some((revision, write.change.value()?)),
        _ => None,
    }
}

fn pick<T>(mut all: Vec<T>, random: &mut Random) -> Option<T> {
    let count = all.len() as u64;
    (count > 0).then(|| all.swap_remove(random.below(count) as usize))
}

/// The acknowledged write that `write` replaced.
fn replaced<'h>(history: &'h History, write: &Write) -> Option<&'h Write> {
    let Change::Replace(expected, _) = write.change else { return None };
    history.writes.iter().find(|old| done(old).is_some_and(|(revision, _)| revision == expected))
}

/// Acknowledged replacements with what they replaced.
fn replacements(history: &History) -> Vec<(Write, Write)> {
    let done = history.writes.iter().filter(|write| done(write).is_some());
    done.filter_map(|write| Some((write.clone(), replaced(history, write)?.clone()))).collect()
}

fn just_after(at: Duration) -> Span {
    let invoked = at + Duration::from_nanos(1);
    Span { invoked, completed: invoked + Duration::from_nanos(1) }
}

fn get(client: usize, span: Span, write: &Write) -> Get {
    let found = done(write);
    Get { client, span, key: write.key.clone(), freshness: Freshness::Consistent, found }
}

fn stale_read(history: &mut History, random: &mut Random) -> Option<String> {
    let (write, old) = pick(replacements(history), random)?;
    let stale = get(1, just_after(write.span.completed), &old);
    history.gets.push(stale.clone());
    Some(format!("{stale:?} after {write:?}"))
}

fn time_goes_back(history: &mut History, random: &mut Random) -> Option<String> {
    // The write was never acknowledged: only the first read tells that it was done.
    let all = replacements(history);
    let read = |write: &Write| {
        let found = done(write);
        history.gets.iter().find(|get| get.found == found && get.freshness == Freshness::Consistent)
    };
    let all = all.into_iter().filter_map(|(write, old)| Some((read(&write)?.clone(), write, old)));
    let (first, write, old) = pick(all.collect(), random)?;
    for other in &mut history.writes {
        if done(other) == done(&write) {
            other.outcome = Outcome::Unknown;
        }
    }
    let second = get(first.client, just_after(first.span.completed), &old);
    history.gets.push(second.clone());
    Some(format!("{second:?} after {first:?}"))
}

fn missing(history: &mut History, random: &mut Random) -> Option<String> {
    let created = history
        .writes
        .iter()
        .filter(|write| matches!(write.change, Change::Create(_)) && done(write).is_some());
    let write = pick(created.cloned().collect(), random)?;
    // Not one that may be gone again by then.
    let (revision, _) = done(&write)?;
    let deleted = |other: &Write| {
        other.change == Change::Delete(revision)
            && other.span.invoked <= just_after(write.span.completed).completed
    };
    if history.writes.iter().any(deleted) {
        return None;
    }
    let read = Get { found: None, ..get(2, just_after(write.span.completed), &write) };
    history.gets.push(read.clone());
    Some(format!("{read:?} after {write:?}"))
}

fn deletions(history: &History) -> Vec<(Write, Write)> {
    let done_deletions = history.writes.iter().filter_map(|write| match write.change {
        Change::Delete(of) if matches!(write.outcome, Outcome::Done(_)) => Some((write, of)),
        _ => None,
    });
    let of = |of: Revision| {
        history.writes.iter().find(|write| done(write).is_some_and(|(revision, _)| revision == of))
    };
    done_deletions.filter_map(|(write, old)| Some((write.clone(), of(old)?.clone()))).collect()
}

fn resurrected(history: &mut History, random: &mut Random) -> Option<String> {
    let (deletion, old) = pick(deletions(history), random)?;
    let span = just_after(deletion.span.completed);
    // Created again meanwhile, the read would be stale and not of what is gone.
    let created = |write: &Write| {
        write.key == old.key
            && matches!(write.change, Change::Create(_))
            && write.span.invoked > deletion.span.invoked
            && write.span.invoked < span.completed
    };
    if history.writes.iter().any(created) {
        return None;
    }
    let read = get(3, span, &old);
    history.gets.push(read.clone());
    Some(format!("{read:?} after {deletion:?}"))
}

fn too_old(history: &mut History, random: &mut Random) -> Option<String> {
    let (write, old) = pick(replacements(history), random)?;
    let (revision, _) = done(&write)?;
    let freshness = Freshness::NotOlderThan(revision);
    // While the write was under way, so that only the revision says that it is too old.
    let read = Get { freshness, ..get(1, write.span, &old) };
    history.gets.push(read.clone());
    Some(format!("{read:?}"))
}

fn from_the_future(history: &mut History, random: &mut Random) -> Option<String> {
    let all = history.writes.iter().filter(|write| done(write).is_some());
    let write = pick(all.cloned().collect(), random)?;
    let completed = write.span.invoked.checked_sub(Duration::from_nanos(1))?;
    let invoked = completed.checked_sub(Duration::from_nanos(1))?;
    let read = get(1, Span { invoked, completed }, &write);
    history.gets.push(read.clone());
    Some(format!("{read:?} before {write:?}"))
}

fn out_of_order(history: &mut History, random: &mut Random) -> Option<String> {
    // Acknowledged writes one after the other, whose revisions say otherwise.
    let all: Vec<Write> =
        history.writes.iter().filter(|write| done(write).is_some()).cloned().collect();
    let write = pick(all.clone(), random)?;
    let later = all.iter().filter(|other| done(other) > done(&write) && other.key != write.key);
    let later = later.min_by_key(|other| done(other))?;
    let moved = history.writes.iter_mut().find(|other| done(other) == done(&write))?;
    moved.span = just_after(later.span.completed);
    Some(format!("{moved:?} after {later:?}"))
}

fn new_value(history: &History) -> u64 {
    1 + history.writes.iter().filter_map(|write| write.change.value()).max().unwrap_or(0)
}

fn lost_update(history: &mut History, random: &mut Random) -> Option<String> {
    let (write, _) = pick(replacements(history), random)?;
    let Change::Replace(expected, _) = write.change else { return None };
    let (revision, _) = done(&write)?;
    // Revisions have room between them.
    let other = Write {
        client: 4,
        change: Change::Replace(expected, new_value(history)),
        outcome: Outcome::Done(Some(revision + 1)),
        ..write.clone()
    };
    history.writes.push(other);
    Some(format!("another like {write:?}"))
}

fn created_over(history: &mut History, random: &mut Random) -> Option<String> {
    let (write, _) = pick(replacements(history), random)?;
    let (revision, _) = done(&write)?;
    let other = Write {
        client: 4,
        change: Change::Create(new_value(history)),
        outcome: Outcome::Done(Some(revision + 1)),
        ..write.clone()
    };
    let deleted = |other: &Write| other.change == Change::Delete(revision);
    if history.writes.iter().any(deleted) {
        return None;
    }
    history.writes.push(other);
    Some(format!("a creation after {write:?}"))
}

fn lost_write(history: &mut History, random: &mut Random) -> Option<String> {
    let last = history.lists.last()?.clone();
    let items = last.pages.iter().flat_map(|page| &page.items);
    let replaced: Vec<_> = replacements(history)
        .into_iter()
        .filter(|(write, _)| {
            items.clone().any(|item| Some((item.revision, item.value)) == done(write))
        })
        .collect();
    let (write, old) = pick(replaced, random)?;
    let (revision, value) = done(&old)?;
    for page in &mut history.lists.last_mut()?.pages {
        for item in page.items.iter_mut().filter(|item| item.key == write.key) {
            (item.revision, item.value) = (revision, value);
        }
    }
    Some(format!("{write:?} is not in the last list"))
}

fn applied_twice(history: &mut History, random: &mut Random) -> Option<String> {
    let all = history.writes.iter().filter(|write| done(write).is_some());
    let write = pick(all.cloned().collect(), random)?;
    let (revision, value) = done(&write)?;
    let mut read = get(1, just_after(write.span.completed), &write);
    read.found = Some((revision + 1, value));
    history.gets.push(read);
    Some(format!("{write:?} at one revision more"))
}

fn deleted_twice(history: &mut History, random: &mut Random) -> Option<String> {
    let (deletion, _) = pick(deletions(history), random)?;
    history.writes.push(Write { client: 4, ..deletion.clone() });
    Some(format!("{deletion:?}"))
}

fn refused_but_applied(history: &mut History, random: &mut Random) -> Option<String> {
    let read: Vec<_> = history.gets.iter().filter_map(|get| get.found).collect();
    let seen = history.writes.iter_mut().filter(|write| {
        let done = done(write);
        done.is_some_and(|done| read.contains(&done))
    });
    let write = pick(seen.collect(), random)?;
    write.outcome = Outcome::Refused;
    Some(format!("{write:?}"))
}

fn never_written(history: &mut History, random: &mut Random) -> Option<String> {
    let value = new_value(history);
    let found = history.gets.iter_mut().filter(|get| get.found.is_some());
    let get = pick(found.collect(), random)?;
    let (revision, _) = get.found?;
    get.found = Some((revision + 1, value));
    Some(format!("{get:?}"))
}

fn revision_reused(history: &mut History, random: &mut Random) -> Option<String> {
    let all: Vec<_> = history.writes.iter().filter_map(done).collect();
    let (one, _) = pick(all.clone(), random)?;
    let (other, _) = pick(all, random)?;
    let write =
        history.writes.iter_mut().find(|write| done(write).is_some_and(|(at, _)| at == other))?;
    write.outcome = Outcome::Done(Some(one));
    (one != other).then(|| format!("{write:?}, which was at {other}"))
}

fn torn_list(history: &mut History, random: &mut Random) -> Option<String> {
    let several = history.lists.iter_mut().filter(|list| list.pages.len() > 1);
    let list = pick(several.collect(), random)?;
    list.pages.last_mut()?.revision += 1;
    Some(format!("{list:?}"))
}

fn torn_inside(history: &mut History, random: &mut Random) -> Option<String> {
    // One that had been written before the list's revision is not on it.
    let some = history.lists.iter_mut().filter(|list| !list.pages[0].items.is_empty());
    let list = pick(some.collect(), random)?;
    let page = &mut list.pages[0];
    let left_out = page.items.remove(random.below(page.items.len() as u64) as usize);
    // It may have been deleted by somebody who was never answered.
    let deleted = |write: &Write| write.change == Change::Delete(left_out.revision);
    (!history.writes.iter().any(deleted)).then(|| format!("{left_out:?} is left out"))
}

fn stale_list(history: &mut History, _: &mut Random) -> Option<String> {
    let mut list = history.lists.iter().find(|list| list.pages[0].revision > 0)?.clone();
    let newer = history
        .writes
        .iter()
        .find(|write| done(write).is_some_and(|(revision, _)| revision > list.pages[0].revision))?;
    list.freshness = Freshness::Consistent;
    list.span = just_after(newer.span.completed.max(list.span.completed));
    history.lists.push(list.clone());
    Some(format!("{list:?} after {newer:?}"))
}

/// Places of events in a watch that has some.
fn events(history: &History, least: usize, random: &mut Random) -> Option<(usize, Vec<usize>)> {
    let of = |steps: &[(Duration, Step)]| -> Vec<usize> {
        let events = steps.iter().enumerate();
        events.filter(|(_, (_, step))| matches!(step, Step::Event(..))).map(|(at, _)| at).collect()
    };
    let all = history.watches.iter().map(|watch| of(&watch.steps)).enumerate();
    pick(all.filter(|(_, events)| events.len() >= least).collect(), random)
}

fn repeated(history: &mut History, random: &mut Random) -> Option<String> {
    let (watch, events) = events(history, 1, random)?;
    let at = pick(events, random)?;
    let steps = &mut history.watches[watch].steps;
    let again = steps[at].clone();
    let until = at + 1 + random.below((steps.len() - at) as u64) as usize;
    let told = (steps[until - 1].0, again.1.clone());
    steps.insert(until, told);
    Some(format!("{again:?}"))
}

fn repeated_after_reconnecting(history: &mut History, random: &mut Random) -> Option<String> {
    let (watch, events) = events(history, 1, random)?;
    let Step::Event(_, seen) = &history.watches[watch].steps[events[0]].1 else { return None };
    let revision = seen.revision;
    history.watches[watch].since = revision;
    Some(format!("the watch since {revision} begins with it"))
}

fn missed(history: &mut History, random: &mut Random) -> Option<String> {
    let (watch, mut events) = events(history, 2, random)?;
    // What comes after the last is not missed yet.
    events.pop();
    let at = pick(events, random)?;
    let (_, left_out) = history.watches[watch].steps.remove(at);
    let Step::Event(kind, seen) = &left_out else { return None };
    // Who else saw it? One that nobody is known to have written need not have been.
    let told = history
        .watches
        .iter()
        .flat_map(|watch| &watch.steps)
        .any(|(_, step)| matches!(step, Step::Event(_, other) if other == seen));
    let acknowledged = history.writes.iter().any(|write| match kind {
        EventKind::Deleted => false,
        _ => done(write) == Some((seen.revision, seen.value)),
    });
    (told || acknowledged).then(|| format!("{left_out:?}"))
}

fn reordered(history: &mut History, random: &mut Random) -> Option<String> {
    let (watch, mut events) = events(history, 2, random)?;
    events.pop();
    let at = pick(events, random)?;
    let steps = &mut history.watches[watch].steps;
    let next = (at + 1..steps.len()).find(|at| matches!(steps[*at].1, Step::Event(..)))?;
    let (one, other) = (steps[at].1.clone(), steps[next].1.clone());
    steps[at].1 = other;
    steps[next].1 = one.clone();
    Some(format!("{one:?} comes one later"))
}

fn wrong_event(history: &mut History, random: &mut Random) -> Option<String> {
    let (watch, events) = events(history, 1, random)?;
    let at = pick(events, random)?;
    let Step::Event(kind, seen) = &mut history.watches[watch].steps[at].1 else { return None };
    *kind = match kind {
        EventKind::Added => EventKind::Modified,
        EventKind::Modified => EventKind::Added,
        EventKind::Deleted => return None,
    };
    Some(format!("{kind:?} {seen:?}"))
}

fn bookmark_went_back(history: &mut History, random: &mut Random) -> Option<String> {
    let (watch, events) = events(history, 1, random)?;
    let at = pick(events, random)?;
    let steps = &mut history.watches[watch].steps;
    let Step::Event(_, seen) = &steps[at].1 else { return None };
    let bookmark = (steps[at].0, Step::Bookmark(seen.revision - 1));
    steps.insert(at + 1, bookmark.clone());
    Some(format!("{bookmark:?}"))
}
