//! Opening: what is there already, what is not ours, what is newer than we are.

use crate::{
    UNSAFE_BUT_FAST,
    support::{Place, delete, loaded, model::Model, one, put, whole_snapshot},
};
use quarterdeck_model::Revision;
use quarterdeck_store::{Backend as _, Outcome, Postgres, Sqlite, StoreError, Taker};
use quarterdeck_testing::postgres::Postgres as Server;
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

pub(crate) async fn opening_again_changes_nothing(place: Place) {
    for round in 1..=3 {
        let store = place.open().await;
        assert_eq!(one(&*store, put("x", "body")).await, Outcome::Committed(Revision(round)));
    }
}

pub(super) fn unusable<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unusable(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

pub(super) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

fn sqlite(folder: &Path, statement: &str) {
    let file = folder.join("quarterdeck.db");
    rusqlite::Connection::open(file).unwrap().execute_batch(statement).unwrap();
}

#[tokio::test]
async fn a_sqlite_file_that_is_not_ours_or_newer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sqlite(folder.path(), "CREATE TABLE log (line TEXT)");
    says(
        &unusable(Sqlite::open(folder.path())),
        &["quarterdeck.db", "something else", "--data-dir"],
    );

    let folder = tempfile::tempdir().unwrap();
    drop(Sqlite::open(folder.path()).unwrap());
    sqlite(folder.path(), "PRAGMA user_version = 99");
    says(
        &unusable(Sqlite::open(folder.path())),
        &["newer release", "format 99", "start that release"],
    );
}

#[tokio::test]
async fn a_damaged_sqlite_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quarterdeck.db");
    let store = Sqlite::open(folder.path()).unwrap();
    for number in 0..200 {
        one(&store, put(&format!("key-{number}"), &"x".repeat(2_000))).await;
    }
    drop(store);
    // Closed, so all is in the one file.
    assert!(!folder.path().join("quarterdeck.db-wal").exists());
    let whole = fs::read(&file).unwrap();
    assert!(whole.len() > 200 * 2_000);

    fs::write(&file, b"this is no database, however long it may be ".repeat(100)).unwrap();
    says(
        &unusable(Sqlite::open(folder.path())),
        &["quarterdeck.db", "damaged", "restore a backup"],
    );

    fs::write(&file, &whole[..whole.len() / 3]).unwrap();
    let refused = match Sqlite::open(folder.path()) {
        Err(error) => error,
        Ok(store) => {
            use quarterdeck_store::Backend as _;
            store.load(vec![Box::new(|_| Ok(()))]).await.unwrap_err()
        }
    };
    says(&unusable(Err::<(), _>(refused)), &["damaged", "restore a backup"]);
}

/// An object that is lost from the file must not be gone without a word.
#[tokio::test]
async fn a_sqlite_file_that_lacks_a_current_body_is_refused() {
    use quarterdeck_store::Backend as _;
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).unwrap();
    for name in ["a", "b", "c"] {
        one(&store, put(name, "body")).await;
    }
    drop(store);
    // Its newest changes are looked through when it is opened.
    let damaged = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("quarterdeck.db"), damaged.path().join("quarterdeck.db"))
        .unwrap();
    sqlite(damaged.path(), "DELETE FROM log WHERE revision = 2");
    let why = unusable(Sqlite::open(damaged.path()).map(|_| ()));
    says(&why, &["damaged", "lacks revision 2", "restore a backup"]);
    sqlite(damaged.path(), "DELETE FROM log");
    let why = unusable(Sqlite::open(damaged.path()).map(|_| ()));
    says(&why, &["damaged", "lacks revision 1"]);

    // A compaction brings them into the table of current objects; the rest is noticed when it is loaded.
    let store = Sqlite::open(folder.path()).unwrap();
    store.compact(Revision(3)).await.unwrap();
    drop(store);
    sqlite(folder.path(), "DELETE FROM log WHERE revision = 2");
    let store = Sqlite::open(folder.path()).unwrap();
    for takers in 1..=3 {
        let takers = (0..takers).map(|_| -> Taker { Box::new(|_| Ok(())) }).collect();
        let why = unusable(store.load(takers).await);
        says(&why, &["damaged", "lacks revision 2", "restore a backup"]);
    }
    // The store goes on, since only reading all of it is spoiled.
    assert_eq!(one(&store, put("d", "body")).await, Outcome::Committed(Revision(4)));
    assert_eq!(store.head().await.unwrap(), Revision(4));
}

