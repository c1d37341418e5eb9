//! Which requests are logged, and how much of each: Kubernetes' `audit.k8s.io/v1` Policy. Pure.
//!
//! The first rule that fits decides; what no rule fits is not logged. What is confidential never has its
//! body logged, whatever a rule says.
//! Source: k8s.io/apiserver, `pkg/audit/policy/checker.go` and `pkg/apis/audit/validation`.

use super::attributes::{Attributes, Resource};
use serde::{Deserialize, Serialize};

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who did what, and how it was answered.
    Metadata,
    /// The body of the request as well.
    Request,
    /// The body of the answer as well.
    RequestResponse,
}

/// A moment in the life of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It came. Never logged here: its end tells all.
    RequestReceived,
    /// A watch began.
    ResponseStarted,
    /// It was answered.
    ResponseComplete,
    /// It ended without an answer.
    Panic,
}

/// A policy, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "it may be there, and says nothing")]
    metadata: serde::de::IgnoredAny,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a policy says of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    pub(crate) omit_managed_fields: bool,
}

/// Largest policy file: beyond, it is not a policy.
pub(super) const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// Resources (with `/`, their parts) whose bodies hold what nobody else may read.
const CONFIDENTIAL: [(&str, &str); 4] = [
    ("", "secrets"),
    ("", "serviceaccounts/token"),
    ("compute.quarterdeck.dev", "machines/jointoken"),
    ("authentication.k8s.io", "tokenreviews"),
];

/// Whether the bodies of requests for it hold what nobody else may read.
pub(crate) fn is_confidential(resource: &Resource<'_>) -> bool {
    CONFIDENTIAL.iter().any(|(group, name)| {
        let (name, part) = name.split_once('/').unwrap_or((name, ""));
        *group == resource.group
            && name == resource.resource
            && (part.is_empty() || part == resource.subresource)
    })
}

impl Policy {
    /// What holds when none is given.
    pub(super) const DEFAULT: &'static str = include_str!("default-policy.yaml");

    /// Reads a policy.
    ///
    /// # Errors
    /// Says what is wrong, and in which field.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(format!("it is larger than {POLICY_BYTES_MAX} bytes"));
        }
        let policy: Self = crate::yaml::read(text.as_bytes()).map_err(|error| error.to_string())?;
        if (policy.api_version.as_str(), policy.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            let Self { api_version, kind, .. } = policy;
            return Err(format!(
                "apiVersion, kind: expected audit.k8s.io/v1 and Policy, found {api_version:?} and {kind:?}"
            ));
        }
        for (number, rule) in policy.rules.iter().enumerate() {
            rule.check().map_err(|(field, why)| format!("rules[{number}].{field}: {why}"))?;
        }
        Ok(policy)
    }

    /// What is logged of a request at a stage.
    pub(crate) fn decide(
        &self,
        user: &str,
        groups: &[String],
        attributes: &Attributes<'_>,
        stage: Stage,
    ) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(user, groups, attributes)) else {
            return Verdict::default();
        };
        if self.omit_stages.contains(&stage) || rule.omit_stages.contains(&stage) {
            return Verdict::default();
        }
        let confidential = attributes.resource.as_ref().is_some_and(is_confidential);
        Verdict {
            level: if confidential { rule.level.min(Level::Metadata) } else { rule.level },
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }

    /// Whether any rule asks for bodies.
    pub(crate) fn wants_bodies(&self) -> bool {
        self.rules.iter().any(|rule| rule.level > Level::Metadata)
    }
}

