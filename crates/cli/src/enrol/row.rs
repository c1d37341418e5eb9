//! A row of a file as the object it asks for: its columns, and the fields they stand for. Pure.

use super::{Mistake, Read, csv};
use crate::near::near;
use quarterdeck_model::{Kind as _, kinds::Server};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A server that a file describes.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// Only what the file says: kind, name, labels, annotations, spec.
    pub(crate) object: Value,
    /// It is a whole manifest, and not columns.
    pub(crate) whole: bool,
    /// Something is wrong with it.
    pub(crate) wrong: bool,
}

/// Columns, and the fields they stand for.
const COLUMNS: [(&str, &str); 10] = [
    ("name", "metadata.name"),
    ("bmc", "spec.bmc.address"),
    ("credentials", "spec.bmc.credentialsSecretRef"),
    ("serial", "spec.serial"),
    ("rack", "spec.location.rack"),
    ("unit", "spec.location.unit"),
    ("height", "spec.location.height"),
    ("profile", "spec.profile"),
    ("hostAddress", "spec.hostAddress"),
    ("labels", "metadata.labels"),
];
/// Those without which there is no server.
const REQUIRED: [&str; 2] = ["name", "bmc"];

/// The column that stands for a field, if one does.
pub(crate) fn column_of(path: &str) -> Option<&'static str> {
    let within = |field: &str| {
        path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    COLUMNS.iter().find(|(_, field)| within(field)).map(|(column, _)| *column)
}

/// The field that a sentence of the plane is about.
pub(crate) fn column_in(sentence: &str) -> Option<&'static str> {
    let about = |path: &str| sentence.contains(&format!("{path}: "));
    COLUMNS.iter().map(|(_, path)| *path).find(|path| about(path))
}

/// The rows of CSV under a header line.
pub(super) fn of_csv(text: &str) -> Read {
    let mut read = Read::default();
    let records = match csv::records(text) {
        Ok(records) => records,
        Err(csv::Malformed { line, why }) => {
            read.mistakes.push(Mistake::of_line(line, format!("this is no CSV: {why}")));
            return read;
        }
    };
    let mut records = records.into_iter();
    let Some(header) = records.next() else {
        let names: Vec<&str> = COLUMNS.iter().map(|(column, _)| *column).collect();
        let why = format!("the file is empty; its first line names columns: {}", names.join(","));
        read.mistakes.push(Mistake::of_line(1, why));
        return read;
    };
    let columns = columns(&header, &mut read.mistakes);
    if !read.mistakes.is_empty() {
        return read;
    }
    for record in records {
        let line = record.first().map_or(0, |field| field.line);
        if record.len() != columns.len() {
            let (has, wanted) = (record.len(), columns.len());
            let why = format!("{has} fields, and the first line names {wanted} columns");
            read.mistakes.push(Mistake::of_line(line, why));
            continue;
        }
        let cells = columns.iter().zip(record);
        let cells = cells.map(|(column, field)| Cell {
            column,
            line: field.line,
            value: Value::from(field.text.trim()),
        });
        read.rows.push(row(line, cells, &mut read.mistakes));
    }
    read
}

/// The columns that a header names.
fn columns(header: &[csv::Field], mistakes: &mut Vec<Mistake>) -> Vec<String> {
    let line = header.first().map_or(1, |field| field.line);
    let mut seen = BTreeSet::new();
    let names: Vec<String> = header.iter().map(|field| field.text.trim().to_owned()).collect();
    for name in &names {
        if let Err(why) = known(name) {
            mistakes.push(Mistake::new(line, name, why));
        } else if !seen.insert(name.as_str()) {
            mistakes.push(Mistake::new(line, name, "the column is there twice"));
        }
    }
    for required in REQUIRED.into_iter().filter(|name| !seen.contains(name)) {
        mistakes.push(Mistake::new(line, required, "the column is required"));
    }
    names
}

