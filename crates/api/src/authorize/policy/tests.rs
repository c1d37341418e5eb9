//! The index against an evaluator that goes through everything, over random roles, bindings and
//! changes of them; and decisions as Kubernetes words them.

use super::*;
use crate::authorize::Sight;
use proptest::prelude::*;
use quarterdeck_model::{
    Key,
    kinds::{Namespace, RBAC, Secret, Server},
    object::encode,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NAMESPACES: [&str; 2] = ["n0", "n1"];
const INVENTORY: &str = "inventory.quarterdeck.dev";

fn object(kind: KindRef, namespace: &str, name: &str, mut value: Value) -> Object {
    value["metadata"] = json!({"name": name, "uid": "u"});
    if kind.namespaced() {
        value["metadata"]["namespace"] = json!(namespace);
    }
    let key = Key::new(kind, namespace, name);
    Object::from_body(kind, key, Revision(1), &encode(kind, &value)).unwrap()
}

/// What there is, by kind, namespace and name.
type Objects = BTreeMap<(&'static str, &'static str, &'static str), Value>;

/// Decides by going through all bindings.
fn naive(all: &Objects, caller: &Caller, ask: &Ask<'_>) -> bool {
    let is = |subject: &Value, inside: &str| {
        let name = subject["name"].as_str().unwrap();
        match subject["kind"].as_str().unwrap() {
            "User" => caller.user == name,
            "Group" => caller.groups.iter().any(|group| group == name),
            _ => {
                let own = subject["namespace"].as_str().unwrap_or(inside);
                caller.user == format!("system:serviceaccount:{own}:{name}")
            }
        }
    };
    all.iter().any(|((kind, inside, _), binding)| {
        let here = match *kind {
            "ClusterRoleBinding" => true,
            "RoleBinding" => *inside == ask.namespace(),
            _ => return false,
        };
        let mine = binding["subjects"].as_array().unwrap().iter().any(|it| is(it, inside));
        let role = (
            binding["roleRef"]["kind"].as_str().unwrap(),
            binding["roleRef"]["name"].as_str().unwrap(),
        );
        let rules = all.iter().find(|((kind, namespace, name), _)| {
            (*kind, *name) == role && (*kind == "ClusterRole" || namespace == inside)
        });
        here && mine
            && rules.is_some_and(|(_, role)| {
                role["rules"].as_array().unwrap().iter().any(|rule| naive_rule(rule, ask))
            })
    })
}

fn naive_rule(rule: &Value, ask: &Ask<'_>) -> bool {
    let list = |name: &str| -> Vec<String> {
        serde_json::from_value(rule.get(name).cloned().unwrap_or_else(|| json!([]))).unwrap()
    };
    let has = |name: &str, wanted: &str| list(name).iter().any(|it| it == wanted || it == "*");
    match *ask {
        Ask::Path { verb, path } => {
            has("verbs", verb)
                && list("nonResourceURLs").iter().any(|url| match url.strip_suffix('*') {
                    Some(start) => path.starts_with(start),
                    None => url == path,
                })
        }
        Ask::Resource { verb, group, resource, subresource, name, .. } => {
            let full = if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            let any = format!("*/{subresource}");
            let names = list("resourceNames");
            has("verbs", verb)
                && has("apiGroups", group)
                && (has("resources", &full)
                    || (!subresource.is_empty() && list("resources").contains(&any)))
                && (names.is_empty() || names.contains(&name.to_owned()))
        }
    }
}

fn rules() -> impl Strategy<Value = Value> {
    let one = |of: &'static [&'static str]| prop::sample::select(of);
    let resource = (
        one(&["get", "list", "*"]),
        one(&["", INVENTORY, "*"]),
        one(&["secrets", "servers", "namespaces", "servers/status", "*/status", "*"]),
        prop::option::of(one(&["a", "b", "n0"])),
    )
        .prop_map(|(verb, group, resource, name)| {
            let names: Vec<&str> = name.into_iter().collect();
            json!({"verbs": [verb], "apiGroups": [group], "resources": [resource],
                   "resourceNames": names})
        });
    let path = one(&["/metrics", "/apis/*", "*"])
        .prop_map(|url| json!({"verbs": ["get"], "nonResourceURLs": [url]}));
    prop::collection::vec(prop_oneof![4 => resource, 1 => path], 1..3)
        .prop_map(|rules| json!({"rules": rules}))
}

fn bindings(kinds: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let subject = prop::sample::select(vec![
        json!({"kind": "User", "name": "ann"}),
        json!({"kind": "User", "name": "bob"}),
        json!({"kind": "Group", "name": "team"}),
        json!({"kind": "ServiceAccount", "name": "bot"}),
        json!({"kind": "ServiceAccount", "name": "bot", "namespace": "n1"}),
    ]);
    let role = (prop::sample::select(kinds), prop::sample::select(&["r0", "r1"][..]));
    (role, prop::collection::vec(subject, 0..3)).prop_map(|((kind, name), subjects)| {
        json!({"roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}, "subjects": subjects})
    })
}

type Step = ((&'static str, &'static str, &'static str), Option<Value>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let namespace = prop::sample::select(&NAMESPACES[..]);
    let name = || prop::sample::select(&["r0", "r1"][..]);
    let step = prop_oneof![
        (name(), prop::option::weighted(0.8, rules()))
            .prop_map(|(name, value)| (("ClusterRole", "", name), value)),
        (namespace.clone(), name(), prop::option::weighted(0.8, rules()))
            .prop_map(|(namespace, name, value)| (("Role", namespace, name), value)),
        (name(), prop::option::weighted(0.8, bindings(&["ClusterRole"])))
            .prop_map(|(name, value)| (("ClusterRoleBinding", "", name), value)),
        (namespace, name(), prop::option::weighted(0.8, bindings(&["ClusterRole", "Role"])))
            .prop_map(|(namespace, name, value)| (("RoleBinding", namespace, name), value)),
    ];
    prop::collection::vec(step, 1..24)
}

fn callers() -> Vec<Caller> {
    let caller = |user: &str, groups: &[&str]| Caller {
        user: user.into(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        ..Caller::default()
    };
    vec![
        caller("ann", &[]),
        caller("bob", &["team", "other"]),
        caller("system:serviceaccount:n0:bot", &[]),
        caller("system:serviceaccount:n1:bot", &["team"]),
        caller("nobody", &[]),
    ]
}

fn asks() -> Vec<Ask<'static>> {
    let mut asks: Vec<Ask<'static>> =
        ["/metrics", "/apis/x", "/"].map(|path| Ask::Path { verb: "get", path }).into();
    for verb in ["get", "list"] {
        for (group, resource, subresource) in [
            ("", "secrets", ""),
            (INVENTORY, "servers", ""),
            (INVENTORY, "servers", "status"),
            ("", "namespaces", ""),
        ] {
            for namespace in ["", "n0", "n1"] {
                for name in ["", "a", "n0"] {
                    asks.push(Ask::Resource {
                        verb,
                        group,
                        resource,
                        subresource,
                        namespace,
                        name,
                    });
                }
            }
        }
    }
    asks
}

proptest! {
    #[test]
    fn the_index_decides_as_going_through_everything_does(steps in steps()) {
        let (mut policy, mut all) = (Policy::default(), Objects::new());
        for (place, value) in steps {
            let (kind, namespace, name) = place;
            let kind = kinds().into_iter().find(|it| it.kind == kind).unwrap();
            let made = value.clone().map(|value| object(kind, namespace, name, value));
            policy.apply(kind, namespace, name, made.as_ref());
            match value {
                Some(value) => drop(all.insert(place, value)),
                None => drop(all.remove(&place)),
            }
        }
        for caller in callers() {
            for ask in asks() {
                prop_assert_eq!(policy.may(&caller, &ask), naive(&all, &caller, &ask),
                    "{} {:?} {:#?}", caller.user, ask, all);
            }
            for (kind, namespace) in [
                (Secret::info(), None), (Secret::info(), Some("n0")), (Server::info(), None),
                (Namespace::info(), None),
            ] {
                let sight = policy.sight(&caller, "list", kind, namespace, "");
                if let Some(Sight::Some(seen)) = &sight {
                    prop_assert!(!seen.stretches().is_empty());
                }
                for inside in NAMESPACES.into_iter().filter(|it| namespace.is_none_or(|n| n == *it)) {
                    for name in ["a", "b", "n0", "n1"] {
                        let place = if kind.namespaced() { inside } else { "" };
                        // A Namespace is in itself.
                        let asked = if kind == Namespace::info() { name } else { place };
                        let ask = Ask::Resource {
                            verb: "list", group: kind.group, resource: kind.plural,
                            subresource: "", namespace: asked, name,
                        };
                        let seen = sight.as_ref().is_some_and(|sight| sight.sees(place, name));
                        prop_assert_eq!(seen, naive(&all, &caller, &ask),
                            "{} {:?} {} {:#?}", caller.user, kind, name, all);
                    }
                }
            }
        }
        // Nothing is left behind of what is gone.
        for ((kind, namespace, name), _) in all {
            let kind = kinds().into_iter().find(|it| it.kind == kind).unwrap();
            policy.apply(kind, namespace, name, None);
        }
        prop_assert!(policy.subjects.users.is_empty() && policy.subjects.groups.is_empty());
        prop_assert!(policy.bindings.is_empty() && policy.roles.is_empty());
    }
}

#[test]
fn decisions_say_why_as_kubernetes_does() {
    let mut policy = Policy::default();
    let mut put = |kind: KindRef, namespace: &str, name: &str, value: Value| {
        policy.apply(kind, namespace, name, Some(&object(kind, namespace, name, value)));
    };
    let get = |resource: &str| json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]});
    let bind = |kind: &str, role: &str, subject: Value| json!({"roleRef": {"apiGroup": RBAC, "kind": kind, "name": role}, "subjects": [subject]});
    put(ClusterRole::info(), "", "y", get("secrets"));
    put(Role::info(), "n", "local", get("events"));
    let (ann, team) =
        (json!({"kind": "User", "name": "ann"}), json!({"kind": "Group", "name": "z"}));
    put(ClusterRoleBinding::info(), "", "x", bind("ClusterRole", "y", team));
    put(RoleBinding::info(), "n", "b", bind("Role", "local", ann.clone()));
    put(
        RoleBinding::info(),
        "n",
        "c",
        bind("Role", "local", json!({"kind": "ServiceAccount", "name": "bot"})),
    );
    put(RoleBinding::info(), "n", "d", bind("Role", "gone", ann));
    let decide = |user: &str, groups: &[&str], resource: &str| {
        let groups = groups.iter().map(|group| (*group).into()).collect();
        let caller = Caller { user: user.into(), groups, ..Caller::default() };
        let ask = Ask::Resource {
            verb: "get",
            group: "",
            resource,
            subresource: "",
            namespace: "n",
            name: "s",
        };
        let decision = policy.decide(&caller, &ask);
        (decision.allowed(), decision.reason())
    };
    for (user, groups, resource, allowed, reason) in [
        (
            "eve",
            &["z"][..],
            "secrets",
            true,
            r#"RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "y" to Group "z""#,
        ),
        (
            "ann",
            &[],
            "events",
            true,
            r#"RBAC: allowed by RoleBinding "b/n" of Role "local" to User "ann""#,
        ),
        (
            "system:serviceaccount:n:bot",
            &[],
            "events",
            true,
            r#"RBAC: allowed by RoleBinding "c/n" of Role "local" to ServiceAccount "bot/n""#,
        ),
        ("ann", &[], "secrets", false, r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#),
        ("eve", &[], "secrets", false, ""),
        ("eve", &["system:masters"], "anything", true, ""),
    ] {
        assert_eq!(decide(user, groups, resource), (allowed, reason.to_owned()));
    }
}
