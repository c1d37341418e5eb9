//! Values of an object picked out of its JSON by their paths. All else is stepped over, so that a few
//! fields of an object cost a small part of what reading it whole does.

use crate::{
    reader::{Reader, ScanError},
    scan::{Node, Paths},
};

/// Paths that are looked for.
#[derive(Debug)]
pub struct Picker {
    paths: Paths,
    /// For each path asked for, its place among those that are different.
    places: Vec<usize>,
}

impl Picker {
    /// Looks for dotted paths of fields. The same one may be asked for more than once.
    pub fn of(paths: &[&'static str]) -> Self {
        let mut different: Vec<&'static str> = Vec::new();
        let place = |path: &&'static str| {
            different.iter().position(|known| known == path).unwrap_or_else(|| {
                different.push(*path);
                different.len() - 1
            })
        };
        let places = paths.iter().map(place).collect();
        Self { paths: Paths::of(&different), places }
    }

    /// The JSON of what is at each path, in the order they were asked for. None where nothing is, and
    /// everywhere if `json` is not of an object.
    pub fn pick<'j>(&self, json: &'j [u8]) -> Vec<Option<&'j str>> {
        let mut found = vec![None; self.paths.count];
        let picked =
            str::from_utf8(json).map_err(|error| ScanError::Malformed(error.valid_up_to()));
        let picked = picked.and_then(|text| {
            let mut reader = Reader { text, bytes: json, at: 0 };
            level(&mut reader, &self.paths.roots, &mut found)
        });
        if picked.is_err() {
            found.fill(None);
        }
        self.places.iter().map(|place| found.get(*place).copied().flatten()).collect()
    }
}

/// Reads an object in which the first names of `wanted` may be.
fn level<'j>(
    reader: &mut Reader<'j>,
    wanted: &[Node],
    found: &mut [Option<&'j str>],
) -> Result<(), ScanError> {
    reader.open(b'{')?;
    while let Some(name) = reader.name()? {
        let Some(node) = wanted.iter().find(|node| node.name == name) else {
            reader.skip()?;
            continue;
        };
        let inside = reader.peek() == Some(b'{') && !node.deeper.is_empty();
        let begin = reader.at;
        if inside {
            level(reader, &node.deeper, found)?;
        } else {
            reader.skip()?;
        }
        if let Some(place) = node.ends.and_then(|at| found.get_mut(at)) {
            *place = reader.text.get(begin..reader.at);
        }
    }
    Ok(())
}

/// The JSON of each item of a list; none if it is no list.
pub fn items(list: &str) -> Vec<&str> {
    fn all<'j>(reader: &mut Reader<'j>, found: &mut Vec<&'j str>) -> Result<(), ScanError> {
        reader.open(b'[')?;
        while reader.item()? {
            reader.peek();
            let begin = reader.at;
            reader.skip()?;
            found.extend(reader.text.get(begin..reader.at));
        }
        Ok(())
    }
    let mut found = Vec::new();
    let mut reader = Reader { text: list, bytes: list.as_bytes(), at: 0 };
    match all(&mut reader, &mut found) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn values_are_picked_by_their_paths() {
        let json = br#"{"kind":"A","metadata":{"name":"a\"}","labels":{"x":"y"}},"spec":{"n":[1,{"m":2}],"on":true}}"#;
        let paths =
            ["spec.n", "metadata", "metadata.name", "spec.on", "spec.n", "spec.absent", "kind.x"];
        assert_eq!(
            Picker::of(&paths).pick(json),
            [
                Some(r#"[1,{"m":2}]"#),
                Some(r#"{"name":"a\"}","labels":{"x":"y"}}"#),
                Some(r#""a\"}""#),
                Some("true"),
                Some(r#"[1,{"m":2}]"#),
                None,
                None,
            ]
        );
        for broken in [&b"[]"[..], b"{", b"", b"{\"kind\":\"", b"\xff"] {
            assert!(Picker::of(&["kind"]).pick(broken).iter().all(Option::is_none));
        }
    }

    #[test]
    fn lists_are_taken_apart() {
        assert_eq!(items(r#"[{"a":"]"}, 2,"x,y",[3]]"#), [r#"{"a":"]"}"#, "2", r#""x,y""#, "[3]"]);
        for none in ["[]", "{}", "", "[1", "\"[1]\""] {
            assert!(items(none).is_empty(), "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_is_picked_is_what_a_whole_read_finds(
            a in proptest::option::of("[a-z\"\\\\{}\\[\\]é]{0,20}"), b in proptest::option::of(any::<f64>()),
            extra in proptest::collection::btree_map("[abz.]{0,3}", any::<i32>(), 0..5),
        ) {
            let mut inner = serde_json::Map::new();
            inner.extend(extra.into_iter().map(|(name, value)| (name, value.into())));
            inner.remove("a");
            inner.remove("b");
            inner.extend(a.map(|a| ("a".to_owned(), Value::from(a))));
            inner.extend(b.map(|b| ("b".to_owned(), Value::from(b))));
            let text = serde_json::json!({"a": "outside", "in": inner}).to_string();
            let value: Value = serde_json::from_str(&text).unwrap();
            let picked = Picker::of(&["in.a", "in.b", "in"]).pick(text.as_bytes());
            let read = |at: usize| picked[at].map(|json| serde_json::from_str::<Value>(json).unwrap());
            prop_assert_eq!(read(0), value["in"].get("a").cloned());
            prop_assert_eq!(read(1), value["in"].get("b").cloned());
            prop_assert_eq!(read(2), Some(value["in"].clone()));
        }
    }
}
