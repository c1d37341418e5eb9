//! The catalogue of actions: every verb this build knows, by name.
//!
//! Erases the types of [`Action`] so that the engine can call any of them with JSON. It decides
//! nothing: whether an action may run now is the engine's and the ledger's.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use quarterdeck_model::{ActionSignature, schema};
use serde_json::{Map, Value};

use crate::action::{Action, ActionContext, ActionError, Declared, Reason, SecretChange};

/// What a performed action gives back.
#[derive(Debug, Clone, PartialEq)]
pub struct Performed {
    /// What later steps see as `steps.<name>.output`.
    pub output: Value,
    /// What it saw of its target: fields to put into the target's `status`.
    pub observed: Option<Map<String, Value>>,
    /// What is to be so from now on, of the target's `spec`.
    pub declared: Option<Declared>,
    /// What is to be kept in a Secret.
    pub kept: Option<SecretChange>,
}

/// An action with its types erased.
#[async_trait]
pub trait DynAction: Send + Sync {
    /// What runbooks are checked against.
    fn signature(&self) -> ActionSignature;

    /// Performs the action with a JSON input.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] when the input does not fit the schema, else what the action says.
    async fn perform(
        &self,
        context: &ActionContext,
        input: Value,
    ) -> Result<Performed, ActionError>;
}

#[async_trait]
impl<A: Action> DynAction for A {
    fn signature(&self) -> ActionSignature {
        ActionSignature {
            name: A::NAME,
            summary: A::SUMMARY,
            target_kinds: A::TARGET_KINDS,
            input: schema::of_type::<A::Input>(),
            output: schema::of_type::<A::Output>(),
            effects: A::EFFECTS,
            disruptive: A::DISRUPTIVE,
        }
    }

    async fn perform(
        &self,
        context: &ActionContext,
        input: Value,
    ) -> Result<Performed, ActionError> {
        // A step without `with` reads as an empty object, so that all-optional inputs need none.
        let input = if input.is_null() { Value::Object(Map::new()) } else { input };
        let input = serde_json::from_value(input).map_err(|error| {
            ActionError::permanent(
                Reason::InvalidInput,
                format!("{}: the input does not fit: {error}; correct the step's `with`", A::NAME),
            )
            .because(error)
        })?;
        let deadline = tokio::time::Instant::from_std(context.deadline);
        let performed = tokio::time::timeout_at(deadline, Action::perform(self, context, input));
        let output = performed.await.unwrap_or_else(|_elapsed| {
            Err(ActionError::retryable(
                Reason::Timeout,
                format!("{}: the deadline passed before it was done", A::NAME),
            )
            .effect_unknown())
        })?;
        let (observed, declared) = (A::observed(&output), A::declared(&output));
        let kept = A::kept(&output);
        let output = serde_json::to_value(output).map_err(|error| {
            ActionError::permanent(
                Reason::BmcError,
                format!("{}: the output cannot be written as JSON: {error}", A::NAME),
            )
            .because(error)
            .effect_unknown()
        })?;
        Ok(Performed { output, observed, declared, kept })
    }
}

/// Every action by name.
#[derive(Clone, Default)]
pub struct Catalog {
    actions: BTreeMap<&'static str, Arc<dyn DynAction>>,
}

impl Catalog {
    /// A catalogue without actions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action; a later one of the same name takes the place of the earlier, which is how
    /// simulated twins stand in.
    pub fn add<A: Action>(&mut self, action: A) -> &mut Self {
        self.actions.insert(A::NAME, Arc::new(action));
        self
    }

    /// Puts an action whose types are erased in place of the one of that name.
    pub fn put(&mut self, name: &'static str, action: Arc<dyn DynAction>) {
        self.actions.insert(name, action);
    }

    /// The action of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn DynAction>> {
        self.actions.get(name)
    }

    /// What runbooks are checked against, for the action of that name.
    #[must_use]
    pub fn signature(&self, name: &str) -> Option<ActionSignature> {
        self.get(name).map(|action| action.signature())
    }

    /// Performs the action of that name.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] when there is no such action, else as [`DynAction::perform`].
    pub async fn perform(
        &self,
        name: &str,
        input: Value,
        context: &ActionContext,
    ) -> Result<Performed, ActionError> {
        let Some(action) = self.get(name) else {
            return Err(ActionError::permanent(
                Reason::InvalidInput,
                format!("there is no action {name:?}; correct the step's `action`"),
            ));
        };
        action.perform(context, input).await
    }

    /// Every signature, in order of name.
    #[must_use]
    pub fn signatures(&self) -> Vec<ActionSignature> {
        self.actions.values().map(|action| action.signature()).collect()
    }
}
