//! Encryption at rest: nothing readable on disk, keys that are added, lost or wrong, and bodies that
//! were tampered with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use bytes::Bytes;
use quarterdeck_model::{Key, Revision, kinds};
use quarterdeck_store::{
    KeyFile, Mutation, Outcome, Precondition, Sealed, Sqlite, Store, StoreError, Write,
};
use serde_json::json;
use std::{fs, path::Path, sync::Arc, time::Duration};
use support::{key_file, loaded, one, put};
use tempfile::TempDir;

/// What must not be found anywhere.
const PASSWORD: &str = "correct-horse-battery-staple";

fn secret(name: &str) -> Mutation {
    let kind = kinds::by_resource_name("secrets").unwrap();
    let value = json!({
        "metadata": {"name": name, "namespace": "a", "uid": format!("uid-{name}")},
        "data": {"password": PASSWORD},
    });
    Mutation {
        key: Key::new(kind, "a", name),
        write: Write::Put(Bytes::from(quarterdeck_model::object::encode(kind, &value))),
        precondition: Precondition::None,
        fence: None,
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    key_file(&folder).make("2026-01-01T00:00:00Z").unwrap();
    folder
}

fn open(folder: &TempDir) -> Result<Arc<Sealed>, StoreError> {
    let inner = Arc::new(Sqlite::open(folder.path())?);
    Sealed::new(inner, key_file(folder), vec!["secrets".into()]).map(Arc::new)
}

fn found_in(folder: &Path, text: &str) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| {
            let bytes = fs::read(file).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
        .map(|file| file.display().to_string())
        .collect()
}

async fn passwords(store: &Store, count: usize) {
    let kind = kinds::by_resource_name("secrets").unwrap();
    for number in 0..count {
        let object = store.world().get(kind, "a", &format!("s{number}")).unwrap();
        assert_eq!(object.value()["data"]["password"], PASSWORD);
    }
}

/// The store once nothing else has it open: tasks of one that was dropped end a moment later.
async fn reopen(folder: &TempDir) -> Result<Arc<Sealed>, StoreError> {
    let opened = quarterdeck_testing::wait::wait_for(
        Duration::from_secs(20),
        "the store to be free",
        async || match open(folder) {
            Err(StoreError::InUse(why)) => Err(why),
            other => Ok(other),
        },
    );
    opened.await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confidential_is_on_disk_and_all_of_it_comes_back() {
    let folder = folder();
    let store = Store::open(open(&folder).unwrap()).await.unwrap();
    store.commit((0..3).map(|number| secret(&format!("s{number}"))).collect()).await.unwrap();
    store.commit(vec![secret("gone")]).await.unwrap();
    let gone = Mutation { write: Write::Delete, ..secret("gone") };
    store.commit(vec![gone]).await.unwrap();
    passwords(&store, 3).await;
    drop(store);
    let sealed = reopen(&folder).await.unwrap();
    assert_eq!(found_in(folder.path(), PASSWORD), Vec::<String>::new());
    // That the search finds what is there.
    assert_eq!(found_in(folder.path(), "QDS1").len(), 1);
    let store = Store::open(sealed.clone()).await.unwrap();
    passwords(&store, 3).await;
    assert_eq!(sealed.reseal(&store).await.unwrap(), 0, "all have the newest key");
    // What is restored from a backup holds nothing readable either, and is read with the same keys.
    let (copies, restored) = (tempfile::tempdir().unwrap(), self::folder());
    let (copy, now) = (copies.path().join("copy"), std::time::SystemTime::now());
    Sqlite::backup(folder.path(), &copy, now).unwrap();
    Sqlite::restore(restored.path(), &copy, now).unwrap();
    assert_eq!(found_in(restored.path(), PASSWORD), Vec::<String>::new());
    assert_eq!(found_in(restored.path(), "QDS1").len(), 1);
    std::fs::copy(folder.path().join("secrets.key"), restored.path().join("secrets.key")).unwrap();
    passwords(&Store::open(open(&restored).unwrap()).await.unwrap(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_in_the_clear_is_sealed() {
    let folder = folder();
    let plain = Sqlite::open(folder.path()).unwrap();
    for number in 0..130 {
        one(&plain, secret(&format!("s{number}"))).await;
    }
    one(&plain, put("other", "{}")).await;
    drop(plain);
    let sealed = reopen(&folder).await.unwrap();
    assert_eq!(loaded(&*sealed).await.0.len(), 131);
    // Objects that this release does not know are not the store's to load; take the one away.
    one(&*sealed, support::delete("other")).await;
    let store = Store::open(sealed.clone()).await.unwrap();
    assert_eq!(sealed.reseal(&store).await.unwrap(), 130);
    assert_eq!(sealed.reseal(&store).await.unwrap(), 0);
    passwords(&store, 130).await;
    let kind = kinds::by_resource_name("secrets").unwrap();
    assert!(store.world().get(kind, "a", "s0").unwrap().revision > Revision(131));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_takes_over_while_the_plane_runs() {
    let folder = folder();
    let sealed = open(&folder).unwrap();
    let store = Store::open(sealed.clone()).await.unwrap();
    store.commit((0..3).map(|number| secret(&format!("s{number}"))).collect()).await.unwrap();
    let old = fs::read_to_string(folder.path().join("secrets.key")).unwrap();
    key_file(&folder).rotate("2026-02-01T00:00:00Z").unwrap();
    assert_eq!(sealed.reseal(&store).await.unwrap(), 3);
    assert_eq!(sealed.reseal(&store).await.unwrap(), 0);
    store.commit(vec![secret("s3")]).await.unwrap();
    drop((store, sealed));
    // Nothing current needs the old key any more.
    let file = folder.path().join("secrets.key");
    let text = fs::read_to_string(&file).unwrap();
    let old_line = old.lines().find(|line| line.starts_with("2026-01")).unwrap();
    fs::write(&file, text.replace(&format!("{old_line}\n"), "")).unwrap();
    let store = Store::open(reopen(&folder).await.unwrap()).await.unwrap();
    passwords(&store, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_is_named_and_nothing_is_lost() {
    let folder = folder();
    let store = Store::open(open(&folder).unwrap()).await.unwrap();
    store.commit(vec![secret("s0")]).await.unwrap();
    drop(store);
    let file = folder.path().join("secrets.key");
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let error = reopen(&folder).await.err().unwrap().to_string();
    assert!(error.contains("secrets.key") && error.contains("restore"), "{error}");
    // Another key, as a second replica makes one that was not given the first one's.
    KeyFile::at(&file).make("2026-03-01T00:00:00Z").unwrap();
    let error = Store::open(reopen(&folder).await.unwrap()).await.err().unwrap().to_string();
    assert!(error.contains("secrets \"a/s0\"") && error.contains("does not hold"), "{error}");
    assert!(!error.contains(PASSWORD), "{error}");
    fs::write(&file, kept).unwrap();
    passwords(&Store::open(reopen(&folder).await.unwrap()).await.unwrap(), 1).await;
}

/// A key file that is damaged while the plane runs stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_damaged_meanwhile_leaves_the_keys_in_use() {
    let folder = folder();
    let store = Store::open(open(&folder).unwrap()).await.unwrap();
    fs::write(folder.path().join("secrets.key"), "nonsense").unwrap();
    let outcomes = store.commit(vec![secret("s0")]).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Committed(_)));
    passwords(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_moved_to_another_object_does_not_open() {
    let folder = folder();
    let sealed = open(&folder).unwrap();
    one(&*sealed, secret("s0")).await;
    drop(sealed);
    // Whoever can write to the database gives another object the same encrypted body.
    let inner = Sqlite::open(folder.path()).unwrap();
    let body = loaded(&inner).await.0[0].body.clone();
    one(&inner, Mutation { write: Write::Put(body), ..secret("s1") }).await;
    drop(inner);
    let error = Store::open(reopen(&folder).await.unwrap()).await.err().unwrap().to_string();
    assert!(error.contains("secrets \"a/s1\"") && error.contains("changed or damaged"), "{error}");
}
