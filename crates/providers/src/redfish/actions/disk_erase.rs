//! `disk.erase`: every disk in the machine is erased by its own means (DSP0268, Drive.SecureErase).
//!
//! A BMC does not tell that a disk was erased, only that it is being erased. So a repeated call waits for what it
//! finds under way, and erases the other disks again, which does no harm but takes its time. A machine of which no
//! disk is seen, or one cannot be erased, is refused: it must never pass for clean.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::Redfish;
use super::super::erase;
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError};
use crate::lifecycle::phase::MAY_HOLD_DATA;

/// Input of `disk.erase`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {}

/// Output of `disk.erase`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Names of the disks that were erased.
    pub erased: Vec<String>,
}

/// The action, at real BMCs.
pub struct DiskErase {
    pub(super) redfish: Redfish,
}

impl Action for DiskErase {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "disk.erase";
    const SUMMARY: &'static str = "Erases every disk in a server by the disk's own means.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    fn observed(_: &Output) -> Option<Map<String, Value>> {
        Some(Map::from_iter([(MAY_HOLD_DATA.to_owned(), Value::Null)]))
    }

    async fn perform(
        &self,
        context: &ActionContext,
        Input {}: Input,
    ) -> Result<Output, ActionError> {
        let system = self.redfish.open(context).await?;
        Ok(Output { erased: erase::all(&system).await? })
    }
}
