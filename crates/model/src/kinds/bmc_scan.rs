//! BMCScan: where BMCs are looked for, which of them become servers, and what was found. What a pattern matches and
//! which addresses a range has is here, too. Pure.

use super::{BmcTls, INVENTORY, Resource, SecretReference, V1ALPHA1};
use crate::{
    Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, Time, kind_info, validate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// Ranges of addresses in which BMCs are looked for, and which of them become servers.
pub type BMCScan = Resource<BMCScanSpec, BMCScanStatus>;

/// Most addresses of one scan: 32 networks of 256, at a hundred a second in under two minutes.
pub const ADDRESSES_MAX: u64 = 8_192;
/// Most ranges.
const RANGES_MAX: usize = 64;
/// Most patterns.
const ALLOWED_MAX: usize = 10_000;
/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 128;

/// Where BMCs are looked for, and what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BMCScanSpec {
    /// Name of the Site in which they are.
    pub site: String,
    /// Networks, such as `10.0.4.0/24`, or single addresses.
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub ranges: Vec<String>,
    /// Port of the BMCs.
    #[serde(default = "https_port")]
    pub port: u16,
    /// They speak `http://`: for laboratories.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
    /// Secret with the keys `username` and `password`; that of the site, when not set. It is sent to whatever in the
    /// ranges says that it is a BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// How their certificates are verified.
    #[serde(default)]
    pub tls: BmcTls,
    /// Which of them become servers. One that nothing here fits is only told of.
    pub allow: BMCScanAllow,
    /// What the servers have in common.
    #[serde(default)]
    pub template: BMCScanTemplate,
}

fn https_port() -> u16 {
    443
}

/// Which BMCs become servers: those that one of these fits. `*` stands for any letters, `?` for one; case does not
/// matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BMCScanAllow {
    /// Serial numbers, or service tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub serials: Vec<String>,
    /// UUIDs of systems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub uuids: Vec<String>,
    /// Addresses of network interfaces, such as `aa:bb:cc:*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub mac_addresses: Vec<String>,
}

/// What the servers that are enrolled have in common.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BMCScanTemplate {
    /// Their labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Name of their ServerProfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Name of the Rack in which they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
}

/// What came of a BMC that answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BMCScanResult {
    /// Not decided yet.
    #[default]
    Pending,
    /// A server was made of it.
    Enrolled,
    /// It is a server already.
    Known,
    /// It is a server already, which is said to have its BMC at another address.
    KnownElsewhere,
    /// Nothing in the list fits it.
    NotAllowed,
    /// It could not be looked at or enrolled; its message says why.
    Failed,
}

/// A system that was found behind an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FoundBMC {
    /// The address, as a Server names it.
    pub address: String,
    /// `Id` of the system, where the BMC has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// SMBIOS UUID of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What came of it.
    pub result: BMCScanResult,
    /// The Server that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Why, where that is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BMCScanStatus {
    /// Generation of the spec this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was looked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_time: Option<Time>,
    /// Addresses that were tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<u32>,
    /// Those where a BMC answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<u32>,
    /// Servers that were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolled: Option<u32>,
    /// What was found: first what may become a server, then the rest; at most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub found: Vec<FoundBMC>,
    /// How many more there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u32>,
}

/// What is known of a system when it is asked whether it is allowed.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Serial number, service tag.
    pub serials: Vec<String>,
    /// UUID.
    pub uuid: Option<String>,
    /// Addresses of its interfaces.
    pub mac_addresses: Vec<String>,
}

impl BMCScanAllow {
    /// Whether one of the patterns fits.
    #[must_use]
    pub fn fits(&self, system: &Identity) -> bool {
        let any = |patterns: &[String], texts: &[String]| {
            texts.iter().any(|text| patterns.iter().any(|pattern| matches(pattern, text)))
        };
        any(&self.serials, &system.serials)
            || any(&self.uuids, system.uuid.as_slice())
            || any(&self.mac_addresses, &system.mac_addresses)
    }
}

