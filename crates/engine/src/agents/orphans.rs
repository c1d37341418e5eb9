//! Streams of replicas that are no more: nobody is left to say that they ended. Each process that holds streams holds a
//! lease; when one has been gone for long enough that its agents have found another, those that have not are written down as silent.
//! Whose streams are whose is brought along with what machines say, so that it does not matter when a process died.

use super::{listening::Listening, marks::WRITES_MAX};
use crate::objects::{EngineError, Objects};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Time,
    agent::STREAMS_LEASE,
    condition,
    kinds::{Machine, machine_agent::AGENT_CONNECTED},
};
use quarterdeck_store::{Mutation, Precondition};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use tracing::{info, warn};

/// Processes that hold streams, as far as machines say.
#[derive(Default)]
pub(super) struct Orphans {
    streams: HashMap<Arc<str>, BTreeSet<Key>>,
    holders: HashMap<Key, Arc<str>>,
    /// Since when those are gone that have left streams behind.
    gone: HashMap<Arc<str>, Timestamp>,
}

/// The process that a session is of.
fn process(session: &str) -> &str {
    session.split('/').next().unwrap_or_default()
}

impl Orphans {
    /// A machine says that its agent has that session, or none that is open.
    pub(super) fn note(&mut self, key: &Key, session: Option<&str>) {
        self.forget(key);
        let Some(session) = session else { return };
        let process: Arc<str> = match self.streams.get_key_value(process(session)) {
            Some((process, _)) => process.clone(),
            None => process(session).into(),
        };
        self.streams.entry(process.clone()).or_default().insert(key.clone());
        self.holders.insert(key.clone(), process);
    }

    /// It is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        let Some(process) = self.holders.remove(key) else { return };
        if let Some(keys) = self.streams.get_mut(&process) {
            keys.remove(key);
            if keys.is_empty() {
                self.streams.remove(&process);
            }
        }
    }

    /// Machines whose streams nobody holds, and has not for a deadline: whoever can has found another replica by then.
    fn left(
        &mut self,
        live: &HashSet<&str>,
        (now, deadline): (Timestamp, SignedDuration),
    ) -> Vec<Key> {
        self.gone
            .retain(|process, _| self.streams.contains_key(process) && !live.contains(&**process));
        let mut left = Vec::new();
        for (process, keys) in &self.streams {
            if live.contains(&**process) {
                continue;
            }
            let since = *self.gone.entry(process.clone()).or_insert(now);
            if now.duration_since(since) >= deadline {
                left.extend(keys.iter().cloned());
            }
        }
        left
    }

    /// Looks who lives, and writes down what those left who do not.
    pub(super) async fn look(
        &mut self,
        objects: &Objects,
        (listening, deadline): (Listening, SignedDuration),
    ) -> Result<(), EngineError> {
        let leases = objects.store().leases().await?;
        let live: HashSet<&str> =
            leases.iter().filter_map(|lease| lease.name.strip_prefix(STREAMS_LEASE)).collect();
        let left = self.left(&live, (listening.now(), deadline));
        write_down(objects, &live, left).await
    }
}

/// In pieces: a replica may have held a hundred thousand streams. A machine that cannot be read holds up none of the others.
async fn write_down(
    objects: &Objects,
    live: &HashSet<&str>,
    left: Vec<Key>,
) -> Result<(), EngineError> {
    for some in left.chunks(WRITES_MAX) {
        let mut mutations = Vec::new();
        for key in some {
            match lost(objects, live, key) {
                Ok(lost) => mutations.extend(lost),
                Err(error) => {
                    warn!(machine = %key, %error, "that its agent did not come back cannot be written; write it anew, or update this replica");
                }
            }
        }
        if mutations.is_empty() {
            continue;
        }
        info!(machines = mutations.len(), "agents did not come back from a replica that is gone");
        // Whoever came meanwhile wrote that it did; what was not written otherwise is looked at again.
        objects.commit(mutations).await?;
    }
    Ok(())
}

