//! What one rule allows, and whether rules hold all that others grant. Pure.
//! Source: Kubernetes `pkg/apis/rbac/v1/evaluation_helpers.go` and `pkg/registry/rbac/validation`,
//! whose meaning this is.

use super::Ask;
use quarterdeck_model::kinds::PolicyRule;
use std::collections::{BTreeMap, BTreeSet};

const ALL: &str = "*";

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == wanted)
}

fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == wanted || entry == ALL)
}

/// Whether an entry such as `servers`, `servers/status`, `*/status` or `*` is about a resource.
fn is_about(entry: &str, resource: &str, subresource: &str) -> bool {
    if entry == ALL {
        return true;
    }
    if subresource.is_empty() {
        return entry == resource;
    }
    entry
        .strip_suffix(subresource)
        .and_then(|rest| rest.strip_suffix('/'))
        .is_some_and(|rest| rest == resource || rest == ALL)
}

/// Whether an entry such as `/metrics` or `/apis/*` is about a path.
fn is_path(entry: &str, path: &str) -> bool {
    entry == ALL
        || entry == path
        || (entry.ends_with('*') && path.starts_with(entry.trim_end_matches('*')))
}

/// Whether the rule allows what is asked, were it about every name.
pub(super) fn allows_some(rule: &PolicyRule, ask: &Ask<'_>) -> bool {
    match *ask {
        Ask::Resource { verb, group, resource, subresource, .. } => {
            has_or_all(&rule.verbs, verb)
                && has_or_all(&rule.api_groups, group)
                && rule.resources.iter().any(|entry| is_about(entry, resource, subresource))
        }
        Ask::Path { verb, path } => {
            has_or_all(&rule.verbs, verb)
                && rule.non_resource_urls.iter().any(|entry| is_path(entry, path))
        }
    }
}

/// Whether the rule allows what is asked.
pub(super) fn allows(rule: &PolicyRule, ask: &Ask<'_>) -> bool {
    let named = match *ask {
        Ask::Resource { name, .. } => {
            rule.resource_names.is_empty() || has(&rule.resource_names, name)
        }
        Ask::Path { .. } => true,
    };
    named && allows_some(rule, ask)
}

/// Most single rights that are compared one by one: lists in a rule multiply.
const RIGHTS_MAX: usize = 10_000;

/// There are too many rights to compare.
#[derive(Debug)]
pub(super) struct TooMany;

/// The rights among `wanted` that `held` does not hold, each by itself.
pub(super) fn missing(
    held: &[&PolicyRule],
    wanted: &[PolicyRule],
) -> Result<Vec<PolicyRule>, TooMany> {
    let mut missing = Vec::new();
    let mut looked = 0;
    for rule in wanted {
        // One rule that holds all of it spares taking it apart.
        if held.iter().any(|held| covers(held, rule)) {
            continue;
        }
        let names = rule.resource_names.len().max(1);
        let resources = [rule.api_groups.len(), rule.resources.len(), names];
        let rights = resources
            .into_iter()
            .try_fold(1_usize, usize::checked_mul)
            .and_then(|rights| rights.checked_add(rule.non_resource_urls.len()))
            .and_then(|rights| rights.checked_mul(rule.verbs.len()))
            .ok_or(TooMany)?;
        looked += rights;
        if looked > RIGHTS_MAX {
            return Err(TooMany);
        }
        for right in taken_apart(rule) {
            if !held.iter().any(|held| covers(held, &right)) {
                missing.push(right);
            }
        }
    }
    Ok(missing)
}

fn taken_apart(rule: &PolicyRule) -> Vec<PolicyRule> {
    let names: Vec<Vec<String>> = match rule.resource_names.as_slice() {
        [] => vec![Vec::new()],
        names => names.iter().map(|name| vec![name.clone()]).collect(),
    };
    let mut rights = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            rights.push(PolicyRule {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..PolicyRule::default()
            });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                rights.extend(names.iter().map(|names| PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names: names.clone(),
                    non_resource_urls: Vec::new(),
                }));
            }
        }
    }
    rights
}

fn covers(held: &PolicyRule, wanted: &PolicyRule) -> bool {
    let all = |held: &[String], wanted: &[String]| {
        has(held, ALL) || wanted.iter().all(|entry| has(held, entry))
    };
    let resource = |entry: &String| {
        has_or_all(&held.resources, entry)
            || entry
                .split_once('/')
                .is_some_and(|(_, part)| has(&held.resources, &format!("*/{part}")))
    };
    let url = |path: &String| {
        held.non_resource_urls.iter().any(|entry| {
            entry == path || (entry.ends_with('*') && path.starts_with(entry.trim_end_matches('*')))
        })
    };
    let names = held.resource_names.is_empty()
        || (!wanted.resource_names.is_empty()
            && wanted.resource_names.iter().all(|name| has(&held.resource_names, name)));
    all(&held.verbs, &wanted.verbs)
        && all(&held.api_groups, &wanted.api_groups)
        && wanted.resources.iter().all(resource)
        && wanted.non_resource_urls.iter().all(url)
        && names
}

