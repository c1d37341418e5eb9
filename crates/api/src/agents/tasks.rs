//! What an agent has to do: the tasks of its machine that have not ended, each with the values of Secrets that it uses and no others.

use super::Agent;
use jiff::Timestamp;
use quarterdeck_model::{
    Kind as _, Object, Time,
    agent::{Secrets, TASKS_MAX, Task, TaskReport},
    kinds::{
        AgentTask, AgentTaskSpec, Secret,
        tool_task::{TOOL_BYTES_MAX, ToolTask},
    },
};
use quarterdeck_store::World;

/// Those of an agent, oldest first.
pub(super) fn open(world: &World, agent: &Agent) -> Vec<Task> {
    let Agent { namespace, name, uid, .. } = agent;
    let fields = format!("metadata.namespace={namespace},spec.machine={name}");
    let found = world.with_fields(AgentTask::info(), &fields);
    let mut tasks: Vec<AgentTask> = found.iter().filter_map(|task| task.decode().ok()).collect();
    tasks.retain(|task| task.spec.machine_uid == *uid && !task.status.ended());
    tasks.sort_by_key(|task| (task.metadata.creation_timestamp, task.metadata.name.clone()));
    tasks.truncate(TASKS_MAX);
    let now = Timestamp::now();
    let left = |deadline: Time| {
        u64::try_from(deadline.timestamp().duration_since(now).as_millis()).unwrap_or(0)
    };
    let task = |task: AgentTask| Task {
        secrets: secrets(world, namespace, &task.spec),
        name: task.metadata.name,
        uid: task.metadata.uid,
        left_millis: task.spec.deadline.map(left),
        spec: task.spec,
    };
    tasks.into_iter().map(task).collect()
}

/// Whether what is reported of is a task of an agent that has not ended.
pub(super) fn is_open(
    world: &World,
    agent: &Agent,
    TaskReport { name, uid, .. }: &TaskReport,
) -> bool {
    let task = world.get(AgentTask::info(), &agent.namespace, name);
    let task = task.filter(|task| task.uid() == uid).and_then(|it| it.decode::<AgentTask>().ok());
    task.is_some_and(|AgentTask { spec, status, .. }| {
        spec.machine == agent.name && spec.machine_uid == agent.uid && !status.ended()
    })
}

/// In Base64, as they are kept. None beyond what a frame holds: the agent says of what it has not got that it is missing.
fn secrets(world: &World, namespace: &str, spec: &AgentTaskSpec) -> Secrets {
    let mut found = Secrets::new();
    let Some(tool) = &spec.tool else { return found };
    let mut room = TOOL_BYTES_MAX * 2;
    for name in ToolTask::secrets(tool) {
        let secret = world.get(Secret::info(), namespace, name);
        let secret = secret.and_then(|object| Object::decode::<Secret>(&object).ok());
        let Some(Secret { data, .. }) = secret else { continue };
        let used = tool.secret_files.values().filter(|it| it.name == name);
        let used = used.filter_map(|it| data.get_key_value(&it.key));
        let mut values = std::collections::BTreeMap::new();
        for (key, value) in used {
            let Some(left) = room.checked_sub(value.len()) else { continue };
            room = left;
            values.insert(key.clone(), value.clone());
        }
        found.insert(name.to_owned(), values);
    }
    found
}
