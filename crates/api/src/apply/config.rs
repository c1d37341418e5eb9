//! An applied configuration, read from the body of a request and checked.

use super::{ownable::only_part, walk::Mistake};
use crate::{admission::check_depth, path::Subresource, status::ApiError, written::Written};
use quarterdeck_model::{KindRef, schema};
use serde_json::Value;

/// A configuration that can be applied, again if the object changes meanwhile.
#[derive(Debug)]
pub(crate) struct Config {
    /// The fields that count: nulls, and the part that the endpoint does not write, are left out.
    pub(crate) value: Value,
    /// All of it, as it was sent.
    pub(crate) sent: Value,
    /// What is remarked on how it is written.
    pub(crate) remarks: Vec<String>,
}

impl Config {
    /// Reads a configuration in YAML or JSON.
    pub(crate) fn read(
        kind: KindRef,
        part: Option<Subresource>,
        body: &[u8],
    ) -> Result<Self, ApiError> {
        // YAML's reader takes no key twice, however the caller wants fields checked.
        let written = match Written::from_json(body) {
            Ok(written) => written,
            Err(_) => crate::yaml::read::<Value>(body)
                .map(Written::from)
                .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?,
        };
        let remarks = written.remarks();
        let sent = written.value;
        if !sent.is_object() {
            return Err(ApiError::bad_request("error decoding YAML: it is not an object"));
        }
        let said = |field: &str| sent.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, named) = (said("apiVersion"), said("kind"));
        let group = version.split_once('/').map_or("", |(group, _)| group);
        if named != kind.kind || group != kind.group || version.is_empty() {
            let said = if version.is_empty() { "/" } else { version };
            return Err(ApiError::bad_request(format!(
                "invalid object type: {said}, Kind={named}"
            )));
        }
        if version != kind.api_version() {
            return Err(ApiError::bad_request(format!(
                "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
                kind.api_version()
            )));
        }
        if sent.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        check_depth(&sent)?;
        let mut config = Self { value: sent.clone(), sent, remarks };
        // The object and its status are applied apart: what is the other's is passed over.
        only_part(kind, part, &mut config.value);
        let unknown: Vec<Mistake> = schema::prune((kind.schema)(), &mut config.value)
            .into_iter()
            .map(|path| Mistake {
                path: format!(".{path}"),
                why: "field not declared in schema".into(),
            })
            .collect();
        if unknown.is_empty() { Ok(config) } else { Err(config.refuse(kind, &unknown)) }
    }

    /// The answer to a configuration that cannot be read as its kind.
    pub(crate) fn refuse(&self, kind: KindRef, mistakes: &[Mistake]) -> ApiError {
        let meta = |field: &str| {
            let pointer = format!("/metadata/{field}");
            self.sent.pointer(&pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all: Vec<String> =
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.why)).collect();
        let all = match all.as_slice() {
            [only] => only.clone(),
            _ => format!("errors:\n  {}", all.join("\n  ")),
        };
        ApiError::bad_request(format!(
            "failed to create typed patch object ({}/{}; {}, Kind={}): {all}",
            meta("namespace"),
            meta("name"),
            kind.api_version(),
            kind.kind
        ))
    }
}
