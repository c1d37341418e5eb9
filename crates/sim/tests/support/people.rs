//! What people do to a simulated fleet: have it ready, change what is written there, run a runbook.

use super::plane::{DEADLINE, Plane, created};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Namespace, Run, RunPhase, ServerPhase},
    object,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Write};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};

/// A plane whose servers are all well, and ready.
pub(crate) async fn ready(servers: u32) -> Plane {
    let plane = Plane::start(servers).await;
    for server in 0..plane.servers.len() {
        plane.simulation.heal(plane.address(server));
    }
    let namespace = json!({"metadata": {"name": "shop"}, "spec": {}});
    plane.store.commit(vec![created(Namespace::info(), &namespace)]).await.unwrap();
    wait_for(DEADLINE, "every server to be ready", async || {
        let ready = |server| plane.see(server).status.phase == ServerPhase::Ready;
        match (0..plane.servers.len()).find(|server| !ready(*server)) {
            Some(server) => Err(format!("server {server}: {:?}", plane.ready(server))),
            None => Ok(()),
        }
    })
    .await;
    plane
}

/// The class of a server, which is that of its rack.
pub(crate) fn class(plane: &Plane, server: usize) -> String {
    plane.servers[server].metadata.labels["hardware"].clone()
}

/// Changes an object as a person would.
pub(crate) async fn change(
    plane: &Plane,
    kind: KindRef,
    (namespace, name): (&str, &str),
    change: impl Fn(&mut Value),
) {
    loop {
        let object = plane.store.fresh().await.unwrap().get(kind, namespace, name).unwrap();
        let mut value = object.value();
        change(&mut value);
        if value["spec"] != object.value()["spec"] {
            let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
            value["metadata"]["generation"] = json!(generation + 1);
        }
        let write = Write::Put(object::encode(kind, &value).into());
        let precondition = Precondition::At(object.revision);
        let mutation = Mutation { key: object.key.clone(), write, precondition, fence: None };
        if matches!(plane.store.commit(vec![mutation]).await.unwrap()[0], Outcome::Committed(_)) {
            return;
        }
    }
}

/// Begins a run of a runbook on a server.
async fn begin(plane: &Plane, name: &str, runbook: &str, params: Value, server: &str) {
    let run = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"runbook": runbook, "target": {"kind": "Server", "name": server}, "params": params},
    });
    plane.store.commit(vec![created(Run::info(), &run)]).await.unwrap();
}

/// Runs a runbook on a server until it has ended well.
pub(crate) async fn run_of(plane: &Plane, name: &str, runbook: &str, params: Value, server: &str) {
    begin(plane, name, runbook, params, server).await;
    wait_for(DEADLINE, &format!("run {name} to end well"), async || {
        let run = plane.store.world().get(Run::info(), "default", name).ok_or("gone")?;
        match run.field("status.phase") {
            Some("Succeeded") => Ok(()),
            phase => Err(format!("{phase:?}")),
        }
    })
    .await;
}

/// The same until it has ended; what it says then.
pub(crate) async fn fails(
    plane: &Plane,
    name: &str,
    runbook: &str,
    params: Value,
    server: &str,
) -> String {
    begin(plane, name, runbook, params, server).await;
    wait_for(DEADLINE, &format!("run {name} to fail"), async || {
        let run = plane.store.world().get(Run::info(), "default", name).ok_or("gone")?;
        let run: Run = run.decode().unwrap();
        match run.status.phase {
            RunPhase::Failed => Ok(run.status.message.unwrap_or_default()),
            phase => Err(format!("{phase:?}")),
        }
    })
    .await
}
