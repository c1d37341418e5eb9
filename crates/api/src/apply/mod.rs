//! Server-side apply: who manages which field of an object, and what follows from it when several
//! declare parts of one object. Pure: objects and the time go in, objects and owners come out.
//!
//! It must not know the store or how a request is sent. Start reading at [`apply`] (a configuration
//! is put into an object) and [`record`] (any other write took fields over); `fields` is what is
//! owned, `shape` how a kind is merged.
//!
//! Source: Kubernetes "Server-Side Apply". Where the plane differs, `docs/decisions/0007` says why.

mod config;
mod conflict;
mod encode;
mod fields;
mod last_applied;
mod managed;
pub(crate) mod manager;
mod merge;
mod ownable;
mod shape;
mod walk;

pub(crate) use config::Config;
pub(crate) use managed::Managed;

use crate::{path::Subresource, status::ApiError};
use conflict::Conflict;
use fields::FieldSet;
use managed::{Manager, Operation, Owner};
use quarterdeck_model::{KindRef, Time};
use serde_json::{Map, Value};
use shape::Shape;

/// Who manages what was in an object before anybody's fields were kept track of.
const BEFORE: &str = "before-first-apply";

/// A write and who makes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) kind: KindRef,
    pub(crate) part: Option<Subresource>,
    pub(crate) name: &'a str,
    pub(crate) now: Time,
}

impl Writer<'_> {
    fn manager(&self, operation: Operation) -> Manager {
        Manager {
            name: self.name.into(),
            operation,
            api_version: self.kind.api_version(),
            subresource: ownable::part_name(self.part).into(),
        }
    }
}

/// Puts a configuration into `live` (none: a new object), neither with `metadata.managedFields`.
/// Gives the object wanted and its managers; see [`settle`] for when it was admitted.
///
/// # Errors
/// When the configuration does not fit the kind, or, without `force`, when it would change what
/// others manage.
pub(crate) fn apply(
    writer: &Writer<'_>,
    mut managed: Managed,
    live: Option<&Value>,
    config: &Config,
    force: bool,
) -> Result<(Value, Managed), ApiError> {
    let Writer { kind, part, .. } = *writer;
    let shape = Shape::of(kind);
    let mut given =
        walk::given(shape, &config.value).map_err(|mistakes| config.refuse(kind, &mistakes))?;
    ownable::strip(kind, part, &mut given);
    if let Some(live) = live
        && managed.0.is_empty()
    {
        record(&Writer { name: BEFORE, ..*writer }, &mut managed, None, live);
    }
    let me = writer.manager(Operation::Apply);
    let last = managed.0.iter().position(|owner| owner.manager.is(&me));
    let last = last.map(|at| managed.0.swap_remove(at).fields);

    let empty = Value::from(Map::new());
    let live = live.unwrap_or(&empty);
    let mut wanted = live.clone();
    merge::merge(shape, &mut wanted, &config.value);
    if let Some(last) = last {
        let mut left_out = last.clone();
        left_out.subtract(&given);
        if !left_out.is_empty() {
            let mut keep = given.clone();
            managed.0.iter().for_each(|owner| keep.unite(owner.fields.clone()));
            merge::prune(shape, &mut wanted, &last, &keep);
        }
    }

    let changes = walk::changed(shape, Some(live), &wanted);
    let conflicts = conflicts(&managed, &changes);
    if !force && !conflicts.is_empty() {
        let left = allow_migration(writer, live, conflicts);
        if !left.is_empty() {
            return Err(conflict::refuse(left));
        }
    }
    managed.0.iter_mut().for_each(|owner| owner.fields.subtract(&changes));
    managed.0.push(Owner { manager: me, fields: given, time: Some(writer.now) });
    if writer.name == last_applied::KUBECTL {
        last_applied::remember(&mut wanted, config);
    }
    Ok((wanted, managed))
}

fn conflicts(managed: &Managed, changes: &FieldSet) -> Vec<Conflict> {
    managed
        .0
        .iter()
        .map(|owner| Conflict {
            manager: owner.manager.clone(),
            fields: owner.fields.intersection(changes),
        })
        .filter(|conflict| !conflict.fields.is_empty())
        .collect()
}

/// The conflicts that are left when kubectl moves from client-side apply: to change what it gave
/// itself is none. As Kubernetes has it, one that is left makes all the others count too.
fn allow_migration(
    writer: &Writer<'_>,
    live: &Value,
    mut conflicts: Vec<Conflict>,
) -> Vec<Conflict> {
    if writer.name == last_applied::KUBECTL {
        let allowed = last_applied::given_by_client(writer.kind, live);
        for conflict in &mut conflicts {
            conflict.fields.subtract(&allowed);
        }
        conflicts.retain(|conflict| !conflict.fields.is_empty());
    }
    conflicts
}

/// Records that a write other than an apply changed `old` (none: a new object) into `new`: the
/// writer manages what it changed, and nobody else does.
pub(crate) fn record(writer: &Writer<'_>, managed: &mut Managed, old: Option<&Value>, new: &Value) {
    let empty = Value::from(Map::new());
    let mut mine = walk::changed(Shape::of(writer.kind), old.or(Some(&empty)), new);
    ownable::strip(writer.kind, writer.part, &mut mine);
    managed.0.iter_mut().for_each(|owner| owner.fields.subtract(&mine));
    if !mine.is_empty() {
        let manager = writer.manager(Operation::Update);
        match managed.owner_mut(&manager) {
            Some(owner) => {
                owner.fields.unite(mine);
                owner.time = Some(writer.now);
            }
            None => managed.0.push(Owner { manager, fields: mine, time: Some(writer.now) }),
        }
    }
    settle(writer.kind, managed, new);
    managed.cap();
}

/// Lets go of fields that are not in the object that is stored, and of managers without fields.
pub(crate) fn settle(kind: KindRef, managed: &mut Managed, object: &Value) {
    let shape = Shape::of(kind);
    managed.0.iter_mut().for_each(|owner| walk::keep_present(shape, object, &mut owner.fields));
    managed.0.retain(|owner| !owner.fields.is_empty());
}

#[cfg(test)]
mod tests;
