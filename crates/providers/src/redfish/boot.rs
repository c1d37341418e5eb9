//! Boot: what a system starts from, once and always. Pure but for one wait.
//!
//! A one-time choice is an override that the BMC forgets after a start; the order is a list of the
//! firmware's own boot options (DSP0268, ComputerSystem.Boot).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::quirks::Quirks;
use super::resource::Doc;

/// What a machine can start from, in an operator's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Device {
    /// The network, by PXE.
    Network,
    /// The network, by UEFI HTTP.
    HttpNetwork,
    /// A disk in the machine.
    Disk,
    /// The CD or DVD that the BMC presents.
    VirtualMedia,
    /// A USB drive.
    Usb,
    /// The firmware's setup screens.
    FirmwareSetup,
    /// Whatever the boot order says: takes an override back.
    Default,
}

impl Device {
    /// The names a BMC may have for it (DSP0268, ComputerSystem.BootSource), best first.
    fn targets(self, quirks: &Quirks) -> Vec<&'static str> {
        match self {
            Self::VirtualMedia => vec![quirks.cd_boot_target, "Cd", "UsbCd"],
            _ => vec![self.target()],
        }
    }

    /// The specification's name for it.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::Network => "Pxe",
            Self::HttpNetwork => "UefiHttp",
            Self::Disk => "Hdd",
            Self::VirtualMedia => "Cd",
            Self::Usb => "Usb",
            Self::FirmwareSetup => "BiosSetup",
            Self::Default => "None",
        }
    }

    /// The device of that name, for lists that also take boot option references.
    fn parse(word: &str) -> Option<Self> {
        Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word))
            .ok()
    }
}

/// How the firmware starts the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mode {
    /// As UEFI.
    UEFI,
    /// As a BIOS did.
    Legacy,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UEFI => "UEFI",
            Self::Legacy => "Legacy",
        }
    }
}

/// A one-time choice as a BMC takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Override {
    pub(super) target: &'static str,
    mode: Option<Mode>,
    http_boot_uri: Option<String>,
}

/// What a BMC shows of the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Exactly what is wanted.
    Wanted,
    /// The device is wanted, but the BMC keeps it for every start.
    WantedAlways,
    Other,
}

impl Override {
    /// The choice of `device` at a system, or what it can do instead.
    pub(super) fn choose(
        device: Device,
        mode: Option<Mode>,
        http_boot_uri: Option<String>,
        system: Doc<'_>,
        quirks: &Quirks,
    ) -> Result<Self, String> {
        let allowed = system.texts("/Boot/BootSourceOverrideTarget@Redfish.AllowableValues");
        let names = device.targets(quirks);
        // No list, or taking back, which some BMCs allow without listing it.
        let any = allowed.is_empty() || device == Device::Default;
        let fits = |name: &&&str| any || allowed.iter().any(|allowed| allowed == **name);
        let Some(target) = names.iter().find(fits) else {
            return Err(format!(
                "it cannot boot {} once; it allows {}",
                names.join(" or "),
                allowed.join(", ")
            ));
        };
        Ok(Self { target, mode, http_boot_uri })
    }

    fn is_default(&self) -> bool {
        self.target == "None"
    }

    /// The change to ask for.
    pub(super) fn body(&self) -> Value {
        let enabled = if self.is_default() { "Disabled" } else { "Once" };
        let mut boot = json!({
            "BootSourceOverrideEnabled": enabled,
            "BootSourceOverrideTarget": self.target,
        });
        if let Some(boot) = boot.as_object_mut() {
            if let Some(mode) = self.mode {
                boot.insert("BootSourceOverrideMode".to_owned(), mode.as_str().into());
            }
            if let Some(uri) = &self.http_boot_uri {
                boot.insert("HttpBootUri".to_owned(), uri.as_str().into());
            }
        }
        json!({"Boot": boot})
    }

    /// Compares with what the system shows.
    pub(super) fn shown(&self, system: Doc<'_>) -> Shown {
        let enabled = system.text("/Boot/BootSourceOverrideEnabled");
        let target = system.text("/Boot/BootSourceOverrideTarget");
        if self.is_default() {
            let off = enabled.as_deref() == Some("Disabled") || target.as_deref() == Some("None");
            return if off { Shown::Wanted } else { Shown::Other };
        }
        let mode = system.text("/Boot/BootSourceOverrideMode");
        let mode_fits = self.mode.is_none_or(|wanted| mode.as_deref() == Some(wanted.as_str()));
        // Read raw: a text that is cut would not compare.
        let uri = system.0.pointer("/Boot/HttpBootUri").and_then(Value::as_str);
        let uri_fits = self.http_boot_uri.is_none() || self.http_boot_uri.as_deref() == uri;
        if target.as_deref() != Some(self.target) || !mode_fits || !uri_fits {
            return Shown::Other;
        }
        match enabled.as_deref() {
            Some("Once") => Shown::Wanted,
            Some("Continuous") => Shown::WantedAlways,
            _ => Shown::Other,
        }
    }
}

