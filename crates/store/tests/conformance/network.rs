//! PostgreSQL behind a network that fails: answers lost, hosts down, a replica cut off for long.

use super::stores::{kind, note, object};
use crate::{
    UNSAFE_BUT_FAST,
    support::{check_whole, fenced, one, put, when},
};
use quarterdeck_model::{FieldSelector, LabelSelector, Revision};
use quarterdeck_store::{
    Backend as _, Expired, ListQuery, Outcome, Postgres, Precondition, Store, WatchQuery, Watcher,
};
use quarterdeck_testing::{
    port::free_address,
    postgres::Postgres as Server,
    proxy::{Loss, Proxy},
    wait::wait_for,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};

const DEADLINE: Duration = Duration::from_secs(30);
/// As PostgreSQL's protocol writes the statement, and as it says that it was done.
const COMMIT: &[u8] = b"COMMIT\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_unknown_outcome_is_acknowledged_once() {
    const ROUNDS: u64 = 12;
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let proxy = Proxy::start(server.address()).await;
    let store = Postgres::open(&proxy.url(&server.url())).await.unwrap();
    assert_eq!(one(&store, put("x", "1")).await, Outcome::Committed(Revision(1)));
    for round in 2..=ROUNDS {
        // The two things that look the same to who waits for the answer: the commit was done, or
        // it never arrived.
        proxy.lose(match round % 2 {
            0 => Loss::Answer(COMMIT, COMMIT),
            _ => Loss::Request(COMMIT),
        });
        // Committed twice, the second would find the key at another revision.
        let mutation = when(Precondition::At(Revision(round - 1)), put("x", &round.to_string()));
        assert_eq!(one(&store, mutation).await, Outcome::Committed(Revision(round)));
        assert_eq!(proxy.lost() as u64, round - 1, "the connection was lost in between");
    }
    let log = check_whole(&Postgres::open(&server.url()).await.unwrap()).await;
    let bodies: Vec<_> = log.iter().map(|change| change.body.clone().unwrap()).collect();
    assert_eq!(bodies, (1..=ROUNDS).map(|round| round.to_string()).collect::<Vec<_>>());
}

/// Several batches are under way at once, each on what those before it leave: one that is lost takes those
/// after it along, and each is made up for by itself.
#[tokio::test(flavor = "multi_thread")]
async fn batches_behind_one_of_unknown_outcome_are_each_committed_once() {
    const WRITERS: u64 = 6;
    const TURNS: u64 = 30;
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let proxy = Arc::new(Proxy::start(server.address()).await);
    let store = Arc::new(Postgres::open(&proxy.url(&server.url())).await.unwrap().fold_after(10));
    let done = Arc::new(AtomicU64::new(0));
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, proxy, done) = (store.clone(), proxy.clone(), done.clone());
        writing.spawn(async move {
            let name = format!("own-{writer}");
            let mut precondition = Precondition::Absent;
            for turn in 0..TURNS {
                // Each is right only if the one before it was committed, and once.
                let own = when(precondition, put(&name, &turn.to_string()));
                let outcomes = store.commit(&[put("everybody's", &name), own]).await.unwrap();
                let [Outcome::Committed(_), Outcome::Committed(revision)] = outcomes[..] else {
                    panic!("{name}, turn {turn}: {outcomes:?}")
                };
                precondition = Precondition::At(revision);
                // What is limited waits for those before it, and must still see what they left.
                let limited = Precondition::AbsentIf { seen: None, below: Some(1_000_000) };
                let refused = store.commit(&[when(limited, put(&name, "another"))]).await.unwrap();
                assert_eq!(refused, [Outcome::Conflict(Some(revision))], "{name}, turn {turn}");
                match done.fetch_add(1, Ordering::Relaxed) % 40 {
                    10 => proxy.lose(Loss::Answer(COMMIT, COMMIT)),
                    30 => proxy.lose(Loss::Request(COMMIT)),
                    _ => {}
                }
            }
        });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    assert!(proxy.lost() >= 3, "{} connections were lost", proxy.lost());
    let log = check_whole(&Postgres::open(&server.url()).await.unwrap()).await;
    assert_eq!(log.len() as u64, 2 * WRITERS * TURNS);
}

