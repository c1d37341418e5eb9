//! A campaign over many servers, each of which carries instances of services: how soon there is a plan, how fast it goes,
//! whether any budget is exceeded on the way, and what a look at its status costs. Budgets are counted here anew from
//! the log alone, permit by permit, by nothing that the ledger has.

use super::{BATCH, Running, write};
use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, LabelSelector, Object,
    kinds::{Campaign, CampaignPhase, Instance, Namespace, Permit, Runbook, Server, Service},
    object,
};
use quarterdeck_store::{EventKind, Mutation, Precondition, Store, WatchQuery, Write};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

/// Servers that the campaign is over, and the label they have.
pub(super) const TARGETS: u32 = 40_000;
pub(super) const LABEL: &str = "patch";

const SERVICES: usize = 9_000;
const INSTANCES: usize = 1_000_000;
/// One instance in so many is down by itself.
const DOWN: usize = 500;
/// Of a hundred instances of a service, so many may be down.
const BUDGET: usize = 5;
const PLAN_SECONDS: f64 = 2.0;
const READ_SECONDS: f64 = 0.005;
const LOOK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1_800);
const NAMESPACE: &str = "team";
const NAME: &str = "patch";

/// What is permitted to be taken of each service, counted from the permits there are.
struct Count {
    /// Services with a copy on a server, by the server's name.
    on: HashMap<String, Vec<usize>>,
    /// Most that may be taken of each.
    room: Vec<i64>,
    taken: Vec<i64>,
    /// Permits there are: the server of each.
    held: HashMap<Key, String>,
    exceeded: u64,
    given: u64,
}

impl Count {
    fn note(&mut self, permit: &Object, gone: bool) {
        if !gone && permit.field("status.phase") != Some("Granted") {
            return;
        }
        let (server, by) = if gone {
            let Some(server) = self.held.remove(&permit.key) else { return };
            (server, -1)
        } else {
            let server = permit.field("spec.target.name").unwrap_or_default().to_owned();
            if self.held.insert(permit.key.clone(), server.clone()).is_some() {
                return;
            }
            self.given += 1;
            (server, 1)
        };
        for service in self.on.get(&server).into_iter().flatten() {
            let (Some(taken), Some(room)) = (self.taken.get_mut(*service), self.room.get(*service))
            else {
                continue;
            };
            *taken += by;
            if by > 0 && *taken > *room {
                self.exceeded += 1;
            }
        }
    }
}

/// Services with their instances, spread over all servers; and what must hold of them.
async fn load(store: &Store) -> Result<Count, Failure> {
    let servers: Vec<String> =
        store.world().all(Server::info()).map(|server| server.name().to_owned()).collect();
    let mut all = vec![write(Namespace::info(), json!({"metadata": {"name": NAMESPACE}}))];
    let budget = json!({"maxUnavailable": format!("{BUDGET}%")});
    for number in 0..SERVICES {
        let meta = json!({"name": format!("service-{number}"), "namespace": NAMESPACE});
        let spec = json!({"owner": NAMESPACE, "disruptionBudget": budget});
        all.push(write(Service::info(), json!({"metadata": meta, "spec": spec})));
    }
    let mut count = Count {
        on: HashMap::new(),
        room: Vec::new(),
        taken: vec![0; SERVICES],
        held: HashMap::new(),
        exceeded: 0,
        given: 0,
    };
    let mut copies = vec![(0_usize, 0_usize); SERVICES];
    for number in 0..INSTANCES {
        // Copies of one service are spread far apart, as placement would.
        let (service, place) = (number % SERVICES, (number * 31) % servers.len().max(1));
        let down = number.is_multiple_of(DOWN);
        let Some(server) = servers.get(place) else { continue };
        if let Some((all, lost)) = copies.get_mut(service) {
            *all += 1;
            *lost += usize::from(down);
        }
        if !down {
            count.on.entry(server.clone()).or_default().push(service);
        }
        let meta = json!({"name": format!("service-{service}-{number}"), "namespace": NAMESPACE});
        let spec = json!({"service": format!("service-{service}"), "host": {"kind": "Server", "name": server}});
        let status = json!({"phase": if down { "Failed" } else { "Ready" }});
        all.push(write(
            Instance::info(),
            json!({"metadata": meta, "spec": spec, "status": status}),
        ));
        if all.len() >= BATCH {
            store.commit(std::mem::take(&mut all)).await?;
        }
    }
    store.commit(all).await?;
    let room = copies.iter().map(|(all, lost)| {
        i64::try_from((all * BUDGET).div_ceil(100)).unwrap_or(0) - i64::try_from(*lost).unwrap_or(0)
    });
    count.room = room.collect();
    Ok(count)
}

