//! Servers that have been inspected are looked at again now and then, so that the inventory and the
//! power state stay true and a BMC that is lost is noticed.
//!
//! There is no run and no event for it: at 110,000 servers an hour it would drown what people did.
//! Nothing is written when nothing has changed. A restart of the plane spreads the looks over a
//! whole interval again.

use super::{
    super::Controller,
    decide::{REACHABLE, spread},
    lock,
};
use crate::{
    actions::Actions,
    objects::{EngineError, Objects},
    observe,
    runs::Call,
};
use jiff::SignedDuration;
use quarterdeck_model::{
    Condition, ConditionStatus, Key, Kind as _, KindRef, Object, Time, condition, kinds::Server,
};
use quarterdeck_runbook::{Failure, Perform};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// What is performed.
const ACTION: &str = "inventory.refresh";
/// A server is looked at this often: 30 a second of 110,000.
const EVERY: Duration = Duration::from_secs(3600);
/// Pause after the first look that failed; doubles with each further one.
const AGAIN: Duration = Duration::from_secs(60);
/// Longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// Looks in a row that must fail before the server is said to be lost: a BMC that restarts, as
/// after an update of its firmware, is away for a minute or two.
const FAILURES_MIN: u32 = 3;
/// How long one look may take.
const LOOK_MAX: SignedDuration = SignedDuration::from_mins(5);
/// While a run acts on the server, it is left alone.
const BUSY: Duration = Duration::from_secs(60);

/// Looks at servers.
pub(crate) struct Refreshes {
    actions: Arc<Actions>,
    every: Duration,
    looks: Mutex<HashMap<Key, Look>>,
}

/// What is remembered of a server. Losing it costs a look.
#[derive(Clone, Copy)]
struct Look {
    next: Instant,
    failures: u32,
}

impl Refreshes {
    pub(crate) fn new(actions: Arc<Actions>) -> Self {
        Self { actions, every: EVERY, looks: Mutex::default() }
    }

    /// When to look at a server, planned now if it was not before.
    fn plan(&self, key: &Key) -> Look {
        let seconds = i64::try_from(self.every.as_secs()).unwrap_or(i64::MAX);
        let wait = Duration::from_secs(spread(&key.name, seconds).unsigned_abs());
        let first = Look { next: Instant::now() + wait, failures: 0 };
        *lock(&self.looks).entry(key.clone()).or_insert(first)
    }

    /// Notes how a look went; answers the number of failures in a row.
    fn note(&self, key: &Key, failed: bool) -> (u32, Duration) {
        let mut looks = lock(&self.looks);
        let now = Instant::now();
        let look = looks.entry(key.clone()).or_insert(Look { next: now, failures: 0 });
        look.failures = if failed { look.failures.saturating_add(1) } else { 0 };
        let pause = match look.failures {
            0 => self.every,
            failures => AGAIN.saturating_mul(1 << (failures - 1).min(10)).min(AGAIN_MAX),
        };
        look.next = now + pause;
        (look.failures, pause)
    }

    async fn look(
        &self,
        objects: &Objects,
        server: &Object,
        value: &Arc<Value>,
    ) -> Result<Map<String, Value>, Failure> {
        let now = objects.now();
        let deadline = now.timestamp().saturating_add(LOOK_MAX).unwrap_or(now.timestamp());
        let perform = Perform {
            step: "refresh".into(),
            attempt: 1,
            action: ACTION.into(),
            input: json!({}),
            idempotency_key: format!("{}/refresh", server.uid()),
            deadline: Time::new(deadline),
            disruptive: false,
        };
        let target = Some((server.key.clone(), value.clone()));
        let call = Call { perform, target, since: now, resumed: false, leave: None };
        let seen = self.actions.perform(objects, call).await?;
        Ok(seen.observed.unwrap_or_default())
    }
}

