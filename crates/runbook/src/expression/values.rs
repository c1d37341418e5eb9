//! Values: from JSON to what the evaluator reads, and back.

use super::ExpressionError;
use cel::common::{
    types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt},
    value::Val,
};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Deepest value given to or taken from an expression: more than any object, so that no object is too
/// deep to be judged.
const VALUE_DEPTH_MAX: usize = 128;
/// Largest value taken from an expression. Steps keep less; this bounds what a template gathers.
const RESULT_BYTES_MAX: usize = 64 * 1024;

/// A value in the form the evaluator reads.
pub(super) fn to_cel<'v>(
    value: &'v Value,
    depth: usize,
) -> Result<Box<dyn Val + 'v>, ExpressionError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(ExpressionError::other(format!(
            "a value is nested deeper than {VALUE_DEPTH_MAX} levels"
        )));
    }
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        // JSON knows one kind of number; whole numbers are `int`, as they are written in CEL.
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or_default())),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.push(to_cel(item, depth + 1)?);
            }
            Box::new(CelList::from(list))
        }
        Value::Object(fields) => {
            let mut map = HashMap::with_capacity(fields.len());
            for (name, field) in fields {
                map.insert(CelMapKey::from(name.as_str()), to_cel(field, depth + 1)?);
            }
            Box::new(CelMap::from(map))
        }
    })
}

/// The JSON value of a result.
///
/// # Errors
/// When it has none, or is too large.
pub(super) fn from_cel(value: &cel::Value) -> Result<Value, ExpressionError> {
    let mut left = RESULT_BYTES_MAX;
    take(value, 0, &mut left)
}

fn take(value: &cel::Value, depth: usize, left: &mut usize) -> Result<Value, ExpressionError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(ExpressionError::other(format!(
            "the value is nested deeper than {VALUE_DEPTH_MAX} levels"
        )));
    }
    Ok(match value {
        cel::Value::List(items) => {
            spend(left, 2)?;
            let mut list = Vec::new();
            for item in items.iter() {
                list.push(take(item, depth + 1, left)?);
            }
            Value::Array(list)
        }
        cel::Value::Map(fields) => {
            spend(left, 2)?;
            // Sorted, because the evaluator's maps have no order and equal values must be written alike.
            let mut sorted: Vec<_> =
                fields.map.iter().map(|(key, field)| (key.to_string(), field)).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            let mut object = Map::new();
            for (key, field) in sorted {
                spend(left, key.len())?;
                object.insert(key, take(field, depth + 1, left)?);
            }
            Value::Object(object)
        }
        cel::Value::String(text) => {
            spend(left, text.len())?;
            Value::String(text.to_string())
        }
        cel::Value::Float(number) if !number.is_finite() => {
            return Err(ExpressionError::other("the number is infinite or not a number"));
        }
        cel::Value::Duration(span) => span
            .to_std()
            .ok()
            .and_then(|span| u64::try_from(span.as_millis()).ok())
            .map(|millis| quarterdeck_model::Duration::from_millis(millis).to_string().into())
            .ok_or_else(|| ExpressionError::other("the duration is negative or too long"))?,
        other => {
            spend(left, 8)?;
            other.json().map_err(|_| {
                ExpressionError::other(format!("has no JSON value: {}", other.type_of()))
            })?
        }
    })
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), ExpressionError> {
    *left = left.checked_sub(bytes).ok_or_else(|| {
        ExpressionError::other(format!("the value has more than {RESULT_BYTES_MAX} bytes"))
    })?;
    Ok(())
}
