//! Actions and runbooks that tests know.

use quarterdeck_model::{ActionSignature, kinds::RunbookSpec};
use quarterdeck_runbook::Definitions;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// A catalogue of four actions, and runbooks by name.
pub(crate) struct Known {
    actions: BTreeMap<&'static str, ActionSignature>,
    pub(crate) runbooks: BTreeMap<String, RunbookSpec>,
}

impl Known {
    pub(crate) fn new() -> Self {
        Self::of(vec![power_set(), note_write(), server_read(), http_request()])
    }

    /// These actions.
    pub(crate) fn of(actions: Vec<ActionSignature>) -> Self {
        Self {
            actions: actions.into_iter().map(|action| (action.name, action)).collect(),
            runbooks: BTreeMap::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, yaml: &str) -> Self {
        self.runbooks.insert(name.into(), runbook(yaml));
        self
    }

    /// As a release would without it.
    pub(crate) fn without_action(mut self, name: &str) -> Self {
        self.actions.remove(name);
        self
    }
}

impl Definitions for Known {
    fn action(&self, name: &str) -> Option<&ActionSignature> {
        self.actions.get(name)
    }

    fn action_names(&self) -> Vec<&str> {
        self.actions.keys().copied().collect()
    }

    fn runbook(&self, name: &str) -> Option<Arc<RunbookSpec>> {
        self.runbooks.get(name).cloned().map(Arc::new)
    }
}

/// The spec of a runbook from YAML.
pub(crate) fn runbook(yaml: &str) -> RunbookSpec {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// Changes the target and can interrupt what runs on it.
fn power_set() -> ActionSignature {
    ActionSignature {
        name: "power.set",
        summary: "Sets a power state.",
        target_kinds: &["Server"],
        input: json!({
            "type": "object",
            "properties": {
                "state": {"type": "string", "enum": ["On", "Off"], "description": "The state wanted."},
                "grace": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"},
            },
            "required": ["state"],
        }),
        output: json!({
            "type": "object",
            "properties": {
                "powerState": {"type": "string", "enum": ["On", "Off"]},
                "changed": {"type": "boolean"},
            },
        }),
        effects: true,
        disruptive: true,
    }
}

/// Changes something, takes every kind of value, and needs no target.
fn note_write() -> ActionSignature {
    ActionSignature {
        name: "note.write",
        summary: "Writes a note.",
        target_kinds: &[],
        input: json!({
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "count": {"type": "integer", "minimum": 0},
                "ratio": {"type": "number"},
                "urgent": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "place": {
                    "type": "object",
                    "properties": {"rack": {"type": "string"}, "unit": {"type": "integer"}},
                    "required": ["rack"],
                },
            },
            "required": ["text"],
        }),
        output: json!({
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "count": {"type": "integer"},
                "ratio": {"type": "number"},
                "time": {"type": "string", "format": "date-time"},
                "parts": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                },
            },
        }),
        effects: true,
        disruptive: false,
    }
}

/// Only looks.
fn server_read() -> ActionSignature {
    ActionSignature {
        name: "server.read",
        summary: "Looks at a server.",
        target_kinds: &["Server"],
        input: json!({"type": "object"}),
        output: json!({"type": "object", "properties": {"serial": {"type": "string"}}}),
        effects: false,
        disruptive: false,
    }
}

/// Takes and gives what cannot be known before.
fn http_request() -> ActionSignature {
    ActionSignature {
        name: "http.request",
        summary: "Calls a service.",
        target_kinds: &[],
        input: json!({
            "type": "object",
            "properties": {
                "url": {"type": "string"},
                "body": {"x-kubernetes-preserve-unknown-fields": true},
            },
            "required": ["url"],
        }),
        output: json!({
            "type": "object",
            "properties": {
                "status": {"type": "integer"},
                "body": {"x-kubernetes-preserve-unknown-fields": true},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }),
        effects: true,
        disruptive: false,
    }
}

/// A server as it is on the wire.
pub(crate) fn server() -> Value {
    json!({
        "apiVersion": "inventory.quarterdeck.dev/v1alpha1",
        "kind": "Server",
        "metadata": {"name": "ams1-r7-u12"},
        "spec": {"bmc": {"address": "10.0.0.7"}},
        "status": {"phase": "Ready", "powerState": "On"},
    })
}
