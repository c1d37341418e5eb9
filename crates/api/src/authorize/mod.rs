//! Who may do what: RBAC as Kubernetes evaluates it, over the RBAC objects in the cache.
//!
//! Deciding is pure ([`rule`], [`policy`], [`sight`], [`escalation`], [`references`], [`decisions`]); only
//! [`Authorizer`] looks at the store. Nothing here may answer from anything but the objects: a
//! right that is taken away is gone for the next request.
//! Source: Kubernetes "Using RBAC Authorization".

mod agents;
mod ask;
mod bootstrap;
mod decisions;
mod escalation;
mod guard;
mod impersonation;
mod policy;
mod references;
mod rule;
mod sight;

pub(crate) use agents::agent_may;
pub(crate) use ask::Ask;
pub(crate) use bootstrap::{is_of_another_role, reconciled, shipped};
pub(crate) use guard::Guard;
pub(crate) use impersonation::assume;
pub(crate) use policy::{Decision, Policy};
pub(crate) use sight::{Seen, Sight, Stretch};

use crate::{identity::Caller, status::ApiError};
use arc_swap::ArcSwap;
use quarterdeck_model::{KindRef, Revision, Time};
use quarterdeck_store::{Store, World};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// The policy that the RBAC objects in the cache make, kept up to date.
#[derive(Default)]
pub(crate) struct Authorizer {
    current: ArcSwap<Policy>,
    /// One at a time brings it up to date.
    updating: Mutex<()>,
}

impl Authorizer {
    /// The policy of now: every change of an RBAC object that was acknowledged before the call is
    /// in it. Costs a few comparisons when none changed, else what changed.
    pub(crate) fn policy(&self, store: &Store) -> Arc<Policy> {
        // Asked for before the changes are read, so that none is missed.
        let newest = policy::kinds().map(|kind| store.newest(kind));
        let current = self.current.load();
        if current.covers(&newest) {
            return current.clone();
        }
        // A panic while it was held published nothing.
        let _one = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        if current.covers(&newest) {
            return current;
        }
        let next = Arc::new(Self::followed(&current, store, newest));
        self.current.store(next.clone());
        next
    }

    fn followed(current: &Policy, store: &Store, newest: [Revision; 4]) -> Policy {
        let mut next = current.clone();
        for ((kind, since), changed) in policy::kinds().into_iter().zip(current.at()).zip(newest) {
            if since.is_some_and(|since| since >= changed) {
                continue;
            }
            let changes = since.and_then(|since| store.changes(kind, since).ok());
            // Nothing was read yet, or more has changed than is kept.
            let Some(changes) = changes else { return Self::built(&store.world(), newest) };
            for (key, object) in changes {
                next.apply(kind, &key.namespace, &key.name, object.as_deref());
            }
        }
        next.reached(newest);
        next
    }

    /// From all objects; `newest` was read before the world was.
    fn built(world: &World, newest: [Revision; 4]) -> Policy {
        let mut policy = Policy::default();
        for kind in policy::kinds() {
            for object in world.all(kind) {
                policy.apply(kind, object.namespace(), object.name(), Some(object));
            }
        }
        policy.reached(newest);
        policy
    }
}

/// What of an object its writer must be allowed beyond writing it: what it grants, whose secrets
/// it names, in whose name it decides. Fills in what the plane sets itself.
pub(crate) fn admit(
    policy: &Policy,
    caller: &Caller,
    (world, kind): (&World, KindRef),
    new: &mut Value,
    old: Option<&Value>,
    now: Time,
) -> Result<(), ApiError> {
    decisions::record(caller, kind, new, old, now);
    if caller.is_master() {
        return Ok(());
    }
    escalation::check(policy, caller, kind, new, old)?;
    references::check(policy, caller, (world, kind), new, old)
}

/// Whether what is asked is a change of something that can be approved, by one who may approve it: the verb `approve`, as
/// Kubernetes has it for what is signed.
pub(crate) fn may_approve(policy: &Policy, caller: &Caller, kind: KindRef, ask: &Ask<'_>) -> bool {
    let Ask::Resource { verb: "patch" | "update", group, resource, namespace, name, .. } = *ask
    else {
        return false;
    };
    let subresource = "";
    let approve = Ask::Resource { verb: "approve", group, resource, subresource, namespace, name };
    decisions::can_be_approved(kind) && policy.decide(caller, &approve).allowed()
}

/// Whether a change, of which the plane's own marks are left out, is of nothing but approvals.
pub(crate) fn only_approves(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        if let Some(spec) = rest.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("approvals");
        }
        if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("generation");
        }
        rest
    };
    rest(old) == rest(new)
}

/// The refusal, in Kubernetes' words.
pub(crate) fn refusal(caller: &Caller, ask: &Ask<'_>, reason: &str) -> ApiError {
    let mut message = format!("User {:?} cannot {}", caller.user, ask.text());
    // As Kubernetes does it, so that no page can be made of a message.
    for (letter, safe) in [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;")] {
        if message.contains(letter) {
            message = message.replace(letter, safe);
        }
    }
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    match ask {
        Ask::Path { .. } => ApiError::forbidden(format!("forbidden: {message}")),
        Ask::Resource { group, resource, name, .. } => {
            ApiError::forbidden_resource(group, resource, name, &message)
        }
    }
}
