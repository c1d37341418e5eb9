//! How a campaign would go, for whoever creates or changes it in a dry run. It reads one world, in which nothing is
//! locked, and writes nothing: the plan is the ledger's, which is pure, and targets are those that the campaign would
//! have.
//!
//! It costs a look at each target and at what runs on it: at 40,000 targets of 110,000 servers well under a second.

use super::{Target, Targets, number, status};
use jiff::SignedDuration;
use quarterdeck_ledger::{
    next_wave,
    plan::{self, Ground, Obstacle, Plan},
};
use quarterdeck_model::{
    ConditionStatus, FieldSelector, Kind as _, KindRef, LabelSelector, Object, Time, condition,
    kinds,
    kinds::{
        Campaign, CampaignBlocker, CampaignPhase, CampaignPlan, CampaignStatus, CampaignWave,
        Freeze, Instance, Rack, RackSpec, Run, Server, Service, instances_on_machine,
    },
    words::{count, point, size, span},
};
use quarterdeck_store::{ListQuery, World};
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Waves, and things in the way, that a status shows.
const SHOWN_MAX: usize = 50;
/// Names that a wave shows.
const NAMED_MAX: usize = 10;
/// Waves, and things in the way, that a person is told of at once: with the other sentences no more than clients show.
const TOLD_MAX: usize = 6;
/// Names that a sentence has.
const FEW: usize = 5;
/// Runs before, of which it is learned how long one takes.
const TOOK_MAX: usize = 200;

/// How a campaign would go: its status, and what its writer is told, a line each. Nothing when it cannot be read.
pub(crate) fn preview(world: &World, campaign: &Value, now: Time) -> Option<(Value, Vec<String>)> {
    let campaign = Campaign::deserialize(campaign).ok()?;
    let targets = Targets::of(world, &campaign)?;
    let plan = plan::plan(&campaign, &ground(world, &campaign, &targets), now);
    let wave = next_wave(&targets.items(), &targets.limits(&campaign));
    let said = status(&campaign, &targets, &wave, now);
    let phase = if plan.left > 0 { CampaignPhase::Planned } else { said.phase };
    let status = CampaignStatus {
        observed_generation: None,
        phase,
        message: Some(sentence(&plan)),
        expected_end: plan.expected_end,
        plan: Some(shown(&plan)),
        ..said
    };
    Some((json!(status), told(&plan, now)))
}

/// What the plan follows from.
fn ground(world: &World, campaign: &Campaign, targets: &Targets) -> Ground {
    let spec = &campaign.spec;
    let kind = kinds::all().iter().copied().find(|kind| kind.kind == spec.targets.kind);
    let kind = kind.unwrap_or(Server::info());
    let namespace = campaign.metadata.namespace.as_deref().filter(|_| kind.namespaced());
    let mut racks: HashMap<String, Option<Arc<RackSpec>>> = HashMap::new();
    let mut ground = Ground::default();
    if kind != Server::info() {
        ground
            .unseen
            .push(format!("what runs on a {}: only servers are joined with it", kind.kind));
    }
    for target in &targets.all {
        let Some(object) = world.get(kind, namespace.unwrap_or_default(), &target.name) else {
            continue;
        };
        let rack = object.field("spec.location.rack").unwrap_or_default().to_owned();
        let place = racks.entry(rack.clone()).or_insert_with(|| {
            let found = world.get(Rack::info(), "", &rack)?.decode::<Rack>().ok()?;
            Some(Arc::new(found.spec))
        });
        ground.targets.push(seen(world, target, &object, (rack, place.clone())));
    }
    let named: BTreeSet<&str> =
        ground.targets.iter().flat_map(|it| &it.services).map(String::as_str).collect();
    let service = |name: &str| {
        let (namespace, name) = name.split_once('/')?;
        world.get(Service::info(), namespace, name)?.decode::<Service>().ok()
    };
    ground.services = named.into_iter().filter_map(service).collect();
    ground.freezes = read(world.all(Freeze::info()));
    ground.took = took(world, &spec.runbook);
    ground
}

fn read<'a, K: DeserializeOwned>(objects: impl Iterator<Item = &'a Arc<Object>>) -> Vec<K> {
    objects.filter_map(|object| object.decode().ok()).collect()
}

/// A target, and what is known of it. Nearly all of them are well, and are not decoded.
fn seen(
    world: &World,
    target: &Target,
    object: &Object,
    (rack, place): (String, Option<Arc<RackSpec>>),
) -> plan::Target {
    let text = str::from_utf8(&object.json).unwrap_or_default();
    let says = |what: &str| text.contains(what);
    let read = (object.kind == Server::info()
        && (says("\"False\"") || says("\"Unknown\"") || says("\"currentRun\"")))
    .then(|| object.decode::<Server>().ok())
    .flatten();
    let status = read.map(|server| server.status).unwrap_or_default();
    let ready = condition::find(&status.conditions, "Ready");
    let not_ready = ready.filter(|ready| ready.status != ConditionStatus::True);
    plan::Target {
        name: target.name.clone(),
        rack,
        place,
        // One that is in work is held by a run of this campaign.
        held_by: status.current_run.filter(|_| target.stage == quarterdeck_ledger::Stage::Left),
        not_ready: not_ready.map(|it| format!("{}: {}", it.reason, it.message)),
        stage: target.stage,
        services: services(world, object),
    }
}

