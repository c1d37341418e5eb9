//! How a workload is in each cluster, as its status says: each part writes its own entry, and no other.

use super::garbage;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key,
    kinds::{WorkloadClusterStatus, workload_clusters::IN_CLUSTERS_FINALIZER},
};
use serde_json::{Value, json};

/// Writes down how a workload is in a cluster, or that it is not there any more. A workload that goes and is nowhere is let go.
pub(super) async fn write_down(
    objects: &Objects,
    workload: &Key,
    cluster: &str,
    entry: Option<WorkloadClusterStatus>,
) -> Result<(), EngineError> {
    let entry = entry.and_then(|entry| serde_json::to_value(entry).ok());
    let gone = entry.is_none();
    objects.modify(workload, |value| change(value, cluster, entry.as_ref())).await?;
    if gone
        && let Some(object) = objects.get(workload)
        && object.deleting()
        && clusters(&object.value()).is_empty()
    {
        garbage::release(objects, workload, IN_CLUSTERS_FINALIZER).await?;
    }
    Ok(())
}

fn clusters(workload: &Value) -> Vec<Value> {
    workload.pointer("/status/clusters").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Puts an entry among those of a workload's status, or takes it out; answers whether that changes anything.
fn change(workload: &mut Value, cluster: &str, entry: Option<&Value>) -> bool {
    let mut entries = clusters(workload);
    let before = entries.clone();
    let is = |it: &Value| it.get("name").and_then(Value::as_str) == Some(cluster);
    let place = entries.iter().position(is);
    match (place, entry) {
        (Some(place), Some(entry)) => {
            if let Some(old) = entries.get_mut(place) {
                *old = entry.clone();
            }
        }
        (None, Some(entry)) => entries.push(entry.clone()),
        (Some(place), None) => drop(entries.remove(place)),
        (None, None) => {}
    }
    if entries == before {
        return false;
    }
    let Some(object) = workload.as_object_mut() else { return false };
    let status = object.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return false };
    status.insert("clusters".into(), entries.into());
    true
}
