//! Columns over all objects of a kind, so that a search looks at a few bytes of each object and not at the object.
//! One is made when somebody first searches a kind, follows the cache while it is used, and goes when it is not.
//!
//! An index is as of one revision. Nothing here decides who may see what.

mod chunk;
mod columns;
mod dictionary;

pub(crate) use chunk::{Chunk, Mask};
pub(crate) use columns::{Columns, Kept};

use crate::{memo::Memo, schema::campaign::LaneRead, uses::Newest};
use chunk::OBJECTS_MAX;
use quarterdeck_model::{Key, KindRef, Object, Revision, kinds::Permit};
use quarterdeck_store::{Store, World};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as Turn;

/// Objects that a chunk is made with: room for a few more before it splits.
const OBJECTS_BUILT: usize = 112;
/// An index that nobody used for so long goes.
const UNUSED: Duration = Duration::from_secs(600);

/// All objects of a kind as of one revision. A newer one shares with it all chunks that did not change.
#[derive(Clone)]
pub(crate) struct Index {
    revision: Revision,
    columns: Columns,
    chunks: Vec<Arc<Chunk>>,
    len: usize,
}

impl Index {
    /// From all objects.
    pub(crate) fn built(kind: KindRef, world: &World) -> Self {
        let mut columns = Columns::new(kind);
        let mut numbers = Vec::new();
        for object in world.all(kind) {
            columns.numbers(object, &mut numbers);
        }
        let len = world.count(kind);
        columns.widen(len);
        let mut chunks = Vec::with_capacity(len / OBJECTS_BUILT + 1);
        let mut chunk = Chunk::new(&columns);
        for object in world.all(kind) {
            columns.numbers(object, &mut numbers);
            chunk.push(object.clone(), &numbers, &columns);
            if chunk.len() == OBJECTS_BUILT {
                chunk.shrink();
                chunks.push(Arc::new(std::mem::replace(&mut chunk, Chunk::new(&columns))));
            }
        }
        if chunk.len() > 0 {
            chunk.shrink();
            chunks.push(Arc::new(chunk));
        }
        Self { revision: world.revision(), columns, chunks, len }
    }

    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// In order of namespace and name.
    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The same as of `world`, given whose objects changed between the two.
    pub(crate) fn advanced(mut self, world: &World, mut changed: Vec<Key>) -> Self {
        changed.sort_unstable();
        changed.dedup();
        let mut numbers = Vec::new();
        for key in &changed {
            match world.get(self.columns.kind(), &key.namespace, &key.name) {
                Some(object) => self.put(object, &mut numbers),
                None => self.remove((&key.namespace, &key.name)),
            }
        }
        self.revision = world.revision();
        if self.columns.worn() {
            return Self::built(self.columns.kind(), world);
        }
        self
    }

    /// Which chunk a place is in, or would be.
    fn chunk_of(&self, place: (&str, &str)) -> usize {
        let before = |chunk: &Arc<Chunk>| chunk.last().is_some_and(|last| last < place);
        self.chunks.partition_point(before)
    }

    /// Where an object is: its chunk, and its place in that.
    pub(crate) fn find(&self, place: (&str, &str)) -> Option<(usize, usize)> {
        let chunk = self.chunk_of(place);
        Some((chunk, self.chunks.get(chunk)?.find(place).ok()?))
    }

    fn put(&mut self, object: Arc<Object>, numbers: &mut Vec<u32>) {
        self.columns.numbers(&object, numbers);
        let place = (object.namespace(), object.name());
        let at = self.chunk_of(place).min(self.chunks.len().saturating_sub(1));
        let Some(slot) = self.chunks.get_mut(at) else {
            let mut chunk = Chunk::new(&self.columns);
            chunk.push(object, numbers, &self.columns);
            self.chunks.push(Arc::new(chunk));
            self.len = 1;
            return;
        };
        let is_new = slot.find(place).is_err();
        let chunk = Arc::make_mut(slot);
        let right = (is_new && chunk.len() == OBJECTS_MAX).then(|| chunk.split(&self.columns));
        match right {
            None => chunk.put(object, numbers, &self.columns),
            Some(mut right) => {
                let left = chunk.last().is_some_and(|last| place <= last);
                let into = if left { chunk } else { &mut right };
                into.put(object, numbers, &self.columns);
                self.chunks.insert(at + 1, Arc::new(right));
            }
        }
        self.len += usize::from(is_new);
    }

