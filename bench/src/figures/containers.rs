//! From a workload that is declared to its container that runs, on a real Docker Engine with a real plane and a real agent, beside
//! `docker run` of the same image, in turn. For both the engine says itself when the container ran.

use crate::{
    Failure,
    host::Host,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use jiff::Timestamp;
use quarterdeck_testing::docker::{BUSYBOX, Docker};
use std::{path::Path, time::Duration};

const ROUNDS: usize = 12;
const WARM_UP: usize = 2;
/// How much longer it may take.
const MORE: f64 = 1.0;

/// When the newest container began to run.
async fn started(docker: &Docker) -> Result<Timestamp, Failure> {
    let newest = docker.client(&["ps", "--latest", "--quiet"]).await;
    let told = docker.client(&["inspect", "--format", "{{.State.StartedAt}}", &newest]).await;
    Ok(told.parse()?)
}

fn between(begin: Timestamp, end: Timestamp) -> Result<Duration, Failure> {
    Ok(Duration::try_from(end.duration_since(begin))?)
}

/// How long until the container runs, and until everybody can see that its instance is ready.
async fn ours(host: &mut Host, name: &str) -> Result<(Duration, Duration), Failure> {
    let begin = Timestamp::now();
    host.declare(name, 1).await?;
    host.ready(name, 1).await?;
    let ready = Timestamp::now();
    let runs = started(&host.docker).await?;
    host.undeclare(name).await?;
    Ok((between(begin, runs)?, between(begin, ready)?))
}

async fn theirs(docker: &Docker) -> Result<Duration, Failure> {
    let begin = Timestamp::now();
    let id = docker.client(&["run", "--detach", BUSYBOX, "sleep", "99999"]).await;
    let runs = started(docker).await?;
    docker.client(&["rm", "--force", &id]).await;
    between(begin, runs)
}

pub(crate) async fn run(_: &Path) -> Result<Vec<Row>, Failure> {
    let mut host = Host::start().await?;
    let (mut runs, mut seen, mut docker) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..ROUNDS + WARM_UP {
        let theirs = theirs(&host.docker).await?;
        let ours = ours(&mut host, &format!("w-{round}")).await?;
        if round >= WARM_UP {
            docker.push(theirs);
            runs.push(ours.0);
            seen.push(ours.1);
        }
    }
    let version = host.docker.client(&["version", "--format", "{{.Server.Version}}"]).await;
    Ok(vec![Row {
        what: format!(
            "from a declared workload to its container running, plane and agent on one machine, median of {ROUNDS} (slowest {:.2} s; seen \
             to be ready by a client of the plane after {:.2} s)",
            runs.p99(),
            seen.median()
        ),
        ours: Quantity::seconds(runs.median()),
        peer: format!(
            "`docker run --detach` of the same image, Docker {version} ({:.2} s), and {MORE} s more",
            docker.median()
        ),
        theirs: Quantity::seconds(docker.median() + MORE),
        aim: Aim::AtMost(1.0),
    }])
}
