//! The decision: may this target be disrupted now?

use crate::{
    book::{Book, Host, Instance, Target},
    refusal::{Refusal, whom_to_ask},
    table::Number,
};
use quarterdeck_model::{
    Time,
    kinds::{Approval, DisruptionHook, PermittedLoss},
};
use std::{collections::BTreeMap, sync::Arc};

/// Services that a permit names; the rest is a number.
const NAMED_MAX: usize = 20;
/// Instances that a hook is told of by name; the rest is a number.
const TOLD_MAX: usize = 100;

/// Who wants to disrupt what.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What would be disrupted.
    pub target: Target<'a>,
    /// Namespace of whoever asks.
    pub namespace: &'a str,
    /// What it would do.
    pub runbook: &'a str,
    /// What people have said of it.
    pub approvals: &'a [Approval],
    /// The person who asked for it, if that is known.
    pub requester: Option<&'a str>,
    /// It is the owner's own change, as a rollout is: whom he wants to be asked by others, and when, does not hold for
    /// himself. His budget does, and freezes do.
    pub own_change: bool,
    /// The time.
    pub now: Time,
}

/// What would be lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Servers.
    pub servers: u32,
    /// Instances on them.
    pub instances: u32,
    /// The services of those, the most concerned first, at most twenty.
    pub services: Vec<PermittedLoss>,
    /// Who approved it, where that was wanted.
    pub approved_by: Vec<String>,
    /// Services that want to be asked before it happens.
    pub hooks: Vec<Concern>,
}

/// A service that wants to be asked, and what it would lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// `namespace/name` of the service.
    pub service: Arc<str>,
    /// Who is to be asked.
    pub hook: DisruptionHook,
    /// How many of its instances would be lost that are not already.
    pub lost: u32,
    /// Their names, the first hundred.
    pub instances: Vec<String>,
    /// `; its owner is payments (#payments)`, for people.
    pub contact: String,
}

