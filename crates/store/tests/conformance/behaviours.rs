//! One writer: preconditions, batches, reads of the present and the past.

use crate::support::{
    Place, all_changes, check_whole, delete, key, loaded, model::Model, one, put, when,
    whole_snapshot,
};
use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use quarterdeck_store::{
    BATCH_MAX, Backend, Mutation, Outcome,
    Outcome::*,
    Precondition::{Absent, AbsentIf, At, AtIf},
    StoreError, Write,
};

pub(crate) async fn a_mutation_is_applied_only_under_its_precondition(place: Place) {
    let backend = place.open().await;
    let store = &*backend;
    let absent: Outcome = Conflict(None);
    let steps = [
        (when(At(Revision(1)), put("a", "")), absent),
        (when(Absent, delete("a")), absent),
        (delete("a"), absent),
        (when(Absent, put("a", "1")), Committed(Revision(1))),
        (when(Absent, put("a", "2")), Conflict(Some(Revision(1)))),
        (when(At(Revision(2)), put("a", "2")), Conflict(Some(Revision(1)))),
        (when(At(Revision(1)), put("a", "2")), Committed(Revision(2))),
        (put("a", "3"), Committed(Revision(3))),
        (when(At(Revision(2)), delete("a")), Conflict(Some(Revision(3)))),
        (when(Absent, delete("a")), Conflict(Some(Revision(3)))),
        (when(At(Revision(3)), delete("a")), Committed(Revision(4))),
        (when(At(Revision(3)), put("a", "4")), absent),
        (when(Absent, put("a", "4")), Committed(Revision(5))),
        (delete("a"), Committed(Revision(6))),
        (put("a", "5"), Committed(Revision(7))),
    ];
    for (step, (mutation, expected)) in steps.into_iter().enumerate() {
        assert_eq!(one(store, mutation).await, expected, "step {step}");
    }
    check_whole(store).await;
}

pub(crate) async fn what_depends_on_another_key_is_created_only_while_that_is_as_it_was_seen(
    place: Place,
) {
    let backend = place.open().await;
    let store = &*backend;
    let within = |at, mutation| {
        when(AbsentIf { seen: Some((key("home"), Revision(at))), below: None }, mutation)
    };
    let steps = [
        (within(0, put("a", "")), Conflict(None)),
        (within(1, put("a", "")), Conflict(None)),
        (put("home", "1"), Committed(Revision(1))),
        (within(2, put("a", "")), Conflict(None)),
        (within(1, put("a", "1")), Committed(Revision(2))),
        (within(1, put("a", "2")), Conflict(Some(Revision(2)))),
        (within(1, delete("b")), Conflict(None)),
        (put("home", "2"), Committed(Revision(3))),
        (within(1, put("b", "1")), Conflict(None)),
        (within(3, put("b", "1")), Committed(Revision(4))),
        (delete("home"), Committed(Revision(5))),
        (within(3, put("c", "1")), Conflict(None)),
        (put("home", "3"), Committed(Revision(6))),
        (within(3, put("c", "1")), Conflict(None)),
    ];
    for (step, (mutation, expected)) in steps.into_iter().enumerate() {
        assert_eq!(one(store, mutation).await, expected, "step {step}");
    }
    // In one batch it sees what comes before it.
    let batch = [
        within(6, put("c", "1")),
        put("home", "4"),
        within(6, put("d", "1")),
        within(8, put("d", "1")),
        delete("home"),
        within(8, put("e", "1")),
    ];
    let outcomes = store.commit(&batch).await.unwrap();
    let expected = [
        Committed(Revision(7)),
        Committed(Revision(8)),
        Conflict(None),
        Committed(Revision(9)),
        Committed(Revision(10)),
        Conflict(None),
    ];
    assert_eq!(outcomes, expected);
    check_whole(store).await;
}

pub(crate) async fn what_depends_on_others_is_changed_only_while_they_are_as_they_were_seen(
    place: Place,
) {
    let backend = place.open().await;
    let store = &*backend;
    let after = |at, others: &[(&str, u64)], mutation| {
        let seen = others.iter().map(|(other, at)| (key(other), Revision(*at))).collect();
        when(AtIf { at: Revision(at), seen }, mutation)
    };
    let both = [("from", 1), ("to", 2)];
    let steps = [
        (put("from", "1"), Committed(Revision(1))),
        (put("to", "1"), Committed(Revision(2))),
        (after(0, &both, put("a", "1")), Conflict(None)),
        (put("a", "1"), Committed(Revision(3))),
        (after(3, &both, put("a", "2")), Committed(Revision(4))),
        (after(3, &both, put("a", "3")), Conflict(Some(Revision(4)))),
        (after(4, &[], put("a", "3")), Committed(Revision(5))),
        (put("from", "2"), Committed(Revision(6))),
        (after(5, &both, put("a", "4")), Conflict(Some(Revision(5)))),
        (after(5, &[("from", 6)], put("a", "4")), Committed(Revision(7))),
        (delete("to"), Committed(Revision(8))),
        (after(7, &[("from", 6), ("to", 2)], delete("a")), Conflict(Some(Revision(7)))),
        (after(7, &[("from", 6)], delete("a")), Committed(Revision(9))),
    ];
    for (step, (mutation, expected)) in steps.into_iter().enumerate() {
        assert_eq!(one(store, mutation).await, expected, "step {step}");
    }
    check_whole(store).await;
}

