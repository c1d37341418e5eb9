//! The Redfish actions, one file each.

mod bmc_scan;
pub mod boot_next;
pub mod boot_order;
mod credentials_adopt;
pub mod credentials_apply;
pub mod credentials_generate;
pub mod disk_erase;
pub mod firmware_update;
pub mod firmware_wait;
pub mod inventory_refresh;
pub mod media_eject;
pub mod media_insert;
pub mod power_reset;
pub mod power_set;

use super::Redfish;
use crate::catalog::Catalog;
use serde_json::{Map, Value};

/// What Redfish actions are aimed at.
const SERVER: &[&str] = &["Server"];

/// A power state as a Server's status shows it.
fn power_seen(state: &str) -> Map<String, Value> {
    Map::from_iter([("powerState".to_owned(), state.into())])
}

pub(super) fn add(redfish: &Redfish, catalog: &mut Catalog) {
    catalog
        .add(bmc_scan::BmcScan { redfish: redfish.clone() })
        .add(boot_next::BootNext { redfish: redfish.clone() })
        .add(boot_order::BootOrder { redfish: redfish.clone() })
        .add(credentials_adopt::CredentialsAdopt)
        .add(credentials_apply::CredentialsApply { redfish: redfish.clone() })
        .add(credentials_generate::CredentialsGenerate { redfish: redfish.clone() })
        .add(disk_erase::DiskErase { redfish: redfish.clone() })
        .add(firmware_update::FirmwareUpdate { redfish: redfish.clone() })
        .add(firmware_wait::FirmwareWait { redfish: redfish.clone() })
        .add(inventory_refresh::InventoryRefresh { redfish: redfish.clone() })
        .add(media_eject::MediaEject { redfish: redfish.clone() })
        .add(media_insert::MediaInsert { redfish: redfish.clone() })
        .add(power_reset::PowerReset::new(redfish.clone()))
        .add(power_set::PowerSet { redfish: redfish.clone() });
}