impl Rule {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if resources && !self.non_resource_urls.is_empty() {
            let why = "a rule is about resources and namespaces, or about other paths, not both";
            return Err(("nonResourceURLs", why.into()));
        }
        for url in &self.non_resource_urls {
            let stem = url.strip_suffix('*').unwrap_or(url);
            if url != "*" && (!url.starts_with('/') || stem.contains('*')) {
                let why = format!("{url:?} must begin with / and have * at its end only");
                return Err(("nonResourceURLs", why));
            }
        }
        for GroupResources { group, resources, resource_names } in &self.resources {
            if group.contains('/') {
                return Err(("resources.group", format!("{group:?} must be without its version")));
            }
            if resources.is_empty() && !resource_names.is_empty() {
                let why = "names are of resources: say which";
                return Err(("resources.resourceNames", why.into()));
            }
        }
        Ok(())
    }

    fn fits(&self, user: &str, groups: &[String], attributes: &Attributes<'_>) -> bool {
        let among = |list: &[String], text: &str| {
            list.is_empty() || list.iter().any(|listed| listed == text)
        };
        let in_group = self.user_groups.is_empty()
            || groups.iter().any(|group| self.user_groups.contains(group));
        if !among(&self.users, user) || !in_group || !among(&self.verbs, attributes.verb) {
            return false;
        }
        if !self.non_resource_urls.is_empty() {
            return attributes.resource.is_none()
                && self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                    Some(stem) => attributes.path.starts_with(stem),
                    None => *url == attributes.path,
                });
        }
        if self.resources.is_empty() && self.namespaces.is_empty() {
            return true;
        }
        attributes.resource.as_ref().is_some_and(|resource| {
            among(&self.namespaces, &resource.namespace)
                && (self.resources.is_empty()
                    || self.resources.iter().any(|these| these.have(resource)))
        })
    }
}

impl GroupResources {
    fn have(&self, asked: &Resource<'_>) -> bool {
        if self.group != asked.group {
            return false;
        }
        let named = self.resource_names.is_empty()
            || self.resource_names.iter().any(|name| *name == asked.name);
        self.resources.is_empty()
            || named && self.resources.iter().any(|pattern| names(pattern, asked))
    }
}

