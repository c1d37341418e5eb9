//! `boot.next`: what the machine starts from the next time, and only then.
//!
//! Repeating it is harmless until that start: it reads the choice first and sends nothing when it
//! stands. Some BMCs keep the choice for every start; the output says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::boot::{Device, Mode, Override, Shown};
use super::super::power::Poll;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Effect, Reason};

/// Input of `boot.next`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// What to start from.
    pub device: Device,
    /// How the firmware starts it; as it is set now when left out.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// For `HttpNetwork`: where the boot file is; from DHCP when left out.
    #[serde(default)]
    pub http_boot_uri: Option<String>,
}

impl Input {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`], with what does not.
    pub fn check(&self) -> Result<(), ActionError> {
        if self.http_boot_uri.is_some() && self.device != Device::HttpNetwork {
            return Err(ActionError::permanent(
                Reason::InvalidInput,
                "boot.next: httpBootUri goes with the device HttpNetwork alone",
            ));
        }
        Ok(())
    }
}

/// Output of `boot.next`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The BMC's name for what was chosen.
    pub target: &'static str,
    /// Whether a command was sent; false when the choice stood already.
    pub changed: bool,
    /// The BMC keeps the choice for every start, not only the next: choose again after it.
    pub stays: bool,
}

/// The action, at real BMCs.
pub struct BootNext {
    pub(super) redfish: Redfish,
}

impl Action for BootNext {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "boot.next";
    const SUMMARY: &'static str = "Chooses what a server starts from the next time.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        input.check()?;
        let mut system = self.redfish.open(context).await?;
        let choice = Override::choose(
            input.device,
            input.mode,
            input.http_boot_uri,
            system.doc(),
            &system.quirks,
        )
        .map_err(|why| system.unsupported(why))?;
        let stays = system.quirks.once_is_continuous;
        match choice.shown(system.doc()) {
            Shown::Wanted => {
                return Ok(Output { target: choice.target, changed: false, stays: false });
            }
            Shown::WantedAlways if stays => {
                return Ok(Output { target: choice.target, changed: false, stays });
            }
            Shown::WantedAlways | Shown::Other => {}
        }
        let body = choice.body();
        let sent = system.bmc.patch(&system.resource, &body, &system.quirks, &system.budget).await;
        match sent {
            Ok(()) => {}
            Err(error) if error.effect == Effect::Unknown => {
                tracing::info!(system = %system.name(), %error, "looking whether it took effect");
            }
            Err(error) => return Err(error),
        }
        let mut poll = Poll::settling();
        loop {
            system.refresh().await.map_err(ActionError::effect_unknown)?;
            let shown = choice.shown(system.doc());
            if shown != Shown::Other || !system.quirks.override_reads_back {
                let stays = stays || shown == Shown::WantedAlways;
                return Ok(Output { target: choice.target, changed: true, stays });
            }
            poll.pause(&system, || format!("the boot override is not shown as {}", choice.target))
                .await?;
        }
    }
}
