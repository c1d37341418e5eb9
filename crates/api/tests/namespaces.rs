//! What is created in a namespace while another replica deletes it: nothing is left behind in a namespace
//! that is gone, whichever of the two comes first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use async_trait::async_trait;
use quarterdeck_model::{
    Key, Kind as _, Revision,
    kinds::{Namespace, Secret},
    object,
};
use quarterdeck_store::{
    Backend, Change, Entry, Lease, Mutation, Outcome, Precondition, Sqlite, StoreError, Taker,
    Write,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use support::Plane;

/// What another replica does to the namespace `team`, of which this is the body.
type Meanwhile = Box<dyn Fn(Value) -> Write + Send + Sync>;

/// A store that another replica writes to just before the next Secret is committed: after what this one
/// has read, and before what it decided on that.
struct Between {
    sqlite: Arc<Sqlite>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Between {
    /// Does it now.
    async fn act(&self, what: Meanwhile) {
        let key = Key::new(Namespace::info(), "", "team");
        let head = self.sqlite.head().await.unwrap();
        let all = self.sqlite.snapshot(head, None, 10_000).await.unwrap();
        let now = all.into_iter().find(|entry| entry.key == key).unwrap();
        let write = what(serde_json::from_slice(&now.body).unwrap());
        let precondition = Precondition::At(now.revision);
        let mutation = Mutation { key, write, precondition, fence: None };
        let outcomes = self.sqlite.commit(&[mutation]).await.unwrap();
        assert!(matches!(outcomes[0], Outcome::Committed(_)), "{outcomes:?}");
    }
}

#[async_trait]
impl Backend for Between {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        if batch.iter().any(|mutation| mutation.key.kind == Secret::info().resource_name()) {
            let what = self.meanwhile.lock().unwrap().take();
            if let Some(what) = what {
                self.act(what).await;
            }
        }
        self.sqlite.commit(batch).await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.sqlite.changes(since, limit).await
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        self.sqlite.head().await
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.sqlite.snapshot(at, after, limit).await
    }

    async fn load(&self, takers: Vec<Taker>) -> Result<Revision, StoreError> {
        self.sqlite.load(takers).await
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.sqlite.compact(before).await
    }

    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.sqlite.acquire_leases(names, holder, ttl).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.sqlite.leases().await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.sqlite.release_lease(lease).await
    }

    fn shared(&self) -> bool {
        true
    }
}

const TEAM: &str = "/api/v1/namespaces/team/secrets";

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"k": "v"}})
}

fn put(body: &Value) -> Write {
    Write::Put(object::encode(Namespace::info(), body).into())
}

fn terminating(mut body: Value) -> Write {
    body["metadata"]["deletionTimestamp"] = json!("2026-11-02T08:00:00Z");
    body["status"] = json!({"phase": "Terminating"});
    put(&body)
}

fn labelled(mut body: Value) -> Write {
    body["metadata"]["labels"] = json!({"tier": "gold"});
    put(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_into_a_namespace_that_another_replica_deletes() {
    let mut between = None;
    let plane = Plane::start_on(|sqlite| {
        let store = Arc::new(Between { sqlite, meanwhile: Mutex::default() });
        between = Some(store.clone());
        store
    })
    .await;
    let between = between.unwrap();
    let team = json!({"metadata": {"name": "team"}});
    plane.must("POST", "/api/v1/namespaces", team.clone()).await;
    let create = async |meanwhile: Meanwhile, body: Value| {
        *between.meanwhile.lock().unwrap() = Some(meanwhile);
        let answer = plane.ask("POST", TEAM, body).await;
        assert!(between.meanwhile.lock().unwrap().is_none(), "it came between");
        (answer.status.as_u16(), answer.body["message"].as_str().unwrap_or_default().to_owned())
    };
    // A change that is no deletion is looked at, and no reason to refuse.
    assert_eq!(create(Box::new(labelled), secret("a")).await.0, 201);
    let generated = json!({"metadata": {"generateName": "b-"}});
    assert_eq!(create(Box::new(labelled), generated).await.0, 201);
    let again = plane.ask("POST", TEAM, secret("a")).await;
    assert_eq!(again.body["message"], "secrets \"a\" already exists");

    let gone = "namespaces \"team\" not found";
    assert_eq!(create(Box::new(|_| Write::Delete), secret("d")).await, (404, gone.into()));
    plane.must("POST", "/api/v1/namespaces", team.clone()).await;
    let refused = "secrets cannot be created in namespace team because it is being terminated";
    assert_eq!(create(Box::new(terminating), secret("c")).await, (403, refused.into()));
    // As the controller does at last.
    between.act(Box::new(|_| Write::Delete)).await;
    // Not even an apply, which makes what is not there.
    plane.must("POST", "/api/v1/namespaces", team).await;
    *between.meanwhile.lock().unwrap() = Some(Box::new(|_| Write::Delete));
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e"}});
    let path = format!("{TEAM}/e?fieldManager=m");
    let media = "application/apply-patch+yaml";
    let answer = plane.send_bytes("PATCH", &path, media, applied.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.body["message"].as_str()), (404, Some(gone)));

    let world = plane.store.fresh().await.unwrap();
    let left = world.all(Secret::info()).filter(|secret| secret.namespace() == "team");
    let mut left: Vec<&str> = left.map(|secret| secret.name()).collect();
    left.retain(|name| !name.starts_with("b-"));
    assert_eq!(left, ["a"], "what was there before it was deleted");
}
