//! Where firmwares differ from the specification, as one table.
//!
//! A rule matches on what the service root and the system say of themselves and only ever adds.
//! What can be handled the same way for every BMC is handled in the code that reads the answer,
//! not here.

use super::resource::Doc;

/// What to send as `If-Match` with a PATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EtagRule {
    /// The ETag that came with the resource, if any.
    Own,
    /// `*`, whatever came with it.
    AnyOnly,
}

/// How to treat one BMC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quirks {
    pub(super) sessions: bool,
    pub(super) etag: EtagRule,
    /// `$expand` answers hold whole members.
    pub(super) expand: bool,
    /// Virtual CDs boot as this target instead of `Cd`.
    pub(super) cd_boot_target: &'static str,
    /// A boot override reads back as the target that was set.
    pub(super) override_reads_back: bool,
    /// `Once` is kept as `Continuous`: a boot override stays until it is changed.
    pub(super) once_is_continuous: bool,
    /// `LastResetTime` can be believed.
    pub(super) last_reset_time: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            sessions: true,
            etag: EtagRule::Own,
            expand: true,
            cd_boot_target: "Cd",
            override_reads_back: true,
            once_is_continuous: false,
            last_reset_time: true,
        }
    }
}

/// What a rule looks at; a `None` matches anything. Texts match as case-insensitive beginnings.
struct Rule {
    /// Root `Vendor`, or system `Manufacturer`.
    vendor: &'static str,
    /// Root `Product`, or system `Model`.
    product: Option<&'static str>,
    /// Root `RedfishVersion`.
    version: Option<&'static str>,
    apply: fn(&mut Quirks),
    /// Which firmware, and what it does.
    #[cfg_attr(not(test), expect(dead_code, reason = "documents the table"))]
    why: &'static str,
}

const TABLE: &[Rule] = &[
    Rule {
        vendor: "AMI",
        product: None,
        version: None,
        apply: |quirks| quirks.etag = EtagRule::AnyOnly,
        why: "MegaRAC asks for If-Match on PATCH but refuses the ETag it served",
    },
    Rule {
        vendor: "AMI",
        product: None,
        version: Some("1.11.0"),
        apply: |quirks| quirks.expand = false,
        why: "expanded members of DGX H100 lack Id and Name",
    },
    Rule {
        vendor: "NVIDIA",
        product: Some("GB BMC"),
        version: None,
        apply: |quirks| quirks.expand = false,
        why: "expanded members of GB200 and GB300 lack required properties",
    },
    Rule {
        vendor: "Dell",
        product: None,
        version: None,
        apply: |quirks| quirks.last_reset_time = false,
        why: "iDRAC reports LastResetTime as 0000-00-00T00:00:00+00:00 or not at all",
    },
    Rule {
        vendor: "Supermicro",
        product: None,
        version: None,
        apply: |quirks| quirks.cd_boot_target = "UsbCd",
        why: "X11 to X13 present virtual media as a USB CD drive and do not boot it as Cd",
    },
    Rule {
        vendor: "Sushy Emulator",
        product: None,
        version: None,
        apply: |quirks| {
            quirks.override_reads_back = false;
            quirks.once_is_continuous = true;
        },
        why: "sushy-tools stores UefiHttp as Pxe, or as Cd when it has an HttpBootUri, and ignores \
              BootSourceOverrideEnabled",
    },
];

impl Quirks {
    /// The quirks of the BMC whose service root is `root`, and of `system` on it.
    pub(super) fn of(root: Doc<'_>, system: Option<Doc<'_>>) -> Self {
        let vendors = [root.text("/Vendor"), system.and_then(|s| s.text("/Manufacturer"))];
        let products = [root.text("/Product"), system.and_then(|s| s.text("/Model"))];
        let versions = [root.text("/RedfishVersion")];
        let mut quirks = Self::default();
        for rule in TABLE {
            let fits = any_begins(&vendors, rule.vendor)
                && rule.product.is_none_or(|product| any_begins(&products, product))
                && rule.version.is_none_or(|version| any_begins(&versions, version));
            if fits {
                (rule.apply)(&mut quirks);
            }
        }
        quirks
    }
}

fn any_begins(texts: &[Option<String>], beginning: &str) -> bool {
    texts.iter().flatten().any(|text| {
        text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_match_by_vendor_product_and_version() {
        let quirks = |root, system| Quirks::of(Doc(&root), Some(Doc(&system)));
        assert_eq!(quirks(json!({}), json!({})), Quirks::default());
        let ami = quirks(json!({"Vendor": "AMI", "RedfishVersion": "1.11.0"}), json!({}));
        assert_eq!((ami.etag, ami.expand), (EtagRule::AnyOnly, false));
        let other_ami = quirks(json!({"Vendor": "AMI", "RedfishVersion": "1.15.0"}), json!({}));
        assert_eq!((other_ami.etag, other_ami.expand), (EtagRule::AnyOnly, true));
        let dell = quirks(json!({}), json!({"Manufacturer": "Dell Inc."}));
        assert!(!dell.last_reset_time);
        let supermicro = quirks(json!({"Vendor": "Supermicro"}), json!({}));
        assert_eq!(supermicro.cd_boot_target, "UsbCd");
    }

    #[test]
    fn every_rule_says_why_and_changes_something() {
        for rule in TABLE {
            let mut quirks = Quirks::default();
            (rule.apply)(&mut quirks);
            assert_ne!(quirks, Quirks::default(), "{}", rule.vendor);
            assert!(!rule.why.is_empty());
        }
    }
}