/// What is counted for a quota is noted for the head at which it was counted, also when nothing was written
/// since the turn began.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exact_after_batches_that_write_nothing() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let before = Postgres::open(&server.url()).await.unwrap();
    let ten: Vec<_> = (0..10).map(|number| put(&format!("own-{number}"), "body")).collect();
    before.commit(&ten).await.unwrap();
    let store = Postgres::open(&server.url()).await.unwrap();
    let limited =
        |name, most| when(Precondition::AbsentIf { seen: None, below: Some(most) }, put(name, "b"));
    // The second waits while the first has the turn, and has the same turn.
    let (taken, full) = (when(Precondition::Absent, put("own-1", "b")), limited("more", 10));
    let (first, second) = tokio::join!(
        biased;
        store.commit(std::slice::from_ref(&taken)),
        store.commit(std::slice::from_ref(&full)),
    );
    assert!(matches!(first.unwrap()[..], [Outcome::Conflict(Some(_))]));
    assert_eq!(second.unwrap(), [Outcome::Full(10)]);
    for (name, most) in [("more-1", 11), ("more-2", 12)] {
        let outcome = one(&store, limited(name, most)).await;
        assert!(matches!(outcome, Outcome::Committed(_)), "{name}: {outcome:?}");
    }
    assert_eq!(one(&store, limited("more-3", 12)).await, Outcome::Full(12));
}

/// A lease can be renewed, and taken over, however much is written under it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_moves_while_much_is_written_under_it() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let store = Arc::new(Postgres::open(&server.url()).await.unwrap().fold_after(10));
    let ttl = Duration::from_secs(60);
    let lease = store.acquire_lease("engine", "me", ttl).await.unwrap().unwrap();
    let mut flood = JoinSet::new();
    for writer in 0..8 {
        let (store, token) = (store.clone(), lease.token);
        flood.spawn(async move {
            loop {
                let mutation = fenced("engine", token, put(&format!("own-{writer}"), "body"));
                match one(&*store, mutation).await {
                    Outcome::Committed(_) => {}
                    other => return other,
                }
            }
        });
    }
    for _ in 0..20 {
        let renewed = timeout(DEADLINE, store.acquire_lease("engine", "me", ttl)).await;
        assert_eq!(renewed.expect("renewed in time").unwrap().as_ref(), Some(&lease));
    }
    store.release_lease(&lease).await.unwrap();
    // Whoever writes under the old token is told so, and writes nothing any more.
    for outcome in timeout(DEADLINE, flood.join_all()).await.unwrap() {
        assert_eq!(outcome, Outcome::Fenced);
    }
}

/// A process that has the turn to write keeps it while it has something to write, but not when another
/// waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_process_lets_others_have_their_turn() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let busy = Arc::new(Postgres::open(&server.url()).await.unwrap().fold_after(10));
    let mut flood = JoinSet::new();
    for writer in 0..8 {
        let busy = busy.clone();
        flood.spawn(async move {
            loop {
                busy.commit(&[put(&format!("flood-{writer}"), "body")]).await.unwrap();
            }
        });
    }
    let other = Postgres::open(&server.url()).await.unwrap();
    wait_for(DEADLINE, "the other process to write", async || {
        (busy.head().await.unwrap() > Revision(100)).then_some(()).ok_or("not busy yet")
    })
    .await;
    let writes = async {
        for turn in 0..20 {
            let outcome = one(&other, put("other", &turn.to_string())).await;
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        }
    };
    timeout(DEADLINE, writes).await.expect("it has its turns while the other is busy");
    let before = busy.head().await.unwrap();
    wait_for(DEADLINE, "the busy one to go on", async || {
        (busy.head().await.unwrap() > before).then_some(()).ok_or("it stands still")
    })
    .await;
    flood.shutdown().await;
    check_whole(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let read_only = Server::start_with(&[("default_transaction_read_only", "on")]).await;
    let (one_way, other_way) =
        (Proxy::start(server.address()).await, Proxy::start(server.address()).await);
    let down = free_address();
    let through =
        [down, read_only.address(), one_way.address(), other_way.address()].map(|a| a.to_string());
    let url = server.url().replace(&server.address().to_string(), &through.join(","));
    let store = Postgres::open(&url).await.unwrap();
    assert_eq!(one(&store, put("x", "1")).await, Outcome::Committed(Revision(1)));
    // The host in use goes, for good; then that one comes back and the other goes.
    one_way.cut();
    assert_eq!(one(&store, put("x", "2")).await, Outcome::Committed(Revision(2)));
    one_way.mend();
    other_way.cut();
    assert_eq!(one(&store, put("x", "3")).await, Outcome::Committed(Revision(3)));
    check_whole(&store).await;
}

