//! What the engine wrote, told to whoever wires it: who acted, on what, and the run behind it. It must
//! never keep a write from being made.

use crate::objects::EngineError;
use quarterdeck_model::{Key, Kind as _, kinds, kinds::Run, object::Uid};
use quarterdeck_store::{Mutation, Outcome, Precondition, Store, StoreError, World, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A write that was committed.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who acted.
    pub by: Arc<Actor>,
    /// `create`, `update` or `delete`.
    pub verb: &'static str,
    /// What was written.
    pub key: Key,
    /// Its identity, if it could still be seen.
    pub uid: Option<Uid>,
    /// The revision that wrote it.
    pub revision: u64,
    /// The phase of a run, when that was written.
    pub phase: Option<Arc<str>>,
}

/// A part of the engine, and for whom it acts.
#[derive(Debug, Default)]
pub struct Actor {
    /// Its name, such as `servers`.
    pub controller: &'static str,
    /// The run behind what it does, if there is one.
    pub run: Option<BehindRun>,
}

/// A run, as whoever reads of it needs it.
#[derive(Debug)]
pub struct BehindRun {
    /// `namespace/name`.
    pub name: String,
    /// What it executes.
    pub runbook: Arc<str>,
}

/// What is known of an object beside a write of it.
#[derive(Default)]
struct Seen {
    uid: Option<Uid>,
    phase: Option<Arc<str>>,
}

impl Seen {
    fn of(world: &World, key: &Key) -> Self {
        let kind = kinds::by_resource_name(&key.kind);
        let object = kind.and_then(|kind| world.get(kind, &key.namespace, &key.name));
        let Some(object) = object else { return Self::default() };
        let phase = if *key.kind == *Run::info().resource_name() {
            object.field("status.phase").map(Into::into)
        } else {
            None
        };
        Self { uid: Some(object.uid().into()), phase }
    }
}

/// Commits, and tells what was committed. On a task of its own: when its author is dropped meanwhile, as
/// when a term ends, what was written is told all the same.
pub(crate) async fn commit(
    store: &Arc<Store>,
    told: &mpsc::Sender<Act>,
    by: &Arc<Actor>,
    mutations: Vec<Mutation>,
) -> Result<Vec<Outcome>, EngineError> {
    let (store, told, by) = (store.clone(), told.clone(), by.clone());
    let work = tokio::spawn(async move {
        let world = store.world();
        let look = |it: &Mutation| (it.key.clone(), verb(it), Seen::of(&world, &it.key));
        let before: Vec<_> = mutations.iter().map(look).collect();
        drop(world);
        let outcomes = store.commit(mutations).await?;
        let world = store.world();
        for ((key, verb, before), outcome) in before.into_iter().zip(&outcomes) {
            let Outcome::Committed(revision) = outcome else { continue };
            let after = Seen::of(&world, &key);
            // The steps of a run are in its journal; between its phases they are not told.
            if verb == "update" && after.phase.is_some() && after.phase == before.phase {
                continue;
            }
            let uid = if verb == "create" { after.uid } else { before.uid };
            let act =
                Act { by: by.clone(), verb, key, uid, revision: revision.0, phase: after.phase };
            // Nobody listens any more when the plane stops at once.
            let _ = told.send(act).await;
        }
        Ok::<_, StoreError>(outcomes)
    });
    let ended = work.await.map_err(|error| StoreError::OutcomeUnknown(error.to_string()))?;
    Ok(ended?)
}

fn verb(mutation: &Mutation) -> &'static str {
    match (&mutation.write, &mutation.precondition) {
        (Write::Delete, _) => "delete",
        (Write::Put(_), Precondition::Absent | Precondition::AbsentIf { .. }) => "create",
        (Write::Put(_), _) => "update",
    }
}
