//! Every route × every kind of caller. The routes are those that discovery names: a new one without
//! a row here fails.

use crate::{
    Person, bind, namespaces, role,
    support::Plane,
    tokens::{self, account, token},
    user,
};
use serde_json::{Value, json};

/// What a caller is granted, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Nobody,
    Known,
    View,
    Edit,
    Admin,
    Cluster,
}
use Level::{Admin, Cluster, Edit, Known, Nobody, View};

/// The least level that may read, and that may write, a resource.
fn row(resource: &str) -> (Level, Level) {
    match resource {
        "namespaces" | "events" | "resourcequotas" | "resourcequotas/status" => (View, Cluster),
        "pods" | "pods/log" | "pods.metrics.k8s.io" | "nodes.metrics.k8s.io" => (View, Cluster),
        // However it is asked for, it is a write.
        "pods/exec" | "pods/eviction" => (Edit, Edit),
        "nodes" => (View, Edit),
        "secrets" | "serviceaccounts/token" | "machines/jointoken.compute.quarterdeck.dev" => {
            (Edit, Edit)
        }
        "serviceaccounts" => (View, Edit),
        "roles.rbac.authorization.k8s.io" | "rolebindings.rbac.authorization.k8s.io" => {
            (Admin, Admin)
        }
        "clusterroles.rbac.authorization.k8s.io"
        | "clusterrolebindings.rbac.authorization.k8s.io"
        | "customresourcedefinitions.apiextensions.k8s.io"
        | "validatingadmissionpolicies.admissionregistration.k8s.io"
        | "validatingadmissionpolicies/status.admissionregistration.k8s.io"
        | "validatingadmissionpolicybindings.admissionregistration.k8s.io" => (Cluster, Cluster),
        "sites.inventory.quarterdeck.dev"
        | "racks.inventory.quarterdeck.dev"
        | "servers.inventory.quarterdeck.dev"
        | "images.inventory.quarterdeck.dev"
        | "serverprofiles.inventory.quarterdeck.dev"
        | "bmcscans.inventory.quarterdeck.dev"
        | "providers.compute.quarterdeck.dev"
        | "machineclasses.compute.quarterdeck.dev"
        | "machines.compute.quarterdeck.dev"
        | "clusters.compute.quarterdeck.dev"
        | "machinepools.compute.quarterdeck.dev"
        | "machinepools/scale.compute.quarterdeck.dev"
        | "runbooks.workflows.quarterdeck.dev"
        | "freezes.workflows.quarterdeck.dev"
        | "campaigns.workflows.quarterdeck.dev"
        | "schedules.workflows.quarterdeck.dev"
        | "remedies.workflows.quarterdeck.dev"
        | "services.services.quarterdeck.dev"
        | "workloads.services.quarterdeck.dev"
        | "workloads/scale.services.quarterdeck.dev"
        | "savedviews.page.quarterdeck.dev"
        | "runs.workflows.quarterdeck.dev" => (View, Edit),
        "sites/status.inventory.quarterdeck.dev"
        | "racks/status.inventory.quarterdeck.dev"
        | "servers/status.inventory.quarterdeck.dev"
        | "images/status.inventory.quarterdeck.dev"
        | "serverprofiles/status.inventory.quarterdeck.dev"
        | "bmcscans/status.inventory.quarterdeck.dev"
        | "providers/status.compute.quarterdeck.dev"
        | "machineclasses/status.compute.quarterdeck.dev"
        | "machines/status.compute.quarterdeck.dev"
        | "clusters/status.compute.quarterdeck.dev"
        | "machinepools/status.compute.quarterdeck.dev"
        | "runbooks/status.workflows.quarterdeck.dev"
        | "runs/status.workflows.quarterdeck.dev"
        | "services/status.services.quarterdeck.dev"
        | "workloads/status.services.quarterdeck.dev"
        | "workloadrevisions.services.quarterdeck.dev"
        | "campaigns/status.workflows.quarterdeck.dev"
        | "schedules/status.workflows.quarterdeck.dev"
        | "remedies/status.workflows.quarterdeck.dev"
        | "instances.services.quarterdeck.dev"
        | "instances/status.services.quarterdeck.dev"
        | "permits.workflows.quarterdeck.dev"
        | "agenttasks.compute.quarterdeck.dev"
        | "runbookrevisions.workflows.quarterdeck.dev" => (View, Cluster),
        "namespaces/status" => (Cluster, Cluster),
        "selfsubjectreviews.authentication.k8s.io"
        | "selfsubjectaccessreviews.authorization.k8s.io"
        | "selfsubjectrulesreviews.authorization.k8s.io"
        | "impactreports.services.quarterdeck.dev" => (Known, Known),
        "localsubjectaccessreviews.authorization.k8s.io" => (Admin, Admin),
        "subjectaccessreviews.authorization.k8s.io" | "tokenreviews.authentication.k8s.io" => {
            (Cluster, Cluster)
        }
        other => panic!("{other} has no row: say who may read and who may write it"),
    }
}

