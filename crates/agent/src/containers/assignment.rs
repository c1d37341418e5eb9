//! What the agent says is to run on this host, and what it is told back.

use quarterdeck_model::{
    Duration,
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
