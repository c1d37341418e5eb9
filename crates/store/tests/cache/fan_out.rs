//! One event to many watchers: encoded once, given to all, waiting for none.

use super::log::Log;
use bytes::Bytes;
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, LabelSelector, Revision, kinds::Site, object,
};
use quarterdeck_store::{
    Encoding, Expired, Mutation, Precondition, Store, WatchEvent, WatchQuery, Write,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

fn put(name: &str, label: &str, padding: usize) -> Mutation {
    let value = json!({
        "metadata": {
            "name": name, "uid": name, "labels": {"a": label},
            "annotations": {"padding": "PADDING"},
        },
    });
    let body = String::from_utf8(object::encode(Site::info(), &value)).unwrap();
    let body = body.replace("PADDING", &"x".repeat(padding));
    Mutation {
        key: Key::new(Site::info(), "", name),
        write: Write::Put(Bytes::from(body)),
        precondition: Precondition::None,
        fence: None,
    }
}

fn from_start(labels: &str) -> WatchQuery {
    WatchQuery {
        kind: Site::info(),
        namespace: None,
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::default(),
        since: Revision::ZERO,
    }
}

async fn next(watcher: &mut quarterdeck_store::Watcher) -> Result<Vec<WatchEvent>, Expired> {
    timeout(DEADLINE, watcher.next()).await.expect("an event before the deadline")
}

#[tokio::test]
async fn an_event_is_encoded_once_for_all_watchers() {
    let store = Store::open(Arc::new(Log::default())).await.unwrap();
    let mut watchers: Vec<_> = (0..50).map(|_| store.watch(from_start("a=1"))).collect();
    let mut wider = store.watch(from_start(""));
    assert_eq!(store.stats().watchers, 51);
    store.commit(vec![put("s", "1", 0), put("s", "2", 0)]).await.unwrap();
    let shared = next(&mut wider).await.unwrap();
    let mut gone: Option<Bytes> = None;
    for watcher in &mut watchers {
        let seen = next(watcher).await.unwrap();
        let [added, deleted] = seen.as_slice() else { panic!("two events") };
        // The same bytes, not equal ones; also for those who select differently.
        assert_eq!(added.json().as_ptr(), shared[0].json().as_ptr());
        // Who no longer selects the object sees it go; that encoding is shared by all of them.
        assert_eq!(deleted.kind.name(), "DELETED");
        let first = gone.get_or_insert_with(|| deleted.json());
        assert_eq!(deleted.json().as_ptr(), first.as_ptr());
    }
    assert_eq!(shared[1].kind.name(), "MODIFIED");
    // So are other encodings than JSON, each for itself; for a later second it is done again.
    let mut encodings = 0;
    for (form, second, expected) in [(0, 7, 1), (0, 7, 1), (1, 7, 2), (0, 7, 2), (0, 8, 3)] {
        shared[0].encoded(Encoding { form, second }, || {
            encodings += 1;
            Bytes::from_static(b"row")
        });
        assert_eq!(encodings, expected, "{form} {second}");
    }
    drop(watchers);
    assert_eq!(store.stats().watchers, 1);
}

#[tokio::test]
async fn a_slow_watcher_is_cut_and_holds_up_nobody() {
    /// Larger than the store's usual objects, so that the history is full soon.
    const BODY_BYTES: usize = 1 << 20;
    /// More bytes of versions, before and after, than any history keeps.
    const WRITES: usize = 140;
    let store = Store::open(Arc::new(Log::default())).await.unwrap();
    let (mut slow, mut quick) = (store.watch(from_start("")), store.watch(from_start("")));
    let mut first = None;
    for number in 0..WRITES {
        // Acknowledged although the slow one has read nothing since the beginning.
        let write = put("s", &number.to_string(), BODY_BYTES);
        timeout(DEADLINE, store.commit(vec![write])).await.unwrap().unwrap();
        let seen = next(&mut quick).await.unwrap();
        assert_eq!(seen.len(), 1);
        let object = &seen.first().unwrap().object;
        assert_eq!(object.label("a"), Some(&*number.to_string()));
        first.get_or_insert_with(|| Arc::downgrade(object));
    }
    assert_eq!(next(&mut slow).await.err(), Some(Expired));
    // The versions it never read are not kept for it.
    assert!(first.unwrap().upgrade().is_none());
    // And it stays cut: nothing is skipped silently.
    assert_eq!(next(&mut slow).await.err(), Some(Expired));
}

#[tokio::test]
async fn a_watcher_waits_without_events_it_does_not_select() {
    let store = Store::open(Arc::new(Log::default())).await.unwrap();
    let mut watcher = store.watch(from_start("a=wanted"));
    let wait = tokio::spawn(async move { next(&mut watcher).await.map(|events| events.len()) });
    for number in 0..500 {
        store.commit(vec![put(&format!("s{number}"), "other", 0)]).await.unwrap();
    }
    store.commit(vec![put("s7", "wanted", 0)]).await.unwrap();
    assert_eq!(wait.await.unwrap(), Ok(1));
}