/// Enough changes that SQLite brings keys into its table of current objects under the writer, several
/// times over. Wherever it is opened again, it holds the same as the model.
#[tokio::test]
async fn many_changes_are_all_there_wherever_a_sqlite_file_is_opened_again() {
    use quarterdeck_store::{BATCH_MAX, Backend as _};
    let folder = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(folder.path()).unwrap();
    let mut model = Model::default();
    let mut turn = 0;
    for batch in 0..240 {
        let changes = (0..BATCH_MAX).map(|_| {
            turn += 1;
            // A few keys again and again among many that are written now and then.
            let name = if turn % 3 == 0 { turn % 7 } else { turn * 7_919 % 45_000 };
            let name = format!("key-{name:05}");
            if turn % 11 == 0 { delete(&name) } else { put(&name, &turn.to_string()) }
        });
        let changes: Vec<_> = changes.collect();
        let outcomes = store.commit(&changes).await.unwrap();
        assert_eq!(outcomes, model.commit(&changes));
        if batch % 40 == 39 {
            drop(store);
            store = Sqlite::open(folder.path()).unwrap();
            let (entries, head) = loaded(&store).await;
            assert_eq!(head, model.head());
            crate::support::model::assert_same(&entries, &model.now());
        }
    }
    let before = Revision(model.head().0 - 30_000);
    store.compact(before).await.unwrap();
    for at in [before, Revision(before.0 + 12_345), model.head()] {
        let entries = whole_snapshot(&store, at, 20_000).await.unwrap();
        crate::support::model::assert_same(&entries, &model.at(at));
    }
    crate::support::model::assert_same(&loaded(&store).await.0, &model.now());
}

#[tokio::test]
async fn a_second_process_on_one_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Sqlite::open(folder.path()).unwrap();
    let Err(StoreError::InUse(why)) = Sqlite::open(folder.path()) else { panic!("it was opened") };
    let process = format!("pid {}", std::process::id());
    says(&why, &[&process, folder.path().to_str().unwrap(), "Stop it first", "--data-dir"]);
    assert_eq!(one(&first, put("x", "body")).await, Outcome::Committed(Revision(1)));
    drop(first);
    Sqlite::open(folder.path()).unwrap();
}

async fn run(url: &str, statement: &str) {
    try_run(url, statement).await.unwrap();
}

async fn try_run(url: &str, statement: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(statement).await
}

