//! get and list: answers copied together from bytes the cache already holds.

use crate::{
    answer::{self, Answer},
    audit::Subject,
    authorize::{Sight, Stretch},
    core_view::View,
    fairness,
    negotiate::Form,
    path::{Query, VersionMatch},
    server::Api,
    status::ApiError,
    table::{self, RowObject},
};
use bytes::Bytes;
use jiff::Timestamp;
use quarterdeck_model::{KindRef, Object, Revision};
use quarterdeck_store::{Expired, ListQuery, Page, World};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// How long a read waits for a revision that is not reached yet, as kube-apiserver does.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

/// The world a read of that version is answered from.
pub(crate) async fn world_at(api: &Api, version: VersionMatch) -> Result<Arc<World>, ApiError> {
    match version {
        VersionMatch::Newest => Ok(api.store.fresh().await?),
        VersionMatch::Any => Ok(api.store.world()),
        VersionMatch::NotOlderThan(revision) | VersionMatch::Exact(revision) => {
            let wanted = Revision(revision);
            let world = api.store.wait_for(wanted, FUTURE_REVISION_WAIT).await;
            world.map_err(|_| too_new(wanted, api.store.world().revision()))
        }
    }
}

fn too_new(wanted: Revision, current: Revision) -> ApiError {
    let mut error =
        ApiError::timeout(format!("Too large resource version: {wanted}, current: {current}"));
    let cause =
        json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    error.details = Some(json!({"causes": [cause], "retryAfterSeconds": 1}));
    error
}

/// Refuses selectors on fields that the kind does not declare.
pub(crate) fn check_fields(kind: KindRef, query: &Query) -> Result<(), ApiError> {
    for requirement in &query.fields.0 {
        let path = requirement.path.as_str();
        let known = matches!(path, "metadata.name" | "metadata.namespace")
            || kind.indexed_fields.contains(&path);
        if !known {
            return Err(ApiError::bad_request(format!(
                "field label not supported: {path}; {} can be selected by metadata.name, \
                 metadata.namespace{}{}",
                kind.resource_name(),
                if kind.indexed_fields.is_empty() { "" } else { ", " },
                kind.indexed_fields.join(", "),
            )));
        }
    }
    Ok(())
}

/// One object.
pub(crate) async fn get(
    api: &Api,
    kind: KindRef,
    namespace: &str,
    name: &str,
    query: &Query,
    form: Form,
) -> Result<Answer, ApiError> {
    if let Some(view) = View::of(kind) {
        return view.get(api, (namespace, name), query, form).await;
    }
    let world = world_at(api, query.version).await?;
    let object = match query.version {
        VersionMatch::Exact(revision) => {
            let at = Revision(revision);
            let found = api.store.get_at(&world, at, kind, namespace, name);
            found.map_err(|_| too_old(at))?
        }
        _ => world.get(kind, namespace, name),
    };
    let object = object.ok_or_else(|| ApiError::not_found(kind, name))?;
    one(&object, query, form)
}

pub(crate) fn too_old(revision: Revision) -> ApiError {
    ApiError::expired(format!("The resourceVersion {revision} is too old: it is no longer kept"))
}

/// An answer that is one object.
pub(crate) fn one(object: &Object, query: &Query, form: Form) -> Result<Answer, ApiError> {
    let mut answer = match form {
        Form::Table(version) => {
            let rows = table::Rows::new(object.kind, row_object(query)?, Timestamp::now());
            let meta = json!({"resourceVersion": object.revision.to_string()});
            let mut table = Vec::new();
            table::begin(version, object.kind, true, &meta, &mut table);
            rows.write(object, &mut table);
            table.extend_from_slice(table::END);
            answer::bytes(table.into())
        }
        Form::Metadata => {
            let mut partial = Vec::new();
            table::Metadata::new().write(object, &mut partial);
            answer::bytes(partial.into())
        }
        Form::Json | Form::Aggregated(_) => answer::bytes(object.json.clone()),
    };
    answer.extensions_mut().insert(Subject::of(object));
    Ok(answer)
}

pub(crate) fn row_object(query: &Query) -> Result<RowObject, ApiError> {
    RowObject::parse(query.include_object.as_deref()).ok_or_else(|| {
        ApiError::bad_request("invalid includeObject: expected None, Metadata or Object")
    })
}

