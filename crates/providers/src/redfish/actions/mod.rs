//! The Redfish actions, one file each.

mod inventory_refresh;
mod power_reset;
mod power_set;

use super::Redfish;
use crate::catalog::Catalog;

/// What Redfish actions are aimed at.
const SERVER: &[&str] = &["Server"];

pub(super) fn add(redfish: &Redfish, catalog: &mut Catalog) {
    catalog
        .add(inventory_refresh::InventoryRefresh { redfish: redfish.clone() })
        .add(power_reset::PowerReset::new(redfish.clone()))
        .add(power_set::PowerSet { redfish: redfish.clone() });
}
