//! The API as `quarterdeck serve` runs it: real TLS on a loopback socket, in this process.

use crate::{Failure, client::Trust};
use quarterdeck_api::{Api, Audit, LogFile, Policy, Rules, pki};
use quarterdeck_store::Store;
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// A running API. Ends with the process.
pub(crate) struct Plane {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How it serves TLS, for peers that must do the same.
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// How to call it as an administrator.
    pub(crate) trust: Trust,
    /// Makes other callers.
    pub(crate) authority: pki::Authority,
    _stop: watch::Sender<bool>,
}

impl Plane {
    /// Serves `store`; certificates go under `folder`.
    pub(crate) async fn start(store: Store, folder: &Path) -> Result<Self, Failure> {
        Self::with(store, folder, None).await
    }

    /// The same with the audit log that a plane usually has, under `folder`.
    pub(crate) async fn audited(store: Store, folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("audit/audit.log");
        let file = LogFile { path, bytes_max: 100 * 1024 * 1024, files_max: 10 };
        Self::with(store, folder, Some(Audit::open(Policy::usual()?, file)?)).await
    }

    async fn with(store: Store, folder: &Path, audit: Option<Audit>) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let authority = pki::Authority::open(&folder.join("pki"))?;
        let tls = pki::tls(&authority, &authority.server(address, &[])?)?;
        let trust = Trust::new(authority.certificate(), &authority.admin()?)?;
        let (stop, stopping) = watch::channel(false);
        let mut api = Api::new(Arc::new(store), Rules::default(), stopping);
        if let Some(audit) = audit {
            api = api.with_audit(Arc::new(audit));
        }
        api.bootstrap().await.map_err(|error| error.message)?;
        tokio::spawn(Arc::new(api).serve(listener, tls.clone()));
        Ok(Self { address, tls, trust, authority, _stop: stop })
    }
}
