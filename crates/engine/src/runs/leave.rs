//! Leave of one run to disrupt its target: a permit, which it asks for by writing it, and which the ledger grants or
//! says in it why not. What is known of it is always read from the permit.

use super::in_use::{InUse, InUses};
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key, Kind as _, ObjectMeta, OwnerReference, Revision, Time,
    kinds::{Permit, PermitPhase, PermitSpec, PermitStatus, Run, RunTarget},
};
use quarterdeck_runbook::Admission;
use quarterdeck_store::{Precondition, World};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};

/// Keeps a permit until its run has ended, whoever deletes it.
const FINALIZER: &str = "quarterdeck.dev/permit";
/// How soon a run that waits for leave looks at its permit though nobody told of a change.
const AGAIN: Duration = Duration::from_secs(15);
/// The same, when it can do nothing before.
const SOON: Duration = Duration::from_secs(1);

/// Shows that the ledger permits a run to disrupt its target. Made here alone.
#[derive(Debug, Clone)]
pub(crate) struct Permitted(#[expect(dead_code, reason = "it is there to be kept")] Option<InUse>);

/// A run that wants to disrupt its target.
pub(super) struct Asker {
    pub(super) run: Key,
    pub(super) uid: Arc<str>,
    pub(super) target: RunTarget,
    pub(super) runbook: String,
    pub(super) dry_run: bool,
}

/// What a run knows of its leave.
pub(super) struct Leave {
    /// None when it has no target: then there is nothing to disrupt.
    asker: Option<Asker>,
    uses: Arc<InUses>,
    state: State,
    /// Kept while the permit may be acted on.
    in_use: Option<InUse>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// There is no permit.
    Quiet,
    /// The ledger has said nothing yet.
    Asked,
    Refused(String),
    Permitted,
}

impl Leave {
    pub(super) fn new(asker: Option<Asker>, uses: Arc<InUses>) -> Self {
        let state = if asker.is_some() { State::Quiet } else { State::Permitted };
        Self { asker, uses, state, in_use: None }
    }

    /// Key of the permit, if the run may have one.
    pub(super) fn permit(&self) -> Option<Key> {
        self.asker.as_ref().map(|asker| permit_of(&asker.run))
    }

    /// What the interpreter is told.
    pub(super) fn admission(&self) -> Admission<'_> {
        match &self.state {
            State::Permitted => Admission::Permitted,
            State::Refused(why) => Admission::Refused(why),
            State::Quiet | State::Asked => Admission::Unknown,
        }
    }

    pub(super) fn permitted(&self) -> Option<Permitted> {
        (self.state == State::Permitted).then(|| Permitted(self.in_use.clone()))
    }

    /// Nothing acts on the permit any more: it may be taken back.
    pub(super) fn let_go(&mut self) {
        (self.state, self.in_use) = (State::Quiet, None);
    }

    /// When to look again, should nobody tell of a change of the permit.
    pub(super) fn again(&self) -> Option<Duration> {
        match self.state {
            State::Asked | State::Refused(_) => Some(AGAIN),
            State::Quiet | State::Permitted => None,
        }
    }

    /// Looks at the permit; answers whether there is news.
    pub(super) fn look(&mut self, world: &World) -> bool {
        let Some(asker) = &self.asker else { return false };
        let state = match permit_in(world, asker) {
            None => State::Quiet,
            Some((_, permit)) => {
                let PermitStatus { phase, message, .. } = permit.status;
                match phase {
                    PermitPhase::WouldBeGranted => State::Permitted,
                    PermitPhase::Granted => {
                        let in_use = self.in_use.take();
                        let in_use = in_use.or_else(|| self.uses.begin(&permit_of(&asker.run)));
                        self.in_use = in_use;
                        // It is being taken back, as one of a run that ended before it was retried.
                        if self.in_use.is_some() { State::Permitted } else { State::Asked }
                    }
                    PermitPhase::Waiting => State::Refused(message.unwrap_or_default()),
                    PermitPhase::Asked => State::Asked,
                }
            }
        };
        if state != State::Permitted {
            self.in_use = None;
        }
        let new = state != self.state;
        self.state = state;
        new
    }

    /// A step waits for leave: asks, unless that was done. `at` is the run as it is recorded: one that was asked to
    /// end meanwhile gets no permit.
    pub(super) async fn want(
        &mut self,
        objects: &Objects,
        at: Revision,
    ) -> Result<(), EngineError> {
        let Some(asker) = &self.asker else { return Ok(()) };
        if permit_in(&objects.store().world(), asker).is_none() {
            let seen = Some((asker.run.clone(), at));
            let precondition = Precondition::AbsentIf { seen, below: None };
            let permit = new_permit(asker, false, objects.now());
            // Should the run have changed, or an earlier one's permit be there, that is seen as news: it was not asked.
            objects.commit(vec![objects.put(&permit, precondition)?]).await?;
            self.state = State::Asked;
        }
        Ok(())
    }

    /// Learns what the ledger would say now, without taking anything; false when it has not said it yet, after a
    /// while.
    pub(super) async fn rehearse(
        &mut self,
        objects: &Objects,
        at: Revision,
        changed: &Notify,
    ) -> Result<bool, EngineError> {
        let said = |state: &State| matches!(state, State::Refused(_) | State::Permitted);
        self.want(objects, at).await?;
        self.look(&objects.store().world());
        if !said(&self.state) {
            let _ = timeout(SOON, changed.notified()).await;
            self.look(&objects.store().world());
        }
        Ok(said(&self.state))
    }

    /// Has a disruption counted that may have begun; false when that is not done yet, after a while.
    pub(super) async fn insist(
        &mut self,
        objects: &Objects,
        changed: &Notify,
    ) -> Result<bool, EngineError> {
        let Some(asker) = &self.asker else { return Ok(true) };
        let world = objects.store().world();
        let mutation = match permit_in(&world, asker) {
            Some((_, permit)) if permit.status.phase == PermitPhase::Granted => None,
            Some((_, permit)) if permit.spec.begun => None,
            Some((at, mut permit)) => {
                permit.spec.begun = true;
                Some(objects.put(&permit, Precondition::At(at))?)
            }
            None => {
                let permit = new_permit(asker, true, objects.now());
                Some(objects.put(&permit, Precondition::Absent)?)
            }
        };
        if let Some(mutation) = mutation {
            objects.commit(vec![mutation]).await?;
        }
        self.look(&objects.store().world());
        if self.state != State::Permitted {
            let _ = timeout(SOON, changed.notified()).await;
            self.look(&objects.store().world());
        }
        Ok(self.state == State::Permitted)
    }
}

