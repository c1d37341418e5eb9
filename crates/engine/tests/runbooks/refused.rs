//! What is refused, through a real store and the whole engine.

use quarterdeck_engine::{Actions, Engine};
use quarterdeck_model::{
    Key, Kind as _, KindRef,
    kinds::{Namespace, Run, RunPhase, Runbook},
    object,
};
use quarterdeck_providers::{Providers, http::Reach};
use quarterdeck_store::{Mutation, Outcome, Precondition, Sqlite, Store, Write};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

pub(crate) fn actions() -> Arc<Actions> {
    Arc::new(Actions::new(Providers::new(Reach::default()).catalog().clone()))
}

pub(crate) fn open(folder: &tempfile::TempDir) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(folder.path()).unwrap())
}

/// Writes an object past admission, as one that was admitted in another time.
pub(crate) async fn put(store: &Store, kind: KindRef, namespace: &str, name: &str, spec: Value) {
    let value = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"), "generation": 1},
        "spec": spec,
    });
    let mutation = Mutation {
        key: Key::new(kind, namespace, name),
        write: Write::Put(object::encode(kind, &value).into()),
        precondition: Precondition::None,
        fence: None,
    };
    let outcomes = store.commit(vec![mutation]).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Committed(_)), "{outcomes:?}");
}

fn inner(parameter: &str) -> Value {
    json!({
        "parameters": [{"name": parameter, "type": "string", "required": true}],
        "steps": [{"name": "wait", "pause": "1s"}],
    })
}

fn outer() -> Value {
    json!({"steps": [{"name": "first", "call": "inner", "with": {"what": "x"}}]})
}

#[tokio::test]
async fn a_runbook_with_mistakes_is_not_admitted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(open(&folder)).await.unwrap();
    put(&store, Runbook::info(), "", "inner", inner("what")).await;
    let world = store.fresh().await.unwrap();
    let rules = quarterdeck_engine::rules(&actions());
    let (_, rule) = rules.iter().find(|(kind, _)| *kind == Runbook::info()).unwrap();
    let admit = |spec: Value, old: Option<Value>| {
        let of = |spec: Value| {
            let kind = Runbook::info();
            json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "outer"}, "spec": spec})
        };
        let errors = rule(&world, &of(spec), old.map(of).as_ref());
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(admit(outer(), None), Vec::<String>::new());
    let wrong = json!({
        "target": {"kind": "Server"},
        "steps": [
            {"name": "off", "action": "power.set", "with": {"state": "Of"}},
            {"name": "first", "call": "inner", "with": {"wat": "x"}},
            {"name": "ready", "waitFor": "target.status.phase == 'Redy'"},
        ],
    });
    insta::assert_snapshot!("not_admitted", admit(wrong.clone(), None).join("\n"));
    // A change of labels of one that is wrong by now must go through.
    assert_eq!(admit(wrong.clone(), Some(wrong)), Vec::<String>::new());
}

#[tokio::test]
async fn no_run_begins_of_a_runbook_that_went_wrong_since_it_was_admitted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(open(&folder)).await.unwrap();
    put(&store, Namespace::info(), "", "default", json!({})).await;
    put(&store, Runbook::info(), "", "outer", outer()).await;
    // What it calls asks for something else now.
    put(&store, Runbook::info(), "", "inner", inner("which")).await;
    let (stop, stopping) = watch::channel(false);
    let store = Arc::new(store);
    let engine = tokio::spawn(Engine::new(store.clone(), actions(), stopping).run());
    put(&store, Run::info(), "default", "r1", json!({"runbook": "outer"})).await;

    let deadline = Instant::now() + Duration::from_secs(30);
    let run = loop {
        let found = store.fresh().await.unwrap().get(Run::info(), "default", "r1").unwrap();
        let run: Run = found.decode().unwrap();
        if run.status.phase.ended() {
            break run;
        }
        assert!(Instant::now() < deadline, "the run does not end: {:?}", run.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    stop.send_replace(true);
    engine.await.unwrap();
    assert_eq!(run.status.phase, RunPhase::Failed);
    assert_eq!(run.status.steps, [], "nothing was begun");
    assert_eq!(run.status.conditions[0].reason, "RunbookInvalid");
    let message = run.status.message.unwrap();
    assert!(message.contains("step \"first\": runbook inner takes no \"what\""), "{message}");
}
