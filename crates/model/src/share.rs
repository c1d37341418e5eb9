//! How many of a number: a count, or a share in percent (Kubernetes writes both as int-or-string).
//! Source: Kubernetes "Specifying a Disruption Budget for your Application".

use crate::quantity::INT_OR_STRING;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use std::{borrow::Cow, fmt};

/// What a share must look like in a schema, when it is a text.
pub const PATTERN: &str = "^(100|[0-9]{1,2})%$";

/// What it is told to be where it is not.
pub(crate) const EXPECTED: &str =
    "must be a whole number from 0, such as 2, or a share, such as \"10%\"";

/// A count, such as `2`, or a share, such as `"10%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred, at most all.
    Percent(u8),
}

impl Share {
    /// How many that is of `all`; a part of one counts as one, as Kubernetes rounds.
    pub fn of(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = (u64::from(all) * u64::from(percent)).div_ceil(100);
                u32::try_from(part).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0, such as 2, or a share, such as \"10%\"")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Share, E> {
                u32::try_from(count).map(Share::Count).map_err(|_| E::custom("is too large"))
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Share, E> {
                u32::try_from(count)
                    .map(Share::Count)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(count), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
                let percent = text.strip_suffix('%').filter(|digits| !digits.starts_with('+'));
                let percent = percent.and_then(|digits| digits.parse().ok());
                percent
                    .filter(|percent| *percent <= 100)
                    .map(Share::Percent)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({INT_OR_STRING: true, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn counts_and_shares_are_read_and_written_as_people_do() {
        for (value, wanted, of_seven) in [
            (json!(0), Share::Count(0), 0),
            (json!(3), Share::Count(3), 3),
            (json!("0%"), Share::Percent(0), 0),
            (json!("10%"), Share::Percent(10), 1),
            (json!("50%"), Share::Percent(50), 4),
            (json!("100%"), Share::Percent(100), 7),
        ] {
            let share: Share = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(share, wanted, "{value}");
            assert_eq!(share.of(7), of_seven, "{value}");
            assert_eq!(serde_json::to_value(share).unwrap(), value);
        }
        let wrong: [Value; 9] = [
            json!(-1),
            json!(1.5),
            json!("3"),
            json!("101%"),
            json!("-1%"),
            json!("+1%"),
            json!("%"),
            json!(4_294_967_296_u64),
            json!(null),
        ];
        for value in wrong {
            assert!(serde_json::from_value::<Share>(value.clone()).is_err(), "{value}");
        }
        assert_eq!(Share::Percent(100).of(u32::MAX), u32::MAX);
    }
}
