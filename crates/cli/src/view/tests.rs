//! What is shown, as it is shown: one snapshot each, at a fixed time.

use super::{campaign, harm::harm, machine, plan, run, server, table::table, timeline, top, why};
use jiff::SignedDuration;
use quarterdeck_ledger::{Stage, plan as ledger};
use quarterdeck_model::{
    Time,
    kinds::{Campaign, Machine, Permit, RackSpec, Run, Server},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

fn at(text: &str) -> Time {
    serde_json::from_value(text.into()).unwrap()
}

fn now() -> Time {
    at("2026-03-01T12:30:00Z")
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn run_with(name: &str, status: Value) -> Run {
    read(json!({
        "metadata": {"name": name, "namespace": "ops", "creationTimestamp": "2026-03-01T12:26:00Z", "uid": name},
        "spec": {"runbook": "power-cycle-server", "target": {"kind": "Server", "name": "m-0417"}},
        "status": status,
    }))
}

fn list<K>(heading: &[&str], all: &[K], row: impl Fn(&K) -> Vec<String>) -> String {
    table(heading, &all.iter().map(row).collect::<Vec<_>>())
}

const REFUSAL: &str = "payments/api allows 1 of 10 down; 1 is: api-7 on m-0099 (not available since 2026-03-01T12:20:00Z); \
                       this would take 1 more; its owner is payments (#payments)";

/// A run that waits for leave to disrupt.
fn refused() -> Run {
    let message = format!(
        "waiting for leave to disrupt Server m-0417 since 12:27:00 until 13:26:00: {REFUSAL}"
    );
    run_with(
        "cycle-1",
        json!({
            "phase": "Running", "progress": "1/3", "step": "restart/off", "message": message,
            "startTime": "2026-03-01T12:26:00Z", "deadline": "2026-03-01T13:26:00Z",
            "steps": [
                {"name": "choose", "phase": "Succeeded", "does": "boot.next", "attempts": 2,
                 "startTime": "2026-03-01T12:26:00Z", "endTime": "2026-03-01T12:27:00Z"},
                {"name": "restart", "phase": "Running", "does": "call power-cycle-server", "attempts": 1,
                 "startTime": "2026-03-01T12:27:00Z"},
                {"name": "restart/off", "phase": "Waiting", "does": "power.set", "attempts": 1, "message": message,
                 "reason": "DisruptionRefused", "startTime": "2026-03-01T12:27:00Z"},
            ],
        }),
    )
}

fn failed() -> Run {
    let message = "power.set was not done within 10m; last: the BMC does not answer";
    run_with(
        "cycle-2",
        json!({
            "phase": "Failed", "message": format!("step off: {message}"), "progress": "0/2",
            "startTime": "2026-03-01T12:18:00Z", "completionTime": "2026-03-01T12:28:00Z",
            "steps": [{
                "name": "off", "phase": "Failed", "does": "power.set", "attempts": 4, "reason": "TimedOut",
                "message": message, "startTime": "2026-03-01T12:18:00Z", "endTime": "2026-03-01T12:28:00Z",
            }],
        }),
    )
}

fn queued() -> Run {
    let status = json!({
        "phase": "Queued", "queuedBehind": "ops/cycle-1", "queuedTime": "2026-03-01T12:29:00Z",
        "message": "queued since 2026-03-01T12:29:00Z behind run ops/cycle-1 for Server m-0417",
    });
    run_with("cycle-3", status)
}

fn retried() -> Run {
    let status = json!({
        "phase": "Running", "progress": "0/2", "startTime": "2026-03-01T12:29:00Z", "deadline": "2026-03-01T13:29:00Z",
        "steps": [
            {"name": "off", "phase": "Running", "does": "power.set", "attempts": 1, "reason": "Unreachable",
             "message": "the BMC does not answer", "startTime": "2026-03-01T12:29:00Z",
             "retryTime": "2026-03-01T12:30:10Z", "deadline": "2026-03-01T12:39:00Z"},
            {"name": "agree", "phase": "Waiting", "does": "approve", "attempts": 1, "message": "waiting for approval: Go?",
             "startTime": "2026-03-01T12:29:00Z", "deadline": "2026-03-01T20:29:00Z"},
        ],
    });
    run_with("cycle-4", status)
}

#[test]
fn runs() {
    let frame = |run: &Run| run::frame(run, now()).join("\n");
    let all = [refused(), failed(), queued(), retried()];
    let frames: Vec<String> = all.iter().map(frame).collect();
    insta::assert_snapshot!("run_frames", frames.join("\n\n"));
    insta::assert_snapshot!(
        "run_list",
        list(&run::heading(true), &all, |it| run::row(it, true, now()))
    );
}

#[test]
fn what_is_new_of_a_run_is_told_once() {
    let before = run_with("cycle-1", json!({"phase": "Pending"}));
    let (waits, again) = (refused(), refused());
    let mut lines = run::news(None, &before, now());
    lines.extend(run::news(Some(&before), &waits, now()));
    lines.extend(run::news(Some(&waits), &again, now()));
    lines.extend(run::news(Some(&again), &failed(), now()));
    insta::assert_snapshot!("run_news", lines.join("\n"));
}

fn a_campaign(spec: Value, status: Value) -> Campaign {
    let mut all = json!({
        "runbook": "power-cycle-server", "targets": {"kind": "Server", "selector": {"matchLabels": {"role": "web"}}},
        "domainsAtOnce": 1, "concurrency": 2,
    });
    let fields = spec.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(fields);
    let meta = json!({"name": "restart-web", "namespace": "ops", "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z"});
    read(json!({"metadata": meta, "spec": all, "status": status}))
}

fn running() -> Campaign {
    let status = json!({
        "phase": "Running", "observedGeneration": 1, "targets": 40, "succeeded": 12, "failed": 1, "running": 3,
        "waiting": 4, "left": 20, "startTime": "2026-03-01T12:00:00Z", "expectedEnd": "2026-03-01T13:30:00Z",
        "message": "4 runs wait for leave to disrupt; 3 of them: payments/api allows 1 of 10 down",
        "waitsFor": [{"reason": "payments/api allows 1 of 10 down", "targets": 3, "example": "restart-web-m-0417-0b1c"}],
        "failures": [{"reason": "step off: TimedOut", "targets": 1, "example": "restart-web-m-0009-77aa"}],
    });
    a_campaign(json!({}), status)
}

fn paused_itself() -> Campaign {
    let status = json!({
        "phase": "Paused", "observedGeneration": 1, "targets": 40, "succeeded": 1, "failed": 3, "left": 36,
        "message": "paused itself: 3 targets failed, more than spec.failureLimit",
        "failures": [{"reason": "step off: TimedOut", "targets": 3, "example": "restart-web-m-0009-77aa"}],
    });
    a_campaign(json!({}), status)
}

#[test]
fn campaigns() {
    let all = [running(), paused_itself()];
    let frames: Vec<String> = all.iter().map(|it| campaign::frame(it, now()).join("\n")).collect();
    insta::assert_snapshot!("campaign_frames", frames.join("\n\n"));
    let list = list(&campaign::heading(true), &all, |it| campaign::row(it, true, now()));
    insta::assert_snapshot!("campaign_list", list);
    let mut news = campaign::news(None, &running(), now());
    news.extend(campaign::news(Some(&running()), &running(), now()));
    assert_eq!(news.len(), 2, "{news:?}");
}

#[test]
fn a_server_is_shown_with_what_is_joined_to_it() {
    let joined = joined();
    insta::assert_snapshot!("server_show", server::show(&joined, now()));
    let row = |it: &Server| server::row(it, true, now());
    insta::assert_snapshot!("server_list", list(&server::heading(true), &[joined.server], row));
}

fn a_server() -> Server {
    read(json!({
        "metadata": {"name": "m-0417", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"location": {"rack": "r-17", "unit": 5}, "bmc": {"address": "10.0.4.17"}},
        "status": {
            "phase": "Inspecting", "phaseSince": "2026-03-01T11:00:00Z", "phaseDeadline": "2026-03-01T12:00:00Z",
            "powerState": "On", "currentRun": "ops/cycle-1",
            "inventory": {"manufacturer": "Halyard", "model": "C510", "cpus": 64, "memoryBytes": 274_877_906_944_u64, "health": "Warning"},
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "BmcUnreachable", "message": "10.0.4.17 does not answer.",
                 "lastTransitionTime": "2026-03-01T11:05:00Z"},
                {"type": "LinksFound", "status": "True", "reason": "Found", "message": "Rack r-17 exists.",
                 "lastTransitionTime": "2026-03-01T11:00:00Z"},
                {"type": "Overdue", "status": "True", "reason": "InspectionOverdue", "message": "It was not inspected within an hour.",
                 "lastTransitionTime": "2026-03-01T12:00:00Z"},
            ],
        },
    }))
}

