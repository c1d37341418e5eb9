//! Revisions of runbooks that nobody needs any more: no run names them, and their runbook has a newer one.

use super::{EPOCH, FORGOTTEN_AFTER, breathe, remove, times};
use crate::{
    follow::Seen,
    objects::{EngineError, Objects, decode},
};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, LabelSelector, Object, Time,
    kinds::{Run, RunbookRevision},
};
use quarterdeck_store::{EventKind, ListQuery, Precondition, World};
use std::collections::{BTreeMap, BTreeSet};

/// The revisions of each runbook, the oldest first.
#[derive(Default)]
pub(super) struct Revisions(BTreeMap<String, BTreeSet<(Timestamp, Key)>>);

fn created(revision: &Object) -> Timestamp {
    times(revision).metadata.creation_timestamp.map_or(EPOCH, Time::timestamp)
}

impl Revisions {
    /// Takes in what a follower saw. Revisions never change.
    pub(super) async fn note(&mut self, seen: Seen) {
        match seen {
            Seen::All(all) => {
                self.0.clear();
                for (at, revision) in all.iter().enumerate() {
                    breathe(at).await;
                    self.one(revision, true);
                }
            }
            Seen::Changed(events) => {
                for event in events {
                    self.one(&event.object, event.kind != EventKind::Deleted);
                }
            }
        }
    }

    fn one(&mut self, revision: &Object, is: bool) {
        let runbook = revision.field("spec.runbook").unwrap_or_default();
        let all = self.0.entry(runbook.to_owned()).or_default();
        let entry = (created(revision), revision.key.clone());
        if is {
            all.insert(entry)
        } else {
            all.remove(&entry)
        };
        if all.is_empty() {
            self.0.remove(runbook);
        }
    }

    /// All that are older than `age`, but for the newest of each runbook.
    fn old(&self, age: SignedDuration, now: Timestamp) -> impl Iterator<Item = &Key> {
        let but_newest = self.0.values().flat_map(|all| all.iter().rev().skip(1));
        let old = but_newest.filter(move |(created, _)| now.duration_since(*created) > age);
        old.map(|(_, key)| key)
    }

    /// Removes those that no run names.
    pub(super) async fn remove_old(&self, objects: &Objects) -> Result<(), EngineError> {
        let world = objects.store().world();
        let now = objects.now().timestamp();
        let mut old = Vec::new();
        for (at, key) in self.old(FORGOTTEN_AFTER, now).enumerate() {
            breathe(at).await;
            if !is_named(&world, &key.name) {
                old.extend(world.get(RunbookRevision::info(), "", &key.name));
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        remove(objects, &old).await?;
        // A runbook may have been set back to one of these texts, and a run begun, meanwhile.
        let world = objects.store().fresh().await?;
        let mut back = Vec::new();
        for revision in old.iter().filter(|revision| is_named(&world, revision.name())) {
            let mut revision: RunbookRevision = decode(revision)?;
            revision.metadata.resource_version = None;
            back.push(objects.put(&revision, Precondition::Absent)?);
        }
        if !back.is_empty() {
            objects.commit(back).await?;
        }
        Ok(())
    }
}

/// Whether some run executes the revision of that name, or has.
fn is_named(world: &World, revision: &str) -> bool {
    let Ok(fields) = FieldSelector::parse(&format!("status.runbookRevision={revision}")) else {
        return true;
    };
    let one = world.list(&ListQuery {
        kind: Run::info(),
        namespace: None,
        labels: &LabelSelector::default(),
        fields: &fields,
        after: None,
        limit: Some(1),
    });
    !one.items.is_empty()
}
