//! What an action declares of its target becomes part of the target's spec, if a person might have written it so.

use crate::{
    objects::{EngineError, Objects},
    rules,
};
use quarterdeck_model::{Key, kinds};
use quarterdeck_providers::Declared;
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};

/// Merges `declared` into the spec of the object at `key`. Answers why that is refused, if it is.
pub(crate) async fn declare(
    objects: &Objects,
    key: &Key,
    Declared { patch, check_only }: &Declared,
) -> Result<Result<(), String>, EngineError> {
    let Some(kind) = kinds::by_resource_name(&key.kind) else { return Ok(Ok(())) };
    let refused = Mutex::new(None);
    let refuse = |why| *refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
    objects
        .modify(key, |value| {
            refuse(None);
            let old = value.clone();
            let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else {
                return false;
            };
            merge(spec, patch);
            if value.get("spec") == old.get("spec") {
                return false;
            }
            let mut errors = match (kind.admit)(value, Some(&old)) {
                Ok(admitted) => {
                    *value = admitted;
                    Vec::new()
                }
                Err(errors) => errors,
            };
            errors.extend(rules::of_targets(&objects.store().world(), kind, value, Some(&old)));
            if let Some(error) = errors.first() {
                refuse(Some(error.to_string()));
                return false;
            }
            if *check_only {
                return false;
            }
            let generation = value.pointer_mut("/metadata/generation");
            if let Some(generation) = generation
                && let Some(number) = generation.as_i64()
            {
                *generation = (number + 1).into();
            }
            true
        })
        .await?;
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(refused.map_or(Ok(()), Err))
}

fn merge(object: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, new) in patch {
        match (new, object.get_mut(name)) {
            (Value::Null, _) => {
                object.remove(name);
            }
            (Value::Object(new), Some(Value::Object(old))) => merge(old, new),
            (new, _) => {
                object.insert(name.clone(), new.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_named_stays() {
        let mut spec = json!({"bmc": {"address": "a", "tls": {"verify": "Skip"}}, "serial": "1"});
        let patch = json!({"bmc": {"tls": null, "systemId": "2"}, "serial": null});
        merge(spec.as_object_mut().unwrap(), patch.as_object().unwrap());
        assert_eq!(spec, json!({"bmc": {"address": "a", "systemId": "2"}}));
    }
}