fn a_permit() -> Permit {
    read(json!({
        "metadata": {"name": "cycle-1", "namespace": "ops"},
        "spec": {
            "runUID": "u", "target": {"kind": "Server", "name": "m-0417"}},
        "status": {
            "phase": "Granted", "granted": "2026-03-01T12:28:00Z",
            "servers": 1, "instances": 1, "services": [{"service": "payments/api", "instances": 1}],
        },
    }))
}

fn joined() -> server::Joined {
    let meta = |name: &str| json!({"name": name, "namespace": "payments"});
    let status = json!({"phase": "Degraded", "instances": 10, "down": 1, "disruptionsAllowed": 0});
    server::Joined {
        server: a_server(),
        rack: Some(read(
            json!({"metadata": {"name": "r-17"}, "spec": {"site": "ams1", "hall": "north"}}),
        )),
        site: Some(read(json!({"metadata": {"name": "ams1"}, "spec": {"region": "eu-west"}}))),
        runs: vec![refused(), failed()],
        permits: vec![a_permit()],
        instances: vec![read(json!({
            "metadata": meta("api-7"), "spec": {"service": "api", "host": {"name": "m-0417"}}, "status": {"phase": "Ready"},
        }))],
        services: vec![read(json!({
            "metadata": meta("api"), "spec": {"owner": "payments", "tier": 1}, "status": status,
        }))],
        events: vec![read(json!({
            "reason": "RunStarted", "message": "run ops/cycle-1 started", "eventTime": "2026-03-01T12:26:00Z",
        }))],
    }
}

