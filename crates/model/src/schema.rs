//! Schemas: from Rust types to structural OpenAPI v3, and checking values against them.
//!
//! The result is a structural schema as Kubernetes defines it for custom resources: no `$ref`, each
//! node with one type, so that clients explain, complete and validate by it.

use crate::{
    FieldError, FieldErrors, Kind,
    quantity::INT_OR_STRING,
    share::{self, Share},
};
use schemars::generate::SchemaSettings;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use std::{collections::HashSet, fmt::Write as _};

/// Deepest nesting of a value that is looked into.
pub const DEPTH_MAX: usize = 64;

/// Marks an object whose fields the schema does not list.
pub const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// The structural schema of a kind.
pub fn of<K: Kind>() -> Value {
    let mut schema = of_type::<K>();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), K::DESCRIPTION.into());
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(
                "apiVersion".into(),
                json!({"type": "string", "description": "Version of the schema of this object."}),
            );
            properties.insert(
                "kind".into(),
                json!({"type": "string", "description": "What this object is."}),
            );
        }
    }
    schema
}

/// The structural schema of any type.
pub fn of_type<T: schemars::JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
        schema.remove("components");
        schema.remove("definitions");
    }
    structure(&mut schema, 0);
    schema
}

/// Rewrites what the generator writes into the structural form.
fn structure(schema: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    if schema.as_bool().is_some() {
        *schema = json!({PRESERVE: true});
        return;
    }
    let Some(node) = schema.as_object_mut() else { return };
    for noise in ["nullable", "title", "$schema"] {
        node.remove(noise);
    }
    if node.get("default") == Some(&Value::Null) {
        node.remove("default");
    }
    // `const` (OpenAPI 3.0 has none) becomes an `enum` of one.
    if let Some(only) = node.remove("const") {
        node.insert("enum".into(), json!([only]));
    }
    for wrapper in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(alternatives)) = node.remove(wrapper) {
            unwrap(node, wrapper, alternatives);
        }
    }
    match node.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32" | "int8" | "int16") => {
            node.insert("format".into(), "int32".into());
        }
        Some("uint64" | "uint" | "int") => {
            node.insert("format".into(), "int64".into());
        }
        _ => {}
    }
    for child in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(child)
            && *child != Value::Bool(false)
        {
            structure(child, depth + 1);
        }
    }
    if node.get("additionalProperties") == Some(&Value::Bool(false)) {
        node.remove("additionalProperties");
    }
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            structure(property, depth + 1);
        }
    }
    let untyped = !node.contains_key("type") && !node.contains_key("enum");
    if untyped && !node.contains_key("properties") && !node.contains_key(INT_OR_STRING) {
        node.insert(PRESERVE.into(), true.into());
    }
}

/// Puts alternatives back in structural form: documented variants of an enum become one `enum`, an
/// optional or wrapped type becomes that type.
fn unwrap(node: &mut Map<String, Value>, wrapper: &str, mut alternatives: Vec<Value>) {
    let null = [json!({"enum": [null]}), json!({"type": "null"}), json!({"const": null})];
    for alternative in &mut alternatives {
        if let Some(alternative) = alternative.as_object_mut() {
            alternative.remove("nullable");
        }
    }
    alternatives.retain(|alternative| !null.contains(alternative));
    if let Some((names, notes)) = string_variants(&alternatives) {
        node.insert("type".into(), "string".into());
        node.insert("enum".into(), names.into());
        let own = node.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = if own.is_empty() || notes.is_empty() {
            format!("{own}{notes}")
        } else {
            format!("{own}\n\n{notes}")
        };
        if !text.is_empty() {
            node.insert("description".into(), text.into());
        }
    } else if let [Value::Object(only)] = alternatives.as_mut_slice() {
        let mut only = std::mem::take(only);
        for inner in ["allOf", "anyOf", "oneOf"] {
            if let Some(Value::Array(alternatives)) = only.remove(inner) {
                unwrap(&mut only, inner, alternatives);
            }
        }
        for (name, value) in only {
            node.entry(name).or_insert(value);
        }
    } else {
        node.insert(wrapper.into(), alternatives.into());
    }
}

/// Names and notes of alternatives that are all single strings.
fn string_variants(alternatives: &[Value]) -> Option<(Vec<Value>, String)> {
    let mut names = Vec::new();
    let mut notes = Vec::new();
    for alternative in alternatives {
        let values = match (alternative.get("const"), alternative.get("enum")) {
            (Some(only), _) => vec![only.clone()],
            (None, Some(Value::Array(list))) => list.clone(),
            _ => return None,
        };
        for value in values {
            let name = value.as_str()?.to_owned();
            if let Some(note) = alternative.get("description").and_then(Value::as_str) {
                notes.push(format!("{name}: {note}"));
            }
            names.push(value);
        }
    }
    (!names.is_empty()).then(|| (names, notes.join("\n")))
}

