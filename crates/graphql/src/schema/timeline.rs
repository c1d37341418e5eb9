//! Timelines, as they are told.

use super::{object::Reference, scalars::Time};
use async_graphql::{Enum, SimpleObject};
use serde_json::Value;

#[derive(SimpleObject, Default)]
pub(crate) struct Timeline {
    pub(crate) entries: Vec<TimelineEntry>,
    /// Where to go on; null at the oldest that is kept.
    pub(crate) end_cursor: Option<String>,
    /// Whether the last entry is where the object came to be; otherwise older changes are no longer kept.
    pub(crate) complete: bool,
}

#[derive(SimpleObject)]
pub(crate) struct TimelineEntry {
    /// When, where the change says it.
    pub(crate) at: Option<Time>,
    pub(crate) revision: String,
    /// The program or person that made the change, as fields are managed by; `quarterdeck` is the plane itself.
    pub(crate) who: String,
    /// The run it was made through.
    pub(crate) through: Option<Reference>,
    pub(crate) verb: ChangeVerb,
    /// Field by field, at most 100; none of a Secret's data.
    pub(crate) changes: Vec<FieldChange>,
    /// Further fields that changed.
    pub(crate) more: i32,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChangeVerb {
    Created,
    Changed,
    Deleted,
}

#[derive(SimpleObject, Debug, Clone, PartialEq)]
pub(crate) struct FieldChange {
    pub(crate) path: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}