/// Whether `pattern` (`*`, `racks`, `racks/status`, `racks/*`, `*/status`) names the resource.
fn names(pattern: &str, asked: &Resource<'_>) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || pattern == asked.resource && asked.subresource.is_empty(),
        Some(("*", part)) => !part.is_empty() && part == asked.subresource,
        Some((resource, "*")) => resource == asked.resource,
        Some((resource, part)) => {
            resource == asked.resource && !part.is_empty() && part == asked.subresource
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Uri};
    use proptest::prelude::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}"))
            .unwrap()
    }

    fn level(policy: &Policy, user: &str, group: &str, method: Method, path: &str) -> Level {
        let uri: Uri = path.parse().unwrap();
        let attributes = Attributes::of(&method, &uri);
        policy.decide(user, &[group.to_owned()], &attributes, Stage::ResponseComplete).level
    }

    #[test]
    fn the_default_logs_writes() {
        let policy = Policy::parse(Policy::DEFAULT).unwrap();
        let racks = "/apis/inventory.quarterdeck.dev/v1alpha1/racks";
        let events = "/api/v1/namespaces/default/events";
        let asking = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        for (group, method, path, expected) in [
            ("g", Method::GET, racks, Level::None),
            ("g", Method::GET, "/api/v1/secrets?watch=1", Level::None),
            ("g", Method::GET, "/api/v1/namespaces/a/pods/p", Level::None),
            ("g", Method::GET, "/api/v1/namespaces/a/pods/p/log", Level::Metadata),
            ("g", Method::GET, "/api/v1/namespaces/a/pods/p/exec?command=ls", Level::Metadata),
            ("g", Method::GET, "/metrics", Level::None),
            ("g", Method::HEAD, "/livez", Level::None),
            ("g", Method::POST, racks, Level::Metadata),
            ("g", Method::DELETE, racks, Level::Metadata),
            ("g", Method::PATCH, "/version", Level::Metadata),
            ("g", Method::POST, events, Level::Metadata),
            ("system:controllers", Method::POST, events, Level::None),
            ("system:controllers", Method::POST, racks, Level::Metadata),
            ("g", Method::POST, asking, Level::None),
        ] {
            assert_eq!(level(&policy, "u", group, method, path), expected, "{path}");
        }
        assert!(!policy.wants_bodies());
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = policy(
            "
  - {level: Metadata, users: [ann]}
  - {level: Request, userGroups: [ops], verbs: [create, delete]}
  - {level: None, namespaces: [quiet]}
  - {level: RequestResponse, resources: [{group: '', resources: ['secrets', 'namespaces/*']}]}
  - {level: Request, resources: [{group: g.dev, resources: ['*/status']}]}
  - {level: RequestResponse, resources: [{group: g.dev, resources: [racks], resourceNames: [r1]}]}
  - {level: Metadata, nonResourceURLs: ['/met*', '/version']}
",
        );
        let racks = "/apis/g.dev/v1/racks";
        for (user, group, method, path, expected) in [
            ("ann", "ops", Method::POST, racks, Level::Metadata),
            ("bob", "ops", Method::POST, racks, Level::Request),
            ("bob", "ops", Method::PUT, racks, Level::None),
            ("bob", "dev", Method::PUT, "/api/v1/namespaces/quiet/secrets/s", Level::None),
            // Nobody's bodies of Secrets are logged, though the rule says so.
            ("bob", "dev", Method::PUT, "/api/v1/namespaces/a/secrets/s", Level::Metadata),
            ("bob", "ops", Method::POST, "/api/v1/namespaces/a/%73ecrets", Level::Metadata),
            (
                "bob",
                "ops",
                Method::POST,
                "/api/v1/namespaces/a/serviceaccounts/s/token",
                Level::Metadata,
            ),
            ("bob", "dev", Method::PUT, "/api/v1/namespaces/a/status", Level::RequestResponse),
            ("bob", "dev", Method::PUT, "/apis/g.dev/v1/racks/r2/status", Level::Request),
            ("bob", "dev", Method::PUT, "/apis/g.dev/v1/racks/r1", Level::RequestResponse),
            ("bob", "dev", Method::PUT, "/apis/g.dev/v1/racks/r2", Level::None),
            ("bob", "dev", Method::GET, "/metrics", Level::Metadata),
            ("bob", "dev", Method::GET, "/version", Level::Metadata),
            ("bob", "dev", Method::GET, "/versions", Level::None),
        ] {
            assert_eq!(level(&policy, user, group, method, path), expected, "{user} {path}");
        }
    }

    #[test]
    fn stages_and_managed_fields_can_be_left_out() {
        let text = "
apiVersion: audit.k8s.io/v1
kind: Policy
metadata: {name: any}
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - {level: Metadata, users: [a], omitStages: [ResponseStarted], omitManagedFields: false}
  - level: Request
";
        let policy = Policy::parse(text).unwrap();
        let uri = Uri::from_static("/api/v1/secrets?watch=1");
        let attributes = Attributes::of(&Method::GET, &uri);
        let at = |user, stage| policy.decide(user, &[], &attributes, stage);
        assert_eq!(at("a", Stage::ResponseStarted).level, Level::None);
        assert_eq!(at("a", Stage::ResponseComplete).level, Level::Metadata);
        assert!(!at("a", Stage::ResponseComplete).omit_managed_fields);
        assert!(at("b", Stage::ResponseStarted).omit_managed_fields);
    }

    #[test]
    fn mistakes_are_named() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        for (text, part) in [
            ("kind: Policy\nrules: []", "apiVersion"),
            ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: []", "v1beta1"),
            (&format!("{head}rule: []"), "rule"),
            (&format!("{head}rules: [{{level: Everything}}]"), "Everything"),
            (&format!("{head}rules: [{{users: [a]}}]"), "level"),
            (&format!("{head}rules: [{{level: None, user: [a]}}]"), "user"),
            (
                &format!("{head}rules: [{{level: None}}, {{level: None, nonResourceURLs: [a]}}]"),
                "rules[1].nonResourceURLs",
            ),
            (
                &format!("{head}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/a]}}]"),
                "not both",
            ),
            (
                &format!("{head}rules: [{{level: None, resources: [{{resourceNames: [a]}}]}}]"),
                "rules[0].resources.resourceNames",
            ),
            (
                &format!("{head}rules: [{{level: None, resources: [{{group: a/v1}}]}}]"),
                "without its version",
            ),
        ] {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_policy_and_no_request_make_it_panic(
            text in "[a-zA-Z:\\[\\]{}*/\n -]{0,200}",
            pattern in "[a-z*/]{0,12}",
            path in "[/%a-z0-9]{0,60}",
        ) {
            let _ = Policy::parse(&text);
            let rules = format!("  - {{level: Request, resources: [{{resources: ['{pattern}']}}]}}\n");
            let policy = policy(&rules);
            if let Ok(uri) = format!("/{path}").parse::<Uri>() {
                let attributes = Attributes::of(&Method::PUT, &uri);
                let verdict = policy.decide("u", &[], &attributes, Stage::ResponseComplete);
                let hidden = attributes.resource.as_ref().is_some_and(is_confidential);
                prop_assert!(!hidden || verdict.level <= Level::Metadata);
            }
        }
    }
}
