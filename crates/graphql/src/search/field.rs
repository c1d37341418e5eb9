//! Fields that objects are found, sorted and counted by, and how their values are read and compared.

use crate::index::{Chunk, Columns, Kept};
use quarterdeck_model::{KindRef, Object};
use std::cmp::Ordering;

/// A label is named so, with its key behind.
const LABELS: &str = "metadata.labels.";

/// A field as somebody names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    /// The kind of the object.
    Kind,
    /// The value of a label.
    Label(String),
    /// An indexed field of the kind, the name, or the namespace.
    Path(String),
}

impl Field {
    pub(crate) fn parse(name: &str) -> Self {
        match name.strip_prefix(LABELS) {
            Some(key) if !key.is_empty() => Self::Label(key.into()),
            _ if name == "kind" => Self::Kind,
            _ => Self::Path(name.into()),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Kind => "kind".into(),
            Self::Label(key) => format!("{LABELS}{key}"),
            Self::Path(path) => path.clone(),
        }
    }

    /// Whether objects of a kind have it.
    pub(crate) fn is_of(&self, kind: KindRef) -> bool {
        match self {
            Self::Kind | Self::Label(_) => true,
            Self::Path(path) => {
                matches!(path.as_str(), "metadata.name" | "metadata.namespace")
                    || kind.indexed_fields.contains(&path.as_str())
            }
        }
    }

    /// Where an index has it.
    pub(crate) fn within(&self, columns: &Columns) -> Source {
        match self {
            Self::Kind => Source::Constant(columns.kind().kind),
            Self::Label(key) => Source::Label(key.clone()),
            Self::Path(path) => match columns.kept(path) {
                Some(Kept::Column(at)) => Source::Column(at),
                Some(Kept::Part(part)) => Source::Part(part, path.clone()),
                None => Source::Constant(""),
            },
        }
    }
}

/// Where an index has the values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// All objects have this one.
    Constant(&'static str),
    /// A column of numbers.
    Column(usize),
    /// A part of each object's text, in small letters; and the path, for the value as it is.
    Part(usize, String),
    /// A label of each object.
    Label(String),
}

impl Source {
    /// The value that an object has.
    pub(crate) fn value<'o>(
        &self,
        object: &'o Object,
        columns: &'o Columns,
        number: Option<u32>,
    ) -> &'o str {
        match self {
            Self::Constant(value) => value,
            Self::Label(key) => object.label(key).unwrap_or_default(),
            Self::Part(_, path) => object.field(path).unwrap_or_default(),
            Self::Column(at) => {
                let text = columns.dictionary(*at).zip(number);
                text.and_then(|(all, number)| all.texts().get(number as usize))
                    .map_or("", |text| &**text)
            }
        }
    }

    /// What an object is sorted by, where it has no number.
    pub(crate) fn sorted<'c>(&self, chunk: &'c Chunk, at: usize) -> &'c [u8] {
        match self {
            Self::Part(part, _) => chunk.part(at, *part),
            Self::Label(key) => {
                let object = chunk.object(at);
                object.and_then(|object| object.label(key)).unwrap_or_default().as_bytes()
            }
            Self::Constant(value) => value.as_bytes(),
            Self::Column(_) => &[],
        }
    }
}

/// Numbers by their size and before all texts, texts by their letters.
pub(crate) fn natural(one: &str, other: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(one), number(other)) {
        (Some(a), Some(b)) => a.total_cmp(&b).then_with(|| one.cmp(other)),
        (Some(_), None) if !other.is_empty() => Ordering::Less,
        (None, Some(_)) if !one.is_empty() => Ordering::Greater,
        _ => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_an_order_that_people_expect() {
        let mut values = ["b", "10", "9", "", "a10", "-1", "inf", "a9"];
        values.sort_by(|one, other| natural(one, other));
        assert_eq!(values, ["", "-1", "9", "10", "a10", "a9", "b", "inf"]);
    }

    #[test]
    fn fields_are_named_as_they_are_written() {
        for name in ["kind", "metadata.name", "status.phase", "metadata.labels.a.b/c"] {
            assert_eq!(Field::parse(name).name(), name);
        }
        assert_eq!(Field::parse("metadata.labels.a.b/c"), Field::Label("a.b/c".into()));
        assert_eq!(Field::parse("metadata.labels."), Field::Path("metadata.labels.".into()));
    }
}
