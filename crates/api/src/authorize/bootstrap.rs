//! The roles and bindings every plane begins with, and how they are kept: what a release adds is
//! added, what people added stays. An object whose annotation `autoupdate` is `false` is theirs.
//! Pure. Source: Kubernetes "Using RBAC Authorization", "Default roles and role bindings".

use super::rule;
use crate::{
    core_view::usage,
    identity::{AUTHENTICATED, SERVICE_ACCOUNTS, UNAUTHENTICATED},
};
use quarterdeck_model::{
    Kind as _, KindRef, kinds,
    kinds::{
        AgentTask, ClusterRole, ClusterRoleBinding, Instance, Machine, Permit, PolicyRule, RBAC,
        RunbookRevision, SERVICES, WorkloadRevision, rbac::aggregated,
    },
};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// Who may read how tokens of service accounts are verified.
const ISSUER_DISCOVERY: &str = "system:service-account-issuer-discovery";
/// Who may ask the questions of the page: each is answered with what its asker may see.
const PAGE: &str = "system:page";
const ROLE_REF: &str = "roleRef";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// All of them, roles first.
pub(crate) fn shipped() -> Vec<(KindRef, Value)> {
    let mut roles = roles();
    gather(&mut roles);
    let bind = |role: &str, groups: &[&str]| {
        let subjects: Vec<Value> = groups
            .iter()
            .map(|group| json!({"kind": "Group", "apiGroup": RBAC, "name": group}))
            .collect();
        json!({
            "metadata": metadata(role, &[]),
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        })
    };
    let bindings = [
        bind("cluster-admin", &["system:masters"]),
        bind("system:basic-user", &[AUTHENTICATED]),
        bind("system:discovery", &[AUTHENTICATED]),
        bind(PAGE, &[AUTHENTICATED]),
        bind("system:monitoring", &["system:monitoring"]),
        bind(ISSUER_DISCOVERY, &[SERVICE_ACCOUNTS]),
        bind("system:public-info-viewer", &[AUTHENTICATED, UNAUTHENTICATED]),
    ];
    let roles = roles.into_iter().map(|role| (ClusterRole::info(), role));
    roles.chain(bindings.map(|binding| (ClusterRoleBinding::info(), binding))).collect()
}

