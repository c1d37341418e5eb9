//! Servers from YAML: lists of rows with the columns that CSV has, or whole manifests. Pure.

use super::{
    Mistake, ROWS_MAX, Read,
    row::{self, Cell, Row},
};
use quarterdeck_model::{Kind as _, kinds::Server};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};
use serde_saphyr::Spanned;
use std::{collections::BTreeMap, fmt};

/// Nodes of a file: each row has at most some tens.
const NODES_MAX: usize = ROWS_MAX * 50;
/// Parts of a manifest that say what is wanted. What the plane itself has written is passed over.
const METADATA: [&str; 3] = ["name", "labels", "annotations"];

type Entry = BTreeMap<String, Spanned<Value>>;

/// A list of servers, or one.
enum Document {
    List(Vec<Spanned<Entry>>),
    One(Entry),
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfDocument)
    }
}

struct OfDocument;

impl<'de> Visitor<'de> for OfDocument {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of servers, or a Server")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = list.next_element()? {
            all.push(entry);
        }
        Ok(Document::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Document, A::Error> {
        Entry::deserialize(MapAccessDeserializer::new(map)).map(Document::One)
    }
}

/// The rows of a text.
pub(super) fn read(text: &str) -> Read {
    let mut read = Read::default();
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_events: NODES_MAX * 2, max_documents: ROWS_MAX },
    };
    let documents: Vec<Spanned<Document>> =
        match serde_saphyr::from_multiple_with_options(text, options) {
            Ok(documents) => documents,
            Err(error) => {
                let line = error.location().map_or(1, |at| lines(at.line()));
                // The first line of it says what; those after show the place.
                let why = error.without_snippet().to_string();
                let why = why.lines().next().unwrap_or_default().to_owned();
                read.mistakes.push(Mistake::of_line(line, format!("this cannot be read: {why}")));
                return read;
            }
        };
    for document in documents {
        let line = lines(document.referenced.line());
        match document.value {
            Document::One(entry) => one(line, entry, &mut read),
            Document::List(all) => {
                for entry in all {
                    one(lines(entry.referenced.line()), entry.value, &mut read);
                }
            }
        }
    }
    read
}

fn lines(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

fn one(line: usize, entry: Entry, read: &mut Read) {
    if entry.contains_key("kind") || entry.contains_key("spec") {
        let object: Value = entry.into_iter().map(|(name, it)| (name, it.value)).collect();
        return manifest(line, &object, read);
    }
    let mut cells = Vec::new();
    for (column, it) in &entry {
        let line = lines(it.referenced.line());
        match row::known(column) {
            Ok(()) => cells.push(Cell { column, line, value: it.value.clone() }),
            Err(why) => read.mistakes.push(Mistake::new(line, column, why)),
        }
    }
    let unknown = cells.len() < entry.len();
    let mut row = row::row(line, cells.into_iter(), &mut read.mistakes);
    row.wrong |= unknown;
    read.rows.push(row);
}

/// A whole Server, or a list of them as kubectl prints one.
fn manifest(line: usize, object: &Value, read: &mut Read) {
    let says = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    if says("kind") == "List" {
        let items = object.get("items").and_then(Value::as_array);
        items.into_iter().flatten().for_each(|item| manifest(line, item, read));
        return;
    }
    let (version, kind) = (Server::info().api_version(), Server::KIND);
    for (field, wanted) in [("apiVersion", version.as_str()), ("kind", kind)] {
        if says(field) != wanted {
            let why = format!("{:?} must be {wanted:?}", says(field));
            read.mistakes.push(Mistake::new(line, field, why));
            return;
        }
    }
    let mut wanted = json!({
        "apiVersion": version, "kind": kind, "metadata": {},
        "spec": object.get("spec").cloned().unwrap_or_else(|| json!({})),
    });
    if let Some(metadata) = wanted.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        for field in METADATA {
            let said = object.get("metadata").and_then(|metadata| metadata.get(field));
            metadata.extend(said.map(|said| (field.to_owned(), said.clone())));
        }
    }
    let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let name = name.to_owned();
    read.rows.push(Row { line, name, object: wanted, whole: true, wrong: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_manifests_are_servers() {
        let text = "# those of May\n- name: m-1\n  bmc: 10.0.4.17\n  unit: 5\n  rack: r-17\n  labels: {role: web}\n\
                    - {name: m-2, bmc: 10.0.4.18, labels: a=b;c=d}\n---\n\
                    apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Server\n\
                    metadata: {name: m-3, uid: x, labels: {a: b}}\n\
                    spec: {bmc: {address: 10.0.4.19}}\nstatus: {phase: Ready}\n";
        let read = read(text);
        assert_eq!(read.mistakes, []);
        let rows: Vec<(usize, &str)> = read.rows.iter().map(|it| (it.line, &*it.name)).collect();
        assert_eq!(rows, [(2, "m-1"), (7, "m-2"), (9, "m-3")]);
        assert_eq!(read.rows[0].object["spec"]["location"], json!({"rack": "r-17", "unit": 5}));
        assert_eq!(read.rows[0].object["metadata"]["labels"], json!({"role": "web"}));
        assert_eq!(read.rows[1].object["metadata"]["labels"], json!({"a": "b", "c": "d"}));
        assert_eq!(
            read.rows[2].object,
            json!({
                "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Server",
                "metadata": {"name": "m-3", "labels": {"a": "b"}},
                "spec": {"bmc": {"address": "10.0.4.19"}},
            })
        );
    }

    #[test]
    fn mistakes_have_their_line() {
        let told = |text: &str| {
            let read = read(text);
            read.mistakes.iter().map(|mistake| mistake.text("f")).collect::<Vec<_>>()
        };
        assert_eq!(
            told("- name: m-1\n  bmc: b\n  unit: x\n  rak: r\n- name: [m]\n  serial: 0017\n"),
            [
                "f:4: rak: there is no such column; did you mean rack?",
                "f:3: unit: \"x\" must be a whole number, from 1",
                "f:5: name: [\"m\"] must be text",
                "f:6: serial: it is text, and must be in quotes to be one",
            ]
        );
        assert_eq!(
            told("kind: Rack\n"),
            ["f:1: apiVersion: \"\" must be \"inventory.quarterdeck.dev/v1alpha1\""]
        );
        assert!(told("- name: 'm\n")[0].contains("this cannot be read"));
        assert!(told("just text\n")[0].contains("this cannot be read"));
    }

    #[test]
    fn fuzz_yaml_of_servers() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = read(&String::from_utf8_lossy(bytes));
        });
    }
}
