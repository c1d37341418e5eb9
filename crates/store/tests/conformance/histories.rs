//! Random histories: whatever is committed, each backend says what a plainly right model says, at
//! every revision.

use crate::{
    UNSAFE_BUT_FAST,
    support::{
        Place, all_changes, delete, loaded,
        model::{Model, assert_same},
        put, when, whole_snapshot,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    test_runner::TestRunner,
};
use quarterdeck_model::Revision;
use quarterdeck_store::{Backend, Mutation, Precondition};
use quarterdeck_testing::postgres::Postgres as Server;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone)]
enum Step {
    /// A batch, each mutation as: key, body (none to delete), precondition.
    Commit(Vec<(u8, Option<u8>, When)>),
    /// Compact up to so many percent of the history.
    Compact(u64),
    Reopen,
}

#[derive(Debug, Clone)]
enum When {
    Always,
    Absent,
    /// Absent, while that key is at the revision that is so many before the head, and below so many.
    AbsentIf(Option<(u8, u64)>, Option<u64>),
    /// At the revision that is so many before the head.
    At(u64),
    /// The same, while these keys are at the revisions that are so many before the head.
    AtIf(u64, Vec<(u8, u64)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let condition = prop_oneof![
        3 => Just(When::Always),
        2 => Just(When::Absent),
        4 => (option::of((0..6_u8, 0..6_u64)), option::of(0..5_u64))
            .prop_map(|(seen, below)| When::AbsentIf(seen, below)),
        3 => (0..6_u64).prop_map(When::At),
        3 => (0..6_u64, vec((0..6_u8, 0..6_u64), 0..3)).prop_map(|(at, seen)| When::AtIf(at, seen)),
    ];
    let mutation = (0..6_u8, any::<Option<u8>>(), condition);
    vec(
        prop_oneof![
            8 => vec(mutation, 1..12).prop_map(Step::Commit),
            1 => (0..=100_u64).prop_map(Step::Compact),
            1 => Just(Step::Reopen),
        ],
        1..12,
    )
}

fn mutation(head: Revision, (key, body, condition): &(u8, Option<u8>, When)) -> Mutation {
    let name = format!("key-{key}");
    let mutation = match body {
        Some(body) => put(&name, &"x".repeat(usize::from(*body))),
        None => delete(&name),
    };
    let before = |before: &u64| Revision(head.0.saturating_sub(*before));
    let named = |key: &u8| crate::support::key(&format!("key-{key}"));
    let precondition = match condition {
        When::Always => Precondition::None,
        When::Absent => Precondition::Absent,
        When::AbsentIf(seen, below) => {
            let seen = seen.as_ref().map(|(other, at)| (named(other), before(at)));
            Precondition::AbsentIf { seen, below: *below }
        }
        When::At(at) => Precondition::At(before(at)),
        When::AtIf(at, seen) => {
            let seen = seen.iter().map(|(other, at)| (named(other), before(at))).collect();
            Precondition::AtIf { at: before(at), seen }
        }
    };
    when(precondition, mutation)
}

async fn agree(store: &dyn Backend, model: &Model, oldest: Revision) {
    let head = model.head();
    assert_eq!(store.head().await.unwrap(), head);
    for at in oldest.0..=head.0 {
        let limit = 1 + usize::try_from(at % 5).unwrap();
        let found = whole_snapshot(store, Revision(at), limit).await.unwrap();
        assert_same(&found, &model.at(Revision(at)));
    }
    let changes = all_changes(store, oldest).await;
    assert_eq!(format!("{changes:?}"), format!("{:?}", model.changes(oldest)));
    let (current, at) = loaded(store).await;
    assert_eq!(at, head);
    assert_same(&current, &model.at(head));
}

async fn run(place: &Place, steps: &[Step]) {
    let mut store = place.open().await;
    let (mut model, mut oldest) = (Model::default(), Revision::ZERO);
    for step in steps {
        match step {
            Step::Commit(batch) => {
                let head = model.head();
                let batch: Vec<Mutation> = batch.iter().map(|what| mutation(head, what)).collect();
                assert_eq!(store.commit(&batch).await.unwrap(), model.commit(&batch));
            }
            Step::Compact(percent) => {
                let before = Revision(model.head().0 * percent / 100);
                store.compact(before).await.unwrap();
                oldest = oldest.max(before);
            }
            Step::Reopen => {
                drop(store);
                store = place.open().await;
            }
        }
    }
    agree(&*store, &model, oldest).await;
}

/// Runs random histories, each on an empty store, and shrinks one that fails.
fn histories(cases: u32, place: impl Fn(&tokio::runtime::Runtime) -> Place) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(run(&place(&runtime), &steps));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn any_history_on_sqlite_is_as_the_model_says() {
    histories(60, |_| Place::sqlite());
}

#[test]
fn any_history_on_postgres_is_as_the_model_says() {
    let starting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = starting.block_on(Server::start_with(&UNSAFE_BUT_FAST));
    let count = AtomicUsize::new(0);
    histories(12, |runtime| {
        let name = format!("history_{}", count.fetch_add(1, Ordering::Relaxed));
        Place::Postgres(runtime.block_on(server.create_database(&name)))
    });
}
