//! Schedules: runs and campaigns that start by themselves, each time exactly once, whatever happens to the plane.

use crate::{outside::Behaviour, scenario::Plane};
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{Campaign, Run, Schedule, SchedulePhase, ScheduleStatus},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const TIDY: &str = "
timeout: 12h
steps:
  - {name: tidy, action: do.it, with: {what: tidy}, timeout: 10h}
";

/// A plane at 08:00 with a runbook that takes so long.
async fn plane(takes: Duration) -> Plane {
    let plane = Plane::new().await;
    plane.runbook("tidy", TIDY).await;
    plane.outside.always("tidy", Behaviour::Takes(takes));
    plane
}

async fn schedule(plane: &Plane, more: Value) {
    let mut spec = json!({"schedule": "0 * * * *", "run": {"runbook": "tidy"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    plane.create(Schedule::info(), "default", "s", json!({"spec": spec})).await;
}

fn see(plane: &Plane) -> ScheduleStatus {
    let object = plane.store.world().get(Schedule::info(), "default", "s").unwrap();
    object.decode::<Schedule>().unwrap().status
}

fn runs(plane: &Plane) -> Vec<Arc<Object>> {
    plane.store.world().all(Run::info()).cloned().collect()
}

/// The times for which there are runs, in order, without the date.
fn times(plane: &Plane) -> Vec<String> {
    let mut times: Vec<String> = runs(plane)
        .iter()
        .map(|run| {
            let value = run.value();
            let due = value["metadata"]["annotations"]["quarterdeck.dev/scheduled-for"].as_str();
            due.unwrap()[11..16].to_owned()
        })
        .collect();
    times.sort();
    times
}

fn phase(run: &Object) -> &str {
    run.field("status.phase").unwrap_or("Pending")
}

async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn it_starts_a_run_at_its_time_and_forgets_old_ones() {
    let plane = plane(MINUTE).await;
    schedule(&plane, json!({})).await;
    wait(MINUTE).await;
    let status = see(&plane);
    assert_eq!((status.phase, runs(&plane).len()), (SchedulePhase::Scheduled, 0));
    assert_eq!(status.next_schedule_time.unwrap().to_string(), "2026-11-02T09:00:00Z");
    wait(HOUR).await;
    assert_eq!(times(&plane), ["09:00"]);
    let run: Run = runs(&plane)[0].decode().unwrap();
    assert_eq!(run.metadata.name, "s-29893500");
    assert_eq!(run.metadata.owner_references[0].name, "s");
    wait(HOUR * 5 + MINUTE).await;
    assert_eq!(times(&plane), ["12:00", "13:00", "14:00"], "three are kept");
    assert_eq!(plane.outside.effects().len(), 6);
    let status = see(&plane);
    assert_eq!(status.last_schedule_time.unwrap().to_string(), "2026-11-02T14:00:00Z");
    assert!(status.last_successful_time.unwrap() > status.last_schedule_time.unwrap());
    assert_eq!(plane.reasons("Schedule", "s"), ["Started"; 6]);
    // What it started goes with it.
    plane.delete(Schedule::info(), "default", "s").await;
    wait(MINUTE).await;
    assert_eq!(runs(&plane).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_while_the_plane_was_away_is_started_once_if_it_is_not_too_late() {
    for (deadline, wanted) in [(json!(null), vec!["13:00"]), (json!(600), vec![])] {
        let plane = plane(MINUTE).await;
        schedule(&plane, json!({"startingDeadlineSeconds": deadline})).await;
        wait(MINUTE).await;
        let (disk, outside) = plane.stop().await;
        let later = "2026-11-02T13:40:00Z".parse().unwrap();
        let plane = Plane::start(disk, outside, (later, tokio::time::Instant::now())).await;
        wait(MINUTE).await;
        assert_eq!(times(&plane), wanted);
        let missed = see(&plane).last_missed_time.map(|time| time.to_string());
        assert_eq!(missed.is_some(), wanted.is_empty());
        wait(HOUR).await;
        assert_eq!(times(&plane).last().unwrap(), "14:00");
        assert_eq!(runs(&plane).len(), wanted.len() + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_crash_starts_it_twice_or_not_at_all() {
    let mut plane = plane(MINUTE).await;
    let all = json!({"schedule": "*/5 * * * *", "successfulRunsHistoryLimit": 100});
    schedule(&plane, all).await;
    for turn in 0..24_u32 {
        // Around its times, at all distances from them.
        wait(Duration::from_millis(u64::from(150_000 - turn * 7))).await;
        plane = plane.crash_and_restart().await;
    }
    wait(MINUTE * 2).await;
    let mut times = times(&plane);
    let all = times.len();
    times.dedup();
    assert_eq!((times.len(), all), (12, 12), "{times:?}");
    assert_eq!(plane.outside.effects().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn forbid_waits_and_goes_on_when_it_can() {
    let plane = plane(Duration::from_secs(90 * 60)).await;
    schedule(&plane, json!({"concurrencyPolicy": "Forbid"})).await;
    wait(HOUR * 2 + MINUTE).await;
    assert_eq!(times(&plane), ["09:00"]);
    assert_eq!(see(&plane).active, ["s-29893500"]);
    assert_eq!(plane.reasons("Schedule", "s"), ["Started", "StillRunning"]);
    wait(MINUTE * 30).await;
    assert_eq!(times(&plane), ["09:00", "10:00"], "as soon as the first has ended");
}

#[tokio::test(start_paused = true)]
async fn replace_cancels_what_is_in_its_way() {
    let plane = plane(Duration::from_secs(90 * 60)).await;
    schedule(&plane, json!({"concurrencyPolicy": "Replace"})).await;
    wait(HOUR * 2 + MINUTE).await;
    let phases: Vec<String> = runs(&plane).iter().map(|run| phase(run).to_owned()).collect();
    assert_eq!(phases, ["Cancelled", "Running"]);
    assert_eq!(times(&plane), ["09:00", "10:00"]);
}

#[tokio::test(start_paused = true)]
async fn suspended_it_starts_nothing_and_then_the_latest() {
    let plane = plane(MINUTE).await;
    schedule(&plane, json!({"suspend": true})).await;
    wait(HOUR * 3).await;
    assert_eq!((see(&plane).phase, runs(&plane).len()), (SchedulePhase::Suspended, 0));
    plane.patch(Schedule::info(), "default", "s", |it| it["spec"]["suspend"] = json!(false)).await;
    wait(MINUTE).await;
    assert_eq!(times(&plane), ["11:00"]);
}

#[tokio::test(start_paused = true)]
async fn it_starts_campaigns_too() {
    let plane = plane(MINUTE).await;
    let campaign = json!({"runbook": "tidy", "paused": true,
        "targets": {"kind": "Server", "selector": {"matchLabels": {"role": "web"}}}});
    schedule(&plane, json!({"run": null, "campaign": campaign, "timeZone": "Asia/Kolkata"})).await;
    // At half past, by our clock.
    wait(MINUTE * 29).await;
    assert_eq!(plane.store.world().count(Campaign::info()), 0);
    wait(MINUTE * 2).await;
    let campaign = plane.store.world().all(Campaign::info()).next().cloned().unwrap();
    assert_eq!(campaign.label("quarterdeck.dev/schedule"), Some("s"));
    assert_eq!(campaign.field("status.phase"), Some("Planned"));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_not_called_a_start() {
    let plane = plane(MINUTE).await;
    // The name of the start at nine is known to everybody.
    plane.run("s-29893500", "{runbook: tidy}").await;
    schedule(&plane, json!({})).await;
    wait(HOUR + MINUTE).await;
    assert_eq!(see(&plane).last_schedule_time, None);
    let told = plane.story("Schedule", "s");
    assert_eq!(
        told,
        ["NameTaken: s-29893500 is there already and is not this schedule's; delete it"]
    );
    plane.delete(Run::info(), "default", "s-29893500").await;
    wait(MINUTE).await;
    assert_eq!(times(&plane), ["09:00"], "it is started once the name is free");
}
