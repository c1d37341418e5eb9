//! Walks over values as their shape says: which fields a configuration gives, which fields a write
//! changed, which of a set are there. Pure.

use super::{
    fields::{FieldSet, Item},
    shape::{Opened, Shape},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is wrong with a configuration that is applied, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// As `.spec.halls[="north"]`.
    pub(crate) path: String,
    pub(crate) why: String,
}

/// The fields that `value` gives.
pub(crate) fn given(shape: &Shape, value: &Value) -> Result<FieldSet, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let set = given_at(shape, value, &mut String::new(), &mut mistakes);
    if mistakes.is_empty() { Ok(set) } else { Err(mistakes) }
}

fn given_at(
    shape: &Shape,
    value: &Value,
    path: &mut String,
    mistakes: &mut Vec<Mistake>,
) -> FieldSet {
    let mut set = FieldSet::default();
    match shape.open(value) {
        Opened::Whole => set.here = true,
        Opened::Fields(fields) => {
            for (name, field) in fields {
                let length = path.len();
                path.push('.');
                path.push_str(name);
                if let Some((shape, named)) = shape.field(name) {
                    let mut child = given_at(shape, field, path, mistakes);
                    let empty = field.as_object().is_some_and(serde_json::Map::is_empty);
                    child.here |= empty || !named;
                    set.insert_field(name, child);
                } else {
                    let why = "field not declared in schema".into();
                    mistakes.push(Mistake { path: path.clone(), why });
                }
                path.truncate(length);
            }
        }
        Opened::Items(items) => {
            for (at, item) in items.iter().enumerate() {
                let id = match shape.identify(item) {
                    Ok(id) => id,
                    Err(why) => {
                        let why = format!("element {at}: {why}");
                        mistakes.push(Mistake { path: path.clone(), why });
                        continue;
                    }
                };
                if set.items.contains_key(&id) {
                    let why = format!("duplicate entries for key {id}");
                    mistakes.push(Mistake { path: path.clone(), why });
                    continue;
                }
                let length = path.len();
                path.push_str(&id.to_string());
                let mut child = given_at(shape.item(), item, path, mistakes);
                child.here = true;
                set.insert_item(id, child);
                path.truncate(length);
            }
        }
    }
    set
}

/// The fields of `new` that `old` does not have, or has otherwise.
pub(crate) fn changed(shape: &Shape, old: Option<&Value>, new: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (shape.open(new), old.map(|old| shape.open(old))) {
        (Opened::Fields(new_fields), Some(Opened::Fields(old_fields))) => {
            for (name, field) in new_fields {
                let (shape, _) = shape.field(name).unwrap_or((&Shape::Deduced, false));
                set.insert_field(name, changed(shape, old_fields.get(name), field));
            }
        }
        (Opened::Fields(fields), _) => {
            set.here = true;
            for (name, field) in fields {
                let (shape, _) = shape.field(name).unwrap_or((&Shape::Deduced, false));
                set.insert_field(name, changed(shape, None, field));
            }
        }
        (Opened::Items(new_items), opened) => {
            let old_items = match opened {
                Some(Opened::Items(old_items)) => old_items,
                _ => {
                    set.here = true;
                    &[]
                }
            };
            if new_items != old_items {
                let old_items = index(shape, old_items);
                for item in new_items {
                    let Ok(id) = shape.identify(item) else { continue };
                    let child = changed(shape.item(), old_items.get(&id).copied(), item);
                    set.insert_item(id, child);
                }
            }
        }
        (Opened::Whole, _) => set.here = old != Some(new),
    }
    set
}

/// The items of a list by what they are; of several alike, the first.
fn index<'v>(shape: &Shape, items: &'v [Value]) -> BTreeMap<Item, &'v Value> {
    let mut index = BTreeMap::new();
    for item in items {
        if let Ok(id) = shape.identify(item) {
            index.entry(id).or_insert(item);
        }
    }
    index
}

/// Takes out of `set` what is not in `value`: it can be gone since others wrote without telling.
pub(crate) fn keep_present(shape: &Shape, value: &Value, set: &mut FieldSet) {
    if set.fields.is_empty() && set.items.is_empty() {
        return;
    }
    match shape.open(value) {
        Opened::Fields(fields) => {
            set.items.clear();
            set.fields.retain(|name, child| {
                let Some(field) = fields.get(name) else { return false };
                let (shape, _) = shape.field(name).unwrap_or((&Shape::Deduced, false));
                keep_present(shape, field, child);
                !child.is_empty()
            });
        }
        Opened::Items(items) => {
            set.fields.clear();
            let items = index(shape, items);
            set.items.retain(|id, child| {
                let Some(item) = items.get(id) else { return false };
                keep_present(shape.item(), item, child);
                !child.is_empty()
            });
        }
        Opened::Whole => *set = FieldSet { here: set.here, ..FieldSet::EMPTY },
    }
}
