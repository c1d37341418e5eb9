//! What of a kind's objects is kept as columns: its indexed fields, and the namespace.

use super::dictionary::{Dictionary, VALUES_MAX};
use quarterdeck_model::{KindRef, Object};
use std::sync::Arc;

/// The columns of one kind, each with its dictionary, or none where values are hardly ever shared.
#[derive(Clone)]
pub(crate) struct Columns {
    kind: KindRef,
    dictionaries: Vec<Option<Arc<Dictionary>>>,
}

/// Where a field is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As a column of numbers, at that place.
    Column(usize),
    /// As that part of each object's text.
    Part(usize),
}

impl Columns {
    /// Begins with a dictionary for each.
    pub(super) fn new(kind: KindRef) -> Self {
        let count = kind.indexed_fields.len() + 1;
        Self { kind, dictionaries: vec![Some(Arc::new(Dictionary::new())); count] }
    }

    pub(crate) fn kind(&self) -> KindRef {
        self.kind
    }

    pub(crate) fn count(&self) -> usize {
        self.dictionaries.len()
    }

    pub(crate) fn dictionary(&self, at: usize) -> Option<&Arc<Dictionary>> {
        self.dictionaries.get(at)?.as_ref()
    }

    /// Whether the field at that place among the indexed ones has no dictionary.
    pub(crate) fn is_wide(&self, at: usize) -> bool {
        self.dictionary(at).is_none()
    }

    /// Where a field is kept; none when it is not.
    pub(crate) fn kept(&self, path: &str) -> Option<Kept> {
        if path == "metadata.namespace" {
            return Some(Kept::Column(self.kind.indexed_fields.len()));
        }
        if path == "metadata.name" {
            return Some(Kept::Part(0));
        }
        let at = self.kind.indexed_fields.iter().position(|field| *field == path)?;
        if !self.is_wide(at) {
            return Some(Kept::Column(at));
        }
        Some(Kept::Part(1 + (0..at).filter(|before| self.is_wide(*before)).count()))
    }

    /// The numbers of an object's values, new ones among them; the greatest of all where there is no dictionary.
    pub(super) fn numbers(&mut self, object: &Object, numbers: &mut Vec<u32>) {
        numbers.clear();
        let values = object.fields().chain([object.namespace()]);
        for (dictionary, value) in self.dictionaries.iter_mut().zip(values) {
            numbers.push(match dictionary {
                None => u32::MAX,
                Some(dictionary) => match dictionary.get(value) {
                    Some(number) => number,
                    None => Arc::make_mut(dictionary).number(value),
                },
            });
        }
    }

    /// Lets go of dictionaries that would be as long as the column.
    pub(super) fn widen(&mut self, objects: usize) {
        let namespace = self.kind.indexed_fields.len();
        for (at, slot) in self.dictionaries.iter_mut().enumerate() {
            let wide = |it: &Arc<Dictionary>| it.is_wide(objects) || it.texts().len() > VALUES_MAX;
            if at != namespace && slot.as_ref().is_some_and(wide) {
                *slot = None;
            } else if let Some(dictionary) = slot {
                *dictionary = Arc::new(Dictionary::clone(dictionary).finish());
            }
        }
    }

    /// Whether one of them should be made anew.
    pub(super) fn worn(&self) -> bool {
        self.dictionaries.iter().flatten().any(|dictionary| dictionary.is_worn())
    }
}
