//! The firmware that a server should have: how it differs, and what would bring it there, in which order. Pure.

use crate::{FieldError, FieldErrors, inventory::Inventory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of the system's own firmware, whose version a BMC also shows apart from its inventory.
const BIOS: &str = "BIOS";
/// Longest address of an image.
const URL_BYTES_MAX: usize = 2_048;
/// What a BMC fetches images with (DSP0268, UpdateService.TransferProtocolType), as they are written.
pub const IMAGE_SCHEMES: [&str; 8] = ["http", "https", "nfs", "cifs", "ftp", "sftp", "scp", "tftp"];

/// Firmware that should be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirmwareBaseline {
    /// What it is for, as the inventory names it; `BIOS` is that of the system.
    pub name: String,
    /// Version.
    pub version: String,
    /// Where it comes from. Without it a server that differs is told of, and not updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<FirmwareImage>,
    /// When it is updated, among the others: lower ones first, and those of the same order as the list has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub order: u32,
    /// What must be done until a version that was written is the one that runs.
    #[serde(default)]
    pub activation: FirmwareActivation,
}

/// Where firmware comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirmwareImage {
    /// Where the BMC fetches it: an address with `http://`, `https://`, `nfs://`, `cifs://`, `ftp://`, `sftp://`,
    /// `scp://` or `tftp://`.
    pub url: String,
    /// `sha256:` and 64 hex digits. The plane looks at what is at the address before the BMC is told to fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// What must be done until a version that was written is the one that runs.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FirmwareActivation {
    /// Nothing, and what runs on the server is not interrupted.
    #[default]
    Immediate,
    /// The BMC is reset. What runs on the server is not interrupted.
    BMCReset,
    /// The server is powered off and on. What interrupts the server while it is written is of this kind, too.
    HostReset,
}

/// An update that would bring a server nearer to its profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FirmwareUpdate {
    /// What it is for, as the inventory names it.
    pub name: String,
    /// Version that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// Version that should be.
    pub version: String,
    /// Where it comes from.
    pub image: String,
    /// `sha256:` and 64 hex digits; empty when none is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    /// What must be done until it runs.
    pub activation: FirmwareActivation,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl FirmwareBaseline {
    /// The version that is found.
    fn installed<'i>(&self, found: &'i Inventory) -> Option<&'i String> {
        let installed = found.firmware.iter().find(|it| it.name == self.name);
        let installed = installed.and_then(|it| it.version.as_ref());
        installed.or(found.bios_version.as_ref().filter(|_| self.name == BIOS))
    }

    /// Finds what is wrong with it, at `field`.
    pub(super) fn validate(&self, field: &str, errors: &mut FieldErrors) {
        for (name, value) in [("name", &self.name), ("version", &self.version)] {
            if value.is_empty() {
                errors.push(FieldError::required(format!("{field}.{name}"), ""));
            }
        }
        let Some(image) = &self.image else { return };
        if let Err(why) = image_url(&image.url) {
            // The address itself is not repeated: it may be signed.
            errors.push(FieldError::invalid(format!("{field}.image.url"), "<hidden>", why));
        }
        let Some(checksum) = &image.checksum else { return };
        if sha256(checksum).is_none() {
            let why = "must be sha256: and 64 hex digits";
            let value = format!("{checksum:?}");
            errors.push(FieldError::invalid(format!("{field}.image.checksum"), value, why));
        }
        if !image.url.starts_with("http://") && !image.url.starts_with("https://") {
            let why = "the plane can look only at images with http:// or https://; leave it out";
            errors.push(FieldError::invalid(
                format!("{field}.image.checksum"),
                format!("{checksum:?}"),
                why,
            ));
        }
    }
}

