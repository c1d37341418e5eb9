//! What a cluster's status says. Pure.

use quarterdeck_clusters::{
    Heard,
    node::{Link, Node},
};
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    kinds::{
        Cluster, ClusterNode, ClusterNodes, ClusterPhase, ClusterStatus, SecretReference,
        cluster::{CLUSTER_DETACH, KUBECONFIG_KEY, NODES_SHOWN_MAX},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Condition: it answers.
const REACHABLE: &str = "Reachable";
/// Condition: each node is known to be a machine.
const NODES_LINKED: &str = "NodesLinked";
/// Condition: the site that it names is there. Absent while it is.
const LOCATION_FOUND: &str = "LocationFound";
/// Condition: no other Cluster of the namespace is the same. Absent while that is so.
const UNIQUE: &str = "Unique";
/// Nodes that a sentence names.
const NAMED_MAX: usize = 5;

/// Why there can be no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    reason: &'static str,
    message: String,
}

impl Trouble {
    pub(super) fn no_secret(secret: &SecretReference) -> Self {
        let SecretReference { namespace, name } = secret;
        let message = format!(
            "Secret {namespace}/{name} is not there, or has no key {KUBECONFIG_KEY}; create it with kubectl create secret \
             generic {name} -n {namespace} --from-file={KUBECONFIG_KEY}=FILE"
        );
        Self { reason: "SecretNotFound", message }
    }

    pub(super) fn unusable(why: String) -> Self {
        let message = format!("its kubeconfig cannot be used: {why}");
        Self { reason: "KubeconfigInvalid", message }
    }
}

/// What was seen of a cluster.
pub(super) struct Seen {
    pub(super) heard: Heard,
    /// How long nothing was heard of it.
    pub(super) silent: Duration,
    pub(super) nodes: Option<BTreeMap<String, Node>>,
    pub(super) links: Arc<BTreeMap<String, Link>>,
    pub(super) trouble: Option<Trouble>,
    /// Workloads that are there.
    pub(super) workloads: u32,
    /// The Site that it names and that is not there.
    pub(super) site_missing: Option<String>,
    /// Another Cluster that is the same cluster.
    pub(super) twin: Option<String>,
    pub(super) now: Time,
}

impl Seen {
    fn answers(&self) -> bool {
        self.trouble.is_none() && self.heard.last.is_some() && self.heard.failed.is_none()
    }
}

/// What its status says.
pub(super) fn status(cluster: &Cluster, seen: &Seen) -> ClusterStatus {
    let before = &cluster.status;
    let phase = phase(cluster, seen);
    let nodes = seen.nodes.as_ref().map_or_else(|| before.nodes.clone(), |all| nodes(all, seen));
    let heard_now = Time::seconds(seen.now.timestamp());
    let last_seen = match (seen.answers(), phase == before.phase) {
        (true, false) => Some(heard_now),
        (true, true) => before.last_seen.or(Some(heard_now)),
        // Nobody knew that it would be the last time; it is worked out when it is written.
        (false, false) => jiff::SignedDuration::try_from(seen.silent)
            .ok()
            .filter(|_| seen.heard.last.is_some())
            .and_then(|silent| seen.now.timestamp().checked_sub(silent).ok())
            .map(Time::seconds)
            .or(before.last_seen),
        (false, true) => before.last_seen,
    };
    let mut status = ClusterStatus {
        observed_generation: cluster.metadata.generation,
        phase,
        version: seen.heard.version.clone().or_else(|| before.version.clone()),
        cluster_id: seen.heard.id.clone().or_else(|| before.cluster_id.clone()),
        last_seen,
        nodes,
        workloads: seen.workloads,
        conditions: before.conditions.clone(),
    };
    let mut says = vec![
        (REACHABLE, Some(is_reachable(cluster, seen, phase))),
        (NODES_LINKED, Some(are_linked(seen))),
    ];
    says.push((
        LOCATION_FOUND,
        seen.site_missing.as_ref().map(|site| {
            let message = format!("spec.location.site names Site {site}, which does not exist; create it, or correct the name.");
            (ConditionStatus::False, "SiteNotFound", message)
        }),
    ));
    says.push((
        UNIQUE,
        seen.twin.as_ref().map(|twin| {
            let message = format!("It is the same cluster as Cluster {twin}; a workload can be in one of them only. Delete one.");
            (ConditionStatus::False, "SameCluster", message)
        }),
    ));
    for (kind, said) in says {
        match said {
            Some((is, reason, message)) => {
                let said = Condition::new(kind, is, reason, message, seen.now);
                condition::set(&mut status.conditions, said);
            }
            None => status.conditions.retain(|condition| condition.kind != kind),
        }
    }
    status
}

