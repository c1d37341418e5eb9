//! Leases and the fences that go with them.

use crate::support::{Place, fenced, one, put, when};
use quarterdeck_model::Revision;
use quarterdeck_store::{Backend, Lease, Outcome, Precondition};
use quarterdeck_testing::wait::wait_for;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(150);
const DEADLINE: Duration = Duration::from_secs(20);

async fn take(store: &dyn Backend, holder: &str, ttl: Duration) -> Option<Lease> {
    store.acquire_lease("lease", holder, ttl).await.unwrap()
}

/// Takes the lease as soon as it is free.
async fn take_over(store: &dyn Backend, holder: &str) -> Lease {
    wait_for(DEADLINE, "the lease to expire", async || {
        take(store, holder, LONG).await.ok_or("it is held")
    })
    .await
}

pub(crate) async fn a_lease_has_one_holder_until_it_expires(place: Place) {
    let stores = place.writers(2).await;
    let (a, b) = (&*stores[0], &*stores[1]);
    let first = take(a, "a", SHORT).await.expect("it is free");
    assert_eq!((first.name.as_str(), first.holder.as_str()), ("lease", "a"));
    assert!(first.token > 0);
    let second = take_over(b, "b").await;
    assert_eq!(second.holder, "b");
    assert!(second.token > first.token);
    assert_eq!(take(a, "a", LONG).await, None);
    // Another lease is another matter.
    let other = a.acquire_lease("other", "a", LONG).await.unwrap();
    assert_eq!(other.map(|lease| lease.holder), Some("a".to_owned()));
}

pub(crate) async fn a_renewed_lease_does_not_expire(place: Place) {
    let stores = place.writers(2).await;
    let (a, b) = (&*stores[0], &*stores[1]);
    let first = take(a, "a", LONG).await.unwrap();
    assert_eq!(take(a, "a", LONG).await, Some(first.clone()), "renewing keeps the token");
    assert_eq!(take(b, "b", LONG).await, None);
    // A renewal may also be for a shorter time.
    assert_eq!(take(a, "a", SHORT).await, Some(first.clone()));
    let second = take_over(b, "b").await;
    // The holder before, too late: its token is not given again.
    b.release_lease(&second).await.unwrap();
    assert!(take(a, "a", LONG).await.unwrap().token > second.token);
}

pub(crate) async fn a_lease_given_back_is_free_and_its_fences_are_refused(place: Place) {
    let stores = place.writers(2).await;
    let (a, b) = (&*stores[0], &*stores[1]);
    let first = take(a, "a", LONG).await.unwrap();
    assert_eq!(
        one(a, fenced("lease", first.token, put("x", "1"))).await,
        Outcome::Committed(Revision(1))
    );
    let stale = Lease { token: first.token + 7, ..first.clone() };
    b.release_lease(&stale).await.unwrap();
    b.release_lease(&Lease { holder: "b".into(), ..first.clone() }).await.unwrap();
    assert_eq!(take(b, "b", LONG).await, None, "only who holds it gives it back");
    a.release_lease(&first).await.unwrap();
    a.release_lease(&first).await.unwrap();
    assert_eq!(one(a, fenced("lease", first.token, put("x", "2"))).await, Outcome::Fenced);
    let second = take(b, "b", LONG).await.expect("it is free");
    assert!(second.token > first.token);
    assert_eq!(one(a, fenced("lease", first.token, put("x", "3"))).await, Outcome::Fenced);
    assert_eq!(
        one(b, fenced("lease", second.token, put("x", "4"))).await,
        Outcome::Committed(Revision(2))
    );
    // Who had it can have it again, under a new token.
    b.release_lease(&second).await.unwrap();
    assert!(take(a, "a", LONG).await.unwrap().token > second.token);
}

pub(crate) async fn fences_are_judged_in_the_transaction_they_guard(place: Place) {
    let store = place.open().await;
    let one_held = take(&*store, "a", LONG).await.unwrap();
    let other = store.acquire_lease("other", "b", LONG).await.unwrap().unwrap();
    let outcomes = store
        .commit(&[
            fenced("lease", one_held.token, put("x", "1")),
            fenced("lease", one_held.token + 1, put("x", "2")),
            fenced("never taken", 1, put("x", "3")),
            fenced("other", other.token, when(Precondition::At(Revision(1)), put("x", "4"))),
            fenced("other", other.token, when(Precondition::Absent, put("x", "5"))),
            put("x", "6"),
        ])
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::Committed(Revision(1)),
            Outcome::Fenced,
            Outcome::Fenced,
            Outcome::Committed(Revision(2)),
            Outcome::Conflict(Some(Revision(2))),
            Outcome::Committed(Revision(3)),
        ]
    );
}

/// A holder that does not notice it lost its lease writes on; the next holder takes over, reads the
/// head, and must never see a write of the first after that.
pub(crate) async fn nothing_fenced_is_committed_after_a_takeover_was_seen(place: Place) {
    let stores = place.writers(2).await;
    for round in 0..5 {
        let (a, b) = (stores[0].clone(), stores[1].clone());
        let held = take(&*a, "a", SHORT).await.expect("free at the start of a round");
        let writing = tokio::spawn(async move {
            let mut last = Revision::ZERO;
            loop {
                match one(&*a, fenced("lease", held.token, put("x", "body"))).await {
                    Outcome::Committed(revision) => last = revision,
                    Outcome::Fenced => return last,
                    other => panic!("{other:?}"),
                }
            }
        });
        let taken = take_over(&*b, "b").await;
        let head = b.head().await.unwrap();
        let last = writing.await.unwrap();
        assert!(last <= head, "round {round}: {last} was committed after {head} was seen");
        assert!(last > Revision::ZERO);
        b.release_lease(&taken).await.unwrap();
    }
}

pub(crate) async fn several_are_taken_at_once_but_for_those_of_others(place: Place) {
    let stores = place.writers(2).await;
    let (a, b) = (&*stores[0], &*stores[1]);
    let theirs = a.acquire_lease("y", "a", LONG).await.unwrap().unwrap();
    let names = ["z", "y", "x"].map(str::to_owned);
    let mut taken = b.acquire_leases(&names, "b", LONG).await.unwrap();
    taken.sort_by(|one, other| one.name.cmp(&other.name));
    let named: Vec<_> = taken.iter().map(|it| (it.name.as_str(), it.holder.as_str())).collect();
    assert_eq!(named, [("x", "b"), ("z", "b")]);
    // Renewed, all keep their tokens.
    let mut again = b.acquire_leases(&names, "b", LONG).await.unwrap();
    again.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(again, taken);
    let mut held = a.leases().await.unwrap();
    held.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(held, [taken[0].clone(), theirs.clone(), taken[1].clone()]);
    a.release_lease(&theirs).await.unwrap();
    let held = b.leases().await.unwrap();
    assert!(held.iter().all(|lease| lease.name != "y"), "{held:?}");
    assert_eq!(b.acquire_leases(&[], "b", LONG).await.unwrap(), []);
}
