//! Which roles and bindings make sense, and how rules are gathered.

use super::*;
use serde_json::{Value, json};

fn fields(kind: crate::KindRef, value: &Value, old: Option<&Value>) -> Vec<String> {
    match (kind.admit)(value, old) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.field).collect(),
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_field() {
    let role =
        |rules: Value| json!({"metadata": {"name": "a:b", "namespace": "n"}, "rules": rules});
    let cluster = |rules: Value, aggregation: Value| {
        let mut role = json!({"metadata": {"name": "system:a"}, "rules": rules});
        if !aggregation.is_null() {
            role["aggregationRule"] = aggregation;
        }
        role
    };
    let get = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]});
    let path = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
    let both = json!({"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["b"]});
    for (kind, value, wanted) in [
        (Role::info(), role(json!([get])), &[][..]),
        (Role::info(), role(json!([path])), &["rules[0].nonResourceURLs"]),
        (
            Role::info(),
            role(json!([get, {}])),
            &["rules[1].verbs", "rules[1].apiGroups", "rules[1].resources"],
        ),
        (Role::info(), json!({"metadata": {"name": "a/b", "namespace": "n"}}), &["metadata.name"]),
        (ClusterRole::info(), cluster(json!([path, get]), Value::Null), &[]),
        (ClusterRole::info(), cluster(json!([both]), Value::Null), &["rules[0].nonResourceURLs"]),
        (
            ClusterRole::info(),
            cluster(json!([]), json!({})),
            &["aggregationRule.clusterRoleSelectors"],
        ),
        (
            ClusterRole::info(),
            cluster(
                json!([]),
                json!({"clusterRoleSelectors": [{"matchExpressions": [
                    {"key": "a", "operator": "Like"}, {"key": "b", "operator": "In"}]}]}),
            ),
            &[
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator",
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[1].values",
            ],
        ),
    ] {
        assert_eq!(fields(kind, &value, None), wanted, "{value}");
    }
}

#[test]
fn bindings_name_a_role_and_known_subjects() {
    let binding = |role: Value, subjects: Value| json!({"metadata": {"name": "b", "namespace": "n"}, "roleRef": role, "subjects": subjects});
    let view = json!({"kind": "ClusterRole", "name": "view"});
    let ann = json!([{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "s"}]);
    let good = binding(view.clone(), ann.clone());
    let stored = (RoleBinding::info().admit)(&good, None).unwrap();
    assert_eq!(stored["roleRef"]["apiGroup"], RBAC);
    assert_eq!(stored["subjects"][0]["apiGroup"], RBAC);
    assert_eq!(stored["subjects"][1].get("apiGroup"), None);
    let other = binding(json!({"kind": "ClusterRole", "name": "edit"}), ann);
    assert_eq!(fields(RoleBinding::info(), &other, Some(&stored)), ["roleRef"]);
    assert_eq!(
        fields(
            RoleBinding::info(),
            &binding(
                json!({"kind": "Thing"}),
                json!([{"kind": "Robot", "name": "r"}, {"kind": "User", "apiGroup": "x", "name": "u"}])
            ),
            None
        ),
        ["roleRef.kind", "roleRef.name", "subjects[0].kind", "subjects[1].apiGroup"]
    );
    let mut cluster = binding(json!({"kind": "Role", "name": "view"}), good["subjects"].clone());
    cluster["metadata"] = json!({"name": "b"});
    assert_eq!(
        fields(ClusterRoleBinding::info(), &cluster, None),
        ["roleRef.kind", "subjects[1].namespace"]
    );
}

#[test]
fn rules_are_gathered_by_label_each_once() {
    let rule = |verb: &str| PolicyRule { verbs: vec![verb.into()], ..PolicyRule::default() };
    let role = |name: &str, label: &str, verbs: &[&str]| ClusterRole {
        metadata: ObjectMeta {
            name: name.into(),
            labels: [(label.into(), "true".into())].into(),
            ..ObjectMeta::default()
        },
        rules: verbs.iter().map(|verb| rule(verb)).collect(),
        aggregation_rule: None,
    };
    let all = [
        role("a", "x", &["get", "list"]),
        role("b", "x", &["list", "watch"]),
        role("c", "y", &["delete"]),
    ];
    let selector = |text: &str| serde_json::from_str::<AggregationRule>(text).ok();
    let gather = |text: &str| {
        let whole = ClusterRole { aggregation_rule: selector(text), ..ClusterRole::default() };
        let rules = aggregated(&whole, &all).unwrap();
        rules.into_iter().flat_map(|rule| rule.verbs).collect::<Vec<_>>().join(",")
    };
    assert_eq!(
        gather(r#"{"clusterRoleSelectors":[{"matchLabels":{"x":"true"}}]}"#),
        "get,list,watch"
    );
    assert_eq!(
        gather(
            r#"{"clusterRoleSelectors":[{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}]}"#
        ),
        "delete"
    );
    assert!(aggregated(&ClusterRole::default(), &all).is_none());
}