/// One entry of the firmware's boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOption {
    /// What the firmware calls it: `Boot0003`.
    pub reference: String,
    device: Option<Device>,
}

impl BootOption {
    /// An option of which the device is known.
    #[must_use]
    pub fn new(reference: String, device: Device) -> Self {
        Self { reference, device: Some(device) }
    }

    /// Reads a BootOption resource (DSP0268, BootOption).
    pub(super) fn of(doc: Doc<'_>) -> Option<Self> {
        let reference = doc.text("/BootOptionReference").or_else(|| doc.text("/Id"))?;
        Some(Self { reference, device: option_device(doc) })
    }

    /// An option of which only the reference is known.
    pub(super) fn bare(reference: String) -> Self {
        Self { reference, device: None }
    }
}

/// By its alias, else by its UEFI path, else by what its name says.
fn option_device(option: Doc<'_>) -> Option<Device> {
    match option.text("/Alias").as_deref() {
        Some("Pxe") => return Some(Device::Network),
        Some("UefiHttp") => return Some(Device::HttpNetwork),
        Some("Hdd") => return Some(Device::Disk),
        Some("Cd" | "UsbCd") => return Some(Device::VirtualMedia),
        Some("Usb") => return Some(Device::Usb),
        Some("BiosSetup") => return Some(Device::FirmwareSetup),
        _ => {}
    }
    let path = option.text("/UefiDevicePath").unwrap_or_default().to_ascii_lowercase();
    let name = option.text("/DisplayName").unwrap_or_default().to_ascii_lowercase();
    // Nodes of a UEFI device path (UEFI 2.10 §10.6); the most telling come first.
    let by_path = [
        ("/uri(", Device::HttpNetwork),
        ("mac(", Device::Network),
        ("cdrom(", Device::VirtualMedia),
        ("usb(", Device::Usb),
        ("nvme(", Device::Disk),
        ("sata(", Device::Disk),
        ("scsi(", Device::Disk),
        ("hd(", Device::Disk),
    ];
    let by_name = [
        ("http", Device::HttpNetwork),
        ("pxe", Device::Network),
        ("network", Device::Network),
        ("virtual cd", Device::VirtualMedia),
        ("cdrom", Device::VirtualMedia),
        ("usb", Device::Usb),
        ("hard drive", Device::Disk),
        ("disk", Device::Disk),
    ];
    let find = |text: &str, table: &[(&str, Device)]| {
        table.iter().find(|(part, _)| text.contains(part)).map(|(_, device)| *device)
    };
    find(&path, &by_path).or_else(|| find(&name, &by_name))
}

