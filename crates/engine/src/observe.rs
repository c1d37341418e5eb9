//! What actions saw of their target becomes part of the target's status.

use crate::objects::{EngineError, Objects};
use quarterdeck_model::{Key, Kind as _, Time, kinds::Server};
use serde_json::{Map, Value, json};

/// Merges what was seen into the status of the object at `key`; null takes a field away. An object that is gone
/// has none, and nothing is written when it shows all that already.
pub(crate) async fn record(
    objects: &Objects,
    key: &Key,
    seen: &Map<String, Value>,
) -> Result<(), EngineError> {
    let now = Time::seconds(objects.now().timestamp());
    objects
        .modify(key, |value| {
            if shows(value, seen) {
                return false;
            }
            let Some(status) = status_of(value) else { return false };
            for (field, seen) in seen {
                if seen.is_null() {
                    status.remove(field);
                } else {
                    status.insert(field.clone(), seen.clone());
                }
            }
            if seen.contains_key("inventory") {
                status.insert("inventoryTime".into(), json!(now));
            }
            true
        })
        .await?;
    Ok(())
}

/// Whether an object shows already what was seen of it.
pub(crate) fn shows(object: &Value, seen: &Map<String, Value>) -> bool {
    let status = object.get("status");
    let shown = |field: &str| status.and_then(|status| status.get(field)).unwrap_or(&Value::Null);
    seen.iter().all(|(field, seen)| shown(field) == seen)
}

/// Says in the target's status which run acts on it: `current`, or none when `run` has let go.
pub(crate) async fn current_run(
    objects: &Objects,
    key: &Key,
    current: Option<&str>,
    run: &str,
) -> Result<(), EngineError> {
    // The only kind so far that shows it.
    if *key.kind != *Server::info().resource_name() {
        return Ok(());
    }
    objects
        .modify(key, |value| {
            let Some(status) = status_of(value) else { return false };
            match current {
                Some(current) => {
                    status.insert("currentRun".into(), current.into());
                }
                // The next run may have taken the place already.
                None if status.get("currentRun").is_some_and(|shown| shown == run) => {
                    status.remove("currentRun");
                }
                None => return false,
            }
            true
        })
        .await?;
    Ok(())
}

fn status_of(value: &mut Value) -> Option<&mut Map<String, Value>> {
    let object = value.as_object_mut()?;
    object.entry("status").or_insert_with(|| json!({})).as_object_mut()
}