pub(crate) async fn mutations_of_a_batch_stand_by_themselves_and_see_those_before(place: Place) {
    let store = place.open().await;
    let batch = [
        when(Absent, put("a", "1")),
        when(Absent, put("a", "2")),
        when(At(Revision(1)), put("a", "3")),
        when(At(Revision(9)), put("b", "4")),
        delete("b"),
        put("c", "5"),
        delete("c"),
        when(Absent, put("c", "6")),
        delete("a"),
        put("d", "7"),
        delete("d"),
    ];
    let outcomes = store.commit(&batch).await.unwrap();
    let expected = [
        Committed(Revision(1)),
        Conflict(Some(Revision(1))),
        Committed(Revision(2)),
        Conflict(None),
        Conflict(None),
        Committed(Revision(3)),
        Committed(Revision(4)),
        Committed(Revision(5)),
        Committed(Revision(6)),
        Committed(Revision(7)),
        Committed(Revision(8)),
    ];
    assert_eq!(outcomes, expected);
    let log = check_whole(&*store).await;
    let previous: Vec<_> = log.iter().map(|change| change.previous.map(|at| at.0)).collect();
    assert_eq!(previous, [None, Some(1), None, Some(3), None, Some(2), None, Some(7)]);
    let (current, _) = loaded(&*store).await;
    assert_eq!(current.len(), 1);
    assert_eq!((&current[0].key, current[0].revision), (&key("c"), Revision(5)));
}

pub(crate) async fn a_batch_in_which_nothing_holds_changes_nothing(place: Place) {
    let store = place.open().await;
    assert_eq!(store.commit(&[]).await.unwrap(), []);
    one(&*store, put("a", "1")).await;
    let outcomes = store.commit(&[when(Absent, put("a", "2")), delete("b")]).await.unwrap();
    assert_eq!(outcomes, [Conflict(Some(Revision(1))), Conflict(None)]);
    assert_eq!(store.head().await.unwrap(), Revision(1));
    assert_eq!(one(&*store, put("b", "3")).await, Committed(Revision(2)));
}

pub(crate) async fn changes_come_in_pages_bounded_in_number_and_bytes(place: Place) {
    let store = place.open().await;
    assert!(store.changes(Revision::ZERO, 10).await.unwrap().is_empty());
    let big = "x".repeat(5 << 20);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        one(&*store, put(name, if name < "f" { &big } else { "small" })).await;
    }
    let revisions = async |since, limit| -> Vec<u64> {
        let changes = store.changes(Revision(since), limit).await.unwrap();
        changes.iter().map(|change| change.revision.0).collect()
    };
    assert_eq!(revisions(5, 2).await, [6, 7]);
    assert_eq!(revisions(5, 100).await, [6, 7, 8]);
    assert!(revisions(8, 100).await.is_empty());
    // Four of 5 MB are the first to reach 16 MB.
    assert_eq!(revisions(0, 100).await, [1, 2, 3, 4]);
    assert_eq!(revisions(4, 100).await, [5, 6, 7, 8]);
    assert!(matches!(
        store.changes(Revision(9), 1).await,
        Err(StoreError::Compacted { wanted: Revision(9), oldest: Revision::ZERO })
    ));
}

pub(crate) async fn keys_are_ordered_by_bytes(place: Place) {
    let store = place.open().await;
    let mut keys: Vec<Key> = ["a-b", "a.b", "ab", "B", "a", "ä", "10", "9", "a b", "'", "日本"]
        .into_iter()
        .flat_map(|name| [("", name), ("team", name), ("team-b", name), ("Team", name)])
        .flat_map(|(namespace, name)| {
            ["servers.inventory", "runs", "run"].map(|kind| Key {
                kind: kind.into(),
                namespace: namespace.into(),
                name: name.into(),
            })
        })
        .collect();
    let batch: Vec<Mutation> =
        keys.iter().map(|key| Mutation { key: key.clone(), ..put("", "body") }).collect();
    store.commit(&batch).await.unwrap();
    keys.sort();
    let found = whole_snapshot(&*store, store.head().await.unwrap(), 7).await.unwrap();
    assert_eq!(found.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), keys);
}

