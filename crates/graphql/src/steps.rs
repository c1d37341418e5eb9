//! Which steps of a run decide how long it takes. Pure.

use jiff::Timestamp;
use quarterdeck_model::kinds::StepStatus;

/// For each step, whether it is on the chain that ends last: the step that ended last, what ended last before that
/// began, and so on; within a step that has others, the same among those.
pub(crate) fn critical(steps: &[StepStatus], now: Timestamp) -> Vec<bool> {
    let mut on = vec![false; steps.len()];
    chain(steps, None, now, &mut on);
    on
}

fn parent(step: &StepStatus) -> Option<&str> {
    step.name.rsplit_once('/').map(|(parent, _)| parent)
}

/// When a step began and ended; one that goes on ends now, and one that was skipped took no time.
fn span(step: &StepStatus, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let start = step.start_time?.timestamp();
    let end = match step.end_time {
        Some(end) => end.timestamp(),
        None if step.phase.ended() => start,
        None => now,
    };
    Some((start, end.max(start)))
}

fn chain(steps: &[StepStatus], within: Option<&str>, now: Timestamp, on: &mut [bool]) {
    // Those directly within, by their end; each is taken at most once.
    let mut left: Vec<(usize, Timestamp, Timestamp)> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| parent(step) == within)
        .filter_map(|(at, step)| span(step, now).map(|(start, end)| (at, start, end)))
        .collect();
    left.sort_by_key(|(at, _, end)| (*end, *at));
    let mut before = None;
    while let Some((at, start, end)) = left.pop() {
        if before.is_some_and(|before| end > before) {
            continue;
        }
        if let (Some(flag), Some(step)) = (on.get_mut(at), steps.get(at)) {
            *flag = true;
            before = Some(start);
            chain(steps, Some(&step.name), now, on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Time, kinds::StepPhase};

    fn step(name: &str, start: i64, end: Option<i64>) -> StepStatus {
        let time = |second| Time::new(Timestamp::from_second(second).unwrap());
        StepStatus {
            name: name.into(),
            phase: if end.is_some() { StepPhase::Succeeded } else { StepPhase::Running },
            start_time: Some(time(start)),
            end_time: end.map(time),
            ..StepStatus::default()
        }
    }

    #[test]
    fn the_longest_chain_is_found_at_each_depth() {
        let steps = [
            step("a", 0, Some(10)),
            step("b", 10, Some(50)),
            step("b/fast", 10, Some(20)),
            step("b/slow", 10, Some(50)),
            step("b/slow/x", 10, Some(30)),
            step("b/slow/y", 30, Some(50)),
            step("c", 50, None),
            StepStatus { name: "not begun".into(), ..StepStatus::default() },
        ];
        let critical = critical(&steps, Timestamp::from_second(70).unwrap());
        let names = steps.iter().zip(critical).filter(|(_, on)| *on).map(|(step, _)| &*step.name);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "b/slow", "b/slow/x", "b/slow/y", "c"]);
    }
}
