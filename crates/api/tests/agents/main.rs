//! Streams of agents when things fail: replicas that are cut off and write late, certificates that end, hosts that have one identity,
//! and hosts that say too much. Two replicas are two planes in this process, on one store that can be made to fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod client;
#[path = "../support/mod.rs"]
mod support;

use client::{DEADLINE, Stream, hello, join, short};
use quarterdeck_model::{
    Key, Kind as _, KindRef,
    agent::{ContainerUsage, FromAgent, Heartbeat, TaskReport, Usage},
    kinds::{AgentTask, AgentTaskPhase, AgentTaskStatus, Machine, MachineFacts},
    object,
};
use quarterdeck_simtest::{Disk, Process};
use quarterdeck_store::{Mutation, Precondition, Store, Write};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use support::Plane;

pub(crate) const MACHINES: &str =
    "/apis/compute.quarterdeck.dev/v1alpha1/namespaces/default/machines";

/// Two replicas on one store, and what each has of it.
struct Replicas {
    disk: Arc<Disk>,
    first: Plane,
    firsts: Arc<Process>,
    second: Plane,
}

async fn replica(disk: &Arc<Disk>, of: Option<&Plane>) -> (Plane, Arc<Process>) {
    let process = Process::one_of_many(disk);
    let store = Arc::new(Store::open(process.clone()).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    if let Some(first) = of {
        let to = folder.path().join("pki");
        std::fs::create_dir(&to).unwrap();
        for name in ["ca.crt", "ca.key"] {
            std::fs::copy(first.authority_file().with_file_name(name), to.join(name)).unwrap();
        }
    }
    (Plane::on(store, folder, None).await, process)
}

impl Replicas {
    /// With the machine `m`.
    async fn start() -> Self {
        let disk = Arc::<Disk>::default();
        let (first, firsts) = replica(&disk, None).await;
        let (second, _) = replica(&disk, Some(&first)).await;
        let machine = json!({"metadata": {"name": "m"}, "spec": {"preinstalled": true}});
        first.must("POST", MACHINES, machine).await;
        Self { disk, first, firsts, second }
    }

    /// How often the machine was written.
    fn writes(&self) -> usize {
        self.disk.versions(|key| *key.kind == *Machine::info().resource_name()).len()
    }
}

/// Waits until the machine `m` is as wanted, and answers it.
async fn until(plane: &Plane, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until_machine(plane, "m", what, is).await
}

async fn until_machine(
    plane: &Plane,
    name: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        let machine = plane.get(&format!("{MACHINES}/{name}")).await.body;
        if is(&machine) {
            return machine;
        }
        assert!(Instant::now() < end, "{what}: {:#}", machine["status"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn condition<'m>(machine: &'m Value, kind: &str) -> Option<&'m Value> {
    machine["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}

/// Whether a machine's agent holds the stream of that number.
fn holds(machine: &Value, stream: u64) -> bool {
    let agent = &machine["status"]["agent"];
    agent["stream"] == stream
        && agent["disconnectedSince"].is_null()
        && condition(machine, "AgentConnected").is_some_and(|it| it["status"] == "True")
}

async fn write(store: &Store, kind: KindRef, name: &str, value: &Value, at: Precondition) {
    let key = Key::new(kind, "default", name);
    let write = Write::Put(object::encode(kind, value).into());
    let mutation = Mutation { key, write, precondition: at, fence: None };
    store.commit(vec![mutation]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_cut_off_does_not_write_over_the_newer_stream() {
    let replicas = Replicas::start().await;
    let Replicas { first, firsts, second, .. } = &replicas;
    let identity = join(first, "m").await;
    until(second, "known", |machine| machine["status"]["agent"]["joined"].is_string()).await;
    // Another machine's, which ends after the older one at the same replica.
    let other = json!({"metadata": {"name": "other"}, "spec": {"preinstalled": true}});
    first.must("POST", MACHINES, other).await;
    let another = join(first, "other").await;
    let another = Stream::open(first, &another, hello("other", 1)).await;
    until_machine(second, "other", "connected", |machine| holds(machine, 1)).await;
    firsts.cut_off(true);
    let mut old = Stream::open(first, &identity, hello("one", 100)).await;
    assert!(old.next().await.is_some(), "it is welcome, and cannot be written down");
    let mut new = Stream::open(second, &identity, hello("one", 101)).await;
    let written = until(second, "the newer", |machine| holds(machine, 101)).await;
    firsts.cut_off(false);
    let goodbye = old.goodbye().await;
    assert_eq!((goodbye.newest, goodbye.for_good), (Some(101), false), "{}", goodbye.message);
    drop(old);
    new.time().await;
    // Once its end is written, that of the older one would be: they wait as long, and the older one began to before it.
    drop(another);
    let ended = |machine: &Value| !machine["status"]["agent"]["disconnectedSince"].is_null();
    until_machine(second, "other", "an end that is written", ended).await;
    let machine = until(second, "the newer", |machine| holds(machine, 101)).await;
    assert_eq!(machine["status"]["agent"]["session"], written["status"]["agent"]["session"]);

    // A number that went back is told, so that the next goes on from there.
    let mut late = Stream::open(first, &identity, hello("one", 7)).await;
    assert_eq!(late.goodbye().await.newest, Some(101));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_written_down_as_lost_is_written_down_as_open_again() {
    let replicas = Replicas::start().await;
    let Replicas { first, second, .. } = &replicas;
    let identity = join(first, "m").await;
    let mut stream = Stream::open(first, &identity, hello("one", 5)).await;
    until(second, "connected", |machine| holds(machine, 5)).await;
    // As the leader writes it when the lease of this replica was gone for a while.
    let object = second.store.fresh().await.unwrap();
    let object = object.get(Machine::info(), "default", "m").unwrap();
    let mut value = object.value();
    value["status"]["agent"]["disconnectedSince"] = json!("2026-03-01T12:00:00Z");
    write(&second.store, Machine::info(), "m", &value, Precondition::At(object.revision)).await;
    until(second, "connected again", |machine| holds(machine, 5)).await;
    stream.time().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_certificate_that_it_was_begun_with() {
    let plane = Plane::start().await;
    let machine = json!({"metadata": {"name": "m"}, "spec": {"preinstalled": true}});
    let made = plane.must("POST", MACHINES, machine).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let identity = short(&plane, "m", uid, Duration::from_secs(15));
    let mut stream = Stream::open(&plane, &identity, hello("one", 1)).await;
    stream.time().await;
    let goodbye = stream.goodbye().await;
    assert!(goodbye.message.contains("certificate"), "{goodbye:?}");
    assert!(!goodbye.for_good, "one that was renewed may begin the next");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_with_one_identity_are_named_and_do_not_take_turns() {
    let replicas = Replicas::start().await;
    let Replicas { first, second, .. } = &replicas;
    let identity = join(first, "m").await;
    let _one = Stream::open(first, &identity, hello("one", 1)).await;
    until(second, "the first", |machine| holds(machine, 1)).await;
    let mut two = Stream::open(second, &identity, hello("two", 2)).await;
    until(first, "the second", |machine| holds(machine, 2)).await;
    let mut back = Stream::open(first, &identity, hello("one", 3)).await;
    let goodbye = back.goodbye().await;
    assert!(goodbye.message.contains("host-two") && !goodbye.for_good, "{goodbye:?}");
    let machine = until(second, "to be told", |machine| {
        condition(machine, "IdentityConflict").is_some_and(|it| it["status"] == "True")
    })
    .await;
    let said = condition(&machine, "IdentityConflict").unwrap()["message"].to_string();
    for part in ["host-one", "host-two", "boot-one", "boot-two"] {
        assert!(said.contains(part), "{said}");
    }
    two.time().await;
    until(first, "to be told here", |machine| condition(machine, "IdentityConflict").is_some())
        .await;
    let writes = replicas.writes();
    for number in 4..24 {
        let plane = if number % 2 == 0 { first } else { second };
        Stream::open(plane, &identity, hello("one", number)).await.goodbye().await;
    }
    two.time().await;
    assert_eq!(replicas.writes(), writes, "nothing is written for each that is refused");
    // Whoever holds it is gone: the other may have it.
    drop(two);
    until(first, "its end", |machine| !machine["status"]["agent"]["disconnectedSince"].is_null())
        .await;
    let _one = Stream::open(first, &identity, hello("one", 30)).await;
    until(second, "the other", |machine| holds(machine, 30)).await;
}

fn facts(number: usize) -> FromAgent {
    let hostname = format!("host-{number}");
    FromAgent::Facts(Box::new(MachineFacts { hostname, ..MachineFacts::default() }))
}

fn progress(uid: &str, phase: AgentTaskPhase, number: usize) -> FromAgent {
    let stdout = Some(number.to_string());
    let status = AgentTaskStatus { phase, stdout, ..AgentTaskStatus::default() };
    let (name, uid) = ("task".to_owned(), uid.to_owned());
    FromAgent::Task(Box::new(TaskReport { name, uid, status }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_something_else_all_the_time_costs_few_writes_and_nothing_is_lost() {
    let replicas = Replicas::start().await;
    let Replicas { first, disk, .. } = &replicas;
    let identity = join(first, "m").await;
    let mut stream = Stream::open(first, &identity, hello("one", 1)).await;
    let machine = until(first, "connected", |machine| holds(machine, 1)).await;
    let spec = json!({"machine": "m", "machineUID": machine["metadata"]["uid"]});
    let task =
        json!({"metadata": {"name": "task", "namespace": "default", "uid": "t"}, "spec": spec});
    write(&first.store, AgentTask::info(), "task", &task, Precondition::Absent).await;
    let before = replicas.writes();
    const SAID: usize = 1_000;
    for number in 0..SAID {
        stream.say(&facts(number)).await;
        stream.say(&progress("t", AgentTaskPhase::Running, number)).await;
        // HTTP/2 itself ends connections on which more small frames wait.
        if number % 50 == 49 {
            stream.time().await;
        }
    }
    stream.say(&progress("t", AgentTaskPhase::Succeeded, SAID)).await;
    stream.time().await;
    let tasks = disk.versions(|key| *key.kind == *AgentTask::info().resource_name());
    let end = tasks.last().unwrap();
    assert_eq!(end["status"]["phase"], "Succeeded", "its end is written at once");
    assert_eq!(end["status"]["stdout"], SAID.to_string());
    let passed = 20;
    assert!(replicas.writes() - before <= 5 + passed, "{} writes", replicas.writes() - before);
    assert!(tasks.len() <= 2 + 5 + passed, "{} writes", tasks.len());
    let last = format!("host-{}", SAID - 1);
    until(first, "the last that was said", |it| it["status"]["facts"]["hostname"] == *last).await;

    // What was put off is written when the stream ends, too.
    for number in 0..20 {
        stream.say(&facts(number)).await;
    }
    stream.time().await;
    drop(stream);
    until(first, "the last of the stream", |it| it["status"]["facts"]["hostname"] == "host-19")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_makes_up_ends_of_tasks_is_stopped() {
    let plane = Plane::start().await;
    let machine = json!({"metadata": {"name": "m"}, "spec": {"preinstalled": true}});
    plane.must("POST", MACHINES, machine).await;
    let identity = join(&plane, "m").await;
    let mut stream = Stream::open(&plane, &identity, hello("one", 1)).await;
    // More than anything that a host may have to say.
    const SAID: usize = 5_000;
    let mut goodbye = None;
    for number in 0..SAID {
        stream.say(&progress(&number.to_string(), AgentTaskPhase::Succeeded, number)).await;
        if number % 50 == 49 {
            goodbye = stream.time_or_goodbye().await.err();
        }
        if goodbye.is_some() {
            break;
        }
    }
    let goodbye = goodbye.expect("it is stopped");
    assert!(goodbye.message.contains("more than a host has to say"), "{goodbye:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_hosts_take_only_what_was_asked_for_is_read() {
    let replicas = Replicas::start().await;
    let Replicas { first, second, .. } = &replicas;
    for pod in ["one", "two"] {
        let made = json!({
            "metadata": {"name": pod, "labels": {"app": pod}},
            "spec": {"service": "api", "host": {"kind": "Machine", "name": "m"},
                "template": {"containers": [{"name": "main", "image": "registry.example.com/a:1"}]}},
        });
        let instances = "/apis/services.quarterdeck.dev/v1alpha1/namespaces/default/instances";
        first.must("POST", instances, made).await;
    }
    let pods = "/api/v1/namespaces/default/pods";
    let one = first.get(&format!("{pods}/one")).await.body;
    let uid = one["metadata"]["uid"].as_str().unwrap();
    let identity = join(first, "m").await;
    let mut stream = Stream::open(first, &identity, hello("one", 1)).await;
    until(second, "connected", |machine| holds(machine, 1)).await;
    let usage = Usage { cpu_millis: 250, memory_bytes: 64 << 20 };
    let container = |uid: &str| ContainerUsage { uid: uid.into(), name: "main".into(), usage };
    let others = (0..500).map(|it| container(&format!("another-{it}")));
    stream.say(&FromAgent::Containers(others.chain([container(uid)]).collect())).await;
    stream.say(&FromAgent::Heartbeat(Heartbeat { usage: Some(usage), wants_time: false })).await;
    stream.time().await;

    let metrics = "/apis/metrics.k8s.io/v1beta1";
    let wanted = json!({"cpu": "250m", "memory": "65536Ki"});
    for plane in [first, second] {
        let all = plane.get(&format!("{metrics}/pods")).await.body;
        assert_eq!(
            all["items"].as_array().map(Vec::len),
            Some(1),
            "of two nothing is known: {all:#}"
        );
        assert_eq!(all["items"][0]["metadata"]["labels"], json!({"app": "one"}));
        assert_eq!(all["items"][0]["containers"], json!([{"name": "main", "usage": wanted}]));
        let none = plane.get(&format!("{metrics}/pods?labelSelector=app%3Dtwo")).await.body;
        assert_eq!(none["items"], json!([]));
        let single = plane.get(&format!("{metrics}/namespaces/default/pods/one")).await.body;
        assert_eq!(single["containers"], all["items"][0]["containers"]);
        let node = plane.get(&format!("{metrics}/nodes/m.default")).await.body;
        assert_eq!(node["usage"], wanted, "{node:#}");
    }

    // What one replica tells another is that and no more.
    let replica = first
        .authority
        .client("system:quarterdeck:replica", &["system:quarterdeck:replicas"])
        .unwrap();
    let told = async |instances: Value| {
        let asked = json!([{"namespace": "default", "machine": "m", "instances": instances},
            {"namespace": "default", "machine": "none", "instances": []}]);
        let tls = first.connect_by(Some(&replica), "http/1.1").await;
        client::post(tls, "/replica/v1alpha1/usage", asked.to_string()).await
    };
    let said = told(json!([uid])).await;
    assert_eq!(said.as_array().map(Vec::len), Some(1), "{said:#}");
    assert_eq!(said[0]["containers"].as_array().map(Vec::len), Some(1), "{said:#}");
    assert_eq!(told(json!([])).await[0]["containers"], json!([]));
}
