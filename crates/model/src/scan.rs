//! One pass over an object's JSON that notes where the texts are that are looked up: uid, labels,
//! owners and indexed fields; and whether it is held or on its way out.
//!
//! A million objects are scanned at each start, so all else is stepped over without being read: of
//! that, only brackets and quotes are seen to close. What is stored was encoded by us. Nothing is
//! copied: an object keeps its JSON anyhow, and the places in it cost less than texts of their own
//! ([`crate::found`] keeps them).

use crate::{
    found::{Scanned, Span},
    reader::{Reader, ScanError, Token},
};

/// Dotted paths as a tree, so that a name is compared only with those that can be meant.
#[derive(Debug)]
pub struct Paths {
    pub(crate) count: usize,
    pub(crate) roots: Vec<Node>,
    /// Whether each is in no index.
    pub(crate) common: Vec<bool>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    /// Place of the path that ends here.
    pub(crate) ends: Option<usize>,
    pub(crate) deeper: Vec<Node>,
}

impl Paths {
    pub(crate) fn of(paths: &[&'static str]) -> Self {
        let mut roots = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            add(&mut roots, path, at);
        }
        Self { count: paths.len(), roots, common: Vec::new() }
    }
}

fn add(nodes: &mut Vec<Node>, path: &'static str, place: usize) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let at = nodes.iter().position(|node| node.name == name).unwrap_or(nodes.len());
    if at == nodes.len() {
        nodes.push(Node { name, ends: None, deeper: Vec::new() });
    }
    if let Some(node) = nodes.get_mut(at) {
        match rest {
            None => node.ends = Some(place),
            Some(rest) => add(&mut node.deeper, rest, place),
        }
    }
}

/// Scans `body` for its metadata and what is at `paths`. Uses `spans` to work in, whatever is in it, and leaves there
/// where each text is.
pub(crate) fn scan(
    body: &[u8],
    paths: &Paths,
    spans: &mut Vec<Span>,
) -> Result<Scanned, ScanError> {
    let text = str::from_utf8(body).map_err(|error| ScanError::Malformed(error.valid_up_to()))?;
    // What the spans of this body cannot say is no object of ours: bodies are of 1.5 MB at most.
    if body.len() > (u32::MAX / 2) as usize {
        return Err(ScanError::Malformed(u32::MAX as usize));
    }
    spans.clear();
    spans.resize(1 + paths.count, Span::default());
    let mut scan = Scan {
        reader: Reader { text, bytes: body, at: 0 },
        spans,
        owners: Vec::new(),
        unescaped: String::new(),
        has_uid: false,
        held: false,
        deleting: false,
    };
    scan.level(&paths.roots, true)?;
    if scan.reader.peek().is_some() {
        return Err(scan.reader.malformed());
    }
    if !scan.has_uid {
        return Err(ScanError::NoUid);
    }
    let labels = (scan.spans.len() - 1 - paths.count) / 2;
    let owners = scan.owners.len();
    scan.spans.append(&mut scan.owners);
    let Scan { unescaped, held, deleting, .. } = scan;
    Ok(Scanned { paths: paths.count, labels, owners, unescaped, held, deleting })
}

struct Scan<'s> {
    reader: Reader<'s>,
    /// Of the uid, each path, and each label's name and value.
    spans: &'s mut Vec<Span>,
    owners: Vec<Span>,
    unescaped: String,
    has_uid: bool,
    held: bool,
    deleting: bool,
}

