//! Work on a whole rack, which no shipped action does: all servers in it may go at any moment.

use crate::{dice::Dice, witness::Witness};
use quarterdeck_providers::{Action, ActionContext, ActionError, Catalog};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

/// Longest that it takes.
const LONGEST: Duration = Duration::from_secs(300);

/// The action.
pub(crate) struct Work(pub(crate) Arc<Mutex<Witness>>);

/// Nothing is asked for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Nothing {}

/// Nothing is given back.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Done {}

impl Action for Work {
    type Input = Nothing;
    type Output = Done;
    const NAME: &'static str = "rack.work";
    const SUMMARY: &'static str = "Works on the power of a rack.";
    const TARGET_KINDS: &'static [&'static str] = &["Rack"];
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = true;

    async fn perform(&self, context: &ActionContext, _: Nothing) -> Result<Done, ActionError> {
        let target = context.target.as_deref().map_or(&Value::Null, |target| target);
        let rack = target.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let key = &context.idempotency_key;
        let parts: Vec<u64> = key.bytes().map(u64::from).collect();
        let time = Dice::of(&parts).time(Duration::from_secs(1), LONGEST);
        // A cable here, and one there: the whole rack may go each time.
        for _ in 0..3 {
            self.0.lock().unwrap().worked_on(rack, key);
            sleep(time / 3).await;
        }
        Ok(Done {})
    }
}

/// Adds it.
pub(crate) fn add(catalog: &mut Catalog, witness: &Arc<Mutex<Witness>>) {
    catalog.add(Work(witness.clone()));
}
