//! The world outside: what actions did to it, and how they behave.

use quarterdeck_providers::{Action, ActionContext, ActionError, Catalog, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// How one call of an action goes.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// It takes this long, then has its effect.
    Takes(Duration),
    /// It has its effect, then takes this long to say so.
    AnswersLate(Duration),
    /// It fails without an effect, and trying again helps.
    Fails,
    /// It fails as long as the attempt is below this one.
    FailsUntil(u32),
    /// It fails without an effect, and trying again does not help.
    FailsForGood,
    /// It ends in a defect.
    Panics,
    /// It never answers.
    Hangs,
    /// It gives back this many bytes.
    GivesBytes(usize),
    /// It sees this of its target.
    Sees(Value),
    /// Its process dies before the effect.
    DiesBefore,
    /// Its process dies after the effect.
    DiesAfter,
}

/// One call of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) what: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) resumed: bool,
}

/// Looks at the disk just before an effect.
type Witness = Box<dyn Fn(&Call) + Send + Sync>;

/// What is outside of the plane.
#[derive(Default)]
pub(crate) struct Outside {
    script: Mutex<HashMap<String, VecDeque<Behaviour>>>,
    /// How calls go that the script does not know.
    always: Mutex<HashMap<String, Behaviour>>,
    /// How much longer than the one before each call takes.
    pace: Mutex<Duration>,
    calls: Mutex<Vec<Call>>,
    /// What was done, in order: what, and under which key.
    effects: Mutex<Vec<(String, String)>>,
    witness: Mutex<Option<Witness>>,
    changed: Notify,
    /// Tells that a process died in an action.
    pub(crate) died: Notify,
}

impl Outside {
    /// The next call of `what` goes so.
    pub(crate) fn next(&self, what: &str, behaviour: Behaviour) {
        self.script.lock().unwrap().entry(what.into()).or_default().push_back(behaviour);
    }

    /// Every call of `what` goes so, unless something else was asked for.
    pub(crate) fn always(&self, what: &str, behaviour: Behaviour) {
        self.always.lock().unwrap().insert(what.into(), behaviour);
    }

    /// No two calls end at the same time.
    pub(crate) fn paced(&self, pace: Duration) {
        *self.pace.lock().unwrap() = pace;
    }

    /// The very next call of `what` goes so, before what was asked for earlier.
    pub(crate) fn next_first(&self, what: &str, behaviour: Behaviour) {
        self.script.lock().unwrap().entry(what.into()).or_default().push_front(behaviour);
    }

    /// Looks at every call that is about to have an effect.
    pub(crate) fn witnessed_by(&self, witness: impl Fn(&Call) + Send + Sync + 'static) {
        *self.witness.lock().unwrap() = Some(Box::new(witness));
    }

