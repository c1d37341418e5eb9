//! The plane as a client sees it: reads, writes and watches of its API, with what went wrong said for people. The one
//! place that talks to it. Must know no kind in particular.

use crate::{
    Error,
    connect::{Connected, Connection, cause},
    near::near,
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
    runtime::{WatchStreamExt as _, watcher},
};
use quarterdeck_model::{Kind, KindRef};
use serde_json::Value;

/// Who is said to have written a field.
const MANAGER: &str = "quarterdeck-cli";
/// Objects of one answer, of a list that may be long.
const PAGE: u32 = 500;
/// Names of one answer, when nothing else of the objects is wanted.
const NAMES_PAGE: u32 = 5_000;
/// Names that are looked at to find near ones.
const NAMES_MAX: u32 = 2_000;

/// A plane.
pub(crate) struct Plane {
    client: Client,
    /// Where things are that say no namespace.
    pub(crate) namespace: String,
    /// Its address, and from where that is known.
    place: String,
}

/// An object as the API showed it, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Seen<K> {
    pub(crate) raw: Value,
    pub(crate) object: K,
}

/// Where objects are looked for. What lives in no namespace is found with either.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Within<'a> {
    Everywhere,
    Namespace(&'a str),
}

/// Which objects: all, unless something is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) labels: String,
    pub(crate) fields: String,
    /// About so many, at most.
    pub(crate) most: Option<u32>,
}

impl Selection {
    pub(crate) fn fields(fields: impl Into<String>) -> Self {
        Self { fields: fields.into(), ..Self::default() }
    }

    pub(crate) fn labels(labels: impl Into<String>) -> Self {
        Self { labels: labels.into(), ..Self::default() }
    }
}

impl Plane {
    pub(crate) async fn open(connection: &Connection) -> Result<Self, Error> {
        let Connected { client, namespace, place } = connection.open().await?;
        Ok(Self { client, namespace, place })
    }

    fn api(&self, kind: KindRef, within: Within<'_>) -> Api<DynamicObject> {
        let (client, resource) = (self.client.clone(), resource(kind));
        match within {
            Within::Namespace(name) if kind.namespaced() => {
                Api::namespaced_with(client, name, &resource)
            }
            _ => Api::all_with(client, &resource),
        }
    }

