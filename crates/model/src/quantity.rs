//! Quantities (`resource.Quantity`): those that count, `10`, `"10"`, `2k`, `1Ki`, `1e3`, and those that measure, `500m`, `1.5Gi`.
//! Source: Kubernetes "Quantity", the forms that its numbers may have.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};
use std::{borrow::Cow, fmt};

/// Says that a value is a text or a whole number.
pub const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// Most digits of a quantity.
const DIGITS_MAX: usize = 20;

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

    /// So many thousandths: `1500m`, or `2` when it is whole.
    pub fn thousandths_of(count: u64) -> Self {
        if count.is_multiple_of(1_000) {
            Self::of(count / 1_000)
        } else {
            Self(format!("{count}m"))
        }
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

impl Quantity {
    /// How many thousandths it says, as of processors: `2` is 2000, `0.5` and `500m` are 500. A part of one counts as one.
    ///
    /// # Errors
    /// A sentence on what is expected, when it is none.
    pub fn thousandths(&self) -> Result<u64, &'static str> {
        const WRONG: &str = "must be a number from 0, such as 2, 0.5 or 500m";
        self.scaled(1_000).ok_or(WRONG)
    }

    /// How many bytes it says: `512Mi`, `1.5Gi`, `1e9`. A part of one counts as one.
    ///
    /// # Errors
    /// A sentence on what is expected, when it is none.
    pub fn bytes(&self) -> Result<u64, &'static str> {
        const WRONG: &str = "must be a number of bytes from 0, such as 134217728, 128Mi or 1.5Gi";
        self.scaled(1).ok_or(WRONG)
    }

    /// It times `by`, rounded up, as Kubernetes rounds.
    fn scaled(&self, by: u128) -> Option<u64> {
        let text = self.0.strip_prefix('+').unwrap_or(&self.0);
        let number = text.bytes().take_while(|it| it.is_ascii_digit() || *it == b'.').count();
        let (number, suffix) = text.split_at_checked(number)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = whole.len() + part.len();
        // More digits than any sum of bytes has.
        if digits == 0 || digits > DIGITS_MAX {
            return None;
        }
        let value: u128 = format!("{whole}{part}").parse().ok()?;
        let mut under = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty());
        let over: u128 = match (suffix, exponent) {
            ("", _) => 1,
            ("m", _) => {
                under = under.checked_mul(1_000)?;
                1
            }
            (_, Some(exponent)) if exponent != "i" => {
                10_u128.checked_pow(exponent.parse().ok()?)?
            }
            _ => u128::from(SUFFIXES.iter().find(|(name, _)| *name == suffix)?.1),
        };
        let scaled = value.checked_mul(over)?.checked_mul(by)?;
        u64::try_from(scaled.div_ceil(under)).ok()
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
    fn parts_are_rounded_up() {
        let read = |text: &str| {
            let read = Quantity(text.to_owned());
            (read.thousandths().ok(), read.bytes().ok())
        };
        for (text, thousandths, bytes) in [
            ("0", Some(0), Some(0)),
            ("2", Some(2_000), Some(2)),
            ("0.5", Some(500), Some(1)),
            (".5", Some(500), Some(1)),
            ("500m", Some(500), Some(1)),
            ("1.0005", Some(1_001), Some(2)),
            ("+1.", Some(1_000), Some(1)),
            ("1.5Gi", Some(1_610_612_736_000), Some(1_610_612_736)),
            ("128Mi", Some(134_217_728_000), Some(134_217_728)),
            ("1e3", Some(1_000_000), Some(1_000)),
            ("16E", None, Some(16_000_000_000_000_000_000)),
            ("20E", None, None),
            ("1e40", None, None),
            ("-1", None, None),
            ("", None, None),
            (".", None, None),
            ("1..2", None, None),
            ("1x", None, None),
            ("999999999999999999999", None, None),
            ("1é", None, None),
        ] {
            assert_eq!(read(text), (thousandths, bytes), "{text:?}");
        }
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
