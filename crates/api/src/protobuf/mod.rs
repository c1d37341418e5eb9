//! The kinds that clients built on client-go send as protobuf, read into the same JSON as all else. Answers are never written so: every such client accepts JSON too. Pure.
//! Source: Kubernetes API concepts, "Kubernetes Protobuf encoding", and the `generated.proto` of
//! k8s.io/api and k8s.io/apimachinery, whose field numbers these are.

mod core;
mod meta;
mod rbac;
mod review;

use crate::status::ApiError;
use prost::Message;
use quarterdeck_store::BODY_BYTES_MAX;
use serde_json::{Map, Value, json};

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

/// Reads a body into the JSON it means.
pub(crate) fn read(body: &[u8]) -> Result<Value, ApiError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized, it is not Kubernetes protobuf: {why}"
        ))
    };
    // Two bytes can be a whole message, so what is read may be much larger than what was sent: no more
    // is taken than an object may have.
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::too_large(BODY_BYTES_MAX));
    }
    let body = body.strip_prefix(MAGIC).ok_or_else(|| refuse(&"it does not begin with k8s\\0"))?;
    let envelope = Envelope::decode(body).map_err(|error| refuse(&error))?;
    let said = envelope.type_meta.unwrap_or_default();
    let raw = envelope.raw.as_slice();
    let mut object = match (said.api_version.as_str(), said.kind.as_str()) {
        // Options are of the group they are sent to.
        (_, "DeleteOptions") => meta::DeleteOptions::decode(raw).map(meta::DeleteOptions::value),
        ("v1", "Namespace") => core::Namespace::decode(raw).map(core::Namespace::value),
        ("v1", "Secret") => core::Secret::decode(raw).map(core::Secret::value),
        ("v1", "Event") => core::Event::decode(raw).map(core::Event::value),
        ("v1", "ServiceAccount") => {
            core::ServiceAccount::decode(raw).map(core::ServiceAccount::value)
        }
        ("v1", "ResourceQuota") => core::ResourceQuota::decode(raw).map(core::ResourceQuota::value),
        ("rbac.authorization.k8s.io/v1", "Role" | "ClusterRole") => {
            rbac::Role::decode(raw).map(rbac::Role::value)
        }
        ("rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding") => {
            rbac::Binding::decode(raw).map(rbac::Binding::value)
        }
        (
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview",
        ) => review::AccessReview::decode(raw).map(review::AccessReview::value),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => {
            review::RulesReview::decode(raw).map(review::RulesReview::value)
        }
        ("authentication.k8s.io/v1", "TokenRequest") => {
            review::TokenRequest::decode(raw).map(review::TokenRequest::value)
        }
        ("authentication.k8s.io/v1", "TokenReview") => {
            review::TokenReview::decode(raw).map(review::TokenReview::value)
        }
        ("authentication.k8s.io/v1", "SelfSubjectReview") => Ok(json!({})),
        (version, kind) => {
            return Err(ApiError::bad_request(format!(
                "{version}, Kind={kind} is not read as protobuf here; send it as application/json"
            )));
        }
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

#[cfg(test)]
mod tests {
    use super::{
        core::Secret,
        meta::{ObjectMeta, OwnerReference},
        *,
    };
    use std::collections::BTreeMap;

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
