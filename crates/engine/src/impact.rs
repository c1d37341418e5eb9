//! Answers what breaks if something goes: from a ledger's book of its own, which is read when it is first asked for, and
//! then brought along with what has changed since. Any replica answers. It grants nothing, and writes nothing.

use crate::{declared::undeclared, ledger::Facts};
use quarterdeck_ledger::{ServiceImpact, Target, Verdict};
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, Object, Time, kinds,
    kinds::{
        ImpactReportSpec, ImpactReportStatus, ImpactTarget, ImpactVerdict, ImpactedService, Rack,
        RackSpec, RunTarget, Site,
    },
};
use quarterdeck_store::{Store, World};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

/// Services that an answer names; the others are counted. More are not read, and 9,000 are megabytes.
const SERVICES_MAX: usize = 500;

/// Answers.
pub struct Impacts {
    store: Arc<Store>,
    facts: Mutex<Facts>,
}

impl Impacts {
    /// Those of what a store holds. Nothing is read before something is asked.
    pub fn new(store: Arc<Store>) -> Self {
        let facts = Mutex::new(Facts::new(store.clone()));
        Self { store, facts }
    }

    /// What breaks if these go. Takes as long as what changed since the last question; the first reads all.
    ///
    /// # Errors
    /// A field that names what does not exist.
    pub fn report(
        &self,
        spec: &ImpactReportSpec,
        now: Time,
    ) -> Result<ImpactReportStatus, FieldErrors> {
        let world = self.store.world();
        let missing: FieldErrors = spec
            .targets
            .iter()
            .enumerate()
            .flat_map(|(at, target)| missing(&world, &format!("spec.targets[{at}]"), target))
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let mut facts = self.facts.lock().unwrap_or_else(|poisoned| {
            // It may be half changed, and is read anew.
            let mut facts = poisoned.into_inner();
            facts.read_again();
            facts
        });
        facts.catch_up(now);
        // Nobody here waits for what gives way, or writes what changed.
        facts.forget_news();
        let on: Vec<Cow<'_, RunTarget>> = spec
            .targets
            .iter()
            .map(|it| facts.on_server(&it.target, it.namespace.as_deref().unwrap_or_default()))
            .collect();
        let targets: Vec<Target<'_>> = on.iter().map(|target| Target::from(&**target)).collect();
        let impact = facts.book.impact(&targets);
        let hit = u32::try_from(impact.services.len()).unwrap_or(u32::MAX);
        Ok(ImpactReportStatus {
            servers: impact.servers,
            instances: impact.instances,
            verdict: impact.verdict().map(verdict),
            services_hit: hit,
            services: impact.services.into_iter().take(SERVICES_MAX).map(service).collect(),
        })
    }
}

/// What is asked about and is not there: nothing goes with that, which must not pass for an answer.
fn missing(world: &World, field: &str, asked: &ImpactTarget) -> FieldErrors {
    let RunTarget { kind, name, part } = &asked.target;
    let found = kinds::all().iter().copied().find(|known| known.kind == kind.as_str());
    let namespace = asked.namespace.as_deref().unwrap_or_default();
    let Some(object) = found.and_then(|kind| world.get(kind, namespace, name)) else {
        let why = format!("there is no {kind} of this name; correct it");
        return vec![FieldError::invalid(format!("{field}.name"), format!("{name:?}"), why)];
    };
    if part.is_whole() {
        return FieldErrors::new();
    }
    let site = match object.decode::<Site>() {
        Ok(site) => site,
        Err(error) => {
            let why = error.to_string();
            return vec![FieldError::invalid(format!("{field}.name"), format!("{name:?}"), why)];
        }
    };
    // As a rack would be, that stood there.
    let there = RackSpec {
        site: name.clone(),
        hall: part.hall.clone(),
        power_feeds: part.power_feed.iter().cloned().collect(),
        ..RackSpec::default()
    };
    let mut errors: FieldErrors = undeclared(&there, &site.spec)
        .iter()
        .map(|it| {
            let part = if it.field == "spec.hall" { "hall" } else { "powerFeed" };
            FieldError::invalid(format!("{field}.{part}"), format!("{:?}", it.value), &it.why)
        })
        .collect();
    if let Some(row) = &part.row
        && errors.is_empty()
    {
        let racks = world.with_fields(Rack::info(), &format!("spec.site={name}"));
        let stands = |rack: &Object| {
            rack.decode::<Rack>().is_ok_and(|rack| {
                rack.spec.row.as_ref() == Some(row) && rack.spec.hall == part.hall
            })
        };
        if !racks.iter().any(|rack| stands(rack)) {
            let why = format!("no Rack of Site {name} stands in {part}; correct it");
            errors.push(FieldError::invalid(format!("{field}.row"), format!("{row:?}"), why));
        }
    }
    errors
}

fn verdict(verdict: Verdict) -> ImpactVerdict {
    match verdict {
        Verdict::WithinBudget => ImpactVerdict::WithinBudget,
        Verdict::Degraded => ImpactVerdict::Degraded,
        Verdict::UnderBudget => ImpactVerdict::UnderBudget,
        Verdict::Down => ImpactVerdict::Down,
    }
}

fn service(hit: ServiceImpact) -> ImpactedService {
    ImpactedService {
        service: hit.service.to_string(),
        verdict: verdict(hit.verdict),
        why: hit.why,
        instances: hit.total,
        lost: hit.lost,
        left: hit.left,
        needed: hit.needed,
        through: hit.through.map(|through| through.to_string()),
        owner: hit.owner,
        contacts: hit.contacts,
        tier: hit.tier,
    }
}
