//! Who asked for something, and who decided on it, as the plane knows them: the plane writes it down, and nobody
//! writes it for another. Pure: the time is passed in.
//!
//! What is decided is compared with this (a policy may want another person than the one who asked), so a caller must
//! have no way to say who they are, which groups they are in, or when they said something.

use super::references::Writer;
use crate::{identity::Caller, status::ApiError};
use quarterdeck_model::{
    Kind as _, KindRef, Time,
    kinds::{Campaign, Run, Schedule},
};
use serde_json::Value;

const REQUESTED_BY: &str = "requestedBy";

/// Writes down who asks for a run, or for what makes runs, and who decided on it.
pub(super) fn record(
    caller: &Caller,
    kind: KindRef,
    new: &mut Value,
    old: Option<&Value>,
    now: Time,
) {
    if ![Run::info(), Campaign::info(), Schedule::info()].contains(&kind) {
        return;
    }
    let requester = requester(caller, kind, new, old);
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match requester {
        Some(requester) => spec.insert(REQUESTED_BY.into(), requester.into()),
        None => spec.remove(REQUESTED_BY),
    };
    let before = old.map(approvals).unwrap_or_default();
    let Some(list) = spec.get_mut("approvals").and_then(Value::as_array_mut) else { return };
    let given = list.iter_mut().filter(|approval| !before.contains(approval));
    for approval in given.filter_map(Value::as_object_mut) {
        let by = approval.get("by").and_then(Value::as_str).filter(|by| !by.is_empty());
        let by = by.unwrap_or(&caller.user).to_owned();
        // What groups another is in is not known here.
        let own = by == caller.user && !caller.groups.is_empty();
        match own {
            true => approval.insert("groups".into(), caller.groups.clone().into()),
            false => approval.remove("groups"),
        };
        approval.insert("by".into(), by.into());
        approval.insert("time".into(), now.to_string().into());
    }
}

/// Who asks for it: whoever created it, and of a schedule whoever wrote last what it starts.
fn requester(caller: &Caller, kind: KindRef, new: &Value, old: Option<&Value>) -> Option<String> {
    let Some(old) = old else { return Some(caller.user.clone()) };
    let before = old.pointer("/spec/requestedBy").and_then(Value::as_str).map(str::to_owned);
    // Whoever only has it rest, or go on, asks for nothing else.
    let starts = ["run", "campaign", "schedule", "timeZone"];
    let part = |of: &Value, field: &str| of.get("spec").and_then(|spec| spec.get(field)).cloned();
    if kind == Schedule::info() && starts.iter().any(|it| part(old, it) != part(new, it)) {
        return Some(caller.user.clone());
    }
    before
}

fn approvals(object: &Value) -> &[Value] {
    object.pointer("/spec/approvals").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn by(approval: &Value) -> &str {
    approval.get("by").and_then(Value::as_str).unwrap_or_default()
}

/// Whether objects of a kind keep what people decided about them.
pub(super) fn can_be_approved(kind: KindRef) -> bool {
    [Run::info(), Campaign::info()].contains(&kind)
}

/// Decisions are given, changed and taken back in one's own name.
pub(super) fn check(writer: &Writer<'_>, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if !can_be_approved(writer.kind) {
        return Ok(());
    }
    let (now, before) = (approvals(new), old.map(approvals).unwrap_or_default());
    if now == before {
        return Ok(());
    }
    let user = &writer.caller.user;
    let given = now.iter().enumerate().filter(|(_, approval)| !before.contains(approval));
    for (at, approval) in given {
        if !writer.is_or_may_be(by(approval)) {
            let why = format!(
                "user {user:?} cannot decide in the name of {:?}; leave it out, or ask for the verb impersonate on that user",
                by(approval)
            );
            return Err(writer.refuse(&format!("spec.approvals[{at}].by"), &why));
        }
    }
    // The last word of each person counts, so their order is part of what they said.
    let of_others = |list: &[Value]| -> Vec<Value> {
        list.iter().filter(|approval| !writer.is_or_may_be(by(approval))).cloned().collect()
    };
    let (now, before) = (of_others(now), of_others(before));
    if now == before {
        return Ok(());
    }
    let gone = before.iter().find(|approval| !now.contains(approval));
    let why = match gone.or(before.first()) {
        Some(approval) => format!(
            "user {user:?} cannot take back the decision of {:?}, or repeat or move it; add another after it",
            by(approval)
        ),
        None => format!("user {user:?} cannot decide for others"),
    };
    Err(writer.refuse("spec.approvals", &why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time() -> Time {
        Time::new("2026-03-01T12:00:00Z".parse().unwrap())
    }

    fn ann() -> Caller {
        Caller { user: "ann".into(), groups: vec!["sre".into()], ..Caller::default() }
    }

    #[test]
    fn the_plane_writes_down_who_decided_in_which_groups_and_when() {
        let run = |list: Value| json!({"spec": {"approvals": list, "requestedBy": "eve"}});
        let old = run(json!([{"step": "a"}]));
        let forged = json!({"step": "b", "groups": ["admins"], "time": "2030-01-01T00:00:00Z"});
        let of_bob = json!({"step": "c", "by": "bob", "groups": ["admins"]});
        let mut new = run(json!([{"step": "a"}, forged, of_bob]));
        new["spec"]["requestedBy"] = json!("bob");
        record(&ann(), Run::info(), &mut new, Some(&old), time());
        let at = "2026-03-01T12:00:00Z";
        assert_eq!(
            new,
            run(json!([
                {"step": "a"},
                {"step": "b", "by": "ann", "groups": ["sre"], "time": at},
                {"step": "c", "by": "bob", "time": at},
            ]))
        );
    }

    #[test]
    fn the_plane_writes_down_who_asked() {
        let asked = |kind: KindRef, spec: Value, old: Option<Value>| {
            let mut new = json!({"spec": spec});
            record(&ann(), kind, &mut new, old.map(|spec| json!({"spec": spec})).as_ref(), time());
            new["spec"]["requestedBy"].clone()
        };
        let forged = json!({"runbook": "r", "requestedBy": "bob"});
        assert_eq!(asked(Run::info(), forged.clone(), None), "ann");
        assert_eq!(asked(Run::info(), json!({"runbook": "r"}), Some(forged.clone())), "bob");
        // One of before the plane wrote it down.
        assert_eq!(asked(Run::info(), forged.clone(), Some(json!({"runbook": "r"}))), Value::Null);
        assert_eq!(asked(Schedule::info(), forged.clone(), Some(forged.clone())), "bob");
        let starts = json!({"run": {"runbook": "r"}, "requestedBy": "bob"});
        let mut other = starts.clone();
        other["run"]["runbook"] = json!("other");
        assert_eq!(asked(Schedule::info(), other, Some(starts.clone())), "ann");
        // Whoever has it rest asks for nothing.
        let mut rests = starts.clone();
        rests["suspend"] = json!(true);
        assert_eq!(asked(Schedule::info(), rests, Some(starts)), "bob");
    }
}
