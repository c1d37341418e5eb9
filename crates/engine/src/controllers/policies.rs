//! Policies of admission: says in their status what their expressions look like against the schemas of the
//! kinds they name. It judges no writes: that is done where objects are written.

use super::Controller;
use crate::objects::{EngineError, Objects};
use quarterdeck_model::{
    Key, Kind as _, KindRef, Object,
    kinds::{
        ValidatingAdmissionPolicy,
        admission_policy::{TypeChecking, ValidatingAdmissionPolicyStatus},
    },
};
use quarterdeck_runbook::policy;
use quarterdeck_store::Precondition;
use std::time::Duration;

/// Keeps policies' status.
pub(crate) struct Policies;

impl Controller for Policies {
    const NAME: &'static str = "policies";

    fn follows(&self) -> Vec<KindRef> {
        vec![ValidatingAdmissionPolicy::info()]
    }

    fn affected(&self, object: &Object, gone: bool) -> Vec<Key> {
        if gone { Vec::new() } else { vec![object.key.clone()] }
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((revision, mut found)) =
            objects.read::<ValidatingAdmissionPolicy>("", &key.name)?
        else {
            return Ok(None);
        };
        let expression_warnings = policy::warnings(&found.spec);
        let status = ValidatingAdmissionPolicyStatus {
            observed_generation: found.metadata.generation,
            type_checking: Some(TypeChecking { expression_warnings }),
            ..found.status.clone()
        };
        if status == found.status {
            return Ok(None);
        }
        found.status = status;
        // A policy that changed meanwhile brings us here again.
        objects.commit(vec![objects.put(&found, Precondition::At(revision))?]).await?;
        Ok(None)
    }
}
