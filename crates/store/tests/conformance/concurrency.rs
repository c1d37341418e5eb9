//! Several writers at once, and those who follow them.

use crate::support::{Place, check_whole, delete, key, one, put, when};
use quarterdeck_model::Revision;
use quarterdeck_store::{Backend, Change, Mutation, Outcome, Precondition};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::JoinSet;

const WRITERS: usize = 4;
const BATCHES: usize = 25;

/// Writes batches of different sizes, some of whose mutations are refused; answers what became of
/// each, by body.
async fn write(store: Arc<dyn Backend>, writer: usize) -> BTreeMap<String, Outcome> {
    let mut told = BTreeMap::new();
    for batch in 0..BATCHES {
        let bodies: Vec<String> = (0..1 + (batch * 7 + writer) % 23)
            .map(|number| format!("writer {writer} batch {batch} mutation {number}"))
            .collect();
        let mutations: Vec<Mutation> = bodies
            .iter()
            .enumerate()
            .map(|(number, body)| {
                // Some keys are this writer's own, some are everybody's.
                let name = if number % 3 == 0 {
                    format!("shared-{}", number % 5)
                } else {
                    format!("own-{writer}-{number}")
                };
                let precondition =
                    if number % 4 == 3 { Precondition::Absent } else { Precondition::None };
                when(precondition, put(&name, body))
            })
            .collect();
        let outcomes = store.commit(&mutations).await.unwrap();
        let revisions: Vec<u64> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Committed(revision) => Some(revision.0),
                _ => None,
            })
            .collect();
        assert!(revisions.is_sorted_by(|one, next| one + 1 == *next), "one batch: {revisions:?}");
        told.extend(bodies.into_iter().zip(outcomes));
    }
    told
}

/// Reads the log as it grows, until it is stopped and has reached the head.
async fn follow(store: Arc<dyn Backend>, stop: Arc<AtomicBool>) -> Vec<Change> {
    let mut log: Vec<Change> = Vec::new();
    loop {
        let last = stop.load(Ordering::Acquire);
        let since = log.last().map_or(Revision::ZERO, |change| change.revision);
        let head = store.head().await.unwrap();
        let page = store.changes(since, 37).await.unwrap();
        let reached = page.last().map_or(since, |change| change.revision);
        assert!(reached >= head || page.len() == 37, "entries up to {head} were there to be read");
        if last && page.is_empty() {
            return log;
        }
        log.extend(page);
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn revisions_are_dense_and_ordered_under_several_writers(place: Place) {
    let stores = place.writers(WRITERS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let followers: Vec<_> = stores
        .iter()
        .take(2)
        .map(|store| tokio::spawn(follow(store.clone(), stop.clone())))
        .collect();
    let mut writing = JoinSet::new();
    for (writer, store) in stores.iter().enumerate() {
        writing.spawn(write(store.clone(), writer));
    }
    let mut told = BTreeMap::new();
    while let Some(outcomes) = writing.join_next().await {
        told.extend(outcomes.unwrap());
    }
    stop.store(true, Ordering::Release);
    // Dense and in order is what a replay checks; here, that the log is what the writers were told.
    let log = check_whole(&*stores[0]).await;
    for change in &log {
        let body = String::from_utf8(change.body.clone().unwrap().to_vec()).unwrap();
        assert_eq!(told.get(&body), Some(&Outcome::Committed(change.revision)), "{body}");
    }
    let committed = told.values().filter(|outcome| matches!(outcome, Outcome::Committed(_)));
    assert_eq!(committed.count(), log.len());
    for follower in followers {
        assert_eq!(format!("{:?}", follower.await.unwrap()), format!("{log:?}"));
    }
}

pub(crate) async fn of_many_who_create_one_key_one_succeeds(place: Place) {
    let stores = place.writers(WRITERS).await;
    for round in 0..10 {
        let name = format!("wanted-{round}");
        let mut writing = JoinSet::new();
        for (writer, store) in stores.iter().cloned().enumerate() {
            let mutation = when(Precondition::Absent, put(&name, &writer.to_string()));
            writing.spawn(async move { (writer, one(&*store, mutation).await) });
        }
        let outcomes = writing.join_all().await;
        let (winner, at) = outcomes
            .iter()
            .find_map(|(writer, outcome)| match outcome {
                Outcome::Committed(revision) => Some((*writer, *revision)),
                _ => None,
            })
            .expect("somebody creates it");
        for (writer, outcome) in outcomes {
            assert!(writer == winner || outcome == Outcome::Conflict(Some(at)), "{outcome:?}");
        }
        let change = &stores[0].changes(Revision(at.0 - 1), 1).await.unwrap()[0];
        assert_eq!(
            (&change.key, change.body.as_deref()),
            (&key(&name), Some(winner.to_string().as_bytes()))
        );
    }
}

pub(crate) async fn compaction_under_writers_loses_nothing(place: Place) {
    let stores = place.writers(3).await;
    let mut writing = JoinSet::new();
    for (writer, store) in stores.iter().enumerate() {
        writing.spawn(write(store.clone(), writer));
    }
    let stop = Arc::new(AtomicBool::new(false));
    // Two at once, as when two replicas both think it is theirs to do.
    let compacting: Vec<_> = stores
        .iter()
        .take(2)
        .cloned()
        .map(|store| {
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let head = store.head().await.unwrap();
                    store.compact(Revision(head.0.saturating_sub(5))).await.unwrap();
                }
            })
        })
        .collect();
    let mut newest: BTreeMap<Revision, String> = BTreeMap::new();
    while let Some(told) = writing.join_next().await {
        for (body, outcome) in told.unwrap() {
            if let Outcome::Committed(revision) = outcome {
                newest.insert(revision, body);
            }
        }
    }
    stop.store(true, Ordering::Release);
    for task in compacting {
        task.await.unwrap();
    }
    let (current, head) = crate::support::loaded(&*stores[0]).await;
    assert_eq!(head.0, newest.len() as u64);
    for entry in current {
        assert_eq!(entry.body, newest[&entry.revision].as_bytes());
    }
    // Every key there ever was has its newest body.
    let keys = crate::support::whole_snapshot(&*stores[0], head, 100).await.unwrap();
    assert_eq!(keys.iter().filter(|entry| entry.key.name.starts_with("shared-")).count(), 5);
}

