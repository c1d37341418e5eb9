//! An object of any kind, and what can be asked of it.

use super::{
    events::{self, Event},
    links::{Graph, LinkGroup},
    scalars::{Time, number, time},
    timeline::Timeline,
};
use crate::{
    around, history,
    links::{self, Named},
    moment::{self, Moment},
    shown,
};
use async_graphql::{Context, Error, Object, SimpleObject};
use quarterdeck_model::{KindRef, Object as Stored, Picker};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Most paths that are read of one object.
const PATHS_MAX: usize = 50;
/// Bytes of an object that is as dear as one object read; a larger one is as dear as several.
const OBJECT_BYTES: usize = 1_024;
/// Most of a list that is shown of one object.
pub(crate) const FIRST_MAX: i32 = 500;

/// An object that its asker may see.
pub(crate) struct Node {
    stored: Arc<Stored>,
    value: OnceLock<Value>,
}

impl Node {
    /// An object of which it is known that it may be seen.
    pub(crate) fn new(stored: Arc<Stored>) -> Self {
        Self { stored, value: OnceLock::new() }
    }

    /// The object as a tree. To read it costs by its size, the first time.
    async fn value(&self, ctx: &Context<'_>) -> Result<&Value, Error> {
        if self.value.get().is_none() {
            moment::of(ctx)?.charge(cost(&self.stored)).await?;
        }
        Ok(self.value.get_or_init(|| shown::value(&self.stored)))
    }
}

/// What it costs to read through an object, in objects.
pub(crate) fn cost(stored: &Stored) -> usize {
    1 + stored.json.len() / OBJECT_BYTES
}

/// How many of a list are wanted.
///
/// # Errors
/// When it is none, or more than can be had.
pub(crate) fn first(first: i32, most: i32) -> Result<usize, Error> {
    if !(0..=most).contains(&first) {
        return Err(Error::new(format!("first is {first}, and must be from 0 to {most}")));
    }
    Ok(usize::try_from(first).unwrap_or(0))
}

/// An object of any kind.
#[Object(name = "Object")]
impl Node {
    async fn kind(&self) -> &str {
        self.stored.kind.kind
    }

    async fn api_version(&self) -> String {
        self.stored.kind.api_version()
    }

    async fn plural(&self) -> &str {
        self.stored.kind.plural
    }

    /// Null for kinds that are in no namespace.
    async fn namespace(&self) -> Option<&str> {
        self.stored.kind.namespaced().then(|| self.stored.namespace())
    }

    async fn name(&self) -> &str {
        self.stored.name()
    }

    async fn uid(&self) -> &str {
        self.stored.uid()
    }

    async fn resource_version(&self) -> String {
        self.stored.revision.to_string()
    }

    /// `status.phase`, where the kind has one.
    async fn phase(&self, ctx: &Context<'_>) -> Result<Option<String>, Error> {
        match self.stored.field("status.phase") {
            Some(phase) => Ok(Some(phase.to_owned()).filter(|phase| !phase.is_empty())),
            None => Ok(shown::text(self.value(ctx).await?, "/status/phase")),
        }
    }

    async fn created(&self, ctx: &Context<'_>) -> Result<Option<Time>, Error> {
        Ok(time(self.value(ctx).await?.pointer("/metadata/creationTimestamp")))
    }

    /// Its deletion was asked for.
    async fn deleting(&self) -> bool {
        self.stored.deleting()
    }

    async fn labels(&self) -> Vec<Label> {
        let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
        self.stored.labels().map(label).collect()
    }

    /// Its printer columns, as `kubectl get -o wide` shows them; times are not shown as ages.
    async fn columns(&self, ctx: &Context<'_>) -> Result<Vec<Cell>, Error> {
        moment::of(ctx)?.charge(cost(&self.stored)).await?;
        let kind = self.stored.kind;
        let picked = picker(kind);
        let values = picked.pick(&self.stored.json);
        let cell = |(column, json): (&quarterdeck_model::Column, Option<&str>)| Cell {
            name: column.name.into(),
            value: cell(column.kind, json),
        };
        Ok(kind.columns.iter().zip(values).map(cell).collect())
    }

    /// Values at these dotted paths, such as `spec.location.rack` or `status.conditions[type=Ready].reason`.
    async fn fields(
        &self,
        ctx: &Context<'_>,
        paths: Vec<String>,
    ) -> Result<Vec<Option<Value>>, Error> {
        if paths.len() > PATHS_MAX {
            return Err(Error::new(format!("at most {PATHS_MAX} paths are read of one object")));
        }
        let tree = self.value(ctx).await?;
        let value = |path: &String| Some(shown::at(tree, path).clone()).filter(|it| !it.is_null());
        Ok(paths.iter().map(value).collect())
    }

    /// The whole object. Of a Secret, without its data.
    async fn json(&self, ctx: &Context<'_>) -> Result<&Value, Error> {
        moment::of(ctx)?.charge(cost(&self.stored)).await?;
        self.value(ctx).await
    }

    async fn conditions(&self, ctx: &Context<'_>) -> Result<Vec<Condition>, Error> {
        let list = self.value(ctx).await?.pointer("/status/conditions").and_then(Value::as_array);
        Ok(list.into_iter().flatten().filter_map(Condition::read).collect())
    }

    /// The condition `Ready`.
    async fn ready(&self, ctx: &Context<'_>) -> Result<Option<Condition>, Error> {
        let condition = shown::at(self.value(ctx).await?, "status.conditions[type=Ready]");
        Ok(Condition::read(condition))
    }

