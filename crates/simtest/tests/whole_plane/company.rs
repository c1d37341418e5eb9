//! What there is at the beginning of every seed: places, machines, services, and procedures.

use crate::plane::Plane;
use quarterdeck_model::{
    Kind as _,
    kinds::{
        Image, Instance, MachineClass, Namespace, Provider, Rack, Runbook, Secret, Server,
        ServerProfile, Service, Site,
    },
};
use quarterdeck_sim::{Fleet, FleetObject};
use serde_json::{Value, json};
use std::path::Path;

/// Fewest racks that there are, and most servers in one where there are more.
const RACKS: usize = 3;
const IN_A_RACK: usize = 20;
/// Servers of a rack of the fleet at most, so that there are enough racks to take some servers of each.
const FULL: usize = 42;
pub(crate) const SITES: usize = 2;
/// The class of all machines, and what is installed on them.
pub(crate) const CLASS: &str = "any";
pub(crate) const IMAGES: [&str; 2] = ["debian-12-20260801", "debian-12-20261101"];
pub(crate) const SERVICES: [&str; 3] = ["web", "api", "db"];
/// The namespace of operators, and that of the services' owners.
pub(crate) const OPERATORS: &str = "ops";
pub(crate) const OWNERS: &str = "shop";

/// What no shipped runbook does: wait while the target is down, and undo.
const MAINTAIN: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Runbook
metadata: {name: maintain-server}
spec:
  target: {kind: Server}
  timeout: 2h
  steps:
    - name: stop
      action: power.set
      with: {state: 'Off'}
      timeout: 10m
      retry: {attempts: 3, backoff: 5s, maxBackoff: 1m}
      compensate: {action: power.set, with: {state: 'On'}}
    - name: work
      pause: 2m
    - name: start
      action: power.set
      with: {state: 'On'}
      timeout: 5m
      retry: {attempts: 3, backoff: 5s, maxBackoff: 1m}
";

/// What is done to a whole rack.
const WORK_ON_RACK: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Runbook
metadata: {name: work-on-rack}
spec:
  target: {kind: Rack}
  timeout: 90m
  steps:
    - {name: work, action: rack.work, timeout: 20m, retry: {attempts: 2, backoff: 5s}}
";

/// Creates all of it, through a replica.
pub(crate) async fn found(plane: &mut Plane, servers: u32) {
    for namespace in ["default", "quarterdeck-system", OPERATORS, OWNERS] {
        let value = json!({"metadata": {"name": namespace}, "spec": {}});
        plane.create(Namespace::info(), &value).await;
    }
    for runbook in runbooks() {
        plane.create(Runbook::info(), &runbook).await;
    }
    for number in 0..SITES {
        let mut value =
            json!({"metadata": {"name": format!("site-{number}")}, "spec": {"region": "eu"}});
        if plane.dice.one_in(3) {
            value["spec"]["maxDisruptedServers"] = json!(1 + plane.dice.below(3));
        }
        plane.create(Site::info(), &value).await;
    }
    plane.racks = RACKS.max(servers as usize / IN_A_RACK);
    for number in 0..plane.racks {
        let spec = json!({"site": format!("site-{}", number % SITES)});
        let mut value = json!({"metadata": {"name": format!("r-{number}")}, "spec": spec});
        if plane.dice.one_in(2) {
            value["spec"]["maxDisruptedServers"] = json!(1 + plane.dice.below(2));
        }
        plane.create(Rack::info(), &value).await;
    }
    let class = json!({"metadata": {"name": CLASS}, "spec": {}});
    plane.create(MachineClass::info(), &class).await;
    for number in 0..SITES {
        let metal = json!({"site": format!("site-{number}")});
        let spec = json!({"type": "Metal", "metal": metal});
        let value = json!({"metadata": {"name": format!("metal-{number}")}, "spec": spec});
        plane.create(Provider::info(), &value).await;
    }
    let seed = plane.seed;
    let servers = servers as usize;
    let many = u32::try_from(servers + plane.racks * FULL).unwrap();
    let mut places = Places::new(servers, plane.racks);
    for object in Fleet::new(seed, many).objects() {
        match object {
            FleetObject::Secret(_) => {
                let _ = plane.create(Secret::info(), &object.manifest()).await;
            }
            FleetObject::Profile(_) => {
                let _ = plane.create(ServerProfile::info(), &object.manifest()).await;
            }
            FleetObject::Image(ref image) if IMAGES.contains(&&*image.metadata.name) => {
                let _ = plane.create(Image::info(), &object.manifest()).await;
            }
            FleetObject::Server(ref it) => {
                let beside = it.spec.location.as_ref().map_or("", |place| place.rack.as_str());
                let Some(rack) = places.take(beside) else { continue };
                let value = server(plane.machines.len(), rack, &object.manifest());
                let address = value["spec"]["bmc"]["address"].as_str().unwrap().to_owned();
                let name = value["metadata"]["name"].as_str().unwrap().to_owned();
                plane.machines.push((name, address));
                plane.create(Server::info(), &value).await;
                plane.manifests.push(value);
            }
            _ => {}
        }
    }
    services(plane).await;
}

