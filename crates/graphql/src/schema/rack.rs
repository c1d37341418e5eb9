//! A rack, unit by unit.

use super::{
    fleet::Place,
    object::{Node, ValueCount},
    permit::count,
    run::unreadable,
    service::{counted, full_name},
};
use crate::{links, moment::Moment};
use async_graphql::{Error, SimpleObject};
use quarterdeck_model::{
    Kind as _, Object as Stored,
    kinds::{self, Instance, Machine, Server},
};
use std::sync::Arc;

#[derive(SimpleObject)]
pub(crate) struct Rack {
    object: Node,
    place: Place,
    units: i32,
    power_feeds: Vec<String>,
    /// By unit, from the lowest; those whose unit is not known last.
    slots: Vec<RackSlot>,
    /// Services with instances in it: those with the most first, at most 100.
    services: Vec<ValueCount>,
}

#[derive(SimpleObject)]
pub(crate) struct RackSlot {
    unit: Option<i32>,
    height: i32,
    server: Node,
    machine: Option<Node>,
    power: Option<String>,
    /// Services with instances on it, as `namespace/name`.
    services: Vec<ValueCount>,
}

/// What names an object by a relation, of one kind, and may be seen.
fn naming(moment: &Moment, object: &Stored, from: quarterdeck_model::KindRef) -> Vec<Arc<Stored>> {
    let links = links::all().iter().filter(|link| link.from == from && link.to == object.kind);
    moment.seen(links.flat_map(|link| link.naming(&moment.world, object)).collect())
}

pub(crate) async fn rack(moment: &Moment, stored: Arc<Stored>) -> Result<Rack, Error> {
    let rack: kinds::Rack = stored.decode().map_err(unreadable)?;
    let mut slots = Vec::new();
    let mut everywhere = Vec::new();
    for server in naming(moment, &stored, Server::info()) {
        moment.charge(2).await?;
        let machine = naming(moment, &server, Machine::info()).into_iter().next();
        let mut instances = naming(moment, &server, Instance::info());
        if let Some(machine) = &machine {
            instances.extend(naming(moment, machine, Instance::info()));
        }
        moment.charge(instances.len() / 4).await?;
        let number = |path| server.field(path).and_then(|text| text.parse().ok());
        let services: Vec<String> = instances.iter().map(|it| full_name(it)).collect();
        everywhere.extend(services.iter().cloned());
        let power = server.field("status.powerState").filter(|power| !power.is_empty());
        slots.push(RackSlot {
            unit: number("spec.location.unit"),
            height: number("spec.location.height").unwrap_or(1),
            power: power.map(Into::into),
            machine: machine.map(Node::new),
            services: counted(services.into_iter()),
            server: Node::new(server),
        });
    }
    slots.sort_by_key(|slot| (slot.unit.is_none(), slot.unit));
    let place = Place {
        site: rack.spec.site,
        hall: rack.spec.hall,
        row: rack.spec.row,
        rack: Some(stored.name().into()),
    };
    Ok(Rack {
        place,
        units: count(rack.spec.units.into()),
        power_feeds: rack.spec.power_feeds,
        slots,
        services: counted(everywhere.into_iter()),
        object: Node::new(stored),
    })
}