    /// What it says it belongs to.
    async fn owners(&self, ctx: &Context<'_>) -> Result<Vec<Reference>, Error> {
        let list =
            self.value(ctx).await?.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let reference = |owner: &Value| {
            let kind = shown::text(owner, "/kind")?;
            let namespaced = links::kind(&kind).is_some_and(|kind| kind.namespaced());
            let namespace = namespaced.then(|| self.stored.namespace().to_owned());
            Some(Reference { kind, namespace, name: shown::text(owner, "/name")? })
        };
        Ok(list.into_iter().flatten().filter_map(reference).collect())
    }

    /// What it is linked with, both ways; all relations, or those of these names.
    async fn links(
        &self,
        ctx: &Context<'_>,
        relations: Option<Vec<String>>,
        #[graphql(default = 20)] first: i32,
    ) -> Result<Vec<LinkGroup>, Error> {
        let first = self::first(first, FIRST_MAX)?;
        super::links::groups(moment::of(ctx)?, &self.stored, relations.as_deref(), first).await
    }

    /// What is around it, at most `limit` nodes; what does not fit is counted.
    async fn graph(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 2)] hops: i32,
        relations: Option<Vec<String>>,
        #[graphql(default = 300)] limit: i32,
    ) -> Result<Graph, Error> {
        let moment = moment::of(ctx)?;
        super::links::check(relations.as_deref())?;
        let asked = around::Asked::new(hops, limit, relations)?;
        around::graph(moment, &self.stored, &asked).await
    }

    /// Who changed which field, newest first, as far back as the store keeps changes.
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Timeline, Error> {
        let first = self::first(first, history::ENTRIES_MAX)?;
        history::of(moment::of(ctx)?, &self.stored, first, after.as_deref()).await
    }

    /// Events about it, newest first.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
    ) -> Result<Vec<Event>, Error> {
        events::of(moment::of(ctx)?, &self.stored, self::first(first, FIRST_MAX)?).await
    }
}

/// One picker a kind: it is made of the kind's columns, which never change.
fn picker(kind: KindRef) -> Arc<Picker> {
    static PICKERS: OnceLock<Mutex<HashMap<Arc<str>, Arc<Picker>>>> = OnceLock::new();
    let pickers = PICKERS.get_or_init(Mutex::default);
    // A panic while it was held left a map that is whole.
    let mut pickers = pickers.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let paths: Vec<&'static str> = kind.columns.iter().map(|column| column.path).collect();
        Arc::new(Picker::of(&paths))
    };
    pickers.entry(kind.resource_name()).or_insert_with(make).clone()
}

fn cell(kind: quarterdeck_model::ColumnType, json: Option<&str>) -> Option<Value> {
    use quarterdeck_model::ColumnType;
    let value: Option<Value> = json.and_then(|json| serde_json::from_str(json).ok());
    match (kind, value) {
        (ColumnType::Count, Some(Value::Object(map))) => Some(map.len().into()),
        (ColumnType::Count, Some(Value::Array(list))) => Some(list.len().into()),
        (ColumnType::Count, _) => Some(0.into()),
        (_, value) => value,
    }
}

#[derive(SimpleObject)]
pub(crate) struct Label {
    name: String,
    value: String,
}

#[derive(SimpleObject)]
pub(crate) struct Cell {
    name: String,
    value: Option<Value>,
}

#[derive(SimpleObject)]
pub(crate) struct Condition {
    r#type: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<Time>,
}

impl Condition {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            r#type: shown::text(value, "/type")?,
            status: shown::text(value, "/status")?,
            reason: shown::text(value, "/reason"),
            message: shown::text(value, "/message"),
            last_transition_time: time(value.pointer("/lastTransitionTime")),
        })
    }
}

/// The name of an object that may be there or not.
#[derive(Clone)]
pub(crate) struct Reference {
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Reference {
    /// `namespace/name`, or a name in `namespace`.
    pub(crate) fn read(kind: KindRef, short: &str, namespace: &str) -> Self {
        let (namespace, name) = short.split_once('/').unwrap_or((namespace, short));
        let namespace = kind.namespaced().then(|| namespace.to_owned());
        Self { kind: kind.kind.into(), namespace, name: name.into() }
    }

    pub(crate) fn to(object: &Stored) -> Self {
        let namespace = object.kind.namespaced().then(|| object.namespace().to_owned());
        Self { kind: object.kind.kind.into(), namespace, name: object.name().into() }
    }

    fn object_in(&self, moment: &Moment) -> Option<Arc<Stored>> {
        let kind = links::kind(&self.kind)?;
        moment.get(kind, self.namespace.as_deref().unwrap_or_default(), &self.name)
    }
}

impl From<Named> for Reference {
    fn from(Named { kind, namespace, name }: Named) -> Self {
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        Self { kind: kind.into(), namespace, name }
    }
}

/// The name of an object that may be there or not.
#[Object]
impl Reference {
    async fn kind(&self) -> &str {
        &self.kind
    }

    async fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    async fn name(&self) -> &str {
        &self.name
    }

    /// The object; null when there is none, or none that the caller may see.
    async fn object(&self, ctx: &Context<'_>) -> Result<Option<Node>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(1).await?;
        Ok(self.object_in(moment).map(Node::new))
    }
}

/// A value, and how many have it.
#[derive(SimpleObject, Clone)]
pub(crate) struct ValueCount {
    pub(crate) value: String,
    pub(crate) count: i32,
}

impl ValueCount {
    pub(crate) fn of((value, count): (String, usize)) -> Self {
        Self { value, count: number(count) }
    }
}
