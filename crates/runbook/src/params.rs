//! Parameters: whether values fit what a runbook asks for, and their defaults.

use quarterdeck_model::{
    FieldError, FieldErrors,
    kinds::{Parameter, ParameterType, RunbookSpec},
};
use serde_json::{Map, Value};

/// All that is wrong with the parameters of a run. Paths are `spec.params.NAME`.
pub fn check_params(spec: &RunbookSpec, params: &Map<String, Value>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for parameter in &spec.parameters {
        let field = format!("spec.params.{}", parameter.name);
        match params.get(&parameter.name).filter(|value| !value.is_null()) {
            Some(value) => check_value(parameter, value, &field, &mut errors),
            None if parameter.required && parameter.default.is_null() => {
                let what = parameter.description.clone().unwrap_or_else(|| {
                    format!("the runbook needs a {}", type_name(parameter.kind))
                });
                errors.push(FieldError::required(field, what));
            }
            None => {}
        }
    }
    for name in params.keys() {
        if !spec.parameters.iter().any(|parameter| parameter.name == *name) {
            let known: Vec<&str> =
                spec.parameters.iter().map(|known| known.name.as_str()).collect();
            let why = match known.as_slice() {
                [] => "the runbook has no parameters".to_owned(),
                known => format!("the runbook has no such parameter; it has {}", known.join(", ")),
            };
            errors.push(FieldError::invalid(format!("spec.params.{name}"), name, why));
        }
    }
    errors
}

/// The parameters with the defaults of those that are not given.
pub fn with_defaults(spec: &RunbookSpec, params: &Map<String, Value>) -> Map<String, Value> {
    let mut all = params.clone();
    for parameter in &spec.parameters {
        let given = all.get(&parameter.name).is_some_and(|value| !value.is_null());
        if !given && !parameter.default.is_null() {
            all.insert(parameter.name.clone(), parameter.default.clone());
        }
    }
    all
}

/// Whether one value fits its parameter.
pub(crate) fn check_value(
    parameter: &Parameter,
    value: &Value,
    field: &str,
    errors: &mut FieldErrors,
) {
    if !fits(parameter.kind, value) {
        let why = format!("must be a value of type {}", type_name(parameter.kind));
        errors.push(FieldError::invalid(field, value, why));
    } else if !parameter.one_of.is_empty() && !parameter.one_of.contains(value) {
        let allowed: Vec<String> = parameter.one_of.iter().map(plain).collect();
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(field, value, &allowed));
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn fits(kind: ParameterType, value: &Value) -> bool {
    match kind {
        ParameterType::String => value.is_string(),
        ParameterType::Integer => value.is_i64() || value.is_u64(),
        ParameterType::Number => value.is_number(),
        ParameterType::Boolean => value.is_boolean(),
        ParameterType::Array => value.is_array(),
        ParameterType::Object => value.is_object(),
    }
}

/// Name of a type as JSON schema writes it.
pub(crate) fn type_name(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "string",
        ParameterType::Integer => "integer",
        ParameterType::Number => "number",
        ParameterType::Boolean => "boolean",
        ParameterType::Array => "array",
        ParameterType::Object => "object",
    }
}
