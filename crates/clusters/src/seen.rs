//! What is seen of a cluster, in memory: nodes, and the pods and Deployments of the plane's workloads. It is whole or it is
//! not there: what is listed anew takes the place of what was there once all of it has come.

use crate::{deployment::WORKLOAD, error::cut, node::Node, pod::Pod};
use k8s_openapi::api::{apps::v1::Deployment, core::v1};
use kube::runtime::watcher::Event;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Most nodes of a cluster that are kept: twice as many as Kubernetes is made for. More of them are not seen.
const NODES_MAX: usize = 10_000;
/// Most pods of the plane's workloads in a cluster that are kept: what Kubernetes is made for, and a half.
const PODS_MAX: usize = 225_000;
/// Most Deployments of these.
const DEPLOYMENTS_MAX: usize = 10_000;

/// What there is news of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Whether it answers, or what it is.
    Heard,
    /// Its nodes.
    Nodes,
    /// The workload of that name.
    Workload(String),
}

/// Whether a cluster answers.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// When it answered last.
    pub last: Option<Instant>,
    /// Why it did not, since then.
    pub failed: Option<String>,
    /// Its Kubernetes.
    pub version: Option<String>,
    /// Identity of the cluster itself.
    pub id: Option<String>,
}

/// The pods of each workload, by name.
pub(crate) type Pods = HashMap<String, BTreeMap<String, Pod>>;

#[derive(Debug, Default)]
struct Inner {
    heard: Heard,
    nodes: Option<BTreeMap<String, Node>>,
    pods: Option<Pods>,
    deployments: Option<HashMap<String, Arc<Deployment>>>,
    /// Watches that fail: of what, since when, and why.
    failing: BTreeMap<&'static str, (Instant, String)>,
}

/// What is seen of a cluster.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Inner>);

impl Seen {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one insertion, removal or exchange, so a poisoned lock guards something good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heard(&self) -> Heard {
        self.inner().heard.clone()
    }

    /// Notes that it answered, or why not; answers whether that is new.
    pub(crate) fn hear(&self, answer: Result<(), String>) -> bool {
        let mut inner = self.inner();
        let heard = &mut inner.heard;
        match answer {
            Ok(()) => {
                let news = heard.last.is_none() || heard.failed.is_some();
                heard.last = Some(Instant::now());
                heard.failed = None;
                news
            }
            Err(why) => {
                let news = heard.failed.as_ref() != Some(&why);
                heard.failed = Some(why);
                news
            }
        }
    }

    /// Notes that a watch works.
    pub(crate) fn works(&self, what: &'static str) {
        self.inner().failing.remove(what);
    }

    /// Notes why one does not.
    pub(crate) fn fails(&self, what: &'static str, why: &str) {
        let mut inner = self.inner();
        let (_, said) =
            inner.failing.entry(what).or_insert_with(|| (Instant::now(), String::new()));
        *said = cut(why);
    }

    /// All watches are begun anew.
    pub(crate) fn begins_to_watch(&self) {
        self.inner().failing.clear();
    }

    /// What has failed to be watched for so long. Nodes may: their account may not see them, and nothing is decided on them alone.
    pub(crate) fn failing(&self, for_long: Duration) -> Option<String> {
        let inner = self.inner();
        let failing = inner.failing.iter().filter(|(what, _)| **what != Nodes::OF);
        let mut failing = failing.filter(|(_, (since, _))| since.elapsed() >= for_long);
        failing.next().map(|(what, (_, why))| format!("its {what} cannot be watched: {why}"))
    }

    /// Notes what it is; answers whether that is new.
    pub(crate) fn is(&self, version: Option<String>, id: Option<String>) -> bool {
        let mut inner = self.inner();
        let heard = &mut inner.heard;
        let (version, id) =
            (version.or_else(|| heard.version.clone()), id.or_else(|| heard.id.clone()));
        let news = (&heard.version, &heard.id) != (&version, &id);
        (heard.version, heard.id) = (version, id);
        news
    }

    pub(crate) fn nodes(&self) -> Option<BTreeMap<String, Node>> {
        self.inner().nodes.clone()
    }