/// Creates within a limit, and deletes, at random; answers how often it was told that all is taken.
async fn crowd(store: Arc<dyn Backend>, writer: u64, most: u64) -> usize {
    let mut full = 0;
    for turn in 0..60_u64 {
        let batch: Vec<Mutation> = (0..1 + (turn + writer) % 4)
            .map(|number| {
                let what = (turn * 31 + number * 17 + writer * 7) % 24;
                let name = format!("one-{what}");
                match (turn * 13 + number * 5 + writer) % 5 {
                    0 => delete(&name),
                    _ => when(
                        Precondition::AbsentIf { seen: None, below: Some(most) },
                        put(&name, "body"),
                    ),
                }
            })
            .collect();
        let outcomes = store.commit(&batch).await.unwrap();
        full += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Full(_))).count();
        for outcome in outcomes {
            if let Outcome::Full(count) = outcome {
                assert_eq!(count, most, "nobody gets past the limit");
            }
        }
    }
    full
}

pub(crate) async fn no_limit_is_exceeded_by_several_writers(place: Place) {
    const MOST: u64 = 9;
    let stores = place.writers(WRITERS).await;
    let mut writing = JoinSet::new();
    for (writer, store) in (0..).zip(stores.iter().cloned()) {
        writing.spawn(crowd(store, writer, MOST));
    }
    let full: usize = writing.join_all().await.into_iter().sum();
    assert!(full > 0, "the limit was reached");
    let (mut there, mut most) = (std::collections::BTreeSet::new(), 0);
    for change in check_whole(&*stores[0]).await {
        match change.body {
            Some(_) => there.insert(change.key.name.clone()),
            None => there.remove(&change.key.name),
        };
        most = most.max(there.len() as u64);
    }
    assert_eq!(most, MOST, "at each revision, as the log tells");
}

pub(crate) async fn limits_count_what_was_there_before_and_elsewhere(place: Place) {
    let stores = place.writers(2).await;
    let within = |most, name: &str| {
        when(Precondition::AbsentIf { seen: None, below: Some(most) }, put(name, "body"))
    };
    for name in ["a", "b", "c"] {
        one(&*stores[0], put(name, "body")).await;
    }
    assert_eq!(one(&*stores[1], within(3, "d")).await, Outcome::Full(3));
    assert!(matches!(one(&*stores[1], within(4, "d")).await, Outcome::Committed(_)));
    // What others write afterwards counts, whatever they limit.
    one(&*stores[0], delete("a")).await;
    one(&*stores[0], delete("b")).await;
    one(&*stores[0], put("c", "an update is no more")).await;
    assert_eq!(one(&*stores[1], within(2, "e")).await, Outcome::Full(2));
    assert!(matches!(one(&*stores[0], within(3, "e")).await, Outcome::Committed(_)));
    assert_eq!(one(&*stores[1], within(3, "f")).await, Outcome::Full(3));
    assert_eq!(one(&*stores[1], within(9, "e")).await, Outcome::Conflict(Some(Revision(8))));
    // A log that was compacted tells no longer what was created.
    for turn in 0..4 {
        one(&*stores[0], put(&format!("more-{turn}"), "body")).await;
    }
    let head = stores[0].head().await.unwrap();
    one(&*stores[0], put("more-0", "again")).await;
    stores[0].compact(head.next()).await.unwrap();
    assert_eq!(one(&*stores[1], within(7, "f")).await, Outcome::Full(7));
    drop(stores);
    let opened = place.open().await;
    assert_eq!(one(&*opened, within(7, "f")).await, Outcome::Full(7), "after a restart");
    assert!(matches!(one(&*opened, within(8, "f")).await, Outcome::Committed(_)));
}
