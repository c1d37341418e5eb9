//! JSON read within bounds. A few megabytes of text can become a hundred times that in memory, so
//! it is not enough to bound the text: every value counts against the budget of the call.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::limits::VALUES_MAX;

/// What one call of an action may cost: time, and values read.
#[derive(Debug)]
pub(super) struct Budget {
    until: Instant,
    values: AtomicUsize,
}

impl Budget {
    /// A whole budget, up to a moment.
    pub(super) const fn until(until: Instant) -> Self {
        Self { until, values: AtomicUsize::new(VALUES_MAX) }
    }

    /// Time left; zero when it has passed.
    pub(super) fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Takes one value, if there is one left.
    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.values.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Reads one document.
pub(super) fn parse(json: &[u8], budget: &Budget) -> Result<Value, serde_json::Error> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let value = Bounded(budget).deserialize(&mut text)?;
    text.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0.take() {
            return deserializer.deserialize_any(self);
        }
        Err(D::Error::custom(format_args!(
            "with it, the answers to this call hold more than {VALUES_MAX} values"
        )))
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            values.insert(name, object.next_value_seed(self)?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<Value, serde_json::Error> {
        parse(json.as_bytes(), &Budget::until(Instant::now()))
    }

    #[test]
    fn many_values_are_refused_in_one_answer_and_in_several() {
        assert!(read(&format!("[{}0]", "0,".repeat(VALUES_MAX))).is_err());
        let budget = Budget::until(Instant::now());
        let half = format!("[{}0]", "{},".repeat(VALUES_MAX / 2));
        assert!(parse(half.as_bytes(), &budget).is_ok());
        let error = parse(half.as_bytes(), &budget).unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
    }

    #[test]
    fn deep_ones_are_refused() {
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"{\"a\":".repeat(100_000)).is_err());
        assert!(read("{} {}").is_err(), "and what follows a document");
    }

    proptest! {
        #[test]
        fn the_rest_reads_as_always(
            text in "\\PC{0,20}",
            number in any::<i64>(),
            float in any::<f64>(),
            flag in any::<bool>(),
        ) {
            let json = serde_json::json!({&text: [number, float, flag, null], "n": {"x": [text]}});
            let text = json.to_string();
            let usual: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read(&text).unwrap(), usual);
        }
    }
}
