//! Power: what state a system is in, and driving it to another while looking.
//!
//! Every step is decided from what is observed, so a drive that is repeated after a crash goes on
//! from where the machine is and sends nothing when it is there already.

use std::time::{Duration, Instant};

use serde_json::json;

use super::errors::{self, not_yet};
use super::limits::{POLL_FIRST, POLL_MAX, SETTLING_MAX};
use super::resource::{Doc, Path};
use super::system::System;
use crate::action::{ActionError, Effect};

/// A command whose answer was lost is sent again after this long without effect: longer than any
/// firmware takes to start what it accepted, and harmless, as it names a state and not a change.
const RESEND_AFTER: Duration = Duration::from_secs(20);

/// `PowerState` of a ComputerSystem (DSP0268, Resource.PowerState).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PowerState {
    On,
    Off,
    PoweringOn,
    PoweringOff,
    Paused,
    Unknown,
}

impl PowerState {
    pub(super) fn of(system: Doc<'_>) -> Self {
        match system.text("/PowerState").as_deref() {
            Some("On") => Self::On,
            Some("Off") => Self::Off,
            Some("PoweringOn") => Self::PoweringOn,
            Some("PoweringOff") => Self::PoweringOff,
            Some("Paused") => Self::Paused,
            _ => Self::Unknown,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::On => "On",
            Self::Off => "Off",
            Self::PoweringOn => "PoweringOn",
            Self::PoweringOff => "PoweringOff",
            Self::Paused => "Paused",
            Self::Unknown => "Unknown",
        }
    }
}

/// `ResetType` values this crate sends (DSP0268, Resource.ResetType).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetType {
    On,
    ForceOn,
    ForceOff,
    GracefulShutdown,
    GracefulRestart,
    ForceRestart,
}

impl ResetType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::On => "On",
            Self::ForceOn => "ForceOn",
            Self::ForceOff => "ForceOff",
            Self::GracefulShutdown => "GracefulShutdown",
            Self::GracefulRestart => "GracefulRestart",
            Self::ForceRestart => "ForceRestart",
        }
    }
}

/// What the system's Reset action takes.
#[derive(Debug, Clone)]
pub(super) struct ResetAction {
    target: Path,
    /// Empty when the BMC does not say.
    allowed: Vec<String>,
}

impl ResetAction {
    pub(super) fn allows(&self, reset: ResetType) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|allowed| allowed == reset.as_str())
    }

    pub(super) fn allowed(&self) -> String {
        self.allowed.join(", ")
    }
}

/// Where to drive to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    On,
    /// Ask the operating system; cut the power after `force_after`, or never.
    OffGracefully {
        force_after: Option<Duration>,
    },
    OffNow,
}

impl Goal {
    const fn state(self) -> PowerState {
        match self {
            Self::On => PowerState::On,
            Self::OffGracefully { .. } | Self::OffNow => PowerState::Off,
        }
    }
}

/// The last command of a drive.
#[derive(Debug, Clone, Copy)]
struct Sent {
    reset: ResetType,
    since: Duration,
    /// The BMC said that it took the command.
    confirmed: bool,
}

