//! What open pages take of a plane: a simulated fleet under a campaign that moves some thousand objects a second, with nobody who
//! looks and with five hundred who do, in turn. The plane is the real binary; the pages are a process of their own that yields
//! the processors to it, since they stand for browsers on other machines.

pub(crate) mod page;
mod questions;

use crate::{
    Failure,
    client::{Client, Trust},
    host,
    report::{Aim, Quantity, Row},
    served::{binary, cpu},
    talk::Other,
};
use bytes::Bytes;
use page::{CAMPAIGN, FILE, PAGES, People};
use quarterdeck_api::pki::Authority;
use quarterdeck_testing::{port::free_address, process::Process, user::RunAs};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, process::Command, time::Duration};
use tokio::time::{Instant, sleep};

const COUNT: usize = 500;
const SERVERS: u32 = 20_000;
/// Things happen at the machines so many times as fast as in a data centre.
const SPEED: &str = "20";
/// Runs of the campaign at a time: with that speed it moves about a thousand objects a second.
const CONCURRENCY: u32 = 360;
const ROUNDS: usize = 2;
const LENGTH: Duration = Duration::from_secs(20);
/// Until pages, or what they have left, are at their height.
const RISE: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(400);
/// Share of the fleet that is waited for: the rest has faults that take their time.
const SHARE: f64 = 0.95;
const MORE_MAX: f64 = 1.5;
const PAINTS_MAX: f64 = 4.0;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const CAMPAIGNS: &str = "/apis/workflows.quarterdeck.dev/v1alpha1/namespaces/ops/campaigns";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// A plane over a simulated fleet.
struct Plane {
    process: Process,
    client: Client,
    address: SocketAddr,
    authority: String,
}

impl Plane {
    async fn start(folder: &Path) -> Result<Self, Failure> {
        let (address, data) = (free_address(), folder.join("demo"));
        let mut command = Command::new(host::binary()?);
        command.args(["demo", "--idle", "--speed", SPEED, "--servers", &SERVERS.to_string()]);
        command.args(["--listen", &address.to_string()]).arg("--data-dir").arg(&data);
        let log = folder.join("plane.log");
        let mut process = Process::start("quarterdeck", &command, RunAs::Caller, &log);
        process.wait_for_line("Quarterdeck is ready at https://", LONGEST).await;
        let authority = Authority::open(&data.join("pki"))?;
        let trust = Trust::new(authority.certificate(), &authority.admin()?)?;
        let client = Client::connect(address, &trust).await?;
        let authority = authority.certificate().to_owned();
        Ok(Self { process, client, address, authority })
    }

    async fn write(&mut self, path: &str, object: &Value) -> Result<Value, Failure> {
        let body = Bytes::from(object.to_string());
        let said = self.client.ask("POST", path, "application/json", body).await?;
        Ok(serde_json::from_slice(&said)?)
    }

    /// Servers in a phase.
    async fn servers(&mut self, phase: &str) -> Result<f64, Failure> {
        let filter = json!({"field": "status.phase", "values": [phase]});
        let query = "query($of: [Filter!]) { search(kinds: [\"Server\"], filters: $of, first: 1) { total } }";
        let question = json!({"query": query, "variables": {"of": [filter]}});
        let answer = self.write("/graphql", &question).await?;
        let total = answer.pointer("/data/search/total").and_then(Value::as_f64);
        total.ok_or_else(|| format!("the plane answers {answer}").into())
    }

    /// Waits until most of the fleet is ready.
    async fn ready(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        loop {
            let ready = self.servers("Ready").await?;
            if ready >= f64::from(SERVERS) * SHARE {
                return Ok(());
            }
            if begin.elapsed() > LONGEST {
                return Err(format!("{ready} of {SERVERS} are ready after {LONGEST:?}").into());
            }
            sleep(LOOK).await;
        }
    }

