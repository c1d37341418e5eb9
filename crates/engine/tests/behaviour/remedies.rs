//! Remedies: what is wrong with servers is mended by runs, a few at a time, as long as that helps.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{Rack, Remedy, RemedyPhase, RemedyStatus, Run, Server},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const MEND: &str = "
target: {kind: Server}
timeout: 12h
steps:
  - {name: mend, action: disturb.it, with: {what: '${ target.metadata.name }'}, timeout: 2h}
";

/// Servers s-00 to s-19, five in each of four racks, and a remedy for those that are broken.
async fn fleet(more: Value) -> Plane {
    let plane = Plane::new().await;
    plane.runbook("mend", MEND).await;
    for rack in 0..4 {
        let spec = json!({"site": format!("site-{}", rack % 2)});
        plane.create(Rack::info(), "", &format!("r-{rack}"), json!({"spec": spec})).await;
    }
    for number in 0..20 {
        let rack = format!("r-{}", number / 5);
        let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": {"rack": rack}});
        let server = json!({"metadata": {"labels": {"role": "web"}}, "spec": spec});
        plane.create(Server::info(), "", &format!("s-{number:02}"), server).await;
        plane.outside.always(&format!("s-{number:02}"), Behaviour::Takes(MINUTE * 5));
    }
    let mut spec = json!({"kind": "Server", "selector": {"matchLabels": {"role": "web"}},
        "when": "has(target.metadata.labels.broken)", "for": "10m", "runbook": "mend", "concurrency": 10,
        "maxAffected": "40%", "cooldown": "30m"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    plane.create(Remedy::info(), "", "r", json!({"spec": spec})).await;
    wait(MINUTE).await;
    plane
}

async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn label(plane: &Plane, server: &str, broken: bool) {
    plane
        .patch(Server::info(), "", server, |server| {
            let labels = server["metadata"]["labels"].as_object_mut().unwrap();
            if broken {
                labels.insert("broken".into(), json!("yes"));
            } else {
                labels.remove("broken");
            }
        })
        .await;
}

async fn breaks(plane: &Plane, servers: &[&str]) {
    for server in servers {
        label(plane, server, true).await;
    }
}

async fn mended(plane: &Plane, servers: &[&str]) {
    for server in servers {
        label(plane, server, false).await;
    }
}

fn see(plane: &Plane) -> RemedyStatus {
    let object = plane.store.world().get(Remedy::info(), "", "r").unwrap();
    object.decode::<Remedy>().unwrap().status
}

async fn until(plane: &Plane, what: &str, wanted: impl Fn(&RemedyStatus) -> bool) -> RemedyStatus {
    plane.when(Remedy::info(), what, || Some(see(plane)).filter(&wanted)).await
}

fn runs(plane: &Plane) -> Vec<Arc<Object>> {
    let world = plane.store.world();
    world
        .all(Run::info())
        .filter(|run| run.label("quarterdeck.dev/remedy") == Some("r"))
        .cloned()
        .collect()
}

/// The servers that runs were made for, each as often as there are some.
fn tried(plane: &Plane) -> Vec<String> {
    let mut tried: Vec<String> =
        runs(plane).iter().map(|run| run.field("spec.target.name").unwrap().to_owned()).collect();
    tried.sort();
    tried
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_for_long_enough_is_mended_and_what_flaps_is_not() {
    let plane = fleet(json!({})).await;
    assert_eq!(see(&plane).message.as_deref(), Some("nothing is wrong"));
    breaks(&plane, &["s-00", "s-01"]).await;
    wait(MINUTE * 6).await;
    assert_eq!((see(&plane).affected, see(&plane).waiting, runs(&plane).len()), (2, 2, 0));
    mended(&plane, &["s-01"]).await;
    wait(MINUTE).await;
    breaks(&plane, &["s-01"]).await;
    wait(MINUTE * 5).await;
    assert_eq!(tried(&plane), ["s-00"], "s-01 was well in between");
    mended(&plane, &["s-01"]).await;
    let run: Run = runs(&plane)[0].decode().unwrap();
    assert_eq!(run.metadata.namespace.as_deref(), Some("quarterdeck-system"));
    assert_eq!(run.metadata.owner_references[0].name, "s-00");
    until(&plane, "one in work", |status| status.running == 1).await;
    plane.outside.called("s-00", 1).await;
    wait(MINUTE * 5).await;
    assert_eq!(plane.outside.effects(), ["s-00"]);
    mended(&plane, &["s-00"]).await;
    wait(MINUTE * 11).await;
    let status = see(&plane);
    assert_eq!((status.succeeded, status.failed, status.affected), (1, 0, 0));
    assert_eq!(runs(&plane)[0].label("quarterdeck.dev/outcome"), Some("Mended"));
    // A run goes with its target.
    plane.delete(Server::info(), "", "s-00").await;
    wait(MINUTE).await;
    assert!(runs(&plane).is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes() {
    let plane = fleet(json!({"suspend": true})).await;
    breaks(&plane, &["s-00", "s-07"]).await;
    wait(MINUTE * 15).await;
    let before = plane.store.world().get(Remedy::info(), "", "r").unwrap().revision;
    wait(MINUTE * 120).await;
    let after = plane.store.world().get(Remedy::info(), "", "r").unwrap().revision;
    assert_eq!((before, runs(&plane).len(), see(&plane).phase), (after, 0, RemedyPhase::Suspended));
    plane.patch(Remedy::info(), "", "r", |it| it["spec"]["suspend"] = json!(false)).await;
    wait(MINUTE).await;
    assert_eq!(tried(&plane), ["s-00", "s-07"], "it was so for long enough");
}

#[tokio::test(start_paused = true)]
async fn few_at_once_few_in_a_rack_and_few_in_an_hour() {
    let plane = fleet(json!({"concurrency": 3, "perDomain": {"domain": "Rack", "max": 1},
        "maxPerHour": 4, "stopAfter": 100}))
    .await;
    let all = ["s-00", "s-01", "s-02", "s-05", "s-10", "s-15", "s-16"];
    breaks(&plane, &all).await;
    wait(MINUTE * 11).await;
    assert_eq!(tried(&plane), ["s-00", "s-05", "s-10"], "one in each rack, three at once");
    mended(&plane, &["s-00", "s-05", "s-10"]).await;
    wait(MINUTE * 20).await;
    assert_eq!(tried(&plane), ["s-00", "s-01", "s-05", "s-10"], "four in an hour");
    mended(&plane, &["s-01"]).await;
    wait(MINUTE * 31).await;
    assert_eq!(tried(&plane).len(), 4);
    wait(MINUTE * 20).await;
    assert_eq!(tried(&plane), all, "each in its turn");
    // By site, two of the four racks are one.
    let by_site = fleet(json!({"perDomain": {"domain": "Site", "max": 1}})).await;
    breaks(&by_site, &["s-00", "s-05", "s-10", "s-15"]).await;
    wait(MINUTE * 11).await;
    assert_eq!(tried(&by_site), ["s-00", "s-05"]);
}

#[tokio::test(start_paused = true)]
async fn it_stops_itself_when_it_mends_nothing_and_goes_on_when_asked() {
    let plane = fleet(json!({"stopAfter": 3, "concurrency": 1, "maxPerHour": 100})).await;
    breaks(&plane, &["s-00", "s-05", "s-10", "s-15"]).await;
    let stopped = until(&plane, "stopped", |it| it.phase == RemedyPhase::Stopped).await;
    let message = stopped.message.unwrap();
    assert!(
        message.starts_with(
            "stopped itself: of the last 3 runs of mend, 0 mended their target, and not s-"
        ),
        "{message}"
    );
    let story = plane.story("Remedy", "r");
    assert!(story.iter().any(|it| *it == format!("MendsNothing: {message}")), "{story:?}");
    wait(MINUTE * 30).await;
    let before = tried(&plane).len();
    let plane = plane.crash_and_restart().await;
    wait(MINUTE * 300).await;
    assert_eq!(tried(&plane).len(), before, "also after a restart");
    assert_eq!(see(&plane).phase, RemedyPhase::Stopped);
    plane.patch(Remedy::info(), "", "r", |it| it["spec"]["resume"] = json!(1)).await;
    wait(MINUTE).await;
    assert_eq!((see(&plane).phase, tried(&plane).len()), (RemedyPhase::Active, before + 1));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_mended_is_left_to_people() {
    let plane = fleet(json!({"giveUpAfter": 2, "stopAfter": 50})).await;
    plane.outside.always("s-03", Behaviour::FailsForGood);
    breaks(&plane, &["s-03"]).await;
    let given_up = until(&plane, "given up", |status| status.given_up == 1).await;
    assert_eq!((given_up.failed, given_up.phase), (2, RemedyPhase::Active));
    wait(MINUTE * 600).await;
    assert_eq!(tried(&plane), ["s-03", "s-03"]);
    assert!(plane.reasons("Remedy", "r").contains(&"TriedInVain".to_owned()));
    // Another is mended all the same.
    breaks(&plane, &["s-04"]).await;
    wait(MINUTE * 11).await;
    assert_eq!(tried(&plane), ["s-03", "s-03", "s-04"]);
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_not_mended_one_by_one() {
    let plane = fleet(json!({"maxAffected": "10%"})).await;
    breaks(&plane, &["s-00", "s-01", "s-02"]).await;
    wait(MINUTE * 60).await;
    let status = see(&plane);
    assert_eq!((status.affected, runs(&plane).len()), (3, 0));
    let message = status.message.unwrap();
    assert!(message.starts_with("3 of 20 objects are affected at once"), "{message}");
    assert_eq!(plane.reasons("Remedy", "r"), ["TooManyAffected"]);
    mended(&plane, &["s-02"]).await;
    wait(MINUTE).await;
    assert_eq!(tried(&plane), ["s-00", "s-01"]);
}

#[tokio::test(start_paused = true)]
async fn no_crash_makes_it_do_more_or_forget() {
    let mut plane = fleet(json!({"concurrency": 1, "maxPerHour": 3, "stopAfter": 100})).await;
    let all = ["s-00", "s-05", "s-10", "s-15"];
    for server in all {
        plane.outside.always(server, Behaviour::Takes(MINUTE));
    }
    breaks(&plane, &all).await;
    for turn in 0..40_u32 {
        wait(Duration::from_millis(u64::from(120_000 + turn * 37))).await;
        let open = runs(&plane)
            .iter()
            .filter(|run| !matches!(run.field("status.phase"), Some("Succeeded" | "Failed")))
            .count();
        assert!(open <= 1);
        plane = plane.crash_and_restart().await;
    }
    // In a bit more than an hour and twenty minutes, of which ten passed before it began.
    let tried = tried(&plane);
    assert!((4..=6).contains(&tried.len()), "{tried:?}");
    let effects = plane.outside.effects();
    assert!(effects.len() <= tried.len());
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_the_plane_is_away_is_seen_when_it_is_back() {
    let plane = fleet(json!({"suspend": true})).await;
    breaks(&plane, &["s-00", "s-05"]).await;
    until(&plane, "two affected", |status| status.affected == 2).await;
    plane.freeze();
    let plane = plane.crash_and_restart().await;
    mended(&plane, &["s-00"]).await;
    breaks(&plane, &["s-06"]).await;
    plane.delete(Server::info(), "", "s-05").await;
    wait(MINUTE).await;
    let status = see(&plane);
    let names: Vec<String> = status.objects.into_iter().map(|it| it.name).collect();
    assert_eq!((status.affected, names), (1, vec!["s-06".to_owned()]));
    // Another question is asked of all anew.
    plane
        .patch(Remedy::info(), "", "r", |it| {
            it["spec"]["when"] = json!("target.spec.location.rack == 'r-3'")
        })
        .await;
    wait(MINUTE).await;
    assert_eq!(see(&plane).affected, 5);
}