/// The next command, if one is due, `since` the drive began.
fn decide(
    goal: Goal,
    seen: PowerState,
    since: Duration,
    sent: Option<Sent>,
    reset: &ResetAction,
) -> Option<ResetType> {
    let already_moving = match goal {
        // While it goes down, BMCs refuse or forget what they are told.
        Goal::On => matches!(seen, PowerState::PoweringOn | PowerState::PoweringOff),
        Goal::OffGracefully { .. } => seen == PowerState::PoweringOff,
        Goal::OffNow => false,
    };
    let first = match goal {
        Goal::On if !reset.allows(ResetType::On) && reset.allows(ResetType::ForceOn) => {
            ResetType::ForceOn
        }
        Goal::On => ResetType::On,
        Goal::OffGracefully { .. } if reset.allows(ResetType::GracefulShutdown) => {
            ResetType::GracefulShutdown
        }
        Goal::OffGracefully { .. } | Goal::OffNow => ResetType::ForceOff,
    };
    match (goal, sent) {
        // Somebody asked it to go down, perhaps we did before a crash, and it does not get there.
        (Goal::OffGracefully { force_after: Some(grace) }, None)
            if already_moving && since >= grace =>
        {
            Some(ResetType::ForceOff)
        }
        (_, None) if already_moving => None,
        (_, None) => Some(first),
        (Goal::OffGracefully { force_after: Some(grace) }, Some(sent))
            if sent.reset == ResetType::GracefulShutdown && sent.since >= grace =>
        {
            Some(ResetType::ForceOff)
        }
        (_, Some(sent)) if !sent.confirmed && sent.since >= RESEND_AFTER => Some(sent.reset),
        (_, Some(_)) => None,
    }
}

impl System {
    pub(super) fn power_state(&self) -> PowerState {
        PowerState::of(self.doc())
    }

    /// The Reset action and what it allows, from the system or from its ActionInfo.
    pub(super) async fn reset_action(&self) -> Result<ResetAction, ActionError> {
        let action = self.doc().0.pointer("/Actions/#ComputerSystem.Reset").map(Doc);
        let target = action.and_then(|action| action.text("/target"));
        let (Some(action), Some(target)) = (action, target.and_then(|text| Path::parse(&text)))
        else {
            return Err(self.unsupported("it offers no Reset action, so its power cannot be set"));
        };
        let mut allowed = action.texts("/ResetType@Redfish.AllowableValues");
        let info = action.text("/@Redfish.ActionInfo").and_then(|text| Path::parse(&text));
        if let (true, Some(info)) = (allowed.is_empty(), info)
            && let Some(info) = self.bmc.get_optional(&info, &self.budget).await?
        {
            allowed = info
                .doc()
                .list("/Parameters")
                .filter(|parameter| parameter.text("/Name").as_deref() == Some("ResetType"))
                .flat_map(|parameter| parameter.texts("/AllowableValues"))
                .collect();
        }
        Ok(ResetAction { target, allowed })
    }

    /// Sends one command.
    pub(super) async fn reset(
        &self,
        action: &ResetAction,
        reset: ResetType,
    ) -> Result<(), ActionError> {
        if !action.allows(reset) {
            return Err(self.unsupported(format_args!(
                "it does not allow ResetType {}, only {}",
                reset.as_str(),
                action.allowed()
            )));
        }
        let body = json!({"ResetType": reset.as_str()});
        self.bmc.post(&action.target, &body, &self.budget).await
    }

    /// Drives the system to `goal` and returns once it is seen there: whether anything was sent.
    pub(super) async fn drive(
        &mut self,
        action: &ResetAction,
        goal: Goal,
    ) -> Result<bool, ActionError> {
        let began = Instant::now();
        let mut sent: Option<(ResetType, Instant, bool)> = None;
        let mut poll = Poll::default();
        loop {
            let seen = self.power_state();
            if seen == goal.state() {
                return Ok(sent.is_some());
            }
            let last =
                sent.map(|(reset, at, confirmed)| Sent { reset, since: at.elapsed(), confirmed });
            if let Some(command) = decide(goal, seen, began.elapsed(), last, action) {
                let confirmed = match self.reset(action, command).await {
                    Ok(()) => true,
                    Err(error) if error.effect == Effect::Unknown => {
                        tracing::info!(system = %self.name(), %error, "looking whether it took effect");
                        false
                    }
                    Err(error) => {
                        // A machine that got there meanwhile makes the BMC refuse the command.
                        self.refresh().await?;
                        if self.power_state() == goal.state() {
                            return Ok(sent.is_some());
                        }
                        return Err(error);
                    }
                };
                sent = Some((command, Instant::now(), confirmed));
                poll = Poll::default();
            }
            poll.pause(self, || not_yet(seen.as_str(), goal.state().as_str())).await?;
            self.refresh().await?;
        }
    }
}

