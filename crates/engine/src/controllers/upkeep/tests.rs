use super::*;
use crate::objects::Objects;
use proptest::prelude::*;
use quarterdeck_model::{Key, object};
use quarterdeck_store::{Mutation, Precondition, Sqlite, Store, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NOW: &str = "2026-06-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn ago(hours: i64) -> String {
    (now() - SignedDuration::from_hours(hours)).to_string()
}

/// A plane with upkeep under way, on a clock that only its timers move.
struct Plane {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    upkeep: tokio::task::JoinHandle<()>,
}

impl Plane {
    async fn with(objects: Vec<(KindRef, Value)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        for (kind, value) in objects {
            put(&store, kind, &value).await;
        }
        let objects = Objects::for_test(store.clone(), Arc::new(now)).await;
        let upkeep = tokio::spawn(run(objects));
        Self { _folder: folder, store, upkeep }
    }

    /// Waits until only those are left of a kind; the timers of passes go off meanwhile.
    async fn keeps(&self, kind: KindRef, names: &[&str]) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let world = self.store.world();
            let left: Vec<&str> = world.all(kind).map(|object| object.name()).collect();
            if left == names {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{left:?} are left, not {names:?}");
            pass().await;
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

/// Lets everybody work, and the next pass be due.
async fn pass() {
    // The store's thread works in real time.
    tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
    tokio::time::advance(EVERY).await;
}

async fn put(store: &Store, kind: KindRef, value: &Value) {
    let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    let mutation = Mutation {
        key: Key::new(kind, text("namespace"), text("name")),
        write: Write::Put(object::encode(kind, value).into()),
        precondition: Precondition::None,
        fence: None,
    };
    store.commit(vec![mutation]).await.unwrap();
}

fn event(name: &str, last: &str) -> (KindRef, Value) {
    let metadata = json!({"name": name, "namespace": "default", "uid": name});
    (Event::info(), json!({"metadata": metadata, "lastTimestamp": last}))
}

fn ended_run(name: &str, at: &str, more: Value) -> (KindRef, Value) {
    let mut metadata = json!({"name": name, "namespace": "default", "uid": name});
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let status = json!({"phase": "Succeeded", "completionTime": at});
    (Run::info(), json!({"metadata": metadata, "spec": {"runbook": "r"}, "status": status}))
}

#[tokio::test(start_paused = true)]
async fn events_of_more_than_a_day_ago_go_whether_they_were_there_or_come_later() {
    let there = vec![event("old", &ago(25)), event("young", &ago(23))];
    let plane = Plane::with(there).await;
    plane.keeps(Event::info(), &["young"]).await;
    let (kind, late) = event("late", &ago(30));
    put(&plane.store, kind, &late).await;
    plane.keeps(Event::info(), &["young"]).await;
    // Told again: it counts from then.
    let (kind, older) = event("young", &ago(48));
    put(&plane.store, kind, &older).await;
    plane.keeps(Event::info(), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn ended_runs_go_after_a_quarter_unless_something_has_or_holds_them() {
    let old = ago(91 * 24);
    let owner = json!({"ownerReferences": [
        {"apiVersion": "v1", "kind": "Namespace", "name": "n", "uid": "u"}]});
    let mut going_on = ended_run("goes-on", &old, json!({}));
    going_on.1["status"] = json!({"phase": "Running"});
    let plane = Plane::with(vec![
        going_on,
        ended_run("held", &old, json!({"finalizers": ["someone/waits"]})),
        ended_run("old", &old, json!({})),
        ended_run("owned", &old, owner),
        ended_run("young", &ago(89 * 24), json!({})),
    ])
    .await;
    plane.keeps(Run::info(), &["goes-on", "held", "owned", "young"]).await;
    let (kind, freed) = ended_run("held", &old, json!({}));
    put(&plane.store, kind, &freed).await;
    plane.keeps(Run::info(), &["goes-on", "owned", "young"]).await;
}

#[tokio::test(start_paused = true)]
async fn revisions_go_that_no_run_names_but_for_the_newest_of_each_runbook() {
    let revision = |runbook: &str, name: &str, hours: i64| {
        let metadata = json!({"name": name, "uid": name, "creationTimestamp": ago(hours)});
        let runbooks = json!({runbook: {"steps": []}});
        let spec = json!({"runbook": runbook, "runbooks": runbooks});
        (RunbookRevision::info(), json!({"metadata": metadata, "spec": spec}))
    };
    let mut named = ended_run("run", &ago(1), json!({}));
    named.1["status"]["runbookRevision"] = json!("a-named");
    let plane = Plane::with(vec![
        revision("a", "a-named", 9),
        revision("a", "a-old", 8),
        revision("a", "a-newest", 7),
        revision("b", "b-old", 5),
        revision("b", "b-young", 0),
        revision("c", "c-only", 900),
        named,
    ])
    .await;
    let kind = RunbookRevision::info();
    plane.keeps(kind, &["a-named", "a-newest", "b-young", "c-only"]).await;
    let (kind_of_run, mut other) = ended_run("run", &ago(1), json!({}));
    other["status"]["runbookRevision"] = json!("a-newest");
    put(&plane.store, kind_of_run, &other).await;
    plane.keeps(kind, &["a-newest", "b-young", "c-only"]).await;
}

#[test]
fn a_task_that_goes_on_takes_no_place_of_those_that_ended() {
    let mut ages = Ages::new(task_ended);
    let task = |name: &str, spec: Value, status: Value| {
        let metadata = json!({"name": name, "namespace": "default", "uid": name});
        let value = json!({"metadata": metadata, "spec": spec, "status": status});
        let key = Key::new(AgentTask::info(), "default", name);
        let body = object::encode(AgentTask::info(), &value);
        Object::from_body(AgentTask::info(), key, Revision(1), &body).unwrap()
    };
    for name in ["ended-1", "ended-2"] {
        let status = json!({"phase": "Succeeded", "finishedAt": ago(0)});
        ages.note(None, Some(&task(name, json!({}), status)));
    }
    for name in ["goes-on-1", "goes-on-2"] {
        ages.note(None, Some(&task(name, json!({"deadline": ago(-24)}), json!({}))));
    }
    let hour = SignedDuration::from_hours(1);
    assert_eq!(ages.beyond(2, hour, now()).count(), 0);
    assert_eq!(ages.beyond(1, hour, now()).count(), 1, "one of those that ended");
    // Nobody ended them, and nobody waits for them any more.
    let late = now() + SignedDuration::from_hours(26);
    assert_eq!(ages.beyond(9, hour, late).count(), 4);
}

proptest! {
    /// Whatever changes, what is too old or too many is what a look at everything would find.
    #[test]
    fn what_is_noted_is_what_there_is(
        changes in prop::collection::vec((0..12_u8, prop::option::of(0..50_i64)), 0..60),
        most in 0..12_usize,
        age in 0..50_i64,
    ) {
        let mut ages = Ages::new(last_seen);
        let mut there: BTreeMap<u8, (i64, Object)> = BTreeMap::new();
        for (name, becomes) in changes {
            let before = there.remove(&name);
            let after = becomes.map(|hours| {
                let (kind, value) = event(&name.to_string(), &ago(hours));
                let key = Key::new(kind, "default", &name.to_string());
                let body = object::encode(kind, &value);
                (hours, Object::from_body(kind, key, Revision(1), &body).unwrap())
            });
            ages.note(before.as_ref().map(|it| &it.1), after.as_ref().map(|it| &it.1));
            there.extend(after.map(|after| (name, after)));
        }
        let mut by_age: Vec<(i64, String)> =
            there.iter().map(|(name, (hours, _))| (-hours, name.to_string())).collect();
        by_age.sort();
        let crowd = by_age.len().saturating_sub(most);
        let old = by_age.iter().enumerate().filter(|(at, (hours, _))| *at < crowd || -hours > age);
        let wanted: Vec<&str> = old.map(|(_, (_, name))| name.as_str()).collect();
        let beyond = ages.beyond(most, SignedDuration::from_hours(age), now());
        let found: Vec<&str> = beyond.map(|(_, key)| &*key.name).collect();
        prop_assert_eq!(found, wanted);
    }
}