fn a_machine(status: Value) -> Machine {
    let meta = json!({
        "name": "web-1", "namespace": "shop", "uid": "w", "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z",
    });
    let spec = json!({"class": "compute-gen4", "image": "debian-13"});
    read(json!({"metadata": meta, "spec": spec, "status": status}))
}

fn not_ready(reason: &str, message: &str) -> Value {
    json!([{
        "type": "Ready", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": "2026-03-01T12:28:00Z",
    }])
}

/// One that is to be installed anew, and waits for leave.
fn updating() -> Machine {
    let message = format!("Server m-0417 is being installed anew by run ops/cycle-1. {REFUSAL}");
    a_machine(json!({
        "phase": "Updating", "phaseSince": "2026-03-01T12:28:00Z", "server": "m-0417", "image": "debian-12",
        "currentRun": "ops/cycle-1", "address": "web-1.example.com", "conditions": not_ready("Updating", &message),
    }))
}

fn without_server() -> Machine {
    let message = "no Server of class compute-gen4 is free";
    a_machine(json!({"phase": "Pending", "conditions": not_ready("NoServer", message)}))
}

/// A server that was quarantined for too long.
fn quarantined() -> Server {
    let mut server = a_server();
    server.status = read(json!({
        "phase": "Quarantined", "phaseSince": "2026-02-01T12:00:00Z", "phaseDeadline": "2026-02-08T12:00:00Z",
        "phaseMessage": "fan 3 is loud", "machineRef": {"namespace": "shop", "name": "web-1", "uid": "w"},
        "conditions": [
            {"type": "ProfileMet", "status": "False", "reason": "ProfileNotMet", "lastTransitionTime": "2026-02-01T12:00:00Z",
             "message": "15 of 16 memory modules are there, by ServerProfile c510."},
            {"type": "Overdue", "status": "True", "reason": "PhaseOverdue", "lastTransitionTime": "2026-02-08T12:00:00Z",
             "message": "It should not be Quarantined any more."},
        ],
    }));
    server.spec.profile = Some("c510".into());
    server
}

#[test]
fn machines() {
    let all = [updating(), without_server()];
    let server::Joined { server, rack, site, permits, instances, services, events, .. } = joined();
    let machine = updating();
    let run = Some(refused());
    let server = Some(server);
    let joined =
        machine::Joined { machine, server, rack, site, run, permits, instances, services, events };
    insta::assert_snapshot!("machine_show", machine::show(&joined, now()));
    let row = |it: &Machine| machine::row(it, true, now());
    insta::assert_snapshot!("machine_list", list(&machine::heading(true), &all, row));
    let mut lines = machine::frame(&updating(), now());
    lines.extend(machine::news(None, &without_server(), now()));
    lines.extend(machine::news(Some(&without_server()), &updating(), now()));
    lines.extend(machine::news(Some(&updating()), &updating(), now()));
    insta::assert_snapshot!("machine_followed", lines.join("\n"));
}

