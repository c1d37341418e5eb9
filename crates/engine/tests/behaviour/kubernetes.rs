//! Clusters as places of workloads, against a real Kubernetes with a real kubelet. Skipped, and told so, where that is not built
//! (`make test-kubernetes`).

use crate::scenario::Plane;
use jiff::Timestamp;
use quarterdeck_model::{
    Kind, KindRef, Object, condition,
    kinds::{
        Cluster, ClusterPhase, Freeze, Instance, InstancePhase, Machine, Permit, Secret, Service,
        Workload, WorkloadClusterPhase, WorkloadPhase,
    },
};
use quarterdeck_testing::{
    kubernetes::{Kubernetes, built, skipped},
    wait::wait_for,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long anything may take: pods are made and removed while other tests have the processors.
const DEADLINE: Duration = Duration::from_secs(120);
const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

/// A plane whose clock is that of the cluster.
async fn plane() -> Plane {
    Plane::start(Arc::default(), Arc::default(), (Timestamp::now(), Instant::now())).await
}

async fn import(plane: &Plane, name: &str, kubeconfig: &str) {
    let data = json!({"kubeconfig": kubeconfig});
    plane.create(Secret::info(), "shop", name, json!({"type": "Opaque", "data": data})).await;
    cluster(plane, name, name).await;
}

async fn cluster(plane: &Plane, name: &str, secret: &str) {
    let secret = json!({"namespace": "shop", "name": secret});
    let spec = json!({"kubeconfigSecretRef": secret, "unreachableAfter": "15s"});
    plane.create(Cluster::info(), "shop", name, json!({"spec": spec})).await;
}

fn template(version: &str) -> Value {
    json!({"spec": {"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "web", "image": "quarterdeck.local/busybox:1", "imagePullPolicy": "Never",
        "command": ["sleep", "100000"], "env": [{"name": "VERSION", "value": version}]}]}})
}

async fn workload(plane: &Plane, replicas: u32, clusters: &[&str]) {
    let service = json!({"owner": "shop", "disruptionBudget": {"maxUnavailable": 1}});
    plane.create(Service::info(), "shop", "web", json!({"spec": service})).await;
    let clusters: Vec<Value> = clusters.iter().map(|name| json!({"name": name})).collect();
    let spec = json!({
        "service": "web", "replicas": replicas, "template": template("1"),
        "placement": {"clusters": clusters},
    });
    plane.create(Workload::info(), "shop", "web", json!({"spec": spec})).await;
}

fn see<K: Kind>(plane: &Plane, name: &str) -> K {
    plane.store.world().get(K::info(), "shop", name).unwrap().decode().unwrap()
}

/// Waits until an object is as wanted.
async fn until<K: Kind + std::fmt::Debug>(
    plane: &Plane,
    name: &str,
    what: &str,
    wanted: impl Fn(&K) -> bool,
) -> K {
    let what = format!("{} {name} to be {what}", K::KIND);
    wait_for(DEADLINE, &what, async || {
        let seen: K = see(plane, name);
        if wanted(&seen) { Ok(seen) } else { Err(format!("{seen:#?}")) }
    })
    .await
}

async fn stable(plane: &Plane, revision: i64, replicas: u32) -> Workload {
    let what = format!("stable with {replicas} of revision {revision}");
    until(plane, "web", &what, |it: &Workload| {
        let status = &it.status;
        status.phase == WorkloadPhase::Stable
            && (status.revision, status.stable_revision) == (revision, Some(revision))
            && (status.replicas, status.available_replicas) == (replicas, replicas)
            && instances(plane).iter().all(|it| it.status.phase == InstancePhase::Ready)
    })
    .await
}

fn instances(plane: &Plane) -> Vec<Instance> {
    let world = plane.store.world();
    world.all(Instance::info()).map(|it| it.decode().unwrap()).collect()
}

fn is_gone(plane: &Plane, kind: KindRef, name: &str) -> bool {
    plane.store.world().get(kind, "shop", name).is_none()
}

fn said(workload: &Workload, kind: &str) -> (String, String) {
    let said = condition::find(&workload.status.conditions, kind);
    said.map(|said| (said.reason.clone(), said.message.clone())).unwrap_or_default()
}

async fn there(kubernetes: &Kubernetes, at: &str) -> Value {
    let deployment = kubernetes.get(DEPLOYMENT).await.unwrap();
    deployment.pointer(at).cloned().unwrap_or_default()
}

/// Waits until what somebody has changed is as it was.
async fn comes_back(kubernetes: &Kubernetes, at: &str, wanted: &Value) {
    wait_for(DEADLINE, &format!("{at} to be {wanted} again"), async || {
        let seen = there(kubernetes, at).await;
        if seen == *wanted { Ok(()) } else { Err(seen) }
    })
    .await;
}

