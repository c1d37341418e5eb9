//! Pods of a workload, as instances. Pure.

use crate::{
    deployment::{CLUSTER, REVISION, WORKLOAD},
    error::cut,
};
use k8s_openapi::api::core::v1;
use quarterdeck_model::{Time, kinds::InstancePhase};

/// What is kept of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its identity: a pod of the same name may be another one.
    pub uid: String,
    /// Name of the workload it is of.
    pub workload: String,
    /// Name of the Cluster, as the plane calls it, for which it was made.
    pub cluster: String,
    /// Which revision of that.
    pub revision: Option<i64>,
    /// The node that it is on.
    pub node: Option<String>,
    /// What it is as an instance.
    pub phase: InstancePhase,
    /// Since when it is ready.
    pub ready_since: Option<Time>,
    /// Why it is not ready.
    pub message: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// When its node began with it.
    pub started: Option<Time>,
}

impl Pod {
    pub(crate) fn of(pod: &v1::Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let condition =
            |kind: &str| conditions.into_iter().flatten().find(|condition| condition.type_ == kind);
        let ready = condition("Ready");
        let is_ready = ready.is_some_and(|ready| ready.status == "True");
        let time = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| Time::new(time.0);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref().map(cut));
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            _ if pod.metadata.deletion_timestamp.is_some() => InstancePhase::Stopping,
            Some("Succeeded" | "Failed") => InstancePhase::Failed,
            Some("Unknown") => InstancePhase::Unreachable,
            Some("Running") if is_ready => InstancePhase::Ready,
            Some("Running") => InstancePhase::NotReady,
            _ if node.is_some() => InstancePhase::Starting,
            _ => InstancePhase::Pending,
        };
        let message = match phase {
            InstancePhase::Ready => None,
            InstancePhase::Stopping => Some("its Pod is being removed".to_owned()),
            _ => trouble(status).or_else(|| {
                let said = condition("PodScheduled").filter(|it| it.status != "True").or(ready);
                said.and_then(|said| said.message.clone().or_else(|| said.reason.clone()))
            }),
        };
        Some(Self {
            uid: cut(pod.metadata.uid.as_deref()?),
            workload: cut(labels.get(WORKLOAD)?),
            cluster: labels.get(CLUSTER).map(|name| cut(name)).unwrap_or_default(),
            revision: labels.get(REVISION).and_then(|number| number.parse().ok()),
            node,
            phase,
            ready_since: ready
                .filter(|_| is_ready)
                .and_then(|it| it.last_transition_time.as_ref())
                .map(time),
            message: message.map(|message| cut(&message)),
            address: status.and_then(|status| status.pod_ip.as_deref().map(cut)),
            started: status.and_then(|status| status.start_time.as_ref()).map(time),
        })
    }
}

/// What is wrong with the first container with which something is.
fn trouble(status: Option<&v1::PodStatus>) -> Option<String> {
    let status = status?;
    let containers = status.container_statuses.iter().flatten();
    let said = containers.filter(|container| !container.ready).find_map(|container| {
        let state = container.state.as_ref()?;
        let why = match (&state.waiting, &state.terminated) {
            (Some(waiting), _) => {
                let reason = waiting.reason.as_deref().unwrap_or("waits");
                // That is what all are in the beginning.
                if reason == "ContainerCreating" && waiting.message.is_none() {
                    return None;
                }
                match &waiting.message {
                    Some(message) => format!("{reason}: {message}"),
                    None => reason.to_owned(),
                }
            }
            (None, Some(ended)) => {
                let reason = ended.reason.as_deref().unwrap_or("ended");
                format!("{reason}, with exit code {}", ended.exit_code)
            }
            (None, None) => return None,
        };
        Some(format!("container {}: {why}", container.name))
    });
    said.or_else(|| status.message.clone()).or_else(|| status.reason.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(change: Value) -> Option<Pod> {
        let mut pod = json!({
            "metadata": {"name": "web-1", "uid": "u", "labels": {WORKLOAD: "web", REVISION: "3", CLUSTER: "eu1"}},
            "spec": {"nodeName": "n", "containers": []},
            "status": {},
        });
        for (path, value) in change.as_object().unwrap() {
            let (parent, last) = path.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[last] = value.clone();
        }
        Pod::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_an_instance_in_some_phase() {
        let since = "2026-11-02T08:00:00Z";
        let ready = |is: &str| json!([{"type": "Ready", "status": is, "lastTransitionTime": since, "reason": "ContainersNotReady"}]);
        let waits = json!([{"name": "c", "ready": false, "restartCount": 1, "image": "i", "imageID": "",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}]);
        let ended = json!([{"name": "c", "ready": false, "restartCount": 1, "image": "i", "imageID": "",
            "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]);
        let cases = [
            (json!({"/spec/nodeName": null}), InstancePhase::Pending, None),
            (
                json!({"/spec/nodeName": null, "/status/phase": "Pending", "/status/conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available."}]}),
                InstancePhase::Pending,
                Some("0/3 nodes are available"),
            ),
            (json!({"/status/phase": "Pending"}), InstancePhase::Starting, None),
            (
                json!({"/status/phase": "Running", "/status/conditions": ready("True")}),
                InstancePhase::Ready,
                None,
            ),
            (
                json!({"/status/phase": "Running", "/status/conditions": ready("False")}),
                InstancePhase::NotReady,
                Some("ContainersNotReady"),
            ),
            (
                json!({"/status/phase": "Running", "/status/conditions": ready("False"), "/status/containerStatuses": waits}),
                InstancePhase::NotReady,
                Some("container c: CrashLoopBackOff: back-off 10s"),
            ),
            (
                json!({"/status/phase": "Failed", "/status/containerStatuses": ended}),
                InstancePhase::Failed,
                Some("container c: OOMKilled, with exit code 137"),
            ),
            (json!({"/status/phase": "Unknown"}), InstancePhase::Unreachable, None),
            (
                json!({"/status/phase": "Running", "/status/conditions": ready("True"), "/metadata/deletionTimestamp": since}),
                InstancePhase::Stopping,
                Some("its Pod is being removed"),
            ),
        ];
        for (change, phase, message) in cases {
            let pod = read(change.clone()).unwrap();
            assert_eq!((pod.phase, pod.message.as_deref()), (phase, message), "{change}");
            assert_eq!((pod.workload.as_str(), pod.cluster.as_str()), ("web", "eu1"));
            assert_eq!(pod.revision, Some(3));
            let is_ready = change.to_string().contains("\"True\"");
            assert_eq!(pod.ready_since.is_some(), is_ready, "{change}");
        }
    }

    #[test]
    fn what_is_of_no_workload_is_no_instance() {
        assert_eq!(read(json!({"/metadata/labels": {"app": "web"}})), None);
        let pod = read(json!({"/metadata/labels": {WORKLOAD: "web", REVISION: "x"}})).unwrap();
        assert_eq!(pod.revision, None);
    }
}
