//! Backups of both stores while writers go on, restored to both; and files that must be refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_model::Revision;
use quarterdeck_store::{Backend, Backup, Outcome, Postgres, Sqlite, StoreError};
use quarterdeck_testing::postgres::Postgres as Server;
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};
use support::{
    Place, all_changes, delete, fenced, loaded, model::assert_same, one, put, whole_snapshot,
};

const UNSAFE_BUT_FAST: [(&str, &str); 2] = [("fsync", "off"), ("synchronous_commit", "off")];
const MINUTE: Duration = Duration::from_secs(60);

async fn backup(place: &Place, to: &Path, now: SystemTime) -> Result<Backup, StoreError> {
    match place {
        Place::Sqlite(folder) | Place::Sealed(folder) => Sqlite::backup(folder.path(), to, now),
        Place::Postgres(url) => Postgres::backup(url, to, now).await,
    }
}

async fn restore(
    place: &Place,
    from: &Path,
    now: SystemTime,
) -> Result<(Backup, Revision), StoreError> {
    match place {
        Place::Sqlite(folder) | Place::Sealed(folder) => Sqlite::restore(folder.path(), from, now),
        Place::Postgres(url) => Postgres::restore(url, from, now).await,
    }
}

async fn refusal<T>(result: impl Future<Output = Result<T, StoreError>>) -> String {
    match result.await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was done"),
    }
}

/// Two writers that go on until they are told to stop.
fn writers(store: &Arc<dyn Backend>, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let writer = |number: u64| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut turn = number;
            while !stop.load(Ordering::Relaxed) {
                turn += 2;
                let name = format!("key-{:03}", turn * 7_919 % 400);
                let body = format!("{turn} {}", "x".repeat((turn % 3_000) as usize));
                // Pairs: a copy that shows one half of one is of no single revision.
                let batch = match turn % 5 {
                    0 => vec![delete(&name), put("pair-a", &body), put("pair-b", &body)],
                    _ => vec![put(&name, &body), put("pair-a", &body), put("pair-b", &body)],
                };
                store.commit(&batch).await.unwrap();
            }
        })
    };
    vec![writer(0), writer(1)]
}

