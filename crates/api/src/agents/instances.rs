//! What is to run on an agent's machine: its instances, each with the Secrets that it uses, and only what changed since it was
//! sent on the same stream. A host has some tens of instances, and each changes alone.

use super::Agent;
use quarterdeck_model::{
    Duration, Kind as _, Object,
    agent::{Assigned, FRAME_BYTES_MAX, Instances, Secrets},
    kinds::{Instance, Secret, instances_on_machine},
};
use quarterdeck_store::World;
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of a frame that are filled: what a frame adds to its parts fits the rest.
const FILLED_BYTES: usize = FRAME_BYTES_MAX / 2;

/// What was sent on a stream: by uid, the revisions of the instance and of its Secrets.
#[derive(Default)]
pub(super) struct Sent(Option<BTreeMap<Box<str>, Vec<u64>>>);

/// Instances on a machine.
fn on(world: &World, agent: &Agent) -> Vec<Arc<Object>> {
    let Agent { namespace, name, .. } = agent;
    let fields = instances_on_machine(namespace, name);
    world.with_fields(Instance::info(), &fields)
}

/// What changed since that was sent, in frames.
pub(super) fn changed(world: &World, agent: &Agent, sent: &mut Sent) -> Vec<Instances> {
    let complete = sent.0.is_none();
    let before = sent.0.take().unwrap_or_default();
    let mut now = BTreeMap::new();
    let mut set = Vec::new();
    for object in on(world, agent) {
        let Ok(instance) = object.decode::<Instance>() else { continue };
        // What something else runs is none of the agent's.
        let Some(template) = &instance.spec.template else { continue };
        let secret = |name: &str| world.get(Secret::info(), object.namespace(), name);
        let found: Vec<Arc<Object>> = template.secrets().into_iter().filter_map(secret).collect();
        // Its own status is no reason to send it anew.
        let generation = instance.metadata.generation.unwrap_or(0).unsigned_abs();
        let deleting = u64::from(instance.metadata.deletion_timestamp.is_some());
        let mut version = vec![generation, deleting];
        version.extend(found.iter().map(|secret| secret.revision.0));
        let uid: Box<str> = object.uid().into();
        if before.get(&uid) != Some(&version) {
            set.push(assigned(instance, &found));
        }
        now.insert(uid, version);
    }
    let removed: Vec<String> =
        before.keys().filter(|uid| !now.contains_key(*uid)).map(|uid| uid.to_string()).collect();
    sent.0 = Some(now);
    if !complete && set.is_empty() && removed.is_empty() {
        return Vec::new();
    }
    in_frames(complete, set, removed)
}

fn assigned(instance: Instance, secrets: &[Arc<Object>]) -> Assigned {
    let grace = instance.spec.template.as_ref().map_or(0, |it| it.termination_grace_period_seconds);
    let deleting = instance.metadata.deletion_timestamp.is_some();
    let mut found = Secrets::new();
    for object in secrets {
        if let Ok(secret) = object.decode::<Secret>() {
            found.insert(object.name().to_owned(), secret.data.clone());
        }
    }
    Assigned {
        name: instance.metadata.name,
        uid: instance.metadata.uid,
        spec: instance.spec,
        deleting_grace: deleting.then(|| Duration::from_secs(grace.into())),
        secrets: found,
    }
}

/// As many frames as are needed; the last says so.
fn in_frames(complete: bool, set: Vec<Assigned>, removed: Vec<String>) -> Vec<Instances> {
    let first = Instances { complete, set: Vec::new(), removed, more: false };
    let (mut frames, mut last, mut size) = (Vec::new(), first, 0);
    for assigned in set {
        let bytes = serde_json::to_vec(&assigned).map_or(0, |bytes| bytes.len());
        if size + bytes > FILLED_BYTES && !last.set.is_empty() {
            last.more = true;
            frames.push(std::mem::take(&mut last));
            size = 0;
        }
        size += bytes;
        last.set.push(assigned);
    }
    frames.push(last);
    frames
}
