//! Steps that wait for people: whose word counts is said by the step's policy, and decided in the model, as for the
//! ledger.

use super::{Frame, Machine, journal};
use crate::definition::Node;
use quarterdeck_model::{ApprovalPolicy, Verdict, kinds::Approval};
use serde_json::Value;

/// What stands before the names of those who have approved already.
const SO_FAR: &str = "; so far approved by ";

impl Machine<'_> {
    /// Goes on with a step that waits for people: they have approved, one is against it, or it waits on.
    pub(super) fn approve(
        &mut self,
        node: &Node,
        policy: &ApprovalPolicy,
        path: &str,
        at: usize,
        frame: &Frame<'_>,
    ) {
        let run = self.view.run;
        let given = run.approvals.iter().filter(|given| given.step == path);
        match policy.judge(given.clone(), run.requested_by.as_deref(), self.now) {
            Verdict::Approved(who) => {
                let last = given.rev().find(|given| who.contains(&by(given)));
                let note = last.and_then(|given| given.note.as_deref());
                let note = note.map_or_else(String::new, |note| format!(": {note}"));
                let who = names(&who);
                self.note(false, "Approved", format!("step {path}: approved by {who}{note}"));
                self.succeed(node, path, at, frame, Value::Null);
            }
            Verdict::Rejected(against) => {
                let note = against.note.as_deref();
                let note = note.map_or_else(String::new, |note| format!(": {note}"));
                let by = names(&[by(against)]);
                self.fail(path, at, "Rejected", format!("rejected by {by}{note}"));
            }
            Verdict::Wanted(who) => {
                self.say_who_approved(path, at, &who);
                self.wait(path, at, "ApprovalRequested");
            }
        }
    }

    /// Says in the journal, and once in the story, who has approved so far.
    fn say_who_approved(&mut self, path: &str, at: usize, who: &[&str]) {
        let Some(message) = self.journal.entry(at).and_then(|entry| entry.message.as_deref())
        else {
            return;
        };
        let asked = message.split(SO_FAR).next().unwrap_or_default().to_owned();
        let new = match who {
            [] => asked,
            who => format!("{asked}{SO_FAR}{}", names(who)),
        };
        if new == message {
            return;
        }
        if !who.is_empty() && at < self.known {
            let who = names(who);
            self.note(false, "Approved", format!("step {path}: so far approved by {who}"));
        }
        if let Some(entry) = self.journal.entry_mut(at) {
            entry.message = Some(journal::bounded(new));
        }
    }
}

fn by(approval: &Approval) -> &str {
    approval.by.as_deref().unwrap_or_default()
}

/// Names of persons; of one whom nobody wrote down, that.
fn names(who: &[&str]) -> String {
    let named = who.iter().map(|name| if name.is_empty() { "someone" } else { name });
    named.collect::<Vec<_>>().join(", ")
}
