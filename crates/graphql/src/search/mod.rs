//! Search: which objects there are with these fields, labels and words, one page of them in order, and how they
//! spread over the values of fields. Pure: it is given indexes and scopes, and looks at nothing else.
//!
//! Cost: a few bytes of each object of the kinds that are searched, and no object but those of the page.

mod cursor;
mod field;
mod masks;
mod order;
mod test;

pub(crate) use cursor::Cursor;
pub(crate) use field::{Field, Source};
pub(crate) use masks::{Masks, places};
pub(crate) use order::{Among, Order, Row, Wanted, count};
pub(crate) use test::Test;

use crate::{index::Index, viewer::Scope};
use quarterdeck_model::{
    FieldSelector, KindRef, LabelSelector, Object,
    selector::{FieldRequirement, LabelRequirement},
};
use quarterdeck_store::{ListQuery, World};
use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::schema::FilterOp;

/// Values of a facet that are told.
pub(crate) const FACET_VALUES_MAX: usize = 100;
/// One value in so many objects, or fewer, is found faster by the cache's own index.
const RARE: usize = 64;
/// Different values of a label that are counted: who gives each object one of its own need not see them all.
const LABEL_VALUES_MAX: usize = 10_000;

/// What is searched for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// None of which is searched twice.
    pub(crate) kinds: Vec<KindRef>,
    pub(crate) namespaces: Option<Vec<String>>,
    /// In small letters; an object has each.
    pub(crate) words: Vec<String>,
    pub(crate) tests: Vec<Test>,
    pub(crate) labels: LabelSelector,
    pub(crate) order: Order,
    pub(crate) facets: Vec<Field>,
    pub(crate) first: usize,
    pub(crate) skip: usize,
    pub(crate) after: Option<Cursor>,
    pub(crate) stop: Stop,
}

/// Whether nobody waits for what is found any more: then a search ends soon, and what it found is not right.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was found.
pub(crate) struct Found {
    pub(crate) total: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) more: bool,
    pub(crate) facets: Vec<Counted>,
}

/// How objects spread over the values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) field: Field,
    /// The most frequent first.
    pub(crate) values: Vec<(String, usize)>,
    pub(crate) other: usize,
}

/// What passes among the objects of one kind: all but the tests, and each test.
struct Passing {
    index: Arc<Index>,
    base: Masks,
    tests: Vec<Masks>,
}

impl Asked {
    /// Searches indexes of the kinds, in their order, that are as of `world`; each with what of it may be seen.
    pub(crate) fn search(&self, world: &World, indexes: Vec<(Arc<Index>, Arc<Scope>)>) -> Found {
        let passing: Vec<Passing> =
            indexes.into_iter().map(|(index, scope)| self.passing(world, index, &scope)).collect();
        let facets = self.facets.iter().map(|field| self.count(&passing, field)).collect();
        let among: Vec<Among> = passing
            .into_iter()
            .map(|Passing { index, mut base, tests }| {
                tests.iter().for_each(|test| base.also(test));
                Among { index, found: base }
            })
            .collect();
        let total = among.iter().map(|it| it.found.count()).sum();
        let wanted = Wanted {
            after: self.after.clone(),
            skip: self.skip,
            first: self.first,
            stop: self.stop.clone(),
        };
        if self.stop.is_stopped() {
            return Found { total, rows: Vec::new(), more: false, facets };
        }
        let mut rows = self.order.page(&among, &wanted);
        let more = rows.len() > self.first;
        rows.truncate(self.first);
        Found { total, rows, more, facets }
    }

    /// What the search costs for each object that is looked at, as compared with one look at a column.
    pub(crate) fn weight(&self) -> usize {
        let of = |label: &LabelRequirement| match label {
            LabelRequirement::In(_, values) | LabelRequirement::NotIn(_, values) => {
                1 + values.len()
            }
            _ => 1,
        };
        // What may be seen, and the order.
        let always = 2;
        always
            + self.facets.len()
            + self.words.len()
            + usize::from(self.namespaces.is_some())
            + self.tests.iter().map(Test::weight).sum::<usize>()
            + self.labels.0.iter().map(of).sum::<usize>()
    }

    /// The cursor of one object of the page.
    pub(crate) fn cursor(&self, row: &Row) -> String {
        let cursor = Cursor {
            order: self.order.name(),
            value: row.value.clone(),
            kind: row.object.kind.kind.into(),
            namespace: row.object.namespace().into(),
            name: row.object.name().into(),
        };
        cursor.write()
    }

