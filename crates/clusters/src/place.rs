//! A cluster while it is looked after: one connection, watches that keep what is seen up to date, a question every few
//! seconds whether it still answers, and what is applied there. It ends with the value: nothing goes on without it.

use crate::{
    Credentials, MANAGER,
    deployment::WORKLOAD,
    error::ClusterError,
    node::Node,
    pod::Pod,
    seen::{Deployments, Heard, News, Nodes, PodsOf, Seen, Watched},
};
use futures_util::StreamExt as _;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioExecutor,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{self, Namespace},
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    client::{Body, ClientBuilder, ConfigExt as _},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use quarterdeck_providers::http::{Reach, Resolver};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tower::{BoxError, ServiceExt as _};
use tracing::debug;

/// How often a cluster is asked whether it answers.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, and all that one request of a watch may say, which is begun anew every five minutes: a page of 500 pods has
/// some megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long an answer may take; watches have limits of their own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A watch may fail for so long, as when an API server starts, before the cluster counts as one that does not answer: what is
/// seen of it is not so any more.
const WATCH_FAILS_MAX: Duration = Duration::from_secs(30);
/// After so many questions without an answer, what is watched may have been lost silently: it is listed anew.
const LISTED_ANEW_AFTER: u32 = 2;
/// The namespace that every cluster has: its identity is the cluster's.
const SYSTEM: &str = "kube-system";

/// Who is told of news. It must not wait.
type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// A cluster while it is looked after.
pub struct Place {
    client: Client,
    namespace: String,
    fingerprint: [u8; 32],
    seen: Arc<Seen>,
    /// Its end is theirs.
    _work: JoinSet<()>,
}

/// How something is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// Only to see what would become of it.
    pub dry_run: bool,
    /// Also what others manage.
    pub force: bool,
}

impl Place {
    /// Begins to look after a cluster, and at a namespace in it.
    ///
    /// # Errors
    /// Why no connection can be made with these credentials.
    pub fn open(
        credentials: &Credentials,
        namespace: &str,
        tell: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Self, ClusterError> {
        let client = client(&credentials.config, credentials.reach)?;
        let seen = Arc::<Seen>::default();
        let mut work = JoinSet::new();
        let looked_after = LookedAfter {
            client: client.clone(),
            namespace: namespace.to_owned(),
            seen: seen.clone(),
            tell: Arc::new(tell),
        };
        work.spawn(looked_after.run());
        let fingerprint = credentials.fingerprint();
        Ok(Self { client, namespace: namespace.to_owned(), fingerprint, seen, _work: work })
    }

    /// The credentials it was opened with, as their fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whether it answers.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.seen.heard()
    }

    /// Its nodes; nothing while not all have come.
    #[must_use]
    pub fn nodes(&self) -> Option<BTreeMap<String, Node>> {
        self.seen.nodes()
    }

    /// The pods of a workload, by name; nothing while not all have come.
    #[must_use]
    pub fn pods(&self, workload: &str) -> Option<BTreeMap<String, Pod>> {
        self.seen.pods(workload)
    }

    /// The Deployment of a workload, if there is one; nothing while not all have come.
    #[must_use]
    pub fn deployment(&self, workload: &str) -> Option<Option<Arc<Deployment>>> {
        self.seen.deployment(workload)
    }

    /// Applies a Deployment (server-side apply), into a namespace that is made when it is not there. Answers what became of
    /// it, or what would.
    ///
    /// # Errors
    /// Why it was not applied.
    pub async fn apply(
        &self,
        name: &str,
        body: &Value,
        how: How,
    ) -> Result<Deployment, ClusterError> {
        let parameters = PatchParams {
            dry_run: how.dry_run,
            force: how.force,
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let apply = async || within(api.patch(name, &parameters, &Patch::Apply(body))).await;
        let mut applied = apply().await;
        if let Err(ClusterError::NotFound(_)) = applied {
            self.make_namespace().await?;
            applied = apply().await;
        }
        let applied = applied?;
        if !how.dry_run {
            self.seen.wrote(applied.clone());
        }
        Ok(applied)
    }

    /// The Deployment of that name, whether or not it is of a workload.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub async fn get(&self, name: &str) -> Result<Option<Deployment>, ClusterError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        within(api.get_opt(name)).await
    }

    /// Removes a Deployment, and its pods with it, if it is still the one with that identity.
    ///
    /// # Errors
    /// Why it was not removed; that it is gone is none.
    pub async fn remove(&self, name: &str, uid: &str) -> Result<(), ClusterError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams::background().preconditions(preconditions);
        match within(api.delete(name, &parameters)).await {
            Ok(_) | Err(ClusterError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn make_namespace(&self) -> Result<(), ClusterError> {
        let namespace = json!({"metadata": {
            "name": self.namespace, "labels": {"app.kubernetes.io/managed-by": MANAGER}}});
        let namespace: Namespace = serde_json::from_value(namespace)
            .map_err(|error| ClusterError::Invalid(error.to_string()))?;
        let api: Api<Namespace> = Api::all(self.client.clone());
        let made = within(api.create(&PostParams::default(), &namespace)).await;
        made.map(|_| ()).map_err(|error| match error {
            ClusterError::Forbidden(why) => ClusterError::Forbidden(format!(
                "namespace {} is not there, and it cannot be made: {why}",
                self.namespace
            )),
            other => other,
        })
    }
}

fn client(config: &Config, reach: Reach) -> Result<Client, ClusterError> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::of(reach));
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service: Hyper<_, Body> = Hyper::builder(TokioExecutor::new()).build(connector);
    // Answers are taken in whole, and so are lines of watches.
    let bounded =
        |answer: http::Response<Incoming>| answer.map(|body| Limited::new(body, ANSWER_BYTES_MAX));
    let service = service.map_response(bounded).map_err(BoxError::from);
    let client = ClientBuilder::new(service, config.default_namespace.clone());
    let at = config.base_uri_layer();
    Ok(match config.auth_layer()? {
        Some(auth) => client.with_layer(&auth).with_layer(&at).build(),
        None => client.with_layer(&at).build(),
    })
}