impl Controller for Refreshes {
    const NAME: &'static str = "refreshes";
    // Each waits for its BMC, some for minutes; what they ask for is bounded by the provider.
    const WORKERS: usize = 256;

    fn follows(&self) -> Vec<KindRef> {
        vec![Server::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if gone {
            lock(&self.looks).remove(&object.key);
        }
        // What changes about a server changes nothing about when to look at it.
        let known = lock(&self.looks).contains_key(&object.key);
        if gone || known || !has_been_inspected(object) {
            return Vec::new();
        }
        vec![object.key.clone()]
    }

    fn forget(&self, ours: &dyn Fn(&Key) -> bool) {
        lock(&self.looks).retain(|key, _| ours(key));
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some(object) = objects.get(key).filter(|object| has_been_inspected(object)) else {
            lock(&self.looks).remove(key);
            return Ok(None);
        };
        let look = self.plan(key);
        let left = look.next.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Ok(Some(left));
        }
        let value = Arc::new(object.value());
        // What inspections have not found yet is for them to find.
        if is_inspecting(&object) && value.pointer("/status/inventory").is_none() {
            return Ok(Some(AGAIN_MAX));
        }
        if value.pointer("/status/currentRun").is_some_and(Value::is_string) {
            return Ok(Some(BUSY));
        }
        match self.look(objects, &object, &value).await {
            Ok(seen) => {
                let (_, pause) = self.note(key, false);
                // Nearly always it is as it was: then the server is not read again to find that out.
                let same = objects.get(key).is_some_and(|now| now.revision == object.revision);
                if !(same && observe::shows(&value, &seen)) {
                    observe::record(objects, key, &seen).await?;
                }
                if says_reachable(&value) {
                    reachable(objects, key, None).await?;
                }
                Ok(Some(pause))
            }
            Err(failure) => {
                let (failures, pause) = self.note(key, true);
                if failures >= FAILURES_MIN {
                    reachable(objects, key, Some(&failure)).await?;
                }
                Ok(Some(pause))
            }
        }
    }
}

/// Whether a run has begun to inspect it, and it is not gone for good. One that was inspected and lacks something that
/// its profile asks for is `Inspecting` until somebody has mended it, which a look finds out.
fn has_been_inspected(server: &Object) -> bool {
    let phase = server.field("status.phase").unwrap_or_default();
    !matches!(phase, "" | "Registered" | "Retired")
}

fn is_inspecting(server: &Object) -> bool {
    server.field("status.phase") == Some("Inspecting")
}

/// Whether it is said of a server that it is lost.
fn says_reachable(server: &Value) -> bool {
    let conditions = server.pointer("/status/conditions").and_then(Value::as_array);
    let mut kinds = conditions.into_iter().flatten().map(|condition| condition.get("type"));
    kinds.any(|kind| kind.and_then(Value::as_str) == Some(REACHABLE))
}

/// Says that a server is lost and why, or takes that back. The Server controller makes of it
/// whether the server is ready.
async fn reachable(
    objects: &Objects,
    key: &Key,
    failure: Option<&Failure>,
) -> Result<(), EngineError> {
    let now = Time::seconds(objects.now().timestamp());
    objects
        .modify(key, |value| {
            let Some(status) = value.pointer_mut("/status") else { return false };
            let conditions = status.get("conditions").cloned().unwrap_or_else(|| json!([]));
            let Ok(mut conditions) = serde_json::from_value::<Vec<Condition>>(conditions) else {
                return false;
            };
            let changed = match failure {
                Some(Failure { reason, message, .. }) => condition::set(
                    &mut conditions,
                    Condition::new(REACHABLE, ConditionStatus::False, reason, message, now),
                ),
                None => {
                    let before = conditions.len();
                    conditions.retain(|condition| condition.kind != REACHABLE);
                    conditions.len() != before
                }
            };
            if changed {
                status["conditions"] = json!(conditions);
            }
            changed
        })
        .await?;
    Ok(())
}