fn watch(store: &Store) -> Watcher {
    store.watch(WatchQuery {
        kind: kind(),
        namespace: None,
        labels: LabelSelector::default(),
        fields: FieldSelector::default(),
        since: store.world().revision(),
    })
}

/// Waits until the replica has caught up, and sees to it that nobody ever sees half of it.
async fn caught_up(replica: &Store, before: &[Option<String>], wanted: Revision) {
    let names = ["kept", "gone", "new"];
    wait_for(DEADLINE, "the replica to catch up", async || {
        let (world, fresh) = (replica.world(), replica.fresh().await);
        if world.revision() < wanted {
            let then = names.map(|name| {
                let value = world.get(kind(), "", name)?.value();
                Some(value["metadata"]["annotations"]["note"].as_str()?.to_owned())
            });
            assert_eq!(then, before, "the old world, whole, until there is a new one");
        }
        let reached = replica.world().revision();
        fresh.map_err(|error| error.to_string())?;
        if reached < wanted { Err(format!("at {reached}")) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_behind_what_was_compacted_reads_everything_again() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    let proxy = Proxy::start(server.address()).await;
    let ahead = Store::open(Arc::new(Postgres::open(&server.url()).await.unwrap())).await.unwrap();
    let url = proxy.url(&server.url());
    let behind = Store::open(Arc::new(Postgres::open(&url).await.unwrap())).await.unwrap();
    let put = |name, note| object(name, note, Precondition::None);
    ahead.commit(vec![put("kept", "1"), put("gone", "1")]).await.unwrap();
    let old = behind.fresh().await.unwrap();
    let mut waiting = watch(&behind);
    let waiter = tokio::spawn(async move { waiting.next().await.err() });

    proxy.cut();
    let mut gone = put("gone", "");
    gone.write = quarterdeck_store::Write::Delete;
    ahead.commit(vec![put("kept", "2"), gone, put("new", "2")]).await.unwrap();
    let newest = ahead.world().revision();
    ahead.compact(newest).await.unwrap();
    let before = [Some("1".to_owned()), Some("1".to_owned()), None];
    assert_eq!(behind.world().revision(), old.revision());
    proxy.mend();
    caught_up(&behind, &before, newest).await;

    let now = ["kept", "gone", "new"].map(|name| note(&behind, name));
    assert_eq!(now, [Some("2".to_owned()), None, Some("2".to_owned())]);
    // What the history no longer tells is not passed over in silence.
    assert_eq!(timeout(DEADLINE, waiter).await.unwrap().unwrap(), Some(Expired));
    let everything = ListQuery {
        kind: kind(),
        namespace: None,
        labels: &LabelSelector::default(),
        fields: &FieldSelector::default(),
        after: None,
        limit: None,
    };
    assert!(behind.list_at(&behind.world(), old.revision(), &everything).is_err());
    // And it follows as before.
    let mut watcher = watch(&behind);
    ahead.commit(vec![put("kept", "3")]).await.unwrap();
    let events = timeout(DEADLINE, watcher.next()).await.unwrap().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(note(&behind, "kept"), Some("3".into()));

    // The same when the first to notice is a writer of its own.
    proxy.cut();
    ahead.commit(vec![put("kept", "4"), put("kept", "5")]).await.unwrap();
    ahead.compact(ahead.world().revision()).await.unwrap();
    proxy.mend();
    let own = behind.commit(vec![put("own", "1")]).await.unwrap();
    let [Outcome::Committed(revision)] = own[..] else { panic!("{own:?}") };
    assert!(behind.world().revision() >= revision, "in the cache when acknowledged");
    let now = ["kept", "own"].map(|name| note(&behind, name));
    assert_eq!(now, [Some("5".to_owned()), Some("1".to_owned())]);
}
