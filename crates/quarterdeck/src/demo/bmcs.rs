//! The BMCs of the fleet on the network: they listen before the plane acts, and are known by an authority of the demo's
//! own, which lives in its folder and whose certificate is a Secret.

use crate::{command::Error, serve::refused};
use quarterdeck_api::{Api, pki};
use quarterdeck_model::{Kind as _, kinds::Secret};
use quarterdeck_sim::{Fleet, Simulation};
use quarterdeck_sim_redfish::{Authority, listen, serve};
use serde_json::json;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};
use tokio::net::TcpListener;

/// Where the authority's certificate and key are, in the folder of the demo.
const AUTHORITY: &str = "bmc-pki";

/// BMCs that are about to be served.
pub(super) struct Bmcs {
    listener: TcpListener,
    simulation: Simulation,
    authority: Authority,
    certificate: String,
}

/// Whether BMCs can be served at that port.
pub(super) fn try_listening(port: u16) -> Result<(), Error> {
    bind(port).map(drop)
}

fn bind(port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    listen(port).map_err(|cause| Error::Bmcs { address, cause })
}

impl Bmcs {
    pub(super) fn prepare(
        port: u16,
        folder: &Path,
        simulation: &Simulation,
    ) -> Result<Self, Error> {
        let listener = bind(port)?;
        let kept = pki::Authority::open(&folder.join(AUTHORITY))?;
        let certificate = kept.certificate().to_owned();
        let authority = Authority::of(&certificate, kept.key())
            .map_err(|error| pki::PkiError::Make(error.to_string()))?;
        Ok(Self { listener, simulation: simulation.clone(), authority, certificate })
    }

    /// Serves them from now on, and has the plane know their authority.
    pub(super) async fn serve(self, api: &Api) -> Result<(), Error> {
        let (namespace, name) = Fleet::AUTHORITY;
        let secret = json!({
            "apiVersion": Secret::info().api_version(),
            "kind": Secret::KIND,
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {"ca.crt": self.certificate},
        });
        let made = api.ensure(secret.clone()).await;
        made.map_err(|cause| refused("the simulated fleet", &secret, cause))?;
        tokio::spawn(serve(self.listener, self.simulation, self.authority));
        Ok(())
    }
}
