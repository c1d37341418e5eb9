use super::*;
use crate::testing::Held;
use proptest::prelude::*;
use quarterdeck_model::{Kind as _, kinds::Instance};
use serde_json::{Value, json};

/// What an index holds, without how it is kept.
fn told(index: &Index) -> Vec<(String, Vec<String>, String)> {
    let columns = index.columns();
    let chunks = index.chunks().iter();
    chunks
        .flat_map(|chunk| {
            (0..chunk.len()).map(|at| {
                let object = chunk.object(at).unwrap();
                let value = |column: usize| {
                    let number = chunk.column(column)[at] as usize;
                    columns.dictionary(column).unwrap().texts()[number].to_string()
                };
                let name = format!("{}/{}@{}", object.namespace(), object.name(), object.revision);
                let text = String::from_utf8_lossy(chunk.part(at, 0)).into_owned();
                (name, (0..columns.count()).map(value).collect(), text)
            })
        })
        .collect()
}

fn instance(service: u8, phase: u8) -> Value {
    json!({
        "spec": {"service": format!("s{service}"), "host": {"kind": "Server", "name": "h"}},
        "status": {"phase": format!("P{phase}")},
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Brought up to date, it is what it would be if it were made anew; and whoever holds the old one still has it.
    #[test]
    fn one_that_follows_is_one_that_is_made_anew(
        steps in prop::collection::vec(
            (0..3_u8, 0..200_u8, prop::option::of((0..4_u8, 0..4_u8))), 1..400),
        seen in 1..40_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (held, indexes, kind) = (Held::new().await, Indexes::default(), Instance::info());
            let mut old: Option<(Arc<Index>, Vec<_>)> = None;
            for (number, (namespace, name, becomes)) in steps.into_iter().enumerate() {
                let value = becomes.map_or(Value::Null, |(service, phase)| instance(service, phase));
                held.put(kind, &format!("n{namespace}"), &format!("i{name:03}"), value).await;
                if number % seen == 0 {
                    let world = held.store.world();
                    let index = indexes.get(&held.store, &world, kind).await.unwrap();
                    assert_eq!(told(&index), told(&Index::built(kind, &world)));
                    assert_eq!(index.len(), world.count(kind));
                    if let Some((old, before)) = &old {
                        assert_eq!(&told(old), before);
                    }
                    let before = told(&index);
                    old = (number % 3 == 0).then_some((index, before));
                }
            }
        });
    }
}

#[tokio::test]
async fn an_older_world_is_told_from_a_newer_index() {
    let (held, indexes, kind) = (Held::new().await, Indexes::default(), Instance::info());
    held.put(kind, "a", "one", instance(1, 1)).await;
    let old = held.store.world();
    held.put(kind, "a", "two", instance(1, 1)).await;
    let new = held.store.world();
    assert_eq!(indexes.get(&held.store, &new, kind).await.unwrap().len(), 2);
    assert_eq!(indexes.get(&held.store, &old, kind).await.err(), Some(Moved));
    assert_eq!(Indexes::own(&old, kind).await.unwrap().len(), 1);
    // Of another kind nothing has changed.
    held.put(quarterdeck_model::kinds::Site::info(), "", "s", json!({"spec": {}})).await;
    let newest = held.store.world();
    let index = indexes.get(&held.store, &newest, kind).await.unwrap();
    assert_eq!(index.len(), 2);
    assert!(indexes.get(&held.store, &new, kind).await.is_ok());
}

#[tokio::test]
async fn values_that_are_hardly_shared_are_kept_as_text() {
    let (held, kind) = (Held::new().await, Instance::info());
    for number in 0..1_200 {
        let mut value = instance(1, 1);
        value["spec"]["host"]["name"] = json!(format!("Host-{number}"));
        held.put(kind, "a", &format!("i{number}"), value).await;
    }
    let index = Index::built(kind, &held.store.world());
    assert_eq!(index.columns().kept("spec.host.name"), Some(Kept::Part(1)));
    assert_eq!(index.columns().kept("spec.service"), Some(Kept::Column(0)));
    let (chunk, at) = index.find(("a", "i77")).unwrap();
    assert_eq!(index.chunks()[chunk].part(at, 1), b"host-77");
}
