//! Instances as `v1` Pods and Machines as `v1` Nodes, for what only knows those: `kubectl get pods`, k9s, dashboards.
//! A view has no objects of its own, is computed from one object each time it is asked for,
//! and has that object's revision, so that lists, watches and history hold for it as for any kind.
//!
//! A Node is named `MACHINE.NAMESPACE`: Machines of two namespaces may have one name, and Nodes have no namespace.
//!
//! Nothing of them is written but what kubectl's own verbs need: whether a Node takes more ([`cordon`]), and that a Pod is
//! to go elsewhere ([`evict`]). [`logs`] and [`exec`] talk with containers, and [`usage`] is what `kubectl top` shows.

mod cordon;
mod evict;
mod exec;
mod lasting;
mod logs;
mod node;
mod pod;
mod pod_part;
pub(crate) mod usage;

pub(crate) use cordon::write as write_node;
pub(crate) use lasting::Lasting;
pub(crate) use pod_part::PodPart;

use crate::{
    answer::Answer,
    authorize::Sight,
    negotiate::Form,
    path::{Query, VersionMatch},
    read,
    server::Api,
    status::ApiError,
};
use http::{Method, Request};
use hyper::body::Incoming;
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, KindRef, Object, Revision,
    kinds::{Instance, Machine},
    object,
    schema::PRESERVE,
    selector::FieldRequirement,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// What can be done with what is only viewed.
pub(crate) const VERBS: [&str; 3] = ["get", "list", "watch"];

/// The same of a Node, of which it is written whether it takes more.
pub(crate) const NODE_VERBS: [&str; 5] = ["get", "list", "patch", "update", "watch"];

/// One of the two views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Instances that have containers.
    Pods,
    /// Machines.
    Nodes,
}

/// Kinds of the core that are views.
pub(crate) fn kinds() -> [KindRef; 2] {
    [pod::kind(), node::kind()]
}