/// The least level that may get a path that is no resource.
fn path_row(path: &str) -> Level {
    match path {
        "/livez" | "/readyz" | "/healthz" | "/version" => Nobody,
        "/metrics" | "/" | "/nonsense" => Cluster,
        // Service accounts may too; see there.
        "/.well-known/openid-configuration" | "/openid/v1/jwks" => Cluster,
        path if ["/api", "/apis", "/openapi"].iter().any(|start| path.starts_with(start)) => Known,
        other => panic!("{other} has no row: say who may get it"),
    }
}

/// A caller with a level in the namespace `team`, and one everywhere.
struct Row<'p> {
    who: &'static str,
    person: Person<'p>,
    team: Level,
    everywhere: Level,
}

async fn callers<'p>(plane: &'p Plane, issuer: &Plane) -> Vec<Row<'p>> {
    namespaces(plane, &["team", "other"]).await;
    for name in ["view", "edit", "admin"] {
        bind(plane, "team", ("ClusterRole", name), user(&format!("team-{name}"))).await;
        bind(plane, "", ("ClusterRole", name), user(&format!("all-{name}"))).await;
    }
    bind(plane, "", ("ClusterRole", "cluster-admin"), user("root")).await;
    let bot = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "team"});
    bind(plane, "team", ("ClusterRole", "edit"), bot).await;
    let rule = json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"],
                      "resourceNames": ["team-edit"]});
    role(plane, "", "imp", json!([rule])).await;
    bind(plane, "", ("ClusterRole", "imp"), user("actor")).await;
    account(plane, "team", "robot").await;
    let robot = token(plane, "team", "robot", json!({})).await;
    let robots = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "team"});
    bind(plane, "team", ("ClusterRole", "edit"), robots).await;
    // A person of another plane's: its issuer is to this one as any other.
    account(issuer, "default", "olga").await;
    let olga = token(issuer, "default", "olga", json!({"audiences": ["quarterdeck"]})).await;
    let name = "oidc:system:serviceaccount:default:olga";
    bind(plane, "team", ("ClusterRole", "view"), user(name)).await;
    let row = |who, person, team, everywhere| Row { who, person, team, everywhere };
    let person = |user: &str, groups: &[&str]| Person::new(plane, user, groups);
    let acting = person("actor", &[]).acting("Impersonate-User", "team-edit");
    vec![
        row("system:anonymous", Person::anonymous(plane), Nobody, Nobody),
        row("guest", person("guest", &["readers"]), Known, Known),
        row("team-view", person("team-view", &[]), View, Known),
        row("team-edit", person("team-edit", &[]), Edit, Known),
        row("team-admin", person("team-admin", &[]), Admin, Known),
        row("all-view", person("all-view", &[]), View, View),
        row("all-edit", person("all-edit", &[]), Edit, Edit),
        row("all-admin", person("all-admin", &[]), Admin, Admin),
        row("root", person("root", &[]), Cluster, Cluster),
        row("master", person("master", &["system:masters"]), Cluster, Cluster),
        row(
            "system:serviceaccount:team:bot",
            person("system:serviceaccount:team:bot", &[]),
            Edit,
            Known,
        ),
        row(ROBOT, Person::with_token(plane, &robot), Edit, Known),
        row(name, Person::with_token(plane, &olga), View, Known),
        row("actor", person("actor", &[]), Known, Known),
        row("team-edit", acting, Edit, Known),
    ]
}

/// Who shows a token of a service account, and so is in the group of all of them.
const ROBOT: &str = "system:serviceaccount:team:robot";

/// One thing to try.
#[derive(Debug)]
pub(super) struct Route {
    verb: String,
    pub(super) method: &'static str,
    pub(super) path: String,
    needs: Level,
    /// In the namespace `team`, or seen there.
    in_team: bool,
}

