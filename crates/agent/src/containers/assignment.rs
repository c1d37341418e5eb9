//! What the agent says is to run on this host, and what it is told back.

use quarterdeck_model::{
    Duration, Time,
    kinds::{InstanceSpec, InstanceStatus},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Values of Secrets, by name and key.
pub type Secrets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// An instance that is to run on this host, or to end.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// What is wanted of it.
    pub spec: InstanceSpec,
    /// It is to end, and has so long for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting_grace: Option<Duration>,
    /// The Secrets that it uses. They are kept apart from the rest.
    #[serde(skip)]
    pub secrets: Secrets,
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment")
            .field("instance", &format_args!("{}/{}", self.namespace, self.name))
            .field("uid", &self.uid)
            .field("deleting_grace", &self.deleting_grace)
            .finish_non_exhaustive()
    }
}

/// What is seen of an instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Its status. The plane's own conditions are not in it.
    pub status: InstanceStatus,
    /// Nothing of it is left on this host.
    pub gone: bool,
}

/// Which part of a container's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogOptions {
    /// Stays, and gives what is written.
    pub follow: bool,
    /// So many of the last lines; all, when not set.
    pub tail: Option<u32>,
    /// Not what is older.
    pub since: Option<Time>,
    /// Not more bytes.
    pub limit_bytes: Option<u64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Of the container before the last restart.
    pub previous: bool,
}

/// What is run in a container, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Something is written to it.
    pub stdin: bool,
    /// What it writes is wanted.
    pub stdout: bool,
    /// What it writes of errors is wanted.
    pub stderr: bool,
    /// It has a terminal.
    pub tty: bool,
}
