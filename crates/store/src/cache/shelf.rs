//! All objects of one kind as of one revision, and how they are found.
//!
//! An object has a slot for as long as it lives. Indexes hold slots, not objects, so that a new version
//! that says nothing new about what is indexed touches no index at all, and an entry costs four bytes.

use super::sorted::{Position, Sorted};
use imbl::Vector;
use quarterdeck_model::Object;
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{Arc, LazyLock},
};

/// Where an object is kept among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

/// What objects are found by. It is kept as its hash; should two share one, an index names
/// objects too many, which its readers check anyhow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Term<'t> {
    /// Namespace and name.
    Place(&'t str, &'t str),
    Uid(&'t str),
    Label(&'t str, &'t str),
    /// Uid of an object it belongs to.
    Owner(&'t str),
    /// Place of the field among the kind's indexed fields, and its value.
    Field(usize, &'t str),
}

impl Term<'_> {
    /// Not the same in two processes, so that nobody can choose texts whose hashes are the same.
    pub(super) fn hash(&self) -> u32 {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        (SEED.hash_one(self) >> 32) as u32
    }
}

/// All that an object is found by.
pub(super) fn terms(object: &Object) -> impl Iterator<Item = Term<'_>> {
    let own = [Term::Place(object.namespace(), object.name()), Term::Uid(object.uid())];
    let labels = object.labels().map(|(name, value)| Term::Label(name, value));
    let fields = object
        .fields()
        .enumerate()
        .filter(|(at, value)| !value.is_empty() && !object.kind.is_common(*at))
        .map(|(at, value)| Term::Field(at, value));
    let owners = object.owners().map(Term::Owner);
    own.into_iter().chain(labels).chain(fields).chain(owners)
}

/// The same as hashes, in order, each once.
fn hashes(object: &Object) -> Vec<u32> {
    let mut hashes: Vec<u32> = terms(object).map(|term| term.hash()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The objects of one term, ordered by place.
#[derive(Clone)]
pub(super) enum Posting {
    One(u32, Slot),
    Many(u32, Arc<Sorted<Slot>>),
}

impl Posting {
    /// Of slots that are ordered by place; none of no slots.
    pub(super) fn built(hash: u32, slots: &[Slot]) -> Option<Self> {
        Some(match slots {
            [] => return None,
            [only] => Self::One(hash, *only),
            _ => Self::Many(hash, Arc::new(Sorted::from_sorted(slots.iter().copied()))),
        })
    }

    /// Hash of the term.
    fn hash(&self) -> u32 {
        match self {
            Self::One(hash, _) | Self::Many(hash, _) => *hash,
        }
    }
}

/// A term that one in so many objects has, or fewer, is rare: going through all that have it costs
/// less than looking at objects that do not.
const RARE: usize = 4;

/// A set of slots, a bit for each.
struct Slots(Vec<u64>);

impl Slots {
    fn of(slots: &Sorted<Slot>, all: usize) -> Self {
        let mut bits = vec![0; all.div_ceil(64)];
        for Slot(slot) in slots.iter() {
            if let Some(word) = bits.get_mut(*slot as usize / 64) {
                *word |= 1 << (slot % 64);
            }
        }
        Self(bits)
    }

    fn has(&self, Slot(slot): Slot) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word & (1 << (slot % 64)) > 0)
    }
}

/// All objects of one kind.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    objects: Vector<Option<Arc<Object>>>,
    /// Slots without an object.
    free: Vector<Slot>,
    order: Sorted<Slot>,
    /// By hash of the term.
    postings: Sorted<Posting>,
}

fn place(object: &Object) -> (&str, &str) {
    (object.namespace(), object.name())
}

fn at(objects: &Vector<Option<Arc<Object>>>, slot: Slot) -> Option<&Arc<Object>> {
    objects.get(slot.0 as usize)?.as_ref()
}