/// Backs the store up several times while it is written to, and restores each to both kinds.
async fn a_backup_is_the_store_at_one_revision(source: Place, server: &Server, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let store = source.open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writers(&store, &stop);
    let lease = store.acquire_lease("engine", "me", MINUTE).await.unwrap().unwrap();
    let made = SystemTime::now();
    let mut backups = Vec::new();
    for round in 0..4 {
        // Something new each time.
        let before = store.head().await.unwrap();
        while store.head().await.unwrap().0 < before.0 + 60 {
            tokio::task::yield_now().await;
        }
        let acknowledged = store.head().await.unwrap();
        let file = folder.path().join(format!("backup-{round}"));
        let backup = backup(&source, &file, made).await.unwrap();
        assert!(backup.revision >= acknowledged, "what was acknowledged is in it");
        backups.push((file, backup));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writing {
        writer.await.unwrap();
    }
    let head = store.head().await.unwrap();
    assert!(backups[0].1.revision < backups[3].1.revision && backups[3].1.revision <= head);
    // As it was then, from the log.
    let plain: Arc<dyn Backend> = match &source {
        Place::Postgres(url) => Arc::new(Postgres::open(url).await.unwrap()),
        Place::Sqlite(_) | Place::Sealed(_) => store.clone(),
    };
    for (round, (file, backup)) in backups.iter().enumerate() {
        let then = whole_snapshot(&*plain, backup.revision, 10_000).await.unwrap();
        assert_eq!(then.len() as u64, backup.objects);
        let url = server.create_database(&format!("{name}_{round}")).await;
        for target in [Place::sqlite(), Place::Postgres(url)] {
            let later = made + Duration::from_secs(5);
            let (read, first) = restore(&target, file, later).await.unwrap();
            assert_eq!(read, *backup);
            assert!(first.0 >= head.0 + 1_000_000_000, "no revision means two things");
            let restored = target.open().await;
            let (objects, at) = loaded(&*restored).await;
            assert_eq!(at, first);
            assert_same(&objects, &then);
            assert_same(&whole_snapshot(&*restored, first, 10_000).await.unwrap(), &then);
            // A watch from anything the old store has told begins anew.
            for since in [Revision::ZERO, backup.revision, head] {
                let expired = restored.changes(since, 10).await;
                assert!(matches!(expired, Err(StoreError::Compacted { .. })), "{expired:?}");
            }
            // It goes on as any store.
            assert_eq!(one(&*restored, put("new", "1")).await, Outcome::Committed(first.next()));
            assert_eq!(all_changes(&*restored, first).await.len(), 1);
            restored.compact(first.next()).await.unwrap();
            assert_eq!(loaded(&*restored).await.0.len(), then.len() + 1);
            // Who held a lease of the old store holds none of this one.
            let late = fenced("engine", lease.token, put("new", "2"));
            assert_eq!(one(&*restored, late).await, Outcome::Fenced);
            let taken = restored.acquire_lease("engine", "me", MINUTE).await.unwrap().unwrap();
            assert!(taken.token > lease.token + 1_000_000, "{taken:?}");
            // There is a store now, which no backup is written over.
            let why = refusal(restore(&target, file, later)).await;
            assert!(why.contains("already") || why.contains("is there"), "{why}");
            assert_eq!(loaded(&*restored).await.0.len(), then.len() + 1);
        }
    }
    let why = refusal(backup(&source, &backups[0].0, made)).await;
    assert!(why.contains("exists already"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_sqlite_is_the_store_at_one_revision() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    a_backup_is_the_store_at_one_revision(Place::sqlite(), &server, "of_sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_postgres_is_the_store_at_one_revision() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let source = Place::Postgres(server.create_database("source").await);
    a_backup_is_the_store_at_one_revision(source, &server, "of_postgres").await;
}

/// A backup that was restored twice: the second store's revisions are not those of the first.
#[tokio::test]
async fn two_stores_from_one_backup_share_no_revision() {
    let (source, folder) = (Place::sqlite(), tempfile::tempdir().unwrap());
    one(&*source.open().await, put("x", "1")).await;
    let (file, made) = (folder.path().join("backup"), SystemTime::now());
    backup(&source, &file, made).await.unwrap();
    let (first, second) = (Place::sqlite(), Place::sqlite());
    let (_, one_first) = restore(&first, &file, made).await.unwrap();
    let (_, other_first) = restore(&second, &file, made + Duration::from_secs(60)).await.unwrap();
    // More than a store commits in a minute.
    assert!(other_first.0 - one_first.0 >= 60_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_whole_is_refused_and_leaves_nothing() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let (source, folder) = (Place::sqlite(), tempfile::tempdir().unwrap());
    let store = source.open().await;
    for number in 0..40_u64 {
        // Not to be compressed: several blocks.
        let noise =
            (0..12_000_u64).map(|at| (b'a' + ((at * at * (number + 7)) >> 5) as u8 % 26) as char);
        store
            .commit(&[put(&format!("key-{number}"), &noise.collect::<String>().repeat(8))])
            .await
            .unwrap();
    }
    let (file, now) = (folder.path().join("backup"), SystemTime::now());
    backup(&source, &file, now).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let url = server.create_database("refusing").await;
    let damaged = folder.path().join("damaged");
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    for (bytes, part) in [
        (flipped, "is damaged at byte"),
        (whole[..middle].to_vec(), "is not whole: it ends after byte"),
        (whole[..whole.len() - 1].to_vec(), "is not whole"),
        (b"SQLite format 3\0".to_vec(), "not a backup"),
    ] {
        fs::write(&damaged, bytes).unwrap();
        for target in [Place::sqlite(), Place::Postgres(url.clone())] {
            let why = refusal(restore(&target, &damaged, now)).await;
            assert!(why.contains(part) && why.contains("damaged"), "{part} in {why}");
            if let Place::Sqlite(folder) = &target {
                let left =
                    fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
                let left: Vec<_> = left.filter(|name| name != "quarterdeck.lock").collect();
                assert!(left.is_empty(), "{left:?}");
            }
        }
    }
    // Nothing stands in the way of the right one; nor does what a killed restore has left.
    let target = Place::sqlite();
    if let Place::Sqlite(folder) = &target {
        fs::write(folder.path().join("quarterdeck.db.restoring"), &whole[..middle]).unwrap();
    }
    for target in [target, Place::Postgres(url)] {
        restore(&target, &file, now).await.unwrap();
        assert_eq!(loaded(&*target.open().await).await.0.len(), 40);
    }
}

/// SQLite would bring what such a file holds into whatever database it finds beside it.
#[tokio::test]
async fn nothing_is_restored_beside_a_part_of_another_database() {
    let (source, folder) = (Place::sqlite(), tempfile::tempdir().unwrap());
    one(&*source.open().await, put("x", "1")).await;
    let (file, now) = (folder.path().join("backup"), SystemTime::now());
    backup(&source, &file, now).await.unwrap();
    // A log that was left behind, with changes in it.
    let (old, target) = (Place::sqlite(), tempfile::tempdir().unwrap());
    let store = old.open().await;
    one(&*store, put("stale", "1")).await;
    let Place::Sqlite(data) = &old else { panic!("it is SQLite") };
    let log = target.path().join("quarterdeck.db-wal");
    fs::copy(data.path().join("quarterdeck.db-wal"), &log).unwrap();
    assert!(log.metadata().unwrap().len() > 0);
    fs::write(target.path().join("quarterdeck.db-journal"), "").unwrap();
    let why = Sqlite::restore(target.path(), &file, now).unwrap_err().to_string();
    assert!(
        why.contains("quarterdeck.db-wal, ") && why.contains("quarterdeck.db-journal;"),
        "{why}"
    );
    assert!(!target.path().join("quarterdeck.db").exists());
    fs::remove_file(log).unwrap();
    fs::remove_file(target.path().join("quarterdeck.db-journal")).unwrap();
    // Also into folders that are yet to be made.
    for target in [target.path().to_owned(), folder.path().join("a/b")] {
        Sqlite::restore(&target, &file, now).unwrap();
        let restored = Sqlite::open(&target).unwrap();
        assert_eq!(loaded(&restored).await.0.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_says_why() {
    let (empty, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, now) = (folder.path().join("backup"), SystemTime::now());
    let why = Sqlite::backup(empty.path(), &file, now).unwrap_err().to_string();
    assert!(why.contains("quarterdeck.db") && why.contains("--data-dir"), "{why}");
    let place = Place::sqlite();
    drop(place.open().await);
    let Place::Sqlite(data) = &place else { panic!("it is SQLite") };
    let database = data.path().join("quarterdeck.db");
    for (version, part) in [(99, "newer release (format 99"), (1, "older release (format 1")] {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        drop(connection);
        let why = refusal(backup(&place, &file, now)).await;
        assert!(why.contains(part), "{why}");
    }
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let url = server.create_database("empty").await;
    let why = Postgres::backup(&url, &file, now).await.unwrap_err().to_string();
    assert!(why.contains("no store of Quarterdeck"), "{why}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file that is no backup");
}
