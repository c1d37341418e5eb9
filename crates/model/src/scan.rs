//! One pass over an object's JSON that takes out only what is looked up: uid, labels, owners,
//! whether it is held or on its way out, and indexed fields. Everything else is skipped without being built, since a million objects are scanned at
//! each start.

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

/// What was found.
pub(crate) struct Found {
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Box<[(Arc<str>, Arc<str>)]>,
    pub(crate) owners: Box<[Arc<str>]>,
    pub(crate) held: bool,
    pub(crate) deleting: bool,
    pub(crate) fields: Box<[Arc<str>]>,
}

/// Scans `body` for its metadata and the dotted `paths`.
pub(crate) fn scan(
    body: &[u8],
    paths: &[&str],
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Result<Found, serde_json::Error> {
    let mut wanted = Vec::with_capacity(paths.len());
    wanted.extend(paths.iter().copied().enumerate());
    let mut collect = Collect {
        intern,
        uid: None,
        labels: Box::default(),
        owners: Box::default(),
        held: false,
        deleting: false,
        fields: vec![None; paths.len()],
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    Level { wanted: &wanted, top: true, collect: &mut collect }.deserialize(&mut reader)?;
    reader.end()?;
    let uid = collect.uid.ok_or_else(|| serde_json::Error::custom("it has no metadata.uid"))?;
    let empty = (collect.intern)("");
    let fields = collect.fields.into_iter().map(|field| field.unwrap_or_else(|| empty.clone()));
    Ok(Found {
        uid,
        labels: collect.labels,
        owners: collect.owners,
        held: collect.held,
        deleting: collect.deleting,
        fields: fields.collect(),
    })
}

struct Collect<'c> {
    intern: &'c mut dyn FnMut(&str) -> Arc<str>,
    uid: Option<Arc<str>>,
    labels: Box<[(Arc<str>, Arc<str>)]>,
    owners: Box<[Arc<str>]>,
    held: bool,
    deleting: bool,
    fields: Vec<Option<Arc<str>>>,
}

/// One object on the way down: which of the wanted paths pass here, cut to what is left of them.
struct Level<'l, 'c> {
    wanted: &'l [(usize, &'l str)],
    top: bool,
    collect: &'l mut Collect<'c>,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_, '_> {
    /// A path ends here: this is its value.
    fn leaf(&mut self, text: &str) {
        for (at, rest) in self.wanted {
            if rest.is_empty()
                && let Some(field) = self.collect.fields.get_mut(*at)
            {
                *field = Some((self.collect.intern)(text));
            }
        }
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.leaf(text);
        Ok(())
    }
    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.leaf(if value { "true" } else { "false" });
        Ok(())
    }
    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.leaf(&value.to_string());
        Ok(())
    }
    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.leaf(&value.to_string());
        Ok(())
    }
    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.leaf(&value.to_string());
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if self.top && name == "metadata" {
                map.next_value_seed(Metadata { collect: self.collect })?;
                continue;
            }
            let deeper: Vec<(usize, &str)> = self
                .wanted
                .iter()
                .filter_map(|(at, path)| {
                    let rest = path.strip_prefix(name.as_ref())?;
                    if rest.is_empty() {
                        Some((*at, rest))
                    } else {
                        Some((*at, rest.strip_prefix('.')?))
                    }
                })
                .collect();
            if deeper.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Level { wanted: &deeper, top: false, collect: self.collect })?;
            }
        }
        Ok(())
    }
}

struct Metadata<'l, 'c> {
    collect: &'l mut Collect<'c>,
}

impl<'de> DeserializeSeed<'de> for Metadata<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match name.as_ref() {
                "uid" => {
                    self.collect.uid = Some(Arc::from(map.next_value::<Cow<'de, str>>()?.as_ref()))
                }
                "labels" => {
                    let labels = map.next_value::<BTreeMap<Cow<'de, str>, Cow<'de, str>>>()?;
                    self.collect.labels = labels
                        .iter()
                        .map(|(name, value)| {
                            ((self.collect.intern)(name), (self.collect.intern)(value))
                        })
                        .collect();
                }
                "ownerReferences" => {
                    let owners = map.next_value::<Vec<Owner<'de>>>()?;
                    self.collect.owners =
                        owners.iter().map(|owner| (self.collect.intern)(&owner.uid)).collect();
                }
                "finalizers" => {
                    self.collect.held = !map.next_value::<Vec<IgnoredAny>>()?.is_empty();
                }
                "deletionTimestamp" => {
                    self.collect.deleting = map.next_value::<Option<IgnoredAny>>()?.is_some();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// What is looked up of an owner reference.
#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
