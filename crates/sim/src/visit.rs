//! One call of an action at one BMC: what every action does first, what it may meet, and how it sends a command. The order
//! is that of the real provider: reach it, log in, make sure of the machine, and only then act.

use crate::{
    contact::{Contact, Exchange, Reach},
    faults::Fault,
    latency::{COMMAND, NOBODY_THERE, OPEN},
    simulation::Machines,
    state::State,
};
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::{
        errors,
        twin::{Credentials, POLL_MAX, REQUEST_TIMEOUT, Target, TransportError, same},
    },
};
use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// What a BMC says to a wrong password (DSP2065, Base.NoValidSession).
pub(crate) const NO_SESSION: &str =
    "There is no valid session established with the implementation.";
/// The request that is sent first, and the one that reads the system.
const ROOT: &str = "GET /redfish/v1/";
/// Id of the one system of each BMC.
const SYSTEM: &str = "1";

/// A call of an action that has reached its machine.
pub(crate) struct Visit<'m> {
    contact: Contact<'m>,
    /// The BMC as the target has it.
    authority: String,
    key: String,
    deadline: Instant,
}

impl<'m> Deref for Visit<'m> {
    type Target = Contact<'m>;

    fn deref(&self) -> &Contact<'m> {
        &self.contact
    }
}

impl<'m> DerefMut for Visit<'m> {
    fn deref_mut(&mut self) -> &mut Contact<'m> {
        &mut self.contact
    }
}

impl Machines {
    /// Reaches the machine that the call is aimed at, and makes sure that it is the one declared.
    pub(crate) async fn visit(&self, context: &ActionContext) -> Result<Visit<'_>, ActionError> {
        let target = Target::read(context)?;
        let authority = target.endpoint.authority.to_string();
        let contact = self.exchange(&authority, Exchange::Call, power_seen_before(context));
        let deadline = Instant::from_std(context.deadline);
        let mut visit =
            Visit { contact, authority, key: context.idempotency_key.clone(), deadline };
        visit.come().await?;
        visit.log_in(&target)?;
        visit.make_sure(&target)?;
        Ok(visit)
    }
}

/// The machines outlive the process, but their state here does not: a machine is found as it was last seen.
fn power_seen_before(context: &ActionContext) -> Option<bool> {
    let seen = context.target.as_deref()?.pointer("/status/powerState")?.as_str()?;
    match seen {
        "On" => Some(true),
        "Off" => Some(false),
        _ => None,
    }
}

impl Visit<'_> {
    async fn come(&mut self) -> Result<(), ActionError> {
        let error = match self.reach() {
            Reach::Answers => {
                self.takes(OPEN).await;
                return Ok(());
            }
            Reach::Away => {
                self.pass(NOBODY_THERE).await;
                let reason = "No route to host (os error 113)".to_owned();
                TransportError::NotConnected { reason }
            }
            Reach::Wedged => {
                self.pass(REQUEST_TIMEOUT).await;
                TransportError::TimedOut { after: REQUEST_TIMEOUT }
            }
        };
        Err(errors::no_answer(&self.authority, ROOT, error, true))
    }

    fn log_in(&self, target: &Target) -> Result<(), ActionError> {
        let Some(given) = &target.endpoint.credentials else {
            return Err(errors::login_wanted(&self.authority));
        };
        // A rotation that was cut off may have left another in force.
        let known = [given].into_iter().chain(&target.others).any(|it| self.takes_login(it));
        if known {
            return Ok(());
        }
        Err(errors::refused(&self.authority, &given.username, NO_SESSION))
    }

    /// Whether the BMC takes these.
    pub(crate) fn takes_login(&self, given: &Credentials) -> bool {
        self.knows(&given.username, &given.password)
    }

    /// The machine's BMC as messages name it.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    fn make_sure(&self, target: &Target) -> Result<(), ActionError> {
        let serial = self.serial();
        match &target.serial {
            Some(declared) if !same(&serial, declared) => {
                Err(errors::another_machine(&self.authority, &serial, declared))
            }
            _ => Ok(()),
        }
    }

    /// How messages name the machine.
    pub(crate) fn system(&self) -> String {
        errors::system_name(&self.authority, SYSTEM)
    }

    /// Sends `request`, whose effect is `change`. An error says that the effect may have happened, and here it
    /// has: only its answer is lost.
    pub(crate) async fn command(
        &mut self,
        request: &str,
        change: impl FnOnce(&mut State),
    ) -> Result<(), ActionError> {
        let key = self.key.clone();
        self.act(request, &key, change).await;
        self.answer(request)
    }

    /// The same for a command that the BMC takes and that has no effect.
    pub(crate) async fn command_in_vain(&mut self, request: &str) -> Result<(), ActionError> {
        self.takes(COMMAND).await;
        self.answer(request)
    }

    fn answer(&self, request: &str) -> Result<(), ActionError> {
        if !self.have(Fault::ReplyLost) {
            return Ok(());
        }
        let reason = "Connection reset by peer (os error 104)".to_owned();
        Err(errors::no_answer(&self.authority, request, TransportError::Lost { reason }, false))
    }

    /// Time left before the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for what is there at `at`, or never; fails with `why` once it cannot be there in time.
    pub(crate) async fn wait(
        &self,
        at: Option<Instant>,
        why: impl FnOnce() -> String,
    ) -> Result<(), ActionError> {
        let left = self.left();
        // The real one gives up when the next look would be too late.
        let last = self.deadline.checked_sub(POLL_MAX.min(left / 4)).unwrap_or(self.deadline);
        match at {
            Some(at) if at <= last => {
                sleep_until(at).await;
                Ok(())
            }
            _ => {
                sleep_until(last).await;
                Err(errors::not_in_time(&self.system(), &why()))
            }
        }
    }
}
