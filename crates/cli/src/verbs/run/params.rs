//! `--param name=value` by the types that a runbook declares. Pure. Only what cannot be read is refused here: whether a
//! value is allowed is for the plane to say.

use crate::{Error, near::near};
use quarterdeck_model::kinds::{Parameter, ParameterType};
use serde_json::{Map, Value};

/// The values of a run's parameters.
pub(crate) fn params(
    declared: &[Parameter],
    given: &[String],
) -> Result<Map<String, Value>, Error> {
    let mut params = Map::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Error::Usage(format!("--param {text:?} must be NAME=VALUE")));
        };
        let Some(parameter) = declared.iter().find(|it| it.name == name) else {
            return Err(unknown(declared, name));
        };
        let value = read(parameter.kind, value).ok_or_else(|| {
            let wanted = wanted(parameter.kind);
            Error::Usage(format!("--param {name}: {value:?} must be {wanted}"))
        })?;
        params.insert(name.to_owned(), value);
    }
    Ok(params)
}

fn unknown(declared: &[Parameter], name: &str) -> Error {
    let names: Vec<&str> = declared.iter().map(|it| it.name.as_str()).collect();
    let next = match (near(name, names.iter().copied()).as_slice(), names.is_empty()) {
        (_, true) => "it takes none".to_owned(),
        ([], false) => format!("it takes: {}", names.join(", ")),
        (near, false) => format!("did you mean {}?", near.join(" or ")),
    };
    Error::Usage(format!("--param {name}: the runbook has no such parameter; {next}"))
}

fn read(kind: ParameterType, text: &str) -> Option<Value> {
    let json = || serde_json::from_str::<Value>(text).ok();
    match kind {
        ParameterType::String => Some(text.into()),
        ParameterType::Integer => text.parse::<i64>().ok().map(Into::into),
        ParameterType::Number => {
            text.parse::<f64>().ok().filter(|it| it.is_finite()).map(Into::into)
        }
        ParameterType::Boolean => text.parse::<bool>().ok().map(Into::into),
        ParameterType::Array => json().filter(Value::is_array),
        ParameterType::Object => json().filter(Value::is_object),
    }
}

const fn wanted(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "text",
        ParameterType::Integer => "a whole number",
        ParameterType::Number => "a number",
        ParameterType::Boolean => "true or false",
        ParameterType::Array => "a JSON list, such as [1, 2]",
        ParameterType::Object => "a JSON object, such as {\"a\": 1}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(given: &[&str]) -> Result<Value, String> {
        let declared: Vec<Parameter> = serde_json::from_value(json!([
            {"name": "grace", "type": "string"}, {"name": "count", "type": "integer"},
            {"name": "share", "type": "number"}, {"name": "wipe", "type": "boolean"},
            {"name": "disks", "type": "array"},
        ]))
        .unwrap();
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        params(&declared, &given).map(Value::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn values_have_the_declared_types() {
        let all = ["grace=5m", "count=3", "share=0.5", "wipe=true", "disks=[\"a\"]"];
        let wanted = json!({"grace": "5m", "count": 3, "share": 0.5, "wipe": true, "disks": ["a"]});
        assert_eq!(of(&all), Ok(wanted));
        assert_eq!(of(&["grace=a=b"]), Ok(json!({"grace": "a=b"})));
    }

    #[test]
    fn what_cannot_be_read_is_said_with_what_is_wanted() {
        for (given, said) in [
            ("grace", "must be NAME=VALUE"),
            ("grase=5m", "did you mean grace?"),
            ("zzzzzz=1", "it takes: grace, count, share, wipe, disks"),
            ("count=many", "\"many\" must be a whole number"),
            ("share=NaN", "must be a number"),
            ("wipe=yes", "must be true or false"),
            ("disks={}", "must be a JSON list"),
        ] {
            let refused = of(&[given]).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
