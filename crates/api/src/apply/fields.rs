//! Sets of fields: which parts of an object somebody manages. Pure algebra; a set knows no schema.
//! Source: Kubernetes "Server-Side Apply", `metav1.FieldsV1`.

use serde_json::Value;
use std::collections::{BTreeMap, btree_map::Entry};

/// An item of a list, told by what it is and not by where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// By its place. Only in sets that others wrote: our lists have keys, are sets, or are whole.
    Index(u64),
    /// By its key fields, in the order of their names, each with its value as JSON text.
    Key(Vec<(String, String)>),
    /// By its value, as JSON text.
    Value(String),
}

impl Item {
    /// The item whose key fields are those of `keys`.
    pub(crate) fn key<'k>(keys: impl Iterator<Item = (&'k str, &'k Value)>) -> Self {
        let mut parts: Vec<(String, String)> =
            keys.map(|(name, value)| (name.to_owned(), value.to_string())).collect();
        parts.sort();
        Self::Key(parts)
    }

    /// The item that is `value`.
    pub(crate) fn value(value: &Value) -> Self {
        Self::Value(value.to_string())
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Key(keys) => {
                let parts: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
        }
    }
}

/// A set of fields, as a tree. No child in it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// The field this node stands for is in the set itself, not only fields below it.
    pub(crate) here: bool,
    pub(crate) fields: BTreeMap<String, FieldSet>,
    pub(crate) items: BTreeMap<Item, FieldSet>,
}

/// The set of no field.
pub(crate) static NOTHING: FieldSet = FieldSet::EMPTY;

impl FieldSet {
    /// Nothing.
    pub(crate) const EMPTY: Self =
        Self { here: false, fields: BTreeMap::new(), items: BTreeMap::new() };

    /// The field itself, and nothing below it.
    pub(crate) fn leaf() -> Self {
        Self { here: true, ..Self::EMPTY }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.here && self.fields.is_empty() && self.items.is_empty()
    }

    /// Puts `child` below the field `name`.
    pub(crate) fn insert_field(&mut self, name: &str, child: Self) {
        if !child.is_empty() {
            join(&mut self.fields, name.to_owned(), child);
        }
    }

    /// Puts `child` below the list item `item`.
    pub(crate) fn insert_item(&mut self, item: Item, child: Self) {
        if !child.is_empty() {
            join(&mut self.items, item, child);
        }
    }

    /// Adds all of `other`.
    pub(crate) fn unite(&mut self, other: Self) {
        self.here |= other.here;
        for (name, child) in other.fields {
            join(&mut self.fields, name, child);
        }
        for (item, child) in other.items {
            join(&mut self.items, item, child);
        }
    }

    /// Takes away all of `other`: the fields in it, not what is below them.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.here &= !other.here;
        subtract(&mut self.fields, &other.fields);
        subtract(&mut self.items, &other.items);
    }

    /// What is in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        Self {
            here: self.here && other.here,
            fields: intersect(&self.fields, &other.fields),
            items: intersect(&self.items, &other.items),
        }
    }

    /// Every field in the set, as people write it: `.spec.halls[="north"]`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.here {
            paths.push(path.clone());
        }
        let fields = self.fields.iter().map(|(name, child)| (format!(".{name}"), child));
        let items = self.items.iter().map(|(item, child)| (item.to_string(), child));
        for (step, child) in fields.chain(items) {
            let length = path.len();
            path.push_str(&step);
            child.collect(path, paths);
            path.truncate(length);
        }
    }
}

fn join<K: Ord>(into: &mut BTreeMap<K, FieldSet>, key: K, child: FieldSet) {
    match into.entry(key) {
        Entry::Vacant(place) => drop(place.insert(child)),
        Entry::Occupied(mut place) => place.get_mut().unite(child),
    }
}

fn subtract<K: Ord>(from: &mut BTreeMap<K, FieldSet>, other: &BTreeMap<K, FieldSet>) {
    if other.is_empty() {
        return;
    }
    from.retain(|key, child| {
        if let Some(other) = other.get(key) {
            child.subtract(other);
        }
        !child.is_empty()
    });
}

fn intersect<K: Ord + Clone>(
    left: &BTreeMap<K, FieldSet>,
    right: &BTreeMap<K, FieldSet>,
) -> BTreeMap<K, FieldSet> {
    let (few, many) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    few.iter()
        .filter_map(|(key, child)| Some((key.clone(), child.intersection(many.get(key)?))))
        .filter(|(_, child)| !child.is_empty())
        .collect()
}
