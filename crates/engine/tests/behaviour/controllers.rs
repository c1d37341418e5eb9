//! Controllers, through what they do to the store.

use crate::scenario::Plane;
use quarterdeck_model::{
    Kind as _, KindRef, condition,
    kinds::{
        ClusterRole, Event, Image, Namespace, Rack, Run, RunPhase, RunbookRevision, Secret, Server,
        ServiceAccount, Site,
    },
};
use serde_json::{Value, json};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn uid(plane: &Plane, kind: KindRef, namespace: &str, name: &str) -> String {
    plane.store.world().get(kind, namespace, name).unwrap().uid().to_owned()
}

fn there(plane: &Plane, kind: KindRef, namespace: &str, name: &str) -> bool {
    plane.store.world().get(kind, namespace, name).is_some()
}

/// A secret that belongs to an image.
async fn secret_of(plane: &Plane, name: &str, owners: Value) {
    let metadata = json!({"ownerReferences": owners});
    plane.create(Secret::info(), "default", name, json!({"metadata": metadata})).await;
}

fn owner(plane: &Plane, image: &str) -> Value {
    let uid = uid(plane, Image::info(), "", image);
    owner_with(image, &uid)
}

fn owner_with(image: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Image", "name": image,
        "uid": uid, "blockOwnerDeletion": true
    })
}

async fn until_gone(plane: &Plane, kind: KindRef, namespace: &str, name: &str) {
    plane
        .when(kind, &format!("{name} to be gone"), || {
            (!there(plane, kind, namespace, name)).then_some(())
        })
        .await;
}

/// Deletes an image as the API does with that propagation.
async fn delete_image(plane: &Plane, name: &str, finalizer: &str) {
    let now = plane.now();
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap().to_string();
    plane
        .patch(Image::info(), "", name, |image| {
            image["metadata"]["finalizers"] = json!([finalizer]);
            image["metadata"]["deletionTimestamp"] = json!(now);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_an_object_goes_after_it() {
    let plane = Plane::new().await;
    plane.image("a").await;
    plane.image("b").await;
    secret_of(&plane, "of-a", json!([owner(&plane, "a")])).await;
    secret_of(&plane, "of-both", json!([owner(&plane, "a"), owner(&plane, "b")])).await;
    secret_of(&plane, "of-none", json!([])).await;
    plane.delete(Image::info(), "", "a").await;
    until_gone(&plane, Secret::info(), "default", "of-a").await;
    let cut = || {
        let both = plane.store.world().get(Secret::info(), "default", "of-both")?;
        (both.owners().count() == 1).then_some(())
    };
    plane.when(Secret::info(), "one owner to be left", cut).await;
    assert!(there(&plane, Secret::info(), "default", "of-none"));
}

#[tokio::test(start_paused = true)]
async fn an_owner_of_the_same_name_but_another_uid_is_not_the_owner() {
    let plane = Plane::new().await;
    plane.image("a").await;
    secret_of(&plane, "of-another", json!([owner_with("a", "it-was-before")])).await;
    secret_of(&plane, "of-a", json!([owner(&plane, "a")])).await;
    let unknown = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "y"}]);
    secret_of(&plane, "of-unknown", unknown).await;
    until_gone(&plane, Secret::info(), "default", "of-another").await;
    tokio::time::sleep(60 * SECOND).await;
    assert!(there(&plane, Secret::info(), "default", "of-a"));
    assert!(there(&plane, Secret::info(), "default", "of-unknown"), "its kind is not known here");
}

#[tokio::test(start_paused = true)]
async fn foreground_deletion_waits_for_what_belongs_to_the_owner() {
    let plane = Plane::new().await;
    plane.image("a").await;
    secret_of(&plane, "free", json!([owner(&plane, "a")])).await;
    secret_of(&plane, "held", json!([owner(&plane, "a")])).await;
    plane
        .patch(Secret::info(), "default", "held", |secret| {
            secret["metadata"]["finalizers"] = json!(["example.com/mine"]);
        })
        .await;
    delete_image(&plane, "a", "foregroundDeletion").await;
    until_gone(&plane, Secret::info(), "default", "free").await;
    tokio::time::sleep(60 * SECOND).await;
    assert!(there(&plane, Image::info(), "", "a"), "it waits for the one that is held");
    let held = plane.store.world().get(Secret::info(), "default", "held").unwrap();
    assert!(held.deleting());
    plane
        .patch(Secret::info(), "default", "held", |secret| {
            secret["metadata"].as_object_mut().unwrap().remove("finalizers");
        })
        .await;
    plane.delete(Secret::info(), "default", "held").await;
    until_gone(&plane, Image::info(), "", "a").await;
}