/// Where a list goes on, packed into `continue`.
struct Continue {
    revision: Revision,
    namespace: String,
    name: String,
}

impl Continue {
    fn write(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let text = json!({
            "v": "meta.k8s.io/v1",
            "rv": self.revision.0,
            "start": format!("{}\u{0}{}", self.namespace, self.name),
        });
        URL_SAFE_NO_PAD.encode(text.to_string())
    }

    fn read(token: &str) -> Option<Self> {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let text = URL_SAFE_NO_PAD.decode(token).ok()?;
        let value: Value = serde_json::from_slice(&text).ok()?;
        let (namespace, name) = value.get("start")?.as_str()?.split_once('\0')?;
        Some(Self {
            revision: Revision(value.get("rv")?.as_u64()?),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

/// A page of a collection, at one revision.
pub(crate) struct Listed {
    pub(crate) page: Page,
    pub(crate) revision: Revision,
}

impl Listed {
    /// The metadata of the list that it is, with where it goes on.
    pub(crate) fn meta(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.revision.to_string()});
        if self.page.more
            && let (Some(last), Some(meta)) = (self.page.items.last(), meta.as_object_mut())
        {
            let next = Continue {
                revision: self.revision,
                namespace: last.namespace().into(),
                name: last.name().into(),
            };
            meta.insert("continue".into(), next.write().into());
            if let Some(remaining) = self.page.remaining {
                meta.insert("remainingItemCount".into(), remaining.into());
            }
        }
        meta
    }
}

/// Finds the page a query asks for.
pub(crate) async fn page(
    api: &Api,
    kind: KindRef,
    namespace: Option<&str>,
    query: &Query,
    sight: &Sight,
) -> Result<Listed, ApiError> {
    check_fields(kind, query)?;
    let next = match &query.next {
        Some(token) => Some(Continue::read(token).ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it was not made by this server")
        })?),
        None => None,
    };
    let (world, revision) = match &next {
        // A token of revision 0 was given after the snapshot had expired: go on at the newest.
        Some(next) if next.revision > Revision::ZERO => {
            // The pages before may have come from a replica that is ahead of this one.
            let at = VersionMatch::Exact(next.revision.0);
            (world_at(api, at).await?, next.revision)
        }
        Some(_) => {
            let world = api.store.fresh().await?;
            let revision = world.revision();
            (world, revision)
        }
        None => {
            let world = world_at(api, query.version).await?;
            let revision = match query.version {
                VersionMatch::Exact(exact) => Revision(exact),
                _ => world.revision(),
            };
            (world, revision)
        }
    };
    let asked = ListQuery {
        kind,
        namespace,
        labels: &query.labels,
        fields: &query.fields,
        after: next.as_ref().map(|next| (next.namespace.as_str(), next.name.as_str())),
        limit: query.limit,
    };
    let page = visible(api, &world, revision, &asked, sight).map_err(|_| {
        let Some(next) = next else { return too_old(revision) };
        let mut error = ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             can start a new list without the continue parameter, or use the continue token in \
             this response to retrieve the remainder of the results, which may be inconsistent.",
        );
        error.next = Some(Continue { revision: Revision::ZERO, ..next }.write());
        error
    })?;
    Ok(Listed { page, revision })
}

/// Objects looked through at once for some that may be seen.
const LOOK_MAX: usize = 1_024;

