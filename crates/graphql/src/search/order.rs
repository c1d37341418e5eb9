//! One page of what a search found, in its order: by what it is sorted by, then kind, namespace and name.
//!
//! Nothing is sorted but the page: objects with the same value are one run, whose length is counted, and a page is a
//! part of a few runs.

use super::{
    Stop,
    cursor::Cursor,
    field::{Field, Source, natural},
    masks::{Masks, places},
};
use crate::index::{Chunk, Index};
use quarterdeck_model::Object;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

/// What was found among the objects of one kind.
pub(crate) struct Among {
    pub(crate) index: Arc<Index>,
    pub(crate) found: Masks,
}

/// What a page is in the order of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Kind, namespace and name alone, or backwards.
    Place { backwards: bool },
    /// How well the name goes with a word.
    Likeness(String),
    /// A field.
    Field(Field, bool),
}

/// Which part of the order is wanted.
pub(crate) struct Wanted {
    pub(crate) after: Option<Cursor>,
    pub(crate) skip: usize,
    pub(crate) first: usize,
    pub(crate) stop: Stop,
}

/// One object of a page, and what it is sorted by.
pub(crate) struct Row {
    pub(crate) object: Arc<Object>,
    pub(crate) value: String,
}

impl Order {
    /// Names the order, in cursors.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Place { backwards } => if *backwards { "-" } else { "" }.into(),
            Self::Likeness(word) => format!("~{word}"),
            Self::Field(field, descending) => {
                format!("{}{}", if *descending { "-" } else { "" }, field.name())
            }
        }
    }

    /// The page, and one more where there is more.
    pub(crate) fn page(&self, among: &[Among], wanted: &Wanted) -> Vec<Row> {
        match self {
            Self::Field(field, descending) => {
                let sources: Vec<Source> =
                    among.iter().map(|it| field.within(it.index.columns())).collect();
                let counted =
                    |source: &Source| matches!(source, Source::Column(_) | Source::Constant(_));
                if sources.iter().all(counted) {
                    let (runs, ranks) = runs_of(among, &sources, *descending);
                    return in_runs(among, &runs, &ranks, wanted, *descending, false);
                }
                each(among, &sources, wanted, *descending)
            }
            Self::Place { backwards } => {
                let ranks: Vec<Rank> = among.iter().map(|_| Rank::Constant(0)).collect();
                let all = among.iter().map(|it| it.found.count()).sum();
                in_runs(among, &[("".into(), all)], &ranks, wanted, false, *backwards)
            }
            Self::Likeness(word) => {
                let mut counts = [0; LIKENESSES];
                for Among { index, found } in among {
                    for (chunk, mask) in index.chunks().iter().zip(&found.0) {
                        for at in places(*mask) {
                            if let Some(count) = counts.get_mut(likeness(chunk, at, word)) {
                                *count += 1;
                            }
                        }
                    }
                }
                let runs: Vec<Run> = (0..)
                    .zip(counts)
                    .map(|(rank, count)| (rank.to_string().into(), count))
                    .collect();
                let ranks: Vec<Rank> = among.iter().map(|_| Rank::Likeness(word.clone())).collect();
                in_runs(among, &runs, &ranks, wanted, false, false)
            }
        }
    }
}

/// How many likenesses there are.
const LIKENESSES: usize = 4;

/// How well the name of an object goes with a word: 0 is best.
fn likeness(chunk: &Chunk, at: usize, word: &str) -> usize {
    let name = chunk.part(at, 0);
    let word = word.as_bytes();
    if name == word {
        0
    } else if name.starts_with(word) {
        1
    } else if memchr::memmem::find(name, word).is_some() {
        2
    } else {
        3
    }
}

/// Objects that are sorted by the same value, and how many.
type Run = (Arc<str>, usize);

/// Which run the objects of a kind are in.
enum Rank {
    Constant(usize),
    Likeness(String),
    /// By the number in a column.
    Column(usize, Vec<usize>),
}

impl Rank {
    fn of(&self, chunk: &Chunk, at: usize) -> usize {
        match self {
            Self::Constant(rank) => *rank,
            Self::Likeness(word) => likeness(chunk, at, word),
            Self::Column(column, ranks) => {
                let number = chunk.column(*column).get(at).map(|number| *number as usize);
                number.and_then(|number| ranks.get(number)).copied().unwrap_or(usize::MAX)
            }
        }
    }
}

