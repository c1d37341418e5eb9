//! Conditions: what is true of an object, since when and why (`metav1.Condition`).

use crate::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

/// One observation of an object's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the condition in CamelCase, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the spec that this was observed against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// One CamelCase word for machines.
    pub reason: String,
    /// A sentence for people: what is the case and what to do about it.
    #[serde(default)]
    pub message: String,
}

impl Condition {
    /// A condition seen at `now`.
    pub fn new(
        kind: impl Into<String>,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
        now: Time,
    ) -> Self {
        Self {
            kind: kind.into(),
            status,
            observed_generation: None,
            last_transition_time: now,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Puts `next` among `conditions`, keeping the transition time when the status has not changed.
/// Returns whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, mut next: Condition) -> bool {
    match conditions.iter_mut().find(|old| old.kind == next.kind) {
        Some(old) => {
            if old.status == next.status {
                next.last_transition_time = old.last_transition_time;
            }
            let changed = *old != next;
            *old = next;
            changed
        }
        None => {
            conditions.push(next);
            true
        }
    }
}

/// The condition of that type, if it is set.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}