/// A permit has the name of its run.
fn permit_of(run: &Key) -> Key {
    Key::new(Permit::info(), &run.namespace, &run.name)
}

/// The permit of a run, unless it is one of an earlier run of that name.
fn permit_in(world: &World, asker: &Asker) -> Option<(Revision, Permit)> {
    let found = world.get(Permit::info(), &asker.run.namespace, &asker.run.name)?;
    let found = Some(found).filter(|found| found.field("spec.runUID") == Some(&*asker.uid))?;
    let mut permit: Permit = found.decode().ok()?;
    permit.metadata.resource_version = None;
    Some((found.revision, permit))
}

fn new_permit(asker: &Asker, begun: bool, now: Time) -> Permit {
    let Asker { run, uid, target, runbook, dry_run } = asker;
    Permit {
        metadata: ObjectMeta {
            name: run.name.to_string(),
            namespace: Some(run.namespace.to_string()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            finalizers: vec![FINALIZER.into()],
            owner_references: vec![OwnerReference {
                api_version: Run::info().api_version(),
                kind: Run::KIND.into(),
                name: run.name.to_string(),
                uid: uid.to_string(),
                controller: Some(true),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: PermitSpec {
            run_uid: uid.to_string(),
            target: target.clone(),
            runbook: runbook.clone(),
            asked: Some(now),
            begun,
            dry_run: *dry_run,
            own_change: false,
        },
        status: PermitStatus::default(),
    }
}
