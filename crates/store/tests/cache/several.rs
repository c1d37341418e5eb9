//! Several stores over one log, as replicas have it: strong reads and one order for all.

use super::log::Log;
use bytes::Bytes;
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, LabelSelector, Revision, kinds::Site, object,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, WatchQuery, Write};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

const STORES: usize = 3;
const WRITES: usize = 60;
const DEADLINE: Duration = Duration::from_secs(20);

fn put(name: &str, label: usize, precondition: Precondition) -> Mutation {
    let value =
        json!({"metadata": {"name": name, "uid": name, "labels": {"n": label.to_string()}}});
    Mutation {
        key: Key::new(Site::info(), "", name),
        write: Write::Put(Bytes::from(object::encode(Site::info(), &value))),
        precondition,
        fence: None,
    }
}

async fn open(log: &Arc<Log>) -> Vec<Store> {
    let mut stores = Vec::new();
    for _ in 0..STORES {
        stores.push(Store::open(log.clone()).await.unwrap());
    }
    stores
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strong_read_sees_what_any_store_has_acknowledged() {
    let stores = open(&Arc::new(Log::shared())).await;
    let mut writers = Vec::new();
    for (number, writer) in stores.iter().cloned().enumerate() {
        let readers = stores.clone();
        writers.push(tokio::spawn(async move {
            let name = format!("site{number}");
            for count in 0..WRITES {
                let outcomes = writer.commit(vec![put(&name, count, Precondition::None)]).await;
                let [Outcome::Committed(revision)] = outcomes.unwrap()[..] else {
                    panic!("no precondition")
                };
                // The writer's own cache has it already.
                assert!(writer.world().revision() >= revision);
                for reader in &readers {
                    let world = timeout(DEADLINE, reader.fresh()).await.unwrap().unwrap();
                    assert!(world.revision() >= revision);
                    let site = world.get(Site::info(), "", &name).unwrap();
                    assert_eq!(site.label("n"), Some(&*count.to_string()));
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_stores_see_one_order_and_one_winner() {
    let stores = open(&Arc::new(Log::shared())).await;
    let watch = |store: &Store| {
        store.watch(WatchQuery {
            kind: Site::info(),
            namespace: None,
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            since: Revision::ZERO,
        })
    };
    let watchers: Vec<_> = stores.iter().map(watch).collect();
    // All count the same object up, each from what it has read: no count may be lost.
    stores[0].commit(vec![put("counter", 0, Precondition::Absent)]).await.unwrap();
    let mut counting = Vec::new();
    for store in stores.iter() {
        let store = store.clone();
        counting.push(tokio::spawn(async move {
            let mut won = 0;
            while won < WRITES {
                let world = timeout(DEADLINE, store.fresh()).await.unwrap().unwrap();
                let site = world.get(Site::info(), "", "counter").unwrap();
                let count: usize = site.label("n").unwrap().parse().unwrap();
                let write = put("counter", count + 1, Precondition::At(site.revision));
                match store.commit(vec![write]).await.unwrap()[..] {
                    [Outcome::Committed(_)] => won += 1,
                    [Outcome::Conflict(Some(_))] => {}
                    ref other => panic!("{other:?}"),
                }
            }
        }));
    }
    for counting in counting {
        counting.await.unwrap();
    }
    for mut watcher in watchers {
        let mut counts = Vec::new();
        while counts.len() <= STORES * WRITES {
            let events = timeout(DEADLINE, watcher.next()).await.unwrap().unwrap();
            counts.extend(events.iter().map(|event| event.object.label("n").unwrap().to_owned()));
        }
        let all: Vec<String> = (0..=STORES * WRITES).map(|count| count.to_string()).collect();
        assert_eq!(counts, all);
    }
}
