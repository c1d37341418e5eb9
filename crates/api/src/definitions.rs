//! Our kinds as CustomResourceDefinitions, for clients that look there for what can be asked. They
//! come with the binary: they are read like objects of any kind, but are not stored, and a write of
//! them must be refused.
//! Source: Kubernetes `apiextensions.k8s.io/v1`.

use crate::{
    answer::{self, Answer},
    negotiate::Form,
    path::{Query, VersionMatch},
    read,
    server::Api,
    status::ApiError,
    watch,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use quarterdeck_model::{
    Column, ColumnType, Key, KindInfo, KindRef, Object, Revision, Scope, Time, kinds,
    object::encode, schema::PRESERVE,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// What can be done with definitions.
pub(crate) const VERBS: [&str; 3] = ["get", "list", "watch"];
/// How long a watch of what never changes lasts when the client does not say.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);
/// Longest watch that a client can ask for.
const WATCH_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The kind of definitions, which is none of the kinds that are stored.
pub(crate) fn kind() -> KindRef {
    static INFO: KindInfo = KindInfo {
        group: "apiextensions.k8s.io",
        version: "v1",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        scope: Scope::Cluster,
        has_status: false,
        scale: None,
        columns: &[
            Column::new("Kind", "spec.names.kind", "What its objects are"),
            Column::new("Group", "spec.group", "Group of the API"),
            Column::new("Scope", "spec.scope", "Namespaced or Cluster"),
        ],
        indexed_fields: &[],
        common_fields: &[],
        description: "CustomResourceDefinition says what a kind of this server looks like. It comes with the server and cannot be changed.",
        schema: || {
            static SCHEMA: OnceLock<Value> = OnceLock::new();
            SCHEMA.get_or_init(|| {
                let open = json!({"type": "object", PRESERVE: true});
                json!({
                    "type": "object",
                    "description": kind().description,
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                        "metadata": open, "spec": open, "status": open,
                    },
                })
            })
        },
        // Nobody writes definitions, so none is ever admitted.
        admit: |_, _| {
            let why = "definitions come with the server";
            Err(vec![quarterdeck_model::FieldError::forbidden("", why)])
        },
        resource_name: OnceLock::new(),
        paths: OnceLock::new(),
    };
    &INFO
}

/// All definitions, by name. Their version tells one release's from another's.
fn all() -> &'static (Revision, Vec<Arc<Object>>) {
    static ALL: OnceLock<(Revision, Vec<Arc<Object>>)> = OnceLock::new();
    ALL.get_or_init(|| {
        let defined = kinds::all().iter().filter(|kind| is_ours(kind));
        let mut values: Vec<(String, Value)> =
            defined.map(|kind| (kind.resource_name().to_string(), definition(kind))).collect();
        values.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut digest = Sha256::new();
        values.iter().for_each(|(_, value)| digest.update(value.to_string()));
        // Few enough bits that any client can read it as a number.
        let version = digest.finalize().iter().take(6).fold(0, |n, b| n << 8 | u64::from(*b));
        let revision = Revision(version.max(1));
        let since = Time::seconds(Timestamp::now()).to_string();
        let objects = values.into_iter().filter_map(|(name, mut value)| {
            let meta = value.get_mut("metadata")?.as_object_mut()?;
            meta.insert("creationTimestamp".into(), since.clone().into());
            let (key, body) = (Key::new(kind(), "", &name), encode(kind(), &value));
            Object::from_body(kind(), key, revision, &body).ok()
        });
        (revision, objects.map(Arc::new).collect())
    })
}

/// The kinds of Kubernetes' own groups have no definition there either.
fn is_ours(kind: KindRef) -> bool {
    !kind.group.is_empty() && !kind.group.ends_with(".k8s.io")
}

