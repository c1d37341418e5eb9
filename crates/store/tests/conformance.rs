//! What every backend does, as one list run against each: SQLite, and a real PostgreSQL server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod conformance {
    pub(crate) mod behaviours;
    pub(crate) mod concurrency;
    pub(crate) mod histories;
    pub(crate) mod leases;
    pub(crate) mod network;
    pub(crate) mod opening;
    pub(crate) mod stores;
    pub(crate) mod trust;
}
mod support;

use conformance::{behaviours, concurrency, leases, opening, stores};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use quarterdeck_testing::postgres::Postgres as Server;
use support::Place;

/// Speed, where no server is killed.
pub(crate) const UNSAFE_BUT_FAST: [(&str, &str); 3] =
    [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")];

type Behaviour = (&'static str, fn(Place) -> LocalBoxFuture<'static, ()>);

macro_rules! behaviours {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$((stringify!($name), |place| $module::$name(place).boxed_local())),*]
    };
}

const BEHAVIOURS: [Behaviour; 26] = behaviours![
    behaviours::a_mutation_is_applied_only_under_its_precondition,
    behaviours::what_depends_on_another_key_is_created_only_while_that_is_as_it_was_seen,
    behaviours::what_depends_on_others_is_changed_only_while_they_are_as_they_were_seen,
    behaviours::mutations_of_a_batch_stand_by_themselves_and_see_those_before,
    behaviours::a_batch_in_which_nothing_holds_changes_nothing,
    behaviours::changes_come_in_pages_bounded_in_number_and_bytes,
    behaviours::keys_are_ordered_by_bytes,
    behaviours::bodies_come_back_as_they_were,
    behaviours::older_than_compacted_is_refused_and_the_rest_still_right,
    behaviours::compaction_forgets_what_nobody_can_see,
    behaviours::what_is_committed_is_there_after_reopening,
    concurrency::revisions_are_dense_and_ordered_under_several_writers,
    concurrency::of_many_who_create_one_key_one_succeeds,
    concurrency::no_limit_is_exceeded_by_several_writers,
    concurrency::limits_count_what_was_there_before_and_elsewhere,
    concurrency::compaction_under_writers_loses_nothing,
    leases::a_lease_has_one_holder_until_it_expires,
    leases::a_renewed_lease_does_not_expire,
    leases::several_are_taken_at_once_but_for_those_of_others,
    leases::a_lease_given_back_is_free_and_its_fences_are_refused,
    leases::fences_are_judged_in_the_transaction_they_guard,
    leases::nothing_fenced_is_committed_after_a_takeover_was_seen,
    opening::opening_again_changes_nothing,
    stores::each_writer_of_a_group_gets_its_own_outcomes,
    stores::more_than_a_batch_is_committed_in_several,
    stores::worlds_follow_all_writers,
];

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    for (name, behaviour) in BEHAVIOURS {
        println!("{name}");
        behaviour(Place::sqlite()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_backend_conforms() {
    for (name, behaviour) in BEHAVIOURS {
        println!("{name}");
        behaviour(Place::sealed()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let server = Server::start_with(&UNSAFE_BUT_FAST).await;
    for (place, (name, behaviour)) in BEHAVIOURS.into_iter().enumerate() {
        println!("{name}");
        let url = server.create_database(&format!("behaviour_{place}")).await;
        behaviour(Place::Postgres(url)).await;
    }
}
