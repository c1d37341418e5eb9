//! Where things are: from an instance to its server, from there to the rack and the site. Only names are told, which
//! are places and belong to nobody.

use crate::moment::Moment;
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{Instance, Machine, Rack, Server},
};

fn named(field: Option<&str>) -> Option<&str> {
    field.filter(|name| !name.is_empty())
}

/// The server that an instance, a machine or a server is on.
pub(crate) fn server(moment: &Moment, object: &Object) -> Option<String> {
    if object.kind == Server::info() {
        return Some(object.name().into());
    }
    if object.kind == Machine::info() {
        return named(object.field("status.server")).map(Into::into);
    }
    if object.kind != Instance::info() {
        return None;
    }
    let host = named(object.field("spec.host.name"))?;
    match object.field("spec.host.kind") {
        Some("Machine") => {
            let machine = moment.get(Machine::info(), object.namespace(), host)?;
            named(machine.field("status.server")).map(Into::into)
        }
        Some("Cluster") => {
            let machine = named(object.field("status.machine"))?;
            let machine = moment.get(Machine::info(), object.namespace(), machine)?;
            named(machine.field("status.server")).map(Into::into)
        }
        _ => Some(host.into()),
    }
}

/// The rack that it is in.
pub(crate) fn rack(moment: &Moment, object: &Object) -> Option<String> {
    let server = moment.get(Server::info(), "", &server(moment, object)?)?;
    named(server.field("spec.location.rack")).map(Into::into)
}

/// The site that a rack stands in.
pub(crate) fn site(moment: &Moment, rack: &str) -> Option<String> {
    let rack = moment.get(Rack::info(), "", rack)?;
    named(rack.field("spec.site")).map(Into::into)
}
