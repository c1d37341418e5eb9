//! `machine.cordon` and `instances.evict`: a machine takes no more instances, and those that Workloads have on it go elsewhere. No agent
//! is asked: what is wanted is written, and whoever keeps the instances brings it about, each with leave of the ledger.

use super::{HostName, MACHINES};
use crate::action::{Action, ActionContext, ActionError, Declared, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked who is left.
const LOOK: Duration = Duration::from_secs(1);
/// Those left that are named; the rest is a number.
const NAMED_MAX: usize = 5;

/// What is on a machine that is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Names of instances that are still there, each with what it waits for.
    pub left: Vec<(String, String)>,
    /// How many stay, since no Workload would make others in their place.
    pub stay: u32,
}

/// Input of `machine.cordon`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cordon {
    /// Whether nothing new is placed on it.
    unschedulable: bool,
}

/// Output of `machine.cordon`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cordoned {
    /// Whether nothing new is placed on it.
    unschedulable: bool,
    /// Whether that was so before.
    before: bool,
}

/// The action.
pub(super) struct MachineCordon;

impl Action for MachineCordon {
    type Input = Cordon;
    type Output = Cordoned;

    const NAME: &'static str = "machine.cordon";
    const SUMMARY: &'static str = "Has nothing new placed on a machine, or lets it be again.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    fn declared(output: &Cordoned) -> Option<Declared> {
        let patch = Map::from_iter([("unschedulable".to_owned(), output.unschedulable.into())]);
        Some(Declared { patch, check_only: false })
    }

    async fn perform(
        &self,
        context: &ActionContext,
        Cordon { unschedulable }: Cordon,
    ) -> Result<Cordoned, ActionError> {
        let target = context.require_target()?;
        let before = target.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        Ok(Cordoned { unschedulable, before })
    }
}

/// Input of `instances.evict`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Evict {
    /// Takes back that they were asked to go.
    #[serde(default)]
    withdraw: bool,
}

/// Output of `instances.evict`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evicted {
    /// Instances that stay, since they are of no Workload: nobody would make others in their place.
    stay: u32,
}

/// The action.
pub(super) struct InstancesEvict;

impl Action for InstancesEvict {
    type Input = Evict;
    type Output = Evicted;

    const NAME: &'static str = "instances.evict";
    const SUMMARY: &'static str = "Has the instances of Workloads on a machine go elsewhere, as far as the ledger lets them, and waits until they have.";
    const TARGET_KINDS: &'static [&'static str] = MACHINES;
    const EFFECTS: bool = true;
    // Each of them asks the ledger for itself; under a permit for the machine all would count as down at once.
    const DISRUPTIVE: bool = false;

    async fn perform(
        &self,
        context: &ActionContext,
        Evict { withdraw }: Evict,
    ) -> Result<Evicted, ActionError> {
        let target = context.require_target()?;
        let text = |path: &str| {
            target.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let host = HostName {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
        };
        loop {
            let Leaving { left, stay } = context.hosts.evict(&host, withdraw).await?;
            if left.is_empty() || withdraw {
                return Ok(Evicted { stay });
            }
            if context.remaining() <= LOOK {
                return Err(ActionError::retryable(Reason::Timeout, sentence(&host, &left)));
            }
            sleep(LOOK).await;
        }
    }
}

/// Who is left, and why.
fn sentence(host: &HostName, left: &[(String, String)]) -> String {
    let HostName { namespace, name, .. } = host;
    let named = left.iter().take(NAMED_MAX).map(|(name, why)| format!("{name} ({why})"));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = left.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let are = if left.len() == 1 { "instance is" } else { "instances are" };
    format!("{} {are} left on machine {namespace}/{name}: {named}{more}", left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_left_is_named_with_why() {
        let host = HostName { namespace: "a".into(), name: "m".into(), uid: "u".into() };
        let left = |count: usize| {
            (0..count).map(|at| (format!("i{at}"), "frozen".to_owned())).collect::<Vec<_>>()
        };
        let one = sentence(&host, &left(1));
        assert_eq!(one, "1 instance is left on machine a/m: i0 (frozen)");
        let many = sentence(&host, &left(7));
        assert!(many.starts_with("7 instances are left") && many.ends_with("and 2 more"), "{many}");
    }
}
