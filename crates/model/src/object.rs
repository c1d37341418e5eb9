//! An object as the store, the cache and the wire hold it: its JSON, encoded once, and the few
//! facts that are looked up without reading it.
//!
//! A body in the store has no `resourceVersion`; it is spliced in when the revision is known, so
//! that one encoding serves the log, the cache and every client.

use crate::found::{Found, Span};
use crate::kind::{Kind, KindInfo, KindRef};
use crate::scan::scan;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::{fmt, io::Write as _, sync::Arc};

/// A place in the store's one dense, strictly increasing order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of one object in time: 128 random bits, written as a UUID.
pub type Uid = Arc<str>;

/// Where an object lives: kind, namespace (empty when cluster-scoped) and name.
///
/// `kind` is the resource's full name, `servers.inventory.quarterdeck.dev` (core kinds: `secrets`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Full resource name: plural, dot, group.
    pub kind: Arc<str>,
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of `kind`'s object `namespace`/`name`.
    pub fn new(kind: KindRef, namespace: &str, name: &str) -> Self {
        Self { kind: kind.resource_name(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {:?}", self.kind, self.name)
        } else {
            write!(f, "{} \"{}/{}\"", self.kind, self.namespace, self.name)
        }
    }
}

/// One immutable version of an object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its kind.
    pub kind: KindRef,
    /// Where it lives.
    pub key: Key,
    /// The revision that wrote this version.
    pub revision: Revision,
    /// The whole object as JSON, `resourceVersion` included.
    pub json: Bytes,
    /// Where in the JSON that is which is looked up.
    found: Found,
}

/// Why stored bytes are not an object of their kind.
#[derive(Debug, thiserror::Error)]
#[error("the stored body of {key} at revision {revision} is not an object of its kind: {cause}")]
pub struct DecodeError {
    /// Whose body.
    pub key: Key,
    /// Which version.
    pub revision: Revision,
    /// What is wrong.
    pub cause: String,
}

impl Object {
    /// Makes the object that `body` (as [`encode`] wrote it) is at `revision`.
    ///
    /// # Errors
    /// When the bytes are not such a body: the store was written by something else.
    pub fn from_body(
        kind: KindRef,
        key: Key,
        revision: Revision,
        body: &[u8],
    ) -> Result<Self, DecodeError> {
        let mut pack = Pack::new(Pack::bytes(body.len()));
        let mut object = pack.read(kind, key, revision, body)?;
        // Exactly what it takes: a million objects keep what is left over.
        pack.json.shrink_to_fit();
        object.json = pack.json.into();
        Ok(object)
    }

    /// The body as the store holds it, without `resourceVersion`.
    pub fn body(&self) -> Vec<u8> {
        let prefix = prefix(self.kind).len();
        let spliced = r#""resourceVersion":"","#.len() + self.revision.0.to_string().len();
        let mut body = Vec::with_capacity(self.json.len());
        body.extend_from_slice(self.json.get(..prefix).unwrap_or_default());
        body.extend_from_slice(self.json.get(prefix + spliced..).unwrap_or_default());
        body
    }

    /// The object as a JSON tree.
    pub fn value(&self) -> Value {
        // What is in the cache was decoded once already; null cannot be told from it by any caller.
        serde_json::from_slice(&self.json).unwrap_or(Value::Null)
    }

    /// The object as its Rust type.
    ///
    /// # Errors
    /// When the JSON does not fit the type, which means it was written by a newer release.
    pub fn decode<K: serde::de::DeserializeOwned>(&self) -> Result<K, DecodeError> {
        serde_json::from_slice(&self.json).map_err(|error| DecodeError {
            key: self.key.clone(),
            revision: self.revision,
            cause: error.to_string(),
        })
    }

    /// Its identity.
    pub fn uid(&self) -> &str {
        self.found.uid(&self.json)
    }

    /// Uids of the objects it belongs to.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.found.owners(&self.json)
    }

    /// Whether finalizers keep it.
    pub fn held(&self) -> bool {
        self.found.held()
    }

    /// Whether its deletion was asked for.
    pub fn deleting(&self) -> bool {
        self.found.deleting()
    }

    /// Name.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Namespace, empty when cluster-scoped.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// Its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.found.labels(&self.json)
    }

    /// Value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels().find(|(label, _)| *label == name).map(|(_, value)| value)
    }

    /// Values of the kind's indexed fields, in the order of `kind.indexed_fields`; empty text when absent.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.found.fields(&self.json)
    }

    /// Value of an indexed field, `metadata.name` and `metadata.namespace` included. None when the
    /// kind does not declare it.
    pub fn field(&self, path: &str) -> Option<&str> {
        match path {
            "metadata.name" => Some(&self.key.name),
            "metadata.namespace" => Some(&self.key.namespace),
            _ => {
                let at = self.kind.indexed_fields.iter().position(|field| *field == path)?;
                self.found.field(&self.json, at)
            }
        }
    }
}

