//! Event: one thing that happened to an object, as a sentence (`v1`).

use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, ObjectReference, Scope, Time,
    kind_info,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that happened to an object. Kept for a while, then removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Standard object's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it happened to.
    #[serde(default)]
    pub involved_object: ObjectReference,
    /// One CamelCase word for machines.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// Who says so.
    #[serde(default)]
    pub source: EventSource,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_timestamp: Option<Time>,
    /// When it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_timestamp: Option<Time>,
    /// When it happened, to the microsecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Time>,
    /// How often it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// `Normal` or `Warning`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// What was done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Another object that has part in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<ObjectReference>,
    /// Controller that reports.
    #[serde(default)]
    pub reporting_component: String,
    /// Replica of the controller that reports.
    #[serde(default)]
    pub reporting_instance: String,
}

/// Who reports an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventSource {
    /// Component, such as `runs`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub component: String,
    /// Machine it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

impl Kind for Event {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Event";
    const PLURAL: &'static str = "events";
    const SINGULAR: &'static str = "event";
    const SHORT_NAMES: &'static [&'static str] = &["ev"];
    const CATEGORIES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Last Seen", "lastTimestamp", "When it was last seen").of(ColumnType::Date),
        Column::new("Type", "type", "Normal or Warning"),
        Column::new("Reason", "reason", "One word"),
        Column::new("Object", "involvedObject", "What it happened to"),
        Column::new("Subobject", "involvedObject.fieldPath", "Part of the object").wide(),
        Column::new("Source", "source.component", "Who says so").wide(),
        Column::new("Message", "message", "What happened"),
        Column::new("First Seen", "firstTimestamp", "When it was first seen")
            .of(ColumnType::Date)
            .wide(),
        Column::new("Count", "count", "How often it was seen").of(ColumnType::Integer).wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.resourceVersion",
        "reason",
        "reportingComponent",
        "source.component",
        "type",
    ];
    const COMMON_FIELDS: &'static [&'static str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.apiVersion",
        "reportingComponent",
        "source.component",
        "type",
    ];
    const DESCRIPTION: &'static str = "Event is one thing that happened to an object, as a sentence. It is kept for a while, then removed.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        if self.kind.is_empty() {
            self.kind = "Normal".into();
        }
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        // Cluster-scoped objects have their events in `default`, as in Kubernetes.
        let involved = self.involved_object.namespace.as_deref().filter(|n| !n.is_empty());
        let own = self.metadata.namespace.as_deref();
        if involved.unwrap_or("default") != own.unwrap_or_default() {
            errors.push(FieldError::invalid(
                "involvedObject.namespace",
                format!("{:?}", involved.unwrap_or_default()),
                "does not match event.namespace",
            ));
        }
    }

    kind_info!(Event);
}
