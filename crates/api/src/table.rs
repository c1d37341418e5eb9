//! Objects as rows and columns (`meta.k8s.io/v1 Table`), by each kind's printer columns. Pure.
//! Source: Kubernetes API concepts, "Receiving resources as Tables".

use jiff::Timestamp;
use quarterdeck_model::{Column, ColumnType, KindRef, Object};
use serde_json::{Value, json};

/// What a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowObject {
    None,
    Metadata,
    Object,
}

impl RowObject {
    /// Reads `includeObject`.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "Metadata") => Some(Self::Metadata),
            Some("None") => Some(Self::None),
            Some("Object") => Some(Self::Object),
            Some(_) => None,
        }
    }
}

/// Column definitions of a kind.
pub(crate) fn columns(kind: KindRef) -> Vec<Value> {
    let mut columns = vec![json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name, unique in its namespace",
    })];
    if kind.kind == "Event" {
        // Kubernetes shows events by what they say, not by their names.
        columns.clear();
    }
    for column in kind.columns {
        columns.push(json!({
            "name": column.name,
            "type": match column.kind {
                ColumnType::Integer | ColumnType::Count => "integer",
                ColumnType::Boolean => "boolean",
                ColumnType::String | ColumnType::Date | ColumnType::Usage => "string",
            },
            "format": "",
            "description": column.description,
            "priority": i32::from(column.wide),
        }));
    }
    if kind.kind == "Event" {
        columns.push(json!({
            "name": "Name", "type": "string", "format": "name", "priority": 1,
            "description": "Name of the event",
        }));
    } else {
        columns.push(json!({
            "name": "Age", "type": "string", "format": "", "priority": 0,
            "description": "Time since it was created",
        }));
    }
    columns
}

/// One row.
pub(crate) fn row(object: &Object, include: RowObject, now: Timestamp) -> Value {
    let value = object.value();
    let event = object.kind.kind == "Event";
    let mut cells = Vec::with_capacity(object.kind.columns.len() + 2);
    if !event {
        cells.push(Value::from(object.name()));
    }
    for column in object.kind.columns {
        cells.push(cell(&value, column, now));
    }
    if event {
        cells.push(Value::from(object.name()));
    } else {
        let created = value.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        cells.push(age(created, now));
    }
    let mut row = json!({"cells": cells});
    let carried = match include {
        RowObject::None => None,
        RowObject::Metadata => Some(metadata(&value)),
        RowObject::Object => Some(value),
    };
    if let (Some(carried), Some(row)) = (carried, row.as_object_mut()) {
        row.insert("object".into(), carried);
    }
    row
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn metadata(value: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": value.get("metadata").cloned().unwrap_or_default(),
    })
}

/// One cell; null, which clients leave blank, when there is nothing to show.
fn cell(object: &Value, column: &Column, now: Timestamp) -> Value {
    let value = lookup(object, column.path).unwrap_or(&Value::Null);
    match (column.kind, value) {
        (ColumnType::Count, Value::Object(map)) => json!(map.len()),
        (ColumnType::Count, Value::Array(list)) => json!(list.len()),
        (ColumnType::Count, _) => json!(0),
        (ColumnType::Usage, of) => json!(usage(of)),
        (_, Value::Null) => Value::Null,
        (ColumnType::Date, value) => age(value.as_str(), now),
        // A reference is shown by what it points to.
        (_, Value::Object(map)) => {
            let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
            // Roles are shown as Kubernetes shows them.
            let kind = match map.get("apiGroup") {
                Some(_) => kind.to_owned(),
                None => kind.to_lowercase(),
            };
            let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
            json!(if kind.is_empty() { name.to_owned() } else { format!("{kind}/{name}") })
        }
        (_, Value::Array(list)) => {
            let texts: Vec<String> = list.iter().map(plain).collect();
            json!(texts.join(","))
        }
        (ColumnType::String, value) => json!(plain(value)),
        (_, value) => value.clone(),
    }
}

/// `count/secrets: 1/5, secrets: 1/7`, as kubectl shows quotas.
fn usage(of: &Value) -> String {
    let hard = of.get("hard").and_then(Value::as_object).into_iter().flatten();
    let used = |name: &str| of.pointer("/used").and_then(|used| used.get(name)).map(plain);
    let texts: Vec<String> = hard
        .map(|(name, most)| format!("{name}: {}/{}", used(name).unwrap_or_default(), plain(most)))
        .collect();
    texts.join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

/// Finds a dotted path; `conditions[type=Ready]` picks from a list of objects.
fn lookup<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let mut at = object;
    for part in path.split('.') {
        let (name, pick) = match part.split_once('[') {
            Some((name, pick)) => (name, Some(pick.trim_end_matches(']'))),
            None => (part, None),
        };
        at = at.get(name)?;
        if let Some((field, wanted)) = pick.and_then(|pick| pick.split_once('=')) {
            at = at.as_array()?.iter().find(|item| {
                item.get(field).and_then(Value::as_str).is_some_and(|value| value == wanted)
            })?;
        }
    }
    Some(at)
}

fn age(since: Option<&str>, now: Timestamp) -> Value {
    match since.and_then(|since| since.parse::<Timestamp>().ok()) {
        Some(since) => json!(human_duration(now.as_second() - since.as_second())),
        None => json!("<unknown>"),
    }
}

/// A length of time as kubectl shows ages: two units while short, one when long.
/// Source: k8s.io/apimachinery `duration.HumanDuration`.
pub(crate) fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".into(),
        -1..=0 => "0s".into(),
        1..=119 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if years < 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Key, Kind as _, Revision, kinds::Server, object};

    #[test]
    fn ages_read_as_kubectl_shows_them() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (187, "3m7s"),
            (7200, "120m"),
            (5 * 3600 + 60, "5h1m"),
            (47 * 3600, "47h"),
            (3 * 86400 + 3600, "3d1h"),
            (100 * 86400, "100d"),
            (9 * 365 * 86400, "9y"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }

    #[test]
    fn a_row_follows_the_columns() {
        let value = json!({
            "metadata": {"name": "s1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"bmc": {"address": "bmc1"}, "location": {"rack": "r1", "unit": 7}},
            "status": {"phase": "Ready", "conditions": [
                {"type": "Ready", "status": "True", "reason": "Inspected"}]},
        });
        let kind = Server::info();
        let body = object::encode(kind, &value);
        let key = Key::new(kind, "", "s1");
        let object = Object::from_body(kind, key, Revision(5), &body).unwrap();
        let now = "2026-01-01T00:03:00Z".parse().unwrap();
        let row = row(&object, RowObject::Metadata, now);
        assert_eq!(row["cells"].as_array().unwrap().len(), columns(kind).len());
        assert_eq!(row["cells"][1], "Ready");
        assert_eq!(row["cells"][2], "True");
        assert_eq!(row["cells"][5], 7);
        assert_eq!(row["cells"].as_array().unwrap().last().unwrap(), "3m");
        assert_eq!(row["object"]["metadata"]["resourceVersion"], "5");
        assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    }
}