impl Shelf {
    /// Takes objects ordered by place, with the slot of each among the postings being its rank.
    pub(super) fn built(objects: Vec<Arc<Object>>, postings: Sorted<Posting>) -> Self {
        let last = u32::try_from(objects.len()).unwrap_or(u32::MAX);
        Self {
            objects: objects.into_iter().map(Some).collect(),
            free: Vector::new(),
            order: Sorted::from_sorted((0..last).map(Slot)),
            postings,
        }
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many of them are in a namespace.
    pub(super) fn count_in(&self, namespace: &str) -> usize {
        let seek = |before: &dyn Fn(&str) -> bool| {
            let is =
                |slot: &Slot| at(&self.objects, *slot).is_some_and(|it| before(it.namespace()));
            self.order.seek(is)
        };
        let first = seek(&|other| other < namespace);
        let end = seek(&|other| other <= namespace);
        self.order.between(first, end)
    }

    fn posting(&self, term: &Term<'_>) -> Option<&Posting> {
        let hash = term.hash();
        let position = self.postings.seek(|posting| posting.hash() < hash);
        self.postings.get(position).filter(|posting| posting.hash() == hash)
    }

    fn find(&self, term: &Term<'_>, is: impl Fn(&Object) -> bool) -> Option<(Slot, &Arc<Object>)> {
        let check = |slot: Slot| Some((slot, at(&self.objects, slot).filter(|it| is(it))?));
        match self.posting(term)? {
            Posting::One(_, slot) => check(*slot),
            Posting::Many(_, slots) => slots.iter().find_map(|slot| check(*slot)),
        }
    }

    fn find_place(&self, namespace: &str, name: &str) -> Option<(Slot, &Arc<Object>)> {
        let wanted = (namespace, name);
        self.find(&Term::Place(namespace, name), |object| place(object) == wanted)
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.find_place(namespace, name).map(|(_, object)| object)
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<&Arc<Object>> {
        self.find(&Term::Uid(uid), |object| object.uid() == uid).map(|(_, object)| object)
    }

    /// Puts an object; returns the version it replaces.
    pub(super) fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let found = self.find_place(object.namespace(), object.name());
        let Some((slot, before)) = found.map(|(slot, before)| (slot, before.clone())) else {
            self.add(object);
            return None;
        };
        // Most versions say nothing new about what is indexed: seen without a hash.
        if !terms(&before).eq(terms(&object)) {
            let (old, new) = (hashes(&before), hashes(&object));
            for hash in old.iter().filter(|hash| new.binary_search(hash).is_err()) {
                self.unpost(*hash, slot);
            }
            for hash in new.iter().filter(|hash| old.binary_search(hash).is_err()) {
                self.post(*hash, slot);
            }
        }
        self.objects.set(slot.0 as usize, Some(object));
        Some(before)
    }

    fn add(&mut self, object: Arc<Object>) {
        let new = hashes(&object);
        let slot = match self.free.pop_back() {
            Some(slot) => {
                self.objects.set(slot.0 as usize, Some(object));
                slot
            }
            None => {
                // Four billion objects of one kind do not fit into memory.
                let slot = Slot(u32::try_from(self.objects.len()).unwrap_or(u32::MAX));
                self.objects.push_back(Some(object));
                slot
            }
        };
        let position = self.place_of(&self.order, slot);
        self.order.insert(position, slot);
        for hash in new {
            self.post(hash, slot);
        }
    }

    /// Removes an object; returns its last version.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let (slot, object) = self.find_place(namespace, name)?;
        for hash in hashes(&object.clone()) {
            self.unpost(hash, slot);
        }
        let position = self.place_of(&self.order, slot);
        self.order.remove(position);
        self.free.push_back(slot);
        self.objects.get_mut(slot.0 as usize)?.take()
    }

    /// Where `slot` is in `order`, or belongs.
    fn place_of(&self, order: &Sorted<Slot>, slot: Slot) -> Position {
        let wanted = at(&self.objects, slot).map(|object| place(object));
        order.seek(|other| at(&self.objects, *other).map(|object| place(object)) < wanted)
    }

    fn post(&mut self, hash: u32, slot: Slot) {
        let position = self.postings.seek(|posting| posting.hash() < hash);
        let mut slots = match self.postings.get(position) {
            Some(Posting::One(found, other)) if *found == hash => {
                Arc::new(Sorted::from_sorted([*other]))
            }
            Some(Posting::Many(found, slots)) if *found == hash => slots.clone(),
            _ => return self.postings.insert(position, Posting::One(hash, slot)),
        };
        let within = self.place_of(&slots, slot);
        // The index lets go of them first, so that what this batch has copied is not copied again.
        self.replace(position, Posting::One(hash, slot));
        Arc::make_mut(&mut slots).insert(within, slot);
        self.replace(position, Posting::Many(hash, slots));
    }

    fn unpost(&mut self, hash: u32, slot: Slot) {
        let position = self.postings.seek(|posting| posting.hash() < hash);
        let mut slots = match self.postings.get(position) {
            Some(Posting::One(found, only)) if (*found, *only) == (hash, slot) => {
                self.postings.remove(position);
                return;
            }
            Some(Posting::Many(found, slots)) if *found == hash => slots.clone(),
            _ => return,
        };
        let within = self.place_of(&slots, slot);
        if slots.get(within) != Some(&slot) {
            return;
        }
        self.replace(position, Posting::One(hash, slot));
        let left = Arc::make_mut(&mut slots);
        left.remove(within);
        let last = left.iter().next().copied().filter(|_| left.len() == 1);
        let many = || Posting::Many(hash, slots);
        self.replace(position, last.map_or_else(many, |last| Posting::One(hash, last)));
    }

