//! A sorted sequence that is immutable once shared: a changed one shares with the old one all chunks
//! that did not change. It keeps items dense, a few bytes each, and is built from sorted items in one pass.
//!
//! Order is not its affair: callers say where to look, and must insert where the order wants it.

use imbl::Vector;
use std::sync::Arc;

/// Most items in a chunk: a change copies one, so small; each chunk has a header, so not too small.
const CHUNK_MAX: usize = 64;
/// Items in a chunk that was built at once: room for a few more before it splits.
const CHUNK_BUILT: usize = 56;
/// A chunk that shrinks below this is joined with the next one.
const CHUNK_MIN: usize = 16;

/// Items in order. No chunk is empty.
#[derive(Clone)]
pub(super) struct Sorted<T> {
    chunks: Vector<Arc<Vec<T>>>,
    len: usize,
}

/// A place between items, or the item after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    chunk: usize,
    at: usize,
}

impl<T: Clone> Default for Sorted<T> {
    fn default() -> Self {
        Self { chunks: Vector::new(), len: 0 }
    }
}

impl<T: Clone> Sorted<T> {
    /// Takes items that are in order already.
    pub(super) fn from_sorted(items: impl IntoIterator<Item = T>) -> Self {
        let mut items = items.into_iter();
        let mut sorted = Self::default();
        loop {
            let mut chunk: Vec<T> = items.by_ref().take(CHUNK_BUILT).collect();
            if chunk.is_empty() {
                return sorted;
            }
            chunk.shrink_to_fit();
            sorted.len += chunk.len();
            sorted.chunks.push_back(Arc::new(chunk));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the items begin for which `before` no longer holds. It must hold for a beginning of them.
    pub(super) fn seek(&self, before: impl Fn(&T) -> bool) -> Position {
        let (mut low, mut high) = (0, self.chunks.len());
        while low < high {
            let middle = low.midpoint(high);
            let last = self.chunks.get(middle).and_then(|chunk| chunk.last());
            if last.is_some_and(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let at = self.chunks.get(low).map_or(0, |chunk| chunk.partition_point(&before));
        Position { chunk: low, at }
    }

    /// The item at `position`, if there is one.
    pub(super) fn get(&self, position: Position) -> Option<&T> {
        self.chunks.get(position.chunk)?.get(position.at)
    }

    /// The same, to change what does not matter to its order.
    pub(super) fn get_mut(&mut self, position: Position) -> Option<&mut T> {
        Arc::make_mut(self.chunks.get_mut(position.chunk)?).get_mut(position.at)
    }

    /// All items from `position` on.
    pub(super) fn from(&self, position: Position) -> impl Iterator<Item = &T> {
        let chunks = self.chunks.focus().narrow(position.chunk.min(self.chunks.len())..);
        let mut skip = position.at;
        chunks.into_iter().flat_map(move |chunk| chunk.iter().skip(std::mem::take(&mut skip)))
    }

    /// How many items there are from `first` on and before `end`. Looks at chunks, not at items.
    pub(super) fn between(&self, first: Position, end: Position) -> usize {
        let chunks = self
            .chunks
            .focus()
            .narrow(first.chunk.min(self.chunks.len())..end.chunk.min(self.chunks.len()));
        let whole: usize = chunks.into_iter().map(|chunk| chunk.len()).sum();
        (whole + end.at).saturating_sub(first.at)
    }

    /// All items.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.from(Position { chunk: 0, at: 0 })
    }

    /// Inserts an item before the one at `position`.
    pub(super) fn insert(&mut self, position: Position, item: T) {
        self.len += 1;
        // After all others: at the end of the last chunk.
        let Position { chunk, at } = match self.chunks.last() {
            Some(last) if position.chunk >= self.chunks.len() => {
                Position { chunk: self.chunks.len() - 1, at: last.len() }
            }
            _ => position,
        };
        let Some(found) = self.chunks.get_mut(chunk) else {
            self.chunks.push_back(Arc::new(vec![item]));
            return;
        };
        let items = Arc::make_mut(found);
        if items.len() < CHUNK_MAX {
            items.insert(at.min(items.len()), item);
            return;
        }
        // At the very end nothing is moved, so that what comes in order leaves full chunks.
        let keep = if at == items.len() { at } else { items.len() / 2 };
        let mut right = items.split_off(keep);
        match at.checked_sub(keep) {
            Some(at) => right.insert(at.min(right.len()), item),
            None => items.insert(at, item),
        }
        self.chunks.insert(chunk + 1, Arc::new(right));
    }

    /// Removes the item at `position`.
    pub(super) fn remove(&mut self, position: Position) -> Option<T> {
        let items = Arc::make_mut(self.chunks.get_mut(position.chunk)?);
        if position.at >= items.len() {
            return None;
        }
        let item = items.remove(position.at);
        self.len -= 1;
        let left = items.len();
        if left == 0 {
            self.chunks.remove(position.chunk);
        } else if left < CHUNK_MIN && !self.join(position.chunk) && position.chunk > 0 {
            self.join(position.chunk - 1);
        }
        Some(item)
    }

    /// Moves the items of the chunk after `chunk` into it, if there is room; answers whether.
    fn join(&mut self, chunk: usize) -> bool {
        let len = |at| self.chunks.get(at).map(|chunk| chunk.len());
        match (len(chunk), len(chunk + 1)) {
            (Some(left), Some(next)) if left + next <= CHUNK_BUILT => {}
            _ => return false,
        }
        let next = self.chunks.remove(chunk + 1);
        if let Some(items) = self.chunks.get_mut(chunk) {
            Arc::make_mut(items).extend(next.iter().cloned());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// It holds what a sorted vector would, and older ones do not change.
        #[test]
        fn is_a_sorted_vector(built in 0..200_u16, steps in prop::collection::vec(any::<u16>(), 0..600)) {
            let mut model: Vec<u16> = (0..built).map(|number| number * 7).collect();
            let mut sorted = Sorted::from_sorted(model.iter().copied());
            for step in steps {
                let (old, before) = (sorted.clone(), model.clone());
                let wanted = step % 1_400;
                let at = model.partition_point(|item| *item < wanted);
                let position = sorted.seek(|item| *item < wanted);
                prop_assert_eq!(sorted.get(position), model.get(at));
                if model.get(at) == Some(&wanted) && step % 3 > 0 {
                    prop_assert_eq!(sorted.remove(position), Some(model.remove(at)));
                } else {
                    sorted.insert(position, wanted);
                    model.insert(at, wanted);
                }
                prop_assert_eq!(sorted.len(), model.len());
                prop_assert!(sorted.chunks.iter().all(|chunk| !chunk.is_empty()));
                prop_assert!(sorted.iter().eq(model.iter()));
                let from = sorted.seek(|item| *item <= wanted);
                prop_assert!(sorted.from(from).eq(model.iter().filter(|item| **item > wanted)));
                let position = sorted.seek(|item| *item < wanted);
                prop_assert_eq!(sorted.between(position, from), model.iter().filter(|item| **item == wanted).count());
                let all = sorted.seek(|_| true);
                prop_assert_eq!(sorted.between(position, all), model.len() - at);
                prop_assert!(old.iter().eq(before.iter()));
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_chunks_and_what_goes_leaves_none() {
        let mut sorted = Sorted::default();
        for number in 0..10_000 {
            sorted.insert(sorted.seek(|item| *item < number), number);
        }
        assert!(sorted.chunks.len() <= 10_000 / CHUNK_MAX + 1, "{}", sorted.chunks.len());
        for number in (0..10_000).filter(|number| number % 50 > 0) {
            sorted.remove(sorted.seek(|item| *item < number));
        }
        assert_eq!(sorted.len(), 200);
        assert!(sorted.chunks.len() <= 200 / CHUNK_MIN, "{}", sorted.chunks.len());
    }
}