/// The service of each instance on a server, and on the machine that has it.
fn services(world: &World, server: &Object) -> Vec<String> {
    if server.kind != Server::info() {
        return Vec::new();
    }
    let field = |path| server.field(path).filter(|value| !value.is_empty());
    let on = |fields: &str| {
        let service =
            |it: Arc<Object>| Some(format!("{}/{}", it.namespace(), it.field("spec.service")?));
        let there = world.with_fields(Instance::info(), fields).into_iter();
        there.filter_map(service).collect::<Vec<_>>()
    };
    let mut services = on(&format!("spec.host.kind=Server,spec.host.name={}", server.name()));
    let machine = field("status.machineRef.namespace").zip(field("status.machineRef.name"));
    if let Some((namespace, name)) = machine {
        services.extend(on(&instances_on_machine(namespace, name)));
        // Those of a cluster whose node it is.
        services.extend(on(&format!("metadata.namespace={namespace},status.machine={name}")));
    }
    services
}

/// How long runs of the runbook took that succeeded.
fn took(world: &World, runbook: &str) -> Vec<SignedDuration> {
    let fields = format!("spec.runbook={runbook},status.phase=Succeeded");
    let Ok(fields) = FieldSelector::parse(&fields) else { return Vec::new() };
    let kind: KindRef = Run::info();
    let (labels, limit) = (&LabelSelector::default(), Some(TOOK_MAX));
    let query = ListQuery { kind, namespace: None, labels, fields: &fields, after: None, limit };
    let runs: Vec<Run> = read(world.list(&query).items.iter());
    let took = |run: &Run| {
        let (start, end) = (run.status.start_time?, run.status.completion_time?);
        Some(end.timestamp().duration_since(start.timestamp()))
    };
    runs.iter().filter(|run| !run.spec.dry_run).filter_map(took).collect()
}

fn shown(plan: &Plan) -> CampaignPlan {
    let some = |names: &[String]| names.iter().take(NAMED_MAX).cloned().collect();
    let waves = plan.waves.iter().take(SHOWN_MAX).map(|wave| CampaignWave {
        number: wave.number,
        canary: wave.canary,
        targets: number(wave.targets.len()),
        names: some(&wave.targets),
        failure_domains: some(&wave.failure_domains),
    });
    let blockers = plan.blockers.iter().take(SHOWN_MAX).map(|it| CampaignBlocker {
        who: it.who.clone(),
        targets: number(it.targets),
        blocks: it.blocks,
        until: it.until,
        message: it.message.clone(),
    });
    CampaignPlan {
        waves: waves.collect(),
        waves_in_all: plan.waves_in_all,
        blockers: blockers.collect(),
        run_seconds: plan.run_seconds,
        expected_seconds: plan.expected_seconds,
    }
}

/// `would run in 402 waves over 40000 targets in 120 failure domains`.
fn sentence(plan: &Plan) -> String {
    format!(
        "would run in {} over {} in {}",
        count(size(plan.waves_in_all), "wave"),
        count(plan.left, "target"),
        count(plan.failure_domains, "failure domain")
    )
}

/// The plan in a few lines.
fn told(plan: &Plan, now: Time) -> Vec<String> {
    let mut told = vec![format!("plan: it {}", sentence(plan))];
    for wave in plan.waves.iter().take(TOLD_MAX) {
        let canary = if wave.canary { " (canary)" } else { "" };
        let places = match wave.failure_domains.as_slice() {
            [] => String::new(),
            places => format!(" in {}", few(places)),
        };
        let targets = count(wave.targets.len(), "target");
        let names = few(&wave.targets);
        told.push(format!("plan: wave {}{canary}: {targets}{places}: {names}", wave.number));
    }
    let more = size(plan.waves_in_all).saturating_sub(plan.waves.len().min(TOLD_MAX));
    if more > 0 {
        told.push(format!("plan: and {} after that", count(more, "wave")));
    }
    let blocker = |it: &Obstacle| {
        let how = if it.blocks { "blocked by" } else { "slowed by" };
        format!("plan: {how} {}: {}", it.who, it.message)
    };
    told.extend(plan.blockers.iter().take(TOLD_MAX).map(blocker));
    told.push(match (plan.expected_end, plan.run_seconds) {
        (Some(end), Some(each)) => format!(
            "plan: done at about {}, if each run takes {} as those before",
            point(end, now),
            span(SignedDuration::from_secs(each))
        ),
        (Some(end), None) => format!("plan: done at about {}", point(end, now)),
        (None, None) => {
            format!(
                "plan: when it would be done is not known: no run of {} was seen yet",
                plan.runbook
            )
        }
        (None, Some(_)) => {
            "plan: when it would be done is not known, as long as something is in the way".into()
        }
    });
    told.extend(plan.unseen.iter().map(|what| format!("plan: not looked at: {what}")));
    told
}