async fn within<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ClusterError> {
    match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(ClusterError::Away(format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()))),
    }
}

/// What keeps a cluster's [`Seen`] up to date.
struct LookedAfter {
    client: Client,
    namespace: String,
    seen: Arc<Seen>,
    tell: Tell,
}

impl LookedAfter {
    async fn run(self) {
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watches = JoinSet::new();
        let mut silent = LISTED_ANEW_AFTER;
        let mut known = false;
        loop {
            ticks.tick().await;
            let answer = self.ask().await;
            if answer.is_ok() {
                if silent >= LISTED_ANEW_AFTER {
                    watches.shutdown().await;
                    self.watch(&mut watches);
                    known = false;
                }
                silent = 0;
                if !known {
                    known = self.learn().await;
                }
            } else {
                silent = silent.saturating_add(1);
            }
            let answer = answer.map_err(|error| error.to_string());
            let answer = answer.and_then(|()| match self.seen.failing(WATCH_FAILS_MAX) {
                Some(why) => Err(why),
                None => Ok(()),
            });
            if self.seen.hear(answer) {
                (self.tell)(News::Heard);
            }
        }
    }

    /// Whether it answers, and lets the plane do what it needs most.
    async fn ask(&self) -> Result<(), ClusterError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let one = ListParams::default().labels(WORKLOAD).limit(1);
        within(api.list_metadata(&one)).await.map(|_| ())
    }

    /// Learns what it is; answers whether that is known now.
    async fn learn(&self) -> bool {
        let version = within(self.client.apiserver_version()).await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        // Not every account may read that; without it, one cluster under two names is not noticed.
        let system = within(namespaces.get_metadata(SYSTEM)).await;
        let known = version.is_ok();
        let id = system.ok().and_then(|system| system.metadata.uid);
        let bounded = |text: String| crate::error::cut(&text);
        if self.seen.is(version.ok().map(|it| bounded(it.git_version)), id.map(bounded)) {
            (self.tell)(News::Heard);
        }
        known
    }

    fn watch(&self, watches: &mut JoinSet<()>) {
        let client = || self.client.clone();
        let own = watcher::Config::default().labels(WORKLOAD);
        let nodes: Api<v1::Node> = Api::all(client());
        let pods: Api<v1::Pod> = Api::namespaced(client(), &self.namespace);
        let deployments: Api<Deployment> = Api::namespaced(client(), &self.namespace);
        let to = || (self.seen.clone(), self.tell.clone());
        self.seen.begins_to_watch();
        watches.spawn(follow(nodes, watcher::Config::default(), Nodes::default(), to()));
        watches.spawn(follow(pods, own.clone(), PodsOf::default(), to()));
        watches.spawn(follow(deployments, own, Deployments::default(), to()));
    }
}

/// Follows what is watched. A watch that fails is begun anew, after a pause that doubles.
async fn follow<W: Watched>(
    api: Api<W::Object>,
    config: watcher::Config,
    mut watched: W,
    (seen, tell): (Arc<Seen>, Tell),
) where
    W::Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // Each try begins with that, also one that fails.
                if !matches!(event, Event::Init) {
                    seen.works(W::OF);
                }
                watched.take(&seen, event).into_iter().for_each(|news| tell(news));
            }
            Err(error) => {
                debug!(%error, "a watch of a cluster is begun anew");
                seen.fails(W::OF, &error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    /// A cluster that answers everything with an empty list of so many bytes.
    async fn answering(bytes: usize) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let (begin, end) = (r#"{"metadata":{"continue":""#, r#""},"items":[]}"#);
                    let filler = vec![b'a'; bytes - begin.len() - end.len()];
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n{begin}"
                    );
                    for part in [head.as_bytes(), &filler, end.as_bytes()] {
                        // Who takes no more is gone.
                        let _ = stream.write_all(part).await;
                    }
                });
            }
        });
        client(&Config::new(url.parse().unwrap()), Reach::NetworkAndLoopback).unwrap()
    }

    #[tokio::test]
    async fn no_answer_is_larger_than_what_may_be_held() {
        let ask = async |bytes| {
            let api: Api<Deployment> = Api::namespaced(answering(bytes).await, "shop");
            within(api.list(&ListParams::default())).await
        };
        assert!(ask(1 << 20).await.unwrap().items.is_empty());
        let error = ask(ANSWER_BYTES_MAX + 1).await.unwrap_err().to_string();
        assert!(error.contains("length limit exceeded"), "{error}");
    }
}