pub(crate) async fn bodies_come_back_as_they_were(place: Place) {
    let store = place.open().await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let sizes = [0, 1, 2_000, 2_100, 4_000, 8_200, 70_000, 1 << 20];
    let mut bodies: Vec<Bytes> =
        sizes.iter().map(|size| all_bytes.iter().copied().cycle().take(*size).collect()).collect();
    bodies.push(Bytes::from(vec![0; 5_000]));
    let batch: Vec<Mutation> = bodies
        .iter()
        .enumerate()
        .map(|(place, body)| Mutation {
            write: Write::Put(body.clone()),
            ..put(&format!("body-{place}"), "")
        })
        .collect();
    store.commit(&batch).await.unwrap();
    let read: Vec<Bytes> =
        check_whole(&*store).await.into_iter().map(|change| change.body.unwrap()).collect();
    assert!(read == bodies);
}

/// Ten keys, written and removed many times: 60 changes.
async fn written(store: &dyn Backend) -> Model {
    let mut model = Model::default();
    for round in 0..6 {
        let batch: Vec<Mutation> = (0..10)
            .map(|number| {
                let name = format!("key-{number}");
                if (round + number) % 4 == 3 {
                    delete(&name)
                } else {
                    put(&name, &round.to_string())
                }
            })
            .collect();
        assert_eq!(store.commit(&batch).await.unwrap(), model.commit(&batch));
    }
    model
}

pub(crate) async fn older_than_compacted_is_refused_and_the_rest_still_right(place: Place) {
    let store = place.open().await;
    let model = written(&*store).await;
    let head = store.head().await.unwrap();
    for before in
        [Revision(17), Revision(17), Revision(9), Revision(40), head, Revision(head.0 + 5)]
    {
        store.compact(before).await.unwrap();
        let oldest = match before {
            Revision(9) => Revision(17),
            before => before.min(head),
        };
        let is_refused =
            |error| matches!(error, StoreError::Compacted { oldest: o, .. } if o == oldest);
        for older in [0, oldest.0 - 1].map(Revision) {
            assert!(is_refused(store.changes(older, 1).await.unwrap_err()), "{older}");
            assert!(is_refused(store.snapshot(older, None, 1).await.unwrap_err()), "{older}");
        }
        for at in (oldest.0..=head.0).map(Revision) {
            let found = whole_snapshot(&*store, at, 4).await.unwrap();
            crate::support::model::assert_same(&found, &model.at(at));
            let changes = all_changes(&*store, at).await;
            assert_eq!(format!("{changes:?}"), format!("{:?}", model.changes(at)));
        }
        let (current, at) = loaded(&*store).await;
        assert_eq!(at, head);
        crate::support::model::assert_same(&current, &model.at(head));
    }
    // And writing goes on where it was.
    assert_eq!(one(&*store, put("more", "")).await, Committed(head.next()));
}

pub(crate) async fn compaction_forgets_what_nobody_can_see(place: Place) {
    let store = place.open().await;
    // More than one step of a compaction.
    let rounds = 12_u64;
    for _ in 0..rounds {
        let batch: Vec<Mutation> =
            (0..BATCH_MAX).map(|number| put(&format!("key-{number}"), "body")).collect();
        store.commit(&batch).await.unwrap();
    }
    let head = store.head().await.unwrap();
    assert_eq!(head, Revision(rounds * BATCH_MAX as u64));
    store.compact(head).await.unwrap();
    assert_eq!(entries(&place).await, BATCH_MAX as i64, "one entry for each object is left");
    assert_eq!(loaded(&*store).await.0.len(), BATCH_MAX);
    let batch: Vec<Mutation> =
        (0..BATCH_MAX).map(|number| delete(&format!("key-{number}"))).collect();
    store.commit(&batch).await.unwrap();
    store.compact(Revision(u64::MAX)).await.unwrap();
    assert_eq!(entries(&place).await, 0, "nothing is left of what was removed");
    assert_eq!(store.head().await.unwrap(), Revision(head.0 + BATCH_MAX as u64));
}

/// Entries that the log really holds, asked of the database itself.
async fn entries(place: &Place) -> i64 {
    match place {
        Place::Sqlite(folder) | Place::Sealed(folder) => {
            let file = folder.path().join("quarterdeck.db");
            let connection = rusqlite::Connection::open(file).unwrap();
            connection.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap()
        }
        Place::Postgres(url) => {
            let (client, connection) =
                tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let row = client.query_one("SELECT count(*) FROM quarterdeck.log", &[]).await.unwrap();
            row.get(0)
        }
    }
}

pub(crate) async fn what_is_committed_is_there_after_reopening(place: Place) {
    let store = place.open().await;
    let model = written(&*store).await;
    store.compact(Revision(10)).await.unwrap();
    let head = store.head().await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(store.head().await.unwrap(), head);
    crate::support::model::assert_same(&loaded(&*store).await.0, &model.at(head));
    assert!(store.changes(Revision(9), 1).await.is_err());
    assert_eq!(all_changes(&*store, Revision(10)).await.len() as u64, head.0 - 10);
    assert_eq!(one(&*store, put("more", "")).await, Committed(head.next()));
}