/// Answers what is done with a Pod.
pub(crate) async fn pod(
    api: &Api,
    (namespace, name, part): (&str, &str, PodPart),
    query: &Query,
    request: Request<Incoming>,
    lasting: impl FnOnce() -> Result<Lasting, ApiError>,
) -> Result<Answer, ApiError> {
    let pod = (namespace, name);
    match (part, request.method()) {
        (PodPart::Log, &Method::GET) => {
            logs::answer(api, pod, request.uri().query(), lasting()?).await
        }
        (PodPart::Exec, &(Method::GET | Method::POST)) => {
            exec::answer(api, pod, request, lasting()?).await
        }
        (PodPart::Eviction, &Method::POST) => evict::answer(api, pod, query, request).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// The kind at a path, if it is one of them, or what they take.
pub(crate) fn by_path(group: &str, version: &str, plural: &str) -> Option<KindRef> {
    kinds()
        .into_iter()
        .chain(usage::kinds())
        .find(|it| (it.group, it.version, it.plural) == (group, version, plural))
}

impl View {
    /// The view that a kind is.
    pub(crate) fn of(kind: KindRef) -> Option<Self> {
        match kind {
            kind if kind == pod::kind() => Some(Self::Pods),
            kind if kind == node::kind() => Some(Self::Nodes),
            _ => None,
        }
    }

    fn kind(self) -> KindRef {
        match self {
            Self::Pods => pod::kind(),
            Self::Nodes => node::kind(),
        }
    }

    /// What it is a view of.
    pub(crate) fn source(self) -> KindRef {
        match self {
            Self::Pods => Instance::info(),
            Self::Nodes => Machine::info(),
        }
    }

    /// What an object is in this view; none, if it is not in it.
    pub(crate) fn project(self, source: &Object) -> Option<Arc<Object>> {
        let (name, value) = match self {
            Self::Pods => (source.name().to_owned(), pod::project(source)?),
            Self::Nodes => (node_name(source.name(), source.namespace()), node::project(source)),
        };
        let namespace = if self == Self::Pods { source.namespace() } else { "" };
        let key = Key::new(self.kind(), namespace, &name);
        let body = object::encode(self.kind(), &value);
        Object::from_body(self.kind(), key, source.revision, &body).ok().map(Arc::new)
    }

    /// What of a selector on fields can be looked up among what it is a view of.
    pub(crate) fn fields(self, asked: &FieldSelector) -> FieldSelector {
        let equal = |path: &str, value: &str| FieldRequirement {
            path: path.into(),
            value: value.into(),
            equal: true,
        };
        let look_up =
            asked.0.iter().filter(|it| it.equal).flat_map(|it| match (self, it.path.as_str()) {
                (Self::Pods, "spec.nodeName") => {
                    let (machine, namespace) = it.value.split_once('.').unwrap_or((&it.value, ""));
                    vec![
                        equal("metadata.namespace", namespace),
                        equal("spec.host.kind", "Machine"),
                        equal("spec.host.name", machine),
                    ]
                }
                (Self::Pods, "metadata.name" | "metadata.namespace") => vec![it.clone()],
                (Self::Nodes, "metadata.name") => {
                    let (machine, namespace) = it.value.split_once('.').unwrap_or((&it.value, ""));
                    vec![equal("metadata.namespace", namespace), equal("metadata.name", machine)]
                }
                _ => Vec::new(),
            });
        FieldSelector(look_up.collect())
    }

    /// Refuses to watch what changes under the watch, which only a look at each version before could tell.
    pub(crate) fn check_watched(self, asked: &FieldSelector) -> Result<(), ApiError> {
        let looked_up = |it: &&FieldRequirement| {
            it.equal
                && matches!(
                    it.path.as_str(),
                    "spec.nodeName" | "metadata.name" | "metadata.namespace"
                )
        };
        match asked.0.iter().find(|it| !looked_up(it)) {
            None => Ok(()),
            Some(it) => Err(ApiError::bad_request(format!(
                "{} cannot be watched by {}; select by it in a list, or watch all",
                self.kind().plural,
                it.path
            ))),
        }
    }

    /// What an object is in this view, if the query and the caller's sight let it be.
    pub(crate) fn shown(
        self,
        source: &Object,
        query: &Query,
        sight: &Sight,
    ) -> Option<Arc<Object>> {
        let it = self.project(source)?;
        let seen = sight.sees(it.namespace(), it.name());
        (seen && query.labels.matches(&it) && query.fields.matches(&it)).then_some(it)
    }

    /// One of them.
    pub(crate) async fn get(
        self,
        api: &Api,
        (namespace, name): (&str, &str),
        query: &Query,
        form: Form,
    ) -> Result<Answer, ApiError> {
        let (within, of) = match self {
            Self::Pods => (namespace, name),
            Self::Nodes => machine_of(name),
        };
        let world = read::world_at(api, query.version).await?;
        let found = match query.version {
            VersionMatch::Exact(at) => {
                let at = Revision(at);
                let found = api.store.get_at(&world, at, self.source(), within, of);
                found.map_err(|_| read::too_old(at))?
            }
            _ => world.get(self.source(), within, of),
        };
        let shown = found.and_then(|it| self.project(&it));
        read::one(&*shown.ok_or_else(|| ApiError::not_found(self.kind(), name))?, query, form)
    }

    /// Those that a query asks for.
    pub(crate) async fn list(
        self,
        api: &Api,
        namespace: Option<&str>,
        query: &Query,
        form: Form,
        sight: &Sight,
    ) -> Result<Answer, ApiError> {
        let (meta, shown) = self.found(api, namespace, query, sight).await?;
        read::list_of(self.kind(), meta, shown, query, form).await
    }

    /// The same, and what is said of them together.
    async fn found(
        self,
        api: &Api,
        namespace: Option<&str>,
        query: &Query,
        sight: &Sight,
    ) -> Result<(Value, Vec<Arc<Object>>), ApiError> {
        read::check_fields(self.kind(), query)?;
        let asked = Query {
            labels: query.labels.clone(),
            fields: self.fields(&query.fields),
            limit: query.limit,
            next: query.next.clone(),
            version: query.version,
            ..Query::default()
        };
        // Who may see some Nodes only is shown those among all: their names are not those of Machines.
        let all = Sight::All;
        let within = if self == Self::Pods { sight } else { &all };
        let listed = read::page(api, self.source(), namespace, &asked, within).await?;
        let mut meta = listed.meta();
        // What is left out here is not counted there.
        if let Some(meta) = meta.as_object_mut() {
            meta.remove("remainingItemCount");
        }
        let shown = listed.page.items.iter().filter_map(|it| self.shown(it, query, sight));
        Ok((meta, shown.collect()))
    }
}

/// Namespace and name of the Machine that a Node is.
fn machine_of(node: &str) -> (&str, &str) {
    node.split_once('.').map_or(("", node), |(name, within)| (within, name))
}

/// Name of the Node that a Machine is.
fn node_name(machine: &str, namespace: &str) -> String {
    format!("{machine}.{namespace}")
}

/// Metadata as in the view: the object's own, without who manages its fields.
fn metadata(value: &Value, name: &str) -> Value {
    let mut meta = value.get("metadata").cloned().unwrap_or_else(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.remove("managedFields");
        meta.remove("resourceVersion");
        meta.insert("name".into(), name.into());
    }
    meta
}

/// Any object: what is in it is Kubernetes' to say.
fn schema(description: &str) -> Value {
    let open = json!({"type": "object", PRESERVE: true});
    json!({
        "type": "object", "description": description,
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": open, "spec": open, "status": open,
        },
    })
}

#[cfg(test)]
mod tests;