/// Rights as Kubernetes writes them, one a line: those that differ in their verbs alone together.
pub(super) fn text(rights: &[PolicyRule]) -> String {
    let mut together: BTreeMap<[&[String]; 4], Vec<&str>> = BTreeMap::new();
    for right in rights {
        let about: [&[String]; 4] =
            [&right.api_groups, &right.resources, &right.non_resource_urls, &right.resource_names];
        let verbs = together.entry(about).or_default();
        verbs.extend(right.verbs.iter().map(String::as_str));
    }
    let lines: BTreeSet<String> = together
        .into_iter()
        .map(|([groups, resources, urls, names], verbs)| {
            let verbs: Vec<String> = verbs.into_iter().map(Into::into).collect();
            let parts = [
                ("APIGroups", groups),
                ("Resources", resources),
                ("NonResourceURLs", urls),
                ("ResourceNames", names),
                ("Verbs", &verbs),
            ];
            let parts: Vec<String> = parts
                .into_iter()
                .filter(|(_, values)| !values.is_empty())
                .map(|(name, values)| format!("{name}:{}", list(values)))
                .collect();
            format!("{{{}}}", parts.join(", "))
        })
        .collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// A list as Kubernetes writes it in messages: `["a" "b"]`.
pub(super) fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> PolicyRule {
        let mut parts =
            text.split(' ').map(|part| part.split(',').map(String::from).collect::<Vec<_>>());
        let mut next = || parts.next().unwrap_or_default();
        let (verbs, api_groups, resources, resource_names) = (next(), next(), next(), next());
        PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls: Vec::new() }
    }

    #[test]
    fn rules_allow_what_kubernetes_allows() {
        let ask = |verb, group, resource, subresource, name| Ask::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace: "",
            name,
        };
        for (allowing, ask, allowed) in [
            ("get g things", ask("get", "g", "things", "", "a"), true),
            ("get g things", ask("list", "g", "things", "", ""), false),
            ("get g things", ask("get", "", "things", "", "a"), false),
            ("get g things", ask("get", "g", "things", "status", "a"), false),
            ("get g things/status", ask("get", "g", "things", "status", "a"), true),
            ("get g things/status", ask("get", "g", "things", "", "a"), false),
            ("get g */status", ask("get", "g", "things", "status", "a"), true),
            ("get g */status", ask("get", "g", "things", "scale", "a"), false),
            ("get g */status", ask("get", "g", "things", "", "a"), false),
            ("* * *", ask("patch", "h", "things", "scale", "a"), true),
            ("* * *", ask("*", "*", "*", "", ""), true),
            ("get * *", ask("*", "*", "*", "", ""), false),
            ("get g things a,b", ask("get", "g", "things", "", "b"), true),
            ("get g things a,b", ask("get", "g", "things", "", "c"), false),
            ("list g things a", ask("list", "g", "things", "", ""), false),
            ("create g things a", ask("create", "g", "things", "", ""), false),
        ] {
            assert_eq!(allows(&rule(allowing), &ask), allowed, "{allowing}: {ask:?}");
        }
        let urls = |entry: &str| PolicyRule {
            verbs: vec!["get".into()],
            non_resource_urls: vec![entry.into()],
            ..PolicyRule::default()
        };
        for (entry, path, allowed) in [
            ("/metrics", "/metrics", true),
            ("/metrics", "/metrics/", false),
            ("/apis/*", "/apis/x/v1", true),
            ("/apis/*", "/apis", false),
            ("/apis*", "/apis", true),
            ("*", "/any", true),
            ("", "/any", false),
        ] {
            assert_eq!(allows(&urls(entry), &Ask::Path { verb: "get", path }), allowed, "{entry}");
        }
        assert!(!allows(&rule("* * *"), &Ask::Path { verb: "get", path: "/metrics" }));
    }

    #[test]
    fn what_is_not_held_is_found_and_written_as_kubernetes_writes_it() {
        for (held, wanted, lacking) in [
            (&["get,list g things"][..], "get g things", ""),
            (&["get g things", "list g things"], "get,list g things", ""),
            (&["* * *"], "create,delete a,b x,y/z n", ""),
            (&["get g */status"], "get g things/status", ""),
            (
                &["get g */status"],
                "get g things/scale",
                r#"{APIGroups:["g"], Resources:["things/scale"], Verbs:["get"]}"#,
            ),
            (&["get g things a"], "get g things a", ""),
            (
                &["get g things a"],
                "get g things a,b",
                r#"{APIGroups:["g"], Resources:["things"], ResourceNames:["b"], Verbs:["get"]}"#,
            ),
            (
                &["get g things a"],
                "get g things",
                r#"{APIGroups:["g"], Resources:["things"], Verbs:["get"]}"#,
            ),
            (
                &["get g things"],
                "get,list,watch g things,others",
                "{APIGroups:[\"g\"], Resources:[\"others\"], Verbs:[\"get\" \"list\" \"watch\"]}\n\
                 {APIGroups:[\"g\"], Resources:[\"things\"], Verbs:[\"list\" \"watch\"]}",
            ),
            (
                &["get g things"],
                "* g things",
                r#"{APIGroups:["g"], Resources:["things"], Verbs:["*"]}"#,
            ),
        ] {
            let held: Vec<PolicyRule> = held.iter().map(|text| rule(text)).collect();
            let held: Vec<&PolicyRule> = held.iter().collect();
            let found = missing(&held, &[rule(wanted)]).unwrap();
            assert_eq!(text(&found), lacking, "{wanted}");
        }
    }

    #[test]
    fn rules_that_multiply_are_not_taken_apart() {
        let many = |count: usize| (0..count).map(|n| format!("r{n}")).collect::<Vec<_>>();
        let wanted = PolicyRule {
            verbs: many(300),
            api_groups: many(300),
            resources: many(300),
            ..PolicyRule::default()
        };
        let held = rule("get g things");
        assert!(missing(&[&held], std::slice::from_ref(&wanted)).is_err());
        assert!(missing(&[&rule("* * *")], &[wanted]).unwrap().is_empty());
    }
}
