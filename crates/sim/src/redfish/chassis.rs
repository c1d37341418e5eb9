//! The chassis: power supplies, fans and temperatures, as the older resources and as sensors. Readings stay as they are
//! while nothing is wrong.

use super::{
    ROOT,
    schema::{collection, resource as begin},
    system::{CHASSIS, MANAGER, SYSTEM},
    view::{View, link, segment, with},
};
use crate::state::Power;
use serde_json::{Value, json};

const FANS: u32 = 6;
const SUPPLIES: u32 = 2;

pub(super) fn resource(view: &View<'_>, parts: &[&str]) -> Option<Value> {
    match parts {
        [] => Some(collection(&format!("{ROOT}/Chassis"), "Chassis", "Chassis", ["1"])),
        ["1"] => Some(chassis(view)),
        ["1", "Power"] => Some(power(view)),
        ["1", "Thermal"] => Some(thermal(view)),
        ["1", "Sensors"] => {
            let ids = sensors(view).into_iter().map(|sensor| segment(&sensor.name));
            Some(collection(&format!("{CHASSIS}/Sensors"), "Sensor", "Sensors", ids))
        }
        ["1", "Sensors", wanted] => {
            let all = sensors(view);
            let found = all.iter().find(|sensor| segment(&sensor.name) == *wanted)?;
            Some(found.resource(view))
        }
        _ => None,
    }
}

fn chassis(view: &View<'_>) -> Value {
    let found = &view.inventory;
    let power = if view.power == Power::Off { "Off" } else { "On" };
    with(
        begin(CHASSIS, "Chassis", "1", "Chassis"),
        json!({
            "ChassisType": "RackMount",
            "Manufacturer": found.manufacturer,
            "Model": found.model,
            "SerialNumber": found.serial_number,
            "PowerState": power,
            "Status": {"State": "Enabled", "Health": "OK"},
            "Power": link(format_args!("{CHASSIS}/Power")),
            "Thermal": link(format_args!("{CHASSIS}/Thermal")),
            "Sensors": link(format_args!("{CHASSIS}/Sensors")),
            "Links": {"ComputerSystems": [link(SYSTEM)], "ManagedBy": [link(MANAGER)]},
        }),
    )
}

/// Something that is read.
struct Sensor {
    name: String,
    kind: &'static str,
    reading: f64,
    units: &'static str,
}

impl Sensor {
    fn resource(&self, view: &View<'_>) -> Value {
        let id = segment(&self.name);
        with(
            begin(&format!("{CHASSIS}/Sensors/{id}"), "Sensor", &id, &self.name),
            json!({
                "ReadingType": self.kind,
                "Reading": self.reading,
                "ReadingUnits": self.units,
                "Status": view.status(&self.name),
            }),
        )
    }
}

/// Revolutions a minute of a fan: a machine that is off needs none.
fn revolutions(view: &View<'_>, fan: &str) -> u32 {
    match (view.problem(fan), view.power) {
        (Some(_), _) => 900,
        (None, Power::Off) => 0,
        (None, _) => 8_400,
    }
}

fn volts(view: &View<'_>, supply: &str) -> f64 {
    if view.problem(supply).is_some() { 0.0 } else { 230.0 }
}

fn watts(view: &View<'_>) -> f64 {
    let busy = if view.power == Power::Off { 0 } else { view.inventory.cpus.unwrap_or_default() };
    15.0 + 3.0 * f64::from(busy)
}

fn sensors(view: &View<'_>) -> Vec<Sensor> {
    let sensor = |name: String, kind, reading, units| Sensor { name, kind, reading, units };
    let fans = (1..=FANS).map(|number| {
        let name = format!("Fan {number}");
        let reading = revolutions(view, &name).into();
        sensor(name, "Rotational", reading, "RPM")
    });
    let supplies = (1..=SUPPLIES).map(|number| {
        let name = format!("PSU {number}");
        let reading = volts(view, &name);
        sensor(name, "Voltage", reading, "V")
    });
    let others = [
        sensor("Inlet".into(), "Temperature", 22.0, "Cel"),
        sensor("Power".into(), "Power", watts(view), "W"),
    ];
    others.into_iter().chain(fans).chain(supplies).collect()
}

fn power(view: &View<'_>) -> Value {
    let path = format!("{CHASSIS}/Power");
    let at = |list: &str, place: u32| format!("{path}#/{list}/{place}");
    let supplies: Vec<Value> = (0..SUPPLIES)
        .map(|place| {
            let name = format!("PSU {}", place + 1);
            json!({
                "@odata.id": at("PowerSupplies", place),
                "MemberId": place.to_string(),
                "Name": name,
                "LineInputVoltage": volts(view, &name),
                "Status": view.status(&name),
            })
        })
        .collect();
    let control = json!({
        "@odata.id": at("PowerControl", 0),
        "MemberId": "0",
        "Name": "System power",
        "PowerConsumedWatts": watts(view),
        "Status": {"State": "Enabled", "Health": "OK"},
    });
    with(
        begin(&path, "Power", "Power", "Power"),
        json!({"PowerControl": [control], "PowerSupplies": supplies}),
    )
}

fn thermal(view: &View<'_>) -> Value {
    let path = format!("{CHASSIS}/Thermal");
    let fans: Vec<Value> = (0..FANS)
        .map(|place| {
            let name = format!("Fan {}", place + 1);
            json!({
                "@odata.id": format!("{path}#/Fans/{place}"),
                "MemberId": place.to_string(),
                "Name": name,
                "Reading": revolutions(view, &name),
                "ReadingUnits": "RPM",
                "Status": view.status(&name),
            })
        })
        .collect();
    let inlet = json!({
        "@odata.id": format!("{path}#/Temperatures/0"),
        "MemberId": "0",
        "Name": "Inlet",
        "ReadingCelsius": 22,
        "PhysicalContext": "Intake",
        "Status": {"State": "Enabled", "Health": "OK"},
    });
    with(
        begin(&path, "Thermal", "Thermal", "Thermal"),
        json!({"Temperatures": [inlet], "Fans": fans}),
    )
}