    fn remove(&mut self, place: (&str, &str)) {
        let at = self.chunk_of(place);
        let Some(slot) = self.chunks.get_mut(at) else { return };
        if slot.find(place).is_err() {
            return;
        }
        let chunk = Arc::make_mut(slot);
        chunk.remove(place, &self.columns);
        if chunk.len() == 0 {
            self.chunks.remove(at);
        }
        self.len -= 1;
    }
}

/// An index has gone on while an answer as of an older revision was made: it is to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved;

#[derive(Default)]
struct Slot {
    index: Turn<Option<Arc<Index>>>,
}

impl Slot {
    async fn at(
        &self,
        store: &Store,
        world: &Arc<World>,
        kind: KindRef,
    ) -> Result<Arc<Index>, Moved> {
        let mut turn = self.index.lock().await;
        let at = world.revision();
        let index = match turn.take() {
            None => in_background(world, move |world| Index::built(kind, world)).await?,
            Some(index) => {
                // Asked for before the changes are read, so that none is missed.
                let newest = store.newest(kind);
                if at == index.revision || newest <= index.revision.min(at) {
                    *turn = Some(index.clone());
                    return Ok(index);
                }
                if at < index.revision {
                    *turn = Some(index);
                    return Err(Moved);
                }
                let changes = store.changes(kind, index.revision);
                in_background(world, move |world| match changes {
                    Ok(changes) => {
                        let keys = changes.into_iter().map(|(key, _)| key).collect();
                        Arc::unwrap_or_clone(index).advanced(world, keys)
                    }
                    // More has changed than is kept.
                    Err(_) => Index::built(kind, world),
                })
                .await?
            }
        };
        let index = Arc::new(index);
        *turn = Some(index.clone());
        Ok(index)
    }
}

/// The index of a kind, and when it was last asked for.
type Used = (Arc<Slot>, Instant);

/// The indexes of all kinds that are searched.
#[derive(Default)]
pub(crate) struct Indexes {
    /// Which services use which.
    pub(crate) users: Newest,
    /// Runs, as their campaign shows them.
    pub(crate) runs: Memo<LaneRead>,
    pub(crate) permits: Memo<Permit>,
    slots: Mutex<HashMap<Arc<str>, Used>>,
}

impl Indexes {
    fn slot(&self, kind: KindRef) -> Arc<Slot> {
        let now = Instant::now();
        // A panic while it was held left a map of slots, which is whole after each step.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, (_, used)| now.duration_since(*used) < UNUSED);
        let (slot, used) =
            slots.entry(kind.resource_name()).or_insert_with(|| (Arc::default(), now));
        *used = now;
        slot.clone()
    }

    /// The index of a kind as of `world`. One who asks makes it, or brings it up to date, and others wait.
    ///
    /// # Errors
    /// When it is newer than that already, and something has changed between.
    pub(crate) async fn get(
        &self,
        store: &Store,
        world: &Arc<World>,
        kind: KindRef,
    ) -> Result<Arc<Index>, Moved> {
        let slot = self.slot(kind);
        let (store, world) = (store.clone(), world.clone());
        // By itself: who asked may hang up, and must not take the index along.
        let work = tokio::spawn(async move { slot.at(&store, &world, kind).await });
        work.await.map_err(|_| Moved)?
    }

    /// One of its own, for who cannot have the shared one.
    pub(crate) async fn own(world: &Arc<World>, kind: KindRef) -> Result<Arc<Index>, Moved> {
        in_background(world, move |world| Index::built(kind, world)).await.map(Arc::new)
    }
}

/// Works where it keeps nobody from the network.
async fn in_background<T: Send + 'static>(
    world: &Arc<World>,
    work: impl FnOnce(&World) -> T + Send + 'static,
) -> Result<T, Moved> {
    let world = world.clone();
    // It fails only when the process stops.
    tokio::task::spawn_blocking(move || work(&world)).await.map_err(|_| Moved)
}

#[cfg(test)]
mod tests;
