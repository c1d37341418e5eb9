//! Some neighbours among the objects of a kind: their indexed fields as columns of numbers, and what is searched
//! as text in one piece. A search goes through chunks, not through objects.

use super::columns::Columns;
use quarterdeck_model::Object;
use std::sync::Arc;

/// Most objects of a chunk: as many as a mask has bits.
pub(crate) const OBJECTS_MAX: usize = 128;
/// Labels whose values are searched as text: an object with more is found by its other ones.
const LABELS_MAX: usize = 16;
/// Between the parts of one object's text.
pub(crate) const PART: u8 = 0;

/// Which objects of a chunk, a bit for each.
pub(crate) type Mask = u128;

/// Neighbours, ordered by namespace and name. Never empty in an index.
#[derive(Clone)]
pub(crate) struct Chunk {
    objects: Vec<Arc<Object>>,
    /// For each column the numbers of its values; none for a column without a dictionary.
    numbers: Vec<Vec<u32>>,
    /// Name, values of fields without a dictionary, and values of labels, in small letters.
    text: Vec<u8>,
    /// Where the text of each object ends.
    ends: Vec<u32>,
}

/// The text of one object.
fn text_of(object: &Object, columns: &Columns, text: &mut Vec<u8>) {
    let mut part = |value: &str, first: bool| {
        if !first {
            text.push(PART);
        }
        text.extend(value.bytes().map(|byte| byte.to_ascii_lowercase()));
    };
    part(object.name(), true);
    for (at, value) in object.fields().enumerate() {
        if columns.is_wide(at) {
            part(value, false);
        }
    }
    for (_, value) in object.labels().take(LABELS_MAX) {
        if !value.is_empty() {
            part(value, false);
        }
    }
    text.push(PART);
}

impl Chunk {
    pub(super) fn new(columns: &Columns) -> Self {
        Self {
            objects: Vec::new(),
            numbers: vec![Vec::new(); columns.count()],
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// All of its objects.
    pub(crate) fn whole(&self) -> Mask {
        Mask::MAX.checked_shr(u32::try_from(OBJECTS_MAX - self.len()).unwrap_or(0)).unwrap_or(0)
    }

    pub(crate) fn object(&self, at: usize) -> Option<&Arc<Object>> {
        self.objects.get(at)
    }

    /// The column at that place; empty when it has no dictionary.
    pub(crate) fn column(&self, at: usize) -> &[u32] {
        self.numbers.get(at).map_or(&[], Vec::as_slice)
    }

    /// The text of all of its objects.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    fn begin(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        before.map_or(0, |end| *end as usize)
    }

    fn end(&self, at: usize) -> usize {
        self.ends.get(at).map_or(self.text.len(), |end| *end as usize)
    }

    /// Whose text is at that place of the whole, and where it ends.
    pub(crate) fn owner(&self, position: usize) -> (usize, usize) {
        let at = self.ends.partition_point(|end| (*end as usize) <= position);
        (at, self.end(at))
    }

    /// A part of an object's text: 0 is its name, then come fields without a dictionary.
    pub(crate) fn part(&self, at: usize, part: usize) -> &[u8] {
        let text = self.text.get(self.begin(at)..self.end(at)).unwrap_or_default();
        text.split(|byte| *byte == PART).nth(part).unwrap_or_default()
    }

    /// Where an object is, or belongs.
    pub(super) fn find(&self, place: (&str, &str)) -> Result<usize, usize> {
        self.objects.binary_search_by(|object| (object.namespace(), object.name()).cmp(&place))
    }

    pub(super) fn last(&self) -> Option<(&str, &str)> {
        self.objects.last().map(|object| (object.namespace(), object.name()))
    }

    /// Adds an object behind all others.
    pub(super) fn push(&mut self, object: Arc<Object>, numbers: &[u32], columns: &Columns) {
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            if *number != u32::MAX {
                column.push(*number);
            }
        }
        text_of(&object, columns, &mut self.text);
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        self.objects.push(object);
    }

    /// Ends its making.
    pub(super) fn shrink(&mut self) {
        self.numbers.iter_mut().for_each(Vec::shrink_to_fit);
        self.text.shrink_to_fit();
    }

    /// Puts an object at its place.
    pub(super) fn put(&mut self, object: Arc<Object>, numbers: &[u32], columns: &Columns) {
        let found = self.find((object.namespace(), object.name()));
        let (Ok(at) | Err(at)) = found;
        let is_new = found.is_err();
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            if *number == u32::MAX {
                continue;
            }
            match column.get_mut(at) {
                Some(old) if !is_new => *old = *number,
                _ => column.insert(at.min(column.len()), *number),
            }
        }
        if is_new {
            self.objects.insert(at, object);
            return self.write_text(columns);
        }
        let mut text = Vec::new();
        text_of(&object, columns, &mut text);
        let same = self.text.get(self.begin(at)..self.end(at)) == Some(&*text);
        if let Some(slot) = self.objects.get_mut(at) {
            *slot = object;
        }
        if !same {
            self.write_text(columns);
        }
    }

    /// Takes the object at a place away.
    pub(super) fn remove(&mut self, place: (&str, &str), columns: &Columns) -> bool {
        let Ok(at) = self.find(place) else { return false };
        self.objects.remove(at);
        for column in self.numbers.iter_mut().filter(|column| at < column.len()) {
            column.remove(at);
        }
        self.write_text(columns);
        true
    }

    /// Leaves the first half and answers the other.
    pub(super) fn split(&mut self, columns: &Columns) -> Self {
        let at = self.len() / 2;
        let numbers = self.numbers.iter_mut().map(|column| column.split_off(at.min(column.len())));
        let mut right = Self { numbers: numbers.collect(), ..Self::new(columns) };
        right.objects = self.objects.split_off(at);
        right.write_text(columns);
        self.write_text(columns);
        right
    }

    fn write_text(&mut self, columns: &Columns) {
        self.text.clear();
        self.ends.clear();
        for object in &self.objects {
            text_of(object, columns, &mut self.text);
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
    }
}
