//! `media.eject`: no image in the machine's virtual drives.
//!
//! Repeating it is harmless: an empty drive is left alone. So is a medium that a person put in
//! through the BMC's console, unless its drive is named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::media::{self, Drive, MediaType};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Reason};

/// Input of `media.eject`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// Id of the virtual drive; all drives when left out.
    #[serde(default)]
    pub slot: Option<String>,
}

/// Output of `media.eject`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Ids of the virtual drives that a medium was taken out of.
    pub ejected: Vec<String>,
    /// Whether a command was sent; false when the drives were empty already.
    pub changed: bool,
}

/// The action, at real BMCs.
pub struct MediaEject {
    pub(super) redfish: Redfish,
}

impl Action for MediaEject {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "media.eject";
    const SUMMARY: &'static str = "Takes the images out of a server's virtual drives.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let system = self.redfish.open(context).await?;
        let drives = media::drives(&system).await?;
        let drives: Vec<Drive> = match &input.slot {
            Some(slot) => {
                let drive = media::choose(drives, Some(slot), MediaType::CD).map_err(|why| {
                    let message = format!("{}: {why}", system.name());
                    ActionError::permanent(Reason::NotFound, message)
                })?;
                vec![drive]
            }
            None => drives.into_iter().filter(|drive| !drive.is_from_console()).collect(),
        };
        let mut ejected = Vec::new();
        for mut drive in drives.into_iter().filter(Drive::is_inserted) {
            media::eject(&system, &mut drive).await?;
            ejected.push(drive.slot());
        }
        Ok(Output { changed: !ejected.is_empty(), ejected })
    }
}
