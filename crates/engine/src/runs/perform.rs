//! Performing actions: each on a task of its own, so that a panic in a provider ends one step only.

use super::{Context, Permitted};
use crate::{
    declare::declare,
    objects::{EngineError, Objects},
    observe,
    planted::{self, Planted},
    secrets,
};
use quarterdeck_model::{Key, Time};
use quarterdeck_providers::{Declared, Performed, SecretChange};
use quarterdeck_runbook::{Failure, Input, Perform};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    task::{AbortHandle, Id, JoinSet},
    time::sleep,
};

/// Pause before what was seen is recorded again after the store could not be used.
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// What an action is performed with.
pub(crate) struct Call {
    pub(crate) perform: Perform,
    pub(crate) target: Option<(Key, Arc<Value>)>,
    /// When the step began.
    pub(crate) since: Time,
    /// It was begun before, and nobody knows how far it came.
    pub(crate) resumed: bool,
    /// Leave of the ledger to disrupt the target, if the run has that.
    pub(crate) leave: Option<Permitted>,
}

/// The actions a run has under way. Dropping it drops them.
#[derive(Default)]
pub(super) struct Performing {
    tasks: JoinSet<Result<Value, Failure>>,
    steps: HashMap<Id, Step>,
}

struct Step {
    path: String,
    attempt: u32,
    action: String,
    task: AbortHandle,
}

impl Performing {
    /// Begins an action.
    pub(super) fn begin(&mut self, context: Arc<Context>, call: Call) {
        let Perform { step, attempt, action, .. } = &call.perform;
        self.stop(step);
        let (path, attempt, action) = (step.clone(), *attempt, action.clone());
        let task = self.tasks.spawn(perform(context, call));
        self.steps.insert(task.id(), Step { path, attempt, action, task });
    }

    /// Drops the action of a step.
    pub(super) fn stop(&mut self, path: &str) {
        for step in self.steps.values().filter(|step| step.path == path) {
            step.task.abort();
        }
    }

    /// How the next action ended; waits for it, for ever when there is none. May be dropped and
    /// called again.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                std::future::pending().await
            };
            let (id, result) = match ended {
                Ok((id, result)) => (id, result),
                Err(error) if error.is_panic() => {
                    tracing::error!(%error, "an action ended in a defect");
                    (error.id(), Err(defect(self.steps.get(&error.id()))))
                }
                Err(stopped) => {
                    self.steps.remove(&stopped.id());
                    continue;
                }
            };
            if let Some(Step { path: step, attempt, .. }) = self.steps.remove(&id) {
                return Input::Performed { step, attempt, result };
            }
        }
    }
}

fn defect(step: Option<&Step>) -> Failure {
    let action = step.map_or("the action", |step| &step.action);
    Failure {
        reason: "InternalError".into(),
        message: format!("{action} ended in a defect of this release; see the plane's log"),
        retryable: true,
    }
}

async fn perform(context: Arc<Context>, call: Call) -> Result<Value, Failure> {
    let key = call.target.as_ref().map(|(key, _)| key.clone());
    if planted::is(Planted::StepRecordedBeforeItsEffect) && call.leave.is_some() {
        let begun = async move { context.actions.perform(&context.objects, call).await };
        drop(tokio::spawn(begun));
        return Ok(Value::Null);
    }
    let Performed { output, observed, declared, kept } =
        context.actions.perform(&context.objects, call).await?;
    // First what came of it, then the step's end: the next step may look at the target.
    let Some(key) = key else { return Ok(output) };
    let came = [kept.map(Came::Kept), declared.map(Came::Declared), observed.map(Came::Observed)];
    for came in came.into_iter().flatten() {
        written(&context.objects, &key, &came).await?;
    }
    Ok(output)
}

/// What came of an action, beside its output.
enum Came {
    /// The plane is to keep it in a Secret.
    Kept(SecretChange),
    /// It is to be so, of the target's spec.
    Declared(Declared),
    /// It is so: fields of the target's status.
    Observed(Map<String, Value>),
}

impl Came {
    /// Answers why it may not be written, if so.
    async fn write(&self, objects: &Objects, key: &Key) -> Result<Result<(), String>, EngineError> {
        match self {
            Self::Kept(change) => secrets::keep(objects, key, change).await,
            Self::Declared(declared) => declare(objects, key, declared).await,
            Self::Observed(seen) => observe::record(objects, key, seen).await.map(Ok),
        }
    }
}

/// Writes what came of an action, however long the store is away: the action was performed, and must not
/// count as failed. The step's deadline ends this.
async fn written(objects: &Objects, key: &Key, came: &Came) -> Result<(), Failure> {
    loop {
        match came.write(objects, key).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(message)) => {
                return Err(Failure { reason: "Refused".into(), message, retryable: false });
            }
            Err(EngineError::Store(cause)) => {
                tracing::warn!(target = %key, %cause, "what came of an action waits for the store");
                sleep(RECORD_PAUSE).await;
            }
            // The term is ending, and this task with it.
            Err(EngineError::Fenced) => std::future::pending().await,
            Err(error @ EngineError::Unreadable(_)) => {
                let message = format!("what came of it could not be recorded: {error}");
                return Err(Failure { reason: "InternalError".into(), message, retryable: true });
            }
        }
    }
}