#[test]
fn what_would_be_hurt_is_told_before() {
    let server::Joined { instances, services, .. } = joined();
    let mut lines = harm(&instances, &services, true);
    lines.extend(harm(&instances, &services, false));
    lines.extend(harm(&instances, &[], true));
    assert_eq!(
        lines,
        [
            "✗ service payments/api: 1 of its 10 instances is here, and 0 more may go, so it waits until the ledger \
             permits it; its owner is payments",
            "✗ service payments/api: 1 of its 10 instances is here, and 0 more may go, and the ledger is not asked; its \
             owner is payments",
            "◌ service payments/api: 1 of its instances is here",
        ]
    );
}

#[test]
fn why_a_machine_does_not_run() {
    let run_failed = a_machine(json!({
        "phase": "Failed", "server": "m-0417", "image": "debian-12", "currentRun": "ops/cycle-2",
        "conditions": not_ready("RunFailed", "Run ops/cycle-2 could not reinstall Server m-0417."),
    }));
    let out = a_machine(json!({
        "phase": "Failed", "server": "m-0417", "image": "debian-13",
        "conditions": not_ready("ServerOutOfService", "Server m-0417 is Quarantined: fan 3 is loud"),
    }));
    let runs = a_machine(json!({"phase": "Running", "server": "m-1", "image": "debian-13"}));
    let all = [
        why::machine(&without_server(), None, None, now()),
        why::machine(&updating(), Some(&a_server()), Some(&refused()), now()),
        why::machine(&run_failed, None, Some(&failed()), now()),
        why::machine(&out, Some(&quarantined()), None, now()),
        why::machine(&runs, None, None, now()),
        why::server(&quarantined(), &[], &[], now()),
    ];
    let text: Vec<String> = all.iter().map(|it| why::text(it, now())).collect();
    insta::assert_snapshot!("why_machine", text.join("\n"));
}

#[test]
fn why_something_does_not_go_on() {
    let service = read(json!({
        "metadata": {"name": "api", "namespace": "payments"},
        "spec": {"owner": "payments", "contacts": ["#payments"]},
        "status": {"phase": "Degraded", "instances": 10, "down": 1, "disruptionsAllowed": 0},
    }));
    let down = read(json!({
        "metadata": {"name": "api-7", "namespace": "payments"}, "spec": {"service": "api", "host": {"name": "m-0099"}},
        "status": {"phase": "Failed", "phaseSince": "2026-03-01T12:20:00Z", "message": "exited with 1"},
    }));
    let frozen = {
        let mut run = refused();
        let message = "waiting for leave to disrupt Server m-0417 since 12:27:00 until 13:26:00: freeze peak holds until \
                       2026-12-27T00:00:00Z: peak season";
        run.status.steps[2].message = Some(message.into());
        run
    };
    let all = [
        why::run(&refused(), None, now()),
        why::run(&frozen, None, now()),
        why::run(&queued(), Some(&refused()), now()),
        why::run(&retried(), None, now()),
        why::run(&failed(), None, now()),
        why::server(&a_server(), &[refused()], &[a_permit()], now()),
        why::campaign(&running(), now()),
        why::campaign(&paused_itself(), now()),
        why::service(&service, &[down], &[a_permit()], &[refused()]),
    ];
    let text: Vec<String> = all.iter().map(|it| why::text(it, now())).collect();
    insta::assert_snapshot!("why", text.join("\n"));
    insta::assert_snapshot!("why_json", format!("{:#}", serde_json::to_value(&all[1]).unwrap()));
}

#[test]
fn why_anything_with_conditions() {
    let rack = json!({
        "metadata": {"name": "r-17", "creationTimestamp": "2026-03-01T12:00:00Z"},
        "status": {"phase": "BrokenLink", "conditions": [{
            "type": "LinksFound", "status": "False", "reason": "SiteNotFound", "message": "Site ams9 does not exist.",
            "lastTransitionTime": "2026-03-01T12:00:00Z",
        }]},
    });
    let why = why::anything("rack/r-17".into(), &rack, now());
    insta::assert_snapshot!("why_anything", why::text(&why, now()));
}

#[test]
fn a_timeline_is_in_order_of_time() {
    let mut object = serde_json::to_value(refused()).unwrap();
    object["metadata"]["managedFields"] = json!([{
        "manager": "kubectl", "operation": "Update", "time": "2026-03-01T12:26:30Z",
        "fieldsV1": {"f:spec": {"f:suspend": {}, "f:params": {"f:grace": {}}}},
    }]);
    let event = read(json!({
        "reason": "DisruptionRefused", "message": REFUSAL, "eventTime": "2026-03-01T12:27:01Z",
        "source": {"component": "runs"},
    }));
    let entries = timeline::entries(&object, &[event], &[refused()], &[a_permit()]);
    insta::assert_snapshot!("timeline", timeline::text(&entries, now()));
    assert!(entries.is_sorted_by_key(|entry| entry.time));
}

