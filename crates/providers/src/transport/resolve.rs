//! Turns host names into addresses, leaving out those a caller must not reach.
//!
//! The check is made on the very addresses that are then dialled, so a name that changes its
//! address between a check and a connection gains nothing. IP literals do not pass through here:
//! hyper dials them directly, so a caller with a restriction checks them itself.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::http::Reach;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Most addresses tried for one name.
const MAX_ADDRESSES: usize = 8;

/// All addresses of a name are out of reach.
#[derive(Debug, thiserror::Error)]
#[error("{name} has no address that may be reached")]
pub(crate) struct OutOfReach {
    name: String,
}

/// Turns names into those of their addresses that may be reached. Addresses themselves do not pass through it: ask
/// [`Reach::forbids`].
#[derive(Debug, Clone)]
pub struct Resolver {
    pub(crate) allowed: fn(&IpAddr) -> bool,
}

impl Resolver {
    /// One that is kept to `reach`.
    #[must_use]
    pub fn of(reach: Reach) -> Self {
        Self { allowed: reach.rule() }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allowed = self.allowed;
        Box::pin(async move {
            // The port is put in by the connector.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // A name without any address is told by the lookup itself.
            let addresses: Vec<SocketAddr> =
                found.filter(|address| allowed(&address.ip())).take(MAX_ADDRESSES).collect();
            if addresses.is_empty() {
                let name = name.as_str().to_owned();
                let error = OutOfReach { name };
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, error));
            }
            Ok(addresses.into_iter())
        })
    }
}
