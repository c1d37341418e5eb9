//! What is worth an event on a campaign: that it began, went on, stands still, or is over. Pure.

use quarterdeck_model::kinds::{CampaignPhase, CampaignStatus};

/// The reason of the event, and whether it is a warning.
pub(super) fn news(
    before: &CampaignStatus,
    after: &CampaignStatus,
    halted: bool,
) -> Option<(&'static str, bool)> {
    use CampaignPhase::{Canary, Cancelled, Failed, Paused, Pending, Planned, Running, Succeeded};
    if before.phase == after.phase {
        return None;
    }
    let begun = before.start_time.is_some();
    Some(match (before.phase, after.phase) {
        (_, Pending) => return None,
        (_, Planned) => ("Planned", false),
        (Paused, Canary | Running) => ("Resumed", false),
        (Canary, Running) => ("CanariesSucceeded", false),
        // One that ended is asked to try its failed targets again.
        (_, Canary | Running) if begun => ("Resumed", false),
        (_, Canary | Running) => ("Started", false),
        (_, Paused) if halted => ("PausedItself", true),
        (_, Paused) => ("Paused", false),
        (_, Succeeded) => ("Succeeded", false),
        (_, Failed) => ("Failed", true),
        (_, Cancelled) => ("Cancelled", true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::Time;

    #[test]
    fn each_turn_is_told_once() {
        use CampaignPhase::{Canary, Failed, Paused, Pending, Planned, Running, Succeeded};
        let start = Time::new("2026-01-01T00:00:00Z".parse().unwrap());
        let status = |phase, begun: bool| CampaignStatus {
            phase,
            start_time: begun.then_some(start),
            ..CampaignStatus::default()
        };
        let cases = [
            (Pending, false, Planned, false, Some(("Planned", false))),
            (Planned, false, Canary, false, Some(("Started", false))),
            (Pending, false, Running, false, Some(("Started", false))),
            (Canary, true, Running, false, Some(("CanariesSucceeded", false))),
            (Running, true, Running, false, None),
            (Running, true, Paused, true, Some(("PausedItself", true))),
            (Running, true, Paused, false, Some(("Paused", false))),
            (Paused, true, Running, false, Some(("Resumed", false))),
            (Failed, true, Running, false, Some(("Resumed", false))),
            (Running, true, Succeeded, false, Some(("Succeeded", false))),
            (Running, true, Failed, false, Some(("Failed", true))),
        ];
        for (before, begun, after, halted, wanted) in cases {
            let told = news(&status(before, begun), &status(after, true), halted);
            assert_eq!(told, wanted, "{before:?} to {after:?}");
        }
    }
}
