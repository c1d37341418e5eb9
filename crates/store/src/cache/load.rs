//! Fills the cache at start: bodies are decoded on all cores, and every index is built at once from
//! what was found. Nobody reads while this goes on.

use super::{
    Cache, decode,
    intern::Interner,
    shelf::{Posting, Shelf, Slot, terms},
    sorted::Sorted,
};
use crate::{Backend, Entry, StoreError};
use bytes::Bytes;
use quarterdeck_model::{Object, Revision, kinds};
use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle, ScopedJoinHandle},
};

/// Entries handed to a thread at once: enough that the hand-over costs nothing.
const BATCH: usize = 256;
/// Objects whose JSON is in one piece: few, since a piece stays for as long as one of them does.
const PACKED: usize = 32;
/// Batches that wait for one thread: 1 MB of bodies of 2 KB.
const WAITING_MAX: usize = 2;
/// More threads than this wait for the store anyhow.
const THREADS_MAX: usize = 16;
/// Parts in which postings are made, by the first bits of the hash: each fits into a core's cache.
const PARTS: u32 = 1 << (u32::BITS - PART_SHIFT);
const PART_SHIFT: u32 = 24;

/// Objects found, by place of their kind among all kinds.
type Found = Vec<Vec<Arc<Object>>>;

/// Collects objects on start.
pub(crate) struct Loading {
    batch: Vec<Entry>,
    threads: Vec<Decoder>,
    next: usize,
}

struct Decoder {
    batches: SyncSender<Vec<Entry>>,
    thread: JoinHandle<Result<Found, StoreError>>,
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX)
}

impl Loading {
    pub(crate) fn new() -> Self {
        Self { batch: Vec::new(), threads: Vec::new(), next: 0 }
    }

    /// Adds one object.
    ///
    /// # Errors
    /// When it, or one before it, cannot be used.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<(), StoreError> {
        self.batch.push(entry);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if self.threads.is_empty() {
            self.threads = (0..cores()).map(|_| Decoder::start()).collect::<Result<_, _>>()?;
        }
        self.next = (self.next + 1) % self.threads.len();
        match self.threads.get(self.next) {
            Some(decoder) if decoder.batches.send(batch).is_ok() => Ok(()),
            // It ended, which it does early only with an error.
            _ => self.join().map(drop),
        }
    }

    /// Opens the cache with all that was added, as of `revision`.
    ///
    /// # Errors
    /// When one of the objects cannot be used.
    pub(crate) fn finish(mut self, revision: Revision) -> Result<Cache, StoreError> {
        let mut found = self.join()?;
        let last = decode_all([std::mem::take(&mut self.batch)])?;
        for (all, more) in found.iter_mut().zip(last) {
            all.extend(more);
        }
        Ok(Cache::new(found.into_iter().map(shelf).collect(), revision))
    }

    fn join(&mut self) -> Result<Found, StoreError> {
        let mut found: Found = kinds::all().iter().map(|_| Vec::new()).collect();
        for Decoder { batches, thread } in self.threads.drain(..) {
            drop(batches);
            let part = thread.join().map_err(|_| {
                StoreError::Unusable("a thread that decodes objects panicked".into())
            })??;
            for (all, mut more) in found.iter_mut().zip(part) {
                all.append(&mut more);
            }
        }
        Ok(found)
    }
}

/// Reads the whole store.
///
/// # Errors
/// When it cannot be read, or holds what this release does not know.
pub(crate) async fn load(backend: &dyn Backend) -> Result<Cache, StoreError> {
    let mut loading = Loading::new();
    let mut failed = None;
    let revision = backend
        .load(&mut |entry| {
            if failed.is_none() {
                failed = loading.add(entry).err();
            }
        })
        .await?;
    match failed {
        Some(error) => Err(error),
        None => loading.finish(revision),
    }
}

impl Decoder {
    fn start() -> Result<Self, StoreError> {
        let (batches, waiting): (_, Receiver<Vec<Entry>>) = sync_channel(WAITING_MAX);
        let thread = thread::Builder::new()
            .name("decoder".into())
            .spawn(move || decode_all(waiting))
            .map_err(|error| {
                StoreError::Unavailable(format!("a thread to decode objects: {error}"))
            })?;
        Ok(Self { batches, thread })
    }
}

