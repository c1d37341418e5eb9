//! What grows is cut back: events after a day, history after an hour.

use crate::objects::{EngineError, Objects};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{Kind as _, Object, Revision, kinds::Event};
use quarterdeck_store::{BATCH_MAX, Precondition};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How long events are kept: a day, so that the night's can be read in the morning.
const EVENT_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Most events kept; beyond it the oldest go. About a gigabyte with their indexes.
const EVENTS_MAX: usize = 500_000;
/// How often events are looked through.
const EVENTS_EVERY: Duration = Duration::from_secs(300);
/// How far back lists and watches can begin.
const HISTORY_AGE_MAX: Duration = Duration::from_secs(3600);
/// How often history is cut.
const HISTORY_EVERY: Duration = Duration::from_secs(300);

/// Removes old events, until its future is dropped.
pub(crate) async fn events(objects: Objects) {
    loop {
        sleep(EVENTS_EVERY).await;
        if let Err(error) = remove_old_events(&objects, Timestamp::now()).await {
            warn!(%error, "old events could not be removed; trying again in {EVENTS_EVERY:?}");
        }
    }
}

async fn remove_old_events(objects: &Objects, now: Timestamp) -> Result<(), EngineError> {
    let world = objects.store().world();
    let mut events: Vec<(Timestamp, Arc<Object>)> =
        world.all(Event::info()).map(|event| (last_seen(event), event.clone())).collect();
    events.sort_by_key(|(seen, _)| *seen);
    let crowd = events.len().saturating_sub(EVENTS_MAX);
    let old = events
        .iter()
        .enumerate()
        .take_while(|(at, (seen, _))| *at < crowd || now.duration_since(*seen) > EVENT_AGE_MAX)
        .map(|(_, (_, event))| event);
    let removals: Vec<_> = old
        .map(|event| objects.delete(event.key.clone(), Precondition::At(event.revision)))
        .collect();
    for batch in removals.chunks(BATCH_MAX) {
        objects.commit(batch.to_vec()).await?;
    }
    Ok(())
}

/// When the event happened last; long ago when it does not say.
fn last_seen(event: &Object) -> Timestamp {
    let said = event.decode::<Event>().ok();
    said.and_then(|event| {
        event.last_timestamp.or(event.event_time).or(event.metadata.creation_timestamp)
    })
    .map_or(Timestamp::UNIX_EPOCH, |time| time.timestamp())
}

/// Cuts the store's history, until its future is dropped.
pub(crate) async fn history(objects: Objects) {
    // Which revision was the newest when: the store itself knows no times.
    let mut newest_at: VecDeque<(Instant, Revision)> = VecDeque::new();
    loop {
        newest_at.push_back((Instant::now(), objects.store().world().revision()));
        sleep(HISTORY_EVERY).await;
        let mut before = None;
        while newest_at.front().is_some_and(|(at, _)| at.elapsed() > HISTORY_AGE_MAX) {
            before = newest_at.pop_front().map(|(_, revision)| revision);
        }
        let Some(before) = before else { continue };
        match objects.store().compact(before).await {
            Ok(()) => info!(%before, "history was cut"),
            Err(error) => {
                warn!(%error, "history could not be cut; trying again in {HISTORY_EVERY:?}")
            }
        }
    }
}