    /// The pods of a workload; nothing while not all have come.
    pub(crate) fn pods(&self, workload: &str) -> Option<BTreeMap<String, Pod>> {
        self.inner().pods.as_ref().map(|pods| pods.get(workload).cloned().unwrap_or_default())
    }

    /// The Deployment of a workload, if there is one; nothing while not all have come.
    pub(crate) fn deployment(&self, workload: &str) -> Option<Option<Arc<Deployment>>> {
        self.inner().deployments.as_ref().map(|all| all.get(workload).cloned())
    }

    /// Takes a Deployment in that was written just now, unless a newer one has come meanwhile.
    pub(crate) fn wrote(&self, deployment: Deployment) {
        let name = deployment.metadata.name.clone().unwrap_or_default();
        if let Some(all) = &mut self.inner().deployments {
            let version = |it: &Deployment| {
                it.metadata.resource_version.as_ref().and_then(|it| it.parse::<u64>().ok())
            };
            if all.get(&name).is_none_or(|known| version(known) < version(&deployment)) {
                all.insert(name, Arc::new(deployment));
            }
        }
    }
}

/// What comes of a watch: gathered while all is listed, then kept up.
pub(crate) trait Watched: Send {
    type Object;
    /// What is watched, in the plural.
    const OF: &'static str;

    /// Takes in what came; tells what is news.
    fn take(&mut self, seen: &Seen, event: Event<Self::Object>) -> Vec<News>;
}

/// Nodes.
#[derive(Default)]
pub(crate) struct Nodes(BTreeMap<String, Node>);

impl Watched for Nodes {
    type Object = v1::Node;
    const OF: &'static str = "nodes";

    fn take(&mut self, seen: &Seen, event: Event<v1::Node>) -> Vec<News> {
        let read = |node: &v1::Node| Some((cut(node.metadata.name.as_deref()?), Node::of(node)));
        let mut inner = seen.inner();
        let news = match event {
            Event::Init => {
                self.0.clear();
                false
            }
            Event::InitApply(node) => {
                if self.0.len() < NODES_MAX {
                    self.0.extend(read(&node));
                }
                false
            }
            Event::InitDone => {
                let all = Some(std::mem::take(&mut self.0));
                let news = inner.nodes != all;
                inner.nodes = all;
                news
            }
            Event::Apply(node) => match (read(&node), &mut inner.nodes) {
                (Some((name, node)), Some(all)) => {
                    let room = all.len() < NODES_MAX || all.contains_key(&name);
                    room && all.insert(name, node.clone()) != Some(node)
                }
                _ => false,
            },
            Event::Delete(node) => {
                let name = cut(&node.metadata.name.unwrap_or_default());
                inner.nodes.as_mut().is_some_and(|all| all.remove(&name).is_some())
            }
        };
        Vec::from_iter(news.then_some(News::Nodes))
    }
}

/// Pods of workloads.
#[derive(Default)]
pub(crate) struct PodsOf {
    listed: Pods,
    count: usize,
}

impl Watched for PodsOf {
    type Object = v1::Pod;
    const OF: &'static str = "pods";

