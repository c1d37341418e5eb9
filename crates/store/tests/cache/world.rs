//! Reads and watches at every revision, against the model.

use super::{
    log::Log,
    model::{Model, Moment, Query, kind, queries, steps},
};
use proptest::prelude::*;
use quarterdeck_model::{Object, Revision, kinds};
use quarterdeck_store::{EventKind, Expired, ListQuery, Outcome, Store, WatchQuery, World};
use serde_json::Value;
use std::sync::Arc;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_the_model_does(
        steps in steps(),
        queries in queries(),
        at in any::<prop::sample::Index>(),
        forget in any::<prop::sample::Index>(),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let log = Arc::new(Log::default());
            let store = Store::open(log.clone()).await.unwrap();
            let mut model = Model::new();
            for (number, batch) in steps.iter().enumerate() {
                let of = |(at, step): (usize, &super::model::Step)| step.mutation(number * 100 + at);
                let batch: Vec<_> = batch.iter().enumerate().map(of).collect();
                let outcomes = store.commit(batch.clone()).await.unwrap();
                for (mutation, outcome) in batch.iter().zip(outcomes) {
                    if let Outcome::Committed(revision) = outcome {
                        model.follow(mutation);
                        assert_eq!(revision.0 as usize, model.0.len() - 1);
                    }
                }
                assert_eq!(store.world().revision().0 as usize, model.0.len() - 1);
            }
            let head = model.0.len() - 1;
            let at = at.index(head + 1);
            // One that was filled at once must be as good as one that followed.
            let opened = Store::open(log).await.unwrap();
            for store in [&store, &opened] {
                holds(&store.world(), &model.0[head]);
                for query in &queries {
                    assert_eq!(list(store, head, query), Ok(model.list(head, query)), "{query:?}");
                }
            }
            for query in &queries {
                assert_eq!(list(&store, at, query), Ok(model.list(at, query)), "{at} {query:?}");
                assert_eq!(watch(&store, at, query, head).await, Ok(model.events(at, query)), "{at} {query:?}");
            }
            // What happened before the cache was filled is not known to it.
            if at < head {
                assert_eq!(list(&opened, at, &queries[0]), Err(Expired));
                assert_eq!(watch(&opened, at, &queries[0], head).await, Err(Expired));
            }
            let floor = forget.index(head + 1);
            store.compact(Revision(floor as u64)).await.unwrap();
            for query in &queries {
                let wanted = |kept| if at >= floor || at == head { Ok(kept) } else { Err(Expired) };
                assert_eq!(list(&store, at, query), wanted(model.list(at, query)));
                let kept = if at >= floor { Ok(model.events(at, query)) } else { Err(Expired) };
                assert_eq!(watch(&store, at, query, head).await, kept);
            }
        });
    }
}

/// Lookups find exactly the objects of the moment.
fn holds(world: &World, moment: &Moment) {
    let mut all = 0;
    for kind in kinds::all() {
        all += world.count(kind);
        assert_eq!(world.all(kind).count(), world.count(kind));
    }
    assert_eq!(all, moment.len());
    for ((kind, namespace, name), value) in moment {
        let kind = kinds::by_resource_name(kind).unwrap();
        let object = world.get(kind, namespace, name).unwrap();
        assert_eq!(object.value(), *value);
        let same = world.by_uid(kind, value["metadata"]["uid"].as_str().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&object, &same));
    }
    assert!(world.get(kind(true), "ns0", "absent").is_none());
    assert!(world.by_uid(kind(true), "absent").is_none());
}

/// Lists page by page, to the end.
fn list(store: &Store, at: usize, query: &Query) -> Result<Vec<Value>, Expired> {
    let (labels, fields, world) = (query.labels(), query.fields(), store.world());
    let mut all: Vec<Arc<Object>> = Vec::new();
    let mut expected = None;
    loop {
        let last = all.last().cloned();
        let asked = ListQuery {
            kind: kind(query.namespaced),
            namespace: query.namespace,
            labels: &labels,
            fields: &fields,
            after: last.as_ref().map(|last| (last.namespace(), last.name())),
            limit: Some(query.limit),
        };
        let page = store.list_at(&world, Revision(at as u64), &asked)?;
        assert!(page.items.len() <= query.limit);
        assert!(!page.more || page.items.len() == query.limit);
        all.extend(page.items);
        expected = expected.or(page.remaining.map(|remaining| all.len() + remaining));
        if !page.more {
            assert!(expected.is_none_or(|expected| expected == all.len()));
            return Ok(all.iter().map(|object| object.value()).collect());
        }
    }
}

/// Watches until all that happened up to `until` is seen.
async fn watch(
    store: &Store,
    since: usize,
    query: &Query,
    until: usize,
) -> Result<Vec<(EventKind, Value)>, Expired> {
    let mut watcher = store.watch(WatchQuery {
        kind: kind(query.namespaced),
        namespace: query.namespace.map(Into::into),
        labels: query.labels(),
        fields: query.fields(),
        since: Revision(since as u64),
    });
    let mut seen = Vec::new();
    loop {
        // It does not return while nothing selected happens; then its position tells.
        let next = tokio::select! {
            biased;
            next = watcher.next() => next?,
            () = tokio::task::yield_now() => Vec::new(),
        };
        for event in next {
            let line: Value = serde_json::from_slice(&event.json()).unwrap();
            assert_eq!(line["type"], event.kind.name());
            assert_eq!(line["object"], event.object.value());
            seen.push((event.kind, event.object.value()));
        }
        if watcher.position().0 as usize == until {
            return Ok(seen);
        }
    }
}
