//! The checker of histories, checked: good histories of a model store pass, and each kind of anomaly that is
//! planted into one is found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod history {
    pub(crate) mod model;
    pub(crate) mod planted;
}

use history::{model::run, planted::PLANTED};
use quarterdeck_testing::{
    history::{Kind, check, check_counter},
    random::Random,
};
use std::collections::BTreeSet;

const HISTORIES: u64 = 400;
/// Histories that each kind of anomaly is planted into.
const PLANTINGS: u64 = 120;

#[test]
fn good_histories_pass() {
    let mut seeds = Random::new();
    let (mut unknown, mut late) = (0, 0);
    for _ in 0..HISTORIES {
        let seed = seeds.any();
        let history = run(&mut Random::seeded(seed));
        let found = check(&history);
        assert!(found.is_empty(), "model seed {seed}: {:#?}\n{history:#?}", found);
        let done = history.writes.len().min(history.gets.len());
        assert!(done > 20, "model seed {seed}: too few operations");
        let is_unknown = |write: &&quarterdeck_testing::history::Write| {
            write.outcome == quarterdeck_testing::history::Outcome::Unknown
        };
        unknown += history.writes.iter().filter(is_unknown).count();
        late += history.watches.len();
    }
    assert!(unknown > 100 && late > 1_000, "{unknown} of unknown outcome, {late} watches");
}

#[test]
fn each_planted_anomaly_is_found() {
    let mut seeds = Random::new();
    let mut kinds = BTreeSet::new();
    for (name, expected, plant) in PLANTED {
        let mut planted = 0;
        for _ in 0..PLANTINGS {
            let seed = seeds.any();
            let mut random = Random::seeded(seed);
            let mut history = run(&mut random);
            // Not every history has a place for every anomaly.
            let Some(what) = plant(&mut history, &mut random) else { continue };
            planted += 1;
            let found = check(&history);
            assert!(
                found.iter().any(|anomaly| expected.contains(&anomaly.kind)),
                "model seed {seed}: {name} ({what}) was planted; found {found:#?}"
            );
            kinds.extend(found.iter().map(|anomaly| anomaly.kind));
        }
        println!("{name}: found in each of {planted} histories");
        assert!(planted > PLANTINGS / 4, "{name} was planted only {planted} times");
    }
    let all = [
        Kind::RevisionReused,
        Kind::NeverWritten,
        Kind::RefusedButApplied,
        Kind::AppliedTwice,
        Kind::LostUpdate,
        Kind::OutOfOrder,
        Kind::FromTheFuture,
        Kind::StaleRead,
        Kind::Resurrected,
        Kind::TooOld,
        Kind::TornList,
        Kind::NotASnapshot,
        Kind::Missed,
        Kind::Repeated,
        Kind::Reordered,
        Kind::WrongEvent,
        Kind::BookmarkWentBack,
    ];
    assert_eq!(kinds, BTreeSet::from(all), "every kind of anomaly is found somewhere");
}

#[test]
fn a_counter_counts_each_raise_once() {
    for (acknowledged, unknown, found, kind) in [
        (10, 0, 10, None),
        (10, 3, 10, None),
        (10, 3, 13, None),
        (10, 3, 9, Some(Kind::LostUpdate)),
        (10, 3, 14, Some(Kind::AppliedTwice)),
        (0, 0, 1, Some(Kind::AppliedTwice)),
    ] {
        let judged = check_counter(acknowledged, unknown, found).err();
        assert_eq!(judged.map(|anomaly| anomaly.kind), kind, "{acknowledged}, {unknown}, {found}");
    }
}