fn metadata(name: &str, aggregated_to: &[&str]) -> Value {
    let mut labels = Map::new();
    labels.insert("kubernetes.io/bootstrapping".into(), "rbac-defaults".into());
    for role in aggregated_to {
        labels.insert(aggregation_label(role), "true".into());
    }
    json!({"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}})
}

fn aggregation_label(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

fn roles() -> Vec<Value> {
    let role = |name: &str, aggregated_to: &[&str], rules: Vec<Value>| json!({"metadata": metadata(name, aggregated_to), "rules": rules});
    let gathering = |name: &str, aggregated_to: &[&str]| {
        json!({
            "metadata": metadata(name, aggregated_to),
            "rules": [],
            "aggregationRule": {"clusterRoleSelectors": [
                {"matchLabels": {aggregation_label(name): "true"}},
            ]},
        })
    };
    let of = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let get = |paths: &[&str]| json!({"nonResourceURLs": paths, "verbs": ["get"]});
    let all = [&READ[..], &WRITE[..]].concat();
    let reviews = of(
        "authorization.k8s.io",
        &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        &["create"],
    );
    let who = of("authentication.k8s.io", &["selfsubjectreviews"], &["create"]);
    let to_see = [
        "events",
        "namespaces",
        "nodes",
        "pods",
        "resourcequotas",
        "resourcequotas/status",
        "serviceaccounts",
    ];
    let mut to_view = vec![of("", &to_see, &READ)];
    to_view.push(of("", &["pods/log"], &["get"]));
    to_view.push(of(usage::GROUP, &["nodes", "pods"], &["get", "list"]));
    to_view.extend(own_kinds(true));
    let mut to_edit = vec![
        of("", &["secrets", "serviceaccounts"], &all),
        of("", &["serviceaccounts"], &["impersonate"]),
        of("", &["serviceaccounts/token"], &["create"]),
    ];
    to_edit.push(of("", &["pods/eviction", "pods/exec"], &["create"]));
    to_edit.push(of("", &["nodes"], &["patch", "update"]));
    to_edit.push(of(Machine::info().group, &["machines/jointoken"], &["create"]));
    to_edit.extend(own_kinds(false));
    let to_admin = vec![
        of(RBAC, &["roles", "rolebindings"], &all),
        of("authorization.k8s.io", &["localsubjectaccessreviews"], &["create"]),
    ];
    // For servers that ask here who calls them.
    let delegated = vec![
        of("authentication.k8s.io", &["tokenreviews"], &["create"]),
        of("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
    ];
    let issuer = [
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
    ];
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    let every_path = json!({"nonResourceURLs": ["*"], "verbs": ["*"]});
    let ask = json!({"nonResourceURLs": ["/graphql"], "verbs": ["post"]});
    let probes = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let apis = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"];
    let health = ["/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*"];
    vec![
        role("cluster-admin", &[], vec![everything, every_path]),
        role("system:aggregate-to-view", &["view"], to_view),
        role("system:aggregate-to-edit", &["edit"], to_edit),
        role("system:aggregate-to-admin", &["admin"], to_admin),
        gathering("view", &["edit"]),
        gathering("edit", &["admin"]),
        gathering("admin", &[]),
        role("system:auth-delegator", &[], delegated),
        // The ledger names whoever blocks a run to whoever began it; so does this.
        role(
            "system:basic-user",
            &[],
            vec![reviews, who, of(SERVICES, &["impactreports"], &["create"])],
        ),
        role("system:discovery", &[], vec![get(&[&apis[..], &probes[..]].concat())]),
        role("system:monitoring", &[], vec![get(&[&["/metrics"][..], &health[..]].concat())]),
        role("system:public-info-viewer", &[], vec![get(&probes)]),
        role(ISSUER_DISCOVERY, &[], vec![get(&issuer)]),
        role(PAGE, &[], vec![get(&["/graphql", "/stream/*"]), ask]),
    ]
}

/// Kinds that only the plane writes.
fn written_by_the_plane() -> [KindRef; 5] {
    [
        RunbookRevision::info(),
        WorkloadRevision::info(),
        Permit::info(),
        Instance::info(),
        AgentTask::info(),
    ]
}

/// Rules on our own kinds, one a group: reading all of them, or writing what people write. The
/// journal of a run, what it executes and what it is permitted are the engine's. What runs where is said by whoever
/// runs it: an instance on a server keeps others from disrupting that.
fn own_kinds(read: bool) -> Vec<Value> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    let own = kinds::all().iter().filter(|kind| kind.group.ends_with(".quarterdeck.dev"));
    for kind in own.filter(|kind| read || !written_by_the_plane().contains(kind)) {
        if groups.last().is_none_or(|(group, _)| *group != kind.group) {
            groups.push((kind.group, Vec::new()));
        }
        if let Some((_, resources)) = groups.last_mut() {
            resources.push(kind.plural.into());
            resources.extend((read && kind.has_status).then(|| format!("{}/status", kind.plural)));
            resources.extend(kind.scale.map(|_| format!("{}/scale", kind.plural)));
        }
    }
    let verbs = if read { &READ[..] } else { &WRITE[..] };
    let rule =
        |(group, resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    groups.into_iter().map(rule).collect()
}

/// Fills in what the plane would gather anyhow, so that the roles are whole from the beginning.
fn gather(roles: &mut [Value]) {
    for at in 0..roles.len() {
        let all: Vec<ClusterRole> =
            roles.iter().filter_map(|role| ClusterRole::deserialize(role).ok()).collect();
        let Some(rules) = all.get(at).and_then(|role| aggregated(role, &all)) else { continue };
        if let (Some(role), Ok(rules)) =
            (roles.get_mut(at).and_then(Value::as_object_mut), serde_json::to_value(rules))
        {
            role.insert("rules".into(), rules);
        }
    }
}

/// What to write over `found` so that it has all of `shipped`; none when it has, or is not ours. In the place
/// of a binding of another role it is what is shipped, and nothing else: whom that one names was never
/// granted our role.
pub(crate) fn reconciled(found: &Value, shipped: &Value) -> Option<Value> {
    if found.pointer("/metadata/annotations").and_then(|all| all.get(AUTOUPDATE))
        == Some(&json!("false"))
    {
        return None;
    }
    if is_of_another_role(found, shipped) {
        return Some(shipped.clone());
    }
    let mut next = found.clone();
    for map in ["labels", "annotations"] {
        let meta = next.get_mut("metadata")?.as_object_mut()?;
        let own = meta.entry(map).or_insert_with(|| json!({})).as_object_mut()?;
        let wanted = shipped.pointer(&format!("/metadata/{map}")).and_then(Value::as_object);
        for (name, value) in wanted.into_iter().flatten() {
            own.entry(name).or_insert_with(|| value.clone());
        }
    }
    if shipped.get(ROLE_REF).is_some() {
        add_missing(&mut next, shipped, "/subjects");
    } else if shipped.get("aggregationRule").is_some() {
        add_missing(&mut next, shipped, "/aggregationRule/clusterRoleSelectors");
    } else {
        let rules = |role: &Value| {
            Vec::<PolicyRule>::deserialize(role.get("rules").unwrap_or(&Value::Null))
                .unwrap_or_default()
        };
        let own = rules(found);
        let own: Vec<&PolicyRule> = own.iter().collect();
        let lacking = rules(shipped).into_iter().filter(|rule| {
            rule::missing(&own, std::slice::from_ref(rule)).is_ok_and(|missing| !missing.is_empty())
        });
        let lacking: Vec<Value> =
            lacking.filter_map(|rule| serde_json::to_value(rule).ok()).collect();
        next.get_mut("rules")?.as_array_mut()?.extend(lacking);
    }
    (next != *found).then_some(next)
}

/// Whether `found` binds another role than `next`. The role of a binding cannot be changed: it is removed, and
/// made anew.
pub(crate) fn is_of_another_role(found: &Value, next: &Value) -> bool {
    found.get(ROLE_REF) != next.get(ROLE_REF)
}

/// Adds entries of a list of `shipped` that are not in that of `next`.
fn add_missing(next: &mut Value, shipped: &Value, path: &str) {
    let wanted = shipped.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    if next.pointer(path).is_none()
        && let Some((parent, name)) = path.rsplit_once('/')
        && let Some(parent) = next.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        parent.insert(name.into(), json!([]));
    }
    if let Some(own) = next.pointer_mut(path).and_then(Value::as_array_mut) {
        for entry in wanted {
            if !own.contains(&entry) {
                own.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Value {
        let found = shipped().into_iter().find(|(kind, object)| {
            *kind == ClusterRole::info() && object["metadata"]["name"] == name
        });
        found.unwrap().1
    }

    fn binding(name: &str) -> Value {
        let found = shipped().into_iter().find(|(kind, object)| {
            *kind == ClusterRoleBinding::info() && object["metadata"]["name"] == name
        });
        found.unwrap().1
    }

    #[test]
    fn all_are_valid_and_the_gathered_ones_whole() {
        for (kind, object) in shipped() {
            assert!((kind.admit)(&object, None).is_ok(), "{object:#}");
        }
        let (view, edit, admin) = (find("view"), find("edit"), find("admin"));
        assert!(!view["rules"].to_string().contains("secrets"));
        assert!(view["rules"].to_string().contains("servers/status"));
        let rules = |role: &Value| role["rules"].as_array().unwrap().clone();
        for rule in rules(&view) {
            assert!(rules(&edit).contains(&rule), "{rule}");
        }
        for rule in rules(&edit) {
            assert!(rules(&admin).contains(&rule), "{rule}");
        }
        assert!(!edit["rules"].to_string().contains("rolebindings"));
        assert!(admin["rules"].to_string().contains("rolebindings"));
    }

    #[test]
    fn what_was_added_stays_and_what_is_missing_comes() {
        let shipped = find("system:public-info-viewer");
        assert_eq!(reconciled(&shipped, &shipped), None);
        let mut changed = shipped.clone();
        changed["rules"] = json!([{"nonResourceURLs": ["/mine"], "verbs": ["get"]}]);
        changed["metadata"]["labels"] = json!({"mine": "yes"});
        let next = reconciled(&changed, &shipped).unwrap();
        assert_eq!(next["rules"].as_array().unwrap().len(), 2);
        assert_eq!(next["metadata"]["labels"]["mine"], "yes");
        assert_eq!(reconciled(&next, &shipped), None);
        changed["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(reconciled(&changed, &shipped), None);
        let mut other = binding("system:monitoring");
        other["metadata"]["uid"] = json!("u");
        assert_eq!(reconciled(&other, &binding("system:monitoring")), None);
        other["roleRef"]["name"] = json!("view");
        other["subjects"] = json!([{"kind": "User", "apiGroup": RBAC, "name": "ann"}]);
        let next = reconciled(&other, &binding("system:monitoring")).unwrap();
        assert!(is_of_another_role(&other, &next) && !is_of_another_role(&next, &next));
        assert_eq!(next, binding("system:monitoring"), "ann was not granted this role");
        let view = find("view");
        let mut filled = view.clone();
        filled["rules"] = json!([{"verbs": ["get"], "apiGroups": ["x"], "resources": ["y"]}]);
        assert_eq!(reconciled(&filled, &view), None, "the rules are gathered, not shipped");
    }
}
