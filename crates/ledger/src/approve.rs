//! Approvals: whether the persons whom services and places want to be asked have said yes. Whose word counts is
//! decided in the model, as for steps of runbooks; here is who wants to be asked, and what a refusal says.

use crate::{
    book::Book,
    decide::Request,
    refusal::{Blocker, Refusal, whom_to_ask},
    table::Number,
};
use quarterdeck_model::{ApprovalPolicy, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// How it is given, for people.
const HOW: &str = "add {decision: Approved} to spec.approvals of the run, or of its campaign";

impl Request<'_> {
    /// Who approved, as a policy wants it; or what it still wants.
    pub(crate) fn approved(&self, policy: &ApprovalPolicy) -> Result<Vec<&str>, String> {
        let given = self.approvals.iter().filter(|approval| approval.step.is_empty());
        match policy.judge(given, self.requester, self.now) {
            Verdict::Approved(who) => Ok(who),
            Verdict::Wanted(who) => {
                let so_far = match who.as_slice() {
                    [] => "nobody has approved yet".to_owned(),
                    who => format!("so far approved by {}", who.join(", ")),
                };
                Err(format!("wants approval by {policy}; {so_far}; {HOW}"))
            }
            Verdict::Rejected(against) => {
                let by = against.by.as_deref().unwrap_or("someone");
                let note = against.note.as_deref();
                let note = note.map_or_else(String::new, |note| format!(": {note}"));
                Err(format!("wants approval by {policy}; {by} has rejected it{note}"))
            }
        }
    }
}

impl Book {
    /// Who approved, where places that it is in or services that would lose something want that.
    pub(crate) fn approved(
        &self,
        request: &Request<'_>,
        places: &BTreeSet<Number>,
        lost: &BTreeMap<Number, u32>,
    ) -> Result<BTreeSet<String>, Refusal> {
        let mut who = BTreeSet::new();
        let mut wanting: Vec<Refusal> = Vec::new();
        let mut ask = |policy: &ApprovalPolicy, refusal: &dyn Fn(String) -> Refusal| match request
            .approved(policy)
        {
            Ok(approved) => who.extend(approved.into_iter().map(str::to_owned)),
            Err(why) => wanting.push(refusal(why)),
        };
        for (number, place) in places.iter().filter_map(|at| Some((*at, self.places.get(*at)?))) {
            let Some(policy) = &place.approval else { continue };
            ask(policy, &|why| {
                let message = format!("{} {why}", place.owner);
                Refusal { blocker: Blocker::Place(number), message, until: None }
            });
        }
        for (number, service) in lost.keys().filter_map(|at| Some((*at, self.services.get(*at)?))) {
            let Some(policy) = &service.spec.approval_policy else { continue };
            ask(policy, &|why| {
                let mut message = format!("{} {why}", service.name);
                whom_to_ask(&mut message, service);
                Refusal { blocker: Blocker::Service(number), message, until: None }
            });
        }
        // Always the same one is named first.
        match wanting.into_iter().min_by(|one, other| one.message.cmp(&other.message)) {
            Some(refusal) => Err(refusal),
            None => Ok(who),
        }
    }
}
