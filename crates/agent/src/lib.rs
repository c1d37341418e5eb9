//! The agent on a machine: joins with a one-time token, holds one stream to the plane, says that the machine lives, what it
//! is and how it is, and does what the plane asks of it.
//!
//! It must not know the store, the API or the engine: it speaks frames of `quarterdeck_model::agent` and nothing else. The
//! plane is its only source of orders. What it was told to keep running it keeps running while the plane is away.
//!
//! Start reading at [`run`], then `session` (one stream), `tasks` (what is asked of it), `people` (who listens to its
//! containers), `host` (what the machine is and how), `identity` and `folder` (who it is).

mod connect;
pub mod containers;
mod error;
mod folder;
mod host;
mod identity;
mod instances;
mod pause;
mod people;
mod session;
mod start;
mod tasks;

pub use error::AgentError;
pub use instances::ContainerSettings;

use connect::Plane;
use folder::Folder;
use host::Host;
use identity::{Identity, Joining};
use pause::Pause;
use people::People;
use session::{Ended, Session};
use start::Start;
use std::{path::PathBuf, sync::Arc};
use tasks::Tasks;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

/// How often in a row the plane may say that it does not know the agent, before that is believed.
const REFUSED_MAX: u32 = 4;

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own folder.
    pub data_dir: PathBuf,
    /// Where the plane is, as `https://HOST:PORT`. As it was when the agent joined, if not set.
    pub server: Option<String>,
    /// The certificate of the plane's authority. The same.
    pub ca_file: Option<PathBuf>,
    /// The token with which it joins. Not needed once it has joined; used again when the plane refuses what it has.
    pub join_token_file: Option<PathBuf>,
    /// Where the host's files are; `/` but in a container.
    pub root: PathBuf,
    /// What restarts the operating system.
    pub reboot_command: Vec<String>,
    /// Where the container engine is heard, and what containers may do.
    pub containers: ContainerSettings,
}

/// Runs the agent until `stop` turns true, or it can do nothing any more.
///
/// # Errors
/// What is wrong, and what to do about it.
pub async fn run(settings: Settings, mut stop: watch::Receiver<bool>) -> Result<(), AgentError> {
    let folder = Folder::open(&settings.data_dir)?;
    let host = Arc::new(Host::new(&settings.root));
    let plane = Plane::of(&folder, &settings)?;
    let mut identity = match Identity::of(&folder)? {
        Some(identity) => {
            identity.check_token(settings.join_token_file.as_deref())?;
            identity
        }
        None => {
            let joining = Joining::prepare(&folder, settings.join_token_file.as_deref())?;
            tokio::select! {
                joined = joining.join(&folder, &plane) => joined?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    };
    plane.keep(&folder)?;
    info!(machine = identity.machine(), plane = plane.address(), "the agent has joined");
    let containers = Arc::new(settings.containers.open(&folder, identity.uid())?);
    let people = People::default();
    let tasks = Tasks::open(&folder, host.clone(), &settings)?;
    let (mut pause, mut refused, start) = (Pause::default(), 0, Start::new());
    loop {
        let session = Session {
            plane: &plane,
            host: &host,
            tasks: &tasks,
            containers: &containers,
            people: &people,
            folder: &folder,
            start: &start,
        };
        let ended = tokio::select! {
            ended = session.run(&mut identity) => ended,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let why = match ended {
            Ended::Renewed => {
                info!("the agent has a new certificate");
                continue;
            }
            // A replica that is behind may not know a machine yet that another knows.
            Ended::ForGood(why) => {
                refused += 1;
                if refused == REFUSED_MAX {
                    let token = settings.join_token_file.as_deref();
                    let next = tokio::select! {
                        next = identity.join_anew(&folder, &plane, (token, &why)) => next?,
                        _ = stop.wait_for(|stop| *stop) => return Ok(()),
                    };
                    info!(machine = next.machine(), "the agent has joined anew");
                    // What it keeps, and what runs on the host, is of the machine that is gone.
                    if next.uid() != identity.uid() {
                        return Err(AgentError::AnotherMachine(next.machine()));
                    }
                    (identity, refused, pause) = (next, 0, Pause::default());
                    continue;
                }
                why
            }
            Ended::Lost { why, served } => {
                if let Some(spread) = served {
                    pause.begin_anew(spread);
                    refused = 0;
                }
                why
            }
        };
        let pause = pause.next();
        warn!(why, ?pause, "the agent is not connected to the plane; it tries again");
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}
