//! What of a host is in use, said with each heartbeat, and what its containers take; both are kept nowhere but in memory.

use serde::{Deserialize, Serialize};

/// What of a host is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Thousandths of a processor, over the time since the last one.
    pub cpu_millis: u64,
    /// Bytes of memory that cannot be given to others.
    pub memory_bytes: u64,
}

/// Containers of a host of which it is told what they take.
pub const CONTAINERS_MAX: usize = 1_000;

/// What a container takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerUsage {
    /// Identity of its instance.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// What it takes.
    #[serde(flatten)]
    pub usage: Usage,
}
