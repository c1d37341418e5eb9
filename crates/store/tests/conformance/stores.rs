//! The whole store: what is acknowledged is in the world, for each writer and each follower.

use crate::support::Place;
use bytes::Bytes;
use quarterdeck_model::{Key, KindRef, Revision, kinds};
use quarterdeck_store::{
    BATCH_BYTES_MAX, BATCH_MAX, BODY_BYTES_MAX, Mutation, Outcome, Precondition, Store, Write,
};
use quarterdeck_testing::wait::wait_for;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

pub(super) fn kind() -> KindRef {
    kinds::by_resource_name("namespaces").unwrap()
}

pub(super) fn object(name: &str, note: &str, precondition: Precondition) -> Mutation {
    let value = json!({"metadata": {
        "name": name,
        "uid": format!("uid-of-{name}"),
        "annotations": {"note": note},
    }});
    Mutation {
        key: Key::new(kind(), "", name),
        write: Write::Put(Bytes::from(quarterdeck_model::object::encode(kind(), &value))),
        precondition,
        fence: None,
    }
}

pub(super) fn note(store: &Store, name: &str) -> Option<String> {
    let object = store.world().get(kind(), "", name)?;
    Some(object.value()["metadata"]["annotations"]["note"].as_str()?.to_owned())
}

async fn stores(place: &Place, count: usize) -> Vec<Store> {
    let mut stores: Vec<Store> = Vec::new();
    for backend in place.writers(count).await {
        match place {
            Place::Sqlite(_) | Place::Sealed(_) if !stores.is_empty() => {
                stores.push(stores[0].clone())
            }
            _ => stores.push(Store::open(backend).await.unwrap()),
        }
    }
    stores
}

pub(crate) async fn each_writer_of_a_group_gets_its_own_outcomes(place: Place) {
    let store = stores(&place, 1).await.remove(0);
    store.commit(vec![object("taken", "first", Precondition::None)]).await.unwrap();
    let mut writing = JoinSet::new();
    for writer in 0..100_usize {
        let store = store.clone();
        writing.spawn(async move {
            // Each with another number of mutations, of which one is refused.
            let mut mutations: Vec<Mutation> = (0..writer % 5)
                .map(|number| object(&format!("w{writer}-{number}"), "mine", Precondition::Absent))
                .collect();
            mutations.push(object("taken", "again", Precondition::Absent));
            mutations.push(object(&format!("last-{writer}"), "mine", Precondition::None));
            let outcomes = store.commit(mutations.clone()).await.unwrap();
            assert_eq!(outcomes.len(), mutations.len());
            for (mutation, outcome) in mutations.iter().zip(outcomes) {
                match outcome {
                    Outcome::Committed(revision) => {
                        let world = store.world();
                        let object = world
                            .get(kind(), "", &mutation.key.name)
                            .expect("in the cache when answered");
                        assert_eq!(object.revision, revision);
                    }
                    other => {
                        assert_eq!(
                            (&*mutation.key.name, other),
                            ("taken", Outcome::Conflict(Some(Revision(1))))
                        );
                    }
                }
            }
        });
    }
    while let Some(done) = writing.join_next().await {
        done.unwrap();
    }
    assert_eq!(store.world().revision(), Revision(1 + 100 + 20 * (1 + 2 + 3 + 4)));
}

pub(crate) async fn more_than_a_batch_is_committed_in_several(place: Place) {
    let store = stores(&place, 1).await.remove(0);
    let count = 2 * BATCH_MAX + 76;
    let mutations = |note: &str| -> Vec<Mutation> {
        let create = |number| object(&format!("n-{number}"), note, Precondition::Absent);
        (0..count).map(create).collect()
    };
    let outcomes = store.commit(mutations("1")).await.unwrap();
    let expected: Vec<_> =
        (1..=count as u64).map(|revision| Outcome::Committed(Revision(revision))).collect();
    assert_eq!(outcomes, expected);
    let outcomes = store.commit(mutations("2")).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Conflict(Some(_)))));

    // Few in number, but too large together.
    let large = "x".repeat(BODY_BYTES_MAX - 1_000);
    let count_large = 2 * BATCH_BYTES_MAX / BODY_BYTES_MAX + 1;
    let mutations: Vec<Mutation> = (0..count_large)
        .map(|number| object(&format!("l-{number}"), &large, Precondition::None))
        .collect();
    let outcomes = store.commit(mutations).await.unwrap();
    assert_eq!(outcomes.len(), count_large);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
    // Another process reads them all too.
    drop(store);
    // The tasks of the store that was dropped let go of it when they notice.
    let backend =
        wait_for(Duration::from_secs(20), "the store to be free", async || place.try_open().await);
    let store = Store::open(backend.await).await.unwrap();
    assert_eq!(note(&store, &format!("l-{}", count_large - 1)), Some(large));
    assert_eq!(store.world().revision(), Revision((count + count_large) as u64));
}

/// Whoever wrote sees it at once; whoever asks for a fresh world sees all that was acknowledged
/// anywhere; and in the end all worlds are one.
pub(crate) async fn worlds_follow_all_writers(place: Place) {
    const ROUNDS: u64 = 40;
    let stores = stores(&place, 3).await;
    let mut writing = JoinSet::new();
    for (writer, store) in stores.iter().cloned().enumerate() {
        let other = stores[(writer + 1) % 3].clone();
        writing.spawn(async move {
            for round in 0..ROUNDS {
                let name = format!("own-{writer}");
                let text = round.to_string();
                let batch = vec![
                    object(&name, &text, Precondition::None),
                    object("shared", &text, Precondition::None),
                ];
                let outcomes = store.commit(batch).await.unwrap();
                assert_eq!(note(&store, &name), Some(text.clone()), "own write");
                let Outcome::Committed(revision) = outcomes[1] else { panic!("{outcomes:?}") };
                if round % 2 == 0 {
                    assert!(other.fresh().await.unwrap().revision() >= revision);
                } else {
                    other.wait_for(revision, Duration::from_secs(20)).await.unwrap();
                }
                assert_eq!(note(&other, &name), Some(text), "seen by another");
            }
        });
    }
    while let Some(done) = writing.join_next().await {
        done.unwrap();
    }
    for store in &stores {
        assert_eq!(store.fresh().await.unwrap().revision(), Revision(3 * ROUNDS * 2));
        let all: Vec<_> =
            ["own-0", "own-1", "own-2", "shared"].map(|name| note(store, name)).into();
        assert_eq!(all, vec![Some((ROUNDS - 1).to_string()); 4]);
    }
}
