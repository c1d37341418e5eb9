//! `quarterdeck machine delete`: says what that would hurt, and has it confirmed. Whether and when it may happen is for
//! the ledger to say.

use super::{STORY, show::joined};
use crate::{
    Error, Outcome,
    confirm::Asking,
    follow::{Story, follow},
    plane::{Plane, Seen},
    verbs::{Common, joined::Raw},
    view::harm::harm,
};
use quarterdeck_model::{Kind as _, kinds::Machine};

/// Which machine.
#[derive(Debug, clap::Args)]
pub struct DeleteArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Show progress until it is gone
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    common: Common,
}

/// How a machine is told that is to go.
const GOES: Story<Machine> = Story { gone: Some(Outcome::Done), ..STORY };

pub(super) async fn delete(arguments: &DeleteArguments) -> Result<Outcome, Error> {
    let DeleteArguments { name, follow: follows, asking, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = &plane.namespace;
    let machine: Seen<Machine> = plane.read(namespace, name).await?;
    // Who answers a question may take his time, and another may have the name by then.
    let uid = machine.object.metadata.uid.clone();
    let told = told(&plane, machine.object).await?;
    if asking.asks() {
        asking.confirm(&told, name)?;
    }
    let left = plane.delete(Machine::info(), namespace, name, &uid).await?;
    if *follows {
        return follow(&plane, namespace, name, common.output, &GOES).await;
    }
    let waits = left.pointer("/metadata/deletionTimestamp").is_some();
    let next = match waits {
        true => format!(
            "is being deleted: its server is powered off once the ledger permits that, and wiped; see how far it is: \
             quarterdeck why machine/{name} -n {namespace}"
        ),
        false => "is gone".to_owned(),
    };
    let text = || {
        let harm: String = told.iter().skip(1).map(|line| format!("{line}\n")).collect();
        format!("{harm}machine {namespace}/{name} {next}\n")
    };
    common.output.print(text, || left.clone())?;
    Ok(Outcome::Done)
}

/// What is told before: that data is lost, and which services lose what.
async fn told(plane: &Plane, machine: Machine) -> Result<Vec<String>, Error> {
    let mut raw = Raw::new("MachineView");
    let joined = joined(plane, machine, &mut raw).await?;
    raw.tell();
    let name = &joined.machine.metadata.name;
    let first = match &joined.machine.status.server {
        Some(server) => {
            format!("Machine {name} is deleted, and the disks of its server {server} are erased.")
        }
        None => format!("Machine {name} is deleted; it has no server."),
    };
    let mut lines = vec![first];
    lines.extend(harm(&joined.instances, &joined.services, true));
    Ok(lines)
}