async fn change(plane: &Plane, at: &str, value: Value) {
    let (parent, last) = at.rsplit_once('/').unwrap();
    plane
        .patch(Workload::info(), "shop", "web", |object| {
            object.pointer_mut(parent).unwrap()[last] = value.clone();
        })
        .await;
}

fn down(plane: &Plane) -> (u32, u32) {
    let service: Service = see(plane, "web");
    let status = service.status;
    (status.instances.unwrap_or_default(), status.down.unwrap_or_default())
}

#[tokio::test]
async fn a_workload_lives_in_a_cluster() {
    if built().is_none() {
        return skipped("a_workload_lives_in_a_cluster");
    }
    let mut kubernetes = Kubernetes::start_with_node("n-1").await;
    let node = kubernetes.get("/api/v1/nodes/n-1").await.unwrap();
    let addresses = node["status"]["addresses"].as_array().unwrap();
    let address = addresses.iter().find(|it| it["type"] == "InternalIP").unwrap();
    let plane = plane().await;

    // It is imported, and its node is known by its address.
    let machine =
        json!({"spec": {"preinstalled": true}, "status": {"address": address["address"]}});
    plane.create(Machine::info(), "shop", "m-1", machine).await;
    import(&plane, "eu1", &kubernetes.kubeconfig_base64()).await;
    let known =
        |it: &Cluster| it.status.phase == ClusterPhase::Ready && it.status.nodes.linked == 1;
    let cluster: Cluster = until(&plane, "eu1", "ready and linked", known).await;
    assert_eq!(cluster.status.version.as_deref(), Some("v1.20.2"));
    assert_eq!((cluster.status.nodes.total, cluster.status.nodes.ready), (1, 1));
    assert_eq!(cluster.status.nodes.list[0].machine.as_deref(), Some("m-1"));

    // Its namespace is made there, and pods come to be instances that count.
    workload(&plane, 3, &["eu1"]).await;
    stable(&plane, 1, 3).await;
    // That something may be there is written before it is.
    let kind = Workload::info().resource_name();
    let versions = plane.disk.versions(|key| key.kind == kind);
    let mut reasons =
        versions.iter().filter_map(|it| it["status"]["clusters"][0]["reason"].as_str());
    assert_eq!(reasons.find(|it| *it != "NotConnected"), Some("Begins"));
    for instance in instances(&plane) {
        let status = &instance.status;
        assert_eq!(status.machine.as_deref(), Some("m-1"), "{instance:?}");
        assert_eq!(status.node.as_deref(), Some("n-1"));
        assert!(status.pod.as_ref().unwrap().starts_with("web-"));
    }
    let what = "the service to count three";
    wait_for(DEADLINE, what, async || match down(&plane) {
        (3, 0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let managers = there(&kubernetes, "/metadata/managedFields").await;
    let ours = managers.as_array().unwrap().iter().find(|it| it["manager"] == "quarterdeck");
    assert_eq!(ours.unwrap()["operation"], "Apply");

    // Scaled, and rolled out: both are its owner's.
    change(&plane, "/spec/replicas", json!(2)).await;
    stable(&plane, 1, 2).await;
    change(&plane, "/spec/template", template("2")).await;
    stable(&plane, 2, 2).await;
    assert!(instances(&plane).iter().all(|it| it.spec.revision == Some(2)));
    let version = "/spec/template/spec/containers/0/env/0/value";
    assert_eq!(there(&kubernetes, version).await, "2");
    assert_eq!(plane.store.world().count(Permit::info()), 0, "nobody was asked");

    // What somebody changed there is brought back: with leave of the ledger, where that takes pods.
    let freeze = json!({"start": Timestamp::now().to_string(), "end": (Timestamp::now() + Duration::from_secs(3_600)).to_string(), "reason": "year end"});
    plane.create(Freeze::info(), "", "year-end", json!({"spec": freeze})).await;
    let edit = json!([{"op": "replace", "path": version, "value": "edited"}]);
    kubernetes.ask("PATCH", DEPLOYMENT, Some(&edit), JSON_PATCH).await.unwrap();
    let waits = |it: &Workload| {
        let part = it.status.clusters.first();
        part.is_some_and(|part| {
            part.phase == WorkloadClusterPhase::Waiting
                && part.message.as_ref().is_some_and(|it| it.contains("freeze year-end holds"))
        })
    };
    let waiting = until(&plane, "web", "waiting for the ledger", waits).await;
    assert_eq!(said(&waiting, "Progressing").0, "WaitsForLedger");
    assert_eq!(there(&kubernetes, version).await, "edited");
    plane.delete(Freeze::info(), "", "year-end").await;
    comes_back(&kubernetes, version, &json!("2")).await;
    stable(&plane, 2, 2).await;
    // More pods that are not up yet may go at once: nothing is lost with them.
    let nine = json!({"spec": {"replicas": 9}});
    kubernetes.ask("PATCH", DEPLOYMENT, Some(&nine), MERGE).await.unwrap();
    comes_back(&kubernetes, "/spec/replicas", &json!(2)).await;
    stable(&plane, 2, 2).await;
    let given_back = "permits to be given back";
    wait_for(DEADLINE, given_back, async || match plane.store.world().count(Permit::info()) {
        0 => Ok(()),
        count => Err(count),
    })
    .await;
    let before = there(&kubernetes, "/metadata/uid").await;
    kubernetes.ask("DELETE", DEPLOYMENT, None, MERGE).await.unwrap();
    wait_for(DEADLINE, "another Deployment", async || {
        let deployment = kubernetes.get(DEPLOYMENT).await?;
        match deployment["metadata"]["uid"] == before {
            false => Ok(()),
            true => Err("the same".to_owned()),
        }
    })
    .await;
    stable(&plane, 2, 2).await;

    // Who declares the same is told of, and not overruled.
    let declared = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1}});
    let argo = format!("{DEPLOYMENT}?fieldManager=argo&force=true");
    kubernetes.ask("PATCH", &argo, Some(&declared), APPLY).await.unwrap();
    let conflict = |it: &Workload| said(it, "Placed").0 == "Conflict";
    let refused = until(&plane, "web", "in conflict", conflict).await;
    assert!(said(&refused, "Placed").1.contains("argo declares fields of"), "{refused:?}");
    assert_eq!(refused.status.phase, WorkloadPhase::Degraded);
    assert_eq!(there(&kubernetes, "/spec/replicas").await, 1);
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    kubernetes.ask("PATCH", &argo, Some(&nothing), APPLY).await.unwrap();
    stable(&plane, 2, 2).await;

    // A cluster that is away takes nothing from anybody but what is known of it.
    let names = |plane: &Plane| {
        let mut names: Vec<String> =
            instances(plane).into_iter().map(|it| it.metadata.name).collect();
        names.sort_unstable();
        names
    };
    let were = names(&plane);
    kubernetes.cut_off().await;
    let away = |it: &Cluster| it.status.phase == ClusterPhase::Unreachable;
    until(&plane, "eu1", "unreachable", away).await;
    let degraded = |it: &Workload| said(it, "Placed").0 == "ClusterAway";
    let workload = until(&plane, "web", "without its cluster", degraded).await;
    assert_eq!((workload.status.replicas, workload.status.available_replicas), (2, 0));
    let unreachable = |it: &Instance| it.status.phase == InstancePhase::Unreachable;
    wait_for(DEADLINE, "instances to be unreachable", async || {
        match instances(&plane).iter().all(unreachable) && down(&plane) == (2, 2) {
            true => Ok(()),
            false => Err(format!("{:?} {:#?}", down(&plane), instances(&plane))),
        }
    })
    .await;
    assert_eq!(names(&plane), were);
    kubernetes.come_back().await;
    stable(&plane, 2, 2).await;
    assert_eq!(names(&plane), were, "they ran on");

    // What goes here goes there first; and a cluster stays while something is there.
    plane.delete(Cluster::info(), "shop", "eu1").await;
    let leaving = |it: &Cluster| it.status.phase == ClusterPhase::Leaving;
    until(&plane, "eu1", "leaving", leaving).await;
    plane.delete(Workload::info(), "shop", "web").await;
    wait_for(DEADLINE, "all of it to be gone", async || {
        let kinds = [(Workload::info(), "web"), (Cluster::info(), "eu1")];
        let left = kinds.iter().find(|(kind, name)| !is_gone(&plane, kind, name));
        let seen = |(kind, name): &(KindRef, &str)| {
            plane.store.world().get(kind, "shop", name).map(|it: Arc<Object>| it.value())
        };
        left.map_or(Ok(()), |left| Err(format!("{:#?}", seen(left))))
    })
    .await;
    assert!(kubernetes.get(DEPLOYMENT).await.unwrap_err().contains("NotFound"));
    let pods = kubernetes.get("/api/v1/namespaces/shop/pods").await.unwrap();
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(0), "{pods}");
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    if built().is_none() {
        return skipped("what_is_somebody_elses_is_left_alone");
    }
    let kubernetes = Kubernetes::start().await;
    let namespace = json!({"metadata": {"name": "shop"}});
    let json = "application/json";
    kubernetes.ask("POST", "/api/v1/namespaces", Some(&namespace), json).await.unwrap();
    let labels = json!({"app": "theirs"});
    let theirs = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "theirs"}]}}}});
    let all = "/apis/apps/v1/namespaces/shop/deployments";
    kubernetes.ask("POST", all, Some(&theirs), json).await.unwrap();
    let plane = plane().await;

    // What cannot be used, or does not let the plane in, is told.
    cluster(&plane, "no-secret", "nowhere").await;
    let says = |reason: &'static str| {
        move |it: &Cluster| {
            let said = condition::find(&it.status.conditions, "Reachable");
            said.is_some_and(|said| said.reason == reason)
        }
    };
    until(&plane, "no-secret", "without its Secret", says("SecretNotFound")).await;
    let wrong = kubernetes.kubeconfig().replace("a-token-of-the-tests", "another-token");
    plane.create(Secret::info(), "shop", "wrong", json!({"stringData": {}, "data": {}})).await;
    let encoded = quarterdeck_testing::kubernetes::base64(wrong.as_bytes());
    plane
        .patch(Secret::info(), "shop", "wrong", |it| it["data"] = json!({"kubeconfig": encoded}))
        .await;
    cluster(&plane, "wrong", "wrong").await;
    let refused = |it: &Cluster| {
        let said = condition::find(&it.status.conditions, "Reachable");
        said.is_some_and(|said| said.message.contains("does not let the plane do that"))
    };
    until(&plane, "wrong", "refused", refused).await;

    // One cluster under two names is noticed.
    import(&plane, "eu1", &kubernetes.kubeconfig_base64()).await;
    let ready = |it: &Cluster| it.status.phase == ClusterPhase::Ready;
    until(&plane, "eu1", "ready", ready).await;
    import(&plane, "eu2", &kubernetes.kubeconfig_base64()).await;
    let twin = |it: &Cluster| condition::find(&it.status.conditions, "Unique").is_some();
    let eu2: Cluster = until(&plane, "eu2", "known to be eu1", twin).await;
    let said_of = condition::find(&eu2.status.conditions, "Unique").unwrap();
    assert!(said_of.message.contains("same cluster as Cluster eu1"), "{said_of:?}");

    // A Deployment of that name is somebody's.
    workload(&plane, 2, &["eu1"]).await;
    let taken = |it: &Workload| said(it, "Placed").1.contains("is not this workload's");
    until(&plane, "web", "refused", taken).await;
    assert_eq!(there(&kubernetes, "/spec/template/spec/containers/0/image").await, "theirs");
    // It is in the way only while it is there.
    kubernetes.ask("DELETE", DEPLOYMENT, None, json).await.unwrap();
    let applied = |it: &Workload| {
        it.status.clusters.iter().any(|it| it.phase == WorkloadClusterPhase::Progressing)
    };
    until(&plane, "web", "applied", applied).await;
    assert_eq!(there(&kubernetes, "/spec/template/spec/containers/0/name").await, "web");
    // No node is there that could run it: its pods say so, and are down.
    let pending = |it: &Instance| {
        let message = it.status.message.as_deref().unwrap_or_default();
        it.status.phase == InstancePhase::Pending && message.contains("no nodes available")
    };
    wait_for(DEADLINE, "two pending instances", async || match instances(&plane) {
        all if all.len() == 2 && all.iter().all(pending) => Ok(()),
        all => Err(format!("{all:#?}")),
    })
    .await;

    // The same cluster by its other name is no second place.
    let both = json!([{"name": "eu1"}, {"name": "eu2"}]);
    change(&plane, "/spec/placement/clusters", both).await;
    let same = |it: &Workload| said(it, "Placed").1.contains("which is the same cluster");
    until(&plane, "web", "refused in eu2", same).await;
    wait_for(DEADLINE, "half of them to be in eu1", async || match instances(&plane).len() {
        1 => Ok(()),
        count => Err(count),
    })
    .await;
    // Whoever lets a cluster go at once leaves in it what runs there.
    plane
        .patch(Cluster::info(), "shop", "eu1", |it| {
            it["metadata"]["annotations"] = json!({"quarterdeck.dev/detach": "true"});
        })
        .await;
    plane.delete(Cluster::info(), "shop", "eu1").await;
    wait_for(DEADLINE, "eu1 to be gone", async || {
        if is_gone(&plane, Cluster::info(), "eu1") { Ok(()) } else { Err("it is there") }
    })
    .await;
    kubernetes.get(DEPLOYMENT).await.unwrap();
    let unreachable = |it: &Instance| it.status.phase == InstancePhase::Unreachable;
    wait_for(DEADLINE, "instances that nobody sees any more", async || match instances(&plane) {
        all if all.len() == 1 && all.iter().all(unreachable) => Ok(()),
        all => Err(format!("{all:#?}")),
    })
    .await;
}
