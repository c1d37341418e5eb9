//! Scalars: moments and JSON.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::Timestamp;

/// A moment, as RFC 3339 writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Timestamp);

#[Scalar]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let wrong = |_| InputValueError::custom(format!("{text:?} is not an RFC 3339 time"));
        text.parse().map(Self).map_err(wrong)
    }

    fn to_value(&self) -> Value {
        Value::String(quarterdeck_model::Time::new(self.0).to_string())
    }
}

impl From<quarterdeck_model::Time> for Time {
    fn from(time: quarterdeck_model::Time) -> Self {
        Self(time.timestamp())
    }
}

/// Reads a moment out of an object.
pub(crate) fn time(value: Option<&serde_json::Value>) -> Option<Time> {
    value?.as_str()?.parse().ok().map(Time)
}

/// A number for a client: none is as large as could not be told.
pub(crate) fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
