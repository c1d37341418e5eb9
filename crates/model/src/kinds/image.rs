//! Image: an operating system that can be written to machines.

use super::{INVENTORY, Resource, V1ALPHA1};
use crate::{Column, Condition, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An operating system that can be written to machines.
pub type Image = Resource<ImageSpec, ImageStatus>;

/// What is wanted of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// Where to fetch it, `http://` or `https://`.
    pub url: String,
    /// `sha256:` or `sha512:` and the digest in hex.
    pub checksum: String,
    /// Format of the image.
    pub format: ImageFormat,
    /// Operating system, such as `debian-12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// CPU architecture, `x86_64` or `aarch64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Kernel for network boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_url: Option<String>,
    /// Initial RAM disk for network boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd_url: Option<String>,
    /// Kernel command line for network boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_arguments: Option<String>,
}

/// Format of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImageFormat {
    /// Bytes of the whole disk.
    #[default]
    Raw,
    /// QEMU copy-on-write.
    Qcow2,
    /// Root file system as a tar archive.
    RootTar,
    /// ISO 9660, for virtual media.
    Iso,
}

/// What is seen of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What is true of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Image {
    const GROUP: &'static str = INVENTORY;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "Image";
    const PLURAL: &'static str = "images";
    const SINGULAR: &'static str = "image";
    const SHORT_NAMES: &'static [&'static str] = &["img"];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("OS", "spec.os", "Operating system"),
        Column::new("Arch", "spec.architecture", "CPU architecture"),
        Column::new("Format", "spec.format", "Format of the image"),
        Column::new("URL", "spec.url", "Where to fetch it").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.os", "spec.architecture"];
    const DESCRIPTION: &'static str =
        "Image is an operating system that can be written to machines.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let urls = [
            ("spec.url", Some(&self.spec.url)),
            ("spec.kernelUrl", self.spec.kernel_url.as_ref()),
            ("spec.initrdUrl", self.spec.initrd_url.as_ref()),
        ];
        for (field, url) in urls.into_iter().filter_map(|(field, url)| Some((field, url?))) {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
                let why = "must be an http:// or https:// URL";
                errors.push(FieldError::invalid(field, format!("{url:?}"), why));
            }
        }
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        let good = match self.spec.checksum.split_once(':') {
            Some(("sha256", digest)) => hex(digest, 64),
            Some(("sha512", digest)) => hex(digest, 128),
            _ => false,
        };
        if !good {
            errors.push(FieldError::invalid(
                "spec.checksum",
                format!("{:?}", self.spec.checksum),
                "must be sha256: or sha512: and the digest in hex",
            ));
        }
        if self.spec.kernel_url.is_some() != self.spec.initrd_url.is_some() {
            errors.push(FieldError::required(
                if self.spec.kernel_url.is_some() { "spec.initrdUrl" } else { "spec.kernelUrl" },
                "network boot needs both kernelUrl and initrdUrl",
            ));
        }
    }

    kind_info!(Image);
}
