//! The document of version 2 as the protobuf that client-go reads (`openapi.v2.Document`): only the
//! messages and fields that our documents have. Pure.
//! Source: `openapiv2/OpenAPIv2.proto` of github.com/google/gnostic, whose field numbers these are.

use prost::{Message, Oneof};
use serde_json::{Map, Value};

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Properties>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "9")]
    parameters: Vec<ParametersItem>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(string, repeated, tag = "6")]
    produces: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, optional, tag = "9")]
    responses: Option<Responses>,
    #[prost(string, repeated, tag = "10")]
    schemes: Vec<String>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(oneof = "ParameterKind", tags = "1, 2")]
    kind: Option<ParameterKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ParameterKind {
    #[prost(message, tag = "1")]
    Body(BodyParameter),
    #[prost(message, tag = "2")]
    NonBody(NonBodyParameter),
}

#[derive(Clone, PartialEq, Message)]
struct BodyParameter {
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    place: String,
    #[prost(bool, tag = "4")]
    required: bool,
    #[prost(message, optional, boxed, tag = "5")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(oneof = "NonBodyKind", tags = "3, 4")]
    kind: Option<NonBodyKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum NonBodyKind {
    #[prost(message, tag = "3")]
    Query(QueryParameter),
    #[prost(message, tag = "4")]
    Path(PathParameter),
}

#[derive(Clone, PartialEq, Message)]
struct QueryParameter {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct PathParameter {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "5")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Responses {
    #[prost(message, repeated, tag = "1")]
    response_code: Vec<NamedResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedResponse {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseValue {
    #[prost(message, optional, tag = "1")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaItem {
    #[prost(message, optional, tag = "1")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(message, optional, tag = "5")]
    default: Option<Any>,
    #[prost(double, tag = "7")]
    maximum: f64,
    #[prost(double, tag = "9")]
    minimum: f64,
    #[prost(int64, tag = "11")]
    max_length: i64,
    #[prost(int64, tag = "12")]
    min_length: i64,
    #[prost(string, tag = "13")]
    pattern: String,
    #[prost(int64, tag = "14")]
    max_items: i64,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    allowed: Vec<Any>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalProperties>>,
    #[prost(message, optional, tag = "22")]
    kind: Option<TypeItem>,
    #[prost(message, optional, tag = "23")]
    items: Option<ItemsItem>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Properties>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalProperties {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ItemsItem {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

/// Also `Definitions`, which looks the same.
#[derive(Clone, PartialEq, Message)]
struct Properties {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

/// Encodes a document of version 2.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let info = document.get("info").unwrap_or(&Value::Null);
    let path = entries(document, "paths")
        .map(|(name, item)| NamedPathItem { name: name.clone(), value: Some(path_item(item)) })
        .collect();
    let document = Document {
        swagger: text(document, "swagger"),
        info: Some(Info { title: text(info, "title"), version: text(info, "version") }),
        paths: Some(Paths { path }),
        definitions: Some(properties(document, "definitions")),
    };
    document.encode_to_vec()
}

fn text(of: &Value, field: &str) -> String {
    of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(of: &Value, field: &str) -> Vec<String> {
    list(of, field).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list<'v>(of: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    of.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn entries<'v>(of: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    of.get(field).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn number(of: &Value, field: &str) -> i64 {
    of.get(field).and_then(Value::as_i64).unwrap_or_default()
}

fn flag(of: &Value, field: &str) -> bool {
    of.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// Any value is written as YAML, of which JSON is a part.
fn any(value: &Value) -> Any {
    Any { yaml: value.to_string() }
}

fn extensions(of: &Value) -> Vec<NamedAny> {
    let fields = of.as_object().into_iter().flat_map(Map::iter);
    fields
        .filter(|(name, _)| name.starts_with("x-"))
        .map(|(name, value)| NamedAny { name: name.clone(), value: Some(any(value)) })
        .collect()
}

fn path_item(item: &Value) -> PathItem {
    PathItem {
        get: item.get("get").map(operation),
        put: item.get("put").map(operation),
        post: item.get("post").map(operation),
        delete: item.get("delete").map(operation),
        patch: item.get("patch").map(operation),
        parameters: list(item, "parameters").map(parameter).collect(),
    }
}

fn operation(of: &Value) -> Operation {
    let response_code = entries(of, "responses")
        .map(|(code, response)| {
            let response = Response {
                description: text(response, "description"),
                schema: response.get("schema").map(|of| SchemaItem { schema: Some(schema(of)) }),
            };
            NamedResponse {
                name: code.clone(),
                value: Some(ResponseValue { response: Some(response) }),
            }
        })
        .collect();
    Operation {
        tags: texts(of, "tags"),
        description: text(of, "description"),
        operation_id: text(of, "operationId"),
        produces: texts(of, "produces"),
        consumes: texts(of, "consumes"),
        parameters: list(of, "parameters").map(parameter).collect(),
        responses: Some(Responses { response_code }),
        schemes: texts(of, "schemes"),
        vendor_extension: extensions(of),
    }
}

fn parameter(of: &Value) -> ParametersItem {
    let (name, place, required) = (text(of, "name"), text(of, "in"), flag(of, "required"));
    let (description, kind) = (text(of, "description"), text(of, "type"));
    let kind = match place.as_str() {
        "body" => ParameterKind::Body(BodyParameter {
            name,
            place,
            required,
            schema: of.get("schema").map(|of| Box::new(schema(of))),
        }),
        "path" => {
            let path = PathParameter { required, place, description, name, kind };
            ParameterKind::NonBody(NonBodyParameter { kind: Some(NonBodyKind::Path(path)) })
        }
        _ => {
            let query = QueryParameter { required, place, description, name, kind };
            ParameterKind::NonBody(NonBodyParameter { kind: Some(NonBodyKind::Query(query)) })
        }
    };
    ParametersItem { parameter: Some(Parameter { kind: Some(kind) }) }
}

fn properties(of: &Value, field: &str) -> Properties {
    let all = entries(of, field);
    let all = all.map(|(name, of)| NamedSchema { name: name.clone(), value: Some(schema(of)) });
    Properties { additional_properties: all.collect() }
}

fn schema(of: &Value) -> Schema {
    let limit = |field| of.get(field).and_then(Value::as_f64).unwrap_or_default();
    Schema {
        reference: text(of, "$ref"),
        format: text(of, "format"),
        description: text(of, "description"),
        default: of.get("default").map(any),
        maximum: limit("maximum"),
        minimum: limit("minimum"),
        max_length: number(of, "maxLength"),
        min_length: number(of, "minLength"),
        pattern: text(of, "pattern"),
        max_items: number(of, "maxItems"),
        required: texts(of, "required"),
        allowed: list(of, "enum").map(any).collect(),
        additional_properties: of
            .get("additionalProperties")
            .filter(|of| of.is_object())
            .map(|of| Box::new(AdditionalProperties { schema: Some(Box::new(schema(of))) })),
        kind: of.get("type").map(|_| TypeItem { value: vec![text(of, "type")] }),
        items: of.get("items").map(|of| ItemsItem { schema: vec![schema(of)] }),
        properties: of.get("properties").map(|_| properties(of, "properties")),
        vendor_extension: extensions(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_read_back() {
        let gvk = json!([{"group": "g", "version": "v1", "kind": "Thing"}]);
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "t", "version": "1"},
            "paths": {"/things/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": true, "type": "string"}],
                "patch": {
                    "consumes": ["application/merge-patch+json"],
                    "parameters": [
                        {"name": "body", "in": "body", "required": true,
                            "schema": {"$ref": "#/definitions/thing"}},
                        {"name": "dryRun", "in": "query", "required": false, "type": "string"},
                    ],
                    "responses": {"200": {"description": "OK",
                        "schema": {"$ref": "#/definitions/thing"}}},
                    "x-kubernetes-action": "patch",
                },
            }},
            "definitions": {"thing": {
                "type": "object", "required": ["a"],
                "properties": {"a": {"type": "array", "items": {"type": "string", "enum": ["x"]}}},
                "additionalProperties": {"type": "integer", "minimum": 1},
                "x-kubernetes-group-version-kind": gvk,
            }},
        });
        let read = Document::decode(encode(&document).as_slice()).unwrap();
        let thing = &read.definitions.as_ref().unwrap().additional_properties[0];
        let schema = thing.value.as_ref().unwrap();
        assert_eq!((thing.name.as_str(), schema.required[0].as_str()), ("thing", "a"));
        assert_eq!(schema.vendor_extension[0].value.as_ref().unwrap().yaml, gvk.to_string());
        let limit = schema.additional_properties.as_ref().unwrap().schema.as_ref().unwrap();
        assert!((limit.minimum - 1.0).abs() < f64::EPSILON);
        let item = read.paths.unwrap().path.remove(0).value.unwrap();
        let patch = item.patch.unwrap();
        assert_eq!(patch.consumes, ["application/merge-patch+json"]);
        assert_eq!((patch.parameters.len(), item.parameters.len()), (2, 1));
    }
}
