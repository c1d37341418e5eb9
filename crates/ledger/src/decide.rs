//! The decision: may this target be disrupted now?

use crate::{
    book::{Book, Target},
    refusal::Refusal,
    table::Number,
};
use quarterdeck_model::{Time, kinds::PermittedLoss};
use std::collections::BTreeMap;

/// Services that a permit names; the rest is a number.
const NAMED_MAX: usize = 20;

/// Who wants to disrupt what.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What would be disrupted.
    pub target: Target<'a>,
    /// Namespace of whoever asks.
    pub namespace: &'a str,
    /// What it would do.
    pub runbook: &'a str,
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
}

impl Book {
    /// Whether the target may be disrupted now. Whoever goes on with the answer must note it with
    /// [`Book::permit`] before the next question is asked.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ask(&self, request: &Request<'_>) -> Result<Grant, Refusal> {
        let hosts = self.hosts_of(request.target);
        if let Some(refusal) = self.frozen_by(request, &hosts) {
            return Err(refusal);
        }
        self.within_limits(&hosts)?;
        self.within_budgets(&hosts, request.now)?;
        Ok(self.lost(&hosts))
    }

    /// What would be lost with a target, whether it may be or not.
    pub fn loss(&self, target: Target<'_>) -> Grant {
        self.lost(&self.hosts_of(target))
    }

    /// No place has more servers disrupted than it allows.
    fn within_limits(&self, hosts: &[Number]) -> Result<(), Refusal> {
        let mut more: BTreeMap<Number, u32> = BTreeMap::new();
        // Those that are permitted already are counted.
        let fresh = hosts.iter().filter_map(|number| self.hosts.get(*number));
        for host in fresh.filter(|host| host.permits.is_empty()) {
            let mut next = host.rack;
            while let Some((number, place)) = next.and_then(|at| Some((at, self.places.get(at)?))) {
                if place.limit.is_some() {
                    *more.entry(number).or_default() += 1;
                }
                next = place.within;
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

    /// No service is disturbed outside of its windows, or has more instances down than its budget says.
    fn within_budgets(&self, hosts: &[Number], now: Time) -> Result<(), Refusal> {
        let mut more: BTreeMap<Number, u32> = BTreeMap::new();
        let fresh = hosts.iter().filter_map(|number| self.hosts.get(*number));
        for host in fresh.filter(|host| host.permits.is_empty()) {
            let instances = host.instances.iter().filter_map(|at| self.instances.get(*at));
            for instance in instances.filter(|instance| instance.available) {
                *more.entry(instance.service).or_default() += 1;
            }
        }
        self.within_windows(&more, now)?;
        let over = more.iter().filter_map(|(number, more)| {
            let service = self.services.get(*number)?;
            let down = u32::try_from(service.down.len()).unwrap_or(u32::MAX);
            (down.saturating_add(*more) > service.most_down()).then_some((*number, service, *more))
        });
        let mut over: Vec<_> = over.collect();
        // Always the same one is named first.
        over.sort_by(|(_, one, _), (_, other, _)| one.name.cmp(&other.name));
        match over.first() {
            Some((number, service, more)) => {
                Err(self.over_budget(*number, service, *more, over.len() - 1))
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
    fn lost(&self, hosts: &[Number]) -> Grant {
        let mut by_service: BTreeMap<Number, u32> = BTreeMap::new();
        let mut instances = 0_u32;
        for host in hosts.iter().filter_map(|number| self.hosts.get(*number)) {
            for instance in host.instances.iter().filter_map(|at| self.instances.get(*at)) {
                instances = instances.saturating_add(1);
                *by_service.entry(instance.service).or_default() += 1;
            }
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
        Grant { servers: u32::try_from(hosts.len()).unwrap_or(u32::MAX), instances, services }
    }
}