async fn commit_new(store: &Store) -> Result<(), Failure> {
    // One machine of a hundred takes a command and does nothing: all but the last few would else be waited for by that.
    let step = |name: &str, state: &str| {
        json!({"name": name, "action": "power.set", "with": {"state": state}, "timeout": "20s",
               "retry": {"attempts": 4, "backoff": "1s"}})
    };
    let runbook = json!({"metadata": {"name": "restart"}, "spec": {
        "target": {"kind": "Server"}, "timeout": "30m",
        "steps": [step("off", "Off"), step("on", "On")],
    }});
    let campaign = json!({
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "runbook": "restart",
            "targets": {"kind": "Server", "selector": {"matchLabels": {LABEL: "yes"}}},
            "canary": 10, "domainsAtOnce": 1_000, "concurrency": 1_000, "failureLimit": "10%",
            "retries": 2, "paused": true,
        },
    });
    store.commit(vec![write(Runbook::info(), runbook), write(Campaign::info(), campaign)]).await?;
    Ok(())
}

fn see(store: &Store) -> Result<(Arc<Object>, Campaign), Failure> {
    let found =
        store.world().get(Campaign::info(), NAMESPACE, NAME).ok_or("the campaign is gone")?;
    let campaign = found.decode::<Campaign>()?;
    Ok((found, campaign))
}

async fn until(
    store: &Store,
    what: &str,
    mut done: impl FnMut(&Campaign) -> bool,
) -> Result<Duration, Failure> {
    let begin = Instant::now();
    loop {
        let (_, campaign) = see(store)?;
        if done(&campaign) {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > LONGEST {
            return Err(format!("{what} took more than {LONGEST:?}: {:?}", campaign.status).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn unpause(store: &Store) -> Result<(), Failure> {
    loop {
        let (found, _) = see(store)?;
        let mut value: Value = found.value();
        for (field, now) in [("/spec/paused", false.into()), ("/metadata/generation", 2.into())] {
            if let Some(field) = value.pointer_mut(field) {
                *field = now;
            }
        }
        let mutation = Mutation {
            key: found.key.clone(),
            write: Write::Put(object::encode(Campaign::info(), &value).into()),
            precondition: Precondition::At(found.revision),
            fence: None,
        };
        let outcomes = store.commit(vec![mutation]).await?;
        if matches!(outcomes.first(), Some(quarterdeck_store::Outcome::Committed(_))) {
            return Ok(());
        }
    }
}

/// Counts permits as they come and go, until it is dropped or told of none for good.
async fn counted(
    store: Arc<Store>,
    mut count: Count,
    mut stop: tokio::sync::oneshot::Receiver<()>,
) -> Count {
    let mut watcher = store.watch(WatchQuery {
        kind: Permit::info(),
        namespace: None,
        labels: LabelSelector::default(),
        fields: FieldSelector::default(),
        since: store.world().revision(),
    });
    loop {
        tokio::select! {
            biased;
            events = watcher.next() => {
                let Ok(events) = events else { return count };
                for event in events {
                    count.note(&event.object, event.kind == EventKind::Deleted);
                }
            }
            _ = &mut stop => return count,
        }
    }
}

pub(super) async fn run(store: &Arc<Store>) -> Result<Vec<Row>, Failure> {
    let count = load(store).await?;
    let running = Running::start(store);
    // The ledger reads a million instances when it begins; a plane that runs has done so.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let counting = tokio::spawn(counted(store.clone(), count, stopped));
    commit_new(store).await?;
    let planned = until(store, "the plan", |it| it.status.phase == CampaignPhase::Planned).await?;
    unpause(store).await?;
    let mut reads = Samples::default();
    let mut bytes = 0;
    let took = until(store, "the campaign", |it| {
        let begin = Instant::now();
        let read = black_box(see(store)).map(|(found, _)| found.body().len());
        reads.push(begin.elapsed());
        bytes = bytes.max(read.unwrap_or_default());
        it.status.phase.ended()
    })
    .await?;
    running.stop().await?;
    let _ = stop.send(());
    let count = counting.await?;
    let (_, campaign) = see(store)?;
    let Count { exceeded, given, .. } = count;
    if exceeded > 0 {
        return Err(format!("{exceeded} of {given} permits exceeded a budget").into());
    }
    let status = &campaign.status;
    let what = format!(
        "campaign over {} of {} servers, {SERVICES} services, {INSTANCES} instances",
        status.targets,
        super::SERVERS
    );
    let rate = f64::from(status.targets) / took.as_secs_f64();
    Ok(vec![
        Row {
            what: format!("{what}: until there is a plan"),
            ours: Quantity::seconds(planned.as_secs_f64()),
            peer: "the aim itself".into(),
            theirs: Quantity::seconds(PLAN_SECONDS),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "{what}: a read of its status while it runs, 99th percentile (at most {bytes} bytes; {} done, {} failed, {rate:.0} \
                 targets a second, {given} permits and no budget exceeded)",
                status.succeeded, status.failed
            ),
            ours: Quantity::seconds(reads.p99()),
            peer: "the aim itself".into(),
            theirs: Quantity::seconds(READ_SECONDS),
            aim: Aim::AtMost(1.0),
        },
    ])
}
