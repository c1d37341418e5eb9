//! Folders and files that containers see (`v1.Volume`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A folder that containers can mount. Exactly one of the others says what is in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name, for mounts.
    pub name: String,
    /// The values of a Secret, a file each. What containers see of it follows the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// Files that are written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigVolume>,
    /// A folder or file of the host. Each host says which may be mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathVolume>,
    /// An empty folder that is removed with the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
}

/// The values of a Secret in the same namespace, a file each (`v1.SecretVolumeSource`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the Secret.
    pub secret_name: String,
    /// Which of its keys become files; all, when not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<KeyToPath>,
    /// Permissions of the files, as a decimal number or, in YAML, with a leading 0 as an octal one.
    #[serde(default = "mode")]
    #[schemars(range(max = 511))]
    pub default_mode: u32,
    /// The folder is empty, when the Secret is not there.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub optional: bool,
}

/// A key and the file it becomes (`v1.KeyToPath`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// Key of the Secret.
    pub key: String,
    /// Name of the file.
    pub path: String,
    /// Its permissions, when they are not those of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 511))]
    pub mode: Option<u32>,
}

/// Files that are written in the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigVolume {
    /// What is in each file, by its name.
    pub files: BTreeMap<String, String>,
    /// Permissions of the files.
    #[serde(default = "mode")]
    #[schemars(range(max = 511))]
    pub default_mode: u32,
}

/// A folder or file of the host (`v1.HostPathVolumeSource`). It must be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPathVolume {
    /// Its path.
    #[schemars(length(max = 4096))]
    pub path: String,
}

/// An empty folder (`v1.EmptyDirVolumeSource`). Nothing is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmptyDirVolume {}

/// Where a container sees a volume (`v1.VolumeMount`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Name of the volume.
    pub name: String,
    /// Path in the container.
    #[schemars(length(max = 4096))]
    pub mount_path: String,
    /// It cannot write there. Secrets and files of the spec never can be written.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub read_only: bool,
}

const fn mode() -> u32 {
    0o644
}
