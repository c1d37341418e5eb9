//! Impact: what is lost when these go? Which services lose how many of how many instances, which of them fall under their
//! budget, and which are hit because they depend on those.
//!
//! It asks nobody and grants nothing: [`Book::ask`] does. What is down already, or under a permit, counts as lost.

use crate::{
    book::{Book, Target},
    table::Number,
};
use quarterdeck_model::kinds::Dependency;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// What becomes of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It loses something, and has as many instances as its budget asks for.
    WithinBudget,
    /// Something that it uses is down, and it does less.
    Degraded,
    /// It has fewer instances than its budget asks for.
    UnderBudget,
    /// It has no instance left, or something is down that it cannot be without.
    Down,
}

/// What one service loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImpact {
    /// `namespace/name`.
    pub service: Arc<str>,
    /// Instances that there are, or are to be.
    pub total: u32,
    /// Of those that are up, how many are lost.
    pub lost: u32,
    /// How many are up afterwards.
    pub left: u32,
    /// How many must be up, by its budget.
    pub needed: u32,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The service that is down, or under its budget, through which it is hit; none when it loses instances of its own.
    pub through: Option<Arc<str>>,
    /// How many services lie between it and what is lost.
    pub distance: u32,
    /// Who owns it, how it is reached, and how critical it is.
    pub owner: Option<String>,
    /// How its owner is reached.
    pub contacts: Vec<String>,
    /// How critical it is, 1 most.
    pub tier: Option<u8>,
    /// All of it, as a sentence.
    pub why: String,
}

/// What is lost when all of some targets go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// Servers, each once.
    pub servers: u32,
    /// Instances on them, and those that go alone.
    pub instances: u32,
    /// What becomes of services, the worst first.
    pub services: Vec<ServiceImpact>,
}

impl Impact {
    /// The worst that becomes of any service.
    pub fn verdict(&self) -> Option<Verdict> {
        self.services.iter().map(|service| service.verdict).max()
    }
}

/// What is known of a service while it is worked out.
struct Hit {
    verdict: Verdict,
    lost: u32,
    through: Option<Number>,
    distance: u32,
}

/// Something of services, by their numbers: a million instances say something of theirs, and each finds it at once.
struct ByService<T>(Vec<Option<T>>);

impl<T> ByService<T> {
    /// Nothing yet, of so many.
    fn of(services: usize) -> Self {
        Self(std::iter::repeat_with(|| None).take(services).collect())
    }

    fn get(&self, service: Number) -> Option<&T> {
        self.0.get(service as usize)?.as_ref()
    }

    fn set(&mut self, service: Number, value: T) {
        if let Some(place) = self.0.get_mut(service as usize) {
            *place = Some(value);
        }
    }

    /// In the order of numbers.
    fn iter(&self) -> impl Iterator<Item = (Number, &T)> {
        (0..).zip(&self.0).filter_map(|(service, value)| Some((service, value.as_ref()?)))
    }
}

impl ByService<u32> {
    /// One instance of it goes, which counts when it was up.
    fn add(&mut self, service: Number, up: bool) {
        if let Some(lost) = self.0.get_mut(service as usize) {
            *lost = Some(lost.unwrap_or(0).saturating_add(u32::from(up)));
        }
    }
}

