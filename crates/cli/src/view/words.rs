//! Words of sentences.

/// `1 target`, `2 targets`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

/// `is` of one, `are` of more.
pub(crate) const fn are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// A number of an object's status, to be counted with.
pub(crate) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
