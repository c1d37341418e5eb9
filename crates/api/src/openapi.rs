//! OpenAPI v3 of what this server serves, from the kinds' schemas. kubectl explains, validates
//! and completes by it.
//! Source: Kubernetes "OpenAPI V3", k8s.io/kube-openapi's extensions.

use crate::discovery::group_versions;
use quarterdeck_model::{KindRef, ObjectMeta, schema};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::OnceLock};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

struct Document {
    body: String,
    hash: String,
}

/// Documents by path below `/openapi/v3/`, made on first use.
fn documents() -> &'static BTreeMap<String, Document> {
    static DOCUMENTS: OnceLock<BTreeMap<String, Document>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        group_versions()
            .iter()
            .filter(|group| !group.kinds.is_empty())
            .map(|group| {
                let body = document(group.group, group.version, &group.kinds).to_string();
                let digest = Sha256::digest(body.as_bytes());
                let hash = digest.iter().map(|byte| format!("{byte:02X}")).collect();
                (path(group.group, group.version), Document { body, hash })
            })
            .collect()
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

/// One document and its hash.
pub(crate) fn get(group: &str, version: &str) -> Option<(&'static str, &'static str)> {
    let document = documents().get(&path(group, version))?;
    Some((&document.body, &document.hash))
}

fn document(group: &str, version: &str, kinds: &[KindRef]) -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    let mut meta = schema::of_type::<ObjectMeta>();
    set(
        &mut meta,
        "description",
        "ObjectMeta is metadata that all persisted resources must have.".into(),
    );
    schemas.insert(META.into(), meta);
    schemas.insert(
        LIST_META.into(),
        json!({
            "type": "object",
            "description": "ListMeta describes metadata that synthetic resources must have.",
            "properties": {
                "continue": {"type": "string"},
                "remainingItemCount": {"type": "integer", "format": "int64"},
                "resourceVersion": {"type": "string"},
            },
        }),
    );
    schemas.insert(
        STATUS.into(),
        json!({
            "type": "object",
            "description": "Status is a return value for calls that don't return other objects.",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "code": {"type": "integer", "format": "int32"},
                "message": {"type": "string"},
                "reason": {"type": "string"},
                "status": {"type": "string"},
                "details": {"type": "object", schema::PRESERVE: true},
                "metadata": reference(LIST_META),
            },
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Status"}],
        }),
    );
    for kind in kinds {
        let name = schema_name(kind);
        schemas.insert(name.clone(), kind_schema(kind));
        schemas.insert(format!("{name}List"), list_schema(kind, &name));
        add_paths(&mut paths, kind, &name);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Quarterdeck", "version": format!("{group}/{version}")},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn set(schema: &mut Value, name: &str, value: Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(name.into(), value);
    }
}

/// `dev.quarterdeck.inventory.v1alpha1.Server`, `io.k8s.api.core.v1.Secret`: the group reversed.
fn schema_name(kind: KindRef) -> String {
    if kind.group.is_empty() {
        return format!("io.k8s.api.core.{}.{}", kind.version, kind.kind);
    }
    let mut parts: Vec<&str> = kind.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), kind.version, kind.kind)
}

fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}], "default": {}})
}

fn gvk(kind: KindRef) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn kind_schema(kind: KindRef) -> Value {
    let mut schema = (kind.schema)().clone();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let mut meta = reference(META);
        set(&mut meta, "description", "Standard object's metadata.".into());
        properties.insert("metadata".into(), meta);
    }
    set(&mut schema, "x-kubernetes-group-version-kind", json!([gvk(kind)]));
    schema
}

fn list_schema(kind: KindRef, name: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("{}List is a list of {}.", kind.kind, kind.plural),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": reference(LIST_META),
            "items": {"type": "array", "items": reference(name)},
        },
        "x-kubernetes-group-version-kind": [
            {"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)},
        ],
    })
}

fn parameter(name: &str, place: &str, kind: &str, description: &str) -> Value {
    json!({
        "name": name, "in": place, "description": description, "required": place == "path",
        "schema": {"type": kind, "uniqueItems": true},
    })
}

