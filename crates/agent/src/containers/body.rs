//! What the engine is told to make of a container. Pure.

use super::{assignment::Assignment, decide::hash, labels, seen::SANDBOX, settings::Settings};
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};
use quarterdeck_model::kinds::container::{
    Container, ContainerPort, PodSpec, Protocol, ResourceList, ResourceRequirements,
    SecurityContext,
};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

/// Longest name of a host (RFC 1035 §2.3.4).
const HOSTNAME_BYTES_MAX: usize = 63;
/// What a container may write to its log until the oldest is thrown away, in each of [`LOG_FILES`].
const LOG_BYTES_MAX: &str = "16m";
/// Files of a log.
const LOG_FILES: &str = "3";

/// Which attempt at which container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) number: u32,
    pub(super) streak: u32,
    pub(super) sandbox: Option<&'a str>,
}

/// Where the volumes of an instance are on the host, by their names; and whether they can only be read.
pub(super) type Volumes = BTreeMap<String, (PathBuf, bool)>;

/// Name of a container in the engine: people see there what it is.
pub(super) fn name(it: &Assignment, container: &str, attempt: u32) -> String {
    let what = if container == SANDBOX { "network" } else { container };
    let uid: String = it.uid.chars().take(8).collect();
    format!("qd_{what}_{}_{}_{uid}_{attempt}", it.namespace, it.name)
}

