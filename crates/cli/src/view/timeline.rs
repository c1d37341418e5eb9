//! What happened to an object, in order of time: its events, runs and their steps, conditions, permits, and who
//! changed which fields.

use super::{
    run::{full_name, target},
    table,
    time::{age, between, span},
    words::{count, size},
};
use quarterdeck_model::{
    Condition, Time,
    kinds::{Event, Permit, Run, StepPhase},
};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

/// Fields that are named of a change.
const FIELDS_MAX: usize = 6;

/// One thing that happened.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) time: Time,
    /// `Event`, `Run`, `Step`, `Condition`, `Permit` or `Change`.
    pub(crate) source: &'static str,
    /// Who did or says it.
    pub(crate) who: String,
    pub(crate) what: String,
}

/// Everything known, oldest first.
pub(crate) fn entries(
    object: &Value,
    events: &[Event],
    runs: &[Run],
    permits: &[Permit],
) -> Vec<Entry> {
    let mut all = Vec::new();
    all.extend(created(object));
    all.extend(changes(object));
    all.extend(conditions(object));
    all.extend(events.iter().filter_map(event));
    for run in runs {
        all.extend(run_entries(run));
    }
    all.extend(permits.iter().filter_map(permit));
    // What is told by one moment keeps the order it is told in.
    all.sort_by_key(|entry| entry.time);
    all.dedup();
    all
}

/// Adds what is known of the server of a machine, since the machine is there.
pub(crate) fn join(
    entries: &mut Vec<Entry>,
    server: &Value,
    events: &[Event],
    since: Option<Time>,
) {
    let name = server.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let mut all = conditions(server);
    all.extend(events.iter().filter_map(event));
    for entry in all.into_iter().filter(|entry| Some(entry.time) >= since) {
        let who = match entry.who.as_str() {
            "" => format!("server/{name}"),
            who => format!("server/{name}, {who}"),
        };
        entries.push(Entry { who, ..entry });
    }
    entries.sort_by_key(|entry| entry.time);
}

fn time(object: &Value, path: &str) -> Option<Time> {
    object.pointer(path)?.as_str()?.parse().ok().map(Time::new)
}

fn created(object: &Value) -> Option<Entry> {
    let time = time(object, "/metadata/creationTimestamp")?;
    Some(Entry { time, source: "Change", who: String::new(), what: "created".into() })
}

/// The last change of each who changed something.
fn changes(object: &Value) -> Vec<Entry> {
    let managed = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let change = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut paths = Vec::new();
        fields(entry.get("fieldsV1")?, "", &mut paths);
        let more = paths.len().saturating_sub(FIELDS_MAX);
        paths.truncate(FIELDS_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let did = if text("operation") == "Apply" { "applied" } else { "changed" };
        Some(Entry {
            time: time(entry, "/time")?,
            source: "Change",
            who: text("manager").to_owned(),
            what: format!("{did} {}{more}", paths.join(", ")),
        })
    };
    managed.into_iter().flatten().filter_map(change).collect()
}

/// Dotted paths of the fields that an entry is about.
fn fields(tree: &Value, path: &str, paths: &mut Vec<String>) {
    let inner = tree.as_object().into_iter().flatten();
    let mut inner =
        inner.filter_map(|(key, tree)| Some((key.strip_prefix("f:")?, tree))).peekable();
    if inner.peek().is_none() && !path.is_empty() {
        paths.push(path.to_owned());
    }
    for (name, tree) in inner {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        fields(tree, &path, paths);
    }
}

fn conditions(object: &Value) -> Vec<Entry> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let entry = |it: Condition| Entry {
        time: it.last_transition_time,
        source: "Condition",
        who: String::new(),
        what: format!("{} became {:?}: {}: {}", it.kind, it.status, it.reason, it.message),
    };
    all.into_iter().flatten().filter_map(|it| Condition::deserialize(it).ok()).map(entry).collect()
}

fn event(event: &Event) -> Option<Entry> {
    let time = event.event_time.or(event.last_timestamp).or(event.metadata.creation_timestamp)?;
    let many = match event.count {
        Some(many) if many > 1 => format!(" ({many} times)"),
        _ => String::new(),
    };
    let what = format!("{}: {}{many}", event.reason, event.message);
    Some(Entry { time, source: "Event", who: event.source.component.clone(), what })
}

fn run_entries(run: &Run) -> Vec<Entry> {
    let (name, status) = (full_name(run), &run.status);
    let entry = |time, source, what| Entry { time, source, who: format!("run/{name}"), what };
    let mut all = Vec::new();
    let queued =
        |time| entry(time, "Run", format!("{} lined up for {}", run.spec.runbook, target(run)));
    all.extend(status.queued_time.map(queued));
    let begun = |time| entry(time, "Run", format!("{} began on {}", run.spec.runbook, target(run)));
    all.extend(status.start_time.map(begun));
    for step in &status.steps {
        let does = step.does.as_ref().map_or_else(String::new, |does| format!(" ({does})"));
        let begins = |time| entry(time, "Step", format!("step {}{does} began", step.name));
        all.extend(step.start_time.map(begins));
        let ends = |time| {
            let took =
                step.start_time.map(|start| format!(" after {}", span(between(start, time))));
            let why = step.message.as_ref().filter(|_| step.phase != StepPhase::Succeeded);
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            let took = took.unwrap_or_default();
            entry(time, "Step", format!("step {} {:?}{took}{why}", step.name, step.phase))
        };
        all.extend(step.end_time.map(ends));
    }
    let ended = |time| {
        let message = status.message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        entry(time, "Run", format!("{} {:?}{message}", run.spec.runbook, status.phase))
    };
    all.extend(status.completion_time.map(ended));
    all
}

fn permit(permit: &Permit) -> Option<Entry> {
    let namespace = permit.metadata.namespace.as_deref().unwrap_or_default();
    let (on, instances) = (&permit.spec.target, size(permit.status.instances));
    Some(Entry {
        time: permit.status.granted?,
        source: "Permit",
        who: format!("run/{namespace}/{}", permit.metadata.name),
        what: format!("may disrupt {} {} with {}", on.kind, on.name, count(instances, "instance")),
    })
}

/// The same as text.
pub(crate) fn text(entries: &[Entry], now: Time) -> String {
    let row = |entry: &Entry| {
        vec![
            Time::seconds(entry.time.timestamp()).to_string(),
            age(Some(entry.time), now),
            entry.source.to_owned(),
            entry.who.clone(),
            entry.what.clone(),
        ]
    };
    let heading = ["TIME", "AGO", "SOURCE", "WHO", "WHAT"];
    table::table(&heading, &entries.iter().map(row).collect::<Vec<_>>())
}
