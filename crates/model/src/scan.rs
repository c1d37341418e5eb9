//! One pass over an object's JSON that takes out only what is looked up: uid, labels, owners,
//! whether it is held or on its way out, and indexed fields.
//!
//! A million objects are scanned at each start, so all else is stepped over without being read: of
//! that, only brackets and quotes are seen to close. What is stored was encoded by us.

use std::{borrow::Cow, sync::Arc};

/// What was found.
pub(crate) struct Found {
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Box<[(Arc<str>, Arc<str>)]>,
    pub(crate) owners: Box<[Arc<str>]>,
    pub(crate) held: bool,
    pub(crate) deleting: bool,
    pub(crate) fields: Box<[Arc<str>]>,
}

/// Why bytes cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// Where they stop being JSON, or what we look for is of another type.
    #[error("it is not the JSON of an object at byte {0}")]
    Malformed(usize),
    #[error("it has no metadata.uid")]
    NoUid,
}

/// Scans `body` for its metadata and the dotted `paths`, of which the first 64 are looked for.
pub(crate) fn scan(
    body: &[u8],
    paths: &[&str],
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Result<Found, ScanError> {
    let mut scan = Scan {
        reader: Reader { bytes: body, at: 0 },
        paths,
        intern,
        uid: None,
        labels: Box::default(),
        owners: Box::default(),
        held: false,
        deleting: false,
        fields: vec![None; paths.len()],
    };
    let all = if paths.len() < 64 { (1 << paths.len()) - 1 } else { u64::MAX };
    scan.level(all, 0, true)?;
    if scan.reader.peek().is_some() {
        return Err(scan.reader.malformed());
    }
    let uid = scan.uid.ok_or(ScanError::NoUid)?;
    let empty = (scan.intern)("");
    let fields = scan.fields.into_iter().map(|field| field.unwrap_or_else(|| empty.clone()));
    Ok(Found {
        uid,
        labels: scan.labels,
        owners: scan.owners,
        held: scan.held,
        deleting: scan.deleting,
        fields: fields.collect(),
    })
}

struct Scan<'s> {
    reader: Reader<'s>,
    paths: &'s [&'s str],
    intern: &'s mut dyn FnMut(&str) -> Arc<str>,
    uid: Option<Arc<str>>,
    labels: Box<[(Arc<str>, Arc<str>)]>,
    owners: Box<[Arc<str>]>,
    held: bool,
    deleting: bool,
    fields: Vec<Option<Arc<str>>>,
}