/// Which servers of a larger fleet there are: some of each rack, so that what befalls a rack befalls them alone.
struct Places {
    left: usize,
    each: usize,
    /// The fleet's rack that was looked at last, which of the company's it is, and how many are taken of it.
    rack: Option<(String, usize, usize)>,
}

impl Places {
    fn new(servers: usize, racks: usize) -> Self {
        Self { left: servers, each: servers.div_ceil(racks), rack: None }
    }

    /// The rack of the company that the next server of one of the fleet stands in, if it is one of these.
    fn take(&mut self, rack: &str) -> Option<usize> {
        let (number, taken) = match &self.rack {
            Some((last, number, taken)) if last == rack => (*number, *taken),
            Some((_, number, _)) => (number + 1, 0),
            None => (0, 0),
        };
        let takes = self.left > 0 && taken < self.each;
        self.left -= usize::from(takes);
        self.rack = Some((rack.to_owned(), number, taken + usize::from(takes)));
        takes.then_some(number)
    }
}

/// A machine of the fleet, where this company has put it.
fn server(number: usize, rack: usize, manifest: &Value) -> Value {
    let mut value = manifest.clone();
    let role = if number.is_multiple_of(2) { "even" } else { "odd" };
    value["metadata"] = json!({"name": format!("s-{number:02}"), "labels": {"role": role}});
    value["spec"]["location"] = json!({"rack": format!("r-{rack}")});
    value
}

/// Services with budgets, and their instances, all ready.
async fn services(plane: &mut Plane) {
    for name in SERVICES {
        let spec = json!({"owner": OWNERS, "disruptionBudget": budget(plane)});
        let value = json!({"metadata": {"name": name, "namespace": OWNERS}, "spec": spec});
        plane.create(Service::info(), &value).await;
        for _ in 0..4 {
            instance(plane, name).await;
        }
    }
}

/// One of the budgets that owners have.
pub(crate) fn budget(plane: &mut Plane) -> Value {
    let share = [json!(1), json!(2), json!("30%"), json!("50%")];
    match plane.dice.below(3) {
        0 => json!({"minAvailable": plane.dice.pick(&[json!("50%"), json!(2)]).unwrap()}),
        _ => json!({"maxUnavailable": plane.dice.pick(&share).unwrap()}),
    }
}

/// A new instance, on some server, which is ready.
pub(crate) async fn instance(plane: &mut Plane, service: &str) {
    let (name, host) = (plane.name(service), plane.dice.pick(&plane.machines.clone()).unwrap().0);
    let value = json!({
        "metadata": {"name": name, "namespace": OWNERS},
        "spec": {"service": service, "host": {"name": host}},
        "status": {"phase": "Ready"},
    });
    plane.create(Instance::info(), &value).await;
}

/// The shipped ones in the order of their names, and those of this company.
fn runbooks() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let texts = texts.chain([MAINTAIN.to_owned(), WORK_ON_RACK.to_owned()]);
    texts.map(|text| serde_saphyr::from_str(&text).unwrap()).collect()
}
