//! The catalogue of actions as the engine uses it: signatures for checks, and performing one action
//! within its deadline.

use crate::{
    agents::{Ends, StoreHosts},
    objects::Objects,
    runs::Call,
    secrets::{StoreSecrets, with_defaults},
};
use quarterdeck_model::{
    ActionSignature, Kind as _,
    kinds::{Runbook, RunbookSpec},
};
use quarterdeck_providers::{ActionContext, Catalog, Performed};
use quarterdeck_runbook::{Definitions, Failure};
use quarterdeck_store::World;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Every action.
pub struct Actions {
    catalog: Catalog,
    signatures: HashMap<&'static str, ActionSignature>,
    /// Steps that wait for the agents of machines.
    ends: Arc<Ends>,
}

impl Actions {
    /// The actions of a catalogue.
    pub fn new(catalog: Catalog) -> Self {
        let signatures = catalog.signatures();
        let signatures =
            signatures.into_iter().map(|signature| (signature.name, signature)).collect();
        Self { catalog, signatures, ends: Arc::default() }
    }

    /// The signature of an action.
    pub fn signature(&self, name: &str) -> Option<&ActionSignature> {
        self.signatures.get(name)
    }

    /// Names of all actions, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.signatures.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Performs an action; it is dropped at its deadline.
    pub(crate) async fn perform(
        &self,
        objects: &Objects,
        call: Call,
    ) -> Result<Performed, Failure> {
        let Call { perform, target, since, resumed, leave } = call;
        let Some(action) = self.catalog.get(&perform.action) else {
            return Err(Failure {
                reason: "ActionNotFound".into(),
                message: format!("this release has no action {}", perform.action),
                retryable: false,
            });
        };
        let disrupts = self.signature(&perform.action).is_some_and(|action| action.disruptive);
        if (disrupts || perform.disruptive) && leave.is_none() {
            // Whoever calls has asked before; this is so that there is no way around it.
            return Err(Failure {
                reason: "NotPermitted".into(),
                message: format!(
                    "{} needs leave of the ledger to disrupt its target",
                    perform.action
                ),
                retryable: false,
            });
        }
        let left = perform.deadline.timestamp().duration_since(objects.now().timestamp());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        let context = ActionContext {
            idempotency_key: perform.idempotency_key,
            attempt: perform.attempt,
            resumed,
            first_attempt_at: since.timestamp(),
            deadline: (Instant::now() + left).into_std(),
            target: target
                .map(|(key, value)| with_defaults(&objects.store().world(), &key.kind, value)),
            secrets: Arc::new(StoreSecrets(objects.store().clone())),
            hosts: Arc::new(StoreHosts { objects: objects.clone(), ends: self.ends.clone() }),
        };
        action.perform(&context, perform.input).await.map_err(|error| {
            let (action, reason) = (&perform.action, error.reason);
            tracing::info!(action, %reason, %error, "an action failed");
            let retryable = error.is_retryable();
            Failure { reason: reason.to_string(), message: error.message, retryable }
        })
    }
}

/// Actions, and the runbooks of one world: what runbooks are checked against.
pub(crate) struct Known<'a> {
    pub(crate) actions: &'a Actions,
    pub(crate) world: &'a World,
}

impl Definitions for Known<'_> {
    fn action(&self, name: &str) -> Option<&ActionSignature> {
        self.actions.signature(name)
    }

    fn action_names(&self) -> Vec<&str> {
        self.actions.names()
    }

    fn runbook(&self, name: &str) -> Option<Arc<RunbookSpec>> {
        let object = self.world.get(Runbook::info(), "", name)?;
        object.decode::<Runbook>().ok().map(|runbook| Arc::new(runbook.spec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Clock;
    use jiff::Timestamp;
    use quarterdeck_model::Time;
    use quarterdeck_providers::{Providers, http::Reach};
    use quarterdeck_runbook::Perform;
    use quarterdeck_store::{Sqlite, Store};
    use serde_json::json;

    /// Whatever an action that disrupts is given, it is not performed without leave.
    #[tokio::test]
    async fn no_action_disrupts_without_leave() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap();
        let clock: Clock = Arc::new(Timestamp::now);
        let objects = Objects::for_test(Arc::new(store), clock).await;
        let actions = Actions::new(Providers::new(Reach::default()).catalog().clone());
        let mut refused = Vec::new();
        for name in actions.names() {
            let always = actions.signature(name).unwrap().disruptive;
            // A runbook may say of any action that it disrupts.
            for said in [false, true] {
                let perform = Perform {
                    step: "s".into(),
                    attempt: 1,
                    action: name.into(),
                    input: json!({"wrong": true}),
                    idempotency_key: "u/s".into(),
                    deadline: Time::new(Timestamp::now()),
                    disruptive: said,
                };
                let since = Time::new(Timestamp::now());
                let call = Call { perform, target: None, since, resumed: false, leave: None };
                let failure = actions.perform(&objects, call).await.unwrap_err();
                assert_eq!(failure.reason == "NotPermitted", always || said, "{name}: {failure:?}");
                if always && !said {
                    refused.push(name.to_owned());
                }
            }
        }
        // What this release has that always disrupts.
        let disruptive = [
            "agent.reboot",
            "ansible.playbook",
            "chef.converge",
            "disk.erase",
            "os.patch",
            "power.reset",
            "power.set",
            "salt.apply",
        ];
        assert_eq!(refused, disruptive);
    }
}