/// The runs there are, in order, and which each object is in.
fn runs_of(among: &[Among], sources: &[Source], descending: bool) -> (Vec<Run>, Vec<Rank>) {
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (Among { index, found }, source) in among.iter().zip(sources) {
        match source {
            Source::Column(at) => {
                let texts = index.columns().dictionary(*at).map_or(&[][..], |it| it.texts());
                for (text, count) in texts.iter().zip(count(index, found, *at)) {
                    if count > 0 {
                        *counts.entry(text.clone()).or_default() += count;
                    }
                }
            }
            Source::Constant(value) => *counts.entry((*value).into()).or_default() += found.count(),
            Source::Part(..) | Source::Label(_) => {}
        }
    }
    let mut runs: Vec<Run> = counts.into_iter().collect();
    runs.sort_by(|(one, _), (other, _)| directed(natural(one, other), descending));
    let rank = |value: &str| {
        let order = |(run, _): &Run| directed(natural(run, value), descending);
        runs.binary_search_by(order).unwrap_or(usize::MAX)
    };
    let ranks = among.iter().zip(sources).map(|(it, source)| match source {
        Source::Column(at) => {
            let texts = it.index.columns().dictionary(*at).map_or(&[][..], |it| it.texts());
            Rank::Column(*at, texts.iter().map(|text| rank(text)).collect())
        }
        Source::Constant(value) => Rank::Constant(rank(value)),
        Source::Part(..) | Source::Label(_) => Rank::Constant(usize::MAX),
    });
    let ranks = ranks.collect();
    (runs, ranks)
}

fn directed(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}

/// How many of the objects found have each number in a column.
pub(crate) fn count(index: &Index, found: &Masks, column: usize) -> Vec<usize> {
    let values = index.columns().dictionary(column).map_or(0, |it| it.texts().len());
    let mut counts = vec![0; values];
    let mut add = |number: u32| {
        if let Some(count) = counts.get_mut(number as usize) {
            *count += 1;
        }
    };
    for (chunk, mask) in index.chunks().iter().zip(&found.0) {
        let column = chunk.column(column);
        if *mask == chunk.whole() {
            column.iter().copied().for_each(&mut add);
        } else {
            places(*mask).filter_map(|at| column.get(at).copied()).for_each(&mut add);
        }
    }
    counts
}

/// What of a run is wanted.
struct Part {
    skip: usize,
    left: usize,
    /// Only what is behind this kind, namespace and name.
    after: Option<(usize, String, String)>,
    rows: Vec<Row>,
}

/// The place of a cursor's kind among those that are searched: behind all that come before it.
fn kind_of(among: &[Among], cursor: &Cursor) -> usize {
    let is = |it: &Among| it.index.columns().kind().kind == cursor.kind;
    among.iter().position(is).unwrap_or(among.len())
}

