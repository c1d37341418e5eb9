//! The shape nearly all kinds share: metadata, what is wanted, what is seen.

use crate::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object with a spec (wanted) and a status (seen).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resource<S, T: Default + PartialEq> {
    /// Standard object's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: S,
    /// What is seen. Written by controllers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: T,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
