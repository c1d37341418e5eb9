//! `quarterdeck server show`: a server and all that is joined to it.

use crate::verbs::One;
use crate::{
    Error, Outcome,
    plane::{Plane, Seen, Selection, Within},
    verbs::{
        joined::{OfMachine, Raw, on_server},
        now,
    },
    view::{self, server::Joined},
};
use quarterdeck_model::kinds::{Run, Server};

pub(super) async fn show(one: &One) -> Result<Outcome, Error> {
    let plane = Plane::open(&one.common.connection).await?;
    let server: Seen<Server> = plane.read("", &one.name).await?;
    let mut raw = Raw::new("ServerView");
    raw.insert("server", server.raw);
    let joined = joined(&plane, server.object, &mut raw).await?;
    let value = raw.done();
    one.common.output.print(|| view::server::show(&joined, now()), || value)?;
    Ok(Outcome::Done)
}

async fn joined(plane: &Plane, server: Server, raw: &mut Raw) -> Result<Joined, Error> {
    let (name, uid) = (server.metadata.name.clone(), server.metadata.uid.clone());
    let mut joined = Joined { server, ..Joined::default() };
    let location = joined.server.spec.location.as_ref();
    (joined.rack, joined.site) = raw.place(plane, location).await?;
    let on = Selection::fields(on_server(&name));
    joined.runs = raw.take("runs", plane.all(Within::Everywhere, &on).await)?;
    joined.runs.sort_by_key(|run: &Run| std::cmp::Reverse(run.metadata.creation_timestamp));
    joined.permits = raw.permits(plane, &name).await?;
    let machine = of_machine(&joined.server);
    (joined.instances, joined.services) = raw.instances(plane, Some(&name), machine).await?;
    joined.events = raw.events(plane, Within::Everywhere, &uid).await?;
    Ok(joined)
}

/// The machine that has it.
pub(super) fn of_machine(server: &Server) -> Option<OfMachine<'_>> {
    let machine = server.status.machine_ref.as_ref()?;
    Some(OfMachine { namespace: &machine.namespace, name: &machine.name })
}
