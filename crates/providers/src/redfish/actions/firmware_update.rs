//! `firmware.update`: a component's firmware is brought to a version, from an image that the BMC fetches.
//!
//! It looks first and sends nothing when the version is installed. An update that a call before this one began is
//! found by its task and followed. What is written only when the server starts again is answered as `pending`.

use quarterdeck_model::kinds::{FirmwareActivation, SecretReference, firmware};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::firmware::{Updated, Wanted, update};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Reason};
use crate::secrets;

/// Input of `firmware.update`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// What it is for, as the server's inventory names it; `BIOS` is that of the system.
    pub component: String,
    /// The version that is wanted, as the inventory will show it.
    pub version: String,
    /// Where the BMC fetches the image.
    pub image: String,
    /// `sha256:` and 64 hex digits; looked at by the plane first. Empty: not looked at.
    #[serde(default)]
    pub checksum: String,
    /// What must be done until it runs. A BMC is reset for `BMCReset`; a server is never.
    #[serde(default)]
    pub activation: FirmwareActivation,
    /// Secret with the keys `username` and `password`, for the server of the image.
    #[serde(default)]
    pub credentials_secret_ref: Option<SecretReference>,
}

impl Input {
    /// Refuses what cannot be an update.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] for the field that is wrong.
    pub fn check(&self) -> Result<Option<String>, ActionError> {
        let invalid = |why: String| {
            ActionError::permanent(Reason::InvalidInput, format!("firmware.update: {why}"))
        };
        for (field, value) in [("component", &self.component), ("version", &self.version)] {
            if value.trim().is_empty() {
                return Err(invalid(format!("{field} is empty")));
            }
        }
        firmware::image_url(&self.image).map_err(|why| invalid(format!("image {why}")))?;
        if self.checksum.is_empty() {
            return Ok(None);
        }
        if !self.image.starts_with("http") {
            return Err(invalid(
                "the plane can look only at images with http:// or https://; leave checksum out"
                    .into(),
            ));
        }
        let digits = firmware::sha256(&self.checksum);
        digits.map(Some).ok_or_else(|| invalid("checksum must be sha256: and 64 hex digits".into()))
    }
}

/// Output of `firmware.update`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// What it is for.
    pub component: String,
    /// The version that was asked for.
    pub wanted: String,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The version that runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether there was anything to do.
    pub changed: bool,
    /// The version that is wanted runs once the server was powered off and on.
    pub pending: bool,
}

/// The action, at real BMCs.
pub struct FirmwareUpdate {
    pub(super) redfish: Redfish,
}

impl Action for FirmwareUpdate {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "firmware.update";
    const SUMMARY: &'static str =
        "Brings a component's firmware to a version, from an image that the BMC fetches.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let checksum = input.check()?;
        let username_password = match &input.credentials_secret_ref {
            Some(reference) => {
                let secret = secrets::read(context, reference)?;
                let text = |key| secrets::text(&secret, reference, key);
                Some((text("username")?, text("password")?))
            }
            None => None,
        };
        let mut system = self.redfish.open(context).await?;
        let begun = context.resumed || context.attempt > 1;
        let wanted = Wanted {
            component: &input.component,
            version: &input.version,
            image: &input.image,
            username_password,
            activation: input.activation,
            begun_before: begun.then_some(context.first_attempt_at),
        };
        let verify = async || match &checksum {
            Some(sha256) => self.redfish.shared.images.verify(context, &input.image, sha256).await,
            None => Ok(()),
        };
        let Updated { before, version, changed, pending } =
            update(&mut system, &wanted, verify).await?;
        let Input { component, version: wanted, .. } = input;
        Ok(Output { component, wanted, before, version, changed, pending })
    }
}
