//! Fills the cache at start: bodies are decoded by the threads that read them, and every index is built
//! at once from what was found. Nobody reads while this goes on.

use super::{
    Cache,
    intern::Interner,
    known_kind,
    shelf::{Posting, Shelf, Slot, terms},
    sorted::Sorted,
};
use crate::{Backend, Current, StoreError, Taker};
use quarterdeck_model::{Key, KindRef, Object, Pack, Revision, kinds};
use std::{
    cmp::Ordering,
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, ScopedJoinHandle},
};

/// JSON in one piece of memory: little, since a piece stays for as long as one object in it does.
const PACK_BYTES: usize = 64 << 10;
/// More threads than this wait for the store anyhow.
const THREADS_MAX: usize = 16;
/// Parts in which postings are made, by the first bits of the hash: each fits into a core's cache.
const PARTS: u32 = 1 << (u32::BITS - PART_SHIFT);
const PART_SHIFT: u32 = 24;

/// Terms that are sorted at once, while they are in a core's cache.
const ENTRIES: usize = 1 << 15;

/// By place of their kind among all kinds.
type Found = Vec<Unordered>;

/// Objects of one kind as they come, and what they are found by.
#[derive(Default)]
struct Unordered {
    objects: Vec<Arc<Object>>,
    /// Stretches that are in order, but for the last.
    entries: Vec<Vec<Entered>>,
}

/// Hash of a term, and an object that has it: its place among those of its kind as they came.
type Entered = (u32, u32);

impl Unordered {
    fn add(&mut self, object: Arc<Object>) {
        // Four billion objects of one kind do not fit into memory.
        let at = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        for term in terms(&object) {
            let entered = (term.hash(), at);
            match self.entries.last_mut() {
                Some(last) if last.len() < ENTRIES => last.push(entered),
                full => {
                    let more = full.is_some();
                    if let Some(full) = full {
                        full.sort_unstable();
                    }
                    let mut next = Vec::with_capacity(if more { ENTRIES } else { 0 });
                    next.push(entered);
                    self.entries.push(next);
                }
            }
        }
        self.objects.push(object);
    }

    /// Puts every stretch in order.
    fn finish(&mut self) {
        if let Some(last) = self.entries.last_mut() {
            last.sort_unstable();
        }
    }
}

/// Collects objects on start.
struct Loading {
    /// Each used by one thread only.
    decoders: Vec<Arc<Mutex<Decoder>>>,
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX)
}

impl Loading {
    fn new() -> Self {
        Self { decoders: (0..cores()).map(|_| Arc::default()).collect() }
    }

    /// What takes the objects.
    fn takers(&self) -> Vec<Taker> {
        let taker = |decoder: &Arc<Mutex<Decoder>>| -> Taker {
            let decoder = decoder.clone();
            Box::new(move |current| {
                decoder.lock().unwrap_or_else(PoisonError::into_inner).take(current)
            })
        };
        self.decoders.iter().map(taker).collect()
    }

    /// Opens the cache with all that was taken, as of `revision`.
    ///
    /// # Errors
    /// When a thread that took objects panicked.
    fn finish(self, revision: Revision) -> Result<Cache, StoreError> {
        let mut parts: Vec<Vec<Unordered>> = kinds::all().iter().map(|_| Vec::new()).collect();
        for decoder in self.decoders {
            let mut decoder = decoder.lock().map_err(|_| {
                StoreError::Unusable("a thread that decodes objects panicked".into())
            })?;
            for (parts, part) in parts.iter_mut().zip(decoder.finish()) {
                parts.push(part);
            }
        }
        Ok(Cache::new(parts.into_iter().map(joined_shelf).collect(), revision))
    }
}

/// Reads the whole store.
///
/// # Errors
/// When it cannot be read, or holds what this release does not know.
pub(crate) async fn load(backend: &dyn Backend) -> Result<Cache, StoreError> {
    let loading = Loading::new();
    let revision = backend.load(loading.takers()).await?;
    loading.finish(revision)
}