#[test]
fn what_happens_now_is_counted() {
    let servers =
        [a_server(), read(json!({"metadata": {"name": "m-1"}, "spec": {"bmc": {"address": "b"}}}))];
    let servers = servers.each_ref().map(top::ServerNow::of);
    let runs = [refused(), failed(), queued(), retried()].each_ref().map(top::RunNow::of);
    let permits = [top::PermitNow::of(&a_permit()).unwrap()];
    let campaigns = [running()];
    let top = top::top(servers.iter(), runs.iter(), permits.iter(), campaigns.iter(), now());
    insta::assert_snapshot!("top", top::frame(&top, now()).join("\n"));
    insta::assert_snapshot!("top_json", format!("{:#}", serde_json::to_value(&top).unwrap()));
    let none = top::top([].iter(), [].iter(), [].iter(), [].iter(), now());
    insta::assert_snapshot!("top_empty", top::frame(&none, now()).join("\n"));
}

fn target(name: &str, rack: &str, stage: Stage) -> ledger::Target {
    ledger::Target {
        name: name.into(),
        rack: rack.into(),
        place: Some(Arc::new(RackSpec { site: "ams1".into(), ..RackSpec::default() })),
        held_by: None,
        not_ready: None,
        stage,
        services: vec!["payments/api".into()],
    }
}

#[test]
fn a_plan_has_waves_and_what_is_in_the_way() {
    let mut targets: Vec<ledger::Target> = (1..=3)
        .flat_map(|number| {
            ["r-1", "r-2"].map(|rack| target(&format!("{rack}-u{number}"), rack, Stage::Left))
        })
        .collect();
    targets[0].held_by = Some("ops/cycle-1".into());
    targets[1].not_ready = Some("BmcUnreachable: it does not answer".into());
    let freeze = |name: &str, spec: Value| read(json!({"metadata": {"name": name}, "spec": spec}));
    let ground = ledger::Ground {
        targets,
        freezes: vec![
            freeze(
                "rack-work",
                json!({"reason": "power feed", "end": "2026-03-01T14:00:00Z", "racks": ["r-2"]}),
            ),
            freeze("over", json!({"reason": "past", "end": "2026-02-01T00:00:00Z"})),
            freeze(
                "excepted",
                json!({
                    "reason": "all but ops", "end": "2026-04-01T00:00:00Z", "except": {"namespaces": ["ops"]},
                }),
            ),
        ],
        services: vec![read(json!({
            "metadata": {"name": "api", "namespace": "payments"},
            "spec": {"owner": "payments", "disruptionBudget": {"maxUnavailable": 2}},
            "status": {"instances": 10, "down": 1},
        }))],
        took: [80, 60, 70].map(SignedDuration::from_secs).to_vec(),
        unseen: vec!["racks: forbidden".into()],
    };
    let campaign = a_campaign(json!({"paused": true}), json!({"phase": "Planned"}));
    let plan = ledger::plan(&campaign, &ground, now());
    insta::assert_snapshot!("plan", plan::text(&plan, now()));
    let waves: Vec<usize> = plan.waves.iter().map(|wave| wave.targets.len()).collect();
    assert_eq!(waves, [1, 2, 2, 1], "a canary, then one rack at a time, two at once");
    // Frozen until 14:00; then four waves of the middle of what runs took.
    assert_eq!(plan.expected_end, Some(at("2026-03-01T14:04:40Z")));
}

#[test]
fn a_plan_of_very_many_is_counted_and_not_worked_out() {
    let targets = (0..5_000).map(|number| target(&format!("m-{number:05}"), "r-1", Stage::Left));
    let ground = ledger::Ground { targets: targets.collect(), ..ledger::Ground::default() };
    let plan = ledger::plan(&a_campaign(json!({}), json!({})), &ground, now());
    assert_eq!((plan.waves.len(), plan.waves_in_all), (200, 2_501));
    assert_eq!(plan.expected_end, None);
    let done = [target("m-1", "r-1", Stage::Succeeded), target("m-2", "r-1", Stage::Running)];
    let ground = ledger::Ground { targets: done.to_vec(), ..ledger::Ground::default() };
    let plan = ledger::plan(&a_campaign(json!({}), json!({})), &ground, now());
    assert_eq!((plan.left, plan.waves_in_all), (1, 0));
}
