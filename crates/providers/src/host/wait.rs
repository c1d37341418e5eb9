//! `host.wait`: waits until the operating system on a machine takes connections, which it does when it has been
//! installed and has started. It opens a TCP connection and closes it again.

use crate::{
    action::{Action, ActionContext, ActionError, Reason},
    http::Reach,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout},
};

/// How long one address gets to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Pause after the first try that failed; it grows with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Input of `host.wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// TCP port; that of SSH when left out.
    #[serde(default = "ssh")]
    pub port: u16,
    /// Name or address; the target's `spec.hostAddress` when left out.
    #[serde(default)]
    pub address: Option<String>,
}

const fn ssh() -> u16 {
    22
}

impl Input {
    /// The name or address that is meant.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] when neither the step nor the target has one.
    pub fn address(&self, context: &ActionContext) -> Result<String, ActionError> {
        let of_target = || {
            let target = context.target.as_ref()?;
            target.pointer("/spec/hostAddress").and_then(Value::as_str).map(str::to_owned)
        };
        self.address.clone().or_else(of_target).ok_or_else(|| {
            let message = "there is no address to wait for; give the step `address`, or the target spec.hostAddress";
            ActionError::permanent(Reason::InvalidInput, message)
        })
    }
}

/// Output of `host.wait`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The name or address that answered.
    pub address: String,
}

/// The action, on a real network.
pub struct HostWait {
    reach: Reach,
}

impl HostWait {
    pub(super) const fn new(reach: Reach) -> Self {
        Self { reach }
    }
}

impl Action for HostWait {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "host.wait";
    const SUMMARY: &'static str =
        "Waits until the operating system on a machine takes connections.";
    const TARGET_KINDS: &'static [&'static str] = &[];
    const EFFECTS: bool = false;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let address = input.address(context)?;
        let deadline = Instant::from_std(context.deadline);
        let mut pause = PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match timeout(left, dial(&address, input.port, self.reach.rule())).await {
                Ok(Ok(())) => return Ok(Output { address }),
                Ok(Err(Dial::Forbidden)) => return Err(forbidden(&address)),
                Ok(Err(Dial::Failed(error))) => error.to_string(),
                Err(_) => "it did not answer".to_owned(),
            };
            // It says so itself in time, rather than being stopped.
            if deadline.saturating_duration_since(Instant::now()) <= pause + CONNECT {
                return Err(silent(&address, input.port, &why));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Why nobody was met.
enum Dial {
    Failed(io::Error),
    Forbidden,
}

async fn dial(address: &str, port: u16, allowed: fn(&IpAddr) -> bool) -> Result<(), Dial> {
    let found = lookup_host((address, port)).await.map_err(Dial::Failed)?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    let mut last = Dial::Forbidden;
    for at in found.into_iter().filter(|at| allowed(&at.ip())) {
        last = match timeout(CONNECT, TcpStream::connect(at)).await {
            Ok(Ok(_connection)) => return Ok(()),
            Ok(Err(error)) => Dial::Failed(error),
            Err(_) => Dial::Failed(io::Error::from(io::ErrorKind::TimedOut)),
        };
    }
    Err(last)
}

/// Nobody took a connection in time.
#[must_use]
pub fn silent(address: &str, port: u16, why: &str) -> ActionError {
    let message = format!(
        "the operating system at {address} took no connection on port {port} in time ({why}); look at the server's console, and check spec.hostAddress"
    );
    ActionError::retryable(Reason::Timeout, message)
}

fn forbidden(address: &str) -> ActionError {
    let message = format!(
        "{address} is no address that runbooks may reach: it is on the plane's own machine or link, or serves a cloud's metadata"
    );
    ActionError::permanent(Reason::Forbidden, message)
}
