//! Which rack units servers fill, and which two servers fill the same. Pure.

use quarterdeck_model::{
    Object,
    kinds::{Location, Server},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Condition of a server whose units another fills too; absent otherwise.
pub(crate) const UNITS_FREE: &str = "UnitsFree";

/// The rack units that a server fills, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Units {
    lowest: u16,
    highest: u16,
}

impl Units {
    /// Those of a location; none when it names no unit.
    pub(crate) fn of(location: &Location) -> Option<Self> {
        Some(Self::new(location.unit?, location.height))
    }

    /// The same of a stored server, without decoding it.
    fn of_object(server: &Object) -> Option<Self> {
        let number = |path| server.field(path)?.parse().ok();
        Some(Self::new(number("spec.location.unit")?, number("spec.location.height")))
    }

    fn new(lowest: u16, height: Option<u16>) -> Self {
        let above = height.unwrap_or(1).clamp(1, Location::HEIGHT_MAX) - 1;
        Self { lowest, highest: lowest.saturating_add(above) }
    }

    /// The lowest unit that both fill.
    fn shared(self, other: Self) -> Option<u16> {
        let lowest = self.lowest.max(other.lowest);
        (lowest <= self.highest.min(other.highest)).then_some(lowest)
    }
}

/// The highest unit that a server at this place fills; none when it names no unit.
pub(crate) fn highest(location: &Location) -> Option<u16> {
    Units::of(location).map(|units| units.highest)
}

/// Whether two servers are in one chassis, and so in the same units: systems of one BMC.
fn one_chassis(one: &Server, other: &Server) -> bool {
    let (one, other) = (&one.spec.bmc, &other.spec.bmc);
    one.address == other.address
        && one.system_id.is_some()
        && other.system_id.is_some()
        && one.system_id != other.system_id
}

/// The first of `others` that fills a unit which `server` is to fill, and that unit.
pub(crate) fn taken(server: &Server, others: &[Arc<Object>]) -> Option<(u16, Arc<Object>)> {
    let units = Units::of(server.spec.location.as_ref()?)?;
    others.iter().filter(|other| other.name() != server.metadata.name).find_map(|other| {
        let unit = units.shared(Units::of_object(other)?)?;
        let chassis = other.decode::<Server>().is_ok_and(|other| one_chassis(server, &other));
        (!chassis).then(|| (unit, other.clone()))
    })
}

/// For each of the servers of one rack that fills a unit which another fills too: the lowest such
/// unit, and who else fills it.
pub(crate) fn clashes(servers: &[Arc<Object>]) -> HashMap<&str, (u16, &str)> {
    let mut filling: BTreeMap<u16, Vec<&Arc<Object>>> = BTreeMap::new();
    for server in servers {
        let Some(Units { lowest, highest }) = Units::of_object(server) else { continue };
        for unit in lowest..=highest {
            filling.entry(unit).or_default().push(server);
        }
    }
    let mut clashes = HashMap::new();
    for (unit, servers) in filling.iter().filter(|(_, servers)| servers.len() > 1) {
        // Few share a unit, and by mistake: only those are decoded.
        let decoded: Vec<Option<Server>> =
            servers.iter().map(|server| server.decode().ok()).collect();
        let both = || servers.iter().zip(&decoded);
        for (server, spec) in both() {
            let apart = |other: &Option<Server>| match (spec, other) {
                (Some(one), Some(other)) => !one_chassis(one, other),
                _ => true,
            };
            let mut others = both().filter(|(other, _)| other.name() != server.name());
            if let Some((other, _)) = others.find(|(_, other)| apart(other)) {
                clashes.entry(server.name()).or_insert((*unit, other.name()));
            }
        }
    }
    clashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Key, Kind as _, Revision, object};
    use serde_json::{Value, json};

    fn server(name: &str, location: Value, bmc: Value) -> Arc<Object> {
        let value = json!({
            "metadata": {"name": name, "uid": name},
            "spec": {"location": location, "bmc": bmc},
        });
        let key = Key::new(Server::info(), "", name);
        let body = object::encode(Server::info(), &value);
        Arc::new(Object::from_body(Server::info(), key, Revision(1), &body).unwrap())
    }

    fn at(name: &str, unit: u16, height: u16) -> Arc<Object> {
        let location = json!({"rack": "r", "unit": unit, "height": height});
        server(name, location, json!({"address": name}))
    }

    fn system(name: &str, address: &str, system: Option<&str>) -> Arc<Object> {
        let location = json!({"rack": "r", "unit": 4});
        server(name, location, json!({"address": address, "systemId": system}))
    }

    #[test]
    fn servers_that_fill_the_same_unit_are_told_of_each_other() {
        type Clash = (&'static str, u16, &'static str);
        let cases: [(Vec<Arc<Object>>, &[Clash]); 8] = [
            (vec![at("a", 1, 1), at("b", 2, 1)], &[]),
            (vec![at("a", 7, 1), at("b", 7, 1)], &[("a", 7, "b"), ("b", 7, "a")]),
            (vec![at("a", 5, 4), at("b", 8, 1)], &[("a", 8, "b"), ("b", 8, "a")]),
            (vec![at("a", 5, 4), at("b", 9, 1)], &[]),
            (
                vec![at("a", 1, 3), at("b", 3, 3), at("c", 5, 1)],
                &[("a", 3, "b"), ("b", 3, "a"), ("c", 5, "b")],
            ),
            (vec![server("a", json!({"rack": "r"}), json!({"address": "a"})), at("b", 1, 1)], &[]),
            // Four systems of one chassis, and who is mounted where they are.
            (vec![system("a", "m", Some("1")), system("b", "m", Some("2"))], &[]),
            (
                vec![system("a", "m", Some("1")), system("b", "m", Some("1")), at("c", 4, 1)],
                &[("a", 4, "b"), ("b", 4, "a"), ("c", 4, "a")],
            ),
        ];
        for (servers, wanted) in cases {
            let mut found: Vec<Clash> = Vec::new();
            let clashes = clashes(&servers);
            for name in ["a", "b", "c"] {
                if let Some((unit, other)) = clashes.get(name) {
                    let other = ["a", "b", "c"].into_iter().find(|name| name == other).unwrap();
                    found.push((name, *unit, other));
                }
            }
            assert_eq!(found, wanted, "{servers:?}");
            // What is refused when it is written last is what is told of when it was not.
            for server in &servers {
                let spec: Server = server.decode().unwrap();
                let refused = taken(&spec, &servers).is_some();
                assert_eq!(refused, clashes.contains_key(server.name()), "{server:?}");
            }
        }
    }

    #[test]
    fn the_highest_numbers_do_no_harm() {
        let servers = [at("a", u16::MAX, u16::MAX), at("b", u16::MAX, 1)];
        assert_eq!(clashes(&servers).len(), 2);
        assert!(clashes(&[at("a", 1, 0), at("b", 1, 1)]).contains_key("a"));
    }
}
