//! Puts an applied configuration into an object, and takes out of it what is applied no longer. Pure.
//! Source: Kubernetes "Server-Side Apply"; the order of merged lists as structured-merge-diff has it.

use super::{
    fields::{FieldSet, Item, NOTHING},
    shape::{Opened, Shape},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Puts `wanted` into `live`.
pub(crate) fn merge(shape: &Shape, live: &mut Value, wanted: &Value) {
    match (shape.open(wanted), &mut *live) {
        (Opened::Fields(wanted), Value::Object(live)) => {
            for (name, field) in wanted {
                let (shape, _) = shape.field(name).unwrap_or((&Shape::Deduced, false));
                match live.get_mut(name) {
                    Some(place) => merge(shape, place, field),
                    None => drop(live.insert(name.clone(), field.clone())),
                }
            }
        }
        (Opened::Items(wanted), Value::Array(live)) => merge_list(shape, live, wanted),
        _ => *live = wanted.clone(),
    }
}

/// Items of `wanted` come in its order; those that only `live` has keep their places before the
/// items in both that they stood before.
fn merge_list(shape: &Shape, live: &mut Vec<Value>, wanted: &[Value]) {
    let ids = |items: &[Value]| -> Vec<Option<Item>> {
        items.iter().map(|item| shape.identify(item).ok()).collect()
    };
    let (live_ids, wanted_ids) = (ids(live), ids(wanted));
    let in_live: BTreeSet<&Item> = live_ids.iter().flatten().collect();
    let in_wanted: BTreeSet<&Item> = wanted_ids.iter().flatten().collect();
    // What stands where in the live list: an item of its own, or the place of one in both.
    let mut both: BTreeMap<&Item, Value> = BTreeMap::new();
    let mut places = Vec::with_capacity(live.len());
    for (item, id) in std::mem::take(live).into_iter().zip(&live_ids) {
        match id.as_ref().filter(|id| in_wanted.contains(id)) {
            Some(id) => {
                places.push((Some(id), None));
                both.entry(id).or_insert(item);
            }
            None => places.push((None, Some(item))),
        }
    }
    // For each wanted item, the first from there on that is in both.
    let mut ahead: Vec<Option<&Item>> = wanted_ids
        .iter()
        .rev()
        .scan(None, |next, id| {
            *next = id.as_ref().filter(|id| in_live.contains(id)).or(*next);
            Some(*next)
        })
        .collect();
    ahead.reverse();
    let mut places = places.into_iter().peekable();
    for ((item, id), next) in wanted.iter().zip(&wanted_ids).zip(ahead) {
        while let Some((_, own)) = places.next_if(|(place, _)| place.is_none() || *place != next) {
            live.extend(own);
        }
        let mut merged = match id.as_ref().and_then(|id| both.remove(id)) {
            Some(old) => {
                places.next();
                old
            }
            None => item.clone(),
        };
        merge(shape.item(), &mut merged, item);
        live.push(merged);
    }
    live.extend(places.filter_map(|(_, own)| own));
}

/// Takes out of `live` what is in `last`, which its owner applied before, and not in `keep`, which
/// the owner applies now or others own.
///
/// The fields of one thing go together, with what was filled in beside them (defaults). Entries of
/// a list or map go one by one: those that nobody owns may be the plane's own, and stay.
pub(crate) fn prune(shape: &Shape, live: &mut Value, last: &FieldSet, keep: &FieldSet) {
    prune_at(shape, live, last, keep, true);
}

fn prune_at(shape: &Shape, live: &mut Value, last: &FieldSet, keep: &FieldSet, top: bool) {
    match live {
        Value::Object(fields) if matches!(shape, Shape::Fields { .. } | Shape::Deduced) => {
            fields.retain(|name, field| {
                let Some(last) = last.fields.get(name) else { return true };
                let (shape, named) = shape.field(name).unwrap_or((&Shape::Deduced, false));
                let kept = keep.fields.get(name);
                // Metadata, spec and status are every object's.
                let stays = top && !shape.holds_entries(field) && field.is_object();
                let dropped =
                    !stays && (named || last.here) && !kept.is_some_and(|kept| named || kept.here);
                if dropped && !shape.holds_entries(field) {
                    return false;
                }
                let full = !is_empty(field);
                prune_at(shape, field, last, kept.unwrap_or(&NOTHING), false);
                let emptied = is_empty(field) && (full || dropped);
                stays || !emptied || kept.is_some_and(|kept| kept.here)
            });
        }
        Value::Array(items) if matches!(shape, Shape::Keyed { .. } | Shape::Set) => {
            items.retain_mut(|item| {
                let Ok(id) = shape.identify(item) else { return true };
                let Some(last) = last.items.get(&id) else { return true };
                let kept = keep.items.get(&id);
                if last.here && !kept.is_some_and(|kept| kept.here) {
                    return false;
                }
                let kept = kept.unwrap_or(&NOTHING);
                prune_at(shape.item(), item, last, kept, false);
                true
            });
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
