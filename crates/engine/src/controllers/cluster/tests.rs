//! What is decided about clusters and the parts of workloads in them, without a cluster.

use super::{
    Clusters, cluster_key,
    instances::{self, Changes, Pods},
    locked,
    machines::MachinesOf,
    say::{self, Seen, Trouble},
    take::{Candidate, Taking, take},
    turn::revision_here,
    watched::Watched,
};
use crate::{controllers::Controller as _, objects::Objects};
use quarterdeck_clusters::{
    Heard,
    node::{Link, Node},
    pod::Pod,
};
use quarterdeck_model::{
    ConditionStatus, Time, condition,
    kinds::{
        Cluster, ClusterPhase, ClusterStatus, HostKind, Instance, InstancePhase, PermitPhase,
        SecretReference, Workload, cluster::NODES_SHOWN_MAX,
    },
};
use quarterdeck_providers::http::Reach;
use quarterdeck_store::{Sqlite, Store};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

fn now() -> Time {
    Time::seconds("2026-11-02T08:00:00Z".parse().unwrap())
}

fn seen() -> Seen {
    Seen {
        heard: Heard {
            last: Some(Instant::now()),
            failed: None,
            version: Some("v1.33.2".into()),
            id: Some("id-1".into()),
        },
        silent: Duration::from_secs(1),
        nodes: Some(BTreeMap::new()),
        links: Arc::default(),
        trouble: None,
        workloads: 0,
        site_missing: None,
        twin: None,
        now: now(),
    }
}

fn cluster(phase: ClusterPhase) -> Cluster {
    let secret = SecretReference { namespace: "shop".into(), name: "eu1".into() };
    let mut cluster = Cluster::default();
    cluster.spec.kubeconfig_secret_ref = secret;
    cluster.status.phase = phase;
    cluster
}

fn said(status: &ClusterStatus, kind: &str) -> (ConditionStatus, String, String) {
    let said = condition::find(&status.conditions, kind).unwrap();
    (said.status, said.reason.clone(), said.message.clone())
}

#[test]
fn a_cluster_is_away_only_after_its_deadline() {
    use ClusterPhase::{Leaving, Pending, Ready, Unreachable};
    use ConditionStatus::{False, True, Unknown};
    let (soon, late) = (Duration::from_secs(59), Duration::from_secs(61));
    for (before, answers, silent, phase, reachable) in [
        (Pending, true, Duration::ZERO, Ready, True),
        (Ready, false, soon, Ready, Unknown),
        (Ready, false, late, Unreachable, False),
        (Pending, false, late, Unreachable, False),
        (Unreachable, false, Duration::ZERO, Unreachable, False),
        (Unreachable, true, Duration::ZERO, Ready, True),
        // It answers, though nobody noted it for long: the plane itself was held up.
        (Ready, true, late, Ready, True),
    ] {
        let mut seen = Seen { silent, ..seen() };
        seen.heard.failed = (!answers).then(|| "no answer in 10 s".to_owned());
        let status = say::status(&cluster(before), &seen);
        let (is, ..) = said(&status, "Reachable");
        assert_eq!((status.phase, is), (phase, reachable), "{before:?} {answers} {silent:?}");
    }
    let mut leaving = cluster(Ready);
    leaving.metadata.deletion_timestamp = Some(now());
    let status = say::status(&leaving, &Seen { workloads: 2, ..seen() });
    assert_eq!(status.phase, Leaving);
    assert!(said(&status, "Reachable").2.contains("2 workloads are there still"));
}