/// Objects whose JSON is in one piece of memory, so that no allocator rounds each of them up. The
/// piece is free again when the last of them has changed.
#[derive(Debug, Default)]
pub struct Pack {
    json: Vec<u8>,
    /// Each with the length of its JSON, which it does not have yet.
    objects: Vec<(Object, usize)>,
    /// What a scan works in.
    spans: Vec<Span>,
}

/// What `resourceVersion` takes at most: its name and the digits of the largest revision.
const VERSION_BYTES_MAX: usize = r#""resourceVersion":"","#.len() + 20;

impl Pack {
    /// An empty one with room for that much JSON.
    pub fn new(bytes: usize) -> Self {
        Self { json: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Room that a body of that many bytes takes at most.
    pub const fn bytes(body: usize) -> usize {
        body + VERSION_BYTES_MAX
    }

    /// Whether another body of that many bytes has room.
    pub fn fits(&self, body: usize) -> bool {
        self.json.capacity() - self.json.len() >= Self::bytes(body)
    }

    /// Adds the object that [`Object::from_body`] would make.
    ///
    /// # Errors
    /// As there; what was added before stays as it is.
    pub fn add(
        &mut self,
        kind: KindRef,
        key: Key,
        revision: Revision,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let begin = self.json.len();
        let object = self.read(kind, key, revision, body)?;
        self.objects.push((object, self.json.len() - begin));
        Ok(())
    }

    /// The objects, in the order they were added.
    pub fn finish(self) -> impl Iterator<Item = Object> {
        let mut json = Bytes::from(self.json);
        self.objects.into_iter().map(move |(mut object, length)| {
            object.json = json.split_to(length);
            object
        })
    }

    /// The object without its JSON, which is put at the end of the piece.
    fn read(
        &mut self,
        kind: KindRef,
        key: Key,
        revision: Revision,
        body: &[u8],
    ) -> Result<Object, DecodeError> {
        let fail = |key: &Key, cause: String| DecodeError { key: key.clone(), revision, cause };
        let Some((prefix, rest)) = split_prefix(kind, body) else {
            return Err(fail(&key, format!("it does not begin with {}", self::prefix(kind))));
        };
        let scanned = scan(body, kind.paths(), &mut self.spans)
            .map_err(|error| fail(&key, error.to_string()))?;
        let begin = self.json.len();
        self.json.extend_from_slice(prefix);
        // Writing to memory does not fail.
        let _ = write!(self.json, "\"resourceVersion\":\"{}\",", revision.0);
        let put_in = (prefix.len(), self.json.len() - begin - prefix.len());
        let found = scanned.pack(&self.spans, put_in);
        self.json.extend_from_slice(rest);
        Ok(Object { kind, key, revision, json: Bytes::new(), found })
    }
}

/// Takes a body apart behind what [`prefix`] makes, without making it.
fn split_prefix<'b>(kind: &KindInfo, body: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
    let mut rest = body.strip_prefix(br#"{"apiVersion":""#)?;
    if !kind.group.is_empty() {
        rest = rest.strip_prefix(kind.group.as_bytes())?.strip_prefix(b"/")?;
    }
    let rest = rest
        .strip_prefix(kind.version.as_bytes())?
        .strip_prefix(br#"","kind":""#)?
        .strip_prefix(kind.kind.as_bytes())?
        .strip_prefix(br#"","metadata":{"#)?;
    body.split_at_checked(body.len() - rest.len())
}

fn prefix(kind: &KindInfo) -> String {
    format!(r#"{{"apiVersion":"{}","kind":"{}","metadata":{{"#, kind.api_version(), kind.kind)
}

/// Room for most objects, so that writing one does not move it again and again.
const USUAL_BYTES: usize = 4_096;

/// Encodes an object for the store: `apiVersion`, `kind` and `metadata` first, no
/// `resourceVersion`, then the other fields.
pub fn encode(kind: KindRef, value: &Value) -> Vec<u8> {
    let empty = Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let mut body = Vec::with_capacity(USUAL_BYTES);
    body.extend_from_slice(prefix(kind).as_bytes());
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let mut first = true;
    for (name, field) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
        push_field(&mut body, &mut first, name, field);
    }
    body.push(b'}');
    first = false;
    let rest = object
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    for (name, field) in rest {
        push_field(&mut body, &mut first, name, field);
    }
    body.push(b'}');
    body
}

/// What a prefix ends with.
const METADATA: &str = r#","metadata":{"#;

/// Encodes a typed object as [`encode`] does, without building a tree of it.
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn encode_typed<K: Kind>(value: &K) -> Result<Vec<u8>, serde_json::Error> {
    let kind = K::info();
    let mut body = Vec::with_capacity(USUAL_BYTES);
    let prefix = prefix(kind);
    body.extend_from_slice(prefix.strip_suffix(METADATA).unwrap_or_default().as_bytes());
    let begin = body.len();
    serde_json::to_writer(&mut body, value)?;
    // Types begin with their metadata; what the wire added to it must not be stored.
    match body.get_mut(begin..).and_then(<[u8]>::split_first_mut) {
        Some((brace, rest))
            if rest.starts_with(br#""metadata":{"#) && value.meta().resource_version.is_none() =>
        {
            *brace = b',';
            Ok(body)
        }
        _ => Ok(encode(kind, &serde_json::to_value(value)?)),
    }
}

fn push_field(body: &mut Vec<u8>, first: &mut bool, name: &str, field: &Value) {
    if !std::mem::take(first) {
        body.push(b',');
    }
    // Trees of JSON can always be written, and memory takes what is written to it.
    let _ = serde_json::to_writer(&mut *body, name);
    body.push(b':');
    let _ = serde_json::to_writer(&mut *body, field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Run, Site};

    #[test]
    fn what_is_packed_is_what_each_body_makes_alone() {
        let body = |number: usize| {
            let value = serde_json::json!({
                "metadata": {
                    "name": "a", "uid": format!("u{number}"), "resourceVersion": "9",
                    "labels": {"rack": format!("r{number}"), "quoted": "a \"b\" \\ é"},
                    "ownerReferences": [{"uid": "site"}],
                },
                "spec": {"region": format!("north \"{number}\"")},
            });
            encode(Site::info(), &value)
        };
        let bodies: Vec<Vec<u8>> = [1, 22, 333].map(body).into();
        let mut pack = Pack::new(bodies.iter().map(|body| Pack::bytes(body.len())).sum());
        let key = || Key::new(Site::info(), "", "a");
        for (revision, body) in [9, 10, u64::MAX].into_iter().zip(&bodies) {
            assert!(pack.fits(body.len()));
            pack.add(Site::info(), key(), Revision(revision), body).unwrap();
        }
        assert!(pack.add(Site::info(), key(), Revision(1), b"{}").is_err());
        let objects: Vec<Object> = pack.finish().collect();
        assert_eq!(objects.len(), 3);
        for ((object, body), number) in objects.iter().zip(&bodies).zip([1, 22, 333]) {
            let alone = Object::from_body(Site::info(), key(), object.revision, body).unwrap();
            assert_eq!(object.json, alone.json);
            assert_eq!(object.body(), *body);
            assert_eq!(object.value()["metadata"]["resourceVersion"], object.revision.to_string());
            for object in [object, &alone] {
                assert_eq!(object.uid(), format!("u{number}"));
                assert_eq!(object.label("rack"), Some(&*format!("r{number}")));
                assert_eq!(object.label("quoted"), Some("a \"b\" \\ é"));
                assert_eq!(object.labels().count(), 2);
                assert_eq!(object.owners().collect::<Vec<_>>(), ["site"]);
                assert_eq!(object.field("spec.region"), Some(&*format!("north \"{number}\"")));
            }
        }
    }

    #[test]
    fn typed_bodies_are_read_back_the_same() {
        let mut run = Run::default();
        run.metadata.name = "a".into();
        run.metadata.uid = "u".into();
        run.spec.runbook = "b".into();
        let read = |body: &[u8]| {
            let key = Key::new(Run::info(), "", "a");
            let object = Object::from_body(Run::info(), key, Revision(7), body);
            object.unwrap().decode::<Run>().unwrap()
        };
        let mut seen = read(&encode_typed(&run).unwrap());
        assert_eq!(seen.metadata.resource_version.as_deref(), Some("7"));
        // The version it was read at is not stored again.
        assert_eq!(read(&encode_typed(&seen).unwrap()), seen);
        seen.metadata.resource_version = None;
        assert_eq!(seen, run);
        // Nothing in the metadata at all.
        let bare = encode_typed(&Site::default()).unwrap();
        assert!(bare.starts_with(prefix(Site::info()).as_bytes()), "{bare:?}");
    }
}
