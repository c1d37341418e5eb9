//! OpenAPI v3 of one group and version. kubectl explains, validates and completes by it. Pure.
//! Source: OpenAPI 3.0.3; Kubernetes "OpenAPI V3".

use super::path;
use crate::{
    change::ChangeType,
    core_view::View,
    definitions,
    scale::{self, PATCHES},
};
use quarterdeck_model::{KindRef, ObjectMeta, schema};
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The document of one group and version.
pub(super) fn document(group: &str, version: &str, kinds: &[KindRef]) -> Value {
    let mut schemas = shared();
    let mut paths = Map::new();
    if kinds.iter().any(|kind| kind.scale.is_some()) {
        schemas.insert(SCALE.to_owned(), scale_schema());
    }
    for kind in kinds {
        let name = schema_name(kind);
        schemas.insert(name.clone(), kind_schema(kind));
        schemas.insert(format!("{name}List"), list_schema(kind, &name));
        Paths { kind, name: &name, paths: &mut paths }.add();
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Quarterdeck", "version": format!("{group}/{version}")},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// What all kinds refer to, named as Kubernetes names it.
fn shared() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let list_meta = json!({
        "type": "object",
        "description": "ListMeta describes metadata that synthetic resources must have.",
        "properties": {
            "continue": text(),
            "remainingItemCount": {"type": "integer", "format": "int64"},
            "resourceVersion": text(),
        },
    });
    let status = json!({
        "type": "object",
        "description": "Status is a return value for calls that don't return other objects.",
        "properties": {
            "apiVersion": text(),
            "kind": text(),
            "code": {"type": "integer", "format": "int32"},
            "message": text(),
            "reason": text(),
            "status": text(),
            "details": {"type": "object", schema::PRESERVE: true},
            "metadata": reference(LIST_META),
        },
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Status"}],
    });
    let patch = json!({
        "type": "object",
        "description": "Patch says how an object is to be changed, as its content type says.",
    });
    let delete_options = json!({
        "type": "object",
        "description": "DeleteOptions says how an object is to be deleted.",
        "properties": {
            "apiVersion": text(),
            "kind": text(),
            "dryRun": {"type": "array", "items": text()},
            "gracePeriodSeconds": {"type": "integer", "format": "int64"},
            "orphanDependents": {"type": "boolean"},
            "propagationPolicy": text(),
            "preconditions": {
                "type": "object",
                "properties": {"resourceVersion": text(), "uid": text()},
            },
        },
    });
    [
        (META, object_meta()),
        (LIST_META, list_meta),
        (STATUS, status),
        (PATCH, patch),
        (DELETE_OPTIONS, delete_options),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}

/// Metadata, with how its lists are merged: clients make strategic merge patches by that.
fn object_meta() -> Value {
    let mut meta = schema::of_type::<ObjectMeta>();
    set(
        &mut meta,
        "description",
        "ObjectMeta is metadata that all persisted resources must have.".into(),
    );
    for (field, key) in [("ownerReferences", Some("uid")), ("finalizers", None)] {
        let Some(list) = meta.pointer_mut(&format!("/properties/{field}")) else { continue };
        set(list, "x-kubernetes-patch-strategy", "merge".into());
        set(list, "x-kubernetes-list-type", if key.is_some() { "map" } else { "set" }.into());
        if let Some(key) = key {
            set(list, "x-kubernetes-patch-merge-key", key.into());
            set(list, "x-kubernetes-list-map-keys", json!([key]));
        }
    }
    meta
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
    // As Kubernetes names its own.
    if kind == definitions::kind() {
        let package = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions";
        return format!("{package}.{}.{}", kind.version, kind.kind);
    }
    let mut parts: Vec<&str> = kind.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), kind.version, kind.kind)
}

fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}], "default": {}})
}

fn scale_gvk() -> Value {
    let (group, version, kind) = scale::SCALE;
    json!({"group": group, "version": version, "kind": kind})
}

/// How many of something an object wants and has.
fn scale_schema() -> Value {
    let text = || json!({"type": "string"});
    let count = || json!({"type": "integer", "format": "int32"});
    json!({
        "type": "object",
        "description": "Scale is how many of something an object wants and has.",
        "properties": {
            "apiVersion": text(),
            "kind": text(),
            "metadata": reference(META),
            "spec": {"type": "object", "properties": {"replicas": count()}},
            "status": {
                "type": "object",
                "properties": {"replicas": count(), "selector": text()},
                "required": ["replicas"],
            },
        },
        "x-kubernetes-group-version-kind": [scale_gvk()],
    })
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
            "items": {
                "type": "array",
                "items": {"$ref": format!("#/components/schemas/{name}")},
            },
        },
        "x-kubernetes-group-version-kind": [
            {"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)},
        ],
    })
}

fn parameter(name: &str, place: &str, kind: &str, description: &str) -> Value {
    json!({
        "name": name, "in": place, "description": description, "required": place == "path",
        "schema": {"type": kind},
    })
}

