//! The catalogue of actions as the engine uses it: signatures for checks, and performing one action
//! within its deadline.

use crate::{objects::Objects, runs::Call, secrets::StoreSecrets};
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
}

impl Actions {
    /// The actions of a catalogue.
    pub fn new(catalog: Catalog) -> Self {
        let signatures = catalog.signatures();
        let signatures =
            signatures.into_iter().map(|signature| (signature.name, signature)).collect();
        Self { catalog, signatures }
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
        let Call { perform, target, since, resumed } = call;
        let Some(action) = self.catalog.get(&perform.action) else {
            return Err(Failure {
                reason: "ActionNotFound".into(),
                message: format!("this release has no action {}", perform.action),
                retryable: false,
            });
        };
        let left = perform.deadline.timestamp().duration_since(objects.now().timestamp());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        let context = ActionContext {
            idempotency_key: perform.idempotency_key,
            attempt: perform.attempt,
            resumed,
            first_attempt_at: since.timestamp(),
            deadline: (Instant::now() + left).into_std(),
            target: target.map(|(_, value)| value),
            secrets: Arc::new(StoreSecrets(objects.store().clone())),
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
