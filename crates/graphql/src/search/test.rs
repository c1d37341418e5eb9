//! One test of one field. Pure.

use super::field::{Field, natural};
use crate::schema::FilterOp;
use std::cmp::Ordering;

/// Most values of one test.
pub(crate) const VALUES_MAX: usize = 1_000;

/// A test of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) field: Field,
    pub(crate) op: FilterOp,
    /// In small letters for `CONTAINS`; in order for `IN` and `NOT_IN`, to be found quickly.
    pub(crate) values: Vec<String>,
}

impl Test {
    /// Reads a test.
    ///
    /// # Errors
    /// When its values do not go with what it asks.
    pub(crate) fn new(field: &str, op: FilterOp, mut values: Vec<String>) -> Result<Self, String> {
        let count = values.len();
        let fits = match op {
            FilterOp::Exists | FilterOp::Absent => count == 0,
            FilterOp::Greater | FilterOp::Less => count == 1,
            _ => (1..=VALUES_MAX).contains(&count),
        };
        if !fits {
            let wanted = match op {
                FilterOp::Exists | FilterOp::Absent => "no values".to_owned(),
                FilterOp::Greater | FilterOp::Less => "one value".to_owned(),
                _ => format!("1 to {VALUES_MAX} values"),
            };
            return Err(format!("the filter of {field} takes {wanted}, and has {count}"));
        }
        if op == FilterOp::Contains {
            values.iter_mut().for_each(|value| value.make_ascii_lowercase());
        }
        Ok(Self::of(Field::parse(field), op, values))
    }

    /// A test whose values go with what it asks.
    pub(crate) fn of(field: Field, op: FilterOp, mut values: Vec<String>) -> Self {
        if matches!(op, FilterOp::In | FilterOp::NotIn) {
            values.sort_unstable();
        }
        Self { field, op, values }
    }

    /// What it costs to look at one value, as compared with one look at a column.
    pub(crate) fn weight(&self) -> usize {
        match self.op {
            FilterOp::Prefix => 1 + self.values.len() / 4,
            FilterOp::Contains => 1 + self.values.len(),
            _ => 1,
        }
    }

    pub(crate) fn passes(&self, value: &str) -> bool {
        let than = |order: Ordering| {
            !value.is_empty() && self.values.iter().all(|other| natural(value, other) == order)
        };
        let mut values = self.values.iter().map(String::as_str);
        match self.op {
            FilterOp::In => self.has(value),
            FilterOp::NotIn => !self.has(value),
            FilterOp::Exists => !value.is_empty(),
            FilterOp::Absent => value.is_empty(),
            FilterOp::Prefix => values.any(|other| value.starts_with(other)),
            FilterOp::Contains => {
                let small = value.to_ascii_lowercase();
                values.any(|other| small.contains(other))
            }
            FilterOp::Greater => than(Ordering::Greater),
            FilterOp::Less => than(Ordering::Less),
        }
    }
}

impl Test {
    fn has(&self, value: &str) -> bool {
        self.values.binary_search_by(|other| other.as_str().cmp(value)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_passes_what_it_says() {
        use FilterOp::*;
        for (op, values, passing, failing) in [
            (In, vec!["b", "c", "a"], vec!["a", "b", "c"], vec!["", "d", "A"]),
            (In, vec![""], vec![""], vec!["a"]),
            (NotIn, vec!["c", "a"], vec!["", "b"], vec!["a", "c"]),
            (Exists, vec![], vec!["a"], vec![""]),
            (Absent, vec![], vec![""], vec!["a"]),
            (Prefix, vec!["ab", "x"], vec!["abc", "x"], vec!["a", "", "Ab"]),
            (Contains, vec!["Bc"], vec!["abcd", "ABCD"], vec!["acb", ""]),
            (Greater, vec!["9"], vec!["10", "9.5", "a"], vec!["9", "1", ""]),
            (Less, vec!["10"], vec!["9", "-3"], vec!["10", "11", "a", ""]),
        ] {
            let values = values.into_iter().map(Into::into).collect();
            let test = Test::new("status.phase", op, values).unwrap();
            assert!(passing.iter().all(|value| test.passes(value)), "{test:?}");
            assert!(failing.iter().all(|value| !test.passes(value)), "{test:?}");
        }
    }

    #[test]
    fn values_must_go_with_what_is_asked() {
        let refused = |op, count| {
            Test::new("f", op, vec!["a".to_owned(); count]).expect_err("it must be refused")
        };
        assert_eq!(refused(FilterOp::In, 0), "the filter of f takes 1 to 1000 values, and has 0");
        assert_eq!(refused(FilterOp::Less, 2), "the filter of f takes one value, and has 2");
        assert_eq!(refused(FilterOp::Exists, 1), "the filter of f takes no values, and has 1");
    }
}
