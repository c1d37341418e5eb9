//! Questions over a company: search with facets over a million instances, beside one pass over a field of all of them;
//! and a graph of a service beside reading each of its objects. As the plane answers them, without the network.

use crate::{
    Failure,
    fleet::{mixed, uid, write},
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
};
use bytes::Bytes;
use quarterdeck_graphql::{Act, Graph, Question, Scope, Viewer};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Instance, Machine, Rack, Server, Service, Site},
};
use quarterdeck_store::{BATCH_MAX, Mutation, Sqlite, Store};
use serde_json::json;
use std::{hint::black_box, path::Path, sync::Arc, time::Instant};

/// How large a company: `SEARCH_INSTANCES` of the environment is for a quick look.
const INSTANCES: usize = 1_000_000;
const QUESTIONS: usize = 400;
const P99: f64 = 0.030;
const GRAPH: f64 = 0.050;
const TEAMS: usize = 90;

/// Somebody who may see everything.
struct Everyone;

impl Viewer for Everyone {
    fn user(&self) -> &str {
        "bench"
    }

    fn groups(&self) -> &[String] {
        &[]
    }

    fn teams(&self) -> Vec<String> {
        Vec::new()
    }

    fn may(&self, _: &Act<'_>) -> bool {
        true
    }

    fn scope(&self, _: KindRef) -> Scope {
        Scope::All
    }
}

/// How many there are of what, by how many instances.
struct Size {
    instances: usize,
    servers: usize,
    services: usize,
    racks: usize,
}

fn size() -> Size {
    let given = std::env::var("SEARCH_INSTANCES").ok().and_then(|text| text.parse().ok());
    let instances: usize = given.unwrap_or(INSTANCES).max(1_000);
    let servers = instances / 9;
    Size { instances, servers, services: (instances / 111).max(1), racks: servers / 40 + 1 }
}

fn pick<'c>(choices: &[&'c str], number: usize) -> &'c str {
    let at = usize::try_from(mixed(number, 5) % 97).unwrap_or(0) % choices.len();
    choices.get(at).copied().unwrap_or_default()
}

fn objects(size: &Size) -> impl Iterator<Item = Mutation> + '_ {
    let named = |kind: KindRef,
                 namespace: String,
                 name: String,
                 number: usize,
                 mut value: serde_json::Value| {
        let uid = uid(number, 3);
        let meta = match namespace.is_empty() {
            true => json!({"name": name, "uid": uid}),
            false => json!({"name": name, "uid": uid, "namespace": namespace}),
        };
        if let Some(fields) = value.as_object_mut() {
            fields.insert("metadata".into(), meta);
        }
        write(kind, &value)
    };
    let sites = (0..12).map(move |at| {
        named(
            Site::info(),
            String::new(),
            format!("site-{at}"),
            at,
            json!({"spec": {"region": "eu"}}),
        )
    });
    let racks = (0..size.racks).map(move |at| {
        let spec = json!({"site": format!("site-{}", at % 12), "hall": format!("h{}", at % 4), "row": format!("{}", at % 20)});
        named(Rack::info(), String::new(), format!("rack-{at}"), at, json!({"spec": spec}))
    });
    let servers = (0..size.servers).map(move |at| {
        let value = json!({
            "spec": {"serial": format!("SN{:08}", mixed(at, 9) % 100_000_000), "bmc": {"address": format!("bmc-{at}")},
                     "location": {"rack": format!("rack-{}", at / 40), "unit": at % 40}},
            "status": {"phase": pick(&["InUse", "InUse", "Ready", "Cleaning"], at)},
        });
        named(Server::info(), String::new(), format!("server-{at}"), at, value)
    });
    let machines = (0..size.servers).map(move |at| {
        let value = json!({"spec": {"class": "general", "image": "debian"},
            "status": {"phase": "Running", "server": format!("server-{at}")}});
        named(Machine::info(), format!("team-{}", at % TEAMS), format!("machine-{at}"), at, value)
    });
    let services = (0..size.services).map(move |at| {
        let value = json!({"spec": {"owner": format!("team-{}", at % TEAMS)}, "status": {"phase": "Healthy"}});
        named(Service::info(), format!("team-{}", at % TEAMS), format!("service-{at}"), at, value)
    });
    let instances = (0..size.instances).map(move |at| {
        let service = at % size.services;
        // A machine of the service's own team.
        let machine = (at * 31 / TEAMS * TEAMS + service % TEAMS) % (size.servers / TEAMS * TEAMS);
        let value = json!({
            "spec": {"service": format!("service-{service}"), "host": {"kind": "Machine", "name": format!("machine-{machine}")}},
            "status": {"phase": pick(&["Ready", "Ready", "Ready", "NotReady", "Starting"], at)},
        });
        named(Instance::info(), format!("team-{}", service % TEAMS), format!("service-{service}-{at}"), at, value)
    });
    sites.chain(racks).chain(servers).chain(machines).chain(services).chain(instances)
}