/// The boot order with what `first` names in front; the others follow in the order they have.
/// A word is an option's reference or a device, which stands for all options of that device.
/// Fails with the word that names nothing.
pub(super) fn reorder<'a>(
    options: &[BootOption],
    first: &'a [String],
) -> Result<Vec<String>, &'a str> {
    let mut order: Vec<String> = Vec::with_capacity(options.len());
    for word in first {
        let device = Device::parse(word);
        let mut fitting = options
            .iter()
            .filter(|option| {
                option.reference == *word || (device.is_some() && option.device == device)
            })
            .peekable();
        if fitting.peek().is_none() {
            return Err(word);
        }
        for option in fitting {
            if !order.contains(&option.reference) {
                order.push(option.reference.clone());
            }
        }
    }
    for option in options {
        if !order.contains(&option.reference) {
            order.push(option.reference.clone());
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choose(device: Device, allowed: Value) -> Result<&'static str, String> {
        let system = json!({"Boot": {
            "BootSourceOverrideTarget@Redfish.AllowableValues": allowed,
        }});
        Override::choose(device, None, None, Doc(&system), &Quirks::default())
            .map(|choice| choice.target)
    }

    #[test]
    fn the_first_name_that_the_bmc_allows_is_chosen() {
        assert_eq!(choose(Device::Network, json!(["Pxe", "Hdd"])), Ok("Pxe"));
        assert_eq!(choose(Device::Network, json!(null)), Ok("Pxe"));
        assert_eq!(choose(Device::VirtualMedia, json!(["Pxe", "UsbCd"])), Ok("UsbCd"));
        assert_eq!(choose(Device::Default, json!(["Pxe"])), Ok("None"));
        let refused = choose(Device::HttpNetwork, json!(["Pxe", "Hdd"])).unwrap_err();
        assert!(refused.contains("UefiHttp") && refused.contains("Pxe, Hdd"), "{refused}");
    }

    #[test]
    fn what_is_shown_is_told_apart() {
        let wanted = |mode| Override { target: "Pxe", mode, http_boot_uri: None };
        for (enabled, target, mode, choice, shown) in [
            ("Once", "Pxe", None, wanted(None), Shown::Wanted),
            ("Once", "Pxe", Some("Legacy"), wanted(None), Shown::Wanted),
            ("Once", "Pxe", Some("Legacy"), wanted(Some(Mode::UEFI)), Shown::Other),
            ("Continuous", "Pxe", None, wanted(None), Shown::WantedAlways),
            ("Disabled", "Pxe", None, wanted(None), Shown::Other),
            ("Once", "Hdd", None, wanted(None), Shown::Other),
        ] {
            let system = json!({"Boot": {
                "BootSourceOverrideEnabled": enabled,
                "BootSourceOverrideTarget": target,
                "BootSourceOverrideMode": mode,
            }});
            assert_eq!(choice.shown(Doc(&system)), shown, "{enabled} {target} {mode:?}");
        }
        let none = Override { target: "None", mode: None, http_boot_uri: None };
        let off = json!({"Boot": {"BootSourceOverrideEnabled": "Disabled"}});
        assert_eq!(none.shown(Doc(&off)), Shown::Wanted);
        assert_eq!(none.body()["Boot"]["BootSourceOverrideEnabled"], "Disabled");
    }

    #[test]
    fn options_are_told_by_alias_path_or_name() {
        let device = |json: Value| option_device(Doc(&json));
        for (option, wanted) in [
            (json!({"Alias": "Pxe", "DisplayName": "disk"}), Some(Device::Network)),
            (
                json!({"UefiDevicePath": "PciRoot(0x0)/Pci(0x1,0x0)/MAC(0011,0x1)/IPv4(0.0.0.0)"}),
                Some(Device::Network),
            ),
            (
                json!({"UefiDevicePath": "PciRoot(0x0)/MAC(0011,0x1)/IPv4(0.0.0.0)/Uri()"}),
                Some(Device::HttpNetwork),
            ),
            (json!({"UefiDevicePath": "PciRoot(0x0)/NVMe(0x1,00)/HD(1,GPT)"}), Some(Device::Disk)),
            (json!({"DisplayName": "PXE Device 1: NIC"}), Some(Device::Network)),
            (json!({"DisplayName": "EFI shell"}), None),
        ] {
            assert_eq!(device(option.clone()), wanted, "{option}");
        }
    }

    fn menu() -> Vec<BootOption> {
        let option =
            |number: u8, device| BootOption { reference: format!("Boot000{number}"), device };
        vec![
            option(1, Some(Device::Disk)),
            option(2, Some(Device::Network)),
            option(3, None),
            option(4, Some(Device::Network)),
        ]
    }

    #[test]
    fn an_order_takes_devices_and_references() {
        let order = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            reorder(&menu(), &words)
                .map(|order| order.concat().replace("Boot000", ""))
                .map_err(str::to_owned)
        };
        assert_eq!(order(&["Network"]), Ok("2413".to_owned()));
        assert_eq!(order(&["Boot0003", "Disk", "Disk"]), Ok("3124".to_owned()));
        assert_eq!(order(&[]), Ok("1234".to_owned()));
        assert_eq!(order(&["Disk", "Usb"]), Err("Usb".to_owned()));
    }

    proptest! {
        #[test]
        fn no_option_is_lost_or_doubled(
            words in prop::collection::vec("Network|Disk|Boot000[1-4]|Nonsense", 0..6),
        ) {
            if let Ok(mut order) = reorder(&menu(), &words) {
                let again = reorder(&menu(), &order).unwrap();
                prop_assert_eq!(&again, &order);
                order.sort();
                let all: Vec<String> = menu().into_iter().map(|option| option.reference).collect();
                prop_assert_eq!(order, all);
            }
        }
    }
}
