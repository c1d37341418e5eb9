//! How large a question is, before anything of it is worked on. Pure.
//!
//! Fragments may name each other: a question of a few KB can be one of more fields than can ever be counted one by
//! one, and who checks it walks it without a pause. So each fragment is counted once.

use async_graphql::{
    Name, Positioned,
    parser::types::{ExecutableDocument, FragmentDefinition, Selection, SelectionSet},
};
use std::collections::HashMap;

/// How many fields a question may have, those of fragments where they are used.
pub(crate) const FIELDS_MAX: usize = 2_000;
/// How deep its brackets may nest: the parser goes into each on the stack.
const BRACKETS_MAX: usize = 128;
/// Fragments that are in each other: each is counted on the stack.
const CHAIN_MAX: usize = 64;

/// Refuses a text that could not be parsed on a thread's stack.
///
/// # Errors
/// When its brackets nest too deep.
pub(crate) fn check_text(query: &str) -> Result<(), String> {
    let mut rest = query.as_bytes();
    let mut depth = 0_usize;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b'#' => rest = behind(rest, |rest| rest.starts_with(b"\n") || rest.starts_with(b"\r")),
            b'"' => rest = text(rest),
            _ => {}
        }
        if depth > BRACKETS_MAX {
            return Err(format!(
                "the query is nested too deep: more than {BRACKETS_MAX} brackets are in each other"
            ));
        }
    }
    Ok(())
}

/// What is left from where `ends` says so.
fn behind(mut rest: &[u8], ends: impl Fn(&[u8]) -> bool) -> &[u8] {
    while !rest.is_empty() && !ends(rest) {
        rest = rest.get(1..).unwrap_or_default();
    }
    rest
}

/// What is left behind a text whose first quote was read (GraphQL §2.9.4).
fn text(rest: &[u8]) -> &[u8] {
    let (mut rest, quote, escape): (&[u8], &[u8], &[u8]) = match rest {
        [b'"', b'"', rest @ ..] => (rest, b"\"\"\"", b"\\\"\"\""),
        _ => (rest, b"\"", b"\\"),
    };
    loop {
        rest = behind(rest, |rest| rest.starts_with(quote) || rest.starts_with(escape));
        if rest.starts_with(escape) {
            let skipped = if escape.len() == 1 { 2 } else { escape.len() };
            rest = rest.get(skipped..).unwrap_or_default();
            continue;
        }
        return rest.get(quote.len()..).unwrap_or_default();
    }
}

/// Refuses a question with too many fields, or whose fragments are in themselves.
///
/// # Errors
/// When it has.
pub(crate) fn check(document: &ExecutableDocument) -> Result<(), String> {
    let mut counted = Counted { fragments: &document.fragments, known: HashMap::new(), open: 0 };
    let mut count = 0_usize;
    for (_, operation) in document.operations.iter() {
        count = count.saturating_add(counted.of(&operation.node.selection_set.node)?);
        if count > FIELDS_MAX {
            return Err(format!(
                "the query is too complex: it has more than {FIELDS_MAX} fields, with those of its fragments where they are used; ask for fewer, or in several queries"
            ));
        }
    }
    // Also those that are not used: they are walked as well.
    for name in document.fragments.keys() {
        counted.fragment(name)?;
    }
    Ok(())
}

struct Counted<'d> {
    fragments: &'d HashMap<Name, Positioned<FragmentDefinition>>,
    /// The size of each fragment; none while it is counted.
    known: HashMap<&'d Name, Option<usize>>,
    /// Fragments that are being counted.
    open: usize,
}

impl<'d> Counted<'d> {
    fn of(&mut self, set: &'d SelectionSet) -> Result<usize, String> {
        let mut sum = 0_usize;
        for item in &set.items {
            let inner = match &item.node {
                Selection::Field(field) => self.of(&field.node.selection_set.node)?,
                Selection::InlineFragment(inline) => self.of(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node)?
                }
            };
            sum = sum.saturating_add(1).saturating_add(inner);
        }
        Ok(sum)
    }

    fn fragment(&mut self, name: &'d Name) -> Result<usize, String> {
        // One that is not there is refused by who knows what should be.
        let Some(fragment) = self.fragments.get(name) else { return Ok(0) };
        match self.known.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(format!("the fragment {name} is in itself")),
            None => {}
        }
        if self.open > CHAIN_MAX {
            return Err(format!("fragments are in fragments more than {CHAIN_MAX} deep"));
        }
        self.known.insert(name, None);
        self.open += 1;
        let size = self.of(&fragment.node.selection_set.node)?;
        self.open -= 1;
        self.known.insert(name, Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;
    use std::fmt::Write as _;

    fn checked(query: &str) -> Result<(), String> {
        check_text(query)?;
        check(&parse_query(query).unwrap())
    }

    /// Each fragment spreads the next one twice.
    pub(crate) fn bomb(fragments: usize) -> String {
        let mut query = String::from("{ me { ...f0 } }");
        for at in 0..fragments {
            let _ = write!(query, " fragment f{at} on Me {{ ...f{0} ...f{0} }}", at + 1);
        }
        let _ = write!(query, " fragment f{fragments} on Me {{ name }}");
        query
    }

    #[test]
    fn fragments_count_where_they_are_used() {
        assert_eq!(checked("{ me { ...a ...a } } fragment a on Me { name groups }"), Ok(()));
        assert_eq!(checked(&bomb(8)), Ok(()));
        assert!(checked(&bomb(60)).unwrap_err().contains("more than 2000 fields"));
        let deep = bomb(CHAIN_MAX + 2);
        assert!(checked(&deep).unwrap_err().contains("64 deep"));
        let unused = bomb(60).replace("{ me { ...f0 } }", "{ me { name } }");
        assert_eq!(checked(&unused), Ok(()), "what is not used costs nothing");
        for ring in [
            "{ me { ...a } } fragment a on Me { ...b } fragment b on Me { ...a }",
            "{ me { name } } fragment a on Me { ...a }",
        ] {
            assert!(checked(ring).unwrap_err().ends_with("is in itself"), "{ring}");
        }
    }

    #[test]
    fn brackets_that_nest_too_deep_are_refused_before_they_are_parsed() {
        let refused = |query: &str| check_text(query).is_err();
        assert!(refused(&"{a".repeat(100_000)));
        assert!(refused(&format!("{{ a(b: {}) }}", "[".repeat(100_000))));
        // Closing brackets in texts and comments close nothing, and opening ones open nothing.
        assert!(refused(&"{a(b: \"\\\"}})\")".repeat(1_000)));
        assert!(refused(&"{a(b: \"\"\"\\\"\"\"}})\"\"\")".repeat(1_000)));
        assert!(refused(&"{a # }}\n".repeat(1_000)));
        for text in ["\"{{{{[[\"", "\"\"\"[\" [ \\\"\"\" {\"\"\"", "\"\""] {
            assert!(!refused(&format!("{{ {} }}", format!("a(b: {text}) ").repeat(100))), "{text}");
        }
    }
}
