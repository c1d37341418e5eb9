//! `power.reset`: a restart, at most once for one idempotency key.
//!
//! A restart leaves the machine as it was, on, so whether it happened can only be told from marks:
//! - the first attempt knows that nothing was sent, and so does one whose earlier attempts in this
//!   process all failed before sending;
//! - `PowerCycle` is done as off, then on: between the two the machine is seen off, and a repeated
//!   call only powers it on;
//! - `LastResetTime` of the system, compared by the BMC's own clock, tells whether it was reset
//!   since the first attempt.
//!
//! A repeated call that sees no mark looks for one for a while, as the command may have been sent
//! the moment before the call was cut off, and takes effect or shows only later.
//!
//! What remains: a repeated call that finds the machine on, at a BMC that does not tell both
//! `LastResetTime` and its own time. It fails with `OutcomeUnknown` rather than restart twice, unless the runbook says that a second
//! restart does no harm (`repeatIfUnknown`). And somebody else's restart in that time is taken
//! for ours. A runbook that wants neither composes `power.set` Off and On.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::Redfish;
use super::super::power::{Goal, Poll, PowerState, ResetAction, ResetType};
use super::super::system::System;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Reason};
use crate::attempts::Unsent;

/// Clocks are read in whole seconds, one each side.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// An operating system that was asked to restart mostly does so within this.
const SHUTDOWN_MAX: Duration = Duration::from_secs(180);

/// A machine seen so is in the middle of a restart, or was off before it.
const COMING_UP: [PowerState; 2] = [PowerState::Off, PowerState::PoweringOn];

/// How to restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Restart {
    /// The operating system shuts down and the machine starts again.
    GracefulRestart,
    /// At once, without asking the operating system.
    ForceRestart,
    /// Power off, then on.
    PowerCycle,
}

/// Input of `power.reset`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// How to restart.
    pub reset_type: Restart,
    /// Restart again when it cannot be told whether an earlier attempt did.
    #[serde(default)]
    pub repeat_if_unknown: bool,
}

/// Output of `power.reset`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// What was asked for.
    pub reset_type: Restart,
    /// The state seen last.
    pub power_state: &'static str,
    /// Whether this call sent the restart; false when an earlier attempt was found to have.
    pub changed: bool,
}

/// The action, at real BMCs.
pub struct PowerReset {
    redfish: Redfish,
    unsent: Unsent,
}

/// What marks say of earlier attempts with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Earlier {
    NotSent,
    Happened,
    Unknown,
}

impl Action for PowerReset {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "power.reset";
    const SUMMARY: &'static str = "Restarts a server once and waits until it is seen on again.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    fn observed(output: &Output) -> Option<Map<String, Value>> {
        Some(super::power_seen(output.power_state))
    }

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let result = self.restart(context, &input).await;
        self.unsent.note(context, result.as_ref().err());
        result
    }
}

impl PowerReset {
    pub(super) fn new(redfish: Redfish) -> Self {
        Self { redfish, unsent: Unsent::default() }
    }

    async fn restart(&self, context: &ActionContext, input: &Input) -> Result<Output, ActionError> {
        let mut system = self.redfish.open(context).await?;
        let action = system.reset_action().await?;
        let seen = system.power_state();
        let changed = if COMING_UP.contains(&seen) {
            // Off before a restart, or in the middle of ours: either way it only has to come up.
            mark_sent(system.drive(&action, Goal::On).await)?;
            true
        } else {
            match self.earlier(context, input, &mut system).await? {
                Earlier::Happened => false,
                Earlier::Unknown if !input.repeat_if_unknown => {
                    return Err(ActionError::permanent(
                        Reason::OutcomeUnknown,
                        format!(
                            "{}: an earlier attempt may have restarted it and the BMC does not \
                             tell; look at the machine, then retry the step or skip it",
                            system.name()
                        ),
                    )
                    .effect_unknown());
                }
                Earlier::Unknown | Earlier::NotSent => {
                    send(&mut system, &action, input.reset_type).await?;
                    true
                }
            }
        };
        mark_sent(system.drive(&action, Goal::On).await)?;
        Ok(Output {
            reset_type: input.reset_type,
            power_state: system.power_state().as_str(),
            changed,
        })
    }

