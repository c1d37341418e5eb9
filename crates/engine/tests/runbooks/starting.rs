//! What starts runs by itself is refused when what it starts cannot work, and what ships of it is admitted.

use crate::{refused, shipped::shipped};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Remedy, Runbook, Schedule},
};
use quarterdeck_store::Store;
use serde_json::{Value, json};
use std::path::Path;

/// A store with the shipped runbooks.
async fn store(folder: &tempfile::TempDir) -> Store {
    let store = Store::open(refused::open(folder)).await.unwrap();
    for (name, spec) in shipped().runbooks {
        let spec = serde_json::to_value(spec).unwrap();
        refused::put(&store, Runbook::info(), "", &name, spec).await;
    }
    store
}

/// All that admission finds wrong with an object: what its kind says, then what the rules say.
fn admit(store: &Store, kind: KindRef, object: &Value) -> Vec<String> {
    let mut object = object.clone();
    let meta = object["metadata"].as_object_mut().unwrap();
    meta.insert("uid".into(), json!("u"));
    if kind.namespaced() {
        meta.entry("namespace").or_insert(json!("default"));
    }
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    let admitted = match (kind.admit)(&object, None) {
        Ok(admitted) => admitted,
        Err(errors) => return errors.iter().map(ToString::to_string).collect(),
    };
    let rules = quarterdeck_engine::rules(&refused::actions());
    let (_, rule) = rules.iter().find(|(of, _)| *of == kind).unwrap();
    rule(&store.world(), &admitted, None).iter().map(ToString::to_string).collect()
}

fn object(name: &str, spec: Value, more: Value) -> Value {
    let mut spec = spec;
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_schedule_that_cannot_work_is_refused_where_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let run = json!({"runbook": "inspect-server", "target": {"kind": "Server", "name": "s"}});
    let campaign = |more: Value| {
        let mut it = json!({"runbook": "power-cycle-server", "targets": {"kind": "Server",
            "selector": {"matchLabels": {"a": "b"}}}});
        it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"campaign": it})
    };
    for (name, more, wanted) in [
        ("s", campaign(json!({})), ""),
        (
            "s",
            json!({"run": run, "schedule": "61 * * * *"}),
            "spec.schedule: Invalid value: \"61 * * * *\": minute: \"61\" is not a number from 0 to 59",
        ),
        (
            "s",
            json!({"run": run, "schedule": "hourly"}),
            "spec.schedule: Invalid value: \"hourly\": has 1 fields; write five",
        ),
        (
            "s",
            json!({"run": run, "timeZone": "Mars/Olympus"}),
            "spec.timeZone: Invalid value: \"Mars/Olympus\": there is no such time zone",
        ),
        ("s", json!({"run": run, "timeZone": ""}), "spec.timeZone: Invalid value"),
        ("s", json!({}), "spec.run: Required value: say what is started"),
        (
            "s",
            json!({"run": run, "campaign": campaign(json!({}))["campaign"]}),
            "spec.campaign: Forbidden: give spec.run or spec.campaign, not both",
        ),
        (
            "s",
            json!({"run": run}),
            "spec.run.target.name: Invalid value: \"s\": there is no Server of this name",
        ),
        (
            "s",
            json!({"run": {"runbook": "nothing"}}),
            "spec.run.runbook: Invalid value: \"nothing\": there is no such Runbook",
        ),
        (
            "s",
            json!({"run": {"runbook": "inspect-server"}}),
            "spec.run.target: Required value: runbook inspect-server is run against a Server",
        ),
        (
            "s",
            json!({"run": {"runbook": "quarantine-server", "target": {"kind": "Server", "name": "s"}}}),
            "spec.run.params.message: Required value",
        ),
        ("s", campaign(json!({"concurrency": 0})), "spec.campaign.concurrency: Invalid value: 0"),
        ("s", campaign(json!({"cancel": true})), "spec.campaign.cancel: Forbidden"),
        (
            "s",
            campaign(json!({"targets": {"kind": "Rack", "selector": {"matchLabels": {"a": "b"}}}})),
            "spec.campaign.targets.kind: Unsupported value: \"Rack\"",
        ),
        (
            "s",
            json!({"run": run, "startingDeadlineSeconds": 4_000_000_000_u32}),
            "spec.startingDeadlineSeconds: Invalid value",
        ),
        (&"s".repeat(53), json!({"run": run}), "metadata.name: Invalid value"),
    ] {
        let told =
            admit(&store, Schedule::info(), &object(name, json!({"schedule": "@daily"}), more));
        assert_eq!(told.is_empty(), wanted.is_empty(), "{wanted}: {told:?}");
        assert!(
            wanted.is_empty() || told.iter().any(|it| it.contains(wanted)),
            "{wanted}: {told:?}"
        );
    }
}

