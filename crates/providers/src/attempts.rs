//! Which earlier attempts are known to have sent nothing.
//!
//! Kept in memory: after a restart of the process nothing is known, which costs a question to the
//! outside or to a person, never a second effect.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::action::{ActionContext, ActionError, Effect};

/// Keys remembered; an entry lives until its step succeeds or is given up.
const KEYS_MAX: usize = 4096;

/// Attempt up to which nothing was sent, by idempotency key.
#[derive(Debug, Default)]
pub(crate) struct Unsent(Mutex<BTreeMap<String, u32>>);

impl Unsent {
    /// Whether no attempt before this one can have had an effect.
    pub(crate) fn is_first(&self, context: &ActionContext) -> bool {
        let unsent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = unsent.get(&context.idempotency_key).copied().unwrap_or(0);
        called_before(context) <= known
    }

    /// Remembers an attempt that failed before it sent anything, if those before it did too.
    pub(crate) fn note(&self, context: &ActionContext, failed: Option<&ActionError>) {
        let mut unsent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = unsent.get(&context.idempotency_key).copied().unwrap_or(0);
        let still_unsent = failed.is_some_and(|error| error.effect == Effect::None)
            && called_before(context) <= before;
        if !still_unsent {
            unsent.remove(&context.idempotency_key);
            return;
        }
        if unsent.len() >= KEYS_MAX {
            unsent.pop_first();
        }
        unsent.insert(context.idempotency_key.clone(), context.attempt.max(before));
    }
}

/// The last attempt that was called before this call.
fn called_before(context: &ActionContext) -> u32 {
    if context.resumed { context.attempt } else { context.attempt.saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{NoSecrets, Reason};
    use std::sync::Arc;
    use std::time::Instant;

    fn context(attempt: u32) -> ActionContext {
        ActionContext {
            idempotency_key: "key".to_owned(),
            attempt,
            resumed: false,
            first_attempt_at: jiff::Timestamp::UNIX_EPOCH,
            deadline: Instant::now(),
            target: None,
            secrets: Arc::new(NoSecrets),
            hosts: std::sync::Arc::new(crate::agent::NoHosts),
        }
    }

    #[test]
    fn only_an_unbroken_row_of_unsent_attempts_counts() {
        let unsent = Unsent::default();
        let harmless = ActionError::retryable(Reason::Unreachable, "no");
        assert!(unsent.is_first(&context(1)));
        assert!(!unsent.is_first(&context(2)), "nothing is known of the first");
        unsent.note(&context(1), Some(&harmless));
        assert!(unsent.is_first(&context(2)));
        unsent.note(&context(2), Some(&harmless));
        assert!(unsent.is_first(&context(3)));
        let sent = ActionError::retryable(Reason::Timeout, "late").effect_unknown();
        unsent.note(&context(3), Some(&sent));
        assert!(!unsent.is_first(&context(4)));
        unsent.note(&context(4), Some(&harmless));
        assert!(!unsent.is_first(&context(5)), "an attempt before it may have been sent");
    }

    #[test]
    fn an_attempt_that_is_called_again_is_not_the_first() {
        let unsent = Unsent::default();
        let resumed = |attempt| ActionContext { resumed: true, ..context(attempt) };
        assert!(!unsent.is_first(&resumed(1)), "the call that was cut off may have sent");
        let harmless = ActionError::retryable(Reason::Unreachable, "no");
        unsent.note(&resumed(1), Some(&harmless));
        assert!(!unsent.is_first(&context(2)), "the call that was cut off may still have sent");
        unsent.note(&context(1), Some(&harmless));
        assert!(unsent.is_first(&resumed(1)), "its failure was known, only not recorded");
    }
}