fn no_objects() -> Found {
    kinds::all().iter().map(|_| Unordered::default()).collect()
}

/// Turns bodies into objects.
#[derive(Default)]
struct Decoder {
    /// The kind of the last body, and its place.
    kind: Option<(KindRef, usize)>,
    namespaces: Interner,
    pack: Pack,
    /// Places of the kinds of what is packed.
    places: Vec<usize>,
    found: Found,
}

impl Decoder {
    fn take(&mut self, current: Current<'_>) -> Result<(), StoreError> {
        let Current { kind, namespace, name, revision, body } = current;
        let (kind, place) = match self.kind {
            Some(last) if *last.0.resource_name() == *kind => last,
            _ => known_kind(kind, name)?,
        };
        self.kind = Some((kind, place));
        let namespace = self.namespaces.intern(namespace);
        let key = Key { kind: kind.resource_name(), namespace, name: name.into() };
        if !self.pack.fits(body.len()) {
            self.unpack();
            self.pack = Pack::new(PACK_BYTES.max(Pack::bytes(body.len())));
        }
        self.places.push(place);
        let added = self.pack.add(kind, key, revision, body);
        added.map_err(|error| StoreError::Unusable(error.to_string()))
    }

    fn unpack(&mut self) {
        if self.found.is_empty() {
            self.found = no_objects();
        }
        let objects = std::mem::take(&mut self.pack).finish();
        for (object, place) in objects.zip(self.places.drain(..)) {
            if let Some(found) = self.found.get_mut(place) {
                found.add(Arc::new(object));
            }
        }
    }

    fn finish(&mut self) -> Found {
        self.unpack();
        self.found.iter_mut().for_each(Unordered::finish);
        std::mem::take(&mut self.found)
    }
}

/// Makes the shelf that holds the objects.
#[cfg(test)]
pub(super) fn shelf(objects: Vec<Arc<Object>>) -> Shelf {
    let mut unordered = Unordered::default();
    objects.into_iter().for_each(|object| unordered.add(object));
    unordered.finish();
    joined_shelf(vec![unordered])
}

/// Makes the shelf that holds all of them.
fn joined_shelf(parts: Vec<Unordered>) -> Shelf {
    let mut objects = Vec::with_capacity(parts.iter().map(|part| part.objects.len()).sum());
    let mut stretches = Vec::new();
    for part in parts {
        let first = objects.len();
        objects.extend(part.objects);
        stretches.extend(part.entries.into_iter().map(|entries| (entries, first)));
    }
    let order = by_place(&objects);
    let mut slots = vec![Slot(0); objects.len()];
    for (slot, at) in (0..).zip(&order) {
        if let Some(place) = slots.get_mut(*at as usize) {
            *place = Slot(slot);
        }
    }
    let postings = Sorted::from_sorted(postings(&stretches, &slots));
    drop((stretches, slots));
    let mut objects: Vec<Option<Arc<Object>>> = objects.into_iter().map(Some).collect();
    let take = |at: u32| objects.get_mut(at as usize)?.take();
    Shelf::built(order.into_iter().filter_map(take).collect(), postings)
}

/// Which objects come first: their places in the list, ordered by where they live.
fn by_place(objects: &[Arc<Object>]) -> Vec<u32> {
    /// The first bytes and, up to one more than those, how many there are: compared as a number, which
    /// is at hand, it decides all but what begins with the same bytes and is longer.
    fn beginning(text: &str) -> u128 {
        let mut first = [0; 16];
        if let Some((length, first)) = first.split_last_mut() {
            *length = text.len().min(16) as u8;
            for (to, from) in first.iter_mut().zip(text.bytes()) {
                *to = from;
            }
        }
        u128::from_be_bytes(first)
    }
    let is_whole = |beginning: u128| beginning as u8 <= 15;
    let place =
        |at: u32| objects.get(at as usize).map(|object| (object.namespace(), object.name()));
    let mut keyed: Vec<((u128, u128), u32)> = (0..)
        .zip(objects)
        .map(|(at, object)| ((beginning(object.namespace()), beginning(object.name())), at))
        .collect();
    keyed.sort_unstable_by(|(a, one), (b, other)| {
        let whole = || place(*one).cmp(&place(*other));
        match a.0.cmp(&b.0) {
            // In the same namespace.
            Ordering::Equal if is_whole(a.0) => match a.1.cmp(&b.1) {
                Ordering::Equal if !is_whole(a.1) => whole(),
                ordering => ordering,
            },
            Ordering::Equal => whole(),
            ordering => ordering,
        }
    });
    keyed.into_iter().map(|(_, at)| at).collect()
}

