//! What an action is: a named verb with a typed input and output that changes or reads the
//! outside world.
//!
//! Contract between the caller (the engine) and an action:
//! - The effect happens *at least once* per idempotency key: the caller repeats a call whose
//!   outcome it did not record. So an action observes before it acts, and a repeated call finds
//!   the work done.
//! - The caller records an attempt durably before it calls. An attempt that was under way when the
//!   caller was interrupted is called again under the same number and marked `resumed`.
//! - An action returns before `deadline`, with [`Reason::Timeout`] if it must.
//!
//! Nothing here knows any provider.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::agent::Hosts;
use quarterdeck_model::kinds::SecretReference;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The data of one Secret: decoded values by key.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// A change of one Secret, which the plane makes for an action and durably before the action's step has ended. Which
/// Secrets may be changed so is for the plane to say.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretChange {
    /// The Secret; it is created when there is none.
    pub secret: SecretReference,
    /// Values by key.
    pub set: SecretData,
    /// Keys that go.
    pub remove: Vec<String>,
}

/// Values stay out: what is changed ends up in logs.
impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretChange").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// What is to be so from now on, of an action's target.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// A merge patch (RFC 7386) of its `spec`.
    pub patch: Map<String, Value>,
    /// It is only asked whether that may be.
    pub check_only: bool,
}

/// Where actions read Secrets. Answers from memory, so it is not async.
pub trait SecretSource: Send + Sync {
    /// The data of the Secret `namespace/name`, or `None` when there is no such Secret.
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData>;
}

/// A source without any Secret, for actions that need none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl SecretSource for NoSecrets {
    fn get(&self, _namespace: &str, _name: &str) -> Option<SecretData> {
        None
    }
}

/// What an action is told about the call it serves.
#[derive(Clone)]
pub struct ActionContext {
    /// The same for every repetition of one step, different for any two steps.
    pub idempotency_key: String,
    /// Counts recorded attempts with this key from 1.
    pub attempt: u32,
    /// This attempt was called before, and nobody knows how far that call came.
    pub resumed: bool,
    /// When the first call with this key was recorded, by the wall clock. An action that sees the
    /// outside change after this moment may take the change for its own.
    pub first_attempt_at: jiff::Timestamp,
    /// The action must have returned by then.
    pub deadline: Instant,
    /// The object the run is aimed at, whole, as JSON.
    pub target: Option<Arc<Value>>,
    /// Where credentials are read.
    pub secrets: Arc<dyn SecretSource>,
    /// How the agents on machines are reached.
    pub hosts: Arc<dyn Hosts>,
}

impl ActionContext {
    /// Time left before the deadline; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The target, or an error for the person who wrote the runbook.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] when the call has no target.
    pub fn require_target(&self) -> Result<&Arc<Value>, ActionError> {
        self.target.as_ref().ok_or_else(|| {
            ActionError::permanent(
                Reason::InvalidInput,
                "the action needs a target, but the run has none; set the run's target",
            )
        })
    }
}

/// Secrets and the target stay out: contexts end up in logs.
impl fmt::Debug for ActionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionContext")
            .field("idempotency_key", &self.idempotency_key)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// One verb, as its author writes it. The catalogue erases the types.
pub trait Action: Send + Sync + 'static {
    /// What a runbook passes as `with`.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What later steps see as `steps.<name>.output`. Never holds a secret.
    type Output: Serialize + JsonSchema;

    /// Dotted name, unique in the fleet: `power.set`.
    const NAME: &'static str;
    /// One sentence for people.
    const SUMMARY: &'static str;
    /// Kinds the action can be aimed at; empty when it needs no target.
    const TARGET_KINDS: &'static [&'static str];
    /// The action changes the world.
    const EFFECTS: bool;
    /// The action can interrupt what runs on the target.
    const DISRUPTIVE: bool;

    /// What the output says of the target: fields to put into its `status`, so that the object shows
    /// what was seen, whoever looked.
    fn observed(output: &Self::Output) -> Option<Map<String, Value>> {
        let _ = output;
        None
    }

    /// What is to be so from now on, of the target's `spec`.
    fn declared(output: &Self::Output) -> Option<Declared> {
        let _ = output;
        None
    }

    /// What the plane is to keep in a Secret. It is of those parts of the output that are not serialised.
    fn kept(output: &Self::Output) -> Option<SecretChange> {
        let _ = output;
        None
    }

    /// Performs the action once, or finds that it has been performed already.
    fn perform(
        &self,
        context: &ActionContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, ActionError>> + Send;
}

