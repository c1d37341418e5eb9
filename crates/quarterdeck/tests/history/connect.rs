//! How clients reach the plane.

use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject},
};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::time::timeout;

/// Longest that an operation may take before its client gives it up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(6);

/// An address, and who one is there.
#[derive(Clone)]
pub(crate) struct Door(Kubeconfig);

impl Door {
    pub(crate) fn new(kubeconfig: &Path, address: SocketAddr) -> Self {
        let mut kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
        cluster.server = Some(format!("https://{address}"));
        Self(kubeconfig)
    }

    /// A client with connections of its own, which repeats nothing by itself.
    pub(crate) async fn client(&self) -> Client {
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(self.0.clone(), &options).await.unwrap();
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = None;
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    /// Whether who answers there is ready, asked on a connection of its own.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let asked = http::Request::get("/readyz").body(Vec::new()).unwrap();
        let answer = timeout(PATIENCE, self.client().await.request_text(asked)).await;
        let answer = answer.map_err(|_| "it does not answer".to_owned())?;
        answer.map(|_| ()).map_err(|error| error.to_string())
    }

    pub(crate) async fn secrets(&self, namespace: &str) -> Api<DynamicObject> {
        let secret = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        Api::namespaced_with(self.client().await, namespace, &secret)
    }
}
