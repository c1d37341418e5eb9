//! watch: a stream of changes from the shared history, one position per watcher.
//! Source: Kubernetes API concepts, "Efficient detection of changes" and "Streaming lists".

use crate::{
    answer::{self, Answer, Body},
    authorize::{Guard, Sight},
    core_view::View,
    fairness,
    negotiate::Form,
    path::{Query, VersionMatch},
    read,
    server::Api,
    status::ApiError,
    table::{self, RowObject},
};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use quarterdeck_model::{KindRef, Object, Revision};
use quarterdeck_store::{Encoding, EventKind, ListQuery, WatchEvent, WatchQuery, Watcher, World};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a watch lasts when the client does not say: long enough to be rare, spread so that not
/// all end at once.
const TIMEOUT_SECS: std::ops::Range<u64> = 1800..3600;
/// Longest watch a client can ask for.
const TIMEOUT_SECS_MAX: u64 = 24 * 3600;
/// How often a quiet watcher is told how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How rows or objects are written for one watcher.
pub(crate) struct Encoder {
    kind: KindRef,
    form: Form,
    include: RowObject,
    /// Column definitions are sent with the first row only.
    first: bool,
    /// What the events are shown as.
    view: Option<View>,
}

impl Encoder {
    pub(crate) fn new(kind: KindRef, form: Form, include: RowObject) -> Self {
        Self { kind, form, include, first: true, view: View::of(kind) }
    }

    /// An object that was there from the start.
    pub(crate) fn added(&mut self, object: &Object) -> Bytes {
        let first = std::mem::take(&mut self.first);
        self.transformed(EventKind::Added.name(), object, first, Timestamp::now())
    }

    /// An event, encoded once for all watchers that want it the same way at the same time.
    fn event(&mut self, event: &WatchEvent, now: Timestamp) -> Bytes {
        if let Some(view) = self.view {
            // Few watch them: what is the same for all is not kept.
            let Some(it) = view.project(&event.object) else { return Bytes::new() };
            let first = std::mem::take(&mut self.first);
            return self.transformed(event.kind.name(), &it, first, now);
        }
        let Some(form) = self.shared_form() else { return event.json() };
        let first = std::mem::take(&mut self.first);
        let encoding = Encoding { form, second: now.as_second() };
        event.encoded(encoding, || self.transformed(event.kind.name(), &event.object, first, now))
    }

    /// A number for each way to write an event but JSON.
    fn shared_form(&self) -> Option<u8> {
        match self.form {
            Form::Json | Form::Aggregated(_) => None,
            Form::Metadata => Some(0),
            Form::Table(version) => {
                let include = match self.include {
                    RowObject::None => 0,
                    RowObject::Metadata => 1,
                    RowObject::Object => 2,
                };
                let older = version == "meta.k8s.io/v1beta1";
                Some(1 + include + 3 * u8::from(self.first) + 6 * u8::from(older))
            }
        }
    }

    fn transformed(&self, kind: &str, object: &Object, first: bool, now: Timestamp) -> Bytes {
        let mut line = begin_line(kind);
        match self.form {
            Form::Table(version) => {
                let meta = json!({"resourceVersion": object.revision.to_string()});
                table::begin(version, object.kind, first, &meta, &mut line);
                table::Rows::new(object.kind, self.include, now).write(object, &mut line);
                line.extend_from_slice(table::END);
            }
            Form::Metadata => table::Metadata::new().write(object, &mut line),
            Form::Json | Form::Aggregated(_) => line.extend_from_slice(&object.json),
        }
        end_line(line)
    }

    pub(crate) fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let mut meta = json!({"resourceVersion": revision.to_string()});
        if initial_end && let Some(meta) = meta.as_object_mut() {
            meta.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let mut line = begin_line("BOOKMARK");
        match self.form {
            Form::Table(version) => {
                table::begin(version, self.kind, true, &meta, &mut line);
                line.extend_from_slice(table::END);
            }
            Form::Metadata => table::partial(&meta.to_string(), &mut line),
            Form::Json | Form::Aggregated(_) => {
                let object = json!({
                    "kind": self.kind.kind,
                    "apiVersion": self.kind.api_version(),
                    "metadata": meta,
                });
                line.extend_from_slice(object.to_string().as_bytes());
            }
        }
        end_line(line)
    }
}

