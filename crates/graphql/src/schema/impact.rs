//! What breaks if something goes, as an ImpactReport answers it: whoever is known to the plane may ask, and sees who is hit.

use super::{object::Reference, permit::count};
use crate::moment::Moment;
use async_graphql::{Enum, Error, InputObject, SimpleObject};
use quarterdeck_model::{
    FieldErrors, Kind as _,
    kinds::{
        self, ImpactReport, ImpactReportSpec, ImpactReportStatus, ImpactVerdict, ImpactedService,
    },
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Answers what breaks if something goes. May take a second, when the fleet is read first.
pub type AnswerImpact =
    Arc<dyn Fn(&ImpactReportSpec) -> Result<ImpactReportStatus, FieldErrors> + Send + Sync>;

/// What it costs, in objects read: about the milliseconds of a large site.
const COST: usize = 2_000;

/// Something that goes.
#[derive(InputObject)]
pub(crate) struct ImpactTarget {
    /// `Site`, `Rack`, `Server`, `Machine` or `Instance`.
    kind: String,
    /// Of a Machine or an Instance.
    namespace: Option<String>,
    name: String,
    /// Of a Site, only this hall.
    hall: Option<String>,
    /// Of a Site, only this row; of the hall, when one is given.
    row: Option<String>,
    /// Of a Site, only what hangs on this feed.
    power_feed: Option<String>,
}

impl ImpactTarget {
    fn value(self) -> Value {
        let fields = [
            ("kind", Some(self.kind)),
            ("namespace", self.namespace),
            ("name", Some(self.name)),
            ("hall", self.hall),
            ("row", self.row),
            ("powerFeed", self.power_feed),
        ];
        let given =
            fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
        Value::Object(given.collect::<Map<String, Value>>())
    }
}

/// What becomes of a service, the least first.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It loses something, and has as many instances as its budget asks for.
    WithinBudget,
    /// Something that it uses is hit, and it does less.
    Degraded,
    /// It has fewer instances than its budget asks for.
    UnderBudget,
    /// It has no instance left, or something is down that it cannot be without.
    Down,
}

impl From<ImpactVerdict> for Verdict {
    fn from(verdict: ImpactVerdict) -> Self {
        match verdict {
            ImpactVerdict::WithinBudget => Self::WithinBudget,
            ImpactVerdict::Degraded => Self::Degraded,
            ImpactVerdict::UnderBudget => Self::UnderBudget,
            ImpactVerdict::Down => Self::Down,
        }
    }
}

/// What becomes of one service.
#[derive(SimpleObject)]
pub(crate) struct ServiceImpact {
    service: Reference,
    verdict: Verdict,
    /// Why, as a sentence.
    why: String,
    /// Instances that there are, or are to be.
    instances: i32,
    /// Of those that are up, how many are lost.
    lost: i32,
    /// How many are up afterwards.
    left: i32,
    /// How many must be up, by its budget.
    needed: i32,
    /// The service through which it is hit, when that is not by what it loses itself.
    through: Option<Reference>,
    owner: Option<String>,
    contacts: Vec<String>,
    tier: Option<i32>,
}

/// What breaks.
#[derive(SimpleObject)]
pub(crate) struct Impact {
    /// Servers that go.
    servers: i32,
    /// Instances that go with them.
    instances: i32,
    /// The worst that becomes of any service; null when none is hit.
    verdict: Option<Verdict>,
    /// Services that are hit.
    services_hit: i32,
    /// What becomes of them, the worst first; at most 500.
    services: Vec<ServiceImpact>,
}

fn service(hit: ImpactedService) -> ServiceImpact {
    let named = |full: &str| Reference::read(kinds::Service::info(), full, "");
    ServiceImpact {
        service: named(&hit.service),
        verdict: hit.verdict.into(),
        why: hit.why,
        instances: count(hit.instances),
        lost: count(hit.lost),
        left: count(hit.left),
        needed: count(hit.needed),
        through: hit.through.as_deref().map(named),
        owner: hit.owner,
        contacts: hit.contacts,
        tier: hit.tier.map(i32::from),
    }
}

pub(crate) async fn impact(
    moment: &Moment,
    answer: Option<&AnswerImpact>,
    targets: Vec<ImpactTarget>,
) -> Result<Impact, Error> {
    moment.charge(COST).await?;
    let answer = answer.ok_or("this plane does not answer what breaks")?.clone();
    let targets: Vec<Value> = targets.into_iter().map(ImpactTarget::value).collect();
    // As a report that is created: so the rules are the same, and the refusals.
    let asked = json!({"metadata": {"name": "asked"}, "spec": {"targets": targets}});
    let spec = (ImpactReport::info().admit)(&asked, None).map_err(refused)?;
    let spec: ImpactReport = serde_json::from_value(spec)
        .map_err(|error| Error::new(format!("the targets cannot be read: {error}")))?;
    let answered = tokio::task::spawn_blocking(move || answer(&spec.spec)).await;
    let status = answered
        .map_err(|_| Error::new("the answer ended in a defect of this release"))?
        .map_err(refused)?;
    moment.charge(status.services.len()).await?;
    Ok(Impact {
        servers: count(status.servers),
        instances: count(status.instances),
        verdict: status.verdict.map(Into::into),
        services_hit: count(status.services_hit),
        services: status.services.into_iter().map(service).collect(),
    })
}

fn refused(errors: FieldErrors) -> Error {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Error::new(all.join("; "))
}
