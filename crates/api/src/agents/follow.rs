//! What changes for agents that are connected here: their tasks, and whether their certificates still count. Each change is
//! looked at once in each replica, whatever the number of agents.

use super::{Agents, identity::Agent};
use quarterdeck_model::{
    FieldSelector, Kind as _, KindRef, LabelSelector, Object,
    kinds::{AgentTask, Instance, Machine, Secret},
};
use quarterdeck_store::{EventKind, WatchQuery};

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
        // At the start nobody is connected; after falling behind, anything may have changed.
        if agents.registry.count() > 0 {
            world.all(kind).for_each(|object| saw(agents, object, false));
            agents.registry.each(|session| {
                session.tasks_changed();
                session.instances_changed();
            });
        }
        while let Ok(events) = watcher.next().await {
            for event in events {
                saw(agents, &event.object, event.kind == EventKind::Deleted);
            }
        }
    }
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

/// Ends the stream of a machine that is gone, or whose certificate counts no more.
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
        }
    }
}
