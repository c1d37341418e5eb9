//! `quarterdeck machine show`: a machine and all that is joined to it.

use crate::verbs::One;
use crate::{
    Error, Outcome,
    plane::{Plane, Seen, Within},
    verbs::{
        joined::{OfMachine, Raw},
        now,
    },
    view::{self, machine::Joined},
};
use quarterdeck_model::kinds::Machine;

pub(super) async fn show(one: &One) -> Result<Outcome, Error> {
    let plane = Plane::open(&one.common.connection).await?;
    let machine: Seen<Machine> = plane.read(&plane.namespace, &one.name).await?;
    let mut raw = Raw::new("MachineView");
    raw.insert("machine", machine.raw);
    let joined = joined(&plane, machine.object, &mut raw).await?;
    let value = raw.done();
    one.common.output.print(|| view::machine::show(&joined, now()), || value)?;
    Ok(Outcome::Done)
}

/// Gathers it.
pub(super) async fn joined(
    plane: &Plane,
    machine: Machine,
    raw: &mut Raw,
) -> Result<Joined, Error> {
    let mut joined = Joined { machine, ..Joined::default() };
    let meta = &joined.machine.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let status = &joined.machine.status;
    if let Some(server) = &status.server {
        joined.server = raw.one(plane, "server", "", server).await?;
        joined.permits = raw.permits(plane, server).await?;
    }
    let location = joined.server.as_ref().and_then(|server| server.spec.location.as_ref());
    (joined.rack, joined.site) = raw.place(plane, location).await?;
    if let Some((namespace, name)) = status.current_run.as_ref().and_then(|it| it.split_once('/')) {
        joined.run = raw.one(plane, "run", namespace, name).await?;
    }
    let of = OfMachine { namespace, name: &meta.name };
    let server = status.server.as_deref();
    (joined.instances, joined.services) = raw.instances(plane, server, Some(of)).await?;
    joined.events = raw.events(plane, Within::Namespace(namespace), &meta.uid).await?;
    Ok(joined)
}
