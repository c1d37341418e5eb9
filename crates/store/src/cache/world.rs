//! All objects as of one revision: immutable, shared, indexed. A new world shares with the old one
//! all that did not change.

use super::shelf::{Shelf, Term};
use quarterdeck_model::{
    FieldSelector, Key, KindRef, LabelSelector, Object, Revision, selector::LabelRequirement,
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

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
    /// Whether an object is asked for, wherever the page begins.
    pub fn selects(&self, object: &Object) -> bool {
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
    fn shelf(&self, kind: KindRef) -> Option<&Shelf> {
        self.shelves.get(super::place(kind)?)
    }

    /// The revision this is as of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// One object; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, kind: KindRef, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.shelf(kind)?.get(namespace, name).cloned()
    }

    /// The object of `kind` with that uid.
    pub fn by_uid(&self, kind: KindRef, uid: &str) -> Option<Arc<Object>> {
        self.shelf(kind)?.by_uid(uid).cloned()
    }

    /// All objects that say they belong to the one with that uid.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Arc<Object>> {
        let owned = move |object: &&Arc<Object>| object.owners().any(|owner| owner == uid);
        self.shelves
            .iter()
            .flat_map(move |shelf| shelf.candidates(&[Term::Owner(uid)], |_| false).filter(owned))
    }

    /// How many objects of `kind` there are.
    pub fn count(&self, kind: KindRef) -> usize {
        self.shelf(kind).map_or(0, Shelf::len)
    }

    /// How many of them there are in a namespace. Costs a step for some fifty of them.
    pub fn count_in(&self, kind: KindRef, namespace: &str) -> usize {
        self.shelf(kind).map_or(0, |shelf| shelf.count_in(namespace))
    }

    /// All objects of `kind`, ordered by namespace and name.
    pub fn all(&self, kind: KindRef) -> impl Iterator<Item = &Arc<Object>> {
        self.shelf(kind).into_iter().flat_map(Shelf::iter)
    }

    /// All objects of `kind` with these fields, such as `status.phase=Ready,spec.location.rack=r-1`. None when they
    /// cannot be selected by: who writes them in code knows that they can.
    pub fn with_fields(&self, kind: KindRef, fields: &str) -> Vec<Arc<Object>> {
        let Ok(fields) = &FieldSelector::parse(fields) else { return Vec::new() };
        let labels = &LabelSelector::default();
        let query = ListQuery { kind, namespace: None, labels, fields, after: None, limit: None };
        self.list(&query).items
    }

    /// One page of objects.
    pub fn list(&self, query: &ListQuery<'_>) -> Page {
        let Some(shelf) = self.shelf(query.kind) else {
            return Page { items: Vec::new(), more: false, remaining: None };
        };
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut found = candidates(shelf, query).filter(|object| query.selects(object));
        let mut items = Vec::with_capacity(limit.min(shelf.len()).min(4_096));
        items.extend(found.by_ref().take(limit).cloned());
        let more = items.len() == limit && found.next().is_some();
        let remaining = (more && query.everything() && query.after.is_none())
            .then(|| shelf.len() - items.len());
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
    // A namespace is one stretch of the order; begin where it, or the page, begins.
    let (first, after) = (query.namespace.unwrap_or_default(), query.after);
    let before_it = |object: &Object| {
        let place = (object.namespace(), object.name());
        place.0 < first || after.is_some_and(|after| place <= after)
    };
    let found = shelf.candidates(&wanted_terms(query), before_it);
    match query.namespace.map(str::to_owned) {
        None => found,
        Some(only) => Box::new(found.take_while(move |object| object.namespace() == only)),
    }
}

/// Terms that every selected object has.
fn wanted_terms<'q>(query: &ListQuery<'q>) -> Vec<Term<'q>> {
    let labels = query.labels.0.iter().filter_map(|requirement| match requirement {
        LabelRequirement::In(name, values) => match values.as_slice() {
            [only] => Some(Term::Label(name, only)),
            _ => None,
        },
        _ => None,
    });
    let fields = query.fields.0.iter().filter_map(|requirement| {
        let at = query.kind.indexed_fields.iter().position(|path| *path == requirement.path)?;
        let posted = !requirement.value.is_empty() && !query.kind.is_common(at);
        (requirement.equal && posted).then(|| Term::Field(at, &requirement.value))
    });
    labels.chain(fields).collect()
}

/// Makes the next world out of one.
pub(crate) struct Builder {
    shelves: Vec<Shelf>,
}

impl Builder {
    /// Begins with those objects of every kind.
    pub(crate) fn of(shelves: Vec<Shelf>) -> Self {
        Self { shelves }
    }

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