impl Book {
    /// What is lost when these go, all at once.
    pub fn impact(&self, targets: &[Target<'_>]) -> Impact {
        let hosts = self.hosts_lost(targets);
        let mut lost: ByService<u32> = ByService::of(self.services.rows());
        let mut instances = 0_u32;
        for host in &hosts {
            let Some(host) = self.hosts.get(*host) else { continue };
            let under_permit = !host.permits.is_empty();
            for instance in host.instances.iter().filter_map(|at| self.instances.get(*at)) {
                instances = instances.saturating_add(1);
                let up = instance.is_up() && !under_permit;
                lost.add(instance.service, up);
            }
        }
        // Those that go alone, and not with their host.
        let alone: BTreeSet<&str> = targets
            .iter()
            .filter_map(|target| match target {
                Target::Instance(name) => Some(*name),
                _ => None,
            })
            .collect();
        for name in alone {
            let Some(instance) = self.instance_of(Target::Instance(name)) else { continue };
            if hosts.binary_search(&instance.host).is_ok() {
                continue;
            }
            instances = instances.saturating_add(1);
            let permits = self.hosts.get(instance.host).is_some_and(|it| !it.permits.is_empty());
            lost.add(instance.service, instance.is_up() && !permits);
        }
        let hits = self.spread(&lost);
        let mut services: Vec<ServiceImpact> =
            hits.iter().filter_map(|(number, hit)| self.told(number, hit)).collect();
        services.sort_by(|one, other| {
            let key = |it: &ServiceImpact| {
                (std::cmp::Reverse(it.verdict), it.tier.unwrap_or(u8::MAX), it.distance)
            };
            key(one).cmp(&key(other)).then_with(|| one.service.cmp(&other.service))
        });
        let servers = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        Impact { servers, instances, services }
    }

    /// Servers that go with all of these together, in order, each once: two feeds take what neither takes alone.
    fn hosts_lost(&self, targets: &[Target<'_>]) -> Vec<Number> {
        let mut hosts = Vec::new();
        let mut places = BTreeSet::new();
        for target in targets {
            match target {
                Target::Place(name) => places.extend(self.find_place(*name)),
                other => hosts.extend(self.hosts_of(*other)),
            }
        }
        hosts.extend(self.lost_with_all(&places));
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// What becomes of services that lose instances, and of those that use them, however far.
    fn spread(&self, lost: &ByService<u32>) -> ByService<Hit> {
        let mut hits: ByService<Hit> = ByService::of(self.services.rows());
        let mut open: VecDeque<Number> = VecDeque::new();
        for (number, lost) in lost.iter() {
            let Some(service) = self.services.get(number) else { continue };
            let (left, needed) = service.left(*lost);
            let verdict = match (left, needed) {
                (0, _) => Verdict::Down,
                (left, needed) if left < needed => Verdict::UnderBudget,
                _ => Verdict::WithinBudget,
            };
            hits.set(number, Hit { verdict, lost: *lost, through: None, distance: 0 });
            open.push_back(number);
        }
        // Each service gets worse at most three times, so that this ends, also where services use each other.
        while let Some(number) = open.pop_front() {
            let (Some(service), Some(hit)) = (self.services.get(number), hits.get(number)) else {
                continue;
            };
            let (verdict, distance) = (hit.verdict, hit.distance + 1);
            for (dependent, kind) in &service.dependents {
                let next = match (verdict, kind) {
                    (Verdict::Down, Dependency::Hard) => Verdict::Down,
                    (Verdict::Down, Dependency::Soft)
                    | (Verdict::UnderBudget | Verdict::Degraded, Dependency::Hard) => {
                        Verdict::Degraded
                    }
                    _ => continue,
                };
                let lost = match hits.get(*dependent) {
                    Some(before) if before.verdict >= next => continue,
                    Some(before) => before.lost,
                    None => 0,
                };
                let hit = Hit { verdict: next, lost, through: Some(number), distance };
                hits.set(*dependent, hit);
                open.push_back(*dependent);
            }
        }
        hits
    }

    fn told(&self, number: Number, hit: &Hit) -> Option<ServiceImpact> {
        let service = self.services.get(number)?;
        let (left, needed) = service.left(hit.lost);
        let through = hit.through.and_then(|at| self.services.get(at));
        let name = &service.name;
        let total = service.total.max(service.expected());
        let counted = match hit.lost {
            0 => String::new(),
            lost => format!("{name} loses {lost} of {total} instances"),
        };
        // One that is as bad already loses nothing more, and is told all the same.
        let loses = match counted.is_empty() {
            true => format!("{name} loses nothing more"),
            false => counted.clone(),
        };
        let why = match (hit.verdict, through) {
            (Verdict::Down, None) => format!("{loses} and has none left"),
            (Verdict::UnderBudget, _) => {
                format!("{loses} and has {left} left, where its budget asks for {needed}")
            }
            (Verdict::WithinBudget, _) if hit.lost == 0 => {
                format!("{name} loses nothing that is not down already")
            }
            (Verdict::WithinBudget, _) => {
                format!(
                    "{counted} and has {left} left, which is enough: its budget asks for {needed}"
                )
            }
            (Verdict::Down, Some(through)) => {
                let also = if counted.is_empty() { String::new() } else { format!("; {counted}") };
                format!(
                    "{name} is down because {}, which it cannot be without, is{also}",
                    through.name
                )
            }
            (Verdict::Degraded, through) => {
                let through = through.map_or("", |through| &through.name);
                let also = if counted.is_empty() { String::new() } else { format!("; {counted}") };
                format!("{name} does less because {through}, which it uses, is hit{also}")
            }
        };
        Some(ServiceImpact {
            service: name.clone(),
            total,
            lost: hit.lost,
            left,
            needed,
            verdict: hit.verdict,
            through: through.map(|through| through.name.clone()),
            distance: hit.distance,
            owner: service.spec.owner.clone(),
            contacts: service.spec.contacts.clone(),
            tier: service.spec.tier,
            why,
        })
    }
}
