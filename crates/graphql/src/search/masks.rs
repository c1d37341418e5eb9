//! Which objects of an index pass a test, a bit for each. Everything a search decides is a few of these, put together.

use super::{Stop, field::Source, test::Test};
use crate::{
    index::{Chunk, Index, Mask},
    viewer::Scope,
};
use memchr::memmem::Finder;
use quarterdeck_model::Object;

/// Which objects of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Masks(pub(crate) Vec<Mask>);

/// The bits of a mask that are set, as places.
pub(crate) fn places(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let at = mask.trailing_zeros();
        mask &= mask - 1;
        Some(at as usize)
    })
}

/// The places that pass, as a mask.
fn mask_of(count: usize, passes: impl Fn(usize) -> bool) -> Mask {
    let half = |from: usize| {
        let bits = (from..count.min(from + 64)).map(|at| u64::from(passes(at)) << (at - from));
        bits.fold(0, |mask, bit| mask | bit)
    };
    Mask::from(half(0)) | Mask::from(half(64)) << 64
}

impl Masks {
    pub(crate) fn all(index: &Index) -> Self {
        Self(index.chunks().iter().map(|chunk| chunk.whole()).collect())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|mask| mask.count_ones() as usize).sum()
    }

    /// Only those that are in the other as well.
    pub(crate) fn also(&mut self, other: &Self) {
        for (mask, other) in self.0.iter_mut().zip(&other.0) {
            *mask &= other;
        }
    }

    /// Only those of which `keep` says so.
    fn keep(&mut self, index: &Index, stop: &Stop, keep: impl Fn(&Chunk, Mask) -> Mask) {
        for (mask, chunk) in self.0.iter_mut().zip(index.chunks()) {
            if stop.is_stopped() {
                return;
            }
            if *mask != 0 {
                *mask &= keep(chunk, *mask);
            }
        }
    }

    /// Only what may be seen.
    pub(crate) fn keep_seen(&mut self, index: &Index, scope: &Scope) {
        match scope {
            Scope::All => {}
            Scope::Nothing => self.0.fill(0),
            Scope::Some(seen) => {
                let mut last: Option<(String, bool)> = None;
                for (mask, chunk) in self.0.iter_mut().zip(index.chunks()) {
                    let mut kept = 0;
                    for at in places(*mask) {
                        let Some(object) = chunk.object(at) else { continue };
                        let namespace = object.namespace();
                        // Neighbours are in one namespace.
                        let all = match &last {
                            Some((known, all)) if known == namespace => *all,
                            _ => {
                                let all = seen.sees_all_in(namespace);
                                last = Some((namespace.to_owned(), all));
                                all
                            }
                        };
                        if all || seen.sees(namespace, object.name()) {
                            kept |= 1 << at;
                        }
                    }
                    *mask = kept;
                }
            }
        }
    }

    /// Only those that a test passes.
    pub(crate) fn keep_passing(
        &mut self,
        index: &Index,
        source: &Source,
        test: &Test,
        stop: &Stop,
    ) {
        let columns = index.columns();
        match source {
            Source::Constant(value) => {
                if !test.passes(value) {
                    self.0.fill(0);
                }
            }
            Source::Column(at) => {
                let Some(dictionary) = columns.dictionary(*at) else { return };
                let passing = dictionary.passing(|value| test.passes(value));
                self.keep_numbers(index, stop, *at, &passing);
            }
            Source::Part(..) | Source::Label(_) => {
                self.keep_matching(index, stop, |object| {
                    test.passes(source.value(object, columns, None))
                });
            }
        }
    }

    /// Only those of which `matches` says so, which looks at the objects.
    pub(crate) fn keep_matching(
        &mut self,
        index: &Index,
        stop: &Stop,
        matches: impl Fn(&Object) -> bool,
    ) {
        self.keep(index, stop, |chunk, mask| {
            let kept = places(mask).filter(|at| chunk.object(*at).is_some_and(|it| matches(it)));
            kept.fold(0, |kept, at| kept | 1 << at)
        });
    }

    /// Only those whose number in a column is among `passing`.
    fn keep_numbers(&mut self, index: &Index, stop: &Stop, column: usize, passing: &[bool]) {
        if !passing.contains(&false) {
            return;
        }
        self.keep(index, stop, |chunk, _| numbers(chunk, column, passing));
    }

    /// Only these objects, which are in order.
    pub(crate) fn keep_objects<'o>(
        &mut self,
        index: &Index,
        objects: impl Iterator<Item = &'o Object>,
    ) {
        let mut kept = vec![0; self.0.len()];
        for object in objects {
            if let Some((chunk, at)) = index.find((object.namespace(), object.name()))
                && let Some(mask) = kept.get_mut(chunk)
            {
                *mask |= 1 << at;
            }
        }
        self.also(&Self(kept));
    }

    /// Only those that have a word, in small letters, in a value.
    pub(crate) fn keep_with_word(&mut self, index: &Index, word: &str, stop: &Stop) {
        let finder = Finder::new(word.as_bytes());
        let columns = index.columns();
        // Few values have a word in them: most words are in none.
        let spelled: Vec<(usize, Vec<bool>)> = (0..columns.count())
            .filter_map(|column| {
                let has = |value: &str| value.to_ascii_lowercase().contains(word);
                let passing = columns.dictionary(column)?.passing(has);
                passing.contains(&true).then_some((column, passing))
            })
            .collect();
        self.keep(index, stop, |chunk, _| {
            let (text, mut from, mut kept) = (chunk.text(), 0, 0);
            while let Some(found) = text.get(from..).and_then(|rest| finder.find(rest)) {
                let (at, end) = chunk.owner(from + found);
                kept |= 1 << at;
                from = end;
            }
            spelled
                .iter()
                .fold(kept, |kept, (column, passing)| kept | numbers(chunk, *column, passing))
        });
    }
}

fn numbers(chunk: &Chunk, column: usize, passing: &[bool]) -> Mask {
    let column = chunk.column(column);
    let passes = |at: usize| {
        let number = column.get(at).map(|number| *number as usize);
        number.and_then(|number| passing.get(number)).is_some_and(|passes| *passes)
    };
    mask_of(column.len(), passes)
}