fn operation(kind: KindRef, action: &str, answer: &str, body: Option<(&str, &[&str])>) -> Value {
    let mut parameters = vec![parameter("pretty", "query", "string", "Indent the answer.")];
    if action == "list" {
        for (name, of, text) in [
            ("allowWatchBookmarks", "boolean", "Send bookmarks during a watch."),
            ("continue", "string", "Where the last page ended."),
            ("fieldSelector", "string", "Select by fields."),
            ("labelSelector", "string", "Select by labels."),
            ("limit", "integer", "Most items in one answer."),
            ("resourceVersion", "string", "How old the answer may be."),
            ("resourceVersionMatch", "string", "How resourceVersion is meant."),
            ("sendInitialEvents", "boolean", "Begin a watch with what there is."),
            ("timeoutSeconds", "integer", "End the answer after that long."),
            ("watch", "boolean", "Stream changes."),
        ] {
            parameters.push(parameter(name, "query", of, text));
        }
    }
    if body.is_some() && action != "delete" {
        for (name, text) in [
            ("dryRun", "All: check everything, write nothing."),
            ("fieldManager", "Who writes."),
            ("fieldValidation", "Ignore, Warn or Strict: what unknown fields do."),
        ] {
            parameters.push(parameter(name, "query", "string", text));
        }
    }
    if action == "delete" {
        parameters.push(parameter("dryRun", "query", "string", "All: write nothing."));
        parameters.push(parameter(
            "propagationPolicy",
            "query",
            "string",
            "Orphan, Background or Foreground: what becomes of dependents.",
        ));
    }
    let mut operation = json!({
        "tags": [kind.group],
        "description": format!("{action} {}", kind.plural),
        "operationId": format!("{action}{}{}", kind.kind, kind.group.replace('.', "")),
        "parameters": parameters,
        "responses": {"200": {
            "description": "OK",
            "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{answer}")}}},
        }},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    });
    if let Some((name, types)) = body {
        let content: Map<String, Value> = types
            .iter()
            .map(|media| {
                let schema = json!({"$ref": format!("#/components/schemas/{name}")});
                ((*media).into(), json!({"schema": schema}))
            })
            .collect();
        set(&mut operation, "requestBody", json!({"content": content}));
    }
    operation
}

fn add_paths(paths: &mut Map<String, Value>, kind: KindRef, name: &str) {
    let root = format!("/{}", path(kind.group, kind.version));
    let list = format!("{name}List");
    let json_only: &[&str] = &["application/json"];
    let patch_types: &[&str] = if kind.group.is_empty() {
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ]
    } else {
        &["application/json-patch+json", "application/merge-patch+json"]
    };
    let mut place = Vec::new();
    let collection = if kind.namespaced() {
        paths.insert(
            format!("{root}/{}", kind.plural),
            json!({"get": operation(kind, "list", &list, None)}),
        );
        place.push(parameter("namespace", "path", "string", "Namespace of the object."));
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    };
    paths.insert(
        collection.clone(),
        json!({
            "get": operation(kind, "list", &list, None),
            "post": operation(kind, "post", name, Some((name, json_only))),
            "parameters": place,
        }),
    );
    place.push(parameter("name", "path", "string", "Name of the object."));
    let patch_body = Some(("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", patch_types));
    let mut object = json!({
        "get": operation(kind, "get", name, None),
        "put": operation(kind, "put", name, Some((name, json_only))),
        "patch": operation(kind, "patch", name, patch_body),
        "delete": operation(kind, "delete", STATUS, None),
        "parameters": place,
    });
    paths.insert(format!("{collection}/{{name}}"), object.clone());
    if kind.has_status {
        if let Some(object) = object.as_object_mut() {
            object.remove("delete");
        }
        paths.insert(format!("{collection}/{{name}}/status"), object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_resolves() {
        for (path, document) in documents() {
            let document: Value = serde_json::from_str(&document.body).unwrap();
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let text = document.to_string();
            for part in text.split("#/components/schemas/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(schemas.contains_key(name), "{path}: {name}");
            }
        }
    }
}