    /// An object; none when there is none of that name.
    pub(crate) async fn find(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let api = self.api(kind, Within::Namespace(namespace));
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| self.failed(&format!("reading {}", kind.plural), error));
        Ok(found?.map(|object| value(&object)))
    }

    /// An object that must be there.
    pub(crate) async fn get(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Error> {
        match self.find(kind, namespace, name).await? {
            Some(object) => Ok(object),
            None => Err(self.unknown(kind, namespace, name).await),
        }
    }

    /// The same, as its type.
    pub(crate) async fn read<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Seen<K>, Error> {
        seen(self.get(K::info(), namespace, name).await?)
    }

    /// Goes through all that are meant, in the plane's order, page by page: they may be very many.
    pub(crate) async fn each(
        &self,
        kind: KindRef,
        within: Within<'_>,
        selection: &Selection,
        mut take: impl FnMut(Value),
    ) -> Result<(), Error> {
        let api = self.api(kind, within);
        let mut left = selection.most.unwrap_or(u32::MAX);
        let mut parameters = ListParams::default().limit(PAGE.min(left));
        parameters = parameters.labels(&selection.labels).fields(&selection.fields);
        loop {
            let page = api.list(&parameters).await;
            let page =
                page.map_err(|error| self.failed(&format!("listing {}", kind.plural), error))?;
            let more = page.metadata.continue_.filter(|more| !more.is_empty());
            left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
            page.items.iter().for_each(|object| take(typed(kind, object)));
            match more {
                Some(more) if left > 0 => parameters = parameters.continue_token(&more),
                _ => return Ok(()),
            }
        }
    }

    /// All that are meant.
    pub(crate) async fn list(
        &self,
        kind: KindRef,
        within: Within<'_>,
        selection: &Selection,
    ) -> Result<Vec<Value>, Error> {
        let mut all = Vec::new();
        self.each(kind, within, selection, |object| all.push(object)).await?;
        Ok(all)
    }

    /// The same, as their type alone.
    pub(crate) async fn objects<K: Kind>(
        &self,
        within: Within<'_>,
        selection: &Selection,
    ) -> Result<Vec<K>, Error> {
        let mut all = Vec::new();
        let take = |object| all.push(seen::<K>(object).map(|it| it.object));
        self.each(K::info(), within, selection, take).await?;
        all.into_iter().collect()
    }

    /// The same, as they came too.
    pub(crate) async fn all<K: Kind>(
        &self,
        within: Within<'_>,
        selection: &Selection,
    ) -> Result<Vec<Seen<K>>, Error> {
        let all = self.list(K::info(), within, selection).await?;
        all.into_iter().map(seen).collect()
    }

    /// Creates an object; with `dry_run`, only learns whether that would be accepted, and what it would be.
    pub(crate) async fn create(
        &self,
        kind: KindRef,
        namespace: &str,
        object: &Value,
        dry_run: bool,
    ) -> Result<Value, Error> {
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| Error::Usage(format!("this is no {}: {error}", kind.kind)))?;
        let parameters = PostParams { dry_run, field_manager: Some(MANAGER.into()) };
        let created =
            self.api(kind, Within::Namespace(namespace)).create(&parameters, &object).await;
        let what = format!("creating {}", kind.kind);
        Ok(value(&created.map_err(|error| self.failed(&what, error))?))
    }

    /// Changes an object that must be there, by a merge patch.
    pub(crate) async fn change(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, Error> {
        let parameters =
            PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let api = self.api(kind, Within::Namespace(namespace));
        match api.patch(name, &parameters, &Patch::Merge(patch)).await {
            Ok(changed) => Ok(value(&changed)),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(self.unknown(kind, namespace, name).await)
            }
            Err(error) => Err(self.failed(&format!("changing {} {name}", kind.singular), error)),
        }
    }

    /// Replaces an object as it was seen; not one that has changed since.
    pub(crate) async fn replace(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, Error> {
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| Error::Usage(format!("this is no {}: {error}", kind.kind)))?;
        let parameters = PostParams { dry_run: false, field_manager: Some(MANAGER.into()) };
        let api = self.api(kind, Within::Namespace(namespace));
        let replaced = api.replace(name, &parameters, &object).await;
        let what = format!("changing {} {name}", kind.singular);
        Ok(value(&replaced.map_err(|error| self.failed(&what, error))?))
    }

    /// Makes an object be as this says, and leaves what it does not say.
    pub(crate) async fn merge(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
        object: &Value,
        dry_run: bool,
    ) -> Result<Value, Error> {
        let field_manager = Some(MANAGER.into());
        let parameters = PatchParams { dry_run, field_manager, ..PatchParams::default() };
        let api = self.api(kind, Within::Namespace(namespace));
        let merged = api.patch(name, &parameters, &Patch::Merge(object)).await;
        let what = format!("changing {} {name}", kind.singular);
        Ok(value(&merged.map_err(|error| self.failed(&what, error))?))
    }

    /// Deletes an object that was seen, and not one that has its name by now; what is left of it is one that waits
    /// to go.
    pub(crate) async fn delete(
        &self,
        kind: KindRef,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Value, Error> {
        let api = self.api(kind, Within::Namespace(namespace));
        let seen = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
        match api.delete(name, &parameters).await {
            Ok(left) => Ok(left.left().map(|object| value(&object)).unwrap_or_default()),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(self.unknown(kind, namespace, name).await)
            }
            Err(error) => Err(self.failed(&format!("deleting {} {name}", kind.singular), error)),
        }
    }

    /// Asks something of a part of an object, and answers what came back.
    pub(crate) async fn ask(
        &self,
        kind: KindRef,
        (namespace, name, part): (&str, &str, &str),
        body: &Value,
    ) -> Result<Value, Error> {
        let api = self.api(kind, Within::Namespace(namespace));
        match api.create_subresource(part, name, &PostParams::default(), body).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(self.unknown(kind, namespace, name).await)
            }
            Err(error) => {
                Err(self.failed(&format!("asking for {part} of {} {name}", kind.singular), error))
            }
        }
    }

    /// What changes, from what there is on. It goes on after a loss of the connection.
    pub(crate) fn watch(
        &self,
        kind: KindRef,
        within: Within<'_>,
        selection: &Selection,
    ) -> impl Stream<Item = Result<watcher::Event<Value>, watcher::Error>> + Send + use<> {
        let config = watcher::Config::default()
            .page_size(PAGE)
            .labels(&selection.labels)
            .fields(&selection.fields);
        watcher(self.api(kind, within), config)
            .default_backoff()
            .map_ok(move |event| typed_event(kind, event))
            .boxed()
    }

    /// Says what a watch ended with, when going on does not help; none when it was only interrupted.
    pub(crate) fn watch_ended(&self, kind: KindRef, error: watcher::Error) -> Option<Error> {
        let (watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
        else {
            return None;
        };
        let lasting = matches!(status.code, 400..=499) && !matches!(status.code, 410 | 429);
        let what = format!("watching {}", kind.plural);
        lasting.then(|| self.failed(&what, kube::Error::Api(status)))
    }

    /// There is no such object: near ones, or how to see what there is.
    /// Goes through the names of all that are meant, in order, until no more is taken.
    pub(crate) async fn names(
        &self,
        kind: KindRef,
        within: Within<'_>,
        mut take: impl FnMut(String) -> bool,
    ) -> Result<(), Error> {
        let api = self.api(kind, within);
        let mut parameters = ListParams::default().limit(NAMES_PAGE);
        loop {
            let page = api.list_metadata(&parameters).await;
            let page =
                page.map_err(|error| self.failed(&format!("listing {}", kind.plural), error))?;
            let names = page.items.into_iter().filter_map(|item| item.metadata.name);
            for name in names {
                if !take(name) {
                    return Ok(());
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    async fn unknown(&self, kind: KindRef, namespace: &str, name: &str) -> Error {
        let resource = resource(kind);
        let client = self.client.clone();
        let api: Api<PartialObjectMeta<DynamicObject>> = match kind.namespaced() {
            true => Api::namespaced_with(client, namespace, &resource),
            false => Api::all_with(client, &resource),
        };
        let place = match kind.namespaced() {
            true => format!(" in namespace {namespace}"),
            false => String::new(),
        };
        let names = api.list(&ListParams::default().limit(NAMES_MAX)).await;
        let names: Vec<String> = names
            .map(|all| all.items.into_iter().filter_map(|item| item.metadata.name).collect())
            .unwrap_or_default();
        let flag = if kind.namespaced() { format!(" -n {namespace}") } else { String::new() };
        let next = match near(name, names.iter().map(String::as_str)) {
            near if near.is_empty() => {
                format!("see what there is: kubectl get {}{flag}", kind.plural)
            }
            near => format!("did you mean {}?", near.join(" or ")),
        };
        Error::NotFound(format!("there is no {} {name:?}{place}; {next}", kind.singular))
    }

    fn failed(&self, doing: &str, error: kube::Error) -> Error {
        let place = &self.place;
        match error {
            kube::Error::Api(status) if status.code == 401 => Error::Connection(format!(
                "the plane at {place} does not know who you are: {}; the certificate or token may have expired",
                status.message
            )),
            kube::Error::Api(status) if status.code == 429 || status.code >= 500 => {
                Error::Connection(format!(
                    "{doing}: the plane at {place} has too much to do, or trouble of its own: {}; try again",
                    status.message
                ))
            }
            kube::Error::Api(status) => Error::Refused(format!(
                "the plane refuses {doing}: {}",
                if status.message.is_empty() { &status.reason } else { &status.message }
            )),
            kube::Error::SerdeError(error) => Error::Connection(format!(
                "{doing}: the answer of {place} cannot be understood: {error}; is it a plane, and of this release?"
            )),
            error => Error::Connection(format!(
                "cannot reach the plane at {place}: {}; is it running, and is that its address?",
                cause(&error)
            )),
        }
    }
}

fn resource(kind: KindRef) -> ApiResource {
    let name = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    ApiResource::from_gvk_with_plural(&name, kind.plural)
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// An object of a list says by itself what it is.
fn typed(kind: KindRef, object: &DynamicObject) -> Value {
    let mut value = value(object);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".into(), kind.api_version().into());
        fields.insert("kind".into(), kind.kind.into());
    }
    value
}

fn typed_event(kind: KindRef, event: watcher::Event<DynamicObject>) -> watcher::Event<Value> {
    use watcher::Event;
    match event {
        Event::Apply(object) => Event::Apply(typed(kind, &object)),
        Event::Delete(object) => Event::Delete(typed(kind, &object)),
        Event::InitApply(object) => Event::InitApply(typed(kind, &object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// An object as its type.
pub(crate) fn seen<K: Kind>(raw: Value) -> Result<Seen<K>, Error> {
    let object = K::deserialize(&raw).map_err(|error| {
        Error::Connection(format!(
            "a {} of the plane cannot be understood: {error}; is the plane of a newer release than this quarterdeck?",
            K::KIND
        ))
    })?;
    Ok(Seen { raw, object })
}
