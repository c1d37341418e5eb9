//! The twins of `power.set` and `power.reset`. They look before they act, as the real ones: a repeated call
//! finds what an earlier one has done.

use super::Twin;
use crate::{
    contact::RESET,
    faults::{Fault, hears},
    latency::{POWER_OFF, POWER_ON, RESTART, SHUTDOWN},
    random::name,
    simulation::Machines,
    state::{Power, State},
    visit::Visit,
};
use quarterdeck_model::Duration as SpecDuration;
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::{
        errors,
        twin::{
            power_reset::{self, PowerReset, Restart},
            power_set::{self, GRACE, PowerSet, State as Wanted},
        },
    },
};
use std::time::Duration;
use tokio::time::Instant;

impl Twin for PowerSet {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: power_set::Input,
    ) -> Result<power_set::Output, ActionError> {
        let mut visit = machines.visit(context).await?;
        let time = time_to(&mut visit, &input);
        let on = input.state == Wanted::On;
        let changed = drive(&mut visit, on, time).await?;
        Ok(power_set::Output { power_state: Power::of(on).as_str(), changed })
    }
}

/// How long the machine takes to get there, once it is told; never, when its operating system does not hear.
fn time_to(visit: &mut Visit<'_>, input: &power_set::Input) -> Option<Duration> {
    let cut = visit.draw(POWER_OFF);
    let shutdown = visit.draw(SHUTDOWN);
    let shutdown = hears(&mut visit.dice).then_some(shutdown);
    match input.state {
        Wanted::On => Some(visit.draw(POWER_ON)),
        Wanted::ForceOff => Some(cut),
        Wanted::GracefulShutdown => shutdown,
        Wanted::Off => {
            let grace = visit.scaled(input.grace.map_or(GRACE, SpecDuration::as_std));
            let grace = grace.min(visit.left() / 2);
            Some(shutdown.filter(|time| *time <= grace).unwrap_or(grace + cut))
        }
    }
}

/// Drives the power there, and answers whether it had to send anything. A machine that turns there already is
/// only waited for.
async fn drive(
    visit: &mut Visit<'_>,
    on: bool,
    time: Option<Duration>,
) -> Result<bool, ActionError> {
    let goal = Power::of(on);
    let start = visit.start();
    let turn =
        |state: &mut State, at| if on { state.turn_on(at, start) } else { state.turn_off(at) };
    let mut sent = false;
    loop {
        let (seen, turns) = visit.state(|state| state.power(Instant::now()));
        if seen == goal {
            return Ok(sent);
        }
        if turns.is_none() && !sent {
            sent = true;
            match time.filter(|_time| !visit.have(Fault::PowerStuck)) {
                Some(time) => {
                    visit.command(RESET, |state| turn(state, Instant::now() + time)).await?;
                }
                None => visit.command_in_vain(RESET).await?,
            }
            continue;
        }
        visit.wait(turns, || errors::not_yet(seen.as_str(), goal.as_str())).await?;
    }
}

impl Twin for PowerReset {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: power_reset::Input,
    ) -> Result<power_reset::Output, ActionError> {
        let mut visit = machines.visit(context).await?;
        // What the real one finds out from the time of the last restart.
        let step = name(&context.idempotency_key);
        let repeated = context.resumed || context.attempt > 1;
        let (seen, done) = visit.state(|state| {
            let (seen, _turns) = state.power(Instant::now());
            (seen, repeated && state.restarted_by == step)
        });
        let power_on = visit.draw(POWER_ON);
        let changed = !done;
        if seen == Power::On && !done {
            restart(&mut visit, input.reset_type, step)
                .await
                .map_err(ActionError::effect_unknown)?;
        }
        // Off before the restart, or in the middle of it: either way it only has to come up.
        let up = drive(&mut visit, true, Some(power_on)).await;
        up.map_err(ActionError::effect_unknown)?;
        let (reset_type, power_state) = (input.reset_type, Power::On.as_str());
        Ok(power_reset::Output { reset_type, power_state, changed })
    }
}

/// Restarts a machine that is on. One that takes the command and goes on as it was cannot be told from one
/// that blinked, unless it was to be seen off.
async fn restart(visit: &mut Visit<'_>, how: Restart, step: u64) -> Result<(), ActionError> {
    let time = visit.draw(RESTART);
    let start = visit.start();
    if !visit.have(Fault::PowerStuck) {
        return visit
            .command(RESET, |state| {
                state.restarted_by = step;
                state.turn_on(Instant::now() + time, start);
            })
            .await;
    }
    visit.command_in_vain(RESET).await?;
    match how {
        Restart::PowerCycle => {
            let (seen, goal) = (Power::On.as_str(), Power::Off.as_str());
            visit.wait(None, || errors::not_yet(seen, goal)).await
        }
        Restart::GracefulRestart | Restart::ForceRestart => Ok(()),
    }
}
