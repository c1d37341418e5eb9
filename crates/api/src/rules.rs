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
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// A rule that looks at an object and the world it is written into.
pub type Rule = Box<dyn Fn(&World, &Value, Option<&Value>) -> FieldErrors + Send + Sync>;

/// A rule that says why an object may not be deleted, if it may not.
pub type DeletionRule = fn(&Object) -> Option<String>;

/// Says what would become of an object that a dry run does not write: its status, and what its writer is told. It reads
/// a world and may take a second.
pub type PreviewRule = fn(&World, &Value, Time) -> Option<(Value, Vec<String>)>;

/// The rules, by the kind they are about.
#[derive(Default)]
pub struct Rules {
    rules: Vec<(KindRef, Rule)>,
    deletions: Vec<(KindRef, DeletionRule)>,
    previews: Vec<(KindRef, PreviewRule)>,
}

impl Rules {
    /// Adds a rule for writes of `kind`.
    pub fn add(&mut self, kind: KindRef, rule: Rule) {
        self.rules.push((kind, rule));
    }

    /// Adds a rule for deletions of `kind`.
    pub fn add_deletion(&mut self, kind: KindRef, rule: DeletionRule) {
        self.deletions.push((kind, rule));
    }

    /// Has answers to dry runs of `kind` show what would become of the object.
    pub fn add_preview(&mut self, kind: KindRef, preview: PreviewRule) {
        self.previews.push((kind, preview));
    }

    /// Shows in an object, which a dry run does not write, what would become of it; answers what its writer is told.
    pub(crate) async fn preview(
        &self,
        world: &Arc<World>,
        kind: KindRef,
        object: &mut Value,
    ) -> Vec<String> {
        let preview = self.previews.iter().find(|(about, _)| *about == kind);
        let Some((_, preview)) = preview.copied() else { return Vec::new() };
        let (world, seen, now) = (world.clone(), object.clone(), Time::seconds(Timestamp::now()));
        // Others are answered meanwhile. One that fails shows nothing: the object itself was checked.
        let shown = spawn_blocking(move || preview(&world, &seen, now)).await;
        let Ok(Some((status, told))) = shown else { return Vec::new() };
        if let Some(object) = object.as_object_mut() {
            object.insert("status".into(), status);
        }
        told
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

    /// Whether an object may be deleted, as it is in this version.
    pub(crate) fn check_delete(&self, kind: KindRef, object: &Object) -> Result<(), ApiError> {
        if kind.group.is_empty() && kind.kind == "Namespace" && object.name() == "default" {
            return Err(ApiError::forbidden(
                "namespaces \"default\" is forbidden: this namespace may not be deleted, \
                 events of cluster-scoped objects live in it",
            ));
        }
        let about = self.deletions.iter().filter(|(about, _)| *about == kind);
        match about.filter_map(|(_, rule)| rule(object)).next() {
            Some(why) => {
                Err(ApiError::forbidden_resource(kind.group, kind.plural, object.name(), &why))
            }
            None => Ok(()),
        }
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