#[test]
fn what_cannot_be_used_is_told() {
    let secret = SecretReference { namespace: "shop".into(), name: "eu1".into() };
    let seen = || Seen { heard: Heard::default(), ..seen() };
    let trouble = Some(Trouble::no_secret(&secret));
    let status = say::status(&cluster(ClusterPhase::Pending), &Seen { trouble, ..seen() });
    assert_eq!(
        said(&status, "Reachable"),
        (
            ConditionStatus::Unknown,
            "SecretNotFound".into(),
            "It does not answer now: Secret shop/eu1 is not there, or has no key kubeconfig; create it with kubectl create \
             secret generic eu1 -n shop --from-file=kubeconfig=FILE."
                .into()
        )
    );
    let trouble = Some(Trouble::unusable("its user has exec".into()));
    let site_missing = Some("lhr9".to_owned());
    let twin = Some("eu2".to_owned());
    let status = say::status(
        &cluster(ClusterPhase::Ready),
        &Seen { trouble, site_missing, twin, silent: Duration::from_secs(99), ..seen() },
    );
    assert_eq!(said(&status, "Reachable").1, "KubeconfigInvalid");
    assert_eq!(said(&status, "LocationFound").1, "SiteNotFound");
    assert_eq!(said(&status, "Unique").1, "SameCluster");
    // They are taken back when it is right.
    let again = Cluster { status, ..cluster(ClusterPhase::Ready) };
    let status = say::status(&again, &super::tests::seen());
    assert_eq!(condition::find(&status.conditions, "Unique"), None);
    assert_eq!(condition::find(&status.conditions, "LocationFound"), None);
}

#[test]
fn heartbeats_are_not_written_down() {
    let first = say::status(&cluster(ClusterPhase::Pending), &seen());
    assert_eq!(first.last_seen, Some(now()));
    let later = Time::new(now().timestamp() + Duration::from_secs(30));
    let known = Cluster { status: first.clone(), ..cluster(ClusterPhase::Ready) };
    assert_eq!(say::status(&known, &Seen { now: later, ..seen() }), first);
    // When it is away, it is said when it was heard of last.
    let mut away = Seen { now: later, silent: Duration::from_secs(90), ..seen() };
    away.heard.failed = Some("no answer".into());
    let status = say::status(&known, &away);
    let last = later.timestamp() - Duration::from_secs(90);
    assert_eq!(status.last_seen, Some(Time::seconds(last)));
}

#[test]
fn nodes_that_are_no_machine_are_named() {
    let node = |ready| Node { ready, ..Node::default() };
    let nodes = BTreeMap::from([
        ("a".to_owned(), node(true)),
        ("b".to_owned(), node(false)),
        ("c".to_owned(), node(true)),
    ]);
    let links = |c: Link| {
        Arc::new(BTreeMap::from([
            ("a".to_owned(), Link::Machine("m-1".into())),
            ("b".to_owned(), Link::Machine("m-2".into())),
            ("c".to_owned(), c),
        ]))
    };
    let status = |c: Link| {
        let seen = Seen { nodes: Some(nodes.clone()), links: links(c), ..seen() };
        say::status(&cluster(ClusterPhase::Ready), &seen)
    };
    let all = status(Link::Machine("m-3".into()));
    assert_eq!(said(&all, "NodesLinked").2, "All 3 nodes are known machines.");
    assert_eq!((all.nodes.total, all.nodes.ready, all.nodes.linked), (3, 2, 3));
    assert_eq!(all.nodes.list[1].machine.as_deref(), Some("m-2"));
    let (is, reason, message) = said(&status(Link::Missing), "NodesLinked");
    assert_eq!((is, reason.as_str()), (ConditionStatus::False, "Missing"));
    assert!(message.starts_with("1 of 3 nodes are no known machine: c. "), "{message}");
    let (_, reason, message) = said(&status(Link::Ambiguous("why".into())), "NodesLinked");
    assert_eq!(reason, "Ambiguous");
    assert!(message.starts_with("1 of 3 nodes cannot be told apart: c (why). "), "{message}");
    let many: BTreeMap<String, Node> =
        (0..NODES_SHOWN_MAX * 2).map(|number| (format!("n-{number}"), node(true))).collect();
    let status = say::status(&cluster(ClusterPhase::Ready), &Seen { nodes: Some(many), ..seen() });
    assert_eq!(status.nodes.list.len(), NODES_SHOWN_MAX);
    assert_eq!(status.nodes.total, 1_000);
    assert!(said(&status, "NodesLinked").2.len() < 500);
    let status = say::status(&cluster(ClusterPhase::Ready), &Seen { nodes: None, ..seen() });
    assert_eq!(said(&status, "NodesLinked").1, "NotListed");
}

