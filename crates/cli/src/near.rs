//! What somebody may have meant who wrote a name that there is not.

/// Names that are told.
const TOLD_MAX: usize = 3;
/// How much of a name may be otherwise, in percent of its letters.
const OTHERWISE_MAX: usize = 40;

/// The nearest of `names`, nearest first; none when none is near.
pub(crate) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let most = wanted.chars().count() * OTHERWISE_MAX / 100;
    let mut found: Vec<(usize, &str)> = names
        .map(|name| {
            let part = !wanted.is_empty() && name.contains(wanted);
            (if part { 0 } else { strsim::damerau_levenshtein(wanted, name) }, name)
        })
        .filter(|(distance, _)| *distance <= most)
        .collect();
    found.sort_unstable();
    found.into_iter().take(TOLD_MAX).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn names_that_differ_in_a_few_letters_or_go_on_are_near() {
        let names = ["power-cycle-server", "power-on-server", "inspect-server"];
        let of = |wanted: &str| near(wanted, names.into_iter());
        assert_eq!(of("power-cyle-server"), ["power-cycle-server", "power-on-server"]);
        assert_eq!(of("inspect"), ["inspect-server"]);
        assert_eq!(of("reimage"), Vec::<&str>::new());
    }
}
