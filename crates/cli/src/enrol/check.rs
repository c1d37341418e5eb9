//! What is wrong with the rows of a file: each by itself, by the rules of a Server; between them; and with servers that
//! the plane has under other names. Pure. What else the plane refuses, it says itself.

use super::{
    Mistake,
    row::{Row, column_of},
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Location, Server},
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The servers that a plane has, as far as they matter to a file.
#[derive(Debug, Default)]
pub(crate) struct Known {
    names: HashSet<String>,
    there: HashMap<String, Value>,
    serials: HashMap<String, String>,
    controllers: HashMap<String, String>,
}

impl Known {
    /// None yet, for these rows.
    pub(crate) fn of(rows: &[Row]) -> Self {
        Self { names: rows.iter().map(|row| row.name.clone()).collect(), ..Self::default() }
    }

    /// Notes one.
    pub(crate) fn see(&mut self, server: Value) {
        let name = text(&server, "/metadata/name").unwrap_or_default().to_owned();
        if let Some(serial) = text(&server, "/spec/serial") {
            self.serials.insert(serial.to_owned(), name.clone());
        }
        if let Some(controller) = controller(&server) {
            self.controllers.insert(controller, name.clone());
        }
        if self.names.contains(&name) {
            self.there.insert(name, server);
        }
    }

    /// The server of that name.
    pub(crate) fn there(&self, name: &str) -> Option<&Value> {
        self.there.get(name)
    }
}

/// Finds all that is wrong, and marks the rows it is wrong with; of two that are alike, the second.
pub(crate) fn check(rows: &mut [Row], known: &Known) -> Vec<Mistake> {
    let mut seen = Seen::default();
    let mut mistakes = Vec::new();
    for row in rows {
        let before = mistakes.len();
        by_itself(row, &mut mistakes);
        against(row, known, &mut mistakes);
        seen.between(row, &mut mistakes);
        row.wrong |= mistakes.len() > before;
    }
    mistakes
}

fn text<'o>(object: &'o Value, path: &str) -> Option<&'o str> {
    object.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The system behind a BMC, however its address is written. One BMC may have several systems.
fn controller(server: &Value) -> Option<String> {
    let address = text(server, "/spec/bmc/address")?.to_ascii_lowercase();
    let host = address.strip_prefix("https://").unwrap_or(&address);
    let host = host.trim_end_matches('/');
    let host = host.strip_suffix(":443").unwrap_or(host);
    let system = text(server, "/spec/bmc/systemId").unwrap_or_default();
    Some(format!("{host} {system}").trim_end().to_owned())
}

fn by_itself(row: &Row, mistakes: &mut Vec<Mistake>) {
    let Err(errors) = (Server::info().admit)(&row.object, None) else { return };
    for error in errors {
        mistakes.push(Mistake::new(row.line, row.field(&error.field), error.message));
    }
}

fn against(row: &Row, known: &Known, mistakes: &mut Vec<Mistake>) {
    let serial = text(&row.object, "/spec/serial").map(str::to_owned);
    let all = [
        ("spec.serial", serial, &known.serials),
        ("spec.bmc.address", controller(&row.object), &known.controllers),
    ];
    for (field, value, of) in all {
        let Some(value) = value else { continue };
        if let Some(other) = of.get(&value).filter(|other| **other != row.name) {
            let why = format!("Server {other} has {value} already");
            mistakes.push(Mistake::new(row.line, row.field(field), why));
        }
    }
}

/// What the rows before have taken, and their lines.
#[derive(Default)]
struct Seen {
    names: HashMap<String, usize>,
    serials: HashMap<String, usize>,
    controllers: HashMap<String, usize>,
    units: HashMap<(String, u16), usize>,
}

impl Seen {
    fn between(&mut self, row: &Row, mistakes: &mut Vec<Mistake>) {
        let name = Some(row.name.clone()).filter(|name| !name.is_empty());
        let serial = text(&row.object, "/spec/serial").map(str::to_owned);
        let all = [
            ("metadata.name", name, &mut self.names),
            ("spec.serial", serial, &mut self.serials),
            ("spec.bmc.address", controller(&row.object), &mut self.controllers),
        ];
        for (field, value, before) in all {
            let Some(value) = value else { continue };
            let first = *before.entry(value.clone()).or_insert(row.line);
            if first != row.line {
                let why = format!("{value} is on line {first}, too");
                mistakes.push(Mistake::new(row.line, row.field(field), why));
            }
        }
        self.units(row, mistakes);
    }