fn decode_all(batches: impl IntoIterator<Item = Vec<Entry>>) -> Result<Found, StoreError> {
    let mut interner = Interner::default();
    let mut found: Found = kinds::all().iter().map(|_| Vec::new()).collect();
    for batch in batches {
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            let mut decoded = Vec::with_capacity(PACKED);
            for entry in batch.by_ref().take(PACKED) {
                decoded.push(decode(entry.key, entry.revision, &entry.body, &mut interner)?);
            }
            pack(&mut decoded);
            for (place, object) in decoded {
                if let Some(objects) = found.get_mut(place) {
                    objects.push(Arc::new(object));
                }
            }
        }
    }
    Ok(found)
}

/// Moves the JSON of several objects into one piece of memory, so that no allocator rounds each of
/// them up. The piece is free again when the last of them has changed.
fn pack(decoded: &mut [(usize, Object)]) {
    let mut piece = Vec::with_capacity(decoded.iter().map(|(_, object)| object.json.len()).sum());
    for (_, object) in decoded.iter() {
        piece.extend_from_slice(&object.json);
    }
    let mut left = Bytes::from(piece);
    for (_, object) in decoded {
        object.json = left.split_to(object.json.len());
    }
}

/// Makes the shelf that holds the objects.
pub(super) fn shelf(objects: Vec<Arc<Object>>) -> Shelf {
    let objects = by_place(objects);
    let postings = Sorted::from_sorted(postings(&objects));
    Shelf::built(objects, postings)
}

fn by_place(objects: Vec<Arc<Object>>) -> Vec<Arc<Object>> {
    /// The first bytes, compared as a number: most places differ there, and it is at hand.
    fn beginning(text: &str) -> u128 {
        let mut first = [0; 16];
        for (to, from) in first.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        u128::from_be_bytes(first)
    }
    let mut keyed: Vec<((u128, u128), Arc<Object>)> = objects
        .into_iter()
        .map(|object| ((beginning(object.namespace()), beginning(object.name())), object))
        .collect();
    keyed.sort_unstable_by(|(a, one), (b, other)| {
        let places = || {
            let place = (one.namespace(), one.name());
            place.cmp(&(other.namespace(), other.name()))
        };
        if a.0 == b.0 && one.namespace() == other.namespace() {
            a.1.cmp(&b.1).then_with(places)
        } else {
            a.0.cmp(&b.0).then_with(places)
        }
    });
    keyed.into_iter().map(|(_, object)| object).collect()
}

/// The postings of objects whose slots are their ranks, by hash.
fn postings(objects: &[Arc<Object>]) -> impl Iterator<Item = Posting> + use<> {
    let cores = cores();
    let share = objects.len().div_ceil(cores).max(1);
    let entries: Vec<Vec<Entered>> = thread::scope(|scope| {
        let shares = objects.chunks(share).enumerate();
        let threads = shares.map(|(at, part)| scope.spawn(move || entries(part, at * share)));
        joined(threads.collect())
    });
    let parts: Vec<u32> = (0..PARTS).collect();
    let entries = &entries;
    let grouped: Vec<Vec<Posting>> = thread::scope(|scope| {
        let shares = parts.chunks(parts.len().div_ceil(cores));
        let group = |parts: &[u32]| parts.iter().flat_map(|part| group(entries, *part)).collect();
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

/// Hash of a term, and an object that has it.
type Entered = (u32, Slot);

/// All terms of objects whose slots begin with `first`, in order. In one piece of the size it needs,
/// so that the memory goes back to the system as a whole.
fn entries(objects: &[Arc<Object>], first: usize) -> Vec<Entered> {
    let mut entries = Vec::with_capacity(objects.iter().map(|object| terms(object).count()).sum());
    for (object, slot) in objects.iter().zip(first..) {
        // Four billion objects of one kind do not fit into memory.
        let slot = Slot(u32::try_from(slot).unwrap_or(u32::MAX));
        entries.extend(terms(object).map(|term| (term.hash(), slot)));
    }
    entries.sort_unstable();
    entries
}

/// The postings of one part of the hashes.
fn group(entries: &[Vec<Entered>], part: u32) -> Vec<Posting> {
    let of_part = |entries: &[Entered]| {
        let begin = entries.partition_point(|(hash, _)| hash >> PART_SHIFT < part);
        let end = entries.partition_point(|(hash, _)| hash >> PART_SHIFT <= part);
        entries.get(begin..end).unwrap_or_default().to_vec()
    };
    let mut all: Vec<Entered> = entries.iter().flat_map(|entries| of_part(entries)).collect();
    // A few stretches that are in order, which this sort makes use of.
    all.sort();
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
