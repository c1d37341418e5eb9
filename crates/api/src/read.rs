//! get and list: answers copied together from bytes the cache already holds.

use crate::{
    answer::{self, Answer},
    audit::Subject,
    authorize::{Sight, Stretch},
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

fn too_old(revision: Revision) -> ApiError {
    ApiError::expired(format!("The resourceVersion {revision} is too old: it is no longer kept"))
}

/// An answer that is one object.
pub(crate) fn one(object: &Object, query: &Query, form: Form) -> Result<Answer, ApiError> {
    let mut answer = match form {
        Form::Table(version) => {
            let rows = vec![table::row(object, row_object(query)?, Timestamp::now())];
            let meta = json!({"resourceVersion": object.revision.to_string()});
            answer::json(&table_of(version, object.kind, rows, meta))
        }
        Form::Metadata => answer::json(&table::metadata(&object.value())),
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

/// A Table object.
pub(crate) fn table_of(version: &str, kind: KindRef, rows: Vec<Value>, meta: Value) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": version,
        "metadata": meta,
        "columnDefinitions": table::columns(kind),
        "rows": rows,
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
    let listed = page(api, kind, namespace, query, sight).await?;
    let mut meta = json!({"resourceVersion": listed.revision.to_string()});
    if listed.page.more
        && let (Some(last), Some(meta)) = (listed.page.items.last(), meta.as_object_mut())
    {
        let next = Continue {
            revision: listed.revision,
            namespace: last.namespace().into(),
            name: last.name().into(),
        };
        meta.insert("continue".into(), next.write().into());
        if let Some(remaining) = listed.page.remaining {
            meta.insert("remainingItemCount".into(), remaining.into());
        }
    }
    list_of(kind, meta, &listed.page.items, query, form)
}

/// An answer that is a list of `items`.
pub(crate) fn list_of(
    kind: KindRef,
    meta: Value,
    items: &[Arc<Object>],
    query: &Query,
    form: Form,
) -> Result<Answer, ApiError> {
    Ok(match form {
        Form::Table(version) => {
            let (include, now) = (row_object(query)?, Timestamp::now());
            let rows = items.iter().map(|object| table::row(object, include, now)).collect();
            answer::json(&table_of(version, kind, rows, meta))
        }
        Form::Metadata => {
            let items: Vec<Value> =
                items.iter().map(|object| table::metadata(&object.value())).collect();
            answer::json(&json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": items,
            }))
        }
        Form::Json | Form::Aggregated(_) => answer::chunks(encode_list(kind, &meta, items)),
    })
}

/// Size of the pieces a list is sent in: large enough that framing costs nothing, small enough that
/// the first is on its way while the next is copied.
const CHUNK_BYTES: usize = 256 * 1024;

fn encode_list(kind: KindRef, meta: &Value, items: &[Arc<Object>]) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 4096);
    chunk.extend_from_slice(
        format!(
            r#"{{"kind":"{}List","apiVersion":"{}","metadata":{meta},"items":["#,
            kind.kind,
            kind.api_version()
        )
        .as_bytes(),
    );
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            chunk.push(b',');
        }
        chunk.extend_from_slice(&item.json);
        if chunk.len() >= CHUNK_BYTES {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES + 4096));
            chunks.push(Bytes::from(full));
        }
    }
    chunk.extend_from_slice(b"]}\n");
    chunks.push(Bytes::from(chunk));
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

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