    fn take(&mut self, seen: &Seen, event: Event<v1::Pod>) -> Vec<News> {
        let read = |pod: &v1::Pod| Some((cut(pod.metadata.name.as_deref()?), Pod::of(pod)?));
        let mut inner = seen.inner();
        match event {
            Event::Init => {
                (self.listed, self.count) = (Pods::new(), 0);
                Vec::new()
            }
            Event::InitApply(pod) => {
                if let Some((name, pod)) = read(&pod).filter(|_| self.count < PODS_MAX) {
                    self.count += 1;
                    self.listed.entry(pod.workload.clone()).or_default().insert(name, pod);
                }
                Vec::new()
            }
            Event::InitDone => {
                let all = std::mem::take(&mut self.listed);
                let before = inner.pods.replace(all.clone()).unwrap_or_default();
                let those = all.keys().chain(before.keys().filter(|it| !all.contains_key(*it)));
                those
                    .filter(|it| all.get(*it) != before.get(*it))
                    .cloned()
                    .map(News::Workload)
                    .collect()
            }
            Event::Apply(pod) => {
                let (Some((name, pod)), Some(all)) = (read(&pod), &mut inner.pods) else {
                    return Vec::new();
                };
                let workload = pod.workload.clone();
                let before = all.entry(workload.clone()).or_default();
                if !before.contains_key(&name) {
                    if self.count >= PODS_MAX {
                        return Vec::new();
                    }
                    self.count += 1;
                }
                let news = before.insert(name, pod.clone()) != Some(pod);
                Vec::from_iter(news.then_some(News::Workload(workload)))
            }
            Event::Delete(pod) => {
                let (Some((name, pod)), Some(all)) = (read(&pod), &mut inner.pods) else {
                    return Vec::new();
                };
                let gone = all.get_mut(&pod.workload).and_then(|those| those.remove(&name));
                if gone.is_some() {
                    self.count = self.count.saturating_sub(1);
                }
                if all.get(&pod.workload).is_some_and(BTreeMap::is_empty) {
                    all.remove(&pod.workload);
                }
                Vec::from_iter(gone.map(|_| News::Workload(pod.workload)))
            }
        }
    }
}

/// Deployments of workloads: each has the name of its workload.
#[derive(Default)]
pub(crate) struct Deployments(HashMap<String, Arc<Deployment>>);

impl Watched for Deployments {
    type Object = Deployment;
    const OF: &'static str = "Deployments";

    fn take(&mut self, seen: &Seen, event: Event<Deployment>) -> Vec<News> {
        let name = |of: &Deployment| {
            let name = of.metadata.name.clone()?;
            let label = of.metadata.labels.as_ref().and_then(|labels| labels.get(WORKLOAD));
            (label == Some(&name)).then_some(name)
        };
        let mut inner = seen.inner();
        let news = match event {
            Event::Init => {
                self.0.clear();
                return Vec::new();
            }
            Event::InitApply(deployment) => {
                if let Some(name) = name(&deployment).filter(|_| self.0.len() < DEPLOYMENTS_MAX) {
                    self.0.insert(name, Arc::new(deployment));
                }
                return Vec::new();
            }
            Event::InitDone => {
                let all = std::mem::take(&mut self.0);
                let before = inner.deployments.replace(all).unwrap_or_default();
                let now = inner.deployments.iter().flat_map(HashMap::keys);
                let mut those: Vec<String> = now.chain(before.keys()).cloned().collect();
                those.sort_unstable();
                those.dedup();
                return those.into_iter().map(News::Workload).collect();
            }
            Event::Apply(deployment) => {
                let (Some(name), Some(all)) = (name(&deployment), &mut inner.deployments) else {
                    return Vec::new();
                };
                if all.len() >= DEPLOYMENTS_MAX && !all.contains_key(&name) {
                    return Vec::new();
                }
                all.insert(name.clone(), Arc::new(deployment));
                Some(name)
            }
            // One whose label was taken off is gone as far as the watch can see, and so it is told.
            Event::Delete(deployment) => {
                let name = deployment.metadata.name.unwrap_or_default();
                let all = inner.deployments.as_mut();
                all.and_then(|all| all.remove(&name)).map(|_| name)
            }
        };
        news.map(News::Workload).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, workload: &str, phase: &str) -> v1::Pod {
        let labels = json!({WORKLOAD: workload});
        read(
            json!({"metadata": {"name": name, "uid": name, "labels": labels}, "status": {"phase": phase}}),
        )
    }

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_there_once_it_is_whole() {
        let (seen, mut pods) = (Seen::default(), PodsOf::default());
        let mut take = |event| pods.take(&seen, event);
        assert_eq!(seen.pods("web"), None);
        take(Event::Init);
        take(Event::InitApply(pod("a", "web", "Pending")));
        take(Event::InitApply(pod("b", "api", "Pending")));
        assert_eq!(seen.pods("web"), None);
        assert_eq!(take(Event::InitDone).len(), 2);
        assert_eq!(seen.pods("web").unwrap().len(), 1);
        assert_eq!(seen.pods("other").unwrap().len(), 0);
        let news = News::Workload("web".into());
        assert_eq!(take(Event::Apply(pod("a", "web", "Pending"))), []);
        assert_eq!(take(Event::Apply(pod("a", "web", "Running"))), std::slice::from_ref(&news));
        take(Event::Init);
        take(Event::InitApply(pod("b", "api", "Pending")));
        assert_eq!(seen.pods("web").unwrap().len(), 1, "until all have come");
        assert_eq!(take(Event::InitDone), [news]);
        assert_eq!(seen.pods("web").unwrap().len(), 0);
        assert_eq!(take(Event::Delete(pod("b", "api", "Pending"))), [News::Workload("api".into())]);
        assert_eq!(take(Event::Delete(pod("b", "api", "Pending"))), []);
    }

