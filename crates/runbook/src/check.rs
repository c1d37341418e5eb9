//! Admission.

use quarterdeck_model::{ActionSignature, kinds::RunbookSpec};
use std::sync::Arc;

/// The actions and runbooks there are.
pub trait Definitions {
    /// The action of that name.
    fn action(&self, name: &str) -> Option<&ActionSignature>;
    /// The runbook of that name.
    fn runbook(&self, name: &str) -> Option<Arc<RunbookSpec>>;
}
