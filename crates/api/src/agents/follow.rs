//! What changes for agents that are connected here: their tasks, whether their certificates still count, and whether what is written
//! of their streams is so. Each change is looked at once in each replica, whatever the number of agents.

use super::{Agents, identity::Agent};
use http::StatusCode;
use quarterdeck_model::{
    FieldSelector, Kind as _, KindRef, LabelSelector, Object,
    kinds::{AgentTask, Instance, Machine, Secret},
};
use quarterdeck_store::{EventKind, WatchQuery, World};

/// Follows until it is dropped.
pub(super) async fn follow(agents: &Agents) {
    tokio::join!(
        each(agents, AgentTask::info(), task),
        each(agents, Machine::info(), machine),
        each(agents, Instance::info(), instance),
        each(agents, Secret::info(), secret),
    );
}

async fn each(agents: &Agents, kind: KindRef, saw: fn(&Agents, &Object, bool)) {
    loop {
        let world = agents.store.world();
        let mut watcher = agents.store.watch(WatchQuery {
            kind,
            namespace: None,
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            since: world.revision(),
        });
        anything_may_have_changed(agents, &world);
        while let Ok(events) = watcher.next().await {
            for event in events {
                saw(agents, &event.object, event.kind == EventKind::Deleted);
            }
        }
    }
}

/// At the start nobody is connected; after falling behind, things may be gone that nobody told of.
fn anything_may_have_changed(agents: &Agents, world: &World) {
    agents.registry.each(|session| {
        session.tasks_changed();
        session.instances_changed();
        session.record_changed();
        // One that cannot be read here may count all the same.
        if let Some(Err(why)) = session.agent.get().map(|agent| agent.machine(world))
            && why.code == StatusCode::UNAUTHORIZED
        {
            session.end(&why.message, true);
        }
    });
}

fn task(agents: &Agents, task: &Object, _: bool) {
    let machine = task.field("spec.machine").unwrap_or_default();
    if let Some(session) = agents.registry.get(task.namespace(), machine) {
        session.tasks_changed();
    }
}

fn instance(agents: &Agents, instance: &Object, _: bool) {
    if instance.field("spec.host.kind") != Some("Machine") {
        return;
    }
    let machine = instance.field("spec.host.name").unwrap_or_default();
    if let Some(session) = agents.registry.get(instance.namespace(), machine) {
        session.instances_changed();
    }
}

/// Secrets change seldom; whoever runs something in their namespace looks whether it uses them.
fn secret(agents: &Agents, secret: &Object, _: bool) {
    agents.registry.each(|session| {
        if session.agent.get().is_some_and(|agent| agent.namespace == secret.namespace()) {
            session.instances_changed();
        }
    });
}

/// Ends the stream of a machine that is gone, or whose certificate counts no more; and has it look when another is written down, or
/// that it has ended.
fn machine(agents: &Agents, object: &Object, gone: bool) {
    let Some(session) = agents.registry.get(object.namespace(), object.name()) else { return };
    if gone {
        return session.end("its machine is gone", true);
    }
    if let Some(agent) = session.agent.get()
        && let Ok(machine) = object.decode::<Machine>()
    {
        if agent.uid != machine.metadata.uid {
            session.end("its machine was made anew", true);
        } else if let Err(why) = Agent::counts(agent, &machine) {
            session.end(&why, true);
        } else if !agents.is_written(&session, &machine) {
            session.record_changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agents::registry::Woken, pki::Authority};
    use quarterdeck_store::{Sqlite, Store};
    use std::{sync::Arc, time::Duration};

    #[tokio::test]
    async fn streams_of_machines_that_went_while_nobody_looked_end() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        let authority = Arc::new(Authority::open(&folder.path().join("pki")).unwrap());
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let reached = ("here".to_owned(), Duration::from_secs(40));
        let agents = Agents::new(store.clone(), authority, None, reached, stopping);
        let session = agents.registry.begin("a", "m").unwrap();
        session.agent.set(Agent::of_test("a", "m")).unwrap();
        anything_may_have_changed(&agents, &store.world());
        assert!(matches!(session.woken().await, Woken::End(goodbye) if goodbye.for_good));
    }
}