async fn fill(folder: &Path, size: &Size) -> Result<Arc<Store>, Failure> {
    let backend = Arc::new(Sqlite::open(folder)?);
    let mut batch = Vec::with_capacity(BATCH_MAX);
    for mutation in objects(size) {
        batch.push(mutation);
        if batch.len() == BATCH_MAX {
            quarterdeck_store::Backend::commit(&*backend, &batch).await?;
            batch.clear();
        }
    }
    quarterdeck_store::Backend::commit(&*backend, &batch).await?;
    Ok(Arc::new(Store::open(backend).await?))
}

async fn ask(graph: &Graph, query: String) -> Result<Bytes, Failure> {
    let question = Question { query, ..Question::default() };
    let (answer, asked) = graph.answer(question, Arc::new(Everyone)).await?;
    let failed = answer.windows(9).any(|part| part == b"\"errors\":");
    if failed || !asked {
        return Err(String::from_utf8_lossy(&answer).into_owned().into());
    }
    Ok(answer)
}

/// A question as a page asks it, another each time.
fn question(turn: usize, size: &Size) -> String {
    let number = usize::try_from(mixed(turn, 1)).unwrap_or(0);
    let facets = r#"facets: ["status.phase", "metadata.namespace", "spec.service"], first: 50"#;
    let asked = match turn % 5 {
        0 => String::new(),
        1 => r#"filters: [{field: "status.phase", values: ["NotReady", "Starting"]}],"#.into(),
        2 => format!(r#"text: "{}","#, number % 100_000),
        3 => format!(
            r#"filters: [{{field: "metadata.namespace", values: ["team-{}"]}}], sort: {{field: "spec.service", descending: true}},"#,
            number % TEAMS
        ),
        _ => format!(
            r#"filters: [{{field: "spec.service", values: ["service-{}"]}}], sort: {{field: "status.phase"}},"#,
            number % size.services
        ),
    };
    format!(
        r#"{{ search(kinds: ["Instance"], {asked} {facets}) {{ total edges {{ cursor node {{ name namespace phase }} }} facets {{ field values {{ value count }} }} }} }}"#
    )
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let size = size();
    let store = fill(folder, &size).await?;
    let graph = Graph::new(store.clone());
    // The first question makes the index.
    let (built, first) = timed(ask(&graph, question(0, &size))).await;
    first?;
    let (mut ours, mut pass) = (Samples::default(), Samples::default());
    for turn in 0..QUESTIONS {
        let (time, answer) = timed(ask(&graph, question(turn, &size))).await;
        black_box(answer?);
        ours.push(time);
        if turn % 10 == 0 {
            let begin = Instant::now();
            let world = store.world();
            let ready =
                world.all(Instance::info()).filter(|it| it.field("status.phase") == Some("Ready"));
            black_box(ready.count());
            pass.push(begin.elapsed());
        }
    }
    let (mut graphs, mut objects) = (Samples::default(), 0);
    for turn in 0..QUESTIONS / 4 {
        let service = usize::try_from(mixed(turn, 2)).unwrap_or(0) % size.services;
        let query = format!(
            r#"{{ object(kind: "Service", namespace: "team-{}", name: "service-{service}") {{ links(relations: ["instances"], first: 500) {{ total nodes {{ name phase
                links(relations: ["host"]) {{ nodes {{ name links(relations: ["server"]) {{ nodes {{ name links(relations: ["rack"]) {{ nodes {{ name }} }} }} }} }} }} }} }} }} }}"#,
            service % TEAMS,
        );
        let (time, answer) = timed(ask(&graph, query)).await;
        objects += answer?.windows(8).filter(|part| part == b"\"name\":\"").count();
        graphs.push(time);
    }
    let requests = objects / (QUESTIONS / 4);
    Ok(vec![
        Row {
            what: format!(
                "search with three facets over {} instances, 99th percentile",
                size.instances
            ),
            ours: Quantity::seconds(ours.p99()),
            peer: "the limit".into(),
            theirs: Quantity::seconds(P99),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "the same, median (the first one, which makes the index, took {:.1} s)",
                built.as_secs_f64()
            ),
            ours: Quantity::seconds(ours.median()),
            peer: "one pass over that field of all objects, median".into(),
            theirs: Quantity::seconds(pass.median()),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "a service with its instances, machines, servers and racks in one question instead of {requests} reads, 99th percentile"
            ),
            ours: Quantity::seconds(graphs.p99()),
            peer: "the limit".into(),
            theirs: Quantity::seconds(GRAPH),
            aim: Aim::AtMost(1.0),
        },
    ])
}
