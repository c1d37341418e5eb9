//! Sets of fields as `metav1.FieldsV1` writes them: `f:` a field, `k:` a list item by its keys,
//! `v:` by its value, `i:` by its place, `.` the node itself.

use super::fields::{FieldSet, Item};
use serde_json::{Map, Value};

/// Writes a set.
pub(crate) fn to_value(set: &FieldSet) -> Value {
    let mut out = Map::new();
    if set.here && !(set.fields.is_empty() && set.items.is_empty()) {
        out.insert(".".into(), Map::new().into());
    }
    for (name, child) in &set.fields {
        out.insert(format!("f:{name}"), to_value(child));
    }
    for (item, child) in &set.items {
        let step = match item {
            Item::Index(at) => format!("i:{at}"),
            Item::Value(value) => format!("v:{value}"),
            Item::Key(keys) => {
                let parts: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                    .collect();
                format!("k:{{{}}}", parts.join(","))
            }
        };
        out.insert(step, to_value(child));
    }
    out.into()
}

/// Reads a set. Steps of a kind that is not known are passed over: a newer release may know them.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(crate) fn from_value(value: &Value) -> Result<FieldSet, String> {
    let mut set = node(value)?;
    // The root is the object, which nobody owns as such.
    set.here = false;
    Ok(set)
}

fn node(value: &Value) -> Result<FieldSet, String> {
    let steps = match value {
        Value::Object(steps) => steps,
        Value::Null => return Ok(FieldSet::leaf()),
        _ => return Err(format!("a field in fieldsV1 must be an object, found {value}")),
    };
    let mut set = FieldSet { here: steps.is_empty(), ..FieldSet::EMPTY };
    for (step, child) in steps {
        if step == "." {
            set.here = true;
            continue;
        }
        let wrong = || format!("{step:?} in fieldsV1 is not a field or an item");
        let (sort, rest) = step.split_once(':').ok_or_else(wrong)?;
        match sort {
            "f" => set.insert_field(rest, node(child)?),
            "i" => {
                let at = rest.parse().map_err(|_| wrong())?;
                set.insert_item(Item::Index(at), node(child)?);
            }
            "v" => {
                let value: Value = serde_json::from_str(rest).map_err(|_| wrong())?;
                set.insert_item(Item::value(&value), node(child)?);
            }
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).map_err(|_| wrong())?;
                let keys = keys.iter().map(|(name, value)| (name.as_str(), value));
                set.insert_item(Item::key(keys), node(child)?);
            }
            _ => {}
        }
    }
    Ok(set)
}
