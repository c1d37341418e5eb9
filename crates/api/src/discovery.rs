//! What this server serves, in the forms clients discover it: legacy lists and aggregated
//! discovery. All of it follows from the kinds; it never changes while the process runs.

use crate::{
    core_view::{self, PodPart, View, usage},
    definitions,
    scale::SCALE,
};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{self, Machine, SERVICES, ServiceAccount, V1ALPHA1},
};
use serde_json::{Value, json};

/// A resource that is asked, not stored.
#[derive(Clone, Copy)]
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) version: &'static str,
}

impl Review {
    const fn new(group: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self { group, plural, kind, namespaced: false, version: "v1" }
    }

    const fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    const fn namespaced(mut self) -> Self {
        self.namespaced = true;
        self
    }
}

/// All of them.
pub(crate) const REVIEWS: [Review; 7] = [
    Review::new("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    Review::new("authentication.k8s.io", "tokenreviews", "TokenReview"),
    Review::new("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview")
        .namespaced(),
    Review::new("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    Review::new("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    Review::new("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    Review::new(SERVICES, "impactreports", "ImpactReport").version(V1ALPHA1),
];

/// What `serviceaccounts/token` takes and answers: its group, version and kind.
const TOKEN: (&str, &str, &str) = ("authentication.k8s.io", "v1", "TokenRequest");

/// What `machines/jointoken` takes and answers.
const JOIN_TOKEN: &str = "JoinTokenRequest";

/// One group and version with what it serves.
pub(crate) struct GroupVersion {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kinds: Vec<KindRef>,
}

/// All groups, the core first, each with one version.
pub(crate) fn group_versions() -> Vec<GroupVersion> {
    let mut found: Vec<GroupVersion> = Vec::new();
    for kind in kinds::all() {
        match found.iter_mut().find(|g| g.group == kind.group && g.version == kind.version) {
            Some(group) => group.kinds.push(kind),
            None => found.push(GroupVersion {
                group: kind.group,
                version: kind.version,
                kinds: vec![kind],
            }),
        }
    }
    if let Some(core) = found.iter_mut().find(|group| group.group.is_empty()) {
        core.kinds.extend(core_view::kinds());
    }
    found.push(GroupVersion {
        group: definitions::kind().group,
        version: definitions::kind().version,
        kinds: vec![definitions::kind()],
    });
    // Behind the core: `kubectl get pods` is about those of the first group that has them.
    found.push(GroupVersion {
        group: usage::GROUP,
        version: usage::VERSION,
        kinds: usage::kinds().into(),
    });
    for group in ["authentication.k8s.io", "authorization.k8s.io"] {
        found.push(GroupVersion { group, version: "v1", kinds: Vec::new() });
    }
    found
}

fn verbs(kind: KindRef) -> &'static [&'static str] {
    if kind == definitions::kind() {
        &definitions::VERBS
    } else if usage::of(kind).is_some() {
        &usage::VERBS
    } else if View::of(kind) == Some(View::Nodes) {
        &core_view::NODE_VERBS
    } else if View::of(kind).is_some() {
        &core_view::VERBS
    } else {
        &OBJECT_VERBS
    }
}

const OBJECT_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const PART_VERBS: [&str; 3] = ["get", "patch", "update"];

/// What is done with objects of a kind besides.
fn parts_of(kind: KindRef) -> &'static [PodPart] {
    match View::of(kind) {
        Some(View::Pods) => &PodPart::ALL,
        _ => &[],
    }
}

fn reviews_of(group: &str) -> impl Iterator<Item = Review> {
    REVIEWS.into_iter().filter(move |review| review.group == group)
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

fn group(group: &GroupVersion) -> Value {
    let version = json!({
        "groupVersion": format!("{}/{}", group.group, group.version),
        "version": group.version,
    });
    json!({"name": group.group, "versions": [version.clone()], "preferredVersion": version})
}

/// `/apis`.
pub(crate) fn groups() -> Value {
    let groups: Vec<Value> =
        group_versions().iter().filter(|g| !g.group.is_empty()).map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn one_group(name: &str) -> Option<Value> {
    let groups = group_versions();
    let mut found = group(groups.iter().find(|g| g.group == name && !name.is_empty())?);
    if let Some(found) = found.as_object_mut() {
        found.insert("kind".into(), "APIGroup".into());
        found.insert("apiVersion".into(), "v1".into());
    }
    Some(found)
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub(crate) fn resources(name: &str, version: &str) -> Option<Value> {
    let groups = group_versions();
    let found = groups.iter().find(|g| g.group == name && g.version == version)?;
    let mut list = Vec::new();
    for kind in &found.kinds {
        list.push(json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced(),
            "kind": kind.kind,
            "verbs": verbs(kind),
            "shortNames": kind.short_names,
            "categories": kind.categories,
        }));
        if kind.has_status {
            list.push(json!({
                "name": format!("{}/status", kind.plural),
                "singularName": "",
                "namespaced": kind.namespaced(),
                "kind": kind.kind,
                "verbs": PART_VERBS,
            }));
        }
        if kind.scale.is_some() {
            list.push(json!({
                "name": format!("{}/scale", kind.plural), "singularName": "",
                "namespaced": kind.namespaced(),
                "group": SCALE.0, "version": SCALE.1, "kind": SCALE.2, "verbs": PART_VERBS,
            }));
        }
        for part in parts_of(kind) {
            let (group, version, name) = part.kind();
            let mut entry = json!({
                "name": part.resource(), "singularName": "", "namespaced": true,
                "version": version, "kind": name, "verbs": part.verbs(),
            });
            // By its group kubectl knows how a Pod is asked to go.
            if let Some(entry) = entry.as_object_mut().filter(|_| !group.is_empty()) {
                entry.insert("group".into(), group.into());
            }
            list.push(entry);
        }
        if *kind == ServiceAccount::info() {
            list.push(json!({
                "name": "serviceaccounts/token", "singularName": "", "namespaced": true,
                "group": TOKEN.0, "version": TOKEN.1, "kind": TOKEN.2, "verbs": ["create"],
            }));
        }
        if *kind == Machine::info() {
            list.push(json!({
                "name": "machines/jointoken", "singularName": "", "namespaced": true,
                "kind": JOIN_TOKEN, "verbs": ["create"],
            }));
        }
    }
    for review in reviews_of(name) {
        list.push(json!({
            "name": review.plural, "singularName": "", "namespaced": review.namespaced,
            "kind": review.kind, "verbs": ["create"],
        }));
    }
    let group_version = if name.is_empty() { version.into() } else { format!("{name}/{version}") };
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": list,
    }))
}