fn workload(paused: bool, parts: Value) -> Workload {
    let workload = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "w"},
        "spec": {
            "service": "shop", "replicas": 4, "paused": paused,
            "template": {"spec": {"containers": []}},
            "placement": {"clusters": [{"name": "a"}, {"name": "none", "weight": 0}, {"name": "b"}, {"name": "c"}]},
        },
        "status": {"clusters": parts},
    });
    serde_json::from_value(workload).unwrap()
}

#[test]
fn a_revision_comes_to_one_cluster_after_another() {
    let part = |name: &str, phase: &str, revision: i64| json!({"name": name, "phase": phase, "revision": revision});
    let is = |parts: Value, at: usize, current: Option<i64>| {
        revision_here(&workload(false, parts), at, 2, current).0
    };
    let waits = json!([part("a", "Progressing", 2), part("b", "Complete", 1)]);
    assert_eq!(is(waits.clone(), 0, Some(1)), 2, "the first");
    assert_eq!(is(waits.clone(), 2, Some(1)), 1, "until the first is complete");
    assert_eq!(is(waits.clone(), 2, None), 2, "nothing is there that could break");
    assert_eq!(is(waits, 2, Some(2)), 2, "it is there already");
    let old = json!([part("a", "Complete", 1)]);
    assert_eq!(is(old, 2, Some(1)), 1, "complete, but of the old one");
    let first = json!([part("a", "Complete", 2), part("b", "Progressing", 2)]);
    assert_eq!(is(first.clone(), 2, Some(1)), 2, "one that is to have none holds up nobody");
    assert_eq!(is(first, 3, Some(1)), 1);
    let away = json!([part("a", "Unreachable", 1), part("b", "Complete", 2)]);
    assert_eq!(is(away, 3, Some(1)), 2, "those that are away hold up nobody");
    assert_eq!(is(json!([]), 2, Some(1)), 1, "nothing is known of the first");
    let (here, why) = revision_here(&workload(true, json!([])), 0, 2, Some(1));
    assert_eq!((here, why.as_deref()), (1, Some("spec.paused keeps revision 1 here")));
}

#[test]
fn leave_is_asked_for_so_many_and_for_the_same_ones_again() {
    let candidate =
        |name: &str, second: i64, asked: Option<(PermitPhase, Option<&str>)>| Candidate {
            name: name.into(),
            created: Some(Time::seconds(jiff::Timestamp::from_second(second).unwrap())),
            asked: asked.map(|(phase, said)| (phase, said.map(str::to_owned))),
        };
    let granted = || Some((PermitPhase::Granted, None));
    let waiting = || Some((PermitPhase::Waiting, Some("shop/web allows 1 of 3 down")));
    let nothing = || Taking { granted: true, ..Taking::default() };
    assert_eq!(take(vec![candidate("a", 1, None)], 0), nothing());
    assert_eq!(take(vec![], 3), nothing(), "nothing that is up is taken");
    let fresh = vec![candidate("a", 1, None), candidate("b", 3, None), candidate("c", 2, None)];
    let asks = take(fresh, 2);
    assert_eq!((asks.granted, asks.ask), (false, vec!["b".to_owned(), "c".to_owned()]));
    // A newer one has come since.
    let asked =
        vec![candidate("new", 9, None), candidate("b", 3, granted()), candidate("c", 2, waiting())];
    let waits = take(asked, 2);
    assert_eq!(waits.ask, [""; 0]);
    assert_eq!(waits.waits.as_deref(), Some("shop/web allows 1 of 3 down"));
    assert_eq!(take(vec![candidate("b", 3, granted()), candidate("new", 9, None)], 1), nothing());
}

fn pod(uid: &str, phase: InstancePhase, node: &str) -> Pod {
    Pod {
        uid: uid.into(),
        workload: "web".into(),
        cluster: "a".into(),
        revision: Some(3),
        node: Some(node.into()),
        phase,
        ready_since: (phase == InstancePhase::Ready).then(now),
        message: None,
        address: Some("10.1.0.1".into()),
        started: None,
    }
}

fn changes(pods: &[(&str, Pod)], own: &HashMap<String, Instance>) -> Changes {
    let workload = workload(false, json!([]));
    let pods: BTreeMap<String, Pod> =
        pods.iter().map(|(name, pod)| ((*name).to_owned(), pod.clone())).collect();
    let links = BTreeMap::from([("n-1".to_owned(), Link::Machine("m-1".into()))]);
    let all = Pods { workload: &workload, cluster: "a", pods: &pods, links: &links, now: now() };
    all.changes(own)
}