    fn units(&mut self, row: &Row, mistakes: &mut Vec<Mistake>) {
        let Some(rack) = text(&row.object, "/spec/location/rack") else { return };
        let number = |path: &str| {
            row.object.pointer(path).and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok())
        };
        let Some(unit) = number("/spec/location/unit") else { return };
        let height = number("/spec/location/height").unwrap_or(1).min(Location::HEIGHT_MAX);
        let mut taken = None;
        for unit in unit..unit.saturating_add(height) {
            let first = *self.units.entry((rack.to_owned(), unit)).or_insert(row.line);
            if first != row.line {
                taken = taken.or(Some((unit, first)));
            }
        }
        if let Some((unit, first)) = taken {
            let why = format!("unit {unit} of rack {rack} is filled on line {first}");
            mistakes.push(Mistake::new(row.line, row.field("spec.location.unit"), why));
        }
    }
}

impl Row {
    /// What a field is called where the row was written.
    pub(crate) fn field<'f>(&self, path: &'f str) -> &'f str {
        if self.whole { path } else { column_of(path).unwrap_or(path) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use serde_json::json;

    fn told(name: &str, text: &str, known: &[Value]) -> Vec<String> {
        let mut read = read(name, text);
        let mut all = Known::of(&read.rows);
        known.iter().for_each(|server| all.see(server.clone()));
        let mut mistakes = read.mistakes;
        mistakes.extend(check(&mut read.rows, &all));
        mistakes.iter().map(|mistake| mistake.text("f")).collect()
    }

    #[test]
    fn each_row_obeys_the_rules_of_a_server() {
        let text = "name,bmc,unit,rack,credentials\nM_1,ftp://x,0,R,A/b\n,,,,\n";
        let told = told("f.csv", text, &[]);
        let begins = [
            "f:2: name: Invalid value: \"M_1\"",
            "f:2: rack: Invalid value: \"R\"",
            "f:2: unit: Invalid value: 0",
            "f:2: bmc: Invalid value: \"ftp://x\"",
            "f:2: credentials: Invalid value: \"A\"",
            "f:3: name: Required value",
            "f:3: bmc: Required value",
        ];
        assert_eq!(told.len(), begins.len(), "{told:#?}");
        for (told, begins) in told.iter().zip(begins) {
            assert!(told.starts_with(begins), "{told}");
        }
    }

    #[test]
    fn no_two_are_alike() {
        let text = "name,bmc,serial,rack,unit,height\nm-1,10.0.0.1,S1,r-1,1,4\nm-1,10.0.0.2,S2,r-1,5,\n\
                    m-3,https://10.0.0.1:443/,S3,r-1,7,\nm-4,10.0.0.4,S1,r-1,4,2\nm-5,10.0.0.5,,r-2,1,4\n";
        assert_eq!(
            told("f.csv", text, &[]),
            [
                "f:3: name: m-1 is on line 2, too",
                "f:4: bmc: 10.0.0.1 is on line 2, too",
                "f:5: serial: S1 is on line 2, too",
                "f:5: unit: unit 4 of rack r-1 is filled on line 2",
            ]
        );
    }

    #[test]
    fn what_a_server_of_another_name_has_is_taken() {
        let there = |name: &str| {
            let spec = json!({"serial": "S1", "bmc": {"address": "HTTPS://10.0.0.1"}});
            json!({"metadata": {"name": name}, "spec": spec})
        };
        let text = "name,bmc,serial\nm-1,10.0.0.1,S1\n";
        assert_eq!(told("f.csv", text, &[there("m-1")]), [""; 0]);
        assert_eq!(
            told("f.csv", text, &[there("m-9")]),
            ["f:2: serial: Server m-9 has S1 already", "f:2: bmc: Server m-9 has 10.0.0.1 already",]
        );
    }

    #[test]
    fn in_a_manifest_the_field_is_named_by_its_path() {
        let text = "apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Server\nmetadata: {name: m-1}\n\
                    spec: {bmc: {address: b, tls: {verify: Fingerprint}}, location: {rack: r, unit: x}}\n";
        let shape = told("f.yaml", text, &[]);
        assert!(shape[0].starts_with("f:1: spec.location.unit: "), "{shape:?}");
        let rules = told("f.yaml", &text.replace("unit: x", "unit: 0"), &[]);
        assert!(rules[0].starts_with("f:1: spec.location.unit: Invalid value: 0"), "{rules:?}");
        assert!(rules[1].starts_with("f:1: spec.bmc.tls.sha256: Required"), "{rules:?}");
    }
}
