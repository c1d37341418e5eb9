//! `boot.order`: in what order the firmware tries its boot options, at every start.
//!
//! Repeating it is harmless: it names a whole order, and sends nothing when that order is in force
//! or waiting for the next start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Redfish;
use super::super::boot::{BootOption, reorder};
use super::super::limits::MEMBERS_MAX;
use super::super::power::Poll;
use super::super::resource::{Doc, Resource};
use super::super::system::System;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Effect, Reason};

/// Input of `boot.order`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// What comes first, in this order: devices (`Network`, `HttpNetwork`, `Disk`,
    /// `VirtualMedia`, `Usb`) or references of boot options (`Boot0003`). The others follow in
    /// the order they have.
    pub first: Vec<String>,
}

impl Input {
    /// The whole order that is asked for, of the options of the system of that name.
    ///
    /// # Errors
    /// [`Reason::NotFound`] when it names something that is no option.
    pub fn order(&self, options: &[BootOption], system: &str) -> Result<Vec<String>, ActionError> {
        reorder(options, &self.first).map_err(|word| {
            let known: Vec<&str> = options.iter().map(|option| option.reference.as_str()).collect();
            ActionError::permanent(
                Reason::NotFound,
                format!(
                    "{system}: no boot option is {word:?}; it has {}; correct the step's `first`",
                    known.join(", ")
                ),
            )
        })
    }
}

/// Output of `boot.order`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// References of the boot options, first to last.
    pub order: Vec<String>,
    /// Whether a command was sent; false when the order stood already.
    pub changed: bool,
    /// The order is accepted and comes into force when the server starts next.
    pub pending: bool,
}

/// The action, at real BMCs.
pub struct BootOrder {
    pub(super) redfish: Redfish,
}

impl Action for BootOrder {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "boot.order";
    const SUMMARY: &'static str = "Sets the order in which a server tries its boot options.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let mut system = self.redfish.open(context).await?;
        let options = options(&system).await?;
        let order = input.order(&options, &system.name())?;
        if current(system.doc()) == order {
            return Ok(Output { order, changed: false, pending: false });
        }
        let settings = settings(&system).await?;
        if settings.as_ref().is_some_and(|settings| current(settings.doc()) == order) {
            return Ok(Output { order, changed: false, pending: true });
        }
        let place = settings.as_ref().unwrap_or(&system.resource);
        let body = json!({"Boot": {"BootOrder": order}});
        match system.bmc.patch(place, &body, &system.quirks, &system.budget).await {
            Ok(()) => {}
            Err(error) if error.effect == Effect::Unknown => {
                tracing::info!(system = %system.name(), %error, "looking whether it took effect");
            }
            Err(error) => return Err(error),
        }
        let mut poll = Poll::settling();
        loop {
            system.refresh().await.map_err(ActionError::effect_unknown)?;
            if current(system.doc()) == order {
                return Ok(Output { order, changed: true, pending: false });
            }
            if let Some(settings) = &settings {
                let read = system.bmc.get(&settings.path, &system.budget).await;
                let read = read.map_err(ActionError::effect_unknown)?;
                if current(read.doc()) == order {
                    return Ok(Output { order, changed: true, pending: true });
                }
            }
            poll.pause(&system, || "the boot order is not shown as it was set".to_owned()).await?;
        }
    }
}

fn current(doc: Doc<'_>) -> Vec<String> {
    doc.texts("/Boot/BootOrder")
}

/// The options in their present order. What the BMC does not describe is known by reference.
async fn options(system: &System) -> Result<Vec<BootOption>, ActionError> {
    let present = current(system.doc());
    if present.is_empty() {
        return Err(
            system.unsupported("it shows no BootOrder, so the order cannot be set; use boot.next")
        );
    }
    let described: Vec<BootOption> = match system.doc().link("/Boot/BootOptions") {
        Some(collection) => {
            let (bmc, budget) = (&system.bmc, &system.budget);
            let read = bmc.members(&collection, MEMBERS_MAX, &system.quirks, budget).await;
            match read {
                Ok(members) => {
                    members.iter().filter_map(|member| BootOption::of(member.doc())).collect()
                }
                Err(error) if error.reason == Reason::NotFound => Vec::new(),
                Err(error) => return Err(error),
            }
        }
        None => Vec::new(),
    };
    let describe = |reference: String| {
        let found = described.iter().find(|option| option.reference == reference);
        found.cloned().unwrap_or_else(|| BootOption::bare(reference))
    };
    Ok(present.into_iter().map(describe).collect())
}

/// The resource that takes changes for the next start (DSP0266 §9.10), if it takes the order.
async fn settings(system: &System) -> Result<Option<Resource>, ActionError> {
    let Some(path) = system.doc().link("/@Redfish.Settings/SettingsObject") else {
        return Ok(None);
    };
    let settings = system.bmc.get_optional(&path, &system.budget).await?;
    Ok(settings.filter(|settings| settings.doc().0.pointer("/Boot/BootOrder").is_some()))
}