/// Everything in `value` that does not fit `schema`. Fields the schema does not know are not
/// errors here: see [`prune`].
pub fn check(schema: &Value, value: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    check_at(schema, value, &mut String::new(), 0, &mut errors);
    errors
}

fn check_at(
    schema: &Value,
    value: &Value,
    path: &mut String,
    depth: usize,
    errors: &mut FieldErrors,
) {
    if depth > DEPTH_MAX {
        errors.push(FieldError::invalid(path.as_str(), "", "nested too deeply"));
        return;
    }
    if let Some(wanted) = schema.get("type").and_then(Value::as_str)
        && !has_type(wanted, value)
    {
        errors.push(FieldError::wrong_type(path.as_str(), type_name(value), wanted));
        return;
    }
    if schema.get(INT_OR_STRING) == Some(&Value::Bool(true))
        && !(value.is_string() || has_type("integer", value))
    {
        errors.push(FieldError::wrong_type(path.as_str(), type_name(value), "integer,string"));
        return;
    }
    if schema.get("pattern").and_then(Value::as_str) == Some(share::PATTERN)
        && Share::deserialize(value).is_err()
    {
        errors.push(FieldError::invalid(path.as_str(), value, share::EXPECTED));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        errors.push(FieldError::not_supported(path.as_str(), value, &names));
        return;
    }
    match value {
        Value::String(text) => check_text(schema, text, path, errors),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if let Some(least) = schema.get("minimum").and_then(Value::as_f64)
                && number < least
            {
                errors.push(FieldError::invalid(
                    path.as_str(),
                    value,
                    format!("{path} in body should be greater than or equal to {least}"),
                ));
            }
            if let Some(most) = schema.get("maximum").and_then(Value::as_f64)
                && number > most
            {
                errors.push(FieldError::invalid(
                    path.as_str(),
                    value,
                    format!("{path} in body should be less than or equal to {most}"),
                ));
            }
        }
        Value::Array(items) => {
            check_unique(schema, items, path, errors);
            if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
                && items.len() as u64 > most
            {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                errors.push(FieldError::too_many(path.as_str(), items.len(), most));
            }
            if let Some(schema) = schema.get("items") {
                for (at, item) in items.iter().enumerate() {
                    within(path, Step::Item(at), |path| {
                        check_at(schema, item, path, depth + 1, errors);
                    });
                }
            }
        }
        Value::Object(fields) => check_object(schema, fields, path, depth, errors),
        _ => {}
    }
}

/// Items of a set, and keys of a list map, stand once. Metadata is left to its own rules: Kubernetes
/// lets its lists have duplicates.
fn check_unique(schema: &Value, items: &[Value], path: &str, errors: &mut FieldErrors) {
    let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        _ if path.starts_with("metadata") => return,
        Some("set") => Vec::new(),
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            keys.into_iter().flatten().filter_map(Value::as_str).collect()
        }
        _ => return,
    };
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let key = keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone())));
        let id = if keys.is_empty() {
            item.to_string()
        } else {
            Value::from(key.collect::<Map<_, _>>()).to_string()
        };
        if seen.contains(&id) {
            errors.push(FieldError::duplicate(format!("{path}[{at}]"), id));
        } else {
            seen.insert(id);
        }
    }
}

fn check_text(schema: &Value, text: &str, path: &str, errors: &mut FieldErrors) {
    if let Some(most) = schema.get("maxLength").and_then(Value::as_u64)
        && text.chars().count() as u64 > most
    {
        errors.push(FieldError::too_long(path, usize::try_from(most).unwrap_or(usize::MAX)));
    }
    if let Some(least) = schema.get("minLength").and_then(Value::as_u64)
        && (text.chars().count() as u64) < least
    {
        errors.push(FieldError::invalid(
            path,
            format!("{text:?}"),
            format!("{path} in body should be at least {least} chars long"),
        ));
    }
    let wrong = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => text.parse::<jiff::Timestamp>().is_err(),
        _ => false,
    };
    if wrong {
        errors.push(FieldError::invalid(path, format!("{text:?}"), "must be an RFC 3339 time"));
    }
    if schema.get("pattern").and_then(Value::as_str) == Some(crate::duration::PATTERN)
        && let Err(error) = text.parse::<crate::Duration>()
    {
        errors.push(FieldError::invalid(path, format!("{text:?}"), error));
    }
}

fn check_object(
    schema: &Value,
    fields: &Map<String, Value>,
    path: &mut String,
    depth: usize,
    errors: &mut FieldErrors,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = required.as_str()
            && !fields.contains_key(name)
        {
            within(path, Step::Field(name), |path| {
                errors.push(FieldError::required(path.as_str(), ""));
            });
        }
    }
    for (name, field) in fields {
        let schema = properties
            .and_then(|properties| properties.get(name))
            .or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()));
        if let Some(schema) = schema {
            within(path, Step::Field(name), |path| {
                check_at(schema, field, path, depth + 1, errors);
            });
        }
    }
}

/// A step from a value to one in it.
#[derive(Clone, Copy)]
enum Step<'s> {
    Field(&'s str),
    Item(usize),
}