/// Growing pauses between looks, up to the deadline.
pub(super) struct Poll {
    next: Duration,
    /// An end before the deadline.
    until: Option<Instant>,
}

impl Default for Poll {
    fn default() -> Self {
        Self { next: POLL_FIRST, until: None }
    }
}

impl Poll {
    /// Looks for as long as a BMC takes to show a setting that it accepted.
    pub(super) fn settling() -> Self {
        Self::at_most(SETTLING_MAX)
    }

    /// Looks for at most `time`.
    pub(super) fn at_most(time: Duration) -> Self {
        Self { until: Instant::now().checked_add(time), ..Self::default() }
    }

    /// Pauses, or fails with what is still being waited for.
    pub(super) async fn pause(
        &mut self,
        system: &System,
        waiting_for: impl FnOnce() -> String,
    ) -> Result<(), ActionError> {
        let ended = self.until.is_some_and(|until| Instant::now() >= until);
        if ended || self.next >= system.budget.remaining() {
            return Err(errors::not_in_time(&system.name(), &waiting_for()));
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 3 / 2).min(POLL_MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(allowed: &[&str]) -> ResetAction {
        ResetAction {
            target: Path::parse("/reset").unwrap(),
            allowed: allowed.iter().map(ToString::to_string).collect(),
        }
    }

    fn sent(reset: ResetType, seconds: u64, confirmed: bool) -> Option<Sent> {
        Some(Sent { reset, since: Duration::from_secs(seconds), confirmed })
    }

    #[test]
    fn commands_follow_from_what_is_seen() {
        use PowerState as P;
        use ResetType as R;
        let any = reset(&[]);
        let plain = reset(&["ForceOn", "ForceOff"]);
        let grace = Goal::OffGracefully { force_after: Some(Duration::from_secs(60)) };
        let never = Goal::OffGracefully { force_after: None };
        for (what, goal, seen, sent, action, wanted) in [
            ("off to on", Goal::On, P::Off, None, &any, Some(R::On)),
            ("only ForceOn", Goal::On, P::Off, None, &plain, Some(R::ForceOn)),
            ("coming up by itself", Goal::On, P::PoweringOn, None, &any, None),
            ("still going down", Goal::On, P::PoweringOff, None, &any, None),
            ("unknown state", Goal::On, P::Unknown, None, &any, Some(R::On)),
            ("paused", Goal::On, P::Paused, None, &any, Some(R::On)),
            ("was sent", Goal::On, P::Off, sent(R::On, 500, true), &any, None),
            ("answer lost, early", Goal::On, P::Off, sent(R::On, 5, false), &any, None),
            ("answer lost, late", Goal::On, P::Off, sent(R::On, 25, false), &any, Some(R::On)),
            ("polite", grace, P::On, None, &any, Some(R::GracefulShutdown)),
            ("cannot be polite", grace, P::On, None, &plain, Some(R::ForceOff)),
            ("going down by itself", grace, P::PoweringOff, None, &any, None),
            ("within grace", grace, P::On, sent(R::GracefulShutdown, 59, true), &any, None),
            (
                "past grace",
                grace,
                P::PoweringOff,
                sent(R::GracefulShutdown, 60, true),
                &any,
                Some(R::ForceOff),
            ),
            ("never forced", never, P::On, sent(R::GracefulShutdown, 999, true), &any, None),
            ("forced once", grace, P::On, sent(R::ForceOff, 999, true), &any, None),
            ("now", Goal::OffNow, P::PoweringOff, None, &any, Some(R::ForceOff)),
        ] {
            assert_eq!(decide(goal, seen, Duration::ZERO, sent, action), wanted, "{what}");
        }
        let stuck = decide(grace, P::PoweringOff, Duration::from_secs(60), None, &any);
        assert_eq!(stuck, Some(R::ForceOff), "going down by itself for too long");
    }
}