/// The page of a list as of `at` that may be seen: no more is looked through than that may be in,
/// and what is hidden is not counted.
pub(crate) fn visible(
    api: &Api,
    world: &Arc<World>,
    at: Revision,
    asked: &ListQuery<'_>,
    sight: &Sight,
) -> Result<Page, Expired> {
    let Sight::Some(seen) = sight else { return api.store.list_at(world, at, asked) };
    // One more tells whether there is more.
    let wanted = asked.limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    let mut items: Vec<Arc<Object>> = Vec::new();
    for stretch in seen.stretches() {
        let left = wanted - items.len().min(wanted);
        if left == 0 {
            break;
        }
        match stretch {
            Stretch::Namespace(namespace) => {
                if asked.namespace.is_some_and(|asked| asked != namespace)
                    || asked.after.is_some_and(|(before, _)| namespace < before)
                {
                    continue;
                }
                let namespace = Some(namespace);
                let here = ListQuery { namespace, limit: Some(left), ..*asked };
                items.extend(api.store.list_at(world, at, &here)?.items);
            }
            Stretch::Names(namespace, names) => {
                let after = |name: &&String| {
                    asked.after.is_none_or(|after| (namespace, name.as_str()) > after)
                };
                for name in names.iter().filter(after) {
                    let found = api.store.get_at(world, at, asked.kind, namespace, name)?;
                    items.extend(found.filter(|object| asked.selects(object)));
                }
            }
            Stretch::Whole => look_through(api, world, at, asked, sight, wanted, &mut items)?,
        }
    }
    let more = asked.limit.is_some_and(|limit| items.len() > limit);
    items.truncate(asked.limit.unwrap_or(usize::MAX));
    Ok(Page { items, more, remaining: None })
}

fn look_through(
    api: &Api,
    world: &Arc<World>,
    at: Revision,
    asked: &ListQuery<'_>,
    sight: &Sight,
    wanted: usize,
    items: &mut Vec<Arc<Object>>,
) -> Result<(), Expired> {
    let mut last: Option<Arc<Object>> = None;
    loop {
        let after = last.as_ref().map(|last| (last.namespace(), last.name()));
        let part = ListQuery { after: after.or(asked.after), limit: Some(LOOK_MAX), ..*asked };
        let page = api.store.list_at(world, at, &part)?;
        last = page.items.last().cloned();
        let seen =
            page.items.into_iter().filter(|object| sight.sees(object.namespace(), object.name()));
        items.extend(seen.take(wanted - items.len().min(wanted)));
        if !page.more || items.len() >= wanted {
            return Ok(());
        }
    }
}

/// A collection.
pub(crate) async fn list(
    api: &Api,
    kind: KindRef,
    namespace: Option<&str>,
    query: &Query,
    form: Form,
    sight: &Sight,
) -> Result<Answer, ApiError> {
    if let Some(view) = View::of(kind) {
        return view.list(api, namespace, query, form, sight).await;
    }
    let listed = page(api, kind, namespace, query, sight).await?;
    let meta = listed.meta();
    list_of(kind, meta, listed.page.items, query, form).await
}

/// An answer that is a list of `items`.
pub(crate) async fn list_of(
    kind: KindRef,
    meta: Value,
    items: Vec<Arc<Object>>,
    query: &Query,
    form: Form,
) -> Result<Answer, ApiError> {
    let mut first = Vec::new();
    let (write, end) = match form {
        Form::Table(version) => {
            let rows = table::Rows::new(kind, row_object(query)?, Timestamp::now());
            table::begin(version, kind, true, &meta, &mut first);
            (Write::Rows(rows), table::END)
        }
        Form::Metadata => {
            begin_list("PartialObjectMetadata", "meta.k8s.io/v1", &meta, &mut first);
            (Write::Metadata(table::Metadata::new()), &b"]}"[..])
        }
        Form::Json | Form::Aggregated(_) => {
            begin_list(kind.kind, &kind.api_version(), &meta, &mut first);
            (Write::Whole, &b"]}\n"[..])
        }
    };
    let mut list = List { items: items.into_iter(), write, end, begun: false };
    // What is small is one piece.
    while list.more(&mut first) {
        if first.len() >= PIECE_BYTES {
            return Ok(answer::pieces(first.into(), list));
        }
        fairness::let_others().await;
    }
    Ok(answer::bytes(first.into()))
}

