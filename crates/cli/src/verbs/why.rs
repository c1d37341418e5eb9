//! `quarterdeck why`: gathers what an answer follows from, and shows it.

use super::{Common, joined::on_server, now, visible};
use crate::{
    Error, Outcome,
    named::Named,
    plane::{Plane, Selection, Within, seen},
    view::why::{self, Why},
};
use quarterdeck_model::{
    Kind,
    kinds::{Campaign, Instance, Machine, Permit, Run, Server, Service},
};

/// What is asked about.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  quarterdeck why run/power-cycle-x7 -n ops     # what it waits for, and who blocks
  quarterdeck why server/ams1-a01-01-u01
  quarterdeck why machine/shop/web-1
  quarterdeck why campaign/ops/restart-web
  quarterdeck why service/web -n shop           # what of it is down, and who waits for it")]
pub struct WhyArguments {
    /// KIND/NAME, or KIND/NAMESPACE/NAME
    #[arg(value_name = "KIND/NAME")]
    named: Named,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn why(arguments: &WhyArguments) -> Result<Outcome, Error> {
    let WhyArguments { named, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = named.namespace.as_deref().unwrap_or(&plane.namespace);
    let answer = answer(&plane, named, namespace).await?;
    let value = || serde_json::to_value(&answer).unwrap_or_default();
    common.output.print(|| why::text(&answer, now()), value)?;
    Ok(Outcome::Done)
}

async fn answer(plane: &Plane, named: &Named, namespace: &str) -> Result<Why, Error> {
    let object = plane.get(named.kind, namespace, &named.name).await?;
    Ok(match named {
        _ if named.is::<Run>() => {
            let run: Run = seen(object)?.object;
            let holder = maybe_run(plane, run.status.queued_behind.as_ref()).await?;
            why::run(&run, holder.as_ref(), now())
        }
        _ if named.is::<Server>() => {
            let on = on_server(&named.name);
            let permits =
                visible::<Permit>(plane, Within::Everywhere, &Selection::fields(&on)).await?;
            // Those that have ended are what happened, not what happens.
            let open = format!(
                "{on},status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled"
            );
            let runs = visible::<Run>(plane, Within::Everywhere, &Selection::fields(open)).await?;
            why::server(&seen(object)?.object, &runs, &permits, now())
        }
        _ if named.is::<Machine>() => {
            let machine: Machine = seen(object)?.object;
            let server = match &machine.status.server {
                Some(name) => maybe::<Server>(plane, "", name).await?,
                None => None,
            };
            let run = maybe_run(plane, machine.status.current_run.as_ref()).await?;
            why::machine(&machine, server.as_ref(), run.as_ref(), now())
        }
        _ if named.is::<Campaign>() => why::campaign(&seen(object)?.object, now()),
        _ if named.is::<Service>() => {
            let of_it = Selection::fields(format!("spec.service={}", named.name));
            let instances =
                visible::<Instance>(plane, Within::Namespace(namespace), &of_it).await?;
            let permits =
                visible::<Permit>(plane, Within::Everywhere, &Selection::default()).await?;
            let running = Selection::fields("status.phase=Running");
            let runs = visible::<Run>(plane, Within::Everywhere, &running).await?;
            why::service(&seen(object)?.object, &instances, &permits, &runs)
        }
        _ => why::anything(named.full(namespace), &object, now()),
    })
}

/// The run of that name, `ops/cycle-x7`, if there is one that may be seen.
async fn maybe_run(plane: &Plane, name: Option<&String>) -> Result<Option<Run>, Error> {
    match name.and_then(|name| name.split_once('/')) {
        Some((namespace, name)) => maybe(plane, namespace, name).await,
        None => Ok(None),
    }
}

async fn maybe<K: Kind>(plane: &Plane, namespace: &str, name: &str) -> Result<Option<K>, Error> {
    match plane.find(K::info(), namespace, name).await {
        // It is of others.
        Err(Error::Refused(_)) => Ok(None),
        found => found?.map(|found| seen(found).map(|it| it.object)).transpose(),
    }
}
