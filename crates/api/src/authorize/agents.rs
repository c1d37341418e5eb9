//! What the agent on a machine may do, as the node authorizer of Kubernetes decides it: read its own machine, the
//! instances on it, the Secrets that those mount and its tasks; and hold its stream, by which it reports, and those of sessions with its containers. Nothing
//! else, whatever roles and bindings say: a right that all callers have is not meant for a host that may be broken into. Pure.
//! Source: Kubernetes "Using Node Authorization".

use super::Ask;
use crate::agents::Agent;
use quarterdeck_model::{
    Kind as _, KindRef, Object,
    agent::{RENEW_PATH, STREAM_PATH, session::SESSION_PATH},
    kinds::{AgentTask, Instance, Machine, Secret, instances_on_machine},
};
use quarterdeck_store::World;
use std::sync::Arc;

/// Whether the agent may do that.
pub(crate) fn agent_may(world: &World, agent: &Agent, ask: &Ask<'_>) -> bool {
    let (verb, group, resource, subresource, namespace, name) = match *ask {
        Ask::Path { verb, path } => {
            let own = [RENEW_PATH, STREAM_PATH].contains(&path) || path.starts_with(SESSION_PATH);
            return verb == "post" && own;
        }
        Ask::Resource { verb, group, resource, subresource, namespace, name } => {
            (verb, group, resource, subresource, namespace, name)
        }
    };
    if verb != "get" || namespace != agent.namespace || name.is_empty() {
        return false;
    }
    let is = |kind: KindRef| kind.group == group && kind.plural == resource;
    let part = |parts: &[&str]| parts.contains(&subresource);
    let found = |kind| world.get(kind, namespace, name);
    if is(Machine::info()) {
        return part(&["", "status"]) && name == agent.name;
    }
    if is(Instance::info()) {
        let here = |instance: &Object| runs_on(instance, agent);
        return part(&["", "status"]) && found(Instance::info()).is_some_and(|it| here(&it));
    }
    if is(AgentTask::info()) {
        return part(&[""])
            && found(AgentTask::info()).is_some_and(|task| {
                let spec = task.decode::<AgentTask>().map(|task| task.spec);
                spec.is_ok_and(|it| it.machine == agent.name && it.machine_uid == agent.uid)
            });
    }
    is(Secret::info()) && part(&[""]) && instances(world, agent).any(|it| mounts(&it, name))
}

fn runs_on(instance: &Object, agent: &Agent) -> bool {
    instance.namespace() == agent.namespace
        && instance.field("spec.host.kind") == Some("Machine")
        && instance.field("spec.host.name") == Some(&agent.name)
}

/// The instances on an agent's machine.
fn instances(world: &World, agent: &Agent) -> impl Iterator<Item = Arc<Object>> {
    let Agent { namespace, name, .. } = agent;
    let fields = instances_on_machine(namespace, name);
    world.with_fields(Instance::info(), &fields).into_iter()
}

/// Whether an instance needs a Secret: as a volume, in its environment, or to fetch its images.
fn mounts(instance: &Object, secret: &str) -> bool {
    let instance: Option<Instance> = instance.decode().ok();
    let template = instance.and_then(|instance| instance.spec.template);
    template.is_some_and(|template| template.secrets().contains(secret))
}
