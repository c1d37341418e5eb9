//! OpenAPI v2 (Swagger 2.0) of everything, rewritten from the documents of version 3, so that the two
//! never disagree. Pure.
//! Source: OpenAPI 2.0; Kubernetes "OpenAPI V2".

use quarterdeck_model::schema::DEPTH_MAX;
use serde_json::{Map, Value, json};

/// What the methods of a path are called; all else that a path has is shared by them.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// One document of all `documents`.
pub(super) fn document(documents: impl Iterator<Item = Value>) -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    for mut document in documents {
        if let Some(Value::Object(found)) = document.get_mut("paths").map(Value::take) {
            paths.extend(found.into_iter().map(|(path, item)| (path, path_item(item))));
        }
        let schemas = document.pointer_mut("/components/schemas").map(Value::take);
        if let Some(Value::Object(found)) = schemas {
            definitions.extend(found);
        }
    }
    for definition in definitions.values_mut() {
        rewrite(definition, 0);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Quarterdeck", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "definitions": definitions,
    })
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    item.into_iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
                "parameters" => parameters(value).into(),
                method if METHODS.contains(&method) => operation(value),
                _ => value,
            };
            (name, value)
        })
        .collect::<Map<_, _>>()
        .into()
}

/// A parameter says its type itself, not in a schema.
fn parameters(list: Value) -> Vec<Value> {
    let Value::Array(list) = list else { return Vec::new() };
    list.into_iter()
        .map(|mut parameter| {
            if let Some(fields) = parameter.as_object_mut()
                && let Some(Value::Object(schema)) = fields.remove("schema")
            {
                fields.extend(schema);
            }
            parameter
        })
        .collect()
}

/// Bodies are parameters, and their media types stand beside them.
fn operation(mut operation: Value) -> Value {
    let mut list = parameters(operation.get_mut("parameters").map(Value::take).unwrap_or_default());
    let (produces, answer) = content(operation.pointer_mut("/responses/200"));
    let (consumes, body) = content(operation.get_mut("requestBody"));
    let Some(fields) = operation.as_object_mut() else { return operation };
    fields.remove("requestBody");
    let action = fields.get("x-kubernetes-action").and_then(Value::as_str).unwrap_or_default();
    if let Some(schema) = body {
        let required = !action.starts_with("delete");
        list.push(json!({"name": "body", "in": "body", "required": required, "schema": schema}));
        fields.insert("consumes".into(), consumes.into());
    }
    fields.insert("parameters".into(), list.into());
    fields.insert("produces".into(), produces.into());
    fields.insert("schemes".into(), json!(["https"]));
    if let Some(schema) = answer {
        fields.insert("responses".into(), json!({"200": {"description": "OK", "schema": schema}}));
    }
    operation
}

/// The media types of a body or an answer, and its schema, which is the same in each of them.
fn content(of: Option<&mut Value>) -> (Vec<String>, Option<Value>) {
    let Some(Value::Object(content)) = of.and_then(|of| of.get_mut("content")).map(Value::take)
    else {
        return (Vec::new(), None);
    };
    let media = content.keys().cloned().collect();
    let schema = content.into_values().next().and_then(|mut one| {
        let mut schema = one.get_mut("schema")?.take();
        rewrite(&mut schema, 0);
        Some(schema)
    });
    (media, schema)
}

/// Points references to where definitions are in this version. A reference has a description beside
/// it here, where version 3 needs `allOf` around it.
fn rewrite(schema: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, depth + 1)),
        Value::Object(fields) => {
            if let Some(Value::Array(all)) = fields.get_mut("allOf")
                && let [Value::Object(only)] = all.as_mut_slice()
                && only.contains_key("$ref")
            {
                let only = std::mem::take(only);
                fields.remove("allOf");
                fields.remove("default");
                fields.extend(only);
            }
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/definitions/");
            }
            fields.values_mut().for_each(|field| rewrite(field, depth + 1));
        }
        _ => {}
    }
}
