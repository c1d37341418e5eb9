//! Rules that need more than the object itself: the runbooks' type check, links, places that must stay.

use crate::{
    authorize,
    bench::{self, Part},
    identity::Caller,
    policies,
    server::Api,
    status::ApiError,
};
use jiff::Timestamp;
use quarterdeck_model::{FieldErrors, KindRef, Object, Time};
use quarterdeck_store::World;
use serde_json::Value;

/// A rule that looks at an object and the world it is written into.
pub type Rule = Box<dyn Fn(&World, &Value, Option<&Value>) -> FieldErrors + Send + Sync>;

/// The rules, by the kind they are about.
#[derive(Default)]
pub struct Rules {
    rules: Vec<(KindRef, Rule)>,
}

impl Rules {
    /// Adds a rule for writes of `kind`.
    pub fn add(&mut self, kind: KindRef, rule: Rule) {
        self.rules.push((kind, rule));
    }

    fn check(
        &self,
        world: &World,
        kind: KindRef,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let mut errors = FieldErrors::new();
        for (about, rule) in &self.rules {
            if *about == kind {
                errors.extend(rule(world, new, old));
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        Err(ApiError::invalid(kind, name, &errors))
    }

    #[expect(clippy::unused_self, reason = "a deletion rule is a rule")]
    pub(crate) fn check_delete(
        &self,
        _: &World,
        kind: KindRef,
        object: &Object,
    ) -> Result<(), ApiError> {
        if kind.group.is_empty() && kind.kind == "Namespace" && object.name() == "default" {
            return Err(ApiError::forbidden(
                "namespaces \"default\" is forbidden: this namespace may not be deleted, \
                 events of cluster-scoped objects live in it",
            ));
        }
        Ok(())
    }
}

impl Api {
    /// Whether `caller` may write `new` over `old` into this world, and whether it makes sense there.
    /// Sets what the plane sets of it.
    pub(crate) fn check_write(
        &self,
        caller: &Caller,
        (world, kind): (&World, KindRef),
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let policy = self.policy();
        if !bench::is_off(Part::Authorization) {
            let now = Time::seconds(Timestamp::now());
            authorize::admit(&policy, caller, (world, kind), new, old, now)?;
        }
        policies::check(&policy, caller, (world, kind), new, old)?;
        self.rules.check(world, kind, new, old)
    }
}
