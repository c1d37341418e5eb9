//! A service, as its page shows it.

use super::{
    object::{Node, Reference, ValueCount},
    permit::{Permit, count},
    run::unreadable,
    scalars::Time,
};
use crate::{
    moment::{self, Moment},
    uses, where_is,
};
use async_graphql::{Context, Enum, Error, Object, SimpleObject};
use quarterdeck_model::{Kind as _, Object as Stored, kinds};
use std::{cmp::Reverse, collections::HashMap, sync::Arc};

/// Values that are told of a count.
const VALUES_MAX: usize = 100;
/// Permits that are looked through: as many as there can be runs at once.
const PERMITS_MAX: usize = 20_000;

/// A service.
pub(crate) struct Service {
    stored: Arc<Stored>,
    service: kinds::Service,
}

impl Service {
    pub(crate) fn read(stored: Arc<Stored>) -> Result<Self, Error> {
        let service = stored.decode().map_err(unreadable)?;
        Ok(Self { stored, service })
    }

    /// Its instances that may be seen.
    async fn found(&self, moment: &Moment) -> Result<Vec<Arc<Stored>>, Error> {
        let found = moment.instances(self.stored.namespace(), self.stored.name());
        moment.charge(found.len() / 4).await?;
        Ok(found)
    }
}

/// What becomes of a service when one that it uses is down.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyType {
    /// It is down as well.
    Hard,
    /// It does less, or less well.
    Soft,
}

impl From<kinds::Dependency> for DependencyType {
    fn from(kind: kinds::Dependency) -> Self {
        match kind {
            kinds::Dependency::Hard => Self::Hard,
            kinds::Dependency::Soft => Self::Soft,
        }
    }
}

/// One service uses another.
#[derive(SimpleObject)]
pub(crate) struct Dependency {
    /// The other service.
    service: Reference,
    r#type: DependencyType,
}

/// The most frequent values first.
pub(crate) fn counted(values: impl Iterator<Item = String>) -> Vec<ValueCount> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|(one, a), (other, b)| (Reverse(a), one).cmp(&(Reverse(b), other)));
    counts.truncate(VALUES_MAX);
    counts.into_iter().map(ValueCount::of).collect()
}

/// A service, as its page shows it.
#[Object]
impl Service {
    async fn object(&self) -> Node {
        Node::new(self.stored.clone())
    }

    async fn owner(&self) -> Option<&str> {
        self.service.spec.owner.as_deref()
    }

    async fn tier(&self) -> Option<i32> {
        self.service.spec.tier.map(i32::from)
    }

    async fn contacts(&self) -> &[String] {
        &self.service.spec.contacts
    }

    async fn phase(&self) -> Option<&str> {
        self.service.status.phase.as_deref()
    }

    async fn instances(&self) -> i32 {
        count(self.service.status.instances.unwrap_or_default())
    }

    /// Those not available, or under a permit.
    async fn down(&self) -> i32 {
        count(self.service.status.down.unwrap_or_default())
    }

    /// How many may be down at most.
    async fn budget(&self) -> i32 {
        count(self.service.spec.most_down(self.service.status.instances.unwrap_or_default()))
    }

    async fn disruptions_allowed(&self) -> i32 {
        count(self.service.status.disruptions_allowed.unwrap_or_default())
    }

    /// Its maintenance windows are all closed until then.
    async fn closed_until(&self, ctx: &Context<'_>) -> Result<Option<Time>, Error> {
        let now = moment::of(ctx)?.now.into();
        Ok(self.service.spec.closed_until(now).flatten().map(Into::into))
    }

    /// Its instances by phase.
    async fn phases(&self, ctx: &Context<'_>) -> Result<Vec<ValueCount>, Error> {
        let found = self.found(moment::of(ctx)?).await?;
        let phase = |it: &Arc<Stored>| it.field("status.phase").unwrap_or_default().to_owned();
        Ok(counted(found.iter().map(phase)))
    }

    /// Its instances by site.
    async fn sites(&self, ctx: &Context<'_>) -> Result<Vec<ValueCount>, Error> {
        let moment = moment::of(ctx)?;
        let found = self.found(moment).await?;
        let site = |it: &Arc<Stored>| {
            let rack = where_is::rack(moment, it).and_then(|rack| where_is::site(moment, &rack));
            rack.unwrap_or_default()
        };
        Ok(counted(found.iter().map(site)))
    }

    /// Its instances by rack: those with the most first, at most 100.
    async fn racks(&self, ctx: &Context<'_>) -> Result<Vec<ValueCount>, Error> {
        let moment = moment::of(ctx)?;
        let found = self.found(moment).await?;
        let rack = |it: &Arc<Stored>| where_is::rack(moment, it).unwrap_or_default();
        Ok(counted(found.iter().map(rack)))
    }

    /// Services that it uses, as it names them: they may not be there.
    async fn depends_on(&self) -> Vec<Dependency> {
        let named = uses::uses(&self.stored).into_iter();
        named.map(|(namespace, name, kind)| dependency(&namespace, &name, kind)).collect()
    }

    /// Services that use it, of those that may be seen.
    async fn used_by(&self, ctx: &Context<'_>) -> Result<Vec<Dependency>, Error> {
        let moment = moment::of(ctx)?;
        let (own, name) = (self.stored.namespace(), self.stored.name());
        let users = moment.users();
        let users: Vec<Arc<Stored>> = users
            .of(own, name)
            .filter_map(|(namespace, name)| moment.get(kinds::Service::info(), namespace, name))
            .collect();
        moment.charge(users.len()).await?;
        let told = users.iter().filter_map(|user| {
            let named = uses::uses(user).into_iter();
            let (.., kind) =
                named.filter(|(at, it, _)| at == own && it == name).max_by_key(|it| it.2)?;
            Some(dependency(user.namespace(), user.name(), kind))
        });
        Ok(told.collect())
    }

    /// Permits that take instances of it, or wait for it.
    async fn permits(&self, ctx: &Context<'_>) -> Result<Vec<Permit>, Error> {
        let moment = moment::of(ctx)?;
        let kind = kinds::Permit::info();
        let all = moment.world.count(kind).min(PERMITS_MAX);
        moment.charge(all / 8).await?;
        let full = format!("{}/{}", self.stored.namespace(), self.stored.name());
        // A permit names the service in its losses, or in the sentence that says who blocks.
        let names =
            |permit: &&Arc<Stored>| memchr::memmem::find(&permit.json, full.as_bytes()).is_some();
        let found = moment.world.all(kind).take(PERMITS_MAX).filter(names).cloned().collect();
        let permits = moment.seen(found);
        Ok(permits
            .iter()
            .filter_map(|permit| Permit::read(permit))
            .filter(|it| it.is_of(&full))
            .collect())
    }
}

fn dependency(namespace: &str, name: &str, kind: kinds::Dependency) -> Dependency {
    let service = Reference::read(kinds::Service::info(), name, namespace);
    Dependency { service, r#type: kind.into() }
}

/// Tells an instance's service in full.
pub(crate) fn full_name(instance: &Stored) -> String {
    format!("{}/{}", instance.namespace(), instance.field("spec.service").unwrap_or_default())
}