/// The first few names.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Key, object};
    use quarterdeck_store::{BATCH_MAX, Mutation, Precondition, Sqlite, Store, Write};
    use std::time::Instant;

    fn made(kind: KindRef, namespace: &str, name: &str, mut value: Value) -> Mutation {
        value["metadata"]["name"] = json!(name);
        value["metadata"]["uid"] = json!(name);
        if kind.namespaced() {
            value["metadata"]["namespace"] = json!(namespace);
        }
        let write = Write::Put(object::encode(kind, &value).into());
        let key = Key::new(kind, namespace, name);
        Mutation { key, write, precondition: Precondition::Absent, fence: None }
    }

    /// A fleet of so many servers, every third of them a web server, with instances on some.
    async fn fleet(servers: usize) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap();
        let mut all = Vec::new();
        for rack in 0..servers.div_ceil(40) {
            let spec = json!({"site": format!("site-{}", rack % 4), "units": 42});
            all.push(made(Rack::info(), "", &format!("r-{rack:04}"), json!({"spec": spec})));
        }
        for service in 0..50 {
            let spec = json!({"owner": "shop", "disruptionBudget": {"maxUnavailable": "5%"}});
            let status = json!({"instances": servers / 100, "down": 1});
            let service_ = json!({"spec": spec, "status": status});
            all.push(made(Service::info(), "shop", &format!("web-{service}"), service_));
        }
        for number in 0..servers {
            let (name, rack) = (format!("s-{number:06}"), format!("r-{:04}", number / 40));
            let role = if number % 11 < 4 { "web" } else { "db" };
            let ready = if number % 500 == 0 { "False" } else { "True" };
            let condition = json!({"type": "Ready", "status": ready, "reason": "Inspected",
                "message": "", "lastTransitionTime": "2026-11-01T12:00:00Z"});
            let server = json!({
                "metadata": {"labels": {"role": role}},
                "spec": {"bmc": {"address": "192.0.2.1"}, "location": {"rack": rack}},
                "status": {"phase": "Ready", "conditions": [condition]},
            });
            all.push(made(Server::info(), "", &name, server));
            if number % 2 == 0 {
                let service = format!("web-{}", number % 50);
                let spec = json!({"service": service, "host": {"kind": "Server", "name": name}});
                let instance = json!({"spec": spec, "status": {"phase": "Ready"}});
                all.push(made(Instance::info(), "shop", &format!("i-{number}"), instance));
            }
        }
        for batch in all.chunks(BATCH_MAX) {
            store.commit(batch.to_vec()).await.unwrap();
        }
        (folder, store)
    }

    fn campaign() -> Value {
        json!({
            "metadata": {"name": "c", "namespace": "ops", "uid": "c"},
            "spec": {"runbook": "patch", "canary": 3, "concurrency": 100, "domainsAtOnce": 10,
                "targets": {"kind": "Server", "selector": {"matchLabels": {"role": "web"}}}},
        })
    }

    #[tokio::test]
    async fn it_is_small_whatever_the_number_of_targets() {
        let (_folder, store) = fleet(3_000).await;
        let now = Time::new("2026-11-02T08:00:00Z".parse().unwrap());
        let (status, told) = preview(&store.world(), &campaign(), now).unwrap();
        assert_eq!((&status["phase"], &status["targets"]), (&json!("Planned"), &json!(1_092)));
        let waves = status["plan"]["waves"].as_array().unwrap();
        assert_eq!((&waves[0]["targets"], &waves[0]["canary"]), (&json!(3), &json!(true)));
        assert!(
            waves.len() <= SHOWN_MAX && waves[1]["names"].as_array().unwrap().len() == NAMED_MAX
        );
        let blockers = status["plan"]["blockers"].as_array().unwrap();
        let who: Vec<&str> = blockers.iter().map(|it| it["who"].as_str().unwrap()).collect();
        assert!(who.contains(&"service/shop/web-0") && who.contains(&"server"), "{who:?}");
        assert!(status.to_string().len() < 100_000 && told.len() <= 20, "{told:?}");
        assert!(told[0].starts_with("plan: it would run in "), "{told:?}");
    }

    /// `cargo test -p quarterdeck-engine --release preview -- --ignored --nocapture`
    #[tokio::test]
    #[ignore = "a figure, to be looked at by hand"]
    async fn how_long_it_takes_over_forty_thousand_of_a_hundred_and_ten_thousand() {
        let (_folder, store) = fleet(110_000).await;
        let (world, now) = (store.world(), Time::new("2026-11-02T08:00:00Z".parse().unwrap()));
        let began = Instant::now();
        let (status, told) = preview(&world, &campaign(), now).unwrap();
        eprintln!("{:?} over {} targets:\n{}", began.elapsed(), status["targets"], told.join("\n"));
    }
}
