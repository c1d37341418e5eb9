//! Events: what happened to an object, as sentences that `kubectl describe` shows.

use quarterdeck_model::{
    Object, ObjectMeta, ObjectReference, Time,
    kinds::{Event, EventSource},
};
use sha2::{Digest as _, Sha256};

/// Longest message; what is longer is cut, since events are many.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// One thing that happened.
pub(crate) struct Happening<'a> {
    /// Who says so, such as `runs`.
    pub(crate) component: &'a str,
    /// One CamelCase word.
    pub(crate) reason: &'a str,
    /// A sentence.
    pub(crate) message: &'a str,
    /// Something is not as it should be.
    pub(crate) warning: bool,
    /// What tells two equal sentences apart: the revision of the object that was decided on. The same sentence with the same number is one event,
    /// however often it is written: work that is repeated after a crash does not repeat its story.
    pub(crate) number: u64,
    /// Its place among those told at one moment: event times are shown in whole seconds, so equal
    /// ones are shown in the order of their names.
    pub(crate) place: usize,
}

/// The event about `object`.
pub(crate) fn about(object: &Object, happening: &Happening<'_>, now: Time) -> Event {
    let Happening { component, reason, warning, number, place, .. } = *happening;
    let message = shortened(happening.message);
    let identity = format!("{}\n{number}\n{reason}\n{message}", object.uid());
    let digest: String =
        Sha256::digest(identity).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = object.name().get(..200).unwrap_or(object.name());
    // Events of cluster-scoped objects live in `default`, as in Kubernetes.
    let namespace = if object.namespace().is_empty() { "default" } else { object.namespace() };
    Event {
        metadata: ObjectMeta {
            name: format!("{name}.{number:012x}.{place:02x}.{digest}"),
            namespace: Some(namespace.into()),
            uid: uuid::Uuid::new_v4().to_string(),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(object.kind.api_version()),
            kind: Some(object.kind.kind.into()),
            namespace: Some(object.namespace().to_owned()).filter(|name| !name.is_empty()),
            name: Some(object.name().into()),
            uid: Some(object.uid().to_owned()),
            resource_version: None,
            field_path: None,
        },
        reason: reason.into(),
        message,
        source: EventSource { component: component.into(), host: String::new() },
        first_timestamp: Some(Time::seconds(now.timestamp())),
        last_timestamp: Some(Time::seconds(now.timestamp())),
        event_time: Some(now),
        count: Some(1),
        kind: if warning { "Warning" } else { "Normal" }.into(),
        reporting_component: format!("quarterdeck.dev/{component}"),
        ..Event::default()
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= MESSAGE_BYTES_MAX {
        return text.into();
    }
    let end = text
        .char_indices()
        .map(|(at, letter)| at + letter.len_utf8())
        .take_while(|end| *end <= MESSAGE_BYTES_MAX - '…'.len_utf8())
        .last()
        .unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}
