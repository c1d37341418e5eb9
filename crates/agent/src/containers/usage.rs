//! What containers take of the host: the engine is asked now and then, and what was counted is set against the time before.
//! Nobody waits for it, and nothing of it is kept but the numbers of the last look.

use super::{Host, labels};
use bollard::{
    Docker,
    models::ContainerStatsResponse,
    query_parameters::{ListContainersOptionsBuilder, StatsOptionsBuilder},
};
use futures_util::{StreamExt as _, stream};
use quarterdeck_model::agent::{CONTAINERS_MAX, ContainerUsage, Usage};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::debug;

/// How often it is looked: as often as Kubernetes' metrics-server does.
const PERIOD: Duration = Duration::from_secs(15);
/// Containers that are asked about at once.
const AT_ONCE: usize = 8;
/// How long one look may take: what is not known by then is not told.
const LOOK: Duration = Duration::from_secs(10);

/// What was counted of a container: nanoseconds of processors, and when.
type Counted = BTreeMap<String, (u64, Instant)>;

/// Looks, until it is dropped.
pub(super) async fn look(host: Arc<Host>, tell: watch::Sender<Vec<ContainerUsage>>) {
    let mut every = interval(PERIOD);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Counted::new();
    loop {
        every.tick().await;
        match timeout(LOOK, all(&host)).await {
            Ok(Ok(seen)) => {
                let (told, counted) = compared(&before, seen);
                before = counted;
                tell.send_if_modified(|last| {
                    let news = !(last.is_empty() && told.is_empty());
                    *last = told;
                    news
                });
            }
            // Who looks after containers says that the engine is away.
            Ok(Err(error)) => debug!(%error, "what containers take is not known"),
            Err(_) => debug!("the engine did not say in time what containers take"),
        }
    }
}

/// A container, as it was seen.
struct Seen {
    id: String,
    uid: String,
    name: String,
    cpu_nanos: u64,
    memory_bytes: u64,
    at: Instant,
}

async fn all(host: &Host) -> Result<Vec<Seen>, super::ContainersError> {
    let client = host.engine.client().await?;
    let label = format!("{}={}", labels::HOST, host.settings.host);
    let filters = [("label".to_owned(), vec![label])].into();
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    let listed = client.list_containers(Some(options)).await;
    let listed = listed.map_err(|error| host.engine.told(error))?;
    let ours = listed.into_iter().filter_map(|it| {
        let labels = it.labels?;
        let of = |name| labels.get(name).cloned();
        // The one that only holds the network takes nothing.
        let name = of(labels::CONTAINER).filter(|name| !name.is_empty())?;
        Some((it.id?, of(labels::UID)?, name))
    });
    let asked = stream::iter(ours.take(CONTAINERS_MAX)).map(|(id, uid, name)| {
        let client = &client;
        async move { one(client, id, (uid, name)).await }
    });
    Ok(asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await)
}

/// One of them; none when it ended meanwhile.
async fn one(client: &Docker, id: String, (uid, name): (String, String)) -> Option<Seen> {
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let stats = Box::pin(client.stats(&id, Some(options))).next().await?.ok()?;
    let cpu_nanos = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    let memory_bytes = working_set(&stats)?;
    Some(Seen { id, uid, name, cpu_nanos, memory_bytes, at: Instant::now() })
}

/// Memory that cannot be given to others: all but what of files was not used for long, as Kubernetes counts it.
fn working_set(stats: &ContainerStatsResponse) -> Option<u64> {
    let memory = stats.memory_stats.as_ref()?;
    let all = memory.usage?;
    let of = |name: &str| memory.stats.as_ref().and_then(|stats| stats.get(name).copied());
    // Of cgroups of version 1, and of version 2.
    let unused = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0);
    Some(all.saturating_sub(unused))
}

/// What is told, and what the next look is set against. One that is seen for the first time is not told of: how much it
/// does is known with the second look.
fn compared(before: &Counted, seen: Vec<Seen>) -> (Vec<ContainerUsage>, Counted) {
    let (mut told, mut counted) = (Vec::new(), Counted::new());
    for Seen { id, uid, name, cpu_nanos, memory_bytes, at } in seen {
        if let Some((nanos, then)) = before.get(&id) {
            let passed = u64::try_from((at - *then).as_millis()).unwrap_or(u64::MAX).max(1);
            // Millionths of a second in thousandths of one: thousandths of a processor.
            let cpu_millis = cpu_nanos.saturating_sub(*nanos) / 1_000 / passed;
            let usage = Usage { cpu_millis, memory_bytes };
            told.push(ContainerUsage { uid, name, usage });
        }
        counted.insert(id, (cpu_nanos, at));
    }
    told.sort_by(|one, other| (&one.uid, &one.name).cmp(&(&other.uid, &other.name)));
    (told, counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_of_the_time_between_two_looks() {
        let now = Instant::now();
        let seen = |cpu_nanos, at| {
            let (id, uid, name) = ("c".into(), "u".into(), "main".into());
            vec![Seen { id, uid, name, cpu_nanos, memory_bytes: 7, at }]
        };
        let (told, counted) = compared(&Counted::new(), seen(5_000_000_000, now));
        assert_eq!(told, []);
        let later = now + Duration::from_secs(10);
        let (told, counted) = compared(&counted, seen(10_000_000_000, later));
        let usage = Usage { cpu_millis: 500, memory_bytes: 7 };
        let wanted = ContainerUsage { uid: "u".into(), name: "main".into(), usage };
        assert_eq!(told, [wanted], "five seconds of work in ten are half a processor");
        let (told, counted) = compared(&counted, seen(0, later));
        assert_eq!(told[0].usage.cpu_millis, 0, "what was counted anew has done nothing");
        assert_eq!(compared(&counted, Vec::new()).1.len(), 0, "what is gone is forgotten");
    }
}
