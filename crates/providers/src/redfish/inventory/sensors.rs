//! Health of sensors, fans and power supplies: only what is not well is kept.

use quarterdeck_model::inventory::Problem;

use super::super::limits::{CHASSIS_MAX, MEMBERS_MAX, SENSORS_SINGLE_MAX};
use super::super::resource::Resource;
use super::super::system::System;
use super::{absent_as_empty, parts};
use crate::action::ActionError;

/// Lists in the older Thermal and Power resources.
const OLDER: [(&str, &[&str]); 2] =
    [("/Thermal", &["/Temperatures", "/Fans"]), ("/Power", &["/PowerSupplies", "/Voltages"])];

pub(super) async fn read(system: &System) -> Result<Vec<Problem>, ActionError> {
    let mut problems = Vec::new();
    for path in system.doc().links("/Links/Chassis").iter().take(CHASSIS_MAX) {
        let Some(chassis) = system.bmc.get_optional(path, &system.budget).await? else { continue };
        problems.extend(parts::problem(chassis.doc()));
        problems.extend(of_chassis(system, &chassis).await?);
    }
    Ok(problems)
}

/// Expanded Sensors are one request, so they come first; the older resources are two; single
/// sensors are the last resort.
async fn of_chassis(system: &System, chassis: &Resource) -> Result<Vec<Problem>, ActionError> {
    let doc = chassis.doc();
    let sensors = doc.link("/Sensors");
    let has_older = OLDER.iter().any(|(link, _lists)| doc.link(link).is_some());
    let expands = system.bmc.expand_query(&system.quirks, &system.budget).await?.is_some();
    if let Some(sensors) = sensors.filter(|_path| expands || !has_older) {
        let limit = if expands { MEMBERS_MAX } else { SENSORS_SINGLE_MAX };
        let members = system.bmc.members(&sensors, limit, &system.quirks, &system.budget).await;
        let members = absent_as_empty(members)?;
        return Ok(members.iter().filter_map(|sensor| parts::problem(sensor.doc())).collect());
    }
    let mut problems = Vec::new();
    for (link, lists) in OLDER {
        let Some(path) = doc.link(link) else { continue };
        let Some(older) = system.bmc.get_optional(&path, &system.budget).await? else { continue };
        for list in lists {
            problems.extend(older.doc().list(list).filter_map(parts::problem).take(MEMBERS_MAX));
        }
    }
    Ok(problems)
}