fn begin_list(kind: &str, version: &str, meta: &Value, to: &mut Vec<u8>) {
    let head =
        format!(r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{meta},"items":["#);
    to.extend_from_slice(head.as_bytes());
}

/// Size of the pieces a list is made and sent in, the bytes that are read for it counted as well. Large
/// enough that framing costs nothing, small enough that nobody waits for longer than some hundred
/// microseconds while one is made.
const PIECE_BYTES: usize = 256 * 1024;

/// How items are written.
enum Write {
    Whole,
    Metadata(table::Metadata),
    Rows(table::Rows),
}

/// A list that is made piece by piece.
struct List {
    items: std::vec::IntoIter<Arc<Object>>,
    write: Write,
    /// What stands behind the last item.
    end: &'static [u8],
    /// An item was written.
    begun: bool,
}

impl List {
    /// Writes the next piece; answers whether there is more.
    fn more(&mut self, to: &mut Vec<u8>) -> bool {
        let (mut read, before) = (0, to.len());
        if matches!(self.write, Write::Whole) {
            let ends = self.items.as_slice().iter().scan(0, |end, item| {
                let begin = *end;
                *end += item.json.len() + 1;
                (begin < PIECE_BYTES).then_some(*end)
            });
            to.reserve(ends.last().unwrap_or_default() + self.end.len());
        }
        for item in self.items.by_ref() {
            if std::mem::replace(&mut self.begun, true) {
                to.push(b',');
            }
            match &self.write {
                Write::Whole => to.extend_from_slice(&item.json),
                Write::Metadata(metadata) => {
                    read += item.json.len();
                    metadata.write(&item, to);
                }
                Write::Rows(rows) => {
                    read += item.json.len();
                    rows.write(&item, to);
                }
            }
            if to.len() - before + read >= PIECE_BYTES {
                return true;
            }
        }
        to.extend_from_slice(self.end);
        false
    }
}

impl Iterator for List {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.end.is_empty() {
            return None;
        }
        let mut piece = Vec::new();
        if !self.more(&mut piece) {
            self.end = &[];
        }
        Some(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;
    use quarterdeck_model::{Key, Kind as _, kinds::Site, object};
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    /// The body of an answer, in its pieces, and how often another could have had its turn meanwhile.
    fn pieces(answer: Answer) -> (Vec<Bytes>, usize) {
        let (mut body, mut pieces, mut turns) = (answer.into_body(), Vec::new(), 0);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Pending => turns += 1,
                Poll::Ready(Some(frame)) => pieces.extend(frame.unwrap().into_data()),
                Poll::Ready(None) => return (pieces, turns),
            }
        }
    }

    #[tokio::test]
    async fn a_long_list_is_made_in_pieces_between_which_others_have_their_turn() {
        let kind = Site::info();
        let object = |number: usize| {
            let name = format!("s{number:05}");
            let note = "x".repeat(1_000);
            let value = json!({
                "metadata": {"name": name, "uid": name, "annotations": {"note": note}},
            });
            let body = object::encode(kind, &value);
            let key = Key::new(kind, "", &name);
            Arc::new(Object::from_body(kind, key, Revision(7), &body).unwrap())
        };
        let all: Vec<Arc<Object>> = (0..3_000).map(object).collect();
        for (form, items) in
            [(Form::Json, "items"), (Form::Metadata, "items"), (Form::Table("v1"), "rows")]
        {
            for count in [0, 1, 10, 3_000] {
                let meta = json!({"resourceVersion": "7"});
                let some = all.get(..count).unwrap().to_vec();
                let answer = list_of(kind, meta, some, &Query::default(), form).await.unwrap();
                let (pieces, turns) = pieces(answer);
                assert!(turns + 1 >= pieces.len(), "{turns} turns in {} pieces", pieces.len());
                assert_eq!(pieces.len() > 5, count == 3_000, "{} pieces", pieces.len());
                assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
                let value: Value = serde_json::from_slice(&pieces.concat()).unwrap();
                let list = value[items].as_array().unwrap();
                assert_eq!(list.len(), count);
                for (item, object) in list.iter().zip(&all) {
                    let item = item.get("object").unwrap_or(item);
                    assert_eq!(item["metadata"], object.value()["metadata"]);
                }
            }
        }
    }

    #[test]
    fn continue_tokens_are_read_back_and_others_refused() {
        let token =
            Continue { revision: Revision(7), namespace: "a".into(), name: "b".into() }.write();
        let read = Continue::read(&token).unwrap();
        assert_eq!((read.revision, &*read.namespace, &*read.name), (Revision(7), "a", "b"));
        for wrong in ["", "x", "e30", "!!!", &token[1..]] {
            assert!(Continue::read(wrong).is_none(), "{wrong}");
        }
    }
}
