//! One field of a cron expression: which numbers it names. Pure.

/// A field there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    name: &'static str,
    low: i8,
    high: i8,
    /// Names of numbers, from that of `low` on.
    names: &'static [&'static str],
}

pub(super) const MINUTE: Part = Part { name: "minute", low: 0, high: 59, names: &[] };
pub(super) const HOUR: Part = Part { name: "hour", low: 0, high: 23, names: &[] };
pub(super) const DAY: Part = Part { name: "day of the month", low: 1, high: 31, names: &[] };
pub(super) const MONTH: Part = Part {
    name: "month",
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0, and 7.
pub(super) const WEEKDAY: Part = Part {
    name: "day of the week",
    low: 0,
    high: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// The numbers that a field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// One bit for each number.
    bits: u64,
    /// It is `*`: it limits nothing.
    any: bool,
}

impl Field {
    pub(super) fn any(self) -> bool {
        self.any
    }

    pub(super) fn has(self, number: i8) -> bool {
        u32::try_from(number)
            .is_ok_and(|number| self.bits.checked_shr(number).unwrap_or(0) & 1 == 1)
    }

    /// The first of its numbers from `number` on.
    pub(super) fn from(self, number: i8) -> Option<i8> {
        let skipped = u32::try_from(number).ok()?;
        let left = self.bits.checked_shr(skipped)?;
        if left == 0 {
            return None;
        }
        i8::try_from(skipped.checked_add(left.trailing_zeros())?).ok()
    }
}

impl Part {
    pub(super) fn parse(self, text: &str) -> Result<Field, String> {
        let mut field = Field { bits: 0, any: false };
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(self.step(step)?)),
                None => (item, None),
            };
            let every = matches!(range, "*" | "?");
            let (low, high) = match range.split_once('-') {
                _ if every => (self.low, self.high),
                Some((low, high)) => (self.number(low)?, self.number(high)?),
                // As in Kubernetes, `5/15` goes on to the end.
                None if step.is_some() => (self.number(range)?, self.high),
                None => (self.number(range)?, self.number(range)?),
            };
            if low > high {
                return Err(format!("{}: {range:?} goes backwards", self.name));
            }
            let step = step.unwrap_or(1);
            field.any |= every && step == 1;
            for number in (low..=high).step_by(step) {
                field.bits |= self.bit(number);
            }
        }
        Ok(field)
    }

    fn bit(self, number: i8) -> u64 {
        let number = if self.high == WEEKDAY.high && number == WEEKDAY.high { 0 } else { number };
        u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0)
    }

    fn step(self, text: &str) -> Result<usize, String> {
        let most = usize::try_from(self.high).unwrap_or(usize::MAX);
        let step = digits(text).filter(|step| (1..=most).contains(step));
        step.ok_or_else(|| {
            format!("{}: the step {text:?} is not a number from 1 to {most}", self.name)
        })
    }

    fn number(self, text: &str) -> Result<i8, String> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let named = named.and_then(|at| i8::try_from(at).ok()?.checked_add(self.low));
        let number = named.or_else(|| i8::try_from(digits(text)?).ok());
        number.filter(|number| (self.low..=self.high).contains(number)).ok_or_else(|| {
            let names = match (self.names.first(), self.names.last()) {
                (Some(first), Some(last)) => format!(", nor {first} to {last}"),
                _ => String::new(),
            };
            let Self { name, low, high, .. } = self;
            format!("{name}: {text:?} is not a number from {low} to {high}{names}")
        })
    }
}

/// Digits alone: no sign.
fn digits(text: &str) -> Option<usize> {
    let plain = !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