/// Why an action failed, in one CamelCase word that becomes a condition's `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No connection, or it broke: address, network, or the device is down.
    Unreachable,
    /// The device refused the credentials, or they could not be read.
    Unauthorized,
    /// The device's TLS certificate does not satisfy the policy set for it.
    CertificateInvalid,
    /// The device answers for another machine than the one declared.
    SerialMismatch,
    /// The device cannot do this, by its own word or its firmware's.
    NotSupported,
    /// The device, or we to protect it, asked to come back later.
    Throttled,
    /// The device's management controller answered with an error or with nonsense.
    BmcError,
    /// The deadline passed before the wanted state was seen.
    Timeout,
    /// The input or the target's spec is wrong; a person has to change it.
    InvalidInput,
    /// What the target or the step names (a boot option, a media slot) is not there.
    NotFound,
    /// The management controller does not show the system declared.
    SystemNotFound,
    /// A Secret that the target or the step names does not exist, or lacks a key.
    SecretNotFound,
    /// An earlier attempt may have had its effect and nothing can be observed to tell.
    OutcomeUnknown,
    /// A request to another service was answered with a status that was not expected.
    UnexpectedStatus,
    /// An address that actions must not reach.
    Forbidden,
    /// What was run on a machine failed.
    CommandFailed,
}

impl Reason {
    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Unauthorized => "Unauthorized",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::SerialMismatch => "SerialMismatch",
            Self::NotSupported => "NotSupported",
            Self::Throttled => "Throttled",
            Self::BmcError => "BmcError",
            Self::Timeout => "Timeout",
            Self::InvalidInput => "InvalidInput",
            Self::NotFound => "NotFound",
            Self::SystemNotFound => "SystemNotFound",
            Self::SecretNotFound => "SecretNotFound",
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::UnexpectedStatus => "UnexpectedStatus",
            Self::Forbidden => "Forbidden",
            Self::CommandFailed => "CommandFailed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether trying again later can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The cause may pass by itself.
    Retryable,
    /// A person has to change something first.
    Permanent,
}

/// What is known of a failed call's effect on the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that could have an effect was sent, or the device refused it.
    None,
    /// It was sent and may have worked: the answer is missing or the deadline passed.
    Unknown,
}

/// A failed action, told to a person.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ActionError {
    /// The word for conditions and grouping.
    pub reason: Reason,
    /// A sentence: what failed, on what, why, and what to do next. Never holds a secret.
    pub message: String,
    /// Whether trying again later can help.
    pub retry: Retry,
    /// What is known of the effect.
    pub effect: Effect,
    /// How long the device asked us to stay away.
    pub retry_after: Option<Duration>,
    /// The cause below, for logs.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ActionError {
    /// A failure that may pass by itself.
    pub fn retryable(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(reason, message.into(), Retry::Retryable)
    }

    /// A failure that a person has to mend.
    pub fn permanent(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(reason, message.into(), Retry::Permanent)
    }

    fn new(reason: Reason, message: String, retry: Retry) -> Self {
        Self { reason, message, retry, effect: Effect::None, retry_after: None, source: None }
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Says that the effect may have happened.
    #[must_use]
    pub const fn effect_unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.retry, Retry::Retryable)
    }
}