/// Query parameters by what is done.
fn parameters(action: &str) -> Vec<Value> {
    const LIST: &[(&str, &str, &str)] = &[
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
    ];
    const WRITE: &[(&str, &str, &str)] = &[
        ("dryRun", "string", "All: check everything, write nothing."),
        ("fieldManager", "string", "Who writes."),
        ("fieldValidation", "string", "Ignore, Warn or Strict: what unknown fields do."),
    ];
    const APPLY: &[(&str, &str, &str)] =
        &[("force", "boolean", "Take fields that others manage; for an apply only.")];
    const DELETE: &[(&str, &str, &str)] = &[
        ("dryRun", "string", "All: check everything, write nothing."),
        ("gracePeriodSeconds", "integer", "Accepted; nothing here is given time to end."),
        ("orphanDependents", "boolean", "Older than propagationPolicy: whether dependents stay."),
        (
            "propagationPolicy",
            "string",
            "Orphan, Background or Foreground: what becomes of dependents.",
        ),
    ];
    const SELECT: &[(&str, &str, &str)] = &[
        ("fieldSelector", "string", "Select by fields."),
        ("labelSelector", "string", "Select by labels."),
    ];
    let groups: &[&[(&str, &str, &str)]] = match action {
        "list" => &[LIST],
        "post" | "put" => &[WRITE],
        "patch" => &[WRITE, APPLY],
        "delete" => &[DELETE],
        "deletecollection" => &[DELETE, SELECT],
        _ => &[],
    };
    groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|(name, of, text)| parameter(name, "query", of, text))
        .collect()
}

/// One kind's endpoints, as they are written into the document.
struct Paths<'a> {
    kind: KindRef,
    /// The kind's schema.
    name: &'a str,
    paths: &'a mut Map<String, Value>,
}

impl Paths<'_> {
    fn operation(&self, action: &str, answer: &str, place: &str) -> Value {
        let kind = self.kind;
        let verb = match action {
            "post" => "create",
            "get" => "read",
            "put" => "replace",
            "deletecollection" => "deleteCollectionOf",
            other => other,
        };
        let group: String = kind.group.split('.').next().map(capital).unwrap_or_default();
        let content = |schema: &str, types: &[&str]| -> Value {
            let schema = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}});
            types
                .iter()
                .map(|media| ((*media).to_owned(), schema.clone()))
                .collect::<Map<_, _>>()
                .into()
        };
        let mut operation = json!({
            "tags": [kind.api_version()],
            "description": format!("{verb} {}", kind.plural),
            "operationId": format!("{verb}{group}{}{}{place}", capital(kind.version), kind.kind),
            "parameters": parameters(action),
            "responses": {"200": {
                "description": "OK",
                "content": content(answer, &["application/json"]),
            }},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(kind),
        });
        let body = match action {
            "post" | "put" => Some(content(self.name, &["application/json", "application/yaml"])),
            "patch" => Some(content(PATCH, ChangeType::accepted(kind))),
            "delete" | "deletecollection" => Some(content(DELETE_OPTIONS, &["application/json"])),
            _ => None,
        };
        if let Some(content) = body {
            set(&mut operation, "requestBody", json!({"content": content}));
        }
        operation
    }

    fn add(&mut self) {
        let kind = self.kind;
        let root = format!("/{}", path(kind.group, kind.version));
        let list = format!("{}List", self.name);
        let mut place = Vec::new();
        let collection = if kind.namespaced() {
            let everywhere = json!({"get": self.operation("list", &list, "ForAllNamespaces")});
            self.paths.insert(format!("{root}/{}", kind.plural), everywhere);
            place.push(parameter("namespace", "path", "string", "Namespace of the object."));
            format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
        } else {
            format!("{root}/{}", kind.plural)
        };
        if kind == definitions::kind() || View::of(kind).is_some() {
            let get = self.operation("list", &list, "");
            self.paths.insert(collection.clone(), json!({"get": get, "parameters": place}));
            place.push(parameter("name", "path", "string", "Name of the object."));
            let object = json!({"get": self.operation("get", self.name, ""), "parameters": place});
            self.paths.insert(format!("{collection}/{{name}}"), object);
            return;
        }
        let collected = json!({
            "get": self.operation("list", &list, ""),
            "post": self.operation("post", self.name, ""),
            "delete": self.operation("deletecollection", STATUS, ""),
            "parameters": place,
        });
        self.paths.insert(collection.clone(), collected);
        place.push(parameter("name", "path", "string", "Name of the object."));
        let object = json!({
            "get": self.operation("get", self.name, ""),
            "put": self.operation("put", self.name, ""),
            "patch": self.operation("patch", self.name, ""),
            "delete": self.operation("delete", STATUS, ""),
            "parameters": place,
        });
        self.paths.insert(format!("{collection}/{{name}}"), object);
        if kind.has_status {
            let status = json!({
                "get": self.operation("get", self.name, "Status"),
                "put": self.operation("put", self.name, "Status"),
                "patch": self.operation("patch", self.name, "Status"),
                "parameters": place,
            });
            self.paths.insert(format!("{collection}/{{name}}/status"), status);
        }
        if kind.scale.is_some() {
            let path = format!("{collection}/{{name}}/scale");
            let scale = Paths { kind, name: SCALE, paths: self.paths };
            let operations = ["get", "put", "patch"].map(|action| {
                let mut operation = scale.operation(action, SCALE, "Scale");
                set(&mut operation, "x-kubernetes-group-version-kind", scale_gvk());
                let content = operation.pointer_mut("/requestBody/content");
                if let Some(content) = content.and_then(Value::as_object_mut) {
                    content.retain(|media, _| action != "patch" || PATCHES.contains(&&**media));
                }
                (action.to_owned(), operation)
            });
            let mut operations: Map<String, Value> = operations.into_iter().collect();
            operations.insert("parameters".into(), place.into());
            self.paths.insert(path, operations.into());
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