/// Runs `inner` with `step` added to `path`.
fn within(path: &mut String, step: Step<'_>, inner: impl FnOnce(&mut String)) {
    let length = path.len();
    match step {
        Step::Field(name) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        // Writing to a text does not fail.
        Step::Item(at) => drop(write!(path, "[{at}]")),
    }
    inner(path);
    path.truncate(length);
}

/// Whether `value` is of the JSON schema type `wanted`.
pub fn has_type(wanted: &str, value: &Value) -> bool {
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Removes from `value` fields that `schema` does not know, and nulls (which mean "not given").
/// Returns the paths of the unknown fields.
pub fn prune(schema: &Value, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_at(schema, value, &mut String::new(), 0, &mut unknown);
    unknown
}

fn prune_at(
    schema: &Value,
    value: &mut Value,
    path: &mut String,
    depth: usize,
    unknown: &mut Vec<String>,
) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (at, item) in items.iter_mut().enumerate() {
                    within(path, Step::Item(at), |path| {
                        prune_at(schema, item, path, depth + 1, unknown);
                    });
                }
            }
        }
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let any = schema.get("additionalProperties");
            let open = schema.get(PRESERVE) == Some(&Value::Bool(true));
            if !open {
                fields.retain(|_, field| !field.is_null());
            }
            fields.retain(|name, field| {
                let schema = properties.and_then(|properties| properties.get(name)).or(any);
                match schema {
                    Some(schema) => {
                        within(path, Step::Field(name), |path| {
                            prune_at(schema, field, path, depth + 1, unknown);
                        });
                        true
                    }
                    None if open => true,
                    None => {
                        within(path, Step::Field(name), |path| unknown.push(path.clone()));
                        false
                    }
                }
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// Colour.
    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Colour {
        /// Like blood.
        Red,
        /// Like grass.
        Green,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        name: String,
        unit_count: u16,
        colour: Option<Colour>,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        anything: Value,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        wait: crate::Duration,
    }

    /// Lists that merge.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Lists {
        #[schemars(extend("x-kubernetes-list-type" = "set"))]
        set: Vec<String>,
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["x"]))]
        map: Vec<Inner>,
    }

    /// Inside.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        /// Here.
        x: i64,
    }

    #[test]
    fn schemas_are_structural() {
        let schema = of_type::<Sample>();
        let text = schema.to_string();
        for word in ["$ref", "oneOf", "anyOf", "nullable", "const", "uint"] {
            assert!(!text.contains(word), "{word} in {schema:#}");
        }
        assert_eq!(schema["properties"]["colour"]["enum"], json!(["Red", "Green"]));
        assert_eq!(schema["properties"]["inner"]["type"], "object");
        assert_eq!(schema["properties"]["inner"]["properties"]["x"]["description"], "Here.");
        assert_eq!(schema["properties"]["anything"][PRESERVE], true);
        assert_eq!(schema["required"], json!(["name", "unitCount"]));
    }

    #[test]
    fn mistakes_are_named_by_field() {
        let schema = of_type::<Sample>();
        let value = json!({
            "unitCount": -1, "colour": "Blue", "inner": {"x": "1"}, "labels": {"a": 1},
            "list": [{"x": 1}, {}], "wait": "5 minutes"
        });
        let errors: Vec<String> =
            check(&schema, &value).iter().map(|error| error.field.clone()).collect();
        assert_eq!(
            errors,
            ["name", "colour", "inner.x", "labels.a", "list[1].x", "unitCount", "wait"]
        );
        assert!(check(&schema, &json!({"name": "a", "unitCount": 1, "wait": "3m"})).is_empty());
    }

    #[test]
    fn sets_and_list_maps_have_nothing_twice() {
        let schema = of_type::<Lists>();
        assert_eq!(schema["properties"]["set"]["x-kubernetes-list-type"], "set");
        assert_eq!(schema["properties"]["map"]["x-kubernetes-list-map-keys"], json!(["x"]));
        let value = json!({"set": ["a", "b", "a"], "map": [{"x": 1}, {"x": 2}, {"x": 2}]});
        let errors: Vec<String> = check(&schema, &value).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [r#"map[2]: Duplicate value: {"x":2}"#, r#"set[2]: Duplicate value: "a""#]
        );
        assert!(check(&schema, &json!({"set": ["a", "b"], "map": [{"x": 1}]})).is_empty());
    }

    #[test]
    fn unknown_fields_are_found_and_removed() {
        let schema = of_type::<Sample>();
        let mut value = json!({
            "name": "a", "nmae": "b", "labels": {"any": "x"}, "anything": {"kept": null},
            "list": [{"x": 1, "y": 2}], "colour": null
        });
        assert_eq!(prune(&schema, &mut value), ["list[0].y", "nmae"]);
        assert_eq!(
            value,
            json!({"name": "a", "labels": {"any": "x"}, "anything": {"kept": null}, "list": [{"x": 1}]})
        );
    }
}