#[tokio::test]
async fn a_remedy_that_cannot_work_is_refused_where_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let base = json!({"kind": "Server", "runbook": "power-cycle-server",
        "when": "target.status.powerState == \"Off\""});
    for (more, wanted) in [
        (json!({}), ""),
        (json!({"when": "target.status.powerstate == \"Off\""}), "did you mean \"powerState\"?"),
        (
            json!({"when": "target.status.powerState"}),
            "spec.when: Invalid value: \"target.status.powerState\": must be true or false",
        ),
        (json!({"when": ""}), "spec.when: Invalid value"),
        (json!({"when": "params.x == 1"}), "a condition is about the object alone"),
        (
            json!({"kind": "Machine"}),
            "spec.kind: Invalid value: \"Machine\": its objects are in namespaces",
        ),
        (json!({"kind": "Severs"}), "spec.kind: Invalid value: \"Severs\": there is no such kind"),
        (
            json!({"kind": "Rack", "when": "target.spec.units == 42"}),
            "spec.kind: Unsupported value: \"Rack\"",
        ),
        (
            json!({"runbook": "nothing"}),
            "spec.runbook: Invalid value: \"nothing\": there is no such Runbook",
        ),
        (json!({"runbook": "quarantine-server"}), "spec.params.message: Required value"),
        (
            json!({"concurrency": 0}),
            "spec.concurrency: Invalid value: 0: must be between 1 and 1000",
        ),
        (json!({"stopAfter": 0}), "spec.stopAfter: Invalid value"),
        (
            json!({"mustMend": 6}),
            "spec.mustMend: Invalid value: 6: must be at most spec.stopAfter, which is 5",
        ),
        (json!({"perDomain": {"domain": "Rack", "max": 0}}), "spec.perDomain.max: Invalid value"),
        (json!({"for": "40d"}), "spec.for: Invalid value: \"40d\": must be at most 31d"),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}),
            "spec.selector.matchExpressions[0].operator",
        ),
    ] {
        let told = admit(&store, Remedy::info(), &object("r", base.clone(), more));
        assert_eq!(told.is_empty(), wanted.is_empty(), "{wanted}: {told:?}");
        assert!(
            wanted.is_empty() || told.iter().any(|it| it.contains(wanted)),
            "{wanted}: {told:?}"
        );
    }
}

#[tokio::test]
async fn what_ships_and_what_the_guides_show_is_admitted() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let guide = |path: &str| {
        read(path).split("```yaml\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
    };
    for (kind, text, active) in [
        (Remedy::info(), read("examples/remedies/10-unreachable.yaml"), false),
        (Remedy::info(), read("examples/remedies/20-profile.yaml"), false),
        (Remedy::info(), guide("docs/remedies.md"), true),
        (Schedule::info(), guide("docs/schedules.md"), true),
    ] {
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(admit(&store, kind, &object), Vec::<String>::new(), "{text}");
        assert_eq!(object["spec"]["suspend"] == json!(true), !active, "{text}");
    }
}