/// What is to be written of a machine whose agent did not come back.
fn lost(
    objects: &Objects,
    live: &HashSet<&str>,
    key: &Key,
) -> Result<Option<Mutation>, EngineError> {
    let now = objects.now();
    let found = objects.read::<Machine>(&key.namespace, &key.name)?;
    let Some((at, mut machine)) = found else { return Ok(None) };
    let agent = machine.status.agent.as_mut().filter(|agent| agent.is_connected());
    let Some(agent) = agent else { return Ok(None) };
    // It may have come to another a moment ago.
    if live.contains(process(agent.session.as_deref().unwrap_or_default())) {
        return Ok(None);
    }
    agent.disconnected_since = Some(Time::new(now.timestamp()));
    let message =
        "The replica that held its agent's stream is gone, and the agent has not come to another.";
    let said = Condition::new(AGENT_CONNECTED, ConditionStatus::False, "ReplicaLost", message, now);
    condition::set(&mut machine.status.conditions, said);
    objects.put(&machine, Precondition::At(at)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Kind as _, object};
    use quarterdeck_store::{Sqlite, Store};
    use serde_json::json;

    #[test]
    fn what_a_process_left_is_found_whenever_it_died() {
        let key = |name: &str| Key::new(Machine::info(), "a", name);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let deadline = SignedDuration::from_secs(40);
        let mut orphans = Orphans::default();
        let left = |orphans: &mut Orphans, live: &[&str], second: i64| {
            orphans.left(&live.iter().copied().collect(), (at(second), deadline))
        };
        orphans.note(&key("one"), Some("p/1"));
        orphans.note(&key("two"), Some("p/2"));
        orphans.note(&key("three"), Some("q/1"));
        assert!(left(&mut orphans, &["p", "q"], 0).is_empty());
        assert!(left(&mut orphans, &["q"], 10).is_empty(), "they have time to come to another");
        assert!(left(&mut orphans, &["q"], 49).is_empty());
        orphans.note(&key("two"), Some("q/2"));
        assert_eq!(left(&mut orphans, &["q"], 50), [key("one")]);
        orphans.note(&key("one"), None);
        assert!(left(&mut orphans, &["q"], 100).is_empty());
        // Written by one that was never seen to live: cut off, and dead before its lease was renewed.
        orphans.note(&key("one"), Some("r/1"));
        assert!(left(&mut orphans, &["q"], 110).is_empty());
        assert_eq!(left(&mut orphans, &["q"], 150), [key("one")]);
        // Its lease was only late.
        assert!(left(&mut orphans, &["q", "r"], 151).is_empty());
        assert!(left(&mut orphans, &["q"], 160).is_empty());
        orphans.forget(&key("one"));
        orphans.forget(&key("two"));
        orphans.forget(&key("three"));
        assert!(orphans.streams.is_empty() && orphans.holders.is_empty());
        left(&mut orphans, &[], 170);
        assert!(orphans.gone.is_empty());
    }

    #[tokio::test]
    async fn all_that_a_dead_replica_left_is_written_but_for_what_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap());
        let objects = Objects::for_test(store, Arc::new(Timestamp::now)).await;
        let count = WRITES_MAX + 10;
        let keys: Vec<Key> =
            (0..count).map(|it| Key::new(Machine::info(), "a", &format!("m{it:04}"))).collect();
        let write = |(number, key): (usize, &Key)| {
            // As a later release may have written it.
            let phase = if number == 3 { json!(7) } else { json!("Running") };
            let value = json!({
                "metadata": {"name": &*key.name, "namespace": "a", "uid": &*key.name},
                "spec": {"preinstalled": true},
                "status": {"phase": phase, "agent": {"session": "p/1"}},
            });
            let body = object::encode(Machine::info(), &value);
            objects.put_body(key.clone(), body, Precondition::None)
        };
        objects.commit(keys.iter().enumerate().map(write).collect()).await.unwrap();
        write_down(&objects, &HashSet::new(), keys.clone()).await.unwrap();
        let connected = |key: &&Key| {
            let machine = objects.read::<Machine>("a", &key.name).ok().flatten();
            machine.is_none_or(|(_, machine)| {
                machine.status.agent.is_some_and(|agent| agent.is_connected())
            })
        };
        let left: Vec<&Key> = keys.iter().filter(connected).collect();
        assert_eq!(left, [&keys[3]], "all but the one that cannot be read");
    }
}
