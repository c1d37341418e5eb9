//! Streams of replicas that are no more: nobody is left to say that they ended. Each process that holds streams holds a
//! lease; when one is gone for long enough that its agents have found another, those that have not are written down as silent.
//! All machines are looked at only then.

use super::passed;
use crate::objects::{EngineError, Objects};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Condition, ConditionStatus, Kind as _, Time,
    agent::STREAMS_LEASE,
    condition,
    kinds::{Machine, machine_agent::AGENT_CONNECTED},
};
use quarterdeck_store::Precondition;
use std::collections::{BTreeSet, HashSet};
use tracing::info;

/// Processes that hold streams.
#[derive(Default)]
pub(super) struct Orphans {
    /// Those that lived at the last look.
    lived: Option<HashSet<String>>,
    /// When it is looked for what those left that were seen to be gone.
    due: BTreeSet<Timestamp>,
}

impl Orphans {
    /// Looks who lives, and writes down what those left who do not.
    pub(super) async fn look(
        &mut self,
        objects: &Objects,
        deadline: SignedDuration,
    ) -> Result<(), EngineError> {
        let now = objects.now().timestamp();
        let leases = objects.store().leases().await?;
        let live: HashSet<String> = leases
            .iter()
            .filter_map(|lease| lease.name.strip_prefix(STREAMS_LEASE).map(str::to_owned))
            .collect();
        let lost =
            self.lived.as_ref().is_none_or(|lived| lived.iter().any(|it| !live.contains(it)));
        if lost {
            // Whoever can finds another replica by then.
            self.due.insert(now.checked_add(deadline).unwrap_or(Timestamp::MAX));
        }
        self.lived = Some(live.clone());
        let Some(due) = self.due.first() else { return Ok(()) };
        if passed(*due, now).is_negative() {
            return Ok(());
        }
        write_down(objects, &live).await?;
        self.due.pop_first();
        Ok(())
    }
}

async fn write_down(objects: &Objects, live: &HashSet<String>) -> Result<(), EngineError> {
    let (world, now) = (objects.store().world(), objects.now());
    let mut mutations = Vec::new();
    for object in world.all(Machine::info()) {
        // Most have none; asking the text is a fraction of what reading it costs.
        if !str::from_utf8(&object.json).is_ok_and(|json| json.contains("\"session\"")) {
            continue;
        }
        let Ok(mut machine) = object.decode::<Machine>() else { continue };
        let Some(agent) = machine.status.agent.as_mut().filter(|agent| agent.is_connected()) else {
            continue;
        };
        let session = agent.session.as_deref().unwrap_or_default();
        let process = session.split('/').next().unwrap_or_default();
        if live.contains(process) {
            continue;
        }
        agent.disconnected_since = Some(Time::new(now.timestamp()));
        let message = "The replica that held its agent's stream is gone, and the agent has not come to another.";
        let said =
            Condition::new(AGENT_CONNECTED, ConditionStatus::False, "ReplicaLost", message, now);
        condition::set(&mut machine.status.conditions, said);
        mutations.push(objects.put(&machine, Precondition::At(object.revision))?);
    }
    if mutations.is_empty() {
        return Ok(());
    }
    info!(machines = mutations.len(), "agents did not come back from a replica that is gone");
    // Whoever came meanwhile wrote that it did.
    objects.commit(mutations).await?;
    Ok(())
}
