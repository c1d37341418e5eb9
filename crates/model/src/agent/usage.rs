//! What of a host is in use: said with each heartbeat, and kept nowhere but in memory.

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
