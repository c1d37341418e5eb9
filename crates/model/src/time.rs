//! Points in time as Kubernetes writes them.

use jiff::{Timestamp, Unit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// `metav1.MicroTime`-compatible point in time: RFC 3339, UTC, whole seconds unless it carries a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// `at` with its full precision, kept to the microsecond.
    pub fn new(at: Timestamp) -> Self {
        Self(at.round(Unit::Microsecond).unwrap_or(at))
    }

    /// `at` cut to whole seconds, as `metadata.creationTimestamp` must be.
    pub fn seconds(at: Timestamp) -> Self {
        Self(Timestamp::from_second(at.as_second()).unwrap_or(at))
    }

    /// The instant itself.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self::new(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanosecond() == 0 {
            write!(f, "{:.0}", self.0)
        } else {
            write!(f, "{:.6}", self.0)
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse::<Timestamp>()
            .map(Self::new)
            .map_err(|_| D::Error::custom(format!("{text:?} is not an RFC 3339 time")))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_seconds_or_microseconds() {
        let whole: Time = serde_json::from_str("\"2026-11-01T00:00:00Z\"").unwrap();
        assert_eq!(whole.to_string(), "2026-11-01T00:00:00Z");
        let fraction: Time = serde_json::from_str("\"2026-11-01T00:00:00.5+02:00\"").unwrap();
        assert_eq!(fraction.to_string(), "2026-10-31T22:00:00.500000Z");
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }
}
