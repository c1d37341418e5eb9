//! The timeline of an object, out of the store's log: each entry of the log says which one came before it, so that
//! going back costs two short reads a change, however much else has changed.

mod difference;

use crate::{
    moment::Moment,
    schema::{
        object::Reference,
        scalars::{Time, number},
        timeline::{ChangeVerb, Timeline, TimelineEntry},
    },
    shown,
};
use async_graphql::Error;
use quarterdeck_model::{Kind as _, Object, Revision, kinds::Run};
use quarterdeck_store::{Change, StoreError};
use serde_json::Value;
use tokio::sync::Semaphore;

/// Most entries of one answer.
pub(crate) const ENTRIES_MAX: i32 = 100;
/// What two reads of the log and a comparison cost, in objects: the store reads its log one by one for all.
const COST: usize = 25;
/// Timelines that are read at once: the log has few readers, and others wait for them too.
const READERS: usize = 2;

static READING: Semaphore = Semaphore::const_new(READERS);

/// The newest changes of an object that may be seen, or those before a cursor.
pub(crate) async fn of(
    moment: &Moment,
    object: &Object,
    first: usize,
    after: Option<&str>,
) -> Result<Timeline, Error> {
    let mut at = match after {
        None => Some(object.revision),
        Some(cursor) => Some(read_cursor(cursor)?),
    };
    // It is never closed.
    let _turn = READING.acquire().await;
    let mut timeline = Timeline::default();
    let mut change = None;
    while let Some(revision) = at {
        if timeline.entries.len() == first {
            timeline.end_cursor = Some(revision.to_string());
            return Ok(timeline);
        }
        moment.charge(COST).await?;
        if change.is_none() {
            change = read(moment, object, revision).await?;
        }
        // Older ones are no longer kept.
        let Some(this) = change.take() else { return Ok(timeline) };
        let before = match this.previous {
            Some(previous) => read(moment, object, previous).await?,
            None => None,
        };
        if this.previous.is_some() && before.is_none() {
            return Ok(timeline);
        }
        timeline.entries.push(entry(moment, object, before.as_ref(), &this));
        timeline.complete = before.is_none();
        at = before.as_ref().map(|before| before.revision);
        change = before;
    }
    Ok(timeline)
}

fn read_cursor(cursor: &str) -> Result<Revision, Error> {
    let wrong = || Error::new("after is not a cursor that this plane gave; begin without it");
    cursor.parse().map(Revision).map_err(|_| wrong())
}

/// The entry of the log at a revision; none when it is no longer kept, or of another object: a cursor may be made up.
async fn read(moment: &Moment, object: &Object, at: Revision) -> Result<Option<Change>, Error> {
    match moment.store.change_at(at).await {
        Ok(change) => Ok(change.filter(|change| change.key == object.key)),
        Err(StoreError::Compacted { .. }) => Ok(None),
        Err(error) => Err(Error::new(format!("the history cannot be read: {error}"))),
    }
}

fn tree(change: &Change) -> Option<Value> {
    change.body.as_ref().and_then(|body| serde_json::from_slice(body).ok())
}

fn entry(
    moment: &Moment,
    object: &Object,
    before: Option<&Change>,
    this: &Change,
) -> TimelineEntry {
    let (old, new) = (before.and_then(tree), tree(this));
    let (mut shown_old, mut shown_new) = (old.clone(), new.clone());
    if shown::is_confidential(object.kind) {
        shown_old.iter_mut().chain(&mut shown_new).for_each(shown::hide);
    }
    let (changes, more) = difference::fields(shown_old.as_ref(), shown_new.as_ref());
    let who = difference::who(old.as_ref(), new.as_ref(), &changes);
    let at = difference::when(old.as_ref(), new.as_ref(), &changes, moment.now);
    // A run acts on what says so; what others write meanwhile is not its doing.
    let run = |value: &Option<Value>| {
        value.as_ref().and_then(|value| shown::text(value, "/status/currentRun"))
    };
    let through = (who == difference::PLANE).then(|| run(&new).or_else(|| run(&old))).flatten();
    TimelineEntry {
        at: at.map(Time),
        revision: this.revision.to_string(),
        who,
        through: through.map(|run| Reference::read(Run::info(), &run, object.namespace())),
        verb: match (before, &this.body) {
            (_, None) => ChangeVerb::Deleted,
            (None, Some(_)) => ChangeVerb::Created,
            (Some(_), Some(_)) => ChangeVerb::Changed,
        },
        changes,
        more: number(more),
    }
}
