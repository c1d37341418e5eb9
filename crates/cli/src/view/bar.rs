//! Progress as a bar.

/// A bar of so many letters: `[██████▒▒░░░░░░░░░░░░]`, with what is done, in work and left.
pub(crate) fn bar(done: u32, working: u32, all: u32, width: u32) -> String {
    let part = |count: u32| {
        let share = u64::from(count) * u64::from(width);
        u32::try_from(share / u64::from(all.max(1))).unwrap_or(width).min(width)
    };
    let full = part(done);
    // What has begun is seen, however little it is of all.
    let both = part(done.saturating_add(working));
    let working = if working > 0 { (both - full).max(1).min(width - full) } else { 0 };
    let repeat = |letter: &str, count: u32| letter.repeat(usize::try_from(count).unwrap_or(0));
    let left = width - full - working;
    format!("[{}{}{}]", repeat("█", full), repeat("▒", working), repeat("░", left))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_has_always_its_width_and_shows_what_is_in_work() {
        assert_eq!(bar(0, 0, 0, 4), "[░░░░]");
        assert_eq!(bar(1, 1, 4, 4), "[█▒░░]");
        assert_eq!(bar(4, 0, 4, 4), "[████]");
        assert_eq!(bar(0, 1, 100_000, 4), "[▒░░░]");
        assert_eq!(bar(9, 9, 4, 4), "[████]");
    }
}