/// A column must be one that there is.
pub(super) fn known(name: &str) -> Result<(), String> {
    let names = COLUMNS.iter().map(|(column, _)| *column);
    if names.clone().any(|column| column == name) {
        return Ok(());
    }
    let next = match near(name, names.clone()).as_slice() {
        [] => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Err(format!("there is no such column; {next}"))
}

/// What is written in one column of one row.
pub(super) struct Cell<'a> {
    pub(super) column: &'a str,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// The object that a row asks for. What cannot be read is a mistake, and left out.
pub(super) fn row<'a>(
    line: usize,
    cells: impl Iterator<Item = Cell<'a>>,
    mistakes: &mut Vec<Mistake>,
) -> Row {
    let mut object = json!({
        "apiVersion": Server::info().api_version(), "kind": Server::KIND,
        "metadata": {"name": ""}, "spec": {"bmc": {"address": ""}},
    });
    let before = mistakes.len();
    for Cell { column, line, value } in cells {
        // A cell that is empty says nothing.
        if value.is_null() || value.as_str() == Some("") {
            continue;
        }
        let path = COLUMNS.iter().find(|(name, _)| *name == column).map(|(_, path)| *path);
        match (path, meaning(column, &value)) {
            (Some(path), Ok(value)) => put(&mut object, path, value),
            (_, Err(why)) => mistakes.push(Mistake::new(line, column, why)),
            (None, _) => {}
        }
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let (name, wrong) = (name.to_owned(), mistakes.len() > before);
    Row { line, name, object, whole: false, wrong }
}

/// The value of a field.
fn meaning(column: &str, value: &Value) -> Result<Value, String> {
    let text = match (column, value) {
        ("labels", Value::Object(_)) => return Ok(value.clone()),
        (_, Value::String(text)) => text.clone(),
        ("unit" | "height", Value::Number(number)) => number.to_string(),
        // YAML reads 0017 as 17, and a serial number would be another.
        (_, Value::Number(_) | Value::Bool(_)) => {
            return Err("it is text, and must be in quotes to be one".into());
        }
        (_, other) => return Err(format!("{other} must be text")),
    };
    match column {
        "unit" | "height" => {
            let number = text.parse::<u16>().map(Value::from);
            number.map_err(|_not_one| format!("{text:?} must be a whole number, from 1"))
        }
        "credentials" => match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(json!({"namespace": namespace, "name": name}))
            }
            _ => Err(format!("{text:?} must be NAMESPACE/NAME of a Secret")),
        },
        "labels" => labels(&text),
        _ => Ok(text.into()),
    }
}

/// `role=web;site=ams1`.
fn labels(text: &str) -> Result<Value, String> {
    let mut all = Map::new();
    for label in text.split(';').map(str::trim).filter(|label| !label.is_empty()) {
        let Some((key, value)) = label.split_once('=') else {
            return Err(format!("{label:?} must be KEY=VALUE; write several as a=b;c=d"));
        };
        if all.insert(key.trim().to_owned(), value.trim().into()).is_some() {
            return Err(format!("label {key:?} is there twice"));
        }
    }
    Ok(all.into())
}

/// Sets the field of a path, making what is around it.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for name in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(name).or_insert(Value::Null);
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        of_csv(text).mistakes.iter().map(|mistake| mistake.text("f")).collect()
    }

    #[test]
    fn a_row_is_a_server() {
        let text = "labels,unit,bmc,name,rack,credentials,height,serial,profile,hostAddress\n\
                    role=web; site=ams1,5,10.0.4.17,m-1,r-17,ops/bmc,2,S1,c510,m-1.example.com\n\
                    ,,10.0.4.18,m-2,,,,,,\n";
        let read = of_csv(text);
        assert_eq!(read.mistakes, []);
        assert_eq!(
            read.rows[0].object,
            json!({
                "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Server",
                "metadata": {"name": "m-1", "labels": {"role": "web", "site": "ams1"}},
                "spec": {
                    "serial": "S1", "location": {"rack": "r-17", "unit": 5, "height": 2},
                    "bmc": {"address": "10.0.4.17", "credentialsSecretRef": {"namespace": "ops", "name": "bmc"}},
                    "profile": "c510", "hostAddress": "m-1.example.com",
                },
            })
        );
        assert_eq!(read.rows[1].object["spec"], json!({"bmc": {"address": "10.0.4.18"}}));
        assert_eq!((read.rows[1].line, read.rows[1].name.as_str()), (3, "m-2"));
    }

    #[test]
    fn every_mistake_is_told_where_it_is() {
        assert_eq!(
            told("name,bmc,unit,credentials,labels\nm-1,b\nm-2,b,x,bmc,a\nm-3,b,-1,/x,a=1;a=2\n"),
            [
                "f:2: 2 fields, and the first line names 5 columns",
                "f:3: unit: \"x\" must be a whole number, from 1",
                "f:3: credentials: \"bmc\" must be NAMESPACE/NAME of a Secret",
                "f:3: labels: \"a\" must be KEY=VALUE; write several as a=b;c=d",
                "f:4: unit: \"-1\" must be a whole number, from 1",
                "f:4: credentials: \"/x\" must be NAMESPACE/NAME of a Secret",
                "f:4: labels: label \"a\" is there twice",
            ]
        );
        assert_eq!(
            told("name,rak,rak,serial,serial\n"),
            [
                "f:1: rak: there is no such column; did you mean rack?",
                "f:1: rak: there is no such column; did you mean rack?",
                "f:1: serial: the column is there twice",
                "f:1: bmc: the column is required",
            ]
        );
        assert!(told("")[0].contains("names columns: name,bmc"));
        assert!(told("name,bmc\na,\"b")[0].starts_with("f:2: this is no CSV: a quote"));
    }

    #[test]
    fn a_field_has_its_column() {
        assert_eq!(column_of("spec.bmc.credentialsSecretRef.namespace"), Some("credentials"));
        assert_eq!(column_of("metadata.labels"), Some("labels"));
        assert_eq!(column_of("spec.bmc.addressed"), None);
    }
}
