//! A replica that has not seen yet what another one has acknowledged: what it answers, and for what it waits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use async_trait::async_trait;
use futures_util::future::join_all;
use quarterdeck_model::{Key, Kind as _, Revision, kinds::Site};
use quarterdeck_store::{
    Backend, Change, Entry, Lease, Mutation, Outcome, Sqlite, Store, StoreError, Taker,
};
use serde_json::{Value, json};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};
use support::{Answer, Plane, SITES, whole};
use tokio::sync::watch;

/// Whether a replica can read what others have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Open,
    /// The store says nothing.
    Silent,
    /// The store is not there.
    Gone,
}

/// A store that several processes share, and that one of them may be cut off from.
struct Shared {
    inner: Arc<Sqlite>,
    reach: watch::Receiver<Reach>,
    /// How often it was asked what is new.
    asked: AtomicUsize,
}

#[async_trait]
impl Backend for Shared {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        self.inner.commit(batch).await
    }
    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut reach = self.reach.clone();
        let reach = *reach.wait_for(|reach| *reach != Reach::Silent).await.unwrap();
        if reach == Reach::Gone {
            return Err(StoreError::Unavailable("it is not there".into()));
        }
        self.inner.changes(since, limit).await
    }
    async fn head(&self) -> Result<Revision, StoreError> {
        self.inner.head().await
    }
    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.snapshot(at, after, limit).await
    }
    async fn load(&self, takers: Vec<Taker>) -> Result<Revision, StoreError> {
        self.inner.load(takers).await
    }
    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.inner.compact(before).await
    }
    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.inner.acquire_leases(names, holder, ttl).await
    }
    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.inner.leases().await
    }
    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release_lease(lease).await
    }
    fn shared(&self) -> bool {
        true
    }
}

/// Two replicas; the second one's reach can be changed.
struct Replicas {
    ahead: Plane,
    behind: Plane,
    reach: watch::Sender<Reach>,
    backend: Arc<Shared>,
}

impl Replicas {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inner = Arc::new(Sqlite::open(folder.path()).unwrap());
        let reach = watch::Sender::new(Reach::Open);
        let shared =
            |reach| Arc::new(Shared { inner: inner.clone(), reach, asked: AtomicUsize::new(0) });
        let always = watch::Sender::new(Reach::Open);
        let store = Store::open(shared(always.subscribe())).await.unwrap();
        let ahead = Plane::on(Arc::new(store), folder, None).await;
        // It stays open for as long as somebody can change that.
        tokio::spawn(async move { always.closed().await });
        let backend = shared(reach.subscribe());
        let store = Store::open(backend.clone()).await.unwrap();
        let behind = Plane::on(Arc::new(store), tempfile::tempdir().unwrap(), None).await;
        behind.store.fresh().await.unwrap();
        Self { ahead, behind, reach, backend }
    }

    fn reach(&self, reach: Reach) {
        self.reach.send_replace(reach);
    }

    /// A site that only the first replica knows of, and its version.
    async fn unseen(&self, name: &str) -> String {
        let site = json!({
            "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Site", "metadata": {"name": name}, "spec": {"region": "eu"},
        });
        let made = self.ahead.must("POST", SITES, site).await;
        made["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, path: &str) -> Answer {
        self.behind.ask("GET", &format!("{SITES}{path}"), Value::Null).await
    }
}

