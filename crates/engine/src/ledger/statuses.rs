//! Says in each service what the ledger counts of it. Behind the decisions: what is said may be a moment old,
//! and holds nobody up.

use crate::objects::{EngineError, Objects};
use quarterdeck_model::{Key, Kind as _, kinds::Service};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::AbortHandle, time::sleep};
use tracing::warn;

/// Changes are gathered for so long: a rollout changes a service many times in a second.
const GATHER: Duration = Duration::from_secs(1);

/// All instances of a service, those down, and how many may be.
type Numbers = (u32, u32, u32);

/// What is to be said. The task that says it ends with this.
pub(super) struct Statuses {
    news: Arc<News>,
    task: AbortHandle,
}

#[derive(Default)]
struct News {
    numbers: Mutex<BTreeMap<Arc<str>, Numbers>>,
    there: Notify,
}

impl Drop for Statuses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Statuses {
    /// Notes what changed.
    pub(super) fn changed(&self, changed: Vec<(Arc<str>, Numbers)>) {
        if changed.is_empty() {
            return;
        }
        // Each change is one insertion, so a poisoned lock guards a good map.
        self.news.numbers.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
        self.news.there.notify_one();
    }
}

pub(super) fn start(objects: Objects) -> Statuses {
    let news = Arc::<News>::default();
    let task = tokio::spawn(say(objects, news.clone())).abort_handle();
    Statuses { news, task }
}

async fn say(objects: Objects, news: Arc<News>) {
    loop {
        news.there.notified().await;
        sleep(GATHER).await;
        let numbers =
            std::mem::take(&mut *news.numbers.lock().unwrap_or_else(PoisonError::into_inner));
        for (service, numbers) in numbers {
            let Some((namespace, name)) = service.split_once('/') else { continue };
            let key = Key::new(Service::info(), namespace, name);
            match objects.modify(&key, |value| change(value, numbers)).await {
                Ok(_) => {}
                Err(EngineError::Fenced) => return,
                Err(error) => warn!(%key, %error, "could not say what is down of a service"),
            }
        }
    }
}

/// Says it in a service; answers whether that is new.
fn change(service: &mut Value, (total, down, most): Numbers) -> bool {
    let phase = match (total, down) {
        (0, _) => "Empty",
        (_, 0) => "Healthy",
        (_, down) if down > most => "OverBudget",
        _ => "Degraded",
    };
    let generation = service.pointer("/metadata/generation").cloned().unwrap_or_default();
    let Some(object) = service.as_object_mut() else { return false };
    let status = object.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return false };
    let mut new = false;
    for (field, value) in [
        ("phase", json!(phase)),
        ("instances", json!(total)),
        ("down", json!(down)),
        ("disruptionsAllowed", json!(most.saturating_sub(down))),
        ("observedGeneration", generation),
    ] {
        new |= status.get(field) != Some(&value);
        status.insert(field.into(), value);
    }
    new
}