fn definition(kind: KindRef) -> Value {
    let name = kind.resource_name();
    let mut seed = [0; 16];
    seed.iter_mut().zip(Sha256::digest(&*name)).for_each(|(to, byte)| *to = byte);
    let mut schema = (kind.schema)().clone();
    if let Some(meta) = schema.pointer_mut("/properties/metadata") {
        *meta = json!({"type": "object"});
    }
    let names = json!({
        "plural": kind.plural,
        "singular": kind.singular,
        "kind": kind.kind,
        "listKind": format!("{}List", kind.kind),
        "shortNames": kind.short_names,
        "categories": kind.categories,
    });
    let mut columns: Vec<Value> = kind.columns.iter().filter_map(column).collect();
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    let fields: Vec<Value> =
        kind.indexed_fields.iter().map(|path| json!({"jsonPath": format!(".{path}")})).collect();
    let mut subresources = if kind.has_status { json!({"status": {}}) } else { json!({}) };
    if let (Some(scale), Some(subresources)) = (kind.scale, subresources.as_object_mut()) {
        let paths = json!({
            "specReplicasPath": format!(".{}", scale.wanted),
            "statusReplicasPath": format!(".{}", scale.seen),
            "labelSelectorPath": format!(".{}", scale.selector),
        });
        subresources.insert("scale".into(), paths);
    }
    let condition = |name: &str, reason: &str, message: &str| {
        json!({
            "type": name, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    json!({
        "metadata": {
            "name": &*name,
            "uid": uuid::Builder::from_random_bytes(seed).into_uuid().to_string(),
            "generation": 1,
        },
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
            "conversion": {"strategy": "None"},
            "versions": [{
                "name": kind.version,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": subresources,
                "additionalPrinterColumns": columns,
                "selectableFields": fields,
            }],
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": [kind.version],
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the server serves this kind"),
            ],
        },
    })
}

/// A column as definitions have it; none for those that a JSON path cannot say.
fn column(column: &Column) -> Option<Value> {
    let kind = match column.kind {
        ColumnType::String => "string",
        ColumnType::Integer => "integer",
        ColumnType::Boolean => "boolean",
        ColumnType::Date => "date",
        ColumnType::Count | ColumnType::Usage => return None,
    };
    // `conditions[type=Ready]` is how a column picks from a list.
    let path = match column.path.split_once('[') {
        None => column.path.to_owned(),
        Some((list, rest)) => {
            let (pick, rest) = rest.split_once(']')?;
            let (field, value) = pick.split_once('=')?;
            format!("{list}[?(@.{field}==\"{value}\")]{rest}")
        }
    };
    Some(json!({
        "name": column.name,
        "type": kind,
        "jsonPath": format!(".{path}"),
        "description": column.description,
        "priority": i32::from(column.wide),
    }))
}

/// Answers a request for one definition, or for those that the query selects.
pub(crate) async fn answer(
    api: &Api,
    method: &Method,
    name: Option<&str>,
    query: &Query,
    form: Form,
) -> Result<Answer, ApiError> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(ApiError::comes_with_the_server(kind()));
    }
    let (revision, objects) = all();
    if let Some(name) = name {
        let found = objects.iter().find(|object| object.name() == name);
        let found = found.ok_or_else(|| ApiError::not_found(kind(), name))?;
        return read::one(found, query, form);
    }
    read::check_fields(kind(), query)?;
    let selected =
        |object: &&Arc<Object>| query.labels.matches(object) && query.fields.matches(object);
    let objects: Vec<_> = objects.iter().filter(selected).cloned().collect();
    if query.watch {
        return watched(api, *revision, objects, query, form);
    }
    let meta = json!({"resourceVersion": revision.to_string()});
    read::list_of(kind(), meta, objects, query, form).await
}

/// What there is, and then nothing more: definitions change only with the server.
fn watched(
    api: &Api,
    revision: Revision,
    objects: Vec<Arc<Object>>,
    query: &Query,
    form: Form,
) -> Result<Answer, ApiError> {
    match query.version {
        VersionMatch::NotOlderThan(known) | VersionMatch::Exact(known) if known != revision.0 => {
            return Err(ApiError::expired("these definitions are of another release; list again"));
        }
        _ => {}
    }
    let known = matches!(query.version, VersionMatch::NotOlderThan(_));
    let mut encoder = watch::Encoder::new(kind(), form, read::row_object(query)?);
    let mut pieces: Vec<Bytes> = Vec::new();
    if query.send_initial_events.unwrap_or(!known) {
        pieces.extend(objects.iter().map(|object| encoder.added(object)));
    }
    if query.send_initial_events == Some(true) && query.bookmarks {
        pieces.push(encoder.bookmark(revision, true));
    }
    let lasts = query.timeout.unwrap_or(WATCH_TIMEOUT).min(WATCH_TIMEOUT_MAX);
    let mut stop = api.stopping();
    let end = stream::once(async move {
        tokio::select! {
            () = tokio::time::sleep(lasts) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        Bytes::new()
    });
    let frames =
        stream::iter(pieces).chain(end).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    Ok(answer::streamed(StreamBody::new(frames).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_ours_is_defined_as_kubernetes_wants_it() {
        let (revision, objects) = all();
        assert!(
            revision.0 > 1 && objects.len() == kinds::all().iter().filter(|k| is_ours(k)).count()
        );
        for object in objects {
            let value = object.value();
            let version = &value["spec"]["versions"][0];
            let schema = &version["schema"]["openAPIV3Schema"];
            assert_eq!(schema["type"], "object", "{}", object.name());
            assert_eq!(schema["properties"]["metadata"], json!({"type": "object"}));
            let name = format!(
                "{}.{}",
                value["spec"]["names"]["plural"].as_str().unwrap(),
                value["spec"]["group"].as_str().unwrap()
            );
            assert_eq!(name, object.name());
        }
    }

    #[test]
    fn columns_pick_from_lists_as_json_paths_do() {
        let ready = Column::new("Ready", "status.conditions[type=Ready].status", "");
        let path = column(&ready).unwrap()["jsonPath"].clone();
        assert_eq!(path, r#".status.conditions[?(@.type=="Ready")].status"#);
        assert!(column(&ready.of(ColumnType::Count)).is_none());
    }
}