/// Whether a text is as a pattern says, all of it.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), text.trim().to_lowercase().chars().collect());
    // Back to the last `*`, which takes one letter more: linear in both but for that.
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(seen)) {
            (Some('*'), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some('?'), Some(_)) => (at, seen) = (at + 1, seen + 1),
            (Some(wanted), Some(letter)) if wanted == letter => (at, seen) = (at + 1, seen + 1),
            (None, None) => return true,
            _ => match star {
                Some((place, from)) if from < text.len() => {
                    star = Some((place, from + 1));
                    (at, seen) = (place + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// The addresses of a network such as `10.0.4.0/24`, or of a single one; those of the network itself and of all at
/// once are left out.
///
/// # Errors
/// Why it is none.
pub fn addresses(range: &str) -> Result<impl Iterator<Item = IpAddr> + use<>, String> {
    let (address, bits) = match range.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (range, None),
    };
    let wrong = || "must be a network such as 10.0.4.0/24, or an address".to_owned();
    let address: IpAddr = address.parse().map_err(|_not_one| wrong())?;
    let (number, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32_u32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let bits = match bits {
        Some(bits) => bits.parse::<u32>().ok().filter(|bits| *bits <= width).ok_or_else(wrong)?,
        None => width,
    };
    let host = width - bits;
    if host >= 64 || 1_u64 << host > ADDRESSES_MAX {
        return Err(format!("has more than {ADDRESSES_MAX} addresses; name smaller networks"));
    }
    let count = 1_u128 << host;
    if number % count != 0 {
        return Err(
            "has bits behind its length that are not 0; name where the network begins".into()
        );
    }
    let ends = u128::from(host >= 2);
    let numbers = number + ends..number + count - ends;
    Ok(numbers.map(move |number| match address {
        IpAddr::V4(_) => IpAddr::from(u32::try_from(number).unwrap_or_default().to_be_bytes()),
        IpAddr::V6(_) => IpAddr::from(number.to_be_bytes()),
    }))
}

impl Kind for BMCScan {
    const GROUP: &'static str = INVENTORY;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "BMCScan";
    const PLURAL: &'static str = "bmcscans";
    const SINGULAR: &'static str = "bmcscan";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Cluster;
    const COLUMNS: &'static [Column] = &[
        Column::new("Site", "spec.site", "Site in which BMCs are looked for"),
        Column::new("Addresses", "status.addresses", "Addresses that were tried")
            .of(ColumnType::Integer),
        Column::new("Answered", "status.answered", "Those where a BMC answered")
            .of(ColumnType::Integer),
        Column::new("Enrolled", "status.enrolled", "Servers that were made")
            .of(ColumnType::Integer),
        Column::new("Scanned", "status.scanTime", "When it was looked last").of(ColumnType::Date),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.site"];
    const DESCRIPTION: &'static str = "BMCScan is ranges of addresses in which BMCs are looked for, and which of them become servers.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let spec = &self.spec;
        let rack = spec.template.rack.as_ref();
        let profile = spec.template.profile.as_ref();
        let names = [
            ("spec.site", Some(&spec.site)),
            ("spec.template.rack", rack),
            ("spec.template.profile", profile),
        ];
        for (field, name) in names {
            if let Some(name) = name
                && let Err(why) = validate::subdomain(name)
            {
                errors.push(FieldError::invalid(field, format!("{name:?}"), why));
            }
        }
        if spec.port == 0 {
            errors.push(FieldError::invalid("spec.port", 0, "must be between 1 and 65535"));
        }
        if let Some(secret) = &spec.credentials_secret_ref {
            secret.validate("spec.credentialsSecretRef", errors);
        }
        ranges(&spec.ranges, errors);
        allowed(&spec.allow, errors);
        for (name, value) in &spec.template.labels {
            let wrong =
                validate::qualified_name(name).err().or_else(|| validate::label_value(value).err());
            if let Some(why) = wrong {
                let field = format!("spec.template.labels[{name}]");
                errors.push(FieldError::invalid(field, format!("{value:?}"), why));
            }
        }
    }

    kind_info!(BMCScan);
}

fn ranges(ranges: &[String], errors: &mut FieldErrors) {
    if ranges.is_empty() {
        errors.push(FieldError::required("spec.ranges", "name networks such as 10.0.4.0/24"));
    }
    if ranges.len() > RANGES_MAX {
        let why = format!("may have at most {RANGES_MAX} entries");
        errors.push(FieldError::invalid("spec.ranges", ranges.len(), why));
        return;
    }
    let mut count = 0;
    for (at, range) in ranges.iter().enumerate() {
        match addresses(range) {
            Ok(all) => count += all.count(),
            Err(why) => {
                let field = format!("spec.ranges[{at}]");
                errors.push(FieldError::invalid(field, format!("{range:?}"), why));
            }
        }
    }
    if u64::try_from(count).is_ok_and(|count| count > ADDRESSES_MAX) {
        let why = format!(
            "together they have {count} addresses, and may have {ADDRESSES_MAX}; make several scans"
        );
        errors.push(FieldError::invalid("spec.ranges", ranges.len(), why));
    }
}

fn allowed(allow: &BMCScanAllow, errors: &mut FieldErrors) {
    let lists = [
        ("serials", &allow.serials),
        ("uuids", &allow.uuids),
        ("macAddresses", &allow.mac_addresses),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        let why = "say which may become servers; * as a serial allows all that tell one";
        errors.push(FieldError::required("spec.allow", why));
    }
    for (name, list) in lists {
        if list.len() > ALLOWED_MAX {
            let why = format!("may have at most {ALLOWED_MAX} entries");
            errors.push(FieldError::invalid(format!("spec.allow.{name}"), list.len(), why));
        }
        for (at, pattern) in list.iter().enumerate() {
            if pattern.trim().is_empty() || pattern.len() > PATTERN_BYTES_MAX {
                let why = format!("must have 1 to {PATTERN_BYTES_MAX} letters");
                let field = format!("spec.allow.{name}[{at}]");
                errors.push(FieldError::invalid(field, format!("{pattern:?}"), why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_have_their_hosts() {
        let of = |range: &str| -> Vec<String> {
            addresses(range).unwrap().map(|it| it.to_string()).collect()
        };
        assert_eq!(of("10.0.0.7"), ["10.0.0.7"]);
        assert_eq!(of("10.0.0.8/31"), ["10.0.0.8", "10.0.0.9"]);
        assert_eq!(of("10.0.0.8/30"), ["10.0.0.9", "10.0.0.10"]);
        assert_eq!(of("fd00::10/126"), ["fd00::11", "fd00::12"]);
        assert_eq!(addresses("10.0.0.0/24").unwrap().count(), 254);
        assert_eq!(of("255.255.255.252/30"), ["255.255.255.253", "255.255.255.254"]);
        for (wrong, why) in [
            ("10.0.0.0/16", "more than 8192"),
            ("::/0", "more than 8192"),
            ("10.0.0.1/24", "where the network begins"),
            ("10.0.0.0/33", "must be a network"),
            ("bmc-1", "must be a network"),
            ("10.0.0.0/", "must be a network"),
        ] {
            let told = addresses(wrong).err().unwrap();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }

    #[test]
    fn patterns_fit_all_of_a_text_in_any_case() {
        for (pattern, text, fits) in [
            ("SN-1", "sn-1", true),
            ("SN-1", "SN-12", false),
            ("SN-*", "SN-12", true),
            ("*-2?", "sn-21 ", true),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbY", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
        let allow =
            BMCScanAllow { mac_addresses: vec!["aa:bb:*".into()], ..BMCScanAllow::default() };
        let mac = |mac: &str| Identity { mac_addresses: vec![mac.into()], ..Identity::default() };
        assert!(allow.fits(&mac("AA:BB:cc:00:00:01")) && !allow.fits(&mac("aa:cc:00:00:00:01")));
        assert!(!allow.fits(&Identity::default()));
    }

    proptest! {
        #[test]
        fn a_star_takes_anything(text in "[a-z]{0,8}", rest in "[a-z]{0,8}") {
            let star = format!("{text}*");
            let both = format!("{text}{rest}");
            prop_assert!(matches(&star, &both));
            prop_assert!(matches(&text, &text));
        }
    }
}