/// The postings of objects that have those slots, by hash. Each stretch of entries counts objects
/// from a place among all.
fn postings(
    stretches: &[(Vec<Entered>, usize)],
    slots: &[Slot],
) -> impl Iterator<Item = Posting> + use<> {
    let parts: Vec<u32> = (0..PARTS).collect();
    let grouped: Vec<Vec<Posting>> = thread::scope(|scope| {
        let shares = parts.chunks(parts.len().div_ceil(cores()));
        let group =
            |parts: &[u32]| parts.iter().flat_map(|part| group(stretches, slots, *part)).collect();
        let threads = shares.map(|parts| scope.spawn(move || group(parts)));
        joined(threads.collect())
    });
    grouped.into_iter().flatten()
}

/// What threads have made; a panic of one goes on in this one, since an index must not lack a part.
fn joined<T>(threads: Vec<ScopedJoinHandle<'_, T>>) -> Vec<T> {
    let join =
        |thread: ScopedJoinHandle<'_, T>| thread.join().unwrap_or_else(|it| resume_unwind(it));
    threads.into_iter().map(join).collect()
}

/// The postings of one part of the hashes.
fn group(stretches: &[(Vec<Entered>, usize)], slots: &[Slot], part: u32) -> Vec<Posting> {
    let mut all: Vec<(u32, Slot)> = Vec::new();
    for (entries, first) in stretches {
        let begin = entries.partition_point(|(hash, _)| hash >> PART_SHIFT < part);
        let end = entries.partition_point(|(hash, _)| hash >> PART_SHIFT <= part);
        let of_part = entries.get(begin..end).unwrap_or_default().iter();
        all.extend(
            of_part.filter_map(|(hash, at)| Some((*hash, *slots.get(first + *at as usize)?))),
        );
    }
    all.sort_unstable();
    all.dedup();
    let mut slots = Vec::new();
    all.chunk_by(|(one, _), (other, _)| one == other)
        .filter_map(|same| {
            slots.clear();
            slots.extend(same.iter().map(|(_, slot)| *slot));
            Posting::built(same.first()?.0, &slots)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quarterdeck_model::{Kind as _, kinds::Site, object};
    use serde_json::json;

    proptest! {
        /// Whatever is decided by the beginnings of namespaces and names is decided as by all of them.
        #[test]
        fn objects_are_ordered_by_place(
            places in prop::collection::hash_set(("[ab]{0,2}|a{13,18}b?", "[ab]{1,2}|a{13,18}b?"), 0..60)
        ) {
            // In no order.
            let places: Vec<(String, String)> = places.into_iter().collect();
            let body = object::encode(Site::info(), &json!({"metadata": {"uid": "u"}}));
            let object = |(namespace, name): &(String, String)| {
                let key = Key::new(Site::info(), namespace, name);
                Arc::new(Object::from_body(Site::info(), key, Revision(1), &body).unwrap())
            };
            let objects: Vec<Arc<Object>> = places.iter().map(object).collect();
            let mut sorted: Vec<&(String, String)> = places.iter().collect();
            sorted.sort();
            let ordered: Vec<_> =
                by_place(&objects).into_iter().map(|at| &places[at as usize]).collect();
            prop_assert_eq!(ordered, sorted);
        }
    }
}
