//! All objects as of one revision: immutable, shared, indexed. A new world shares with the old one
//! all that did not change.

use equivalent::{Comparable, Equivalent};
use imbl::{HashMap, OrdSet};
use quarterdeck_model::{
    FieldSelector, Key, KindRef, LabelSelector, Object, Revision, kinds, selector::LabelRequirement,
};
use std::{cmp::Ordering, collections::BTreeMap, ops::Bound, sync::Arc};

/// An object in an index, ordered by where it lives.
#[derive(Clone)]
struct Held(Arc<Object>);

impl Held {
    fn place(&self) -> (&str, &str) {
        (self.0.namespace(), self.0.name())
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// Namespace and name to look up by.
struct Place<'a>(&'a str, &'a str);

impl Equivalent<Held> for Place<'_> {
    fn equivalent(&self, held: &Held) -> bool {
        (self.0, self.1) == held.place()
    }
}
impl Comparable<Held> for Place<'_> {
    fn compare(&self, held: &Held) -> Ordering {
        (self.0, self.1).cmp(&held.place())
    }
}

/// What is indexed of an object besides its place.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Term {
    Label(Arc<str>, Arc<str>),
    /// Uid of an object it belongs to.
    Owner(Arc<str>),
    /// Place of the field among the kind's indexed fields, and its value.
    Field(usize, Arc<str>),
}

/// All objects of one kind.
#[derive(Clone, Default)]
struct Shelf {
    objects: OrdSet<Held>,
    by_uid: HashMap<Arc<str>, Arc<Object>>,
    by_term: HashMap<Term, OrdSet<Held>>,
}

fn terms(object: &Object) -> impl Iterator<Item = Term> + '_ {
    let labels = object.labels.iter().map(|(name, value)| Term::Label(name.clone(), value.clone()));
    let fields = object
        .fields
        .iter()
        .enumerate()
        .filter(|(_, value)| !value.is_empty())
        .map(|(at, value)| Term::Field(at, value.clone()));
    let owners = object.owners.iter().map(|uid| Term::Owner(uid.clone()));
    labels.chain(fields).chain(owners)
}

impl Shelf {
    fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let held = Held(object.clone());
        // `insert` keeps the old element's place but must hold the new version.
        let before = self.objects.remove(&held).map(|held| held.0);
        self.objects.insert(held.clone());
        if let Some(before) = &before {
            if before.uid != object.uid {
                self.by_uid.remove(&before.uid);
            }
            for term in terms(before) {
                self.drop_term(&term, &held);
            }
        }
        self.by_uid.insert(object.uid.clone(), object.clone());
        for term in terms(&object) {
            self.by_term.entry(term).or_default().insert(held.clone());
        }
        before
    }

    fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let held = self.objects.remove(&Place(namespace, name))?;
        self.by_uid.remove(&held.0.uid);
        for term in terms(&held.0) {
            self.drop_term(&term, &held);
        }
        Some(held.0)
    }

    fn drop_term(&mut self, term: &Term, held: &Held) {
        if let Some(posting) = self.by_term.get_mut(term) {
            posting.remove(held);
            if posting.is_empty() {
                self.by_term.remove(term);
            }
        }
    }
}

/// What a list asks for.
pub struct ListQuery<'a> {
    /// Kind.
    pub kind: KindRef,
    /// Only this namespace.
    pub namespace: Option<&'a str>,
    /// Labels to meet.
    pub labels: &'a LabelSelector,
    /// Fields to meet.
    pub fields: &'a FieldSelector,
    /// Begin after this namespace and name.
    pub after: Option<(&'a str, &'a str)>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl ListQuery<'_> {
    fn selects(&self, object: &Object) -> bool {
        self.namespace.is_none_or(|namespace| namespace == object.namespace())
            && self.labels.matches(object)
            && self.fields.matches(object)
    }

    fn everything(&self) -> bool {
        self.namespace.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }
}

/// One page of a list, ordered by namespace and name.
pub struct Page {
    /// The objects.
    pub items: Vec<Arc<Object>>,
    /// There are more after them.
    pub more: bool,
    /// How many more, where it is known without counting.
    pub remaining: Option<usize>,
}

/// All objects as of one revision.
pub struct World {
    revision: Revision,
    /// By place in [`kinds::all`].
    shelves: Vec<Shelf>,
}

impl World {
    pub(crate) fn empty() -> Self {
        Self {
            revision: Revision::ZERO,
            shelves: kinds::all().iter().map(|_| Shelf::default()).collect(),
        }
    }

    fn shelf(&self, kind: KindRef) -> Option<&Shelf> {
        self.shelves.get(kinds::all().iter().position(|other| *other == kind)?)
    }

