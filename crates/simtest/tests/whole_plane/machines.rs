//! What teams do with machines: have them installed, installed anew, in pools and by themselves, and give them back.

use crate::{
    company::{CLASS, IMAGES, OWNERS},
    plane::Plane,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Machine, MachinePool},
};
use serde_json::{Value, json};

/// Most machines that teams want by themselves, and most pools, so that what they want can be there at once.
const MACHINES_MAX: usize = 3;
const POOLS_MAX: usize = 2;
/// Most machines of a pool.
const REPLICAS_MAX: usize = 3;

/// One thing that a team does.
pub(crate) async fn one(plane: &mut Plane) {
    match plane.dice.below(10) {
        0..3 => create(plane).await,
        3 => reinstall(plane).await,
        4 => delete(plane).await,
        5 => create_pool(plane).await,
        _ => change_pool(plane).await,
    }
}

fn image(plane: &mut Plane) -> &'static str {
    plane.dice.pick(&IMAGES).unwrap()
}

async fn create(plane: &mut Plane) {
    let own = |object: &&std::sync::Arc<_>| -> bool { alone(object) };
    if plane.see(Machine::info()).iter().filter(own).count() >= MACHINES_MAX {
        return;
    }
    let (name, mut spec) = (plane.name("machine"), json!({"class": CLASS, "image": image(plane)}));
    match plane.dice.below(4) {
        0 => {
            let server = plane.dice.pick(&plane.machines.clone()).unwrap().0;
            spec["placement"] = json!({"server": server});
        }
        1 => spec["placement"] = json!({"rack": format!("r-{}", plane.dice.below(plane.racks))}),
        _ => {}
    }
    plane.trace.say(format!("owner wants {name}: {spec}"));
    let value = json!({"metadata": {"name": name, "namespace": OWNERS}, "spec": spec});
    plane.create(Machine::info(), &value).await;
}

/// Whether a machine is in no pool.
fn alone(machine: &quarterdeck_model::Object) -> bool {
    machine.label("quarterdeck.dev/machine-pool").is_none()
}

async fn reinstall(plane: &mut Plane) {
    let mut machines = plane.see(Machine::info());
    machines.retain(|machine| alone(machine));
    let Some(machine) = plane.dice.pick(&machines) else { return };
    let image = image(plane);
    plane.trace.say(format!("owner has {image} installed on {}", machine.name()));
    plane.change(&machine, |value| value["spec"]["image"] = json!(image)).await;
}

async fn delete(plane: &mut Plane) {
    let machines = plane.see(Machine::info());
    let Some(machine) = plane.dice.pick(&machines) else { return };
    plane.trace.say(format!("owner gives {} back", machine.name()));
    plane.delete(&machine).await;
}

async fn create_pool(plane: &mut Plane) {
    if plane.see(MachinePool::info()).len() >= POOLS_MAX {
        return;
    }
    let name = plane.name("pool");
    let kinds = ["RollingUpdate", "RollingUpdate", "InPlace", "OnDelete"];
    let mut strategy = json!({"type": plane.dice.pick(&kinds).unwrap()});
    if plane.dice.one_in(2) && strategy["type"] != "OnDelete" {
        let (surge, down) = (plane.dice.below(3), 1 + plane.dice.below(2));
        strategy["rollingUpdate"] = json!({"maxSurge": surge, "maxUnavailable": down});
    }
    let template = json!({"spec": {"class": CLASS, "image": image(plane)}});
    let replicas = 1 + plane.dice.below(REPLICAS_MAX);
    let spec = json!({"replicas": replicas, "template": template, "strategy": strategy});
    plane.trace.say(format!("owner creates {name}: {spec}"));
    let value = json!({"metadata": {"name": name, "namespace": OWNERS}, "spec": spec});
    plane.create(MachinePool::info(), &value).await;
}

async fn change_pool(plane: &mut Plane) {
    let pools = plane.see(MachinePool::info());
    let Some(pool) = plane.dice.pick(&pools) else { return };
    let name = pool.name().to_owned();
    let (path, value): (&str, Value) = match plane.dice.below(7) {
        0..3 => ("/replicas", json!(plane.dice.below(REPLICAS_MAX + 1))),
        3 | 4 => ("/template/spec/image", json!(image(plane))),
        5 => ("/paused", json!(plane.dice.one_in(2))),
        _ => {
            plane.trace.say(format!("owner deletes {name}"));
            plane.delete(&pool).await;
            return;
        }
    };
    plane.trace.say(format!("owner sets {path} of {name} to {value}"));
    let change = |object: &mut Value| match path {
        "/paused" => object["spec"]["paused"] = value,
        _ => *object["spec"].pointer_mut(path).unwrap() = value,
    };
    plane.change(&pool, change).await;
}
