//! The API as `quarterdeck serve` runs it: real TLS on a loopback socket, in this process.

use crate::{Failure, client::Trust};
use quarterdeck_api::{Agents, Api, Audit, LogFile, Policy, Rules, pki};
use quarterdeck_store::Store;
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};

/// As a plane has it that was not told otherwise.
const SILENCE: Duration = Duration::from_secs(40);

/// A running API. Ends with the process.
pub(crate) struct Plane {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How it serves TLS, for peers that must do the same.
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// How to call it as an administrator.
    pub(crate) trust: Trust,
    /// Makes other callers.
    pub(crate) authority: Arc<pki::Authority>,
    _stop: watch::Sender<bool>,
}

impl Plane {
    /// Serves `store`; certificates go under `folder`.
    pub(crate) async fn start(store: Store, folder: &Path) -> Result<Self, Failure> {
        Self::with(store, folder, (None, false)).await
    }

    /// The same, to which agents connect.
    pub(crate) async fn with_agents(store: Store, folder: &Path) -> Result<Self, Failure> {
        Self::with(store, folder, (None, true)).await
    }

    /// The same with the audit log that a plane usually has, under `folder`.
    pub(crate) async fn audited(store: Store, folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("audit/audit.log");
        let file = LogFile { path, bytes_max: 100 * 1024 * 1024, files_max: 10 };
        let audit = Audit::open(Policy::usual()?, file)?;
        Self::with(store, folder, (Some(audit), false)).await
    }

    async fn with(
        store: Store,
        folder: &Path,
        (audit, agents): (Option<Audit>, bool),
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let authority = Arc::new(pki::Authority::open(&folder.join("pki"))?);
        let tls = pki::tls(&authority, &authority.server(address, &[])?)?;
        let trust = Trust::new(authority.certificate(), &authority.admin()?)?;
        let (stop, stopping) = watch::channel(false);
        let store = Arc::new(store);
        let mut api = Api::new(store.clone(), Rules::default(), stopping.clone());
        if agents {
            let reached = (address.to_string(), SILENCE);
            let agents = Agents::new(store, authority.clone(), None, reached, stopping);
            tokio::spawn(agents.clone().keep());
            api = api.with_agents(agents);
        }
        if let Some(audit) = audit {
            api = api.with_audit(Arc::new(audit));
        }
        api.bootstrap().await.map_err(|error| error.message)?;
        tokio::spawn(Arc::new(api).serve(listener, tls.clone()));
        Ok(Self { address, tls, trust, authority, _stop: stop })
    }
}
