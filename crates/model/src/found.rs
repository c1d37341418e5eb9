//! Where in an object's JSON the texts are that are looked up, in as few bytes as say it: a million objects each
//! keep this. Nothing is copied but what JSON escapes.
//!
//! Its bytes: flags; how many paths, labels and owners there are; a stretch (begin and length) for the uid, each path
//! (empty where there is none), each label's name and value, and each owner; and the texts that are escaped. All numbers
//! take two bytes, or four where one of them does not fit.

/// A stretch of the scanned bytes, or, beginning after them, of what was unescaped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) begin: u32,
    pub(crate) length: u32,
}

/// What a scan found, beside its spans.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) paths: usize,
    pub(crate) labels: usize,
    pub(crate) owners: usize,
    /// Texts that are not in the JSON as they are, since JSON escapes something in them.
    pub(crate) unescaped: String,
    pub(crate) held: bool,
    pub(crate) deleting: bool,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Found(Box<[u8]>);

const HELD: u8 = 1;
const DELETING: u8 = 2;
const WIDE: u8 = 4;
/// Paths, labels and owners.
const COUNTS: usize = 3;

impl Scanned {
    /// Packs it, with `more` bytes put into the JSON at `at` since it was scanned.
    pub(crate) fn pack(&self, spans: &[Span], (at, more): (usize, usize)) -> Found {
        let (at, more) = (u32::try_from(at).unwrap_or(0), u32::try_from(more).unwrap_or(0));
        let shifted = |span: &Span| match span.begin >= at && span.length > 0 {
            true => [span.begin.saturating_add(more), span.length],
            false => [span.begin, span.length],
        };
        let counts = [self.paths, self.labels, self.owners];
        let counts = counts.map(|count| u32::try_from(count).unwrap_or(0));
        let numbers = || counts.into_iter().chain(spans.iter().flat_map(shifted));
        let wide = numbers().any(|number| number > u32::from(u16::MAX));
        let width = if wide { 4 } else { 2 };
        // Exactly what it takes: a million objects keep what is left over.
        let size = 1 + (COUNTS + 2 * spans.len()) * width + self.unescaped.len();
        let mut bytes = Vec::with_capacity(size);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        bytes.push(flag(self.held, HELD) | flag(self.deleting, DELETING) | flag(wide, WIDE));
        for number in numbers() {
            bytes.extend(number.to_le_bytes().into_iter().take(width));
        }
        bytes.extend_from_slice(self.unescaped.as_bytes());
        Found(bytes.into())
    }
}

impl Found {
    fn flag(&self, flag: u8) -> bool {
        self.0.first().is_some_and(|flags| flags & flag > 0)
    }

    /// Whether finalizers keep the object.
    pub(crate) fn held(&self) -> bool {
        self.flag(HELD)
    }

    /// Whether its deletion was asked for.
    pub(crate) fn deleting(&self) -> bool {
        self.flag(DELETING)
    }

    /// The number at a place among all, counts and spans.
    fn number(&self, at: usize) -> usize {
        let (width, mut bytes) = (self.width(), [0; 4]);
        let begin = 1 + at * width;
        for (to, from) in bytes.iter_mut().zip(self.0.get(begin..begin + width).unwrap_or_default())
        {
            *to = *from;
        }
        u32::from_le_bytes(bytes) as usize
    }

    fn width(&self) -> usize {
        if self.flag(WIDE) { 4 } else { 2 }
    }

    fn paths(&self) -> usize {
        self.number(0)
    }

    fn labels_count(&self) -> usize {
        self.number(1)
    }

    fn owners_count(&self) -> usize {
        self.number(2)
    }

    /// Where the escaped texts begin.
    fn unescaped(&self) -> usize {
        let spans = 1 + self.paths() + 2 * self.labels_count() + self.owners_count();
        1 + (COUNTS + 2 * spans) * self.width()
    }

    /// The text of a span.
    fn text<'f>(&'f self, json: &'f [u8], span: usize) -> &'f str {
        let begin = self.number(COUNTS + 2 * span);
        let length = self.number(COUNTS + 2 * span + 1);
        let text = match begin.checked_sub(json.len()) {
            None => json.get(begin..begin + length),
            Some(begin) => {
                let begin = self.unescaped() + begin;
                self.0.get(begin..begin + length)
            }
        };
        // All of it was seen to be UTF-8 when it was scanned.
        text.and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// The uid in `json`, which is what was scanned.
    pub(crate) fn uid<'f>(&'f self, json: &'f [u8]) -> &'f str {
        self.text(json, 0)
    }

    /// The text at each path, in order.
    pub(crate) fn fields<'f>(&'f self, json: &'f [u8]) -> impl Iterator<Item = &'f str> {
        (1..=self.paths()).map(|span| self.text(json, span))
    }

    /// The text at one path.
    pub(crate) fn field<'f>(&'f self, json: &'f [u8], at: usize) -> Option<&'f str> {
        (at < self.paths()).then(|| self.text(json, 1 + at))
    }

    /// Names and values.
    pub(crate) fn labels<'f>(&'f self, json: &'f [u8]) -> impl Iterator<Item = (&'f str, &'f str)> {
        let first = 1 + self.paths();
        let names = (0..self.labels_count()).map(move |label| first + 2 * label);
        names.map(|name| (self.text(json, name), self.text(json, name + 1)))
    }

    /// Uids of owners.
    pub(crate) fn owners<'f>(&'f self, json: &'f [u8]) -> impl Iterator<Item = &'f str> {
        let first = 1 + self.paths() + 2 * self.labels_count();
        (first..first + self.owners_count()).map(|owner| self.text(json, owner))
    }
}
