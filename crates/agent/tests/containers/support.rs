//! A host whose containers a test looks after, and what is told of them.

use quarterdeck_agent::containers::{
    Assignment, Containers, HostPath, ImageRules, InstanceReport, Settings, Timings,
};
use quarterdeck_model::{
    Duration as Period,
    kinds::{InstancePhase, container::ContainerStatus},
};
use quarterdeck_testing::{docker::Docker, wait::wait_for};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// How long anything may take while other tests have the processors.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// An agent's part in a test.
pub(crate) struct Host {
    pub(crate) containers: Containers,
    seen: Arc<Mutex<BTreeMap<String, InstanceReport>>>,
}

/// Secrets in memory, gone with the test.
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    pub(crate) fn new(host: &str) -> Self {
        Self(format!("/dev/shm/quarterdeck-test-{}-{host}", std::process::id()).into())
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn settings(engine: &Docker, host: &str, secrets: &Secrets) -> Settings {
    Settings {
        engine: engine.socket(),
        secrets: secrets.0.clone(),
        publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host_paths: vec![HostPath { path: engine.folder().join("shared"), writable: true }],
        timings: Timings {
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(2),
            engine_silence: Duration::from_millis(500),
            orphan_grace: Duration::from_secs(1),
            resync: Duration::from_secs(2),
            ..Timings::default()
        },
        images: ImageRules { every: Duration::from_millis(200), ..ImageRules::default() },
        ..Settings::new(host, engine.folder().join(format!("agent-{host}")))
    }
}

impl Host {
    pub(crate) fn open(settings: Settings) -> Self {
        let containers = Containers::open(settings).unwrap();
        let seen: Arc<Mutex<BTreeMap<String, InstanceReport>>> = Arc::default();
        let (kept, mut reports) = (Arc::clone(&seen), containers.reports());
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                kept.lock().unwrap().insert(report.uid.clone(), report);
            }
        });
        Self { containers, seen }
    }

    pub(crate) fn seen(&self, uid: &str) -> Option<InstanceReport> {
        self.seen.lock().unwrap().get(uid).cloned()
    }

    /// Waits until what is told of an instance is so.
    pub(crate) async fn wait(
        &self,
        uid: &str,
        what: &str,
        so: impl Fn(&InstanceReport) -> bool,
    ) -> InstanceReport {
        wait_for(DEADLINE, &format!("{uid}: {what}"), async || match self.seen(uid) {
            Some(report) if so(&report) => Ok(report),
            other => Err(format!("{other:#?}")),
        })
        .await
    }

    pub(crate) async fn ready(&self, uid: &str) -> InstanceReport {
        self.wait(uid, "is ready", |it| it.status.phase == InstancePhase::Ready).await
    }

    pub(crate) async fn gone(&self, uid: &str) {
        self.wait(uid, "is gone", |it| it.gone).await;
    }

    /// Has an instance of this host end, beside those that stay.
    pub(crate) fn end(&self, it: &Assignment, grace_seconds: u64, others: &[&Assignment]) {
        let ends =
            Assignment { deleting_grace: Some(Period::from_secs(grace_seconds)), ..it.clone() };
        let others = others.iter().map(|it| (*it).clone());
        self.containers.assign(others.chain([ends]).collect()).unwrap();
    }
}

/// The status of its only container.
pub(crate) fn only(report: &InstanceReport) -> &ContainerStatus {
    &report.status.containers[0]
}

/// An instance of one container that runs a script.
pub(crate) fn script(uid: &str, script: &str, fields: Value) -> Assignment {
    let mut container = json!({
        "name": "main", "image": quarterdeck_testing::docker::BUSYBOX, "command": ["sh", "-c", script],
        "imagePullPolicy": "IfNotPresent",
    });
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    pod(uid, json!({"containers": [container]}))
}

pub(crate) fn pod(uid: &str, template: Value) -> Assignment {
    let spec =
        json!({"service": "api", "host": {"kind": "Machine", "name": "m"}, "template": template});
    let mut spec: quarterdeck_model::kinds::InstanceSpec = serde_json::from_value(spec).unwrap();
    spec.template.as_mut().unwrap().set_defaults();
    Assignment {
        namespace: "shop".into(),
        name: format!("api-{uid}"),
        uid: uid.into(),
        spec,
        ..Assignment::default()
    }
}

/// A script that stays until it is told to end.
pub(crate) const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
