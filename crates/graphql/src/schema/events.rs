//! Events about an object.

use super::scalars::Time;
use crate::moment::Moment;
use async_graphql::{Error, SimpleObject};
use quarterdeck_model::{Kind as _, Object, kinds};
use std::cmp::Reverse;

#[derive(SimpleObject)]
pub(crate) struct Event {
    r#type: String,
    reason: String,
    message: String,
    count: i32,
    source: Option<String>,
    first: Option<Time>,
    last: Option<Time>,
}

/// The newest events about an object that may be seen.
pub(crate) async fn of(
    moment: &Moment,
    object: &Object,
    first: usize,
) -> Result<Vec<Event>, Error> {
    let fields = format!("involvedObject.uid={}", object.uid());
    let found = moment.with_fields(kinds::Event::info(), &fields);
    moment.charge(found.len()).await?;
    let mut events: Vec<kinds::Event> =
        found.iter().filter_map(|event| event.decode().ok()).collect();
    events.sort_by_key(|event| Reverse(event.last_timestamp.or(event.event_time)));
    let event = |event: kinds::Event| Event {
        r#type: event.kind,
        reason: event.reason,
        message: event.message,
        count: event.count.unwrap_or(1),
        source: Some(event.source.component).filter(|source| !source.is_empty()),
        first: event.first_timestamp.or(event.event_time).map(Into::into),
        last: event.last_timestamp.or(event.event_time).map(Into::into),
    };
    Ok(events.into_iter().take(first).map(event).collect())
}