impl Scan<'_> {
    /// Reads an object in which the first names of `wanted` may be.
    fn level(&mut self, wanted: &[Node], top: bool) -> Result<(), ScanError> {
        self.reader.open(b'{')?;
        while let Some(name) = self.reader.name()? {
            if top && name == "metadata" {
                self.metadata()?;
                continue;
            }
            let node = wanted.iter().find(|node| node.name == name);
            match (node, self.reader.peek()) {
                (Some(node), Some(b'{')) if !node.deeper.is_empty() => {
                    self.level(&node.deeper, false)?;
                }
                (Some(Node { ends: Some(at), .. }), Some(byte)) if !b"{[n".contains(&byte) => {
                    let value = self.reader.scalar()?;
                    let span = self.span(value)?;
                    if let Some(field) = self.spans.get_mut(1 + at) {
                        *field = span;
                    }
                }
                _ => self.reader.skip()?,
            }
        }
        Ok(())
    }

    /// Where a text is to be found: in what was read, unless it is escaped there.
    fn span(&mut self, text: Token) -> Result<Span, ScanError> {
        let span = |begin: usize, length: usize| {
            let number = |number| u32::try_from(number).ok();
            let span = number(begin).zip(number(length));
            span.map(|(begin, length)| Span { begin, length }).ok_or(ScanError::Malformed(begin))
        };
        if text.plain {
            return span(text.begin, text.end - text.begin);
        }
        let unescaped = self.reader.text(text)?;
        let begin = self.reader.bytes.len() + self.unescaped.len();
        self.unescaped.push_str(&unescaped);
        span(begin, unescaped.len())
    }

    fn metadata(&mut self) -> Result<(), ScanError> {
        self.reader.open(b'{')?;
        while let Some(name) = self.reader.name()? {
            match (&*name, self.reader.peek()) {
                ("uid", _) => {
                    let uid = self.reader.string()?;
                    let span = self.span(uid)?;
                    if let Some(uid) = self.spans.first_mut() {
                        *uid = span;
                    }
                    self.has_uid = true;
                }
                ("labels", Some(b'{')) => self.labels()?,
                ("ownerReferences", Some(b'[')) => self.owners()?,
                ("finalizers", Some(b'[')) => {
                    self.reader.open(b'[')?;
                    while self.reader.item()? {
                        self.held = true;
                        self.reader.skip()?;
                    }
                }
                ("deletionTimestamp", Some(b'"')) => {
                    self.deleting = true;
                    self.reader.skip()?;
                }
                _ => self.reader.skip()?,
            }
        }
        Ok(())
    }

    fn labels(&mut self) -> Result<(), ScanError> {
        self.reader.open(b'{')?;
        while let Some(name) = self.reader.name_token()? {
            let value = self.reader.string()?;
            for text in [name, value] {
                let span = self.span(text)?;
                self.spans.push(span);
            }
        }
        Ok(())
    }

    fn owners(&mut self) -> Result<(), ScanError> {
        self.reader.open(b'[')?;
        while self.reader.item()? {
            self.reader.open(b'{')?;
            while let Some(name) = self.reader.name()? {
                if name == "uid" {
                    let uid = self.reader.string()?;
                    let span = self.span(uid)?;
                    self.owners.push(span);
                } else {
                    self.reader.skip()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{scan as scan_with, *};
    use crate::found::Found;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn scan(body: &[u8], paths: &Paths) -> Result<Found, ScanError> {
        let mut spans = vec![Span { begin: 7, length: 7 }; 3];
        let scanned = scan_with(body, paths, &mut spans)?;
        Ok(scanned.pack(&spans, (0, 0)))
    }

    #[test]
    fn finds_uid_labels_and_fields() {
        let body = br#"{"apiVersion":"v1","metadata":{"name":"a","uid":"u-1","labels":{"x":"y\n"}},
            "spec":{"n":3,"deep":{"on":true},"list":[{"a":1}],"deeper":9},"status":{"phase":"Ready"}}"#;
        let paths = ["status.phase", "spec.n", "spec.deep.on", "spec.absent", "spec.deep"];
        let found = scan(body, &Paths::of(&paths)).unwrap();
        assert_eq!(found.uid(body), "u-1");
        assert_eq!(found.labels(body).collect::<Vec<_>>(), [("x", "y\n")]);
        let fields: Vec<&str> = found.fields(body).collect();
        assert_eq!(fields, ["Ready", "3", "true", "", ""]);
        assert_eq!(found.field(body, 1), Some("3"));
        assert_eq!(found.field(body, 5), None);
        assert!(found.owners(body).next().is_none() && !found.held() && !found.deleting());
        assert!(scan(b"{\"metadata\":{}}", &Paths::of(&[])).is_err());
        assert!(scan(b"[]", &Paths::of(&[])).is_err());
    }

    #[test]
    fn finds_owners_finalizers_and_deletion() {
        let body = br#"{"metadata":{"uid":"u-1","deletionTimestamp":"2026-11-01T00:00:00Z",
            "finalizers":["orphan"],"ownerReferences":[{"kind":"Site","uid":"a"},{"uid":"b"}]}}"#;
        let found = scan(body, &Paths::of(&[])).unwrap();
        assert_eq!(found.owners(body).collect::<Vec<_>>(), ["a", "b"]);
        assert!(found.held() && found.deleting());
        let none = br#"{"metadata":{"uid":"u-1","deletionTimestamp":null,"finalizers":[]}}"#;
        let found = scan(none, &Paths::of(&[])).unwrap();
        assert!(found.owners(none).next().is_none() && !found.held() && !found.deleting());
    }

    #[test]
    fn what_is_not_an_object_is_refused_where_it_breaks() {
        let whole = br#"{"metadata":{"uid":"u","labels":{"a":"b"}},"spec":{"a":[1,{"b":"c"}]}}"#;
        let scan = |body: &[u8]| scan(body, &Paths::of(&["spec.a"]));
        assert!(scan(whole).is_ok());
        for cut in 0..whole.len() {
            assert!(scan(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(scan(&[&whole[..], b"x"].concat()).is_err());
        for wrong in [
            &br#"{"metadata":{"uid":7}}"#[..],
            br#"{"metadata":{"uid":"u","labels":{"a":1}}}"#,
            br#"{"metadata":{"uid":"\x"}}"#,
            b"{\"metadata\":{\"uid\":\"\xff\"}}",
        ] {
            assert!(scan(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\\\n\\[\\]{}:,é ]{0,24}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]|a\"|b\\\\", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// It finds what walking the decoded tree finds.
        #[test]
        fn agrees_with_a_full_decode(
            spec in json(), status in json(), pretty in any::<bool>(), long in prop::option::of(0..9_usize),
        ) {
            let long = " ".repeat(long.map_or(0, |long| 65_000 + 100 * long));
            let value = json!({"metadata": {"uid": "u"}, "A": long, "a": spec, "b": status});
            let paths = ["a", "a.b", "a.a.b", "a.c", "b.a", "b.b.b.b", "b", "c"];
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let found = scan(text.as_bytes(), &Paths::of(&paths)).unwrap();
            for (path, field) in paths.iter().zip(found.fields(text.as_bytes())) {
                let there = path.split('.').try_fold(&value, |at, name| at.get(name));
                let wanted = match there {
                    Some(Value::String(text)) => text.clone(),
                    Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                    _ => String::new(),
                };
                prop_assert_eq!(field, wanted, "{} of {}", path, text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "[\\[\\]{}\":,a1 \\\\]{0,60}") {
            let _ = scan(bytes.as_bytes(), &Paths::of(&["a", "a.a"]));
        }
    }
}
