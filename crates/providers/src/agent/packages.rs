//! `os.packages`: which packages are installed on a machine, and in which version.

use super::{MACHINES, perform};
use crate::action::{Action, ActionContext, ActionError};
use quarterdeck_model::kinds::{AgentTaskSpec, PackagesTask};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes of them that a step gives back: what it gives back has a bound, and all else in it fits the rest.
const SHOWN_BYTES: usize = 14 << 10;

/// Input of `os.packages`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Input {
    /// Only those whose names are one of these, such as `openssl` or `linux-image-*`; all when left out.
    pub names: Vec<String>,
}

/// Output of `os.packages`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Those that are installed, as `NAME VERSION`, in order; the first 14 KiB of them.
    pub packages: Vec<String>,
    /// How many there are.
    pub count: u32,
}

/// The action.
pub struct OsPackages;

impl Action for OsPackages {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "os.packages";
    const SUMMARY: &'static str =
        "Says which packages are installed on a machine, and in which version.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let packages = Some(PackagesTask { names: input.names });
        let status =
            perform(context, AgentTaskSpec { packages, ..AgentTaskSpec::default() }).await?;
        let mut packages = status.packages;
        let mut bytes = 0;
        let past = packages.iter().position(|package| {
            // With quotes and a comma.
            bytes += package.len() + 3;
            bytes > SHOWN_BYTES
        });
        packages.truncate(past.unwrap_or(packages.len()));
        Ok(Output { count: status.package_count.unwrap_or_default(), packages })
    }
}