/// Aggregated discovery: `core` for `/api`, else all other groups for `/apis`.
pub(crate) fn aggregated(core: bool, form_version: &str) -> Value {
    let items: Vec<Value> = group_versions()
        .iter()
        .filter(|group| group.group.is_empty() == core)
        .map(|group| {
            let mut resources: Vec<Value> = group.kinds.iter().map(|kind| entry(kind)).collect();
            for review in reviews_of(group.group) {
                resources.push(json!({
                    "resource": review.plural,
                    "responseKind":
                        {"group": group.group, "version": group.version, "kind": review.kind},
                    "scope": if review.namespaced { "Namespaced" } else { "Cluster" },
                    "singularResource": "",
                    "verbs": ["create"],
                }));
            }
            json!({
                "metadata": {"name": group.group, "creationTimestamp": null},
                "versions": [{
                    "version": group.version,
                    "freshness": "Current",
                    "resources": resources,
                }],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form_version}"),
        "metadata": {},
        "items": items,
    })
}

fn entry(kind: KindRef) -> Value {
    let response = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let status = kind
        .has_status
        .then(|| json!({"subresource": "status", "responseKind": response, "verbs": PART_VERBS}));
    let token = (kind == ServiceAccount::info()).then(|| {
        let response = json!({"group": TOKEN.0, "version": TOKEN.1, "kind": TOKEN.2});
        json!({"subresource": "token", "responseKind": response, "verbs": ["create"]})
    });
    let scale = kind.scale.map(|_| {
        let response = json!({"group": SCALE.0, "version": SCALE.1, "kind": SCALE.2});
        json!({"subresource": "scale", "responseKind": response, "verbs": PART_VERBS})
    });
    let join = (kind == Machine::info()).then(|| {
        let response = json!({"group": kind.group, "version": kind.version, "kind": JOIN_TOKEN});
        json!({"subresource": "jointoken", "responseKind": response, "verbs": ["create"]})
    });
    let of_pods = parts_of(kind).iter().map(|part| {
        let (group, version, name) = part.kind();
        let response = json!({"group": group, "version": version, "kind": name});
        json!({"subresource": part.name(), "responseKind": response, "verbs": part.verbs()})
    });
    let parts = status.into_iter().chain(scale).chain(token).chain(join).chain(of_pods);
    let parts: Vec<Value> = parts.collect();
    json!({
        "resource": kind.plural,
        "responseKind": response,
        "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
        "shortNames": kind.short_names,
        "categories": kind.categories,
        "subresources": parts,
    })
}

/// `/`: the paths there are.
pub(crate) fn paths() -> Value {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(Into::into)
    .into();
    for group in group_versions() {
        if group.group.is_empty() {
            paths.push(format!("/api/{}", group.version));
        } else {
            paths.push(format!("/apis/{}", group.group));
            paths.push(format!("/apis/{}/{}", group.group, group.version));
        }
    }
    paths.sort();
    json!({"paths": paths})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_every_form() {
        for kind in kinds::all() {
            let legacy = resources(kind.group, kind.version).unwrap().to_string();
            let aggregated = aggregated(kind.group.is_empty(), "v2").to_string();
            for text in [legacy, aggregated] {
                assert!(text.contains(&format!("\"{}\"", kind.plural)), "{kind:?}: {text}");
            }
            assert!(kind.group.is_empty() || one_group(kind.group).is_some());
        }
        assert!(resources("none", "v1").is_none());
    }
}
