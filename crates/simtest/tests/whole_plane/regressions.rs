//! Seeds that showed something once, and what it was. A seed is what it was only as long as nobody changes what
//! is drawn: so each has a story beside it in the tests of the part that was wrong.

pub(crate) const REGRESSIONS: [(u64, &str); 2] = [
    (
        3291,
        "a server that was taken out of a rack under a permit counted as down, and after a restart no longer did",
    ),
    (
        5020,
        "a run's permit was taken back when its end was stored, before its driver had heard of it and had stopped",
    ),
];
