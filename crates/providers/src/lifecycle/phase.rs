//! `server.phase`: the server is in another phase of its life from now on. What a phase may follow is a rule of the
//! model; a step that breaks it fails, and says where the server may go instead.

use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Reason};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{Duration, Time, kinds::ServerPhase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Field of a Server's status; absent when its disks were wiped since a machine was on them.
pub(crate) const MAY_HOLD_DATA: &str = "disksMayHoldData";
/// Longest message that is kept.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// Input of `server.phase`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Input {
    /// The phase.
    phase: ServerPhase,
    /// When it is overdue, from now; never, when left out.
    #[serde(default)]
    within: Option<Duration>,
    /// Why, as a sentence.
    #[serde(default)]
    message: Option<String>,
    /// Its disks were wiped by other means than `disk.erase`.
    #[serde(default)]
    wiped: bool,
}

/// Output of `server.phase`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    /// The phase it is in.
    phase: ServerPhase,
    /// The phase it was in.
    before: ServerPhase,
    /// Since when; absent when it was in that phase already.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// When it is overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Time>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Its disks may hold data of a machine.
    disks_may_hold_data: bool,
}

/// The action.
pub(super) struct ServerPhaseAction;

impl Action for ServerPhaseAction {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "server.phase";
    const SUMMARY: &'static str = "Says that a server is in another phase of its life.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    fn observed(output: &Output) -> Option<Map<String, Value>> {
        let since = output.since.map(|since| ("phaseSince".to_owned(), json!(since)));
        let rest = [
            ("phase".to_owned(), json!(output.phase)),
            ("phaseDeadline".to_owned(), json!(output.deadline)),
            ("phaseMessage".to_owned(), json!(output.message)),
            (MAY_HOLD_DATA.to_owned(), json!(output.disks_may_hold_data.then_some(true))),
        ];
        Some(rest.into_iter().chain(since).collect())
    }

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let target = context.require_target()?;
        let before = target.pointer("/status/phase").cloned().unwrap_or_default();
        // A server that nobody has looked at has no status yet.
        let before = serde_json::from_value(before).unwrap_or_default();
        let held = target.pointer("/status").and_then(|status| status.get(MAY_HOLD_DATA));
        let held = held.and_then(Value::as_bool).unwrap_or_default();
        enter((before, held), input, context.first_attempt_at).map_err(|why| {
            let name = target.pointer("/metadata/name").and_then(Value::as_str);
            let message = format!("Server {} {why}", name.unwrap_or_default());
            ActionError::permanent(Reason::InvalidInput, message)
        })
    }
}

/// What becomes of a server, of which is known where it was and whether its disks may hold data; or why it may not.
fn enter(
    (before, held): (ServerPhase, bool),
    input: Input,
    now: Timestamp,
) -> Result<Output, String> {
    let Input { phase, within, message, wiped } = input;
    let disks_may_hold_data = phase == ServerPhase::Provisioning || held && !wiped;
    if phase == ServerPhase::Ready && disks_may_hold_data {
        return Err(
            "has disks that may hold data of a machine; run clean-server, or say that they are wiped (return-server with wiped: true)".into(),
        );
    }
    if !before.may_become(phase) {
        let next: Vec<&str> = before.next().into_iter().map(ServerPhase::as_str).collect();
        return Err(format!(
            "is {before} and may not become {phase}; from there it may become {}",
            next.join(", ")
        ));
    }
    let since = (before != phase).then(|| Time::seconds(now));
    let deadline = within.map(|within| {
        let within = SignedDuration::try_from(within.as_std()).unwrap_or(SignedDuration::MAX);
        Time::seconds(now.saturating_add(within).unwrap_or(Timestamp::MAX))
    });
    let message = message.map(|text| text.chars().take(MESSAGE_CHARS_MAX).collect());
    Ok(Output { phase, before, since, deadline, message, disks_may_hold_data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(value: Value) -> Input {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_phase_that_may_follow_is_entered_and_another_is_refused_by_name() {
        let now = "2026-11-02T08:00:00Z".parse().unwrap();
        let entered = enter(
            (ServerPhase::Ready, false),
            input(json!({"phase": "Provisioning", "within": "2h", "message": "for shop/web-1"})),
            now,
        );
        assert_eq!(
            json!(ServerPhaseAction::observed(&entered.unwrap())),
            json!({"phase": "Provisioning", "phaseSince": "2026-11-02T08:00:00Z",
                   "phaseDeadline": "2026-11-02T10:00:00Z", "phaseMessage": "for shop/web-1",
                   "disksMayHoldData": true})
        );
        let again =
            enter((ServerPhase::InUse, true), input(json!({"phase": "InUse"})), now).unwrap();
        assert_eq!(
            json!(ServerPhaseAction::observed(&again)),
            json!({"phase": "InUse", "phaseDeadline": null, "phaseMessage": null,
                   "disksMayHoldData": true}),
            "it keeps the time since when it is there"
        );
        let refused = enter((ServerPhase::Ready, false), input(json!({"phase": "InUse"})), now);
        assert_eq!(
            refused.unwrap_err(),
            "is Ready and may not become InUse; from there it may become Provisioning, Cleaning, Quarantined, Repairing, Retired"
        );
    }

    #[test]
    fn a_server_that_may_hold_data_is_not_free_before_it_is_wiped() {
        let now = "2026-11-02T08:00:00Z".parse().unwrap();
        let from = (ServerPhase::Quarantined, true);
        let ready = || json!({"phase": "Ready"});
        assert!(enter(from, input(ready()), now).unwrap_err().contains("run clean-server"));
        let wiped = enter(from, input(json!({"phase": "Ready", "wiped": true})), now).unwrap();
        assert!(!wiped.disks_may_hold_data);
        assert!(enter((ServerPhase::Cleaning, false), input(ready()), now).is_ok());
        let back = enter(from, input(json!({"phase": "InUse"})), now).unwrap();
        assert!(back.disks_may_hold_data, "its machine is on them");
    }

    #[test]
    fn what_is_no_phase_is_refused() {
        for wrong in [json!({"phase": "Lost"}), json!({}), json!({"phase": "Ready", "in": "1h"})] {
            assert!(serde_json::from_value::<Input>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
