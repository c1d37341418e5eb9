//! What an agent takes of its host while ten containers run there and nothing changes, beside Docker's own daemon on the same host
//! in the same minute.

use crate::{
    Failure,
    host::Host,
    report::{Aim, Quantity, Row},
    served::{cpu, memory, quiet, resident},
};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep};

const CONTAINERS: usize = 10;
const LENGTH: Duration = Duration::from_secs(30);
const RESIDENT_MAX: f64 = 15e6;
/// Of one processor.
const CPU_MAX: f64 = 0.005;
const NAME: &str = "idle";

/// Docker's daemon: `dockerd`, and the `containerd` that it has started.
struct Daemon(Vec<u32>);

impl Daemon {
    fn of(host: &Host) -> Result<Self, Failure> {
        let dockerd = u32::try_from(host.docker.id())?;
        let mut all = vec![dockerd];
        // Any of its threads may have started it.
        for thread in std::fs::read_dir(format!("/proc/{dockerd}/task"))? {
            let children = std::fs::read_to_string(thread?.path().join("children"))?;
            all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        all.retain(|id| {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            matches!(name.trim(), "dockerd" | "containerd")
        });
        Ok(Self(all))
    }

    fn sum(&self, of: impl Fn(u32) -> Result<f64, Failure>) -> Result<f64, Failure> {
        self.0.iter().map(|id| of(*id)).sum()
    }
}

pub(crate) async fn run(_: &Path) -> Result<Vec<Row>, Failure> {
    let mut host = Host::start().await?;
    host.declare(NAME, CONTAINERS).await?;
    host.ready(NAME, CONTAINERS).await?;
    let (agent, daemon) = (host.agent(), Daemon::of(&host)?);
    quiet(agent).await?;
    let (before, theirs_before, begin) = (cpu(agent)?, daemon.sum(cpu)?, Instant::now());
    sleep(LENGTH).await;
    let seconds = begin.elapsed().as_secs_f64();
    let (took, theirs_took) = (cpu(agent)? - before, daemon.sum(cpu)? - theirs_before);
    let (held, own) = (resident(agent)?, memory(agent, "RssAnon")?);
    let theirs_held = daemon.sum(resident)?;
    host.undeclare(NAME).await?;
    let version = host.docker.client(&["version", "--format", "{{.Server.Version}}"]).await;
    let daemons = format!("dockerd and its containerd, Docker {version}");
    Ok(vec![
        Row {
            what: format!(
                "resident memory of the agent with {CONTAINERS} containers running, of which {:.1} MB are its own and the rest pages of its \
                 binary",
                own / 1e6
            ),
            ours: Quantity::bytes(held),
            peer: format!("the aim itself; {daemons}: {:.0} MB", theirs_held / 1e6),
            theirs: Quantity::bytes(RESIDENT_MAX),
            aim: Aim::AtMost(1.0),
        },
        Row {
            what: format!(
                "processor time that it takes in {seconds:.0} s in which nothing changes"
            ),
            ours: Quantity::seconds(took),
            peer: format!(
                "the aim itself: {}% of one processor; {daemons}: {theirs_took:.2} s",
                CPU_MAX * 100.0
            ),
            theirs: Quantity::seconds(CPU_MAX * seconds),
            aim: Aim::AtMost(1.0),
        },
    ])
}