    fn passing(&self, world: &World, index: Arc<Index>, scope: &Scope) -> Passing {
        let mut base = Masks::all(&index);
        if let Some(namespaces) = &self.namespaces {
            let field = Field::Path("metadata.namespace".into());
            let test = Test::of(field, FilterOp::In, namespaces.clone());
            base.keep_passing(&index, &test.field.within(index.columns()), &test, &self.stop);
        }
        if !self.labels.is_empty() {
            let fields = FieldSelector::default();
            keep_selected(world, &index, &mut base, (&self.labels, &fields), &self.stop);
        }
        for word in &self.words {
            base.keep_with_word(&index, word, &self.stop);
        }
        base.keep_seen(&index, scope);
        let tested = |test| tested(world, &index, &base, test, &self.stop);
        let tests = self.tests.iter().map(tested).collect();
        Passing { index, base, tests }
    }

    /// Counts what passes all tests but those of the field itself, so that it shows what else could be chosen.
    fn count(&self, passing: &[Passing], field: &Field) -> Counted {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut other = 0;
        for Passing { index, base, tests } in passing {
            let mut found = base.clone();
            for (masks, test) in tests.iter().zip(&self.tests) {
                if test.field != *field {
                    found.also(masks);
                }
            }
            let columns = index.columns();
            match field.within(columns) {
                Source::Constant(value) => {
                    *counts.entry(value.into()).or_default() += found.count()
                }
                Source::Column(at) => {
                    let texts = columns.dictionary(at).map_or(&[][..], |it| it.texts());
                    for (text, count) in texts.iter().zip(count(index, &found, at)) {
                        if count > 0 {
                            *counts.entry(text.to_string()).or_default() += count;
                        }
                    }
                }
                // Hardly two have the same: a list of them says nothing.
                Source::Part(..) => other += found.count(),
                source @ Source::Label(_) => {
                    for (chunk, mask) in index.chunks().iter().zip(&found.0) {
                        if self.stop.is_stopped() {
                            break;
                        }
                        for object in places(*mask).filter_map(|at| chunk.object(at)) {
                            let value = source.value(object, columns, None);
                            if counts.len() < LABEL_VALUES_MAX || counts.contains_key(value) {
                                *counts.entry(value.to_owned()).or_default() += 1;
                            } else {
                                other += 1;
                            }
                        }
                    }
                }
            }
        }
        counts.retain(|_, count| *count > 0);
        let mut values: Vec<(String, usize)> = counts.into_iter().collect();
        values.sort_unstable_by(|(one, a), (other, b)| (Reverse(a), one).cmp(&(Reverse(b), other)));
        let rest = values.split_off(values.len().min(FACET_VALUES_MAX));
        let other = other + rest.into_iter().map(|(_, count)| count).sum::<usize>();
        Counted { field: field.clone(), values, other }
    }
}

fn tested(world: &World, index: &Index, base: &Masks, test: &Test, stop: &Stop) -> Masks {
    let source = test.field.within(index.columns());
    let mut masks = base.clone();
    // What the cache finds at once need not be looked for.
    if let (FilterOp::In, [value]) = (test.op, &*test.values)
        && !value.is_empty()
    {
        let mut labels = LabelSelector::default();
        let mut fields = FieldSelector::default();
        match &source {
            Source::Part(_, path) if path != "metadata.name" => {
                let (path, value) = (path.clone(), value.clone());
                fields.0.push(FieldRequirement { path, equal: true, value });
            }
            Source::Label(key) => {
                labels.0.push(LabelRequirement::In(key.clone(), vec![value.clone()]));
            }
            _ => {}
        }
        if !labels.is_empty() || !fields.is_empty() {
            keep_selected(world, index, &mut masks, (&labels, &fields), stop);
            return masks;
        }
    }
    masks.keep_passing(index, &source, test, stop);
    masks
}

/// Only what is selected, by the cache's own index when that is little.
fn keep_selected(
    world: &World,
    index: &Index,
    masks: &mut Masks,
    (labels, fields): (&LabelSelector, &FieldSelector),
    stop: &Stop,
) {
    let limit = Some(index.len() / RARE + 1);
    let kind = index.columns().kind();
    let page = world.list(&ListQuery { kind, namespace: None, labels, fields, after: None, limit });
    if page.more {
        let matches = |object: &Object| labels.matches(object) && fields.matches(object);
        masks.keep_matching(index, stop, matches);
    } else {
        masks.keep_objects(index, page.items.iter().map(|object| &**object));
    }
}

#[cfg(test)]
mod tests;