/// All that discovery names.
pub(super) async fn routes(plane: &Plane) -> Vec<Route> {
    let mut versions = vec!["/api/v1".to_owned()];
    for group in plane.get("/apis").await.body["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            versions.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
        }
    }
    let mut routes = Vec::new();
    for version in versions {
        let group = version.split('/').nth(2).filter(|_| version.starts_with("/apis"));
        for resource in plane.get(&version).await.body["resources"].as_array().unwrap() {
            add_routes(&version, group, resource, &mut routes);
        }
    }
    for path in plane.get("/").await.body["paths"].as_array().unwrap() {
        routes.push(path_route(path.as_str().unwrap()));
    }
    routes.extend(["/", "/healthz", "/nonsense", "/openapi/v3/api/v1"].map(path_route));
    routes
}

fn path_route(path: &str) -> Route {
    let (verb, path, needs) = ("get".into(), path.to_owned(), path_row(path));
    Route { verb, method: "GET", path, needs, in_team: false }
}

fn add_routes(version: &str, group: Option<&str>, resource: &Value, routes: &mut Vec<Route>) {
    let name = resource["name"].as_str().unwrap();
    let full = group.map_or_else(|| name.to_owned(), |group| format!("{name}.{group}"));
    let (plural, part) = name.split_once('/').unwrap_or((name, ""));
    let (reads, writes) = row(&full);
    let namespaced = resource["namespaced"] == true;
    for verb in resource["verbs"].as_array().unwrap() {
        let verb = verb.as_str().unwrap();
        let asked = if full == "pods/exec" { "create" } else { verb };
        let collection = matches!(verb, "list" | "watch" | "deletecollection")
            || (verb == "create" && part.is_empty());
        let method = match verb {
            "get" | "list" | "watch" => "GET",
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" | "deletecollection" => "DELETE",
            other => panic!("{full}: {other} is no verb that is known here"),
        };
        // What is let through finds nothing to do, or is only rehearsed.
        let query = match verb {
            "watch" => "?watch=true&sendInitialEvents=true",
            _ => "?dryRun=All",
        };
        let read = matches!(verb, "get" | "list" | "watch");
        let needs = if read { reads } else { writes };
        let mut add = |namespace: &str, in_team: bool| {
            let place = match namespace {
                "" => format!("{version}/{plural}"),
                namespace => format!("{version}/namespaces/{namespace}/{plural}"),
            };
            // A Namespace is in itself.
            let object = if full.starts_with("namespaces") { "team" } else { "thing" };
            let mut path = if collection { place } else { format!("{place}/{object}") };
            if !part.is_empty() {
                path = format!("{path}/{part}");
            }
            let path = format!("{path}{query}");
            routes.push(Route { verb: asked.into(), method, path, needs, in_team });
        };
        if namespaced {
            add("team", true);
            add("other", false);
            // All namespaces: what is in `team` is seen.
            if matches!(verb, "list" | "watch") {
                add("", true);
            }
        } else {
            let own = full.starts_with("namespaces") && (read || !collection);
            add("", own);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_through_whom_it_must() {
    let issuer = tokens::issuer().await;
    let plane = Plane::trusting(vec![tokens::settings(&issuer)]).await;
    let callers = callers(&plane, &issuer).await;
    let routes = routes(&plane).await;
    assert!(routes.len() > 150, "{} routes", routes.len());
    for Row { who, person, team, everywhere } in &callers {
        for route in &routes {
            let Route { verb, method, path, needs, in_team } = route;
            let mut level = if *in_team { team } else { everywhere };
            if *who == ROBOT && path.contains("openid") {
                level = &Cluster;
            }
            let body =
                if matches!(*method, "POST" | "PUT" | "PATCH") { json!({}) } else { Value::Null };
            let answer = person.ask(method, path, body).await;
            let message = answer.body["message"].as_str().unwrap_or_default();
            let refused =
                answer.status == 403 && message.contains(&format!("User {who:?} cannot {verb} "));
            assert_eq!(
                refused,
                level < needs,
                "{who} ({team:?} in team, {everywhere:?} everywhere): {route:?}: {:#}",
                answer.body
            );
            assert_ne!(answer.status, 401, "{who}: {route:?}");
        }
    }
    // Who shows what is no good gets nowhere, also with a certificate of a master.
    let past = tokens::forged(&plane, tokens::claims(&plane, -1_000)).await;
    let expired = format!("Bearer {past}");
    let master = Person::new(&plane, "master", &["system:masters"]);
    for person in [Person::with_token(&plane, &past), master.acting("authorization", &expired)] {
        for Route { method, path, .. } in &routes {
            let answer = person.ask(method, path, Value::Null).await;
            assert_eq!(answer.status, 401, "{method} {path}: {:#}", answer.body);
        }
    }
}
