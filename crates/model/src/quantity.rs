//! Quantities that count (`resource.Quantity`, whole numbers only): `10`, `"10"`, `2k`, `1Ki`, `1e3`.
//! Source: Kubernetes "Quantity", the forms that its numbers may have.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};
use std::{borrow::Cow, fmt};

/// Says that a value is a text or a whole number.
pub const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// What may stand behind the digits, and what it multiplies by.
const SUFFIXES: [(&str, u64); 12] = [
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
];

/// A quantity as it was written; whether it is one is asked by [`Quantity::count`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quantity(String);

impl Quantity {
    /// So many.
    pub fn of(count: u64) -> Self {
        Self(count.to_string())
    }

    /// How many it says.
    ///
    /// # Errors
    /// A sentence on what is expected, when it does not count.
    pub fn count(&self) -> Result<u64, &'static str> {
        const WRONG: &str = "must be a whole number from 0, such as 10, 2k or 1Ki";
        let text = self.0.trim_start_matches('+');
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at_checked(digits).ok_or(WRONG)?;
        let number: u64 = number.parse().map_err(|_| WRONG)?;
        let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty());
        let factor = match (suffix, exponent) {
            ("", _) => 1,
            (_, Some(exponent)) if exponent != "i" => {
                let exponent = exponent.parse().map_err(|_| WRONG)?;
                10_u64.checked_pow(exponent).ok_or(WRONG)?
            }
            _ => SUFFIXES.iter().find(|(name, _)| *name == suffix).ok_or(WRONG)?.1,
        };
        number.checked_mul(factor).ok_or(WRONG)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity, such as 10 or \"1k\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Quantity, E> {
                Ok(Quantity::of(count))
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Quantity, E> {
                Ok(Quantity(count.to_string()))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({INT_OR_STRING: true})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn count(value: Value) -> Option<u64> {
        serde_json::from_value::<Quantity>(value).ok()?.count().ok()
    }

    #[test]
    fn reads_what_people_write() {
        for (value, wanted) in [
            (json!(10), 10),
            (json!("0"), 0),
            (json!("+7"), 7),
            (json!("2k"), 2_000),
            (json!("1Ki"), 1_024),
            (json!("1e3"), 1_000),
            (json!("3E2"), 300),
            (json!("1E"), 1_000_000_000_000_000_000),
            (json!("1Ei"), 1 << 60),
        ] {
            assert_eq!(count(value.clone()), Some(wanted), "{value}");
        }
        for value in [
            json!(""),
            json!("-1"),
            json!(-1),
            json!("1.5"),
            json!("k"),
            json!("10 "),
            json!("1e99"),
            json!("99999999999999999999"),
            json!("20E"),
            json!("é"),
            json!(true),
            json!(1.5),
        ] {
            assert_eq!(count(value.clone()), None, "{value}");
        }
    }
}
