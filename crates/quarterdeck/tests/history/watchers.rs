//! Clients that watch: they go on from where they were when a connection ends, and list again only when
//! they are told that what they had reached is no longer known.

use super::{
    clients::{NAMESPACE, Shared, seen},
    connect::{Door, PATIENCE},
};
use futures_util::{StreamExt as _, pin_mut};
use kube::{
    Api, Error,
    api::{ListParams, WatchEvent, WatchParams},
    core::DynamicObject,
};
use quarterdeck_testing::history::{EventKind, Freshness, List, Page, Revision, Span, Step, Watch};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Pause before a connection is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// Follows the collection until the revision that `until` comes to say; answers how often it listed again.
pub(crate) async fn follow(
    client: usize,
    door: Door,
    shared: Arc<Shared>,
    mut until: watch::Receiver<Option<Revision>>,
) -> usize {
    let mut listed = 0;
    let mut since = None;
    loop {
        let api = door.secrets(NAMESPACE).await;
        let from = match since {
            Some(from) => from,
            None => match list(&api, &shared, client).await {
                Some(revision) => {
                    listed += 1;
                    revision
                }
                None => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let mut watch = Watch { client, since: from, steps: Vec::new() };
        let told = tell(&api, &shared, &mut watch, &mut until).await;
        let reached = watch.steps.last().map_or(from, |(_, step)| match step {
            Step::Event(_, seen) => seen.revision,
            Step::Bookmark(revision) => *revision,
        });
        shared.history().watches.push(watch);
        match told {
            Told::Everything => return listed - 1,
            Told::Expired => since = None,
            Told::Some => since = Some(reached),
        }
        sleep(PAUSE).await;
    }
}

async fn list(api: &Api<DynamicObject>, shared: &Shared, client: usize) -> Option<Revision> {
    let invoked = shared.now();
    let list = timeout(PATIENCE, api.list(&ListParams::default())).await.ok()?.ok()?;
    let span = Span { invoked, completed: shared.now() };
    let revision = list.metadata.resource_version?.parse().ok()?;
    let page = Page { revision, items: list.items.iter().map(seen).collect() };
    let freshness = Freshness::Consistent;
    shared.history().lists.push(List { client, span, freshness, pages: vec![page] });
    Some(revision)
}

enum Told {
    /// All there will be.
    Everything,
    /// What came before the connection ended.
    Some,
    /// That what was reached is no longer known.
    Expired,
}

/// Notes what one watch tells.
async fn tell(
    api: &Api<DynamicObject>,
    shared: &Shared,
    watch: &mut Watch,
    until: &mut watch::Receiver<Option<Revision>>,
) -> Told {
    let asked = WatchParams::default().timeout(290);
    let since = watch.since.to_string();
    let stream = match timeout(PATIENCE, api.watch(&asked, &since)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(Error::Api(status))) if status.code == 410 => return Told::Expired,
        _ => return Told::Some,
    };
    pin_mut!(stream);
    let mut reached = watch.since;
    loop {
        let end = *until.borrow_and_update();
        if end.is_some_and(|end| reached >= end) {
            return Told::Everything;
        }
        let event = tokio::select! {
            event = stream.next() => event,
            _ = until.changed() => continue,
        };
        let step = match event {
            Some(Ok(WatchEvent::Added(object))) => Step::Event(EventKind::Added, seen(&object)),
            Some(Ok(WatchEvent::Modified(object))) => {
                Step::Event(EventKind::Modified, seen(&object))
            }
            Some(Ok(WatchEvent::Deleted(object))) => Step::Event(EventKind::Deleted, seen(&object)),
            Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                Step::Bookmark(bookmark.metadata.resource_version.parse().unwrap())
            }
            Some(Ok(WatchEvent::Error(status))) if status.code == 410 => return Told::Expired,
            _ => return Told::Some,
        };
        reached = match &step {
            Step::Event(_, seen) => seen.revision,
            Step::Bookmark(revision) => *revision,
        };
        watch.steps.push((shared.now(), step));
    }
}