    async fn earlier(
        &self,
        context: &ActionContext,
        input: &Input,
        system: &mut System,
    ) -> Result<Earlier, ActionError> {
        if self.unsent.is_first(context) {
            return Ok(Earlier::NotSent);
        }
        let mut poll = match input.reset_type {
            Restart::GracefulRestart => Poll::at_most(SHUTDOWN_MAX),
            Restart::ForceRestart | Restart::PowerCycle => Poll::settling(),
        };
        loop {
            let dated = dated(context, system).await?;
            if COMING_UP.contains(&system.power_state()) || dated == Earlier::Happened {
                return Ok(Earlier::Happened);
            }
            if poll.pause(system, String::new).await.is_err() {
                return Ok(dated);
            }
            system.refresh().await.map_err(ActionError::effect_unknown)?;
        }
    }
}

/// What the time of the last reset says of earlier attempts.
async fn dated(context: &ActionContext, system: &System) -> Result<Earlier, ActionError> {
    if !system.quirks.last_reset_time {
        return Ok(Earlier::Unknown);
    }
    let told = system.doc().text("/LastResetTime").and_then(|text| text.parse().ok());
    let Some(last_reset) = told else { return Ok(Earlier::Unknown) };
    let bmc_now = system.bmc_time().await.map_err(ActionError::effect_unknown)?;
    let Some(bmc_now) = bmc_now else { return Ok(Earlier::Unknown) };
    Ok(judge(context.first_attempt_at, Timestamp::now(), last_reset, bmc_now))
}

/// Compares ages rather than times: the two clocks may differ by years.
fn judge(
    first_attempt: Timestamp,
    now: Timestamp,
    last_reset: Timestamp,
    bmc_now: Timestamp,
) -> Earlier {
    let trying_for = now.duration_since(first_attempt);
    let reset_ago = bmc_now.duration_since(last_reset);
    if reset_ago < -CLOCK_TOLERANCE {
        // Its clock was set back since, so that the two times are not of one clock.
        return Earlier::Unknown;
    }
    if reset_ago <= trying_for.saturating_add(CLOCK_TOLERANCE) {
        Earlier::Happened
    } else {
        Earlier::NotSent
    }
}

/// Watches for a while whether the machine gets to one of `states` by itself.
async fn watch(system: &mut System, states: &[PowerState]) -> Result<bool, ActionError> {
    let mut poll = Poll::settling();
    while !states.contains(&system.power_state()) {
        if poll.pause(system, String::new).await.is_err() {
            return Ok(false);
        }
        mark_sent(system.refresh().await)?;
    }
    Ok(true)
}

async fn send(
    system: &mut System,
    action: &ResetAction,
    restart: Restart,
) -> Result<(), ActionError> {
    match restart {
        Restart::GracefulRestart => system.reset(action, ResetType::GracefulRestart).await?,
        Restart::ForceRestart => system.reset(action, ResetType::ForceRestart).await?,
        Restart::PowerCycle => {
            mark_sent(system.drive(action, Goal::OffNow).await)?;
            return Ok(());
        }
    }
    // A look a moment later catches BMCs that show the restart as a short time off.
    let pause = Poll::default().pause(system, || "it was just told to restart".to_owned()).await;
    mark_sent(pause)?;
    mark_sent(system.refresh().await)?;
    // It comes up by itself; only one that stays off is told to.
    watch(system, &[PowerState::On]).await?;
    Ok(())
}

/// From here on the machine may have been touched, whatever the error says of its own request.
fn mark_sent<T>(result: Result<T, ActionError>) -> Result<T, ActionError> {
    result.map_err(ActionError::effect_unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_dated_by_its_age() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let hour_off = 3600;
        for (what, first, now, reset, bmc_now, wanted) in [
            ("before the first attempt", 100, 160, 50, 160, Earlier::NotSent),
            ("since the first attempt", 100, 160, 130, 160, Earlier::Happened),
            (
                "BMC an hour ahead, before",
                100,
                160,
                50 + hour_off,
                160 + hour_off,
                Earlier::NotSent,
            ),
            (
                "BMC an hour ahead, since",
                100,
                160,
                120 + hour_off,
                160 + hour_off,
                Earlier::Happened,
            ),
            ("within clock tolerance", 100, 160, 98, 160, Earlier::Happened),
            ("in the BMC's future", 100, 160, 500, 160, Earlier::Unknown),
        ] {
            let found = judge(at(first), at(now), at(reset), at(bmc_now));
            assert_eq!(found, wanted, "{what}");
        }
    }
}