fn begin_line(kind: &str) -> Vec<u8> {
    format!(r#"{{"type":"{kind}","object":"#).into_bytes()
}

fn end_line(mut line: Vec<u8>) -> Bytes {
    line.extend_from_slice(b"}\n");
    line.into()
}

fn line(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}

/// One watcher's stream.
struct Stream {
    watcher: Watcher,
    /// What the watcher may see.
    guard: Guard,
    encoder: Encoder,
    /// Objects that exist at the start, still to be sent.
    initial: std::vec::IntoIter<Arc<Object>>,
    /// Bookmark to send when the initial objects are through.
    initial_end: Option<Revision>,
    bookmarks: bool,
    ends: Instant,
    next_bookmark: Instant,
    finished: bool,
    stop: tokio::sync::watch::Receiver<bool>,
}

/// The world once it has reached `wanted`, which another replica may have shown before this one has it. A
/// client that knows of more than the store has ever had must list again.
async fn reached(api: &Api, wanted: Revision) -> Result<Arc<World>, ApiError> {
    let world = api.store.world();
    if world.revision() >= wanted {
        return Ok(world);
    }
    let world = api.store.fresh().await?;
    if world.revision() >= wanted {
        return Ok(world);
    }
    Err(ApiError::expired(format!("resource version {wanted} is newer than any; list again")))
}

/// Starts a watch.
pub(crate) async fn watch(
    api: &Api,
    kind: KindRef,
    namespace: Option<&str>,
    query: &Query,
    form: Form,
    guard: Guard,
) -> Result<Answer, ApiError> {
    read::check_fields(kind, query)?;
    let include = read::row_object(query)?;
    let world = match query.version {
        VersionMatch::NotOlderThan(wanted) => reached(api, Revision(wanted)).await?,
        version => read::world_at(api, version).await?,
    };
    let from_now = matches!(query.version, VersionMatch::Newest | VersionMatch::Any);
    let with_initial = query.send_initial_events.unwrap_or(from_now);
    let since = match query.version {
        VersionMatch::NotOlderThan(revision) if !with_initial => Revision(revision),
        _ => world.revision(),
    };
    let view = View::of(kind);
    let source = view.map_or(kind, View::source);
    let fields = match view {
        Some(view) => {
            view.check_watched(&query.fields)?;
            view.fields(&query.fields)
        }
        None => query.fields.clone(),
    };
    let initial = if with_initial {
        let all = ListQuery {
            kind: source,
            namespace,
            labels: &query.labels,
            fields: &fields,
            after: None,
            limit: None,
        };
        let every = Sight::All;
        let sight = if view.is_some() { &every } else { guard.sight() };
        let page = read::visible(api, &api.store.world(), since, &all, sight);
        let items = page.map_err(|_| ApiError::expired("too old resource version"))?.items;
        match view {
            None => items,
            Some(view) => {
                let shown = items.iter().filter_map(|it| view.shown(it, query, guard.sight()));
                shown.collect()
            }
        }
    } else {
        Vec::new()
    };
    let asked = WatchQuery {
        kind: source,
        namespace: namespace.map(Into::into),
        labels: query.labels.clone(),
        fields,
        since,
    };
    let watcher = api.store.watch(asked);
    let now = Instant::now();
    let timeout = query.timeout.unwrap_or_else(|| {
        let spread = TIMEOUT_SECS.end - TIMEOUT_SECS.start;
        Duration::from_secs(
            TIMEOUT_SECS.start + u64::from(uuid::Uuid::new_v4().as_fields().0) % spread,
        )
    });
    let timeout = timeout.min(Duration::from_secs(TIMEOUT_SECS_MAX));
    // Nobody watches for longer than they are known.
    let timeout = guard.left().map_or(timeout, |left| timeout.min(left));
    let stream = Stream {
        watcher,
        guard,
        encoder: Encoder::new(kind, form, include),
        initial: initial.into_iter(),
        initial_end: (query.send_initial_events == Some(true) && query.bookmarks).then_some(since),
        bookmarks: query.bookmarks,
        ends: now + timeout,
        next_bookmark: now + BOOKMARK_EVERY,
        finished: false,
        stop: api.stopping(),
    };
    Ok(answer::streamed(stream.into_body()))
}

impl Stream {
    fn into_body(self) -> Body {
        let frames = stream::unfold(self, |mut stream| async move {
            let piece = stream.next_piece().await?;
            Some((Ok::<_, Infallible>(Frame::data(piece)), stream))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The next bytes to send; none at the end.
    async fn next_piece(&mut self) -> Option<Bytes> {
        if self.finished {
            return None;
        }
        if !self.initial.as_slice().is_empty() {
            fairness::let_others().await;
        }
        if let Some(piece) = self.initial_piece() {
            return Some(piece);
        }
        loop {
            let wake = self.ends.min(self.next_bookmark);
            let events = tokio::select! {
                events = self.watcher.next() => events,
                () = tokio::time::sleep_until(wake) => {
                    if !self.guard.holds() {
                        self.finished = true;
                        return Some(access_changed());
                    }
                    let over = Instant::now() >= self.ends;
                    self.finished = over;
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    if self.bookmarks {
                        return Some(self.encoder.bookmark(self.watcher.position(), false));
                    }
                    if over {
                        return None;
                    }
                    continue;
                }
                _ = self.stop.wait_for(|stop| *stop) => return None,
            };
            if !self.guard.holds() {
                self.finished = true;
                return Some(access_changed());
            }
            let Ok(mut events) = events else {
                self.finished = true;
                let error = ApiError::expired(format!(
                    "too old resource version: {} (the watch fell behind; list again)",
                    self.watcher.position()
                ));
                return Some(line(&json!({"type": "ERROR", "object": error.status()})));
            };
            events.retain(|event| match self.encoder.view {
                None => self.guard.sees(&event.object),
                Some(view) => view.project(&event.object).is_some_and(|it| self.guard.sees(&it)),
            });
            match events.as_slice() {
                [] => {}
                [only] => return Some(self.encoder.event(only, Timestamp::now())),
                several => {
                    let mut piece = Vec::new();
                    let now = Timestamp::now();
                    for event in several {
                        piece.extend_from_slice(&self.encoder.event(event, now));
                    }
                    return Some(piece.into());
                }
            }
        }
    }

    fn initial_piece(&mut self) -> Option<Bytes> {
        /// Objects sent in one piece.
        const INITIAL_BATCH: usize = 64;
        let mut piece = Vec::new();
        for object in self.initial.by_ref().take(INITIAL_BATCH) {
            match self.encoder.form {
                Form::Json | Form::Aggregated(_) => {
                    piece.extend_from_slice(br#"{"type":"ADDED","object":"#);
                    piece.extend_from_slice(&object.json);
                    piece.extend_from_slice(b"}\n");
                }
                _ => piece.extend_from_slice(&self.encoder.added(&object)),
            }
        }
        if !piece.is_empty() {
            return Some(piece.into());
        }
        self.initial_end.take().map(|revision| self.encoder.bookmark(revision, true))
    }
}

/// What the watcher may see is not what it was: it lists again, and is told what it may see now.
fn access_changed() -> Bytes {
    let error = ApiError::expired("what you may see here has changed; list again");
    line(&json!({"type": "ERROR", "object": error.status()}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{
        FieldSelector, Key, Kind as _, LabelSelector, kinds::Site, object::encode,
    };
    use quarterdeck_store::{Mutation, Precondition, Sqlite, Store, Write};

    const TABLE: Form = Form::Table("meta.k8s.io/v1");

    /// A real event: a site that was added.
    async fn added() -> WatchEvent {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap();
        let value = json!({
            "metadata": {"name": "fra1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        });
        let mutation = Mutation {
            key: Key::new(Site::info(), "", "fra1"),
            write: Write::Put(encode(Site::info(), &value).into()),
            precondition: Precondition::None,
            fence: None,
        };
        let mut watcher = store.watch(WatchQuery {
            kind: Site::info(),
            namespace: None,
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            since: Revision::ZERO,
        });
        store.commit(vec![mutation]).await.unwrap();
        watcher.next().await.unwrap().remove(0)
    }

    fn watcher(form: Form, include: RowObject, first: bool) -> Encoder {
        Encoder { first, ..Encoder::new(Site::info(), form, include) }
    }

    #[tokio::test]
    async fn rows_are_encoded_once_for_all_watchers_that_want_the_same() {
        let event = added().await;
        let now: Timestamp = "2026-01-01T00:03:00Z".parse().unwrap();
        let mut different = Vec::new();
        for form in [TABLE, Form::Table("meta.k8s.io/v1beta1"), Form::Metadata] {
            for include in [RowObject::None, RowObject::Metadata, RowObject::Object] {
                for first in [true, false] {
                    let encode = || watcher(form, include, first).event(&event, now);
                    let (one, another) = (encode(), encode());
                    // The same bytes, not equal ones.
                    assert_eq!(one.as_ptr(), another.as_ptr(), "{form:?} {include:?} {first}");
                    different.push(one);
                }
            }
        }
        different.sort();
        different.dedup();
        // Two versions, three contents, with and without columns; and metadata.
        assert_eq!(different.len(), 2 * 3 * 2 + 1);
    }

    #[tokio::test]
    async fn an_age_is_never_older_than_the_second_it_is_sent_in() {
        let event = added().await;
        let row = |now: &str| {
            let line = watcher(TABLE, RowObject::None, false).event(&event, now.parse().unwrap());
            let event: Value = serde_json::from_slice(&line).unwrap();
            event["object"]["rows"][0]["cells"].as_array().unwrap().last().unwrap().clone()
        };
        assert_eq!(row("2026-01-01T00:00:07Z"), "7s");
        assert_eq!(row("2026-01-01T00:00:08Z"), "8s");
    }
}
