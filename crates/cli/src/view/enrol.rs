//! What enrolling servers from a file would do, or did.

use super::words::count;
use crate::enrol::{Action, Change, Step};
use serde::Serialize;
use serde_json::Value;

/// Servers that are named one by one; a fleet is counted.
const SHOWN_MAX: usize = 50;

/// All rows of a file, and what is done for each.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Enrolment {
    pub(crate) kind: &'static str,
    pub(crate) file: String,
    /// It is only a plan.
    pub(crate) dry_run: bool,
    pub(crate) servers: Vec<Step>,
    /// Rows that were left out, since something is wrong with them.
    pub(crate) left_out: usize,
}

impl Enrolment {
    /// Rows for which that was to be done, and was.
    fn done(&self, action: Action) -> usize {
        self.servers.iter().filter(|it| it.action == action && it.failed.is_none()).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.servers.iter().filter(|it| it.failed.is_some()).count()
    }
}

/// The same as text; `wide` names all.
pub(crate) fn text(enrolment: &Enrolment, wide: bool) -> String {
    // What was done as it should be is only counted, unless it is a plan.
    let told = |step: &&Step| {
        let news = step.failed.is_some() || step.action == Action::Differ;
        news || wide || (enrolment.dry_run && step.action != Action::Keep)
    };
    let most = if wide { usize::MAX } else { SHOWN_MAX };
    let all: Vec<&Step> = enrolment.servers.iter().filter(told).collect();
    let hidden = all.len().saturating_sub(most);
    let mut text: String = all.into_iter().take(most).map(|step| line(step) + "\n").collect();
    if hidden > 0 {
        text.push_str(&format!("  … {hidden} more; -o wide shows all\n"));
    }
    text + &summary(enrolment) + "\n"
}

fn line(step: &Step) -> String {
    let name = &step.name;
    let changes: Vec<String> = step.changes.iter().map(change).collect();
    let changes = changes.join("; ");
    if let Some(why) = &step.failed {
        return format!("✗ server {name}: {why}");
    }
    match step.action {
        Action::Create => format!("+ server {name}"),
        Action::Keep => format!("= server {name}"),
        Action::Update => format!("~ server {name}: {changes}"),
        Action::Differ => format!("◌ server {name} differs: {changes}; --update changes it"),
    }
}

fn change(change: &Change) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let is = change.is.as_ref().map_or_else(|| "not set".into(), shown);
    format!("{} is {is}, and {} is wanted", change.field, shown(&change.wanted))
}

/// `servers.csv: 5 servers: 3 created, 1 left as it is, 1 differs`.
fn summary(enrolment: &Enrolment) -> String {
    let words = match enrolment.dry_run {
        true => ["to be created", "to be changed"],
        false => ["created", "changed"],
    };
    let [created, changed] = words;
    let parts = [
        (enrolment.done(Action::Create), created),
        (enrolment.done(Action::Update), changed),
        (enrolment.done(Action::Keep), "there already, and left"),
        (enrolment.done(Action::Differ), "there already and not as the file says, and left"),
        (enrolment.failed(), "refused"),
        (enrolment.left_out, "left out"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, what)| format!("{number} {what}")).collect();
    let all = count(enrolment.servers.len() + enrolment.left_out, "server");
    match parts.is_empty() {
        true => format!("{}: {all}", enrolment.file),
        false => format!("{}: {all}: {}", enrolment.file, parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, action: Action, failed: Option<&str>) -> Step {
        let changes = match action {
            Action::Update | Action::Differ => vec![Change {
                field: "spec.location.unit".into(),
                is: Some(4.into()),
                wanted: 5.into(),
            }],
            _ => Vec::new(),
        };
        Step { line: 2, name: name.into(), action, changes, failed: failed.map(str::to_owned) }
    }

    #[test]
    fn a_plan_names_all_and_a_result_what_matters() {
        let mut enrolment = Enrolment {
            kind: "Enrolment",
            file: "servers.csv".into(),
            dry_run: true,
            servers: vec![
                step("m-1", Action::Create, None),
                step("m-2", Action::Keep, None),
                step("m-3", Action::Update, None),
                step("m-4", Action::Differ, None),
            ],
            left_out: 0,
        };
        let change = "spec.location.unit is 4, and 5 is wanted";
        assert_eq!(
            text(&enrolment, false),
            format!(
                "+ server m-1\n~ server m-3: {change}\n◌ server m-4 differs: {change}; --update changes it\nservers.csv: 4 \
                 servers: 1 to be created, 1 to be changed, 1 there already, and left, 1 there already and not as the \
                 file says, and left\n"
            )
        );
        enrolment.dry_run = false;
        enrolment.servers = vec![
            step("m-1", Action::Create, None),
            step("m-2", Action::Create, Some("the plane refuses it")),
        ];
        enrolment.left_out = 3;
        assert_eq!(
            text(&enrolment, false),
            "✗ server m-2: the plane refuses it\nservers.csv: 5 servers: 1 created, 1 refused, 3 left out\n"
        );
    }
}
