//! What the plane's own client of Redfish costs: looks at servers and power cycles over HTTPS, at simulated BMCs that
//! answer at once, beside the same actions done by their twins in the process. The figure is the client's path whole:
//! login, TLS, some 40 requests for an inventory, and the looks until a state is seen.

use crate::{
    Failure,
    report::{Aim, Quantity, Row},
};
use quarterdeck_providers::{
    ActionContext, Catalog, Providers, SecretData, SecretSource, http::Reach,
};
use quarterdeck_sim::{Fleet, FleetObject, Latency, Simulation};
use quarterdeck_sim_redfish::{Authority, listen, serve};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const SEED: u64 = 7;
/// Servers that are acted on, all at once.
const SERVERS: u32 = 1_000;
/// The twins are so fast that once is over before it can be measured.
const ROUNDS_OF_TWINS: u32 = 20;
/// Looks a second that keep 110,000 servers true, each once an hour.
const LOOKS_NEEDED: f64 = 110_000.0 / 3_600.0;
/// Power cycles a second: a campaign over 110,000 servers within a night of eight hours.
const CYCLES_NEEDED: f64 = 110_000.0 / (8.0 * 3_600.0);
const LONGEST: Duration = Duration::from_secs(120);

/// The Secrets of the fleet, by namespace and name.
struct Secrets(HashMap<(String, String), SecretData>);

impl SecretSource for Secrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        self.0.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

/// What is acted on.
struct Fleets {
    servers: Vec<Arc<Value>>,
    secrets: Arc<Secrets>,
}

impl Fleets {
    fn of(fleet: Fleet, simulation: &Simulation, certificate: &str) -> Self {
        let (namespace, name) = Fleet::AUTHORITY;
        let trusted = [("ca.crt".to_owned(), certificate.as_bytes().to_vec())].into();
        let mut secrets = HashMap::from([((namespace.to_owned(), name.to_owned()), trusted)]);
        let mut servers = Vec::new();
        for object in fleet.objects() {
            match object {
                FleetObject::Secret(secret) => {
                    let name =
                        (secret.metadata.namespace.unwrap_or_default(), secret.metadata.name);
                    let data = secret.string_data.into_iter();
                    secrets.insert(name, data.map(|(key, it)| (key, it.into_bytes())).collect());
                }
                FleetObject::Server(ref server) => {
                    simulation.heal(&server.spec.bmc.address);
                    servers.push(Arc::new(object.manifest()));
                }
                _ => {}
            }
        }
        Self { servers, secrets: Arc::new(Secrets(secrets)) }
    }

    /// How often a second all of them have these done, one after the other, all servers at once.
    async fn rate(
        &self,
        catalog: &Catalog,
        rounds: u32,
        steps: &[(&'static str, Value)],
    ) -> Result<f64, Failure> {
        let begin = Instant::now();
        for round in 0..rounds {
            let mut all = JoinSet::new();
            for (number, server) in self.servers.iter().enumerate() {
                let (catalog, steps) = (catalog.clone(), steps.to_vec());
                let context = ActionContext {
                    idempotency_key: format!("{round}-{number}"),
                    attempt: 1,
                    resumed: false,
                    first_attempt_at: jiff::Timestamp::now(),
                    deadline: Instant::now() + LONGEST,
                    target: Some(server.clone()),
                    secrets: self.secrets.clone(),
                    hosts: Arc::new(quarterdeck_providers::agent::NoHosts),
                };
                all.spawn(async move {
                    for (action, input) in steps {
                        catalog.perform(action, input, &context).await?;
                    }
                    Ok::<(), quarterdeck_providers::ActionError>(())
                });
            }
            while let Some(done) = all.join_next().await {
                done??;
            }
        }
        Ok(f64::from(rounds) * self.servers.len() as f64 / begin.elapsed().as_secs_f64())
    }
}

pub(crate) async fn run() -> Result<Vec<Row>, Failure> {
    let listener = listen(0)?;
    let fleet = Fleet::new(SEED, SERVERS).served_at(listener.local_addr()?.port());
    let simulation = Simulation::of(fleet, Latency::None);
    let (authority, certificate) = Authority::new()?;
    let fleets = Fleets::of(fleet, &simulation, &certificate);
    let serving = tokio::spawn(serve(listener, simulation.clone(), authority));

    let real = Providers::new(Reach::default());
    let mut twins = Catalog::new();
    simulation.add_actions(&mut twins);
    let look = [("inventory.refresh", json!({}))];
    let cycle =
        [("power.set", json!({"state": "ForceOff"})), ("power.set", json!({"state": "On"}))];
    // Logins and connections are made by the first.
    fleets.rate(real.catalog(), 1, &look).await?;
    let looks = fleets.rate(real.catalog(), 1, &look).await?;
    let twin_looks = fleets.rate(&twins, ROUNDS_OF_TWINS, &look).await?;
    let cycles = fleets.rate(real.catalog(), 1, &cycle).await?;
    let twin_cycles = fleets.rate(&twins, ROUNDS_OF_TWINS, &cycle).await?;
    real.close().await;
    serving.abort();

    let row = |what: &str, ours: f64, peer: &str, theirs: f64, aim: Aim| Row {
        what: what.into(),
        ours: Quantity::per_second(ours),
        peer: peer.into(),
        theirs: Quantity::per_second(theirs),
        aim,
    };
    let at = format!("{SERVERS} simulated BMCs over HTTPS, all at once");
    let looks_of = format!("whole inventories of {at}, client and BMCs on the same cores");
    let cycles_of = format!("power cycles of {at}, each seen off and on");
    Ok(vec![
        row(
            &looks_of,
            looks,
            "what 110,000 servers need, each once an hour",
            LOOKS_NEEDED,
            Aim::AtLeast(1.0),
        ),
        row(
            "the same",
            looks,
            "their twins in the process, without HTTP",
            twin_looks,
            Aim::AtLeast(0.002),
        ),
        row(
            &cycles_of,
            cycles,
            "what 110,000 servers in eight hours need",
            CYCLES_NEEDED,
            Aim::AtLeast(1.0),
        ),
        row(
            "the same",
            cycles,
            "their twins in the process, without HTTP",
            twin_cycles,
            Aim::AtLeast(0.002),
        ),
    ])
}