fn in_runs(
    among: &[Among],
    runs: &[Run],
    ranks: &[Rank],
    wanted: &Wanted,
    descending: bool,
    backwards: bool,
) -> Vec<Row> {
    let most = wanted.first.saturating_add(1);
    let mut parts: Vec<Part> = Vec::new();
    let (mut begin, mut skip, mut enough) = (None, wanted.skip, 0);
    for (rank, (value, count)) in runs.iter().enumerate() {
        let mut part = Part { skip: 0, left: most, after: None, rows: Vec::new() };
        if let Some(cursor) = &wanted.after {
            match directed(natural(value, &cursor.value), descending) {
                Ordering::Less => continue,
                Ordering::Equal => {
                    let place =
                        (kind_of(among, cursor), cursor.namespace.clone(), cursor.name.clone());
                    part.after = Some(place);
                    (part.skip, skip) = (skip, 0);
                }
                Ordering::Greater => {}
            }
        }
        if part.after.is_none() {
            if begin.is_none() && skip >= *count {
                skip -= count;
                continue;
            }
            part.skip = skip.min(*count);
            skip -= part.skip;
            enough += count - part.skip;
        }
        begin.get_or_insert(rank);
        parts.push(part);
        if enough >= most {
            break;
        }
    }
    let begin = begin.unwrap_or(0);
    let kinds: Box<dyn Iterator<Item = usize>> =
        if backwards { Box::new((0..among.len()).rev()) } else { Box::new(0..among.len()) };
    for kind in kinds {
        let (Some(Among { index, found }), Some(rank)) = (among.get(kind), ranks.get(kind)) else {
            continue;
        };
        let mut look = |chunk: &Chunk, at: usize| {
            let run = rank.of(chunk, at);
            let part = run.checked_sub(begin).and_then(|at| parts.get_mut(at));
            let (Some(part), Some(object), Some((value, _))) =
                (part, chunk.object(at), runs.get(run))
            else {
                return;
            };
            if part.left == 0 {
                return;
            }
            if let Some((after, namespace, name)) = &part.after {
                let place = (kind, object.namespace(), object.name());
                let order = place.cmp(&(*after, namespace, name));
                if (if backwards { order.reverse() } else { order }) != Ordering::Greater {
                    return;
                }
            }
            if part.skip > 0 {
                part.skip -= 1;
                return;
            }
            part.left -= 1;
            part.rows.push(Row { object: object.clone(), value: value.to_string() });
        };
        let chunks = index.chunks().iter().zip(&found.0).filter(|(_, mask)| **mask != 0);
        if backwards {
            chunks.rev().for_each(|(chunk, mask)| {
                let mut all: Vec<usize> = places(*mask).collect();
                all.reverse();
                all.into_iter().for_each(|at| look(chunk, at));
            });
        } else {
            chunks.for_each(|(chunk, mask)| places(*mask).for_each(|at| look(chunk, at)));
        }
    }
    let mut rows: Vec<Row> = parts.into_iter().flat_map(|part| part.rows).collect();
    rows.truncate(most);
    rows
}

/// What one object is sorted by, and where it is. The greatest goes first when there are too many.
#[derive(PartialEq, Eq)]
struct Candidate<'c> {
    value: &'c [u8],
    descending: bool,
    kind: usize,
    chunk: usize,
    at: usize,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |it: &Self| (it.kind, it.chunk, it.at);
        directed(self.value.cmp(other.value), self.descending)
            .then_with(|| place(self).cmp(&place(other)))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The page by looking at each object's value, where hardly two are the same.
fn each(among: &[Among], sources: &[Source], wanted: &Wanted, descending: bool) -> Vec<Row> {
    let most = wanted.first.saturating_add(wanted.skip).saturating_add(1);
    let mut page: BinaryHeap<Candidate<'_>> = BinaryHeap::new();
    let after = wanted.after.as_ref().map(|cursor| (cursor, kind_of(among, cursor)));
    for (kind, (Among { index, found }, source)) in among.iter().zip(sources).enumerate() {
        for (number, (chunk, mask)) in index.chunks().iter().zip(&found.0).enumerate() {
            if wanted.stop.is_stopped() {
                return Vec::new();
            }
            for at in places(*mask) {
                let value: &[u8] = match source {
                    Source::Column(column) => {
                        let value = chunk.column(*column).get(at).map(|number| *number as usize);
                        let texts = index.columns().dictionary(*column).map(|it| it.texts());
                        let text = texts.zip(value).and_then(|(all, number)| all.get(number));
                        text.map_or(&[][..], |text| text.as_bytes())
                    }
                    _ => source.sorted(chunk, at),
                };
                if let Some((cursor, after)) = &after {
                    let place = || {
                        let object = chunk.object(at)?;
                        let place = (kind, object.namespace(), object.name());
                        Some(place.cmp(&(*after, &cursor.namespace, &cursor.name)))
                    };
                    let order = directed(value.cmp(cursor.value.as_bytes()), descending);
                    if order.then_with(|| place().unwrap_or(Ordering::Less)) != Ordering::Greater {
                        continue;
                    }
                }
                let candidate = Candidate { value, descending, kind, chunk: number, at };
                if page.len() < most {
                    page.push(candidate);
                } else if let Some(mut last) = page.peek_mut()
                    && candidate < *last
                {
                    *last = candidate;
                }
            }
        }
    }
    let sorted = page.into_sorted_vec();
    let rows = sorted.into_iter().skip(wanted.skip).filter_map(|candidate| {
        let chunk = among.get(candidate.kind)?.index.chunks().get(candidate.chunk)?;
        let object = chunk.object(candidate.at)?.clone();
        Some(Row { object, value: String::from_utf8_lossy(candidate.value).into_owned() })
    });
    rows.collect()
}
