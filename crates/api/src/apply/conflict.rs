//! Conflicts: fields that an applied configuration would change while others manage them.

use super::{fields::FieldSet, managed::Manager};
use crate::status::ApiError;
use serde_json::{Value, json};

/// Fields of one other manager that would change.
#[derive(Debug, PartialEq)]
pub(crate) struct Conflict {
    pub(crate) manager: Manager,
    pub(crate) fields: FieldSet,
}

/// The answer that names every owner and field, in the words of Kubernetes.
pub(crate) fn refuse(mut conflicts: Vec<Conflict>) -> ApiError {
    conflicts.sort_by(|a, b| {
        let key = |conflict: &Conflict| {
            let manager = &conflict.manager;
            (manager.name.clone(), manager.operation, manager.to_string())
        };
        key(a).cmp(&key(b))
    });
    let by_manager: Vec<(String, Vec<String>)> = conflicts
        .iter()
        .map(|conflict| (conflict.manager.to_string(), conflict.fields.paths()))
        .collect();
    let causes: Vec<Value> = by_manager
        .iter()
        .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path)))
        .map(|(manager, path)| {
            let message = format!("conflict with {manager}");
            json!({"reason": "FieldManagerConflict", "message": message, "field": path})
        })
        .collect();
    let message = match by_manager.as_slice() {
        [(manager, paths)] if paths.len() == 1 => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths.concat())
        }
        _ => {
            let lines: Vec<String> = by_manager
                .iter()
                .map(|(manager, paths)| {
                    format!("conflicts with {manager}:\n- {}", paths.join("\n- "))
                })
                .collect();
            format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
        }
    };
    ApiError::apply_conflict(message, causes)
}
