//! What a page asks: the documents that `ui/` is built from, read from the same files. Pure.

use crate::Failure;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FILES: [&str; 3] = [
    include_str!("../../../../ui/src/api/queries/objects.graphql"),
    include_str!("../../../../ui/src/api/queries/views.graphql"),
    include_str!("../../../../ui/src/api/queries/work.graphql"),
];

/// The definitions of all files: each begins where a line begins with its word.
fn definitions() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().flat_map(|file| {
        let starts: Vec<usize> = file
            .match_indices('\n')
            .map(|(at, _)| at + 1)
            .chain([0])
            .filter(|at| {
                file.get(*at..)
                    .is_some_and(|it| it.starts_with("query") || it.starts_with("fragment"))
            })
            .collect::<BTreeSet<usize>>()
            .into_iter()
            .collect();
        let ends = starts.iter().skip(1).copied().chain([file.len()]).collect::<Vec<usize>>();
        starts.into_iter().zip(ends).filter_map(|(from, to)| file.get(from..to))
    })
}

fn definition(sort: &str, name: &str) -> Option<&'static str> {
    definitions().find(|it| {
        let rest = it.strip_prefix(sort).and_then(|it| it.strip_prefix(' '));
        let rest = rest.and_then(|it| it.strip_prefix(name));
        rest.is_some_and(|it| it.starts_with([' ', '(']))
    })
}

/// The body of a request that asks the query of that name.
pub(super) fn question(name: &str, variables: &Value) -> Result<Bytes, Failure> {
    let query = definition("query", name).ok_or_else(|| format!("no file has query {name}"))?;
    let (mut parts, mut at) = (vec![query], 0);
    while let Some(part) = parts.get(at) {
        let spreads = part.split("...").skip(1);
        let names = spreads.map(|it| it.split_whitespace().next().unwrap_or_default());
        let found: Vec<&str> = names.filter_map(|name| definition("fragment", name)).collect();
        let new = found.into_iter().filter(|it| !parts.contains(it)).collect::<BTreeSet<_>>();
        parts.extend(new);
        at += 1;
    }
    Ok(json!({"query": parts.concat(), "variables": variables}).to_string().into())
}