/// Whether a BMC can be told to fetch an image from this address.
///
/// # Errors
/// Why not, without the address: it may be signed.
pub fn image_url(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if !IMAGE_SCHEMES.contains(&scheme) {
        return Err(
            "must begin with http://, https://, nfs://, cifs://, ftp://, sftp://, scp:// or tftp://",
        );
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty()
        || url.len() > URL_BYTES_MAX
        || url.chars().any(|it| it.is_control() || it == ' ')
    {
        return Err("must be an address such as https://host/file.bin");
    }
    if host.contains('@') {
        return Err("must not hold a user or password");
    }
    Ok(())
}

/// The digits of a checksum as it is written, in lower case.
#[must_use]
pub fn sha256(checksum: &str) -> Option<String> {
    let digits = checksum.strip_prefix("sha256:")?;
    let good = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    good.then(|| digits.to_ascii_lowercase())
}

/// Firmware of another version than the baseline's, each as a sentence without its end.
#[must_use]
pub fn differences(baselines: &[FirmwareBaseline], found: &Inventory) -> Vec<String> {
    let told = |baseline: &FirmwareBaseline| {
        let FirmwareBaseline { name, version: wanted, .. } = baseline;
        match baseline.installed(found) {
            Some(version) if version == wanted => None,
            Some(version) => Some(format!("{name} is {version}, and should be {wanted}")),
            None => Some(format!("{name} should be {wanted}, and none is shown")),
        }
    };
    baselines.iter().filter_map(told).collect()
}

/// The updates that would end these differences, in the order in which they are to be done.
#[must_use]
pub fn updates(baselines: &[FirmwareBaseline], found: &Inventory) -> Vec<FirmwareUpdate> {
    let update = |baseline: &FirmwareBaseline| {
        let image = baseline.image.as_ref()?;
        let installed = baseline.installed(found);
        if installed == Some(&baseline.version) {
            return None;
        }
        let update = FirmwareUpdate {
            name: baseline.name.clone(),
            installed: installed.cloned(),
            version: baseline.version.clone(),
            image: image.url.clone(),
            checksum: image.checksum.clone().unwrap_or_default(),
            activation: baseline.activation,
        };
        Some((baseline.order, update))
    };
    let mut updates: Vec<(u32, FirmwareUpdate)> = baselines.iter().filter_map(update).collect();
    updates.sort_by_key(|(order, _)| *order);
    updates.into_iter().map(|(_, update)| update).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn baselines(list: Value) -> Vec<FirmwareBaseline> {
        serde_json::from_value(list).unwrap()
    }

    fn found() -> Inventory {
        serde_json::from_value(json!({
            "biosVersion": "2.6.0", "firmware": [{"name": "BMC", "version": "4.10"}],
        }))
        .unwrap()
    }

    #[test]
    fn each_difference_is_named() {
        let same =
            json!([{"name": "BMC", "version": "4.10"}, {"name": "BIOS", "version": "2.6.0"}]);
        assert_eq!(differences(&baselines(same), &found()), [""; 0]);
        let other = json!([
            {"name": "BMC", "version": "5.00"}, {"name": "BIOS", "version": "2.7.2"},
            {"name": "NIC", "version": "22"},
        ]);
        assert_eq!(
            differences(&baselines(other), &found()),
            [
                "BMC is 4.10, and should be 5.00",
                "BIOS is 2.6.0, and should be 2.7.2",
                "NIC should be 22, and none is shown",
            ]
        );
    }

    #[test]
    fn updates_come_in_their_order_and_only_with_an_image() {
        let image = |name: &str| json!({"url": format!("https://images.example/{name}.bin")});
        let list = baselines(json!([
            {"name": "BIOS", "version": "2.7.2", "image": image("bios"), "order": 20, "activation": "HostReset"},
            {"name": "NIC", "version": "22"},
            {"name": "CPLD", "version": "3", "image": image("cpld"), "order": 20, "activation": "HostReset"},
            {"name": "BMC", "version": "5.00", "image": image("bmc"), "activation": "BMCReset"},
        ]));
        let updates = updates(&list, &found());
        let names: Vec<&str> = updates.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["BMC", "BIOS", "CPLD"]);
        assert_eq!(updates[0].installed.as_deref(), Some("4.10"));
        assert_eq!(updates[2].installed, None);
        let mut now = found();
        now.firmware[0].version = Some("5.00".into());
        assert_eq!(super::updates(&list, &now).len(), 2, "what is there is not done again");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field_and_a_signed_address_is_not_repeated() {
        for (image, field, why) in [
            (json!({"url": "file:///etc/passwd"}), "f.image.url", "must begin with"),
            (json!({"url": "https://u:secret@h/a"}), "f.image.url", "user or password"),
            (json!({"url": "https:///a"}), "f.image.url", "must be an address"),
            (json!({"url": "https://h/a", "checksum": "md5:1"}), "f.image.checksum", "sha256"),
            (
                json!({"url": "nfs://h/a", "checksum": format!("sha256:{}", "0".repeat(64))}),
                "f.image.checksum",
                "only at images with http",
            ),
        ] {
            let one = baselines(json!([{"name": "BMC", "version": "1", "image": image}]));
            let mut errors = FieldErrors::new();
            one[0].validate("f", &mut errors);
            let told = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(told.starts_with(field) && told.contains(why), "{image}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        let good = baselines(json!([{"name": "BMC", "version": "1",
            "image": {"url": "https://h/a?sig=1", "checksum": format!("sha256:{}", "aB".repeat(32))}}]));
        let mut errors = FieldErrors::new();
        good[0].validate("f", &mut errors);
        assert_eq!(errors.len(), 0);
    }
}