    fn replace(&mut self, position: Position, posting: Posting) {
        if let Some(old) = self.postings.get_mut(position) {
            *old = posting;
        }
    }

    /// All objects, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.order.iter().filter_map(|slot| at(&self.objects, *slot))
    }

    /// In order, from `begin` on, objects that may have all of the terms.
    pub(super) fn candidates<'s>(
        &'s self,
        wanted: &[Term<'_>],
        begin: impl Fn(&Object) -> bool,
    ) -> Box<dyn Iterator<Item = &'s Arc<Object>> + 's> {
        let (mut single, mut many) = (None, Vec::new());
        for term in wanted {
            match self.posting(term) {
                None => return Box::new(std::iter::empty()),
                Some(Posting::One(_, slot)) => single = Some(*slot),
                Some(Posting::Many(_, slots)) => many.push(&**slots),
            }
        }
        if let Some(slot) = single {
            let object = at(&self.objects, slot).filter(|object| !begin(object));
            return Box::new(object.into_iter());
        }
        many.sort_by_key(|slots| slots.len());
        let (narrowest, others) = match many.split_first() {
            Some((narrowest, others)) => (*narrowest, others),
            None => (&self.order, &[][..]),
        };
        let from =
            narrowest.seek(|slot| at(&self.objects, *slot).is_none_or(|object| begin(object)));
        let rare = others.iter().copied().filter(|slots| slots.len() * RARE <= self.len());
        let also: Vec<Slots> = rare.map(|slots| Slots::of(slots, self.objects.len())).collect();
        let slots =
            narrowest.from(from).filter(move |slot| also.iter().all(|slots| slots.has(**slot)));
        Box::new(slots.filter_map(|slot| at(&self.objects, *slot)))
    }

    /// Terms in the index and entries of them all, to see that nothing is left behind.
    #[cfg(test)]
    pub(super) fn index_size(&self) -> (usize, usize) {
        let entries = self.postings.iter().map(|posting| match posting {
            Posting::One(..) => 1,
            Posting::Many(_, slots) => slots.len(),
        });
        (self.postings.len(), entries.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::load;
    use proptest::prelude::*;
    use quarterdeck_model::{Key, Kind as _, Revision, kinds::Site, object};
    use serde_json::json;

    fn site(name: u8, label: u8, region: u8, revision: u64) -> Arc<Object> {
        let value = json!({
            "metadata": {"name": format!("s{name}"), "uid": format!("u{name}-{}", label / 3),
                         "labels": {"a": label.to_string(), "b": "same"}},
            "spec": {"region": region.to_string()},
        });
        let key = Key::new(Site::info(), "", &format!("s{name}"));
        let body = object::encode(Site::info(), &value);
        let revision = Revision(revision);
        Arc::new(Object::from_body(Site::info(), key, revision, &body).unwrap())
    }

    proptest! {
        /// However it came to be, a shelf's index is that of its objects, and nothing when it is empty.
        #[test]
        fn nothing_is_left_in_the_index(
            steps in prop::collection::vec((0..40_u8, prop::option::of((0..5_u8, 0..3_u8))), 0..200)
        ) {
            let mut shelf = Shelf::default();
            for (revision, (name, becomes)) in (1..).zip(steps) {
                match becomes {
                    Some((label, region)) => drop(shelf.put(site(name, label, region, revision))),
                    None => drop(shelf.remove("", &format!("s{name}"))),
                }
            }
            let objects: Vec<Arc<Object>> = shelf.iter().cloned().collect();
            let fresh = load::shelf(objects.clone());
            prop_assert_eq!(shelf.index_size(), fresh.index_size());
            prop_assert!(fresh.iter().zip(shelf.iter()).all(|(one, other)| Arc::ptr_eq(one, other)));
            for object in objects {
                prop_assert!(shelf.remove("", object.name()).is_some());
                // The shelf no longer holds it.
                let here = Arc::strong_count(&object);
                prop_assert_eq!(here, 2, "this list and the fresh shelf");
            }
            prop_assert_eq!(shelf.index_size(), (0, 0));
            prop_assert_eq!(shelf.len(), 0);
        }
    }
}