    /// The revision this is as of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// One object; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, kind: KindRef, namespace: &str, name: &str) -> Option<Arc<Object>> {
        Some(self.shelf(kind)?.objects.get(&Place(namespace, name))?.0.clone())
    }

    /// The object of `kind` with that uid.
    pub fn by_uid(&self, kind: KindRef, uid: &str) -> Option<Arc<Object>> {
        self.shelf(kind)?.by_uid.get(uid).cloned()
    }

    /// All objects that say they belong to the one with that uid.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Arc<Object>> {
        let term = Term::Owner(uid.into());
        self.shelves
            .iter()
            .filter_map(move |shelf| shelf.by_term.get(&term))
            .flat_map(|posting| posting.iter().map(|held| &held.0))
    }

    /// How many objects of `kind` there are.
    pub fn count(&self, kind: KindRef) -> usize {
        self.shelf(kind).map_or(0, |shelf| shelf.objects.len())
    }

    /// All objects of `kind`, ordered by namespace and name.
    pub fn all(&self, kind: KindRef) -> impl Iterator<Item = &Arc<Object>> {
        self.shelf(kind).into_iter().flat_map(|shelf| shelf.objects.iter().map(|held| &held.0))
    }

    /// One page of objects.
    pub fn list(&self, query: &ListQuery<'_>) -> Page {
        let Some(shelf) = self.shelf(query.kind) else {
            return Page { items: Vec::new(), more: false, remaining: None };
        };
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut found = candidates(shelf, query).filter(|object| query.selects(object));
        let mut items = Vec::with_capacity(limit.min(shelf.objects.len()).min(4_096));
        items.extend(found.by_ref().take(limit).cloned());
        let more = items.len() == limit && found.next().is_some();
        let remaining = (more && query.everything() && query.after.is_none())
            .then(|| shelf.objects.len() - items.len());
        Page { items, more, remaining }
    }

    /// The same as it was before some changes: `before` has, for each place that changed, what was
    /// there.
    pub(crate) fn list_undoing(
        &self,
        query: &ListQuery<'_>,
        before: &BTreeMap<(&str, &str), Option<&Arc<Object>>>,
    ) -> Page {
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let Some(shelf) = self.shelf(query.kind) else {
            return Page { items, more: false, remaining: None };
        };
        let now = candidates(shelf, query)
            .filter(|object| !before.contains_key(&(object.namespace(), object.name())));
        let begin = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let then = before.range((begin, Bound::Unbounded)).filter_map(|(_, object)| *object);
        let (mut now, mut then) = (
            now.filter(|object| query.selects(object)).peekable(),
            then.filter(|object| query.selects(object)).peekable(),
        );
        loop {
            let place =
                |object: &&Arc<Object>| (object.key.namespace.clone(), object.key.name.clone());
            let next = match (now.peek().map(place), then.peek().map(place)) {
                (None, None) => return Page { items, more: false, remaining: None },
                (Some(current), Some(old)) if current < old => now.next(),
                (Some(_), None) => now.next(),
                _ => then.next(),
            };
            if items.len() == limit {
                return Page { items, more: true, remaining: None };
            }
            items.extend(next.cloned());
        }
    }
}

/// Objects that may be selected, in order, by the narrowest index the query names.
fn candidates<'a>(
    shelf: &'a Shelf,
    query: &ListQuery<'_>,
) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
    let mut narrowest = &shelf.objects;
    for term in wanted_terms(query) {
        match shelf.by_term.get(&term) {
            None => return Box::new(std::iter::empty()),
            Some(posting) if posting.len() < narrowest.len() => narrowest = posting,
            Some(_) => {}
        }
    }
    // A namespace is one stretch of the order; begin where it, or the page, begins.
    let begin = match (query.after, query.namespace) {
        (Some((namespace, name)), None) => Some((namespace.to_owned(), name.to_owned(), true)),
        (Some((namespace, name)), Some(only)) if namespace >= only => {
            Some((namespace.to_owned(), name.to_owned(), true))
        }
        (_, Some(only)) => Some((only.to_owned(), String::new(), false)),
        (None, None) => None,
    };
    let end = query.namespace.map(str::to_owned);
    let from = match &begin {
        Some((namespace, name, true)) => narrowest
            .range((Bound::Excluded(Place(namespace, name)), Bound::<Place<'_>>::Unbounded)),
        Some((namespace, name, false)) => narrowest
            .range((Bound::Included(Place(namespace, name)), Bound::<Place<'_>>::Unbounded)),
        None => narrowest.range::<_, Place<'_>>(..),
    };
    Box::new(
        from.map(|held| &held.0)
            .take_while(move |object| end.as_deref().is_none_or(|end| object.namespace() == end)),
    )
}

/// Terms that every selected object has.
fn wanted_terms(query: &ListQuery<'_>) -> Vec<Term> {
    let labels = query.labels.0.iter().filter_map(|requirement| match requirement {
        LabelRequirement::In(name, values) => match values.as_slice() {
            [only] => Some(Term::Label(name.as_str().into(), only.as_str().into())),
            _ => None,
        },
        _ => None,
    });
    let fields = query.fields.0.iter().filter_map(|requirement| {
        let at = query.kind.indexed_fields.iter().position(|path| *path == requirement.path)?;
        (requirement.equal && !requirement.value.is_empty())
            .then(|| Term::Field(at, requirement.value.as_str().into()))
    });
    labels.chain(fields).collect()
}

/// Makes the next world out of one.
pub(crate) struct Builder {
    shelves: Vec<Shelf>,
}

impl Builder {
    pub(crate) fn new(world: &World) -> Self {
        Self { shelves: world.shelves.clone() }
    }

    /// Puts an object; returns the version it replaces.
    pub(crate) fn put(&mut self, place: usize, object: Arc<Object>) -> Option<Arc<Object>> {
        self.shelves.get_mut(place)?.put(object)
    }

    /// Removes an object; returns its last version.
    pub(crate) fn remove(&mut self, place: usize, key: &Key) -> Option<Arc<Object>> {
        self.shelves.get_mut(place)?.remove(&key.namespace, &key.name)
    }

    pub(crate) fn finish(self, revision: Revision) -> World {
        World { revision, shelves: self.shelves }
    }
}
