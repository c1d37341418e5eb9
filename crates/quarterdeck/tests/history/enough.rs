//! What a history holds at least, to be worth judging: a client that fails at all it does breaks no promise.
//! The minima are far below what a slow machine gives.

use super::clients::COUNTER;
use quarterdeck_testing::history::{Freshness, Get, History, Step, Watch};
use std::collections::HashMap;

/// Events that watches told.
const EVENTS_MIN: usize = 50;

/// What there is, how much of it, and how much there must be.
type Amount = (&'static str, usize, usize);

/// What is missing yet, in words.
fn missing(amounts: &[Amount]) -> Result<(), String> {
    let short = amounts.iter().filter(|(_, found, least)| found < least);
    let short: Vec<_> =
        short.map(|(what, found, least)| format!("{found} of {least} {what}")).collect();
    if short.is_empty() { Ok(()) } else { Err(short.join(", ")) }
}

/// Whether enough was read in each way.
pub(crate) fn reads(history: &History) -> Result<(), String> {
    // Who raises the counter reads it each time: that is no choice of a client.
    let chosen = || history.gets.iter().filter(|get| get.key != COUNTER);
    let gets = |of: fn(&Get) -> bool| chosen().filter(|get| of(get)).count();
    let pages = history.lists.iter().filter(|list| list.pages.len() > 1).count();
    missing(&[
        ("consistent gets", gets(|get| get.freshness == Freshness::Consistent), 20),
        (
            "gets not older than a revision",
            gets(|get| matches!(get.freshness, Freshness::NotOlderThan(_))),
            10,
        ),
        ("gets of any age", gets(|get| get.freshness == Freshness::Any), 3),
        ("lists of several pages", pages, 3),
    ])
}

/// Whether watches told enough, and `resumed` of them went on where the one before had ended.
pub(crate) fn watches(history: &History, resumed: usize) -> Result<(), String> {
    let mut events = 0;
    let mut went_on = 0;
    let mut reached = HashMap::new();
    for Watch { client, since, steps } in &history.watches {
        events += steps.iter().filter(|(_, step)| matches!(step, Step::Event(..))).count();
        let last = steps.last().map(|(_, step)| match step {
            Step::Event(_, seen) => seen.revision,
            Step::Bookmark(revision) => *revision,
        });
        let before = reached.insert(*client, last.unwrap_or(*since));
        went_on += usize::from(before == Some(*since) && last.is_some());
    }
    missing(&[
        ("events of watches", events, EVENTS_MIN),
        ("watches that went on", went_on, resumed),
    ])
}
