//! What is to be done for a row: create its server, leave it, or change it. Pure.

use super::row::Row;
use serde::Serialize;
use serde_json::Value;

/// What a file may say of an object.
const SAID: [&str; 3] = ["/metadata/labels", "/metadata/annotations", "/spec"];

/// What is done for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Action {
    Create,
    /// It is there, and as the file says.
    Keep,
    Update,
    /// It is there and not as the file says, and nobody asked for a change.
    Differ,
}

/// A field that is not as the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    pub(crate) field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is: Option<Value>,
    pub(crate) wanted: Value,
}

/// A row, and what is done for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) action: Action,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<Change>,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// What is done for a row, where that is what is there.
pub(crate) fn act(row: &Row, there: Option<&Value>, update: bool) -> Step {
    let changes = there.map(|there| changes(&row.object, there)).unwrap_or_default();
    let action = match (there, changes.is_empty(), update) {
        (None, ..) => Action::Create,
        (Some(_), true, _) => Action::Keep,
        (Some(_), false, true) => Action::Update,
        (Some(_), false, false) => Action::Differ,
    };
    Step { line: row.line, name: row.name.clone(), action, changes, failed: None }
}

/// What the file says and the object does not. What the file does not say may be anything.
fn changes(wanted: &Value, there: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    for path in SAID {
        if let Some(wanted) = wanted.pointer(path) {
            let field = path.trim_start_matches('/').replace('/', ".");
            differences(&field, wanted, there.pointer(path), &mut changes);
        }
    }
    changes
}

fn differences(field: &str, wanted: &Value, there: Option<&Value>, changes: &mut Vec<Change>) {
    match wanted {
        Value::Object(fields) => {
            for (name, wanted) in fields {
                let there = there.and_then(|there| there.get(name));
                differences(&format!("{field}.{name}"), wanted, there, changes);
            }
        }
        wanted if there == Some(wanted) || (wanted.is_null() && there.is_none()) => {}
        wanted => changes.push(Change {
            field: field.to_owned(),
            is: there.cloned(),
            wanted: wanted.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_file_says_is_compared_and_nothing_else() {
        let row = |spec: Value| Row {
            line: 2,
            name: "m-1".into(),
            object: json!({"metadata": {"name": "m-1", "labels": {"role": "web"}}, "spec": spec}),
            whole: false,
            wrong: false,
        };
        let there = json!({
            "metadata": {"name": "m-1", "uid": "u", "labels": {"role": "web", "added": "later"}},
            "spec": {"serial": "S1", "bmc": {"address": "b", "protocol": "Redfish"}},
        });
        let same = row(json!({"bmc": {"address": "b"}}));
        let other = row(json!({"bmc": {"address": "c"}, "profile": "c510"}));
        assert_eq!(act(&same, None, false).action, Action::Create);
        assert_eq!(act(&same, Some(&there), true).action, Action::Keep);
        assert_eq!(act(&other, Some(&there), false).action, Action::Differ);
        let step = act(&other, Some(&there), true);
        assert_eq!(step.action, Action::Update);
        let change = |field: &str, is: Option<Value>, wanted: Value| Change {
            field: field.into(),
            is,
            wanted,
        };
        assert_eq!(
            step.changes,
            [
                change("spec.bmc.address", Some("b".into()), "c".into()),
                change("spec.profile", None, "c510".into()),
            ]
        );
    }
}