impl Scan<'_> {
    /// Reads an object that is met by the paths of `wanted`, a bit for each, after `depth` bytes of them.
    fn level(&mut self, wanted: u64, depth: usize, top: bool) -> Result<(), ScanError> {
        self.reader.open(b'{')?;
        while let Some(name) = self.reader.name()? {
            if top && name == "metadata" {
                self.metadata()?;
                continue;
            }
            let (mut ends, mut deeper) = (0_u64, 0_u64);
            for (at, path) in self.paths.iter().take(64).enumerate() {
                if wanted & (1 << at) == 0 {
                    continue;
                }
                match path.get(depth..).and_then(|rest| rest.strip_prefix(&*name)) {
                    Some("") => ends |= 1 << at,
                    Some(rest) if rest.starts_with('.') => deeper |= 1 << at,
                    _ => {}
                }
            }
            match self.reader.peek() {
                Some(b'{') if deeper > 0 => self.level(deeper, depth + name.len() + 1, false)?,
                Some(b'{' | b'[' | b'n') => self.reader.skip()?,
                _ if ends > 0 => {
                    let text = self.reader.scalar()?;
                    for (at, field) in self.fields.iter_mut().take(64).enumerate() {
                        if ends & (1 << at) > 0 {
                            *field = Some((self.intern)(&text));
                        }
                    }
                }
                _ => self.reader.skip()?,
            }
        }
        Ok(())
    }

    fn metadata(&mut self) -> Result<(), ScanError> {
        self.reader.open(b'{')?;
        while let Some(name) = self.reader.name()? {
            match (&*name, self.reader.peek()) {
                ("uid", _) => self.uid = Some(Arc::from(&*self.reader.string()?)),
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
        let mut labels = Vec::new();
        self.reader.open(b'{')?;
        while let Some(name) = self.reader.name()? {
            let value = self.reader.string()?;
            labels.push(((self.intern)(&name), (self.intern)(&value)));
        }
        labels.sort();
        labels.dedup_by(|later, earlier| later.0 == earlier.0);
        self.labels = labels.into();
        Ok(())
    }

    fn owners(&mut self) -> Result<(), ScanError> {
        let mut owners = Vec::new();
        self.reader.open(b'[')?;
        while self.reader.item()? {
            self.reader.open(b'{')?;
            while let Some(name) = self.reader.name()? {
                if name == "uid" {
                    owners.push((self.intern)(&self.reader.string()?));
                } else {
                    self.reader.skip()?;
                }
            }
        }
        self.owners = owners.into();
        Ok(())
    }
}

/// A place in JSON.
struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn malformed(&self) -> ScanError {
        ScanError::Malformed(self.at)
    }

    /// The next byte that is no white space, not taken.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes the bracket that begins an object or a list.
    fn open(&mut self, bracket: u8) -> Result<(), ScanError> {
        self.peek().filter(|byte| *byte == bracket).ok_or_else(|| self.malformed())?;
        self.at += 1;
        Ok(())
    }

    /// Whether another member follows, past the comma; past the bracket when not.
    fn more(&mut self, end: u8) -> Result<bool, ScanError> {
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            // The first member has no comma before it.
            Some(_) => Ok(true),
            None => Err(self.malformed()),
        }
    }

    /// Whether another item of a list follows.
    fn item(&mut self) -> Result<bool, ScanError> {
        self.more(b']')
    }

    /// The name of the next field of an object, its colon taken; none at the end.
    fn name(&mut self) -> Result<Option<Cow<'b, str>>, ScanError> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        let name = self.string()?;
        self.open(b':')?;
        Ok(Some(name))
    }

    /// A string.
    fn string(&mut self) -> Result<Cow<'b, str>, ScanError> {
        self.open(b'"')?;
        let begin = self.at;
        let plain = self.close_string()?;
        let malformed = || ScanError::Malformed(begin);
        if plain {
            let text = self.bytes.get(begin..self.at - 1).ok_or_else(malformed)?;
            return str::from_utf8(text).map(Cow::Borrowed).map_err(|_| malformed());
        }
        let quoted = self.bytes.get(begin - 1..self.at).ok_or_else(malformed)?;
        serde_json::from_slice(quoted).map(Cow::Owned).map_err(|_| malformed())
    }

    /// Goes past the quote that ends the string we are in; answers whether nothing in it is escaped.
    fn close_string(&mut self) -> Result<bool, ScanError> {
        let mut plain = true;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(found) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                return Err(self.malformed());
            };
            let quote = rest.get(found) == Some(&b'"');
            self.at += found + if quote { 1 } else { 2 };
            if quote {
                return Ok(plain);
            }
            plain = false;
        }
    }

    /// A string, number, truth value or null, as text.
    fn scalar(&mut self) -> Result<Cow<'b, str>, ScanError> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let begin = self.at;
        self.skip()?;
        let text = self.bytes.get(begin..self.at).and_then(|text| str::from_utf8(text).ok());
        text.map(Cow::Borrowed).ok_or(ScanError::Malformed(begin))
    }

    /// Steps over a value.
    fn skip(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.close_string().map(drop)
            }
            Some(b'{' | b'[') => self.skip_nested(),
            _ => {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let ends = |byte: &u8| {
                    matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b' ' | b'\n' | b'\r' | b'\t')
                };
                match rest.iter().position(ends) {
                    None | Some(0) => Err(self.malformed()),
                    Some(length) => {
                        self.at += length;
                        Ok(())
                    }
                }
            }
        }
    }

    /// Steps over an object or a list, with all that is within.
    fn skip_nested(&mut self) -> Result<(), ScanError> {
        let mut depth = 0_usize;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let structural = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
            let Some(found) = rest.iter().position(structural) else {
                return Err(self.malformed());
            };
            self.at += found + 1;
            match rest.get(found) {
                Some(b'"') => drop(self.close_string()?),
                Some(b'{' | b'[') => depth += 1,
                _ => depth -= 1,
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn finds_uid_labels_and_fields() {
        let body = br#"{"apiVersion":"v1","metadata":{"name":"a","uid":"u-1","labels":{"x":"y\n"}},
            "spec":{"n":3,"deep":{"on":true},"list":[{"a":1}],"deeper":9},"status":{"phase":"Ready"}}"#;
        let paths = ["status.phase", "spec.n", "spec.deep.on", "spec.absent", "spec.deep"];
        let found = scan(body, &paths, &mut |text| text.into()).unwrap();
        assert_eq!(&*found.uid, "u-1");
        assert_eq!(found.labels.len(), 1);
        assert_eq!(&*found.labels[0].1, "y\n");
        let fields: Vec<&str> = found.fields.iter().map(|field| &**field).collect();
        assert_eq!(fields, ["Ready", "3", "true", "", ""]);
        assert!(found.owners.is_empty() && !found.held && !found.deleting);
        assert!(scan(b"{\"metadata\":{}}", &[], &mut |text| text.into()).is_err());
        assert!(scan(b"[]", &[], &mut |text| text.into()).is_err());
    }

    #[test]
    fn finds_owners_finalizers_and_deletion() {
        let body = br#"{"metadata":{"uid":"u-1","deletionTimestamp":"2026-11-01T00:00:00Z",
            "finalizers":["orphan"],"ownerReferences":[{"kind":"Site","uid":"a"},{"uid":"b"}]}}"#;
        let found = scan(body, &[], &mut |text| text.into()).unwrap();
        assert_eq!(found.owners.iter().map(|uid| &**uid).collect::<Vec<_>>(), ["a", "b"]);
        assert!(found.held && found.deleting);
        let none = br#"{"metadata":{"uid":"u-1","deletionTimestamp":null,"finalizers":[]}}"#;
        let found = scan(none, &[], &mut |text| text.into()).unwrap();
        assert!(found.owners.is_empty() && !found.held && !found.deleting);
    }

    #[test]
    fn what_is_not_an_object_is_refused_where_it_breaks() {
        let whole = br#"{"metadata":{"uid":"u","labels":{"a":"b"}},"spec":{"a":[1,{"b":"c"}]}}"#;
        let scan = |body: &[u8]| scan(body, &["spec.a"], &mut |text| text.into());
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
            "[a-z\"\\\\\\n\\[\\]{}:,é ]{0,12}".prop_map(Value::from),
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
        fn agrees_with_a_full_decode(spec in json(), status in json(), pretty in any::<bool>()) {
            let value = json!({"metadata": {"uid": "u"}, "a": spec, "b": status});
            let paths = ["a", "a.b", "a.a.b", "a.c", "b.a", "b.b.b.b", "b", "c"];
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let found = scan(text.as_bytes(), &paths, &mut |text| text.into()).unwrap();
            for (path, field) in paths.iter().zip(&found.fields) {
                let there = path.split('.').try_fold(&value, |at, name| at.get(name));
                let wanted = match there {
                    Some(Value::String(text)) => text.clone(),
                    Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                    _ => String::new(),
                };
                prop_assert_eq!(&**field, wanted, "{} of {}", path, text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "[\\[\\]{}\":,a1 \\\\]{0,60}") {
            let _ = scan(bytes.as_bytes(), &["a", "a.a"], &mut |text| text.into());
        }
    }
}
