//! Many seeds. Each is lived through in a process of its own, so that it is the same whatever came before it,
//! and a defect asked for is nobody else's.

use crate::{regressions::REGRESSIONS, seed};
use quarterdeck_engine::{Planted, plant};
use std::{
    ops::RangeInclusive,
    process::{Command, Output},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Seeds that are lived through with every change: as many as take a minute on a slow core, twice.
const FIXED: RangeInclusive<u64> = 1..=24;
/// A defect must show within so many seeds.
const FOUND_WITHIN: u64 = 25;
/// How many seeds a longer search tries when nobody says.
const SOAK: u64 = 100;

const DEFECTS: [(&str, Planted); 6] = [
    ("a permit is released twice", Planted::PermitReleasedTwice),
    ("a step is recorded before its effect", Planted::StepRecordedBeforeItsEffect),
    ("two runs act on a target", Planted::TwoRunsOnATarget),
    ("a change is lost", Planted::LostChange),
    ("a wait has no deadline", Planted::WaitWithoutDeadline),
    ("a permit is released while it is used", Planted::PermitReleasedWhileUsed),
];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// One seed; every sentence of it with ALOUD=1, and with a defect that PLANTED names.
#[test]
#[ignore = "lives through the seed that SEED names"]
fn one_seed() {
    let seed = variable("SEED").and_then(|text| text.parse().ok()).expect("SEED must be a number");
    if let Some(name) = variable("PLANTED") {
        let (_, planted) = DEFECTS.iter().find(|(it, _)| *it == name).expect("no such defect");
        plant(*planted);
    }
    let story = seed::live(seed, variable("ALOUD").is_some());
    let Some((step, why)) = &story.broken else { return println!("{story}") };
    println!("seed {seed}, step {step}: {why}\n\nWhat happened last:\n{}", story.trace);
    println!(
        "To see it again, with all that came before:\n    ALOUD=1 SEED={seed} cargo test \
         --package quarterdeck-simtest one_seed -- --ignored --nocapture\n"
    );
    std::process::exit(1);
}

/// Lives through a seed in a process of its own.
fn live(seed: u64, planted: Option<&str>) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["seeds::one_seed", "--exact", "--ignored", "--nocapture"])
        .env("SEED", seed.to_string())
        .env("PLANTED", planted.unwrap_or_default())
        .env_remove("ALOUD")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

/// What a process said, but for what the test harness adds.
fn said(output: &Output) -> String {
    let harness = ["", "running 1 test", "test seeds::one_seed ... "];
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    let lines = all.lines().filter(|line| !harness.contains(line));
    lines.map(|line| format!("{line}\n")).collect()
}

fn check(seed: u64) {
    let output = live(seed, None);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn what_must_hold_holds_with_even_seeds() {
    FIXED.filter(|seed| seed.is_multiple_of(2)).for_each(check);
}

#[test]
fn what_must_hold_holds_with_odd_seeds() {
    FIXED.filter(|seed| !seed.is_multiple_of(2)).for_each(check);
}

/// Seeds that showed something once.
#[test]
fn what_broke_once_holds() {
    REGRESSIONS.iter().for_each(|(seed, _)| check(*seed));
}

#[test]
fn a_seed_is_the_same_each_time() {
    for seed in [3, 14, 15] {
        let (one, other) = (said(&live(seed, None)), said(&live(seed, None)));
        assert!(one.contains("number"), "{one}");
        let told =
            |text: &str| text.lines().find(|line| line.contains("number")).map(str::to_owned);
        assert_eq!(told(&one), told(&other), "seed {seed} is not the same each time");
    }
}

/// The first seed that shows a defect, and what it says.
fn found(name: &str) -> (u64, String) {
    for seed in 1..=FOUND_WITHIN {
        let output = live(seed, Some(name));
        if !output.status.success() {
            let said = said(&output);
            let verdict = said.lines().find(|line| line.starts_with("seed "));
            return (seed, verdict.unwrap_or(&said).to_owned());
        }
    }
    panic!("{FOUND_WITHIN} seeds do not find that {name}");
}

fn is_found(place: usize, wanted: &[&str]) {
    let name = DEFECTS[place].0;
    let (seed, verdict) = found(name);
    println!("{name}: found by seed {seed} of {FOUND_WITHIN}: {verdict}");
    let told = wanted.iter().any(|wanted| verdict.contains(wanted));
    assert!(told, "{name}: something else was found: {verdict}");
}

#[test]
fn a_permit_that_is_released_twice_is_found() {
    is_found(0, &["is one too many", "says Some"]);
}

#[test]
fn a_step_that_is_recorded_before_its_effect_is_found() {
    is_found(1, &["is recorded to have turned the power"]);
}

#[test]
fn two_runs_on_a_target_are_found() {
    is_found(2, &["both act on"]);
}

#[test]
fn a_change_that_is_lost_is_found() {
    let unseen =
        ["does not say for what", "without faults", "of ended runs stay", "past its deadline"];
    is_found(3, &unseen);
}

#[test]
fn a_wait_without_a_deadline_is_found() {
    is_found(4, &["goes on past its deadline", "without faults"]);
}

#[test]
fn a_permit_that_is_released_while_it_is_used_is_found() {
    is_found(5, &["is taken back while", "without a permit"]);
}

/// `make soak SEEDS=1000`, or `SEEDS=5000..6000`: all of them, and what broke at the end.
#[test]
#[ignore = "takes as long as SEEDS asks for"]
fn soak() {
    let asked = variable("SEEDS").unwrap_or_else(|| SOAK.to_string());
    let number = |text: &str| text.trim().parse::<u64>().expect("SEEDS is 1000, or 5000..6000");
    let (from, to) = match asked.split_once("..") {
        Some((from, to)) => (number(from), number(to)),
        None => (1, number(&asked)),
    };
    let (next, broken) = (AtomicU64::new(from), AtomicU64::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > to {
                        return;
                    }
                    let output = live(seed, variable("PLANTED").as_deref());
                    print!("{}", said(&output));
                    broken.fetch_add(u64::from(!output.status.success()), Ordering::Relaxed);
                }
            });
        }
    });
    let broken = broken.into_inner();
    assert_eq!(broken, 0, "{broken} of the seeds {from} to {to} broke; see above");
}