fn names(list: &Answer) -> Vec<&str> {
    let items = list.body["items"].as_array().unwrap_or_else(|| panic!("{list:?}"));
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_read_waits_until_the_replica_has_what_was_acknowledged() {
    let replicas = Replicas::start().await;
    replicas.reach(Reach::Silent);
    let version = replicas.unseen("a").await;
    // As it happens to be: at once, and old.
    let begun = Instant::now();
    assert_eq!(replicas.ask("/a?resourceVersion=0").await.status.as_u16(), 404);
    assert_eq!(names(&replicas.ask("?resourceVersion=0").await), Vec::<&str>::new());
    assert!(begun.elapsed() < Duration::from_secs(2), "it does not wait");
    // All others wait.
    let replicas = Arc::new(replicas);
    let paths =
        ["/a", "", "?resourceVersionMatch=NotOlderThan&resourceVersion=", "/a?resourceVersion="];
    let mut reads = Vec::new();
    for number in 0..100 {
        let path = paths[number % paths.len()];
        let path = if path.ends_with('=') { format!("{path}{version}") } else { path.to_owned() };
        let replicas = replicas.clone();
        reads.push(tokio::spawn(async move { (replicas.ask(&path).await, path) }));
    }
    // Some of them have come by the time that this one is answered.
    assert_eq!(replicas.ask("/a?resourceVersion=0").await.status.as_u16(), 404);
    replicas.reach(Reach::Open);
    for read in reads {
        let (answer, path) = read.await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{path}: {answer:?}");
        let found = if answer.body["items"].is_array() { names(&answer) } else { vec!["a"] };
        assert_eq!(found, ["a"], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_to_the_store_serves_all_who_wait() {
    let replicas = Replicas::start().await;
    replicas.reach(Reach::Silent);
    replicas.unseen("a").await;
    let readers = (0..1_000).map(|_| replicas.behind.store.fresh());
    // All at once, however much that is for one turn of a task.
    let mut all = std::pin::pin!(tokio::task::unconstrained(join_all(readers)));
    let waiting = poll_fn(|context| Poll::Ready(all.as_mut().poll(context).is_pending())).await;
    assert!(waiting, "none of them was answered yet");
    let asked = replicas.backend.asked.load(Ordering::SeqCst);
    replicas.reach(Reach::Open);
    for world in all.await {
        assert!(world.unwrap().get(Site::info(), "", "a").is_some());
    }
    let asked = replicas.backend.asked.load(Ordering::SeqCst) - asked;
    // The one for them, and those that are asked by the clock.
    assert!(asked < 100, "{asked} questions for 1,000 readers");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_store_does_not_answer_a_consistent_read_says_so() {
    let replicas = Replicas::start().await;
    for (reach, longest) in [(Reach::Gone, 5), (Reach::Silent, 15)] {
        replicas.reach(reach);
        let begun = Instant::now();
        for path in ["/a", "", "?watch=true"] {
            let answer = replicas.ask(path).await;
            assert_eq!(answer.status.as_u16(), 503, "{path}: {answer:?}");
            assert_eq!(answer.body["reason"], "ServiceUnavailable");
            let said = answer.body["message"].as_str().unwrap();
            assert!(said.contains("store is unavailable"), "{said}");
            if reach == Reach::Silent {
                break;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(longest), "{reach:?}: {:?}", begun.elapsed());
        // What may be old is still there for who asks for it.
        assert_eq!(replicas.ask("?resourceVersion=0").await.status.as_u16(), 200);
    }
    replicas.reach(Reach::Open);
    assert_eq!(replicas.ask("").await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_page_and_a_watch_go_on_at_a_replica_that_is_behind() {
    let replicas = Replicas::start().await;
    replicas.reach(Reach::Silent);
    for name in ["a", "b"] {
        replicas.unseen(name).await;
    }
    let version = replicas.unseen("c").await;
    let page = replicas.ahead.ask("GET", &format!("{SITES}?limit=1"), Value::Null).await;
    assert_eq!(names(&page), ["a"]);
    let next = page.body["metadata"]["continue"].as_str().unwrap().to_owned();
    let replicas = Arc::new(replicas);
    let asking = {
        let replicas = replicas.clone();
        tokio::spawn(async move { replicas.ask(&format!("?limit=5&continue={next}")).await })
    };
    let watching = {
        let (replicas, version) = (replicas.clone(), version.clone());
        let path = format!("{SITES}?watch=true&timeoutSeconds=1&resourceVersion={version}");
        tokio::spawn(async move {
            let request = replicas.behind.request("GET", &path).body(Default::default()).unwrap();
            replicas.behind.send(request).await.status().as_u16()
        })
    };
    replicas.reach(Reach::Open);
    let page = asking.await.unwrap();
    assert_eq!(names(&page), ["b", "c"]);
    assert_eq!(page.body["metadata"]["resourceVersion"], version);
    assert_eq!(watching.await.unwrap(), 200);

    // While the store cannot say, a watch is not told to list again.
    replicas.reach(Reach::Gone);
    let version = replicas.unseen("d").await;
    let path = format!("?watch=true&resourceVersion={version}");
    assert_eq!(replicas.ask(&path).await.status.as_u16(), 503);
    replicas.reach(Reach::Open);
    // What the store has never had is not waited for.
    let future =
        replicas.behind.request("GET", &format!("{SITES}?watch=true&resourceVersion=999999"));
    let future = whole(replicas.behind.send(future.body(Default::default()).unwrap()).await).await;
    assert_eq!((future.status.as_u16(), &future.body["reason"]), (410, &json!("Expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_called_bad_while_nobody_can_say() {
    let replicas = Replicas::start().await;
    let plane = &replicas.behind;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    plane.must("POST", accounts, json!({"metadata": {"name": "bot"}})).await;
    let made = plane.must("POST", &format!("{accounts}/bot/token"), json!({})).await;
    let token = made["status"]["token"].as_str().unwrap().to_owned();
    plane.must("DELETE", &format!("{accounts}/bot"), Value::Null).await;
    let anyone = plane.caller(None);
    let ask = async || {
        let request = plane.request("GET", "/version");
        let request = request.header("authorization", format!("Bearer {token}"));
        whole(anyone.request(request.body(Default::default()).unwrap()).await.unwrap()).await
    };
    // Another replica may have made the account anew.
    replicas.reach(Reach::Gone);
    let answer = ask().await;
    assert_eq!(answer.status.as_u16(), 503, "{answer:?}");
    replicas.reach(Reach::Open);
    assert_eq!(ask().await.status.as_u16(), 401);
}