    /// A token for each of as many people, who may see everything.
    async fn people(&mut self) -> Result<People, Failure> {
        let group = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:default"});
        let role =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "people"}, "roleRef": role, "subjects": [group]});
        self.write(BINDINGS, &binding).await?;
        let mut tokens = Vec::with_capacity(COUNT);
        for number in 0..COUNT {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": format!("p-{number}")}});
            self.write(ACCOUNTS, &account).await?;
            let asks = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
            let given = self.write(&format!("{ACCOUNTS}/p-{number}/token"), &asks).await?;
            let token = given.pointer("/status/token").and_then(Value::as_str);
            tokens.push(token.ok_or("the plane gave no token")?.to_owned());
        }
        Ok(People { authority: self.authority.clone(), tokens })
    }

    async fn campaign(&mut self) -> Result<(), Failure> {
        let (namespace, name) = CAMPAIGN;
        let team =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        self.write("/api/v1/namespaces", &team).await?;
        // All of them; a campaign says which.
        let all = json!({"matchExpressions": [{"key": "site", "operator": "Exists"}]});
        let spec = json!({
            "runbook": "power-cycle-server", "targets": {"kind": "Server", "selector": all}, "canary": 1, "failureDomain": "Rack",
            "domainsAtOnce": 1_000, "concurrency": CONCURRENCY, "failureLimit": "50%", "paused": false,
        });
        let campaign = json!({"apiVersion": "workflows.quarterdeck.dev/v1alpha1", "kind": "Campaign",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        self.write(CAMPAIGNS, &campaign).await.map(drop)
    }

    /// Everything that was ever written, counted.
    async fn writes(&mut self) -> Result<f64, Failure> {
        let list = self.client.object(&format!("{CAMPAIGNS}?limit=1")).await?;
        let revision = list.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Ok(revision.ok_or("a list without a revision")?.parse()?)
    }

    /// Processor time that was taken, and objects that were written, in a while.
    async fn watched(&mut self) -> Result<Taken, Failure> {
        let before = Taken { cpu: cpu(self.process.id())?, writes: self.writes().await? };
        sleep(LENGTH).await;
        let after = Taken { cpu: cpu(self.process.id())?, writes: self.writes().await? };
        Ok(Taken { cpu: after.cpu - before.cpu, writes: after.writes - before.writes })
    }
}

#[derive(Default)]
struct Taken {
    cpu: f64,
    writes: f64,
}

impl Taken {
    fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.writes += other.writes;
    }

    /// Processor time for each thousand objects.
    fn each_thousand(&self) -> f64 {
        self.cpu / self.writes * 1e3
    }

    fn rate(&self) -> f64 {
        self.writes / (LENGTH.as_secs_f64() * ROUNDS as f64)
    }
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let mut plane = Plane::start(folder).await?;
    plane.ready().await?;
    let people = plane.people().await?;
    std::fs::write(folder.join(FILE), serde_json::to_vec(&people)?)?;
    let (program, address) = (binary()?, plane.address.to_string());
    let folder = folder.to_str().ok_or("the folder is not UTF-8")?;
    let mut pages = Other::start(&["nice", "-n", "19", &program, PAGES, folder, &address]).await?;
    plane.campaign().await?;
    sleep(RISE).await;
    let (mut alone, mut seen) = (Taken::default(), Taken::default());
    let (mut paints, mut asked, mut bytes) = (0.0_f64, 0.0, 0.0);
    for _ in 0..ROUNDS {
        alone.add(&plane.watched().await?);
        pages.say("open").await?;
        pages.hear().await?;
        sleep(RISE).await;
        pages.say("count").await?;
        pages.hear().await?;
        seen.add(&plane.watched().await?);
        pages.say("count").await?;
        let counted = pages.hear().await?;
        let number = |name| counted.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        paints = paints.max(number("paints"));
        asked += number("asked") / ROUNDS as f64;
        bytes += number("bytes") / ROUNDS as f64;
        pages.say("close").await?;
        pages.hear().await?;
        sleep(RISE).await;
    }
    Ok(vec![
        Row {
            what: format!(
                "processor time of the plane for each 1,000 objects that a campaign over {SERVERS} servers moves ({:.0}/s), with {COUNT} \
                 pages open: home, servers, campaign and fleet map, {:.0} answers and {:.1} MB a second",
                seen.rate(),
                asked,
                bytes / 1e6
            ),
            ours: Quantity::seconds(seen.each_thousand()),
            peer: format!("no page open ({:.0}/s)", alone.rate()),
            theirs: Quantity::seconds(alone.each_thousand()),
            aim: Aim::AtMost(MORE_MAX),
        },
        Row {
            what: "paints a second of the page that paints most".into(),
            ours: Quantity::count(paints),
            peer: "the aim itself".into(),
            theirs: Quantity::count(PAINTS_MAX),
            aim: Aim::AtMost(1.0),
        },
    ])
}
