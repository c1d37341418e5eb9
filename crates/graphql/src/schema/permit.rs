//! Permits and approvals, as they are told.

use super::{
    object::Reference,
    scalars::{Time, number},
};
use async_graphql::SimpleObject;
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{self, Approval as Given, Decision, RunTarget},
};

#[derive(SimpleObject)]
pub(crate) struct Permit {
    reference: Reference,
    phase: String,
    /// Who blocks, and why.
    message: Option<String>,
    asked: Option<Time>,
    granted: Option<Time>,
    target: Option<Reference>,
    servers: i32,
    instances: i32,
    services: Vec<PermittedLoss>,
    approved_by: Vec<String>,
}

#[derive(SimpleObject)]
pub(crate) struct PermittedLoss {
    service: String,
    instances: i32,
}

#[derive(SimpleObject)]
pub(crate) struct Approval {
    step: Option<String>,
    decision: String,
    by: Option<String>,
    time: Option<Time>,
    note: Option<String>,
}

/// A count for a client.
pub(crate) fn count(count: u32) -> i32 {
    number(count as usize)
}

impl Permit {
    /// None when it is written by a newer release.
    pub(crate) fn read(object: &Object) -> Option<Self> {
        let permit: kinds::Permit = object.decode().ok()?;
        let status = permit.status;
        let loss = |loss: kinds::PermittedLoss| PermittedLoss {
            service: loss.service,
            instances: count(loss.instances),
        };
        Some(Self {
            reference: Reference::to(object),
            phase: object.field("status.phase").unwrap_or_default().into(),
            message: status.message,
            asked: permit.spec.asked.map(Into::into),
            granted: status.granted.map(Into::into),
            target: target(&permit.spec.target, object.namespace()),
            servers: count(status.servers),
            instances: count(status.instances),
            services: status.services.into_iter().map(loss).collect(),
            approved_by: status.approved_by,
        })
    }
}

impl Permit {
    /// Whether it takes instances of a service, or waits for it.
    pub(crate) fn is_of(&self, service: &str) -> bool {
        let named = |message: &String| {
            let mut words =
                message.split(|letter: char| letter.is_whitespace() || ":;,".contains(letter));
            words.any(|word| word == service)
        };
        self.services.iter().any(|loss| loss.service == service) || self.message.iter().any(named)
    }
}

/// What a run or a permit in a namespace is aimed at.
pub(crate) fn target(target: &RunTarget, namespace: &str) -> Option<Reference> {
    let kind = crate::links::kind(&target.kind)?;
    let namespace = kind.namespaced().then(|| namespace.to_owned());
    Some(Reference { kind: target.kind.clone(), namespace, name: target.name.clone() })
}

/// Approvals as they were given.
pub(crate) fn approvals(given: &[Given]) -> Vec<Approval> {
    let approval = |given: &Given| Approval {
        step: Some(given.step.clone()).filter(|step| !step.is_empty()),
        decision: match given.decision {
            Decision::Approved => "Approved",
            Decision::Rejected => "Rejected",
        }
        .into(),
        by: given.by.clone(),
        time: given.time.map(Into::into),
        note: given.note.clone(),
    };
    given.iter().map(approval).collect()
}

/// The permits of a run.
pub(crate) fn of_run(moment: &crate::moment::Moment, uid: &str) -> Vec<Permit> {
    let found = moment.with_fields(kinds::Permit::info(), &format!("spec.runUID={uid}"));
    found.iter().filter_map(|permit| Permit::read(permit)).collect()
}