fn labelled(
    it: &Assignment,
    settings: &Settings,
    container: &str,
    attempt: Attempt<'_>,
) -> HashMap<String, String> {
    let mut all: HashMap<String, String> = [
        (labels::HOST, settings.host.clone()),
        (labels::UID, it.uid.clone()),
        (labels::NAMESPACE, it.namespace.clone()),
        (labels::NAME, it.name.clone()),
        (labels::CONTAINER, container.to_owned()),
        (labels::ATTEMPT, attempt.number.to_string()),
        (labels::STREAK, attempt.streak.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(sandbox) = attempt.sandbox {
        all.insert(labels::SANDBOX.into(), sandbox.into());
    }
    all
}

/// The container that holds the network of several.
pub(super) fn sandbox(
    it: &Assignment,
    pod: &PodSpec,
    settings: &Settings,
    image: &str,
) -> ContainerCreateBody {
    let attempt = Attempt { number: 0, streak: 0, sandbox: None };
    let ports: Vec<&ContainerPort> = pod.containers.iter().flat_map(|it| &it.ports).collect();
    let (exposed, bound) = published(&ports, settings);
    ContainerCreateBody {
        hostname: Some(hostname(&it.name)),
        image: Some(image.into()),
        labels: Some(labelled(it, settings, SANDBOX, attempt)),
        exposed_ports: Some(exposed),
        host_config: Some(HostConfig { port_bindings: Some(bound), ..host_config() }),
        ..ContainerCreateBody::default()
    }
}

/// A container of an instance. `env` are its variables with those from Secrets.
pub(super) fn container(
    it: &Assignment,
    pod: &PodSpec,
    wanted: &Container,
    attempt: Attempt<'_>,
    (settings, image): (&Settings, &str),
    (env, volumes): (Vec<String>, &Volumes),
) -> ContainerCreateBody {
    let mut labels = labelled(it, settings, &wanted.name, attempt);
    labels.insert(labels::HASH.into(), hash(wanted));
    let own_network = attempt.sandbox.is_none() && !pod.host_network;
    let ports: Vec<&ContainerPort> = match own_network {
        true => wanted.ports.iter().collect(),
        false => Vec::new(),
    };
    let (exposed, bound) = published(&ports, settings);
    let network = match attempt.sandbox {
        Some(sandbox) => Some(format!("container:{sandbox}")),
        None => pod.host_network.then(|| "host".to_owned()),
    };
    let security = wanted.security_context.clone().unwrap_or_default();
    let SecurityContext { run_as_user, read_only_root_filesystem, capabilities } = security;
    let capabilities = capabilities.unwrap_or_default();
    let binds = wanted.volume_mounts.iter().filter_map(|mount| {
        let (path, read_only) = volumes.get(&mount.name)?;
        let mode = if *read_only || mount.read_only { "ro" } else { "rw" };
        Some(format!("{}:{}:{mode}", path.display(), mount.mount_path))
    });
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    ContainerCreateBody {
        hostname: own_network.then(|| hostname(&it.name)),
        user: run_as_user.map(|user| user.to_string()),
        image: Some(image.into()),
        entrypoint: some(&wanted.command),
        // As Kubernetes has it: a command of its own takes the image's arguments away, too.
        cmd: match (wanted.command.is_empty(), wanted.args.is_empty()) {
            (false, true) => Some(Vec::new()),
            _ => some(&wanted.args),
        },
        working_dir: wanted.working_dir.clone(),
        env: Some(env),
        labels: Some(labels),
        exposed_ports: Some(exposed),
        host_config: Some(HostConfig {
            binds: Some(binds.collect()),
            network_mode: network,
            port_bindings: Some(bound),
            readonly_rootfs: Some(read_only_root_filesystem),
            cap_add: some(&capabilities.add),
            cap_drop: some(&capabilities.drop),
            ..limited(&wanted.resources)
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config() -> HostConfig {
    let config = [("max-size", LOG_BYTES_MAX), ("max-file", LOG_FILES)];
    HostConfig {
        // Whether and when one is started again is the agent's to say.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(config.map(|(name, value)| (name.into(), value.into())).into()),
        }),
        ..HostConfig::default()
    }
}

/// Requests weigh where the processors are not enough; limits hold always (Kubernetes: "Resource Management", how
/// requests and limits are applied).
fn limited(resources: &ResourceRequirements) -> HostConfig {
    let ResourceRequirements { requests, limits } = resources;
    let (weight, cpu, memory) = (requests.millicores(), limits.millicores(), limits.memory_bytes());
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let set = |list: &ResourceList| list.cpu.is_some() || list.memory.is_some();
    HostConfig {
        cpu_shares: set(requests)
            .then(|| whole((weight.saturating_mul(1024) / 1000).clamp(2, 262_144))),
        nano_cpus: (cpu > 0).then(|| whole(cpu.saturating_mul(1_000_000))),
        memory: (memory > 0).then(|| whole(memory)),
        // No swap beside it.
        memory_swap: (memory > 0).then(|| whole(memory)),
        ..host_config()
    }
}

fn published(ports: &[&ContainerPort], settings: &Settings) -> (Vec<String>, PortMap) {
    let key = |port: &ContainerPort| {
        let protocol = match port.protocol {
            Protocol::TCP => "tcp",
            Protocol::UDP => "udp",
        };
        format!("{}/{protocol}", port.container_port)
    };
    let exposed = ports.iter().map(|port| key(port)).collect();
    let bound = ports.iter().filter_map(|port| {
        let (host_ip, host_port) =
            (Some(settings.publish.to_string()), Some(port.host_port?.to_string()));
        Some((key(port), Some(vec![PortBinding { host_ip, host_port }])))
    });
    (exposed, bound.collect())
}

fn hostname(name: &str) -> String {
    let name: String = name.chars().take(HOSTNAME_BYTES_MAX).collect();
    name.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn made(pod: Value, sandbox: Option<&str>) -> ContainerCreateBody {
        let pod: PodSpec = serde_json::from_value(pod).unwrap();
        let it =
            Assignment { name: "api-1".into(), namespace: "shop".into(), ..Assignment::default() };
        let volumes = [
            ("v".to_owned(), (PathBuf::from("/x/v"), false)),
            ("s".to_owned(), (PathBuf::from("/y/s"), true)),
        ]
        .into();
        let attempt = Attempt { number: 3, streak: 2, sandbox };
        let settings = Settings::new("h", "/data");
        container(
            &it,
            &pod,
            &pod.containers[0],
            attempt,
            (&settings, "sha256:1"),
            (vec!["A=b".into()], &volumes),
        )
    }

    #[test]
    fn limits_and_requests_are_applied_as_kubernetes_applies_them() {
        let body = made(
            json!({"containers": [{"name": "c", "image": "a", "resources": {
                "requests": {"cpu": "250m"}, "limits": {"cpu": "1.5", "memory": "64Mi"}}}]}),
            None,
        );
        let host = body.host_config.unwrap();
        assert_eq!(host.cpu_shares, Some(256));
        assert_eq!(host.nano_cpus, Some(1_500_000_000));
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        let unlimited = made(json!({"containers": [{"name": "c", "image": "a"}]}), None);
        let host = unlimited.host_config.unwrap();
        assert_eq!((host.cpu_shares, host.nano_cpus, host.memory), (None, None, None));
    }

    #[test]
    fn a_command_takes_the_arguments_of_the_image_away() {
        let of = |fields: Value| {
            let mut container = json!({"name": "c", "image": "a"});
            container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let body = made(json!({"containers": [container]}), None);
            (body.entrypoint, body.cmd)
        };
        let list =
            |texts: &[&str]| Some(texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(json!({})), (None, None));
        assert_eq!(of(json!({"args": ["x"]})), (None, list(&["x"])));
        assert_eq!(of(json!({"command": ["y"]})), (list(&["y"]), list(&[])));
        assert_eq!(of(json!({"command": ["y"], "args": ["x"]})), (list(&["y"]), list(&["x"])));
    }

    #[test]
    fn ports_are_the_sandboxs_where_there_is_one() {
        let pod = json!({"containers": [{"name": "c", "image": "a", "ports": [{"containerPort": 80, "hostPort": 8080}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "s", "mountPath": "/s"}]}]});
        let own = made(pod.clone(), None);
        let bound = own.host_config.clone().unwrap().port_bindings.unwrap();
        assert_eq!(bound["80/tcp"].as_ref().unwrap()[0].host_port.as_deref(), Some("8080"));
        assert_eq!(own.hostname.as_deref(), Some("api-1"));
        assert_eq!(own.host_config.unwrap().binds.unwrap(), ["/x/v:/v:rw", "/y/s:/s:ro"]);
        let shared = made(pod, Some("abc"));
        let host = shared.host_config.unwrap();
        assert!(host.port_bindings.unwrap().is_empty());
        assert_eq!(host.network_mode.as_deref(), Some("container:abc"));
        assert_eq!(shared.labels.unwrap()[labels::SANDBOX], "abc");
    }
}
