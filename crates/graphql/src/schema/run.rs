//! A run, as its page shows it.

use super::{
    object::{Node, Reference, cost},
    permit::{self, Approval, Permit, count},
    scalars::{Time, number},
};
use crate::{moment, steps};
use async_graphql::{Context, Error, Object, SimpleObject};
use quarterdeck_model::{Kind as _, Object as Stored, kinds};
use serde_json::Value;
use std::sync::Arc;

/// A run and its journal.
pub(crate) struct Run {
    stored: Arc<Stored>,
    run: kinds::Run,
}

/// Label of a campaign's runs: its name.
pub(crate) const CAMPAIGN: &str = "quarterdeck.dev/campaign";

/// What is told when an object does not fit its type.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::new(format!("{error}; it was written by a newer release"))
}

impl Run {
    pub(crate) fn read(stored: Arc<Stored>) -> Result<Self, Error> {
        let run = stored.decode().map_err(unreadable)?;
        Ok(Self { stored, run })
    }
}

/// A run, as its page shows it.
#[Object]
impl Run {
    async fn object(&self) -> Node {
        Node::new(self.stored.clone())
    }

    async fn runbook(&self) -> &str {
        &self.run.spec.runbook
    }

    async fn target(&self) -> Option<Reference> {
        permit::target(self.run.spec.target.as_ref()?, self.stored.namespace())
    }

    /// Of a site, which part: such as `hall north`.
    async fn target_part(&self) -> Option<String> {
        let part = &self.run.spec.target.as_ref()?.part;
        (!part.is_whole()).then(|| part.to_string())
    }

    async fn params(&self, ctx: &Context<'_>) -> Result<Value, Error> {
        moment::of(ctx)?.charge(cost(&self.stored)).await?;
        Ok(Value::Object(self.run.spec.params.clone()))
    }

    async fn phase(&self) -> &str {
        self.stored.field("status.phase").filter(|phase| !phase.is_empty()).unwrap_or("Pending")
    }

    async fn step(&self) -> Option<&str> {
        self.run.status.step.as_deref()
    }

    async fn progress(&self) -> Option<&str> {
        self.run.status.progress.as_deref()
    }

    async fn message(&self) -> Option<&str> {
        self.run.status.message.as_deref()
    }

    async fn requested_by(&self) -> Option<&str> {
        self.run.spec.requested_by.as_deref()
    }

    async fn dry_run(&self) -> bool {
        self.run.spec.dry_run
    }

    async fn suspended(&self) -> bool {
        self.run.spec.suspend
    }

    async fn cancelling(&self) -> bool {
        self.run.spec.cancel && !self.run.status.phase.ended()
    }

    async fn queued_behind(&self) -> Option<Reference> {
        let ahead = self.run.status.queued_behind.as_deref()?;
        Some(Reference::read(kinds::Run::info(), ahead, self.stored.namespace()))
    }

    async fn campaign(&self) -> Option<Reference> {
        let name = self.stored.label(CAMPAIGN)?;
        Some(Reference::read(kinds::Campaign::info(), name, self.stored.namespace()))
    }

    async fn start_time(&self) -> Option<Time> {
        self.run.status.start_time.map(Into::into)
    }

    async fn completion_time(&self) -> Option<Time> {
        self.run.status.completion_time.map(Into::into)
    }

    async fn deadline(&self) -> Option<Time> {
        self.run.status.deadline.map(Into::into)
    }

    /// In the order they began.
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<Step>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(cost(&self.stored)).await?;
        let steps = &self.run.status.steps;
        let now = moment.now;
        let critical = steps::critical(steps, now);
        Ok(steps.iter().zip(critical).map(|(step, critical)| Step::read(step, critical)).collect())
    }

    /// What it has asked of the ledger.
    async fn permits(&self, ctx: &Context<'_>) -> Result<Vec<Permit>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(2).await?;
        Ok(permit::of_run(moment, self.stored.uid()))
    }

    async fn approvals(&self) -> Vec<Approval> {
        permit::approvals(&self.run.spec.approvals)
    }

    async fn outputs(&self, ctx: &Context<'_>) -> Result<Value, Error> {
        moment::of(ctx)?.charge(cost(&self.stored)).await?;
        Ok(Value::Object(self.run.status.outputs.clone().into_iter().collect()))
    }
}

#[derive(SimpleObject)]
pub(crate) struct Step {
    /// Full name, such as `restart/power-off`.
    name: String,
    /// Name of the step that it is part of.
    parent: Option<String>,
    depth: i32,
    phase: String,
    does: Option<String>,
    start_time: Option<Time>,
    end_time: Option<Time>,
    deadline: Option<Time>,
    attempts: i32,
    retry_time: Option<Time>,
    reason: Option<String>,
    message: Option<String>,
    input: Option<Value>,
    output: Option<Value>,
    /// It is on the longest chain of steps, by time.
    critical: bool,
}

impl Step {
    fn read(step: &kinds::StepStatus, critical: bool) -> Self {
        let phase = serde_json::to_value(step.phase).unwrap_or_default();
        Self {
            name: step.name.clone(),
            parent: step.name.rsplit_once('/').map(|(parent, _)| parent.into()),
            depth: number(step.name.matches('/').count()),
            phase: phase.as_str().unwrap_or_default().into(),
            does: step.does.clone(),
            start_time: step.start_time.map(Into::into),
            end_time: step.end_time.map(Into::into),
            deadline: step.deadline.map(Into::into),
            attempts: count(step.attempts),
            retry_time: step.retry_time.map(Into::into),
            reason: step.reason.clone(),
            message: step.message.clone(),
            input: step.input.clone(),
            output: step.output.clone(),
            critical,
        }
    }
}