    #[test]
    fn nodes_tell_only_of_what_matters() {
        let (seen, mut nodes) = (Seen::default(), Nodes::default());
        let node = |ready: &str, beat: &str| -> v1::Node {
            let conditions = json!([{"type": "Ready", "status": ready, "lastHeartbeatTime": beat}]);
            read(json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}}))
        };
        let (one, two) = ("2026-11-02T08:00:00Z", "2026-11-02T08:01:00Z");
        nodes.take(&seen, Event::Init);
        nodes.take(&seen, Event::InitApply(node("True", one)));
        assert_eq!(nodes.take(&seen, Event::InitDone), [News::Nodes]);
        assert_eq!(nodes.take(&seen, Event::Apply(node("True", two))), []);
        assert_eq!(nodes.take(&seen, Event::Apply(node("False", two))), [News::Nodes]);
        assert_eq!(nodes.take(&seen, Event::Delete(node("False", two))), [News::Nodes]);
        assert_eq!(seen.nodes().unwrap().len(), 0);
    }

    #[test]
    fn what_was_written_is_known_before_the_watch_tells() {
        let (seen, mut all) = (Seen::default(), Deployments::default());
        let deployment = |version: &str| -> Deployment {
            let labels = json!({WORKLOAD: "web"});
            read(json!({"metadata": {"name": "web", "labels": labels, "resourceVersion": version}}))
        };
        let version = |seen: &Seen| {
            seen.deployment("web").flatten().and_then(|it| it.metadata.resource_version.clone())
        };
        seen.wrote(deployment("9"));
        assert_eq!(seen.deployment("web"), None);
        all.take(&seen, Event::Init);
        all.take(&seen, Event::InitDone);
        assert_eq!(seen.deployment("web"), Some(None));
        seen.wrote(deployment("10"));
        seen.wrote(deployment("9"));
        assert_eq!(version(&seen).as_deref(), Some("10"));
    }

    #[test]
    fn a_watch_that_fails_for_long_is_told_and_nodes_may_be_out_of_sight() {
        let seen = Seen::default();
        let told = || seen.failing(Duration::ZERO);
        seen.fails(Nodes::OF, "forbidden");
        assert_eq!(told(), None);
        seen.fails(PodsOf::OF, "no");
        seen.fails(PodsOf::OF, "forbidden");
        assert_eq!(told().as_deref(), Some("its pods cannot be watched: forbidden"));
        assert_eq!(seen.failing(Duration::from_secs(60)), None, "not for long");
        seen.works(PodsOf::OF);
        assert_eq!(told(), None);
        seen.fails(Deployments::OF, "no");
        seen.begins_to_watch();
        assert_eq!(told(), None);
    }

    #[test]
    fn an_answer_is_news_when_there_was_none() {
        let seen = Seen::default();
        assert!(seen.hear(Err("no".into())));
        assert!(!seen.hear(Err("no".into())));
        assert!(seen.hear(Ok(())) && !seen.hear(Ok(())));
        assert!(seen.hear(Err("no".into())));
        assert!(seen.heard().last.is_some());
        assert!(seen.is(Some("v1".into()), None) && !seen.is(None, None));
        assert_eq!(seen.heard().version.as_deref(), Some("v1"));
    }
}