impl Book {
    /// Whether the target may be disrupted now. Whoever goes on with the answer must note it with
    /// [`Book::permit`] before the next question is asked.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ask(&self, request: &Request<'_>) -> Result<Grant, Refusal> {
        let hosts = self.hosts_of(request.target);
        let places = self.places_of(request.target, &hosts);
        let mut approved_by = self.unfrozen(request, &places)?;
        self.within_limits(&hosts)?;
        let lost: Vec<&Instance> = match self.instance_of(request.target) {
            Some(instance) => self.fresh_instance(instance).into_iter().collect(),
            None => self.fresh_instances(&hosts).collect(),
        };
        let more = newly_lost(&lost);
        if !request.own_change {
            self.within_windows(&more, request.now)?;
        }
        self.within_budgets(&more)?;
        if request.own_change {
            let approved_by = approved_by.into_iter().collect();
            return Ok(Grant { approved_by, ..self.loss(request.target) });
        }
        approved_by.extend(self.approved(request, &places, &more)?);
        let hooks = self.concerns(&more, &lost);
        let approved_by = approved_by.into_iter().collect();
        Ok(Grant { approved_by, hooks, ..self.loss(request.target) })
    }

    /// What would be lost with a target, whether it may be or not.
    pub fn loss(&self, target: Target<'_>) -> Grant {
        let hosts = self.hosts_of(target);
        self.lost(&hosts, self.instance_of(target))
    }

    /// No place has more servers disrupted than it allows.
    fn within_limits(&self, hosts: &[Number]) -> Result<(), Refusal> {
        let mut more: BTreeMap<Number, u32> = BTreeMap::new();
        for rack in self.fresh(hosts).filter_map(|host| host.rack) {
            for number in self.around(rack) {
                if self.places.get(number).is_some_and(|place| place.limit.is_some()) {
                    *more.entry(number).or_default() += 1;
                }
            }
        }
        for (number, more) in more {
            let Some(place) = self.places.get(number) else { continue };
            let Some(limit) = place.limit else { continue };
            if place.disrupted.saturating_add(more) > limit {
                return Err(self.over_limit(number, place, limit, more));
            }
        }
        Ok(())
    }

    /// Those of the servers that are not under a permit. The others are counted already.
    fn fresh(&self, hosts: &[Number]) -> impl Iterator<Item = &Host> {
        let hosts = hosts.iter().filter_map(|number| self.hosts.get(*number));
        hosts.filter(|host| host.permits.is_empty())
    }

    /// Instances that would be lost and are not down yet.
    fn fresh_instances(&self, hosts: &[Number]) -> impl Iterator<Item = &Instance> {
        let instances = self.fresh(hosts).flat_map(|host| &host.instances);
        let instances = instances.filter_map(|at| self.instances.get(*at));
        instances.filter(|instance| instance.is_up())
    }

    /// An instance that would be stopped alone, when it is not down yet.
    fn fresh_instance<'b>(&self, instance: &'b Instance) -> Option<&'b Instance> {
        let host = self.hosts.get(instance.host)?;
        let fresh = instance.is_up() && host.permits.is_empty();
        fresh.then_some(instance)
    }

    /// Services that would lose something and want to be asked.
    fn concerns(&self, more: &BTreeMap<Number, u32>, lost: &[&Instance]) -> Vec<Concern> {
        let wants = |number: &Number| {
            let service = self.services.get(*number);
            service.is_some_and(|service| service.spec.disruption_hook.is_some())
        };
        let mut own: BTreeMap<Number, Vec<String>> =
            more.keys().filter(|number| wants(number)).map(|it| (*it, Vec::new())).collect();
        if own.is_empty() {
            return Vec::new();
        }
        for instance in lost {
            if let Some(names) = own.get_mut(&instance.service)
                && names.len() < TOLD_MAX
            {
                names.push(instance.short_name().to_owned());
            }
        }
        let asked = own.into_iter().filter_map(|(number, instances)| {
            let (service, lost) = (self.services.get(number)?, more.get(&number)?);
            let hook = service.spec.disruption_hook.clone()?;
            let mut contact = String::new();
            whom_to_ask(&mut contact, service);
            let service = service.name.clone();
            Some(Concern { service, hook, lost: *lost, instances, contact })
        });
        asked.collect()
    }

    /// No service has more instances down than its budget says.
    fn within_budgets(&self, more: &BTreeMap<Number, u32>) -> Result<(), Refusal> {
        let over = more.iter().filter_map(|(number, more)| {
            let service = self.services.get(*number)?;
            let down = u32::try_from(service.down.len()).unwrap_or(u32::MAX);
            (down.saturating_add(*more) > service.most_down()).then_some((*number, service, *more))
        });
        let mut over: Vec<_> = over.collect();
        // Always the same one is named first.
        over.sort_by(|(_, one, _), (_, other, _)| one.name.cmp(&other.name));
        match over.split_first() {
            Some(((number, service, more), others)) => {
                let others: Vec<&str> = others.iter().map(|(_, other, _)| &*other.name).collect();
                Err(self.over_budget(*number, service, *more, &others))
            }
            None => Ok(()),
        }
    }

    fn within_windows(&self, more: &BTreeMap<Number, u32>, now: Time) -> Result<(), Refusal> {
        let closed = more.keys().filter_map(|number| {
            let service = self.services.get(*number)?;
            Some((*number, service, service.spec.closed_until(now)?))
        });
        // The one that opens last, since all must be open; of several, always the same.
        let last = closed.max_by(|(_, one, until), (_, other, after)| {
            let never = |until: &Option<Time>| (until.is_none(), *until);
            never(until).cmp(&never(after)).then_with(|| other.name.cmp(&one.name))
        });
        match last {
            Some((number, service, until)) => Err(Self::closed(number, service, until)),
            None => Ok(()),
        }
    }

    /// What is on the servers.
    fn lost(&self, hosts: &[Number], alone: Option<&Instance>) -> Grant {
        let mut by_service: BTreeMap<Number, u32> = BTreeMap::new();
        let mut instances = 0_u32;
        let on = hosts.iter().filter_map(|number| self.hosts.get(*number));
        let on = on.flat_map(|host| &host.instances).filter_map(|at| self.instances.get(*at));
        for instance in on.chain(alone) {
            instances = instances.saturating_add(1);
            *by_service.entry(instance.service).or_default() += 1;
        }
        let named = by_service.iter().filter_map(|(number, instances)| {
            let service = self.services.get(*number)?.name.to_string();
            Some(PermittedLoss { service, instances: *instances })
        });
        let mut services: Vec<PermittedLoss> = named.collect();
        services.sort_by(|one, other| {
            (other.instances, &one.service).cmp(&(one.instances, &other.service))
        });
        services.truncate(NAMED_MAX);
        let servers = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        Grant { servers, instances, services, ..Grant::default() }
    }
}

/// How many instances each service would lose that are not down yet.
fn newly_lost(lost: &[&Instance]) -> BTreeMap<Number, u32> {
    let mut more: BTreeMap<Number, u32> = BTreeMap::new();
    for instance in lost {
        *more.entry(instance.service).or_default() += 1;
    }
    more
}
