//! `quarterdeck machine transfer` and `accept`: a machine goes over to another team, with its server and all that is on
//! it. One team offers it and the other takes it; who may do both does both at once.

use super::STORY;
use crate::{
    Error, Outcome,
    confirm::Asking,
    follow::follow,
    plane::{Plane, Seen},
    verbs::Common,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Machine, MachineName},
};
use serde_json::{Value, json};

/// Which machine, and whose it becomes.
#[derive(Debug, clap::Args)]
pub struct TransferArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// The namespace of the other team
    #[arg(long, value_name = "NAMESPACE", required_unless_present = "withdraw")]
    to: Option<String>,
    /// Its name there; the same when not said
    #[arg(long = "as", value_name = "NAME")]
    name_there: Option<String>,
    /// Only offer it: somebody of the other team takes it
    #[arg(long)]
    offer: bool,
    /// Offer it no more
    #[arg(long, conflicts_with_all = ["to", "name_there", "offer"])]
    withdraw: bool,
    /// Show progress until the other team has it
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    common: Common,
}

/// Which machine is taken.
#[derive(Debug, clap::Args)]
pub struct AcceptArguments {
    /// The machine that is offered, as NAMESPACE/NAME
    #[arg(value_name = "NAMESPACE/NAME")]
    from: String,
    /// Its name here; the same when not said
    #[arg(long = "as", value_name = "NAME")]
    name_here: Option<String>,
    /// Its MachineClass, when its machine cannot be read from here
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Its Image, when its machine cannot be read from here
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Show progress until it is here
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn transfer(it: &TransferArguments) -> Result<Outcome, Error> {
    let plane = Plane::open(&it.common.connection).await?;
    let (name, namespace) = (&it.name, &plane.namespace);
    let output = it.common.output;
    let Some(to) = it.to.as_ref().filter(|_| !it.withdraw) else {
        let none = json!({"spec": {"transferTo": null}});
        let kept = plane.change(Machine::info(), namespace, name, &none).await?;
        let text = || format!("machine {namespace}/{name} is offered no more\n");
        output.print(text, || kept.clone())?;
        return Ok(Outcome::Done);
    };
    let there = it.name_there.as_ref().unwrap_or(name);
    let machine: Seen<Machine> = plane.read(namespace, name).await?;
    let told = format!(
        "Machine {namespace}/{name} goes to namespace {to}, with all that is on it; this team can no longer reach it."
    );
    it.asking.confirm(&[told], name)?;
    let offer = json!({"spec": {"transferTo": {"namespace": to, "name": there}}});
    let offered = plane.change(Machine::info(), namespace, name, &offer).await?;
    let by_hand = format!("quarterdeck machine accept {namespace}/{name} --as {there} -n {to}");
    if it.offer {
        let text = || {
            format!("machine {namespace}/{name} is offered; somebody of {to} takes it: {by_hand}\n")
        };
        output.print(text, || offered.clone())?;
        return Ok(Outcome::Done);
    }
    let spec = &machine.object.spec;
    let from = MachineName { namespace: namespace.clone(), name: name.clone() };
    let object = taking(to, there, (&spec.class, &spec.image), &from);
    match plane.create(Machine::info(), to, &object, false).await {
        Ok(_) => {}
        Err(Error::Refused(why)) => {
            return Err(Error::Refused(format!(
                "it is offered, and could not be taken for {to}: {why}; somebody of {to} takes it: {by_hand}, or take \
                 it back: quarterdeck machine transfer {name} --withdraw -n {namespace}"
            )));
        }
        Err(error) => return Err(error),
    }
    if it.follow {
        return follow(&plane, to, there, output, &STORY).await;
    }
    let text = || {
        format!(
            "machine {namespace}/{name} goes to {to}; follow it: quarterdeck machine follow {there} -n {to}\n"
        )
    };
    output.print(text, || offered.clone())?;
    Ok(Outcome::Done)
}

pub(super) async fn accept(it: &AcceptArguments) -> Result<Outcome, Error> {
    let (from_namespace, from_name) = it.from.split_once('/').ok_or_else(|| {
        Error::Usage(format!("{:?} must be NAMESPACE/NAME of the machine that is offered", it.from))
    })?;
    let plane = Plane::open(&it.common.connection).await?;
    let namespace = &plane.namespace;
    let (class, image) = match (&it.class, &it.image) {
        (Some(class), Some(image)) => (class.clone(), image.clone()),
        _ => match plane.find(Machine::info(), from_namespace, from_name).await {
            Ok(Some(machine)) => {
                let spec = crate::plane::seen::<Machine>(machine)?.object.spec;
                (spec.class, spec.image)
            }
            Ok(None) | Err(Error::Refused(_)) => {
                return Err(Error::Usage(format!(
                    "machine {} is not there, or may not be read from here; ask its team for its class and image, and \
                     say --class and --image",
                    it.from
                )));
            }
            Err(error) => return Err(error),
        },
    };
    let name = it.name_here.as_deref().unwrap_or(from_name);
    let from = MachineName { namespace: from_namespace.into(), name: from_name.into() };
    let object = taking(namespace, name, (&class, &image), &from);
    let created = plane.create(Machine::info(), namespace, &object, false).await?;
    if it.follow {
        return follow(&plane, namespace, name, it.common.output, &STORY).await;
    }
    let text = || {
        format!(
            "machine {namespace}/{name} takes over {}, once its team offers it; see how far it is: quarterdeck why \
             machine/{name} -n {namespace}\n",
            it.from
        )
    };
    it.common.output.print(text, || created.clone())?;
    Ok(Outcome::Done)
}

/// The machine that takes another one over.
fn taking(namespace: &str, name: &str, (class, image): (&str, &str), from: &MachineName) -> Value {
    json!({
        "apiVersion": Machine::info().api_version(),
        "kind": Machine::KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"class": class, "image": image, "transferFrom": from},
    })
}