#[tokio::test(start_paused = true)]
async fn orphans_are_cut_loose_and_stay_also_when_the_plane_has_just_started() {
    let plane = Plane::new().await;
    plane.image("a").await;
    for at in 0..700 {
        // More than one batch.
        secret_of(&plane, &format!("s{at}"), json!([owner(&plane, "a")])).await;
    }
    delete_image(&plane, "a", "orphan").await;
    let plane = plane.crash_and_restart().await;
    until_gone(&plane, Image::info(), "", "a").await;
    tokio::time::sleep(60 * SECOND).await;
    let world = plane.store.world();
    assert_eq!(world.count(Secret::info()), 700);
    assert!(world.all(Secret::info()).all(|secret| secret.owners().next().is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_is_emptied_then_goes() {
    let plane = Plane::new().await;
    for name in ["default", "team"] {
        plane.create(Namespace::info(), "", name, json!({"spec": {"finalizers": ["x"]}})).await;
    }
    for at in 0..1_200 {
        plane.create(Secret::info(), "team", &format!("s{at}"), json!({})).await;
    }
    plane.create(Secret::info(), "default", "other", json!({})).await;
    plane.runbook("w", "steps: [{name: w, pause: 1h}]").await;
    let run = json!({"spec": {"runbook": "w"}});
    plane.create(Run::info(), "team", "r", run).await;
    let began = || {
        let run = plane.store.world().get(Run::info(), "team", "r")?;
        (run.field("status.phase") == Some("Running")).then_some(())
    };
    plane.when(Run::info(), "the run to begin", began).await;
    plane
        .patch(Namespace::info(), "", "team", |namespace| {
            namespace["metadata"]["deletionTimestamp"] = json!("2026-11-02T08:00:00Z");
            namespace["spec"] = json!({});
        })
        .await;
    until_gone(&plane, Namespace::info(), "", "team").await;
    assert!(!there(&plane, Run::info(), "team", "r"), "it was cancelled and let go");
    assert_eq!(plane.store.world().count(Secret::info()), 1);
    let world = plane.store.world();
    let left = world.all(Event::info()).filter(|event| event.namespace() == "team").count();
    assert_eq!(left, 0, "nothing is told in it any more, not even that its run was cancelled");
    assert!(plane.now().duration_since(crate::scenario::beginning()).as_secs() < 10);
}

fn servers_of(plane: &Plane, rack: &str) -> Option<u64> {
    let rack = plane.store.world().get(Rack::info(), "", rack)?.value();
    rack["status"]["servers"].as_u64()
}

#[tokio::test(start_paused = true)]
async fn places_count_what_is_in_them_and_what_left() {
    let plane = Plane::new().await;
    plane.create(Site::info(), "", "s", json!({"spec": {"region": "here"}})).await;
    for name in ["r1", "r2", "lost"] {
        let site = if name == "lost" { "nowhere" } else { "s" };
        plane.create(Rack::info(), "", name, json!({"spec": {"site": site}})).await;
    }
    for name in ["m1", "m2"] {
        let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": {"rack": "r1", "unit": 1}});
        plane.create(Server::info(), "", name, json!({"spec": spec})).await;
    }
    let counted = |r1, r2| {
        let plane = &plane;
        move || {
            let both = (servers_of(plane, "r1"), servers_of(plane, "r2"));
            (both == (Some(r1), Some(r2))).then_some(())
        }
    };
    plane.when(Rack::info(), "two and none", counted(2, 0)).await;
    plane
        .patch(Server::info(), "", "m1", |server| server["spec"]["location"]["rack"] = json!("r2"))
        .await;
    plane.when(Rack::info(), "one and one", counted(1, 1)).await;
    plane.delete(Server::info(), "", "m1").await;
    plane.when(Rack::info(), "one and none", counted(1, 0)).await;
    let site = || {
        let site = plane.store.world().get(Site::info(), "", "s")?.value();
        (site["status"]["servers"] == 1 && site["status"]["racks"] == 2).then_some(())
    };
    plane.when(Site::info(), "the site to add them up", site).await;
    let lost = plane.store.world().get(Rack::info(), "", "lost").unwrap().value();
    let link = &lost["status"]["conditions"][0];
    assert_eq!((&link["type"], &link["reason"]), (&json!("LinksFound"), &json!("SiteNotFound")));
}

#[tokio::test(start_paused = true)]
async fn events_go_after_a_day_and_runs_after_a_quarter_with_their_revisions() {
    let plane = Plane::new().await;
    plane.image("i").await;
    let steps = |what: &str| {
        format!(
            "{{target: {{kind: Image}}, steps: [{{name: a, action: do.it, with: {{what: {what}}}}}]}}"
        )
    };
    plane.runbook("b", &steps("old")).await;
    let spec = "{runbook: b, target: {kind: Image, name: i}}";
    plane.run("first", spec).await;
    plane.phase("first", RunPhase::Succeeded).await;
    plane.change_runbook("b", &steps("new")).await;
    plane.run("second", spec).await;
    plane.phase("second", RunPhase::Succeeded).await;
    let count = |kind| plane.store.world().count(kind);
    assert!(count(Event::info()) > 0);
    plane.skip(25 * 3600 * SECOND);
    // History is kept for an hour by the clock that ticks, and more than one pass goes by.
    tokio::time::sleep(2 * 3600 * SECOND).await;
    assert_eq!(count(Event::info()), 0);
    assert_eq!((count(Run::info()), count(RunbookRevision::info())), (2, 2));
    assert!(plane.disk.compacted().0 > 0, "history is cut");
    let before = plane.store.world().revision();
    plane.image("late").await;
    tokio::time::sleep(1800 * SECOND).await;
    assert!(plane.disk.compacted() <= before, "what changed within the hour can be read");
    plane.skip(91 * 24 * 3600 * SECOND);
    tokio::time::sleep(1200 * SECOND).await;
    assert_eq!(count(Run::info()), 0);
    assert_eq!(count(RunbookRevision::info()), 1, "the newest stays");
}

#[tokio::test(start_paused = true)]
async fn roles_are_gathered_through_several() {
    let plane = Plane::new().await;
    let kind = ClusterRole::info();
    let gathering = |label: &str| {
        json!({"rules": [], "aggregationRule":
            {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}})
    };
    let part = |label: &str, verb: &str| {
        json!({"metadata": {"labels": {label: "true"}},
            "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["events"]}]})
    };
    let mut view = gathering("to-view");
    view["metadata"] = json!({"labels": {"to-edit": "true"}});
    plane.create(kind, "", "view", view).await;
    plane.create(kind, "", "edit", gathering("to-edit")).await;
    plane.create(kind, "", "get", part("to-view", "get")).await;
    plane.create(kind, "", "create", part("to-edit", "create")).await;
    let verbs = |name: &str| {
        let role: ClusterRole = plane.store.world().get(kind, "", name)?.decode().ok()?;
        Some(role.rules.into_iter().flat_map(|rule| rule.verbs).collect::<Vec<_>>().join(","))
    };
    let whole = || (verbs("edit")? == "create,get" && verbs("view")? == "get").then_some(());
    plane.when(kind, "both to be gathered", whole).await;
    plane.delete(kind, "", "get").await;
    let less = || (verbs("edit")? == "create" && verbs("view")?.is_empty()).then_some(());
    plane.when(kind, "what is gone to be left out", less).await;
}

async fn until_account(plane: &Plane, namespace: &str, not: &str) -> String {
    let other = || {
        let account = plane.store.world().get(ServiceAccount::info(), namespace, "default")?;
        (account.uid() != not).then(|| account.uid().to_owned())
    };
    plane.when(ServiceAccount::info(), "the default service account", other).await
}

/// The namespace begins to be deleted, as the API has it.
async fn delete_namespace(plane: &Plane, name: &str) {
    let now = jiff::Timestamp::from_second(plane.now().as_second()).unwrap().to_string();
    plane
        .patch(Namespace::info(), "", name, |namespace| {
            namespace["metadata"]["deletionTimestamp"] = json!(now);
            namespace["status"]["phase"] = json!("Terminating");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn each_namespace_has_a_default_service_account() {
    let plane = Plane::new().await;
    plane.create(Namespace::info(), "", "before", json!({})).await;
    let (disk, outside) = plane.stop().await;
    // A release that did not make them left namespaces without.
    let plane =
        Plane::start(disk, outside, (crate::scenario::beginning(), tokio::time::Instant::now()))
            .await;
    plane.create(Namespace::info(), "", "after", json!({})).await;
    until_account(&plane, "before", "").await;
    let first = until_account(&plane, "after", "").await;
    plane.create(ServiceAccount::info(), "after", "bot", json!({})).await;
    plane.delete(ServiceAccount::info(), "after", "bot").await;
    plane.delete(ServiceAccount::info(), "after", "default").await;
    until_account(&plane, "after", &first).await;
    assert!(!there(&plane, ServiceAccount::info(), "after", "bot"));
}

#[tokio::test(start_paused = true)]
async fn no_service_account_outlives_its_namespace() {
    let plane = Plane::new().await;
    let names: Vec<String> = (0..40).map(|at| format!("team-{at}")).collect();
    for name in &names {
        plane.create(Namespace::info(), "", name, json!({"spec": {}})).await;
        delete_namespace(&plane, name).await;
    }
    for name in &names {
        until_gone(&plane, Namespace::info(), "", name).await;
    }
    // One that was made when its namespace had just gone, as a crash between the two would leave it.
    plane.create(ServiceAccount::info(), "team-7", "default", json!({})).await;
    for name in &names {
        until_gone(&plane, ServiceAccount::info(), name, "default").await;
    }
    tokio::time::sleep(60 * SECOND).await;
    for name in &names {
        assert!(!there(&plane, ServiceAccount::info(), name, "default"), "{name}");
    }
}

/// Whoever compares the times of a server with those of its runs finds them from one clock.
#[tokio::test(start_paused = true)]
async fn what_a_server_says_has_the_time_of_the_engines_clock() {
    let plane = Plane::new().await;
    plane.server("s").await;
    let since = plane
        .when(Server::info(), "the server to say why it is not ready", || {
            let server = plane.store.world().get(Server::info(), "", "s")?;
            let server: Server = server.decode().unwrap();
            Some(condition::find(&server.status.conditions, "Ready")?.last_transition_time)
        })
        .await;
    let ago = plane.now().duration_since(since.timestamp());
    assert!((0..60).contains(&ago.as_secs()), "{since} was {ago:#} ago");
}