/// One server for all of it: starting one takes longer than any of these.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_database_is_made_ready_or_refused() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;

    // Replicas that start at once on an empty database take turns.
    let url = server.create_database("at_once").await;
    let mut opening = JoinSet::new();
    for _ in 0..6 {
        let url = url.clone();
        opening.spawn(async move { Postgres::open(&url).await.unwrap() });
    }
    for (number, store) in opening.join_all().await.into_iter().enumerate() {
        assert_eq!(
            one(&store, put("x", "")).await,
            Outcome::Committed(Revision(number as u64 + 1))
        );
    }

    let url = server.create_database("newer").await;
    drop(Postgres::open(&url).await.unwrap());
    run(&url, "UPDATE quarterdeck.format SET version = 99").await;
    says(&unusable(Postgres::open(&url).await), &["\"newer\"", "newer release", "format 99"]);

    for (name, statement) in [
        ("foreign_table", "CREATE TABLE quarterdeck.log (line text)"),
        ("foreign_format", "CREATE TABLE quarterdeck.format (page text)"),
        ("empty_format", "CREATE TABLE quarterdeck.format (application text, version int)"),
    ] {
        let url = server.create_database(name).await;
        run(&url, &format!("CREATE SCHEMA quarterdeck; {statement}")).await;
        says(&unusable(Postgres::open(&url).await), &[name, "something else", "--store"]);
    }

    // Other tables beside ours are nobody's business, and an empty schema made for us is used.
    let url = server.create_database("shared").await;
    run(&url, "CREATE TABLE log (line text); CREATE SCHEMA quarterdeck").await;
    let store = Postgres::open(&url).await.unwrap();
    assert_eq!(one(&store, put("x", "")).await, Outcome::Committed(Revision(1)));

    run(&url, "CREATE ROLE guest LOGIN").await;
    let url = server.create_database("guarded").await;
    let as_guest = url.replace("quarterdeck@", "guest@");
    says(&unusable(Postgres::open(&as_guest).await), &["\"guest\"", "GRANT CREATE ON DATABASE"]);
    drop(Postgres::open(&url).await.unwrap());
    says(&unusable(Postgres::open(&as_guest).await), &["must own the schema"]);

    let missing = url.replace("guarded", "missing");
    says(&unusable(Postgres::open(&missing).await), &["\"missing\"", "CREATE DATABASE"]);
    let nobody = url.replace("quarterdeck@", "nobody@");
    says(&unusable(Postgres::open(&nobody).await), &["nobody", "check the user and password"]);
    // This server offers no TLS, and what was asked for is not given up silently.
    let refused = Postgres::open(&format!("{url}?sslmode=verify-full")).await.err().unwrap();
    says(&refused.to_string(), &["TLS", "sslmode=disable"]);
}

/// Statistics are as they are on a server that has run for a while; without them every plan is quick.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_table_of_latest_revisions_is_loaded_in_time() {
    const KEYS: usize = 2_000;
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let store = Postgres::open(&server.url()).await.unwrap();
    for turn in 0..6 {
        let puts: Vec<_> =
            (0..KEYS).map(|key| put(&format!("key-{key}"), &turn.to_string())).collect();
        for batch in puts.chunks(500) {
            store.commit(batch).await.unwrap();
        }
        if turn == 1 {
            let head = store.head().await.unwrap();
            store.compact(head).await.unwrap();
            run(&server.url(), "ANALYZE").await;
        }
    }
    run(&server.url(), "ANALYZE quarterdeck.log, quarterdeck.latest").await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let taker: Taker = Box::new(move |current| {
        assert_eq!(current.body, b"5");
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let loading = tokio::time::timeout(Duration::from_secs(20), store.load(vec![taker]));
    let head = loading.await.expect("loaded in time").unwrap();
    assert_eq!((head, seen.load(Ordering::Relaxed)), (Revision(6 * KEYS as u64), KEYS));
}

/// A caller may say more than there is: what it means is all of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_into_the_table_never_passes_the_head() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let store = Postgres::open(&server.url()).await.unwrap();
    store.commit(&[put("a", "1"), put("a", "2")]).await.unwrap();
    store.compact(Revision(1_000)).await.unwrap();
    let another = Postgres::open(&server.url()).await.unwrap();
    for store in [&store, &another] {
        let outcomes = store.commit(&[put("a", "3")]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
    }
    assert_eq!(store.head().await.unwrap(), Revision(4));
}

/// A plane of the release before must not go on beside one that knows more than it: it would compact what
/// the new one has not brought in yet.
#[tokio::test(flavor = "multi_thread")]
async fn planes_of_the_first_form_neither_write_nor_compact_after_the_second() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    drop(Postgres::open(&server.url()).await.unwrap());
    for table in ["current", "compacted"] {
        let asked = format!("SELECT count(*) FROM quarterdeck.{table}");
        let refused = try_run(&server.url(), &asked).await.unwrap_err();
        let said = refused.as_db_error().map(ToString::to_string).unwrap_or_default();
        assert!(said.contains("does not exist"), "{refused}");
    }
}
