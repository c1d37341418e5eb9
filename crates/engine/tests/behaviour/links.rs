//! What instances say of what they name and is not there.

use crate::scenario::Plane;
use quarterdeck_model::{
    Kind as _,
    kinds::{Instance, Machine, Server, Service},
};
use serde_json::json;

async fn until(plane: &Plane, instance: &str, wanted: Option<&str>) {
    let what = format!("{instance} to say {wanted:?}");
    let look = || {
        let object = plane.store.world().get(Instance::info(), "shop", instance)?.value();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|found| found["type"] == "LinksFound");
        let said = found.map(|found| {
            assert_eq!(found["status"], "False", "nothing is said of what is right");
            format!("{}: {}", found["reason"].as_str().unwrap(), found["message"].as_str().unwrap())
        });
        (said.as_deref() == wanted).then_some(())
    };
    plane.when(Instance::info(), &what, look).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_says_what_it_names_and_is_not_there() {
    let plane = Plane::new().await;
    let instance = |kind: &str, host: &str| json!({"spec": {"service": "web", "host": {"kind": kind, "name": host}}, "status": {"phase": "Ready"}});
    plane.create(Instance::info(), "shop", "a", instance("Server", "s-0")).await;
    plane.create(Instance::info(), "shop", "b", instance("Machine", "m-0")).await;
    let gone = |field: &str, kind: &str, name: &str| {
        format!(
            "{kind}NotFound: {field} names {kind} {name}, which does not exist; create it, or delete the instance and create it with the right name."
        )
    };
    let service = gone("spec.service", "Service", "web");
    let (server, machine) =
        (gone("spec.host.name", "Server", "s-0"), gone("spec.host.name", "Machine", "m-0"));
    for name in ["a", "b"] {
        until(&plane, name, Some(&service)).await;
    }
    plane.create(Service::info(), "shop", "web", json!({"spec": {}})).await;
    until(&plane, "a", Some(&server)).await;
    until(&plane, "b", Some(&machine)).await;
    let spec = json!({"spec": {"bmc": {"address": "192.0.2.1"}}});
    plane.create(Server::info(), "", "s-0", spec.clone()).await;
    plane.create(Machine::info(), "shop", "m-0", json!({"spec": {"class": "c"}})).await;
    for name in ["a", "b"] {
        until(&plane, name, None).await;
    }
    // Whoever writes the whole status takes nothing of it away.
    plane.delete(Server::info(), "", "s-0").await;
    until(&plane, "a", Some(&server)).await;
    plane
        .patch(Instance::info(), "shop", "a", |it| it["status"] = json!({"phase": "Failed"}))
        .await;
    until(&plane, "a", Some(&server)).await;
    // The same after a restart, whatever happened meanwhile.
    let plane = plane.crash_and_restart().await;
    plane.create(Server::info(), "", "s-0", spec).await;
    until(&plane, "a", None).await;
    plane.delete(Service::info(), "shop", "web").await;
    for name in ["a", "b"] {
        until(&plane, name, Some(&service)).await;
    }
}