/// A cluster is away only when nothing was heard of it for so long as it says: a question without an answer is none.
fn phase(cluster: &Cluster, seen: &Seen) -> ClusterPhase {
    let limit = cluster.spec.silence().as_std();
    if seen.silent > limit && !seen.answers() {
        return ClusterPhase::Unreachable;
    }
    if cluster.metadata.deletion_timestamp.is_some() {
        return ClusterPhase::Leaving;
    }
    match (seen.answers(), cluster.status.phase) {
        (true, _) => ClusterPhase::Ready,
        (false, ClusterPhase::Leaving) => ClusterPhase::Pending,
        (false, before) => before,
    }
}

type Says = (ConditionStatus, &'static str, String);

fn is_reachable(cluster: &Cluster, seen: &Seen, phase: ClusterPhase) -> Says {
    if cluster.metadata.deletion_timestamp.is_some() {
        let (count, are) = match seen.workloads {
            1 => ("1 workload".to_owned(), "is"),
            count => (format!("{count} workloads"), "are"),
        };
        let message = format!(
            "It is to go, and {count} {are} there still; delete them, or take it out of their spec.placement.clusters. The \
             annotation {CLUSTER_DETACH} lets it go at once, and leaves in it what runs there."
        );
        return (ConditionStatus::Unknown, "Leaving", message);
    }
    if seen.answers() {
        let version = seen.heard.version.as_deref().unwrap_or("Kubernetes");
        return (ConditionStatus::True, "Answers", format!("{version} answers."));
    }
    let (reason, why) = match (&seen.trouble, &seen.heard.failed) {
        (Some(Trouble { reason, message }), _) => (*reason, message.clone()),
        (None, Some(why)) => ("NoAnswer", why.clone()),
        (None, None) => ("NotAskedYet", "it was not asked yet".to_owned()),
    };
    let message = match phase {
        ClusterPhase::Unreachable => format!(
            "Nothing was heard of it for more than {}: {why}. What runs there goes on, as far as anybody knows; nothing is \
             started elsewhere.",
            cluster.spec.silence()
        ),
        _ => format!("It does not answer now: {why}."),
    };
    let is = match phase {
        ClusterPhase::Unreachable => ConditionStatus::False,
        _ => ConditionStatus::Unknown,
    };
    (is, reason, message)
}

/// What is said of whether it is reachable.
pub(super) fn reachable(status: &ClusterStatus) -> String {
    condition::find(&status.conditions, REACHABLE).map(|it| it.message.clone()).unwrap_or_default()
}

fn nodes(all: &BTreeMap<String, Node>, seen: &Seen) -> ClusterNodes {
    let machine = |name: &String| match seen.links.get(name) {
        Some(Link::Machine(machine)) => Some(machine.clone()),
        _ => None,
    };
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let list = all.iter().take(NODES_SHOWN_MAX).map(|(name, node)| ClusterNode {
        name: name.clone(),
        ready: node.ready,
        machine: machine(name),
    });
    ClusterNodes {
        total: number(all.len()),
        ready: number(all.values().filter(|node| node.ready).count()),
        linked: number(all.keys().filter(|name| machine(name).is_some()).count()),
        list: list.collect(),
    }
}

fn are_linked(seen: &Seen) -> Says {
    let Some(all) = &seen.nodes else {
        let message = "Its nodes have not been listed; the plane's account there needs get, list and watch of nodes.";
        return (ConditionStatus::Unknown, "NotListed", message.into());
    };
    let of = |name: &String| seen.links.get(name).unwrap_or(&Link::Missing);
    let missing: Vec<&String> = all.keys().filter(|name| *of(name) == Link::Missing).collect();
    let ambiguous = all.keys().filter_map(|name| match of(name) {
        Link::Ambiguous(why) => Some(format!("{name} ({why})")),
        _ => None,
    });
    let ambiguous: Vec<String> = ambiguous.collect();
    let total = all.len();
    if missing.is_empty() && ambiguous.is_empty() {
        return (
            ConditionStatus::True,
            "AllLinked",
            format!("All {total} nodes are known machines."),
        );
    }
    let mut message = String::new();
    if !ambiguous.is_empty() {
        let count = ambiguous.len();
        message = format!("{count} of {total} nodes cannot be told apart: {}. ", first(&ambiguous));
    }
    if !missing.is_empty() {
        let count = missing.len();
        message.push_str(&format!(
            "{count} of {total} nodes are no known machine: {}. ",
            first(&missing)
        ));
    }
    message.push_str(
        "A node is found by its providerID (quarterdeck://NAMESPACE/MACHINE), its addresses, or its name; what runs on one \
         that is not found counts for its service, and not for any machine.",
    );
    let reason = if ambiguous.is_empty() { "Missing" } else { "Ambiguous" };
    (ConditionStatus::False, reason, message)
}

fn first(names: &[impl ToString]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let shown = shown.join(", ");
    if names.len() > NAMED_MAX { format!("{shown}, …") } else { shown }
}