    pub(crate) fn calls(&self, what: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.what == what).cloned().collect()
    }

    /// What was done, in order.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.effects.lock().unwrap().iter().map(|(what, _)| what.clone()).collect()
    }

    /// Waits until `what` was called `times` times.
    pub(crate) async fn called(&self, what: &str, times: usize) {
        while self.calls(what).len() < times {
            self.changed.notified().await;
        }
    }

    fn act(&self, call: &Call) {
        if let Some(witness) = &*self.witness.lock().unwrap() {
            witness(call);
        }
        let mut effects = self.effects.lock().unwrap();
        // It looks before it acts: what was done under this key is not done again.
        if !effects.iter().any(|(_, key)| *key == call.key) {
            effects.push((call.what.clone(), call.key.clone()));
        }
    }

    async fn perform(&self, context: &ActionContext, what: &str) -> Result<Done, ActionError> {
        let call = Call {
            what: what.into(),
            key: context.idempotency_key.clone(),
            attempt: context.attempt,
            resumed: context.resumed,
        };
        let calls = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            u32::try_from(calls.len()).unwrap()
        };
        self.changed.notify_one();
        let scripted = self.script.lock().unwrap().get_mut(what).and_then(VecDeque::pop_front);
        let behaviour = scripted.or_else(|| self.always.lock().unwrap().get(what).cloned());
        let pace = *self.pace.lock().unwrap();
        if !pace.is_zero() {
            sleep(pace * calls).await;
        }
        let mut done = Done { what: what.into(), ..Done::default() };
        match behaviour {
            None => self.act(&call),
            Some(Behaviour::Takes(time)) => {
                sleep(time).await;
                self.act(&call);
            }
            Some(Behaviour::AnswersLate(time)) => {
                self.act(&call);
                sleep(time).await;
            }
            Some(Behaviour::FailsUntil(attempt)) if context.attempt >= attempt => self.act(&call),
            Some(Behaviour::Fails | Behaviour::FailsUntil(_)) => {
                return Err(ActionError::retryable(Reason::Unreachable, "nobody answers"));
            }
            Some(Behaviour::FailsForGood) => {
                return Err(ActionError::permanent(Reason::NotSupported, "it cannot do that"));
            }
            Some(Behaviour::Panics) => panic!("a defect"),
            Some(Behaviour::Hangs) => pending().await,
            Some(Behaviour::GivesBytes(bytes)) => {
                self.act(&call);
                done.text = "x".repeat(bytes);
            }
            Some(Behaviour::Sees(seen)) => {
                self.act(&call);
                done.seen = seen.as_object().cloned();
            }
            Some(Behaviour::DiesBefore) => {
                self.died.notify_one();
                pending().await
            }
            Some(Behaviour::DiesAfter) => {
                self.act(&call);
                self.died.notify_one();
                pending().await
            }
        }
        Ok(done)
    }

    /// The actions that reach it.
    pub(crate) fn catalog(self: &Arc<Self>) -> Catalog {
        let mut catalog = Catalog::new();
        catalog.add(Do(self.clone())).add(Disturb(self.clone())).add(Look(self.clone()));
        catalog.add(Refresh(self.clone()));
        catalog
    }
}

/// What an action is asked for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct What {
    what: String,
}

/// What an action gives back.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct Done {
    what: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip)]
    seen: Option<Map<String, Value>>,
}

macro_rules! action {
    ($type:ident, $name:literal, effects: $effects:literal, disruptive: $disruptive:literal) => {
        struct $type(Arc<Outside>);

        impl Action for $type {
            type Input = What;
            type Output = Done;
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "Does as the script says.";
            const TARGET_KINDS: &'static [&'static str] = &[];
            const EFFECTS: bool = $effects;
            const DISRUPTIVE: bool = $disruptive;

            fn observed(output: &Done) -> Option<Map<String, Value>> {
                output.seen.clone()
            }

            async fn perform(
                &self,
                context: &ActionContext,
                input: What,
            ) -> Result<Done, ActionError> {
                self.0.perform(context, &input.what).await
            }
        }
    };
}

action!(Do, "do.it", effects: true, disruptive: false);
action!(Disturb, "disturb.it", effects: true, disruptive: true);
action!(Look, "look.at", effects: false, disruptive: false);

/// What servers are looked at with, without a run: `refresh` and the server's name, to the script.
struct Refresh(Arc<Outside>);

/// Nothing is asked for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Nothing {}

impl Action for Refresh {
    type Input = Nothing;
    type Output = Done;
    const NAME: &'static str = "inventory.refresh";
    const SUMMARY: &'static str = "Looks at a server as the script says.";
    const TARGET_KINDS: &'static [&'static str] = &["Server"];
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    fn observed(output: &Done) -> Option<Map<String, Value>> {
        output.seen.clone()
    }

    async fn perform(&self, context: &ActionContext, _: Nothing) -> Result<Done, ActionError> {
        let name = context.target.as_ref().and_then(|target| target.pointer("/metadata/name"));
        let name = name.and_then(Value::as_str).unwrap_or_default();
        self.0.perform(context, &format!("refresh {name}")).await
    }
}
