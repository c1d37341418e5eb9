//! Actions as they are, and a note of when each is under way that may disrupt its target: what acts under a permit
//! must never outlive it.

use crate::witness::Witness;
use quarterdeck_model::ActionSignature;
use quarterdeck_providers::{ActionContext, ActionError, Catalog, DynAction, Performed};
use serde_json::Value;
use std::sync::{Arc, Mutex};

struct Watched {
    action: Arc<dyn DynAction>,
    witness: Arc<Mutex<Witness>>,
}

/// While an action of a run is under way; dropped with it, however it ends.
struct UnderWay {
    run: String,
    witness: Arc<Mutex<Witness>>,
}

impl UnderWay {
    fn begin(key: &str, witness: &Arc<Mutex<Witness>>) -> Self {
        let run = key.split_once('/').map_or(key, |(uid, _)| uid).to_owned();
        witness.lock().unwrap().begins_to_act(&run);
        Self { run, witness: witness.clone() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // What failed inside of the witness is told already.
        if let Ok(mut witness) = self.witness.lock() {
            witness.acts_no_longer(&self.run);
        }
    }
}

#[async_trait::async_trait]
impl DynAction for Watched {
    fn signature(&self) -> ActionSignature {
        self.action.signature()
    }

    async fn perform(
        &self,
        context: &ActionContext,
        input: Value,
    ) -> Result<Performed, ActionError> {
        let _under_way = UnderWay::begin(&context.idempotency_key, &self.witness);
        self.action.perform(context, input).await
    }
}

/// Watches all those of a catalogue that may disrupt.
pub(crate) fn all(catalog: &mut Catalog, witness: &Arc<Mutex<Witness>>) {
    let disruptive = catalog.signatures().into_iter().filter(|action| action.disruptive);
    for name in disruptive.map(|action| action.name) {
        let action = catalog.get(name).unwrap().clone();
        catalog.put(name, Arc::new(Watched { action, witness: witness.clone() }));
    }
}
