//! The few core kinds that kubectl sends as protobuf and not otherwise, read into the same JSON as
//! all else. Answers are never written so: every such client accepts JSON too. Pure.
//! Source: Kubernetes API concepts, "Kubernetes Protobuf encoding", and the `generated.proto` of
//! k8s.io/api and k8s.io/apimachinery, whose field numbers these are.

mod access;

use crate::status::ApiError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What every such body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// `runtime.Unknown`.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    generate_name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    owner_references: Vec<OwnerReference>,
    #[prost(string, repeated, tag = "14")]
    finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct OwnerReference {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
    #[prost(string, tag = "5")]
    api_version: String,
    #[prost(bool, optional, tag = "6")]
    controller: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    block_owner_deletion: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Namespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<NamespaceSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceSpec {
    #[prost(string, repeated, tag = "1")]
    finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    data: BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(btree_map = "string, string", tag = "4")]
    string_data: BTreeMap<String, String>,
    #[prost(bool, optional, tag = "5")]
    immutable: Option<bool>,
}

/// Reads a body into the JSON it means.
pub(crate) fn read(body: &[u8]) -> Result<Value, ApiError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized, it is not Kubernetes protobuf: {why}"
        ))
    };
    let body = body.strip_prefix(MAGIC).ok_or_else(|| refuse(&"it does not begin with k8s\\0"))?;
    let envelope = Envelope::decode(body).map_err(|error| refuse(&error))?;
    let said = envelope.type_meta.unwrap_or_default();
    let raw = envelope.raw.as_slice();
    let mut object = match (said.api_version.as_str(), said.kind.as_str()) {
        ("v1", "Namespace") => Namespace::decode(raw).map(Namespace::value),
        ("v1", "Secret") => Secret::decode(raw).map(Secret::value),
        ("authentication.k8s.io/v1", "SelfSubjectReview") => Ok(json!({})),
        (version, kind) => match access::read(version, kind, raw) {
            Some(read) => read,
            None => return Err(ApiError::bad_request(format!(
                "{version}, Kind={kind} is not read as protobuf here; send it as application/json"
            ))),
        },
    }
    .map_err(|error| refuse(&error))?;
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".into(), said.api_version.into());
        object.insert("kind".into(), said.kind.into());
    }
    Ok(object)
}

/// Fields that were given: protobuf does not tell an empty text from none.
fn given<const N: usize>(fields: [(&str, String); N]) -> Map<String, Value> {
    let given = fields.into_iter().filter(|(_, text)| !text.is_empty());
    given.map(|(name, text)| (name.to_owned(), text.into())).collect()
}

impl ObjectMeta {
    fn value(self) -> Value {
        let mut meta = given([
            ("name", self.name),
            ("generateName", self.generate_name),
            ("namespace", self.namespace),
            ("uid", self.uid),
            ("resourceVersion", self.resource_version),
        ]);
        let owners: Vec<Value> =
            self.owner_references.into_iter().map(OwnerReference::value).collect();
        meta.insert("labels".into(), json!(self.labels));
        meta.insert("annotations".into(), json!(self.annotations));
        meta.insert("ownerReferences".into(), owners.into());
        meta.insert("finalizers".into(), self.finalizers.into());
        meta.into()
    }
}

impl OwnerReference {
    fn value(self) -> Value {
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": self.controller,
            "blockOwnerDeletion": self.block_owner_deletion,
        })
    }
}

impl Namespace {
    fn value(self) -> Value {
        json!({
            "metadata": self.metadata.unwrap_or_default().value(),
            "spec": {"finalizers": self.spec.unwrap_or_default().finalizers},
        })
    }
}

impl Secret {
    fn value(self) -> Value {
        let data: Map<String, Value> = self
            .data
            .into_iter()
            .map(|(key, value)| (key, STANDARD.encode(value).into()))
            .collect();
        let mut secret = given([("type", self.kind)]);
        secret.insert("metadata".into(), self.metadata.unwrap_or_default().value());
        secret.insert("data".into(), data.into());
        secret.insert("stringData".into(), json!(self.string_data));
        secret.insert("immutable".into(), json!(self.immutable));
        secret.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enveloped(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
        let type_meta = Some(TypeMeta { api_version: api_version.into(), kind: kind.into() });
        let mut body = MAGIC.to_vec();
        body.extend(Envelope { type_meta, raw }.encode_to_vec());
        body
    }

    #[test]
    fn a_secret_is_read_whole() {
        let owner = OwnerReference {
            kind: "Site".into(),
            name: "ams1".into(),
            uid: "u".into(),
            api_version: "v1".into(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        let metadata = ObjectMeta {
            name: "s".into(),
            labels: [("a".into(), "b".into())].into(),
            owner_references: vec![owner],
            finalizers: vec!["x/y".into()],
            ..ObjectMeta::default()
        };
        let secret = Secret {
            metadata: Some(metadata),
            data: [("k".into(), vec![0, 255])].into(),
            kind: "Opaque".into(),
            string_data: BTreeMap::new(),
            immutable: Some(true),
        };
        assert_eq!(
            read(&enveloped("v1", "Secret", secret.encode_to_vec())).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
                "metadata": {
                    "name": "s", "labels": {"a": "b"}, "annotations": {}, "finalizers": ["x/y"],
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Site", "name": "ams1",
                        "uid": "u", "controller": true, "blockOwnerDeletion": null}],
                },
                "data": {"k": "AP8="}, "stringData": {},
            })
        );
    }

    #[test]
    fn what_is_not_read_is_refused() {
        assert_eq!(read(b"{}").unwrap_err().code, 400);
        assert_eq!(read(b"k8s\0\x0a\xff").unwrap_err().code, 400);
        let pod = read(&enveloped("v1", "Pod", Vec::new())).unwrap_err();
        assert!(pod.message.contains("v1, Kind=Pod"), "{}", pod.message);
    }
}
