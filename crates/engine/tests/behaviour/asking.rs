//! Parts of sites as targets, and the persons who are asked before something is disrupted.

use crate::{
    ledger::{HOUR, none_without_a_permit, run, shop, until_permits, waits},
    scenario::Plane,
};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Campaign, Rack, Run, RunPhase, Server, Service, Site},
};
use serde_json::{Value, json};

/// Runs of Sites, in the same plane.
async fn with_sites(plane: &Plane) {
    let cut = "{target: {kind: Site}, steps: [{name: cut, action: disturb.it, with: {what: cut}, timeout: 2h}]}";
    plane.runbook("cut-site", cut).await;
    let site = json!({"spec": {"region": "eu", "halls": ["north"], "powerFeeds": ["A", "B"]}});
    plane.create(Site::info(), "", "fra1", site).await;
    plane
        .patch(Rack::info(), "", "r-0", |rack| {
            rack["spec"]["site"] = json!("fra1");
            rack["spec"]["hall"] = json!("north");
            rack["spec"]["powerFeeds"] = json!(["A", "B"]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hall_and_a_feed_are_targets() {
    let plane = shop(json!(1)).await;
    with_sites(&plane).await;
    plane.outside.always("cut", HOUR);
    let on =
        |part: &str| format!("{{runbook: cut-site, target: {{kind: Site, name: fra1, {part}}}}}");
    plane.run("hall", &on("hall: north")).await;
    let waiting = plane.until("hall", "waiting", waits).await.status.message.unwrap();
    assert!(
        waiting.starts_with("waiting for leave to disrupt Site fra1, hall north since"),
        "{waiting}"
    );
    assert!(waiting.contains(": shop/web allows 1 of 4 down; 0 are; this would take 4 more"));
    // What has another feed goes on, and the run does not wait behind that of another part.
    plane.run("feed-a", &on("powerFeed: A")).await;
    let given = until_permits(&plane, 1).await;
    assert_eq!(
        given[0]["spec"]["target"],
        json!({"kind": "Site", "name": "fra1", "powerFeed": "A"})
    );
    assert_eq!(given[0]["status"]["servers"], 0);
    plane.run("feed-b", &on("powerFeed: B")).await;
    let waiting = plane.until("feed-b", "waiting", waits).await.status.message.unwrap();
    assert!(waiting.contains("this would take 4 more"), "{waiting}");
    // The same after a crash: what is stored says which part it is.
    let plane = plane.crash_and_restart().await;
    none_without_a_permit(&plane);
    plane.until("feed-b", "waiting", waits).await;
    plane.phase("feed-a", RunPhase::Succeeded).await;
    plane.phase("feed-b", RunPhase::Succeeded).await;
}

async fn approved(plane: &Plane, kind: KindRef, name: &str, approvals: Value) {
    plane.patch(kind, "default", name, |run| run["spec"]["approvals"] = approvals.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_be_asked_is_and_what_was_said_is_kept_in_the_permit() {
    let plane = shop(json!(1)).await;
    plane
        .patch(Service::info(), "shop", "web", |service| {
            service["spec"]["approvalPolicy"] =
                json!({"groups": ["owners"], "required": 2, "validFor": "10m", "excludeRequester": true});
        })
        .await;
    plane.outside.always("r", HOUR);
    run(&plane, "r", "s-0").await;
    plane.patch(Run::info(), "default", "r", |run| run["spec"]["requestedBy"] = json!("ann")).await;
    let why = |run: &Run, wanted: &str| {
        waits(run) && run.status.message.as_ref().is_some_and(|it| it.contains(wanted))
    };
    let by = "shop/web wants approval by 2 of group owners (not the requester, given within 10m); ";
    plane.until("r", "asked", |run| why(run, &format!("{by}nobody has approved yet"))).await;
    let said = |by: &str, groups: Value, time: &str| json!({"decision": "Approved", "by": by, "groups": groups, "time": time});
    let (long_ago, now) = ("2026-11-02T07:00:00Z", "2026-11-02T08:00:00Z");
    let (own, old) =
        (said("ann", json!(["owners"]), now), said("bob", json!(["owners"]), long_ago));
    let (other, cat) = (said("eve", json!(["dev"]), now), said("cat", json!(["owners"]), now));
    approved(&plane, Run::info(), "r", json!([own, old, other, cat])).await;
    plane.until("r", "one of two", |run| why(run, "so far approved by cat;")).await;
    let dan = said("dan", json!(["owners"]), now);
    approved(&plane, Run::info(), "r", json!([own, old, other, cat, dan])).await;
    let given = until_permits(&plane, 1).await;
    assert_eq!(given[0]["status"]["approvedBy"], json!(["cat", "dan"]));
    assert!(plane.now().duration_since(crate::scenario::beginning()).as_secs() < 15, "it was told");
}

#[tokio::test(start_paused = true)]
async fn a_campaign_is_approved_once_for_all_that_it_does_and_for_nothing_else() {
    let plane = shop(json!(4)).await;
    plane
        .patch(Service::info(), "shop", "web", |service| {
            service["spec"]["approvalPolicy"] = json!({"users": ["ann"]});
        })
        .await;
    for server in ["s-0", "s-1"] {
        plane
            .patch(Server::info(), "", server, |it| {
                it["metadata"]["labels"] = json!({"role": "web"})
            })
            .await;
    }
    plane.outside.always("x", HOUR);
    let spec = json!({
        "runbook": "patch", "params": {"what": "x"}, "canary": 0,
        "targets": {"kind": "Server", "selector": {"matchLabels": {"role": "web"}}},
        "approvals": [{"decision": "Approved", "by": "ann"}],
    });
    plane.create(Campaign::info(), "default", "all", json!({"spec": spec})).await;
    until_permits(&plane, 2).await;
    // Whoever dresses a run up as one of the campaign gets its approval for nothing else.
    let campaign = plane.store.world().get(Campaign::info(), "default", "all").unwrap();
    let metadata = json!({
        "labels": {"quarterdeck.dev/campaign": "all"},
        "ownerReferences": [{"apiVersion": Campaign::info().api_version(), "kind": "Campaign",
            "name": "all", "uid": campaign.uid()}],
    });
    let spec = json!({"runbook": "patch", "target": {"kind": "Server", "name": "s-2"}, "params": {"what": "x"}});
    plane
        .create(Run::info(), "default", "other", json!({"metadata": metadata, "spec": spec}))
        .await;
    let waiting = plane.until("other", "waiting", waits).await.status.message.unwrap();
    assert!(
        waiting.contains("wants approval by 1 of user ann; nobody has approved yet"),
        "{waiting}"
    );
}
