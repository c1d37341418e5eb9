//! Objects as rows and columns (`meta.k8s.io/v1 Table`), by each kind's printer columns, and as their
//! metadata. Written from the JSON that objects have, of which no more is read than is shown. Pure.
//! Source: Kubernetes API concepts, "Receiving resources as Tables".

use jiff::Timestamp;
use quarterdeck_model::{Column, ColumnType, KindRef, Object, Picker, pick};
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

/// Writes what stands before the first row of a Table; without definitions of its columns where a
/// client has them already.
pub(crate) fn begin(version: &str, kind: KindRef, defined: bool, meta: &Value, to: &mut Vec<u8>) {
    let columns = if defined { Value::from(columns(kind)) } else { Value::Null };
    let head = format!(
        r#"{{"apiVersion":"{version}","columnDefinitions":{columns},"kind":"Table","metadata":{meta},"rows":["#
    );
    to.extend_from_slice(head.as_bytes());
}

/// What stands behind the last row.
pub(crate) const END: &[u8] = b"]}";

/// Writes objects of one kind as rows.
pub(crate) struct Rows {
    kind: KindRef,
    include: RowObject,
    now: Timestamp,
    /// Finds the metadata, when it was created, and what each column is made of.
    picker: Picker,
    /// For each column, how it chooses from a list, if it does.
    choices: Vec<Option<Choice>>,
}

/// An item of a list, chosen by what a field of it says: `conditions[type=Ready].status`.
struct Choice {
    wanted: &'static str,
    /// Finds the field that says it, and the one that is shown.
    picker: Picker,
}

impl Choice {
    /// The list of a column, and what is chosen from it.
    fn of(path: &'static str) -> Option<(&'static str, Self)> {
        let (list, rest) = path.split_once('[')?;
        let (said, shown) = rest.split_once("].")?;
        let (field, wanted) = said.split_once('=')?;
        Some((list, Self { wanted, picker: Picker::of(&[field, shown]) }))
    }

    fn from<'j>(&self, list: &'j str) -> Option<&'j str> {
        pick::items(list).into_iter().find_map(|item| {
            match self.picker.pick(item.as_bytes())[..] {
                [said, shown] if read(said).as_str() == Some(self.wanted) => Some(shown),
                _ => None,
            }
        })?
    }
}

impl Rows {
    pub(crate) fn new(kind: KindRef, include: RowObject, now: Timestamp) -> Self {
        let mut paths = vec!["metadata", "metadata.creationTimestamp"];
        let mut choices = Vec::new();
        for Column { path, .. } in kind.columns {
            let (field, choice) = match Choice::of(path) {
                Some((list, choice)) => (list, Some(choice)),
                None => (*path, None),
            };
            paths.push(field);
            choices.push(choice);
        }
        Self { kind, include, now, picker: Picker::of(&paths), choices }
    }

    /// Writes the row of `object`.
    pub(crate) fn write(&self, object: &Object, to: &mut Vec<u8>) {
        let mut found = self.picker.pick(&object.json).into_iter();
        let (meta, created) = (found.next().flatten(), found.next().flatten());
        let name = Value::from(object.name());
        let event = self.kind.kind == "Event";
        to.extend_from_slice(br#"{"cells":["#);
        if !event {
            push(to, &name);
            to.push(b',');
        }
        for ((column, choice), json) in self.kind.columns.iter().zip(&self.choices).zip(found) {
            let json = match choice {
                Some(choice) => json.and_then(|list| choice.from(list)),
                None => json,
            };
            push(to, &cell(&read(json), column, self.now));
            to.push(b',');
        }
        if event {
            push(to, &name);
        } else {
            push(to, &age(read(created).as_str(), self.now));
        }
        to.push(b']');
        match self.include {
            RowObject::None => {}
            RowObject::Metadata => {
                to.extend_from_slice(br#","object":"#);
                partial(meta.unwrap_or("null"), to);
            }
            RowObject::Object => {
                to.extend_from_slice(br#","object":"#);
                to.extend_from_slice(&object.json);
            }
        }
        to.push(b'}');
    }
}

fn push(to: &mut Vec<u8>, cell: &Value) {
    // Trees of JSON can always be written, and memory takes what is written to it.
    let _ = serde_json::to_writer(to, cell);
}

/// A value that was picked.
fn read(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Writes objects as their metadata.
pub(crate) struct Metadata(Picker);

impl Metadata {
    pub(crate) fn new() -> Self {
        Self(Picker::of(&["metadata"]))
    }

    /// Writes the `PartialObjectMetadata` of `object`.
    pub(crate) fn write(&self, object: &Object, to: &mut Vec<u8>) {
        let meta = self.0.pick(&object.json).into_iter().next().flatten();
        partial(meta.unwrap_or("null"), to);
    }
}

/// Writes a `PartialObjectMetadata` with that JSON as its metadata.
pub(crate) fn partial(meta: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(
        br#"{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":"#,
    );
    to.extend_from_slice(meta.as_bytes());
    to.push(b'}');
}

/// One cell, of what it shows; null, which clients leave blank, when there is nothing to show.
fn cell(value: &Value, column: &Column, now: Timestamp) -> Value {
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
        let row = |include| {
            let mut text = Vec::new();
            Rows::new(kind, include, now).write(&object, &mut text);
            serde_json::from_slice::<Value>(&text).unwrap()
        };
        assert_eq!(row(RowObject::None).as_object().unwrap().len(), 1);
        assert_eq!(row(RowObject::Object)["object"], object.value());
        let row = row(RowObject::Metadata);
        assert_eq!(row["object"]["metadata"], object.value()["metadata"]);
        assert_eq!(row["cells"].as_array().unwrap().len(), columns(kind).len());
        assert_eq!(row["cells"][1], "Ready");
        assert_eq!(row["cells"][2], "True");
        assert_eq!(row["cells"][6], 7);
        assert_eq!(row["cells"].as_array().unwrap().last().unwrap(), "3m");
        assert_eq!(row["object"]["metadata"]["resourceVersion"], "5");
        assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    }
}
