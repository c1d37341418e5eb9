//! OpenAPI of what this server serves, from the kinds' schemas: version 3 by group, and all of it as
//! version 2, which older clients and some newer ones for lists and unknown kinds still ask for.
//! It must not know requests; a document never changes while the process lives.
//! Sources: Kubernetes "OpenAPI V3" and "OpenAPI V2", k8s.io/kube-openapi's extensions.

mod gnostic;
mod v2;
mod v3;

use crate::{
    answer::{self, Answer},
    discovery::group_versions,
    negotiate::{self, OpenapiForm},
    status::ApiError,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::OnceLock};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// As kube-apiserver answers; clients ask for it as `…spec.v2@v1.0+protobuf`.
const PROTOBUF: HeaderValue =
    HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");

struct Document {
    body: Bytes,
    hash: String,
}

impl Document {
    fn of(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let hash = Sha256::digest(&body).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { body, hash }
    }
}

/// Version 3 by path below `/openapi/v3/`, made on first use.
fn documents() -> &'static BTreeMap<String, Document> {
    static DOCUMENTS: OnceLock<BTreeMap<String, Document>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        each().map(|(path, document)| (path, Document::of(document.to_string()))).collect()
    })
}

fn each() -> impl Iterator<Item = (String, Value)> {
    group_versions().into_iter().filter(|group| !group.kinds.is_empty()).map(|group| {
        let document = v3::document(group.group, group.version, &group.kinds);
        (path(group.group, group.version), document)
    })
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`: where each document is; its hash in the URL lets clients keep it.
pub(crate) fn index() -> Value {
    let paths: Map<String, Value> = documents()
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// `/openapi/v3/…`: one document. Asked for by its hash, it may be kept for good.
pub(crate) fn group(
    group: &str,
    version: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    let document = documents().get(&path(group, version)).ok_or_else(ApiError::no_such_path)?;
    let mut asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let by_hash = asked.any(|(name, value)| name == "hash" && *value == document.hash);
    let mut answer = cached(document, JSON, headers);
    if by_hash {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        answer.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    Ok(answer)
}

/// `/openapi/v2`: everything, as JSON or as the protobuf that client-go asks for.
pub(crate) fn all(headers: &HeaderMap) -> Result<Answer, ApiError> {
    static ALL: OnceLock<(Document, Document)> = OnceLock::new();
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = negotiate::openapi_v2(accept.unwrap_or_default());
    let form = form.ok_or_else(ApiError::not_acceptable)?;
    let (text, binary) = ALL.get_or_init(|| {
        let document = v2::document(each().map(|(_, document)| document));
        (Document::of(document.to_string()), Document::of(gnostic::encode(&document)))
    });
    let mut answer = match form {
        OpenapiForm::Json => cached(text, JSON, headers),
        OpenapiForm::Protobuf => cached(binary, PROTOBUF, headers),
    };
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

/// The document, or that the client's copy of it is still good (RFC 9110 §13.1.2).
fn cached(document: &Document, media: HeaderValue, headers: &HeaderMap) -> Answer {
    let tag = format!("\"{}\"", document.hash);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
        tags.map(|tag| tag.trim_start_matches("W/")).any(|known| known == "*" || known == tag)
    });
    let mut answer = if known {
        answer::of(http::StatusCode::NOT_MODIFIED, media, Bytes::new())
    } else {
        answer::of(http::StatusCode::OK, media, document.body.clone())
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenAPI 3.0.3: operation ids are unique, and every part of a path in braces is a parameter.
    #[test]
    fn operations_are_told_apart() {
        for (path, document) in documents() {
            let document: Value = serde_json::from_slice(&document.body).unwrap();
            let mut ids = std::collections::BTreeSet::new();
            for (url, item) in document["paths"].as_object().unwrap() {
                let braced = url.matches('{').count();
                let given = item.get("parameters").map_or(0, |list| list.as_array().unwrap().len());
                assert_eq!(braced, given, "{path}: {url}");
                for (method, operation) in item.as_object().unwrap() {
                    if method != "parameters" {
                        let id = operation["operationId"].as_str().unwrap();
                        assert!(ids.insert(id.to_owned()), "{path}: {id} stands twice");
                    }
                }
            }
        }
    }

    #[test]
    fn every_reference_resolves() {
        for (path, document) in documents() {
            let document: Value = serde_json::from_slice(&document.body).unwrap();
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let text = document.to_string();
            for part in text.split("#/components/schemas/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(schemas.contains_key(name), "{path}: {name}");
            }
        }
    }
}
