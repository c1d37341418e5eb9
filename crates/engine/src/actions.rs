//! The catalogue of actions as the engine uses it: signatures for checks, and performing one action
//! within its deadline, whatever it does.

use crate::secrets::StoreSecrets;
use quarterdeck_model::{
    ActionSignature, Kind as _, Time,
    kinds::{Runbook, RunbookSpec},
};
use quarterdeck_providers::{ActionContext, Catalog, Performed};
use quarterdeck_runbook::{Definitions, Failure, Perform};
use quarterdeck_store::{Store, World};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Added to a step's deadline before an action that ignores it is dropped.
const GRACE: Duration = Duration::from_secs(5);

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

    /// Performs an action. Always answers by its deadline and a little more.
    pub(crate) async fn perform(
        &self,
        store: Arc<Store>,
        perform: Perform,
        resumed: bool,
        target: Option<Arc<Value>>,
        first_attempt: Time,
        now: Time,
    ) -> Result<Performed, Failure> {
        let Some(action) = self.catalog.get(&perform.action) else {
            return Err(Failure {
                reason: "ActionNotFound".into(),
                message: format!("this release has no action {}", perform.action),
                retryable: false,
            });
        };
        let left = perform.deadline.timestamp().duration_since(now.timestamp());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        let context = ActionContext {
            idempotency_key: perform.idempotency_key,
            attempt: perform.attempt,
            resumed,
            first_attempt_at: first_attempt.timestamp(),
            deadline: Instant::now() + left,
            target,
            secrets: Arc::new(StoreSecrets(store)),
        };
        let (action, name) = (action.clone(), perform.action);
        let work = async move { action.perform(&context, perform.input).await };
        // On a task of its own: a panic in a provider ends this action only.
        let mut task = AbortOnDrop(tokio::spawn(work));
        match tokio::time::timeout(left + GRACE, &mut task.0).await {
            Ok(Ok(Ok(performed))) => Ok(performed),
            Ok(Ok(Err(error))) => {
                let retryable = error.is_retryable();
                tracing::info!(action = name, reason = %error.reason, %error, "an action failed");
                Err(Failure { reason: error.reason.to_string(), message: error.message, retryable })
            }
            Ok(Err(error)) => {
                tracing::error!(action = name, %error, "an action ended in a defect");
                Err(Failure {
                    reason: "InternalError".into(),
                    message: format!(
                        "{name} ended in a defect of this release; see the plane's log"
                    ),
                    retryable: true,
                })
            }
            Err(_) => Err(Failure {
                reason: "Timeout".into(),
                message: format!("{name} did not answer by its deadline"),
                retryable: true,
            }),
        }
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
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

    fn runbook(&self, name: &str) -> Option<Arc<RunbookSpec>> {
        let object = self.world.get(Runbook::info(), "", name)?;
        object.decode::<Runbook>().ok().map(|runbook| Arc::new(runbook.spec))
    }
}
