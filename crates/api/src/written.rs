//! What a caller wrote: a JSON tree, and the keys that stand twice in it, of which a tree keeps only
//! the last. Pure.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Most keys that are told of: a person mends the first few, and a body of nothing else stays cheap.
const DUPLICATES_MAX: usize = 100;
/// Most letters of a path that is told of: keys can be as long as a body.
const PATH_LETTERS_MAX: usize = 256;

/// What a caller wrote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) value: Value,
    /// Paths of keys that were given more than once.
    pub(crate) duplicates: Vec<String>,
}

impl From<Value> for Written {
    fn from(value: Value) -> Self {
        Self { value, duplicates: Vec::new() }
    }
}

impl Written {
    /// Reads a whole body of JSON.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, serde_json::Error> {
        let mut from = serde_json::Deserializer::from_slice(body);
        let written = Self::read(&mut from)?;
        from.end()?;
        Ok(written)
    }

    /// What a caller may be told of how it is written.
    pub(crate) fn remarks(&self) -> Vec<String> {
        self.duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect()
    }

    /// Reads from any format. How deep it may nest is bounded by the format's reader.
    pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (mut path, mut duplicates) = (String::new(), Vec::new());
        let value = Reading { path: &mut path, duplicates: &mut duplicates }.deserialize(from)?;
        Ok(Self { value, duplicates })
    }
}

/// Reads the value at `path`.
struct Reading<'r> {
    path: &'r mut String,
    duplicates: &'r mut Vec<String>,
}

impl Reading<'_> {
    /// The same for what is at `step` from here; `path` must be cut back afterwards.
    fn at(&mut self, step: fmt::Arguments<'_>) -> Reading<'_> {
        // Writing to a text does not fail.
        let _ = fmt::Write::write_fmt(self.path, step);
        Reading { path: self.path, duplicates: self.duplicates }
    }

    fn note(&mut self) {
        let path: String = self.path.chars().take(PATH_LETTERS_MAX).collect();
        if self.duplicates.len() < DUPLICATES_MAX && !self.duplicates.contains(&path) {
            self.duplicates.push(path);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let (here, mut list) = (self.path.len(), Vec::new());
        while let Some(item) = items.next_element_seed(self.at(format_args!("[{}]", list.len())))? {
            list.push(item);
            self.path.truncate(here);
        }
        self.path.truncate(here);
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let (here, mut fields) = (self.path.len(), Map::new());
        while let Some(name) = entries.next_key::<String>()? {
            let dot = if here == 0 { "" } else { "." };
            let mut field = self.at(format_args!("{dot}{name}"));
            if fields.contains_key(&name) {
                field.note();
            }
            fields.insert(name, entries.next_value_seed(field)?);
            self.path.truncate(here);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Written {
        Written::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_that_stand_twice_are_told_of_once_and_the_last_counts() {
        for (text, duplicates) in [
            (r#"{"a":{"x":1},"b":{"x":1}}"#, vec![]),
            (r#"{"spec":{"rack":"r1","rack":"r2","rack":"r3"}}"#, vec!["spec.rack"]),
            (
                r#"{"l":[{"k":1},{"k":1,"k":2}],"l2":[[{"k":1,"k":2}]]}"#,
                vec!["l[1].k", "l2[0][0].k"],
            ),
            (r#"{"a":{"b":1,"b":2},"a":{"b":3,"b":4}}"#, vec!["a.b", "a"]),
        ] {
            let read = read(text);
            assert_eq!(read.duplicates, duplicates, "{text}");
            assert_eq!(read.value, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_told_of_is_bounded() {
        let twice = |name: &str| format!("{name:?}:1,{name:?}:2,");
        let mut text: String = (0..1_000).map(|number| twice(&format!("k{number}"))).collect();
        text.push_str("\"end\":0");
        assert_eq!(read(&format!("{{{text}}}")).duplicates.len(), DUPLICATES_MAX);
        let long = "é".repeat(100_000);
        let text = format!("{{{}\"end\":0}}", twice(&long));
        assert_eq!(read(&text).duplicates[0].chars().count(), PATH_LETTERS_MAX);
    }

    /// Any JSON value.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn anything_is_read_as_the_library_reads_it(value in any_value()) {
            let text = value.to_string();
            let read = read(&text);
            prop_assert_eq!(read.value, serde_json::from_str::<Value>(&text).unwrap());
            prop_assert!(read.duplicates.is_empty());
        }
    }
}