#[test]
fn pods_come_to_be_instances() {
    let ready = || pod("u-1", InstancePhase::Ready, "n-1");
    let created = changes(&[("web-x", ready())], &HashMap::new()).create;
    let [instance] = created.as_slice() else { panic!("{created:?}") };
    let (spec, status) = (&instance.spec, &instance.status);
    assert_eq!((spec.host.kind, spec.host.name.as_str()), (HostKind::Cluster, "a"));
    assert_eq!((spec.service.as_str(), spec.workload.as_deref()), ("shop", Some("web")));
    assert_eq!(spec.revision, Some(3));
    assert_eq!(status.phase, InstancePhase::Ready);
    assert_eq!((status.node.as_deref(), status.machine.as_deref()), (Some("n-1"), Some("m-1")));
    assert_eq!(status.pod.as_deref(), Some("web-x"));
    let own = HashMap::from([(instance.metadata.name.clone(), instance.clone())]);
    assert_eq!(changes(&[("web-x", ready())], &own), Changes::default());
    // It moved to a node that is not known: never silently, and never as on the old machine.
    let moved = changes(&[("web-x", pod("u-1", InstancePhase::NotReady, "n-2"))], &own);
    let [(_, status)] = moved.change.as_slice() else { panic!("{moved:?}") };
    assert_eq!((status.phase, status.machine.as_deref()), (InstancePhase::NotReady, None));
    // A pod of the same name may be another one.
    let other = changes(&[("web-x", pod("u-2", InstancePhase::Ready, "n-1"))], &own);
    assert_eq!((other.create.len(), other.remove.len(), other.change.len()), (1, 1, 0));
    // What was evicted is no copy.
    let evicted = changes(&[("web-x", pod("u-1", InstancePhase::Failed, "n-1"))], &own);
    assert_eq!((evicted.create.len(), evicted.remove.len()), (0, 1));
}

#[test]
fn instances_of_a_cluster_that_is_away_are_unreachable_since_then() {
    let created = changes(&[("web-x", pod("u-1", InstancePhase::Ready, "n-1"))], &HashMap::new());
    let before = &created.create[0].status;
    let away = instances::unreachable(before, "nobody answers", now()).unwrap();
    assert_eq!(away.phase, InstancePhase::Unreachable);
    assert_eq!(away.machine, before.machine);
    assert_eq!(instances::unreachable(&away, "nobody answers", now()), None);
    let later = Time::new(now().timestamp() + Duration::from_secs(60));
    let other = instances::unreachable(&away, "still nobody", later).unwrap();
    assert_eq!(other.phase_since, away.phase_since);
}

#[tokio::test]
async fn nothing_is_kept_of_the_machines_of_a_namespace_without_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap();
    let store = Arc::new(store);
    let objects = Objects::for_test(store.clone(), Arc::new(jiff::Timestamp::now)).await;
    let clusters = Clusters::new(store.clone(), Reach::Network);
    let of = |namespace: &str, name: &str| cluster_key(namespace, name);
    for (namespace, name) in [("shop", "a"), ("shop", "b"), ("other", "a"), ("third", "a")] {
        locked(&clusters.watched).insert(of(namespace, name), Watched::new());
        let machines = MachinesOf::read(&store.world(), namespace);
        locked(&clusters.machines).insert(namespace.to_owned(), machines);
    }
    let known = || {
        let mut known: Vec<String> = locked(&clusters.machines).keys().cloned().collect();
        known.sort_unstable();
        known
    };
    clusters.reconcile(&objects, &of("shop", "a")).await.unwrap();
    assert_eq!(known(), ["other", "shop", "third"], "another cluster of it is there");
    clusters.reconcile(&objects, &of("shop", "b")).await.unwrap();
    assert_eq!(known(), ["other", "third"]);
    // As when its shard comes to be another replica's.
    clusters.forget(&|cluster| *cluster.namespace == *"other");
    assert_eq!(known(), ["other"]);
}
