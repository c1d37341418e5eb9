//! A campaign, as its page shows it.

use super::{
    object::Node,
    permit::{self, Approval, count},
    run::{CAMPAIGN, unreadable},
    scalars::Time,
    search::{self, Filter, Request, SearchConnection, Sort},
};
use crate::moment::{self, Moment};
use async_graphql::{Context, Error, Object, SimpleObject};
use quarterdeck_model::{
    self as model, Kind as _, LabelSelector, Object as Stored,
    kinds::{self, FailureDomain, RackSpec, RunPhase, StepPhase},
    selector::LabelRequirement,
};
use quarterdeck_store::ListQuery;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Lanes that are told: no more can be looked at.
const LANES_MAX: usize = 500;
/// Runs of a lane that are told.
const RUNS_MAX: usize = 100;
/// Runs that are read for the lanes: as many targets as the largest site has.
const READ_MAX: usize = 30_000;

/// A campaign.
pub(crate) struct Campaign {
    stored: Arc<Stored>,
    campaign: kinds::Campaign,
}

impl Campaign {
    pub(crate) fn read(stored: Arc<Stored>) -> Result<Self, Error> {
        let campaign = stored.decode().map_err(unreadable)?;
        Ok(Self { stored, campaign })
    }
}

/// A campaign, as its page shows it.
#[Object]
impl Campaign {
    async fn object(&self) -> Node {
        Node::new(self.stored.clone())
    }

    async fn runbook(&self) -> &str {
        &self.campaign.spec.runbook
    }

    async fn params(&self) -> Value {
        Value::Object(self.campaign.spec.params.clone())
    }

    async fn target_kind(&self) -> &str {
        &self.campaign.spec.targets.kind
    }

    async fn phase(&self) -> &str {
        self.stored.field("status.phase").filter(|phase| !phase.is_empty()).unwrap_or("Pending")
    }

    async fn message(&self) -> Option<&str> {
        self.campaign.status.message.as_deref()
    }

    async fn paused(&self) -> bool {
        self.campaign.spec.paused
    }

    async fn cancelling(&self) -> bool {
        self.campaign.spec.cancel && !self.campaign.status.phase.ended()
    }

    async fn requested_by(&self) -> Option<&str> {
        self.campaign.spec.requested_by.as_deref()
    }

    async fn concurrency(&self) -> i32 {
        count(self.campaign.spec.concurrency)
    }

    async fn domains_at_once(&self) -> i32 {
        count(self.campaign.spec.domains_at_once)
    }

    async fn failure_domain(&self) -> String {
        format!("{:?}", self.campaign.spec.failure_domain)
    }

    async fn targets(&self) -> i32 {
        count(self.campaign.status.targets)
    }

    async fn left(&self) -> i32 {
        count(self.campaign.status.left)
    }

    async fn running(&self) -> i32 {
        count(self.campaign.status.running)
    }

    async fn waiting(&self) -> i32 {
        count(self.campaign.status.waiting)
    }

    async fn succeeded(&self) -> i32 {
        count(self.campaign.status.succeeded)
    }

    async fn failed(&self) -> i32 {
        count(self.campaign.status.failed)
    }

    async fn canaries(&self) -> &[String] {
        &self.campaign.status.canaries
    }

    async fn domains(&self) -> i32 {
        count(self.campaign.status.domains)
    }

    async fn start_time(&self) -> Option<Time> {
        self.campaign.status.start_time.map(Into::into)
    }

    async fn expected_end(&self) -> Option<Time> {
        self.campaign.status.expected_end.map(Into::into)
    }

    async fn completion_time(&self) -> Option<Time> {
        self.campaign.status.completion_time.map(Into::into)
    }

    /// What runs wait for, most targets first.
    async fn blockers(&self) -> Vec<CampaignGroup> {
        CampaignGroup::of(&self.campaign.status.waits_for)
    }

    async fn failures(&self) -> Vec<CampaignGroup> {
        CampaignGroup::of(&self.campaign.status.failures)
    }

    /// The canaries, then place by place, by the runs there are; at most 500.
    async fn lanes(&self, ctx: &Context<'_>) -> Result<Vec<Lane>, Error> {
        self.drawn(moment::of(ctx)?).await
    }

    async fn approvals(&self) -> Vec<Approval> {
        permit::approvals(&self.campaign.spec.approvals)
    }

    /// Its runs, as a search finds them.
    async fn runs(
        &self,
        ctx: &Context<'_>,
        filters: Option<Vec<Filter>>,
        sort: Option<Sort>,
        facets: Option<Vec<String>>,
        #[graphql(default = 50)] first: i32,
        after: Option<String>,
    ) -> Result<SearchConnection, Error> {
        let request = Request {
            kinds: Some(vec![kinds::Run::KIND.into()]),
            namespaces: Some(vec![self.stored.namespace().into()]),
            labels: Some(format!("{CAMPAIGN}={}", self.stored.name())),
            filters,
            sort,
            facets,
            first,
            after,
            ..Request::default()
        };
        search::search(moment::of(ctx)?, request).await
    }
}

#[derive(SimpleObject)]
pub(crate) struct CampaignGroup {
    reason: String,
    targets: i32,
    /// One of the targets.
    example: String,
}

impl CampaignGroup {
    fn of(groups: &[kinds::CampaignGroup]) -> Vec<Self> {
        let group = |group: &kinds::CampaignGroup| Self {
            reason: group.reason.clone(),
            targets: count(group.targets),
            example: group.example.clone(),
        };
        groups.iter().map(group).collect()
    }
}

#[derive(SimpleObject, Default)]
pub(crate) struct Lane {
    /// The place, such as a rack; `canary` for the first targets.
    name: String,
    canary: bool,
    /// Targets that have a run.
    targets: i32,
    running: i32,
    waiting: i32,
    succeeded: i32,
    failed: i32,
    start_time: Option<Time>,
    end_time: Option<Time>,
    /// The runs, at most 100.
    runs: Vec<LaneRun>,
}

#[derive(SimpleObject)]
pub(crate) struct LaneRun {
    target: String,
    run: String,
    phase: String,
}

/// Name of the lane of the first targets.
const CANARY: &str = "canary";

/// Of a run, what its lane is made of. Everything else of it is as long again, and longer.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct LaneRead {
    metadata: ReadMeta,
    spec: ReadSpec,
    status: ReadStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ReadMeta {
    creation_timestamp: Option<model::Time>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReadSpec {
    target: Option<ReadTarget>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReadTarget {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ReadStatus {
    phase: RunPhase,
    start_time: Option<model::Time>,
    completion_time: Option<model::Time>,
    steps: Vec<ReadStep>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReadStep {
    phase: StepPhase,
}

impl LaneRead {
    fn target(&self) -> &str {
        self.spec.target.as_ref().map_or("", |target| &target.name)
    }

    fn waits(&self) -> bool {
        self.status.steps.iter().any(|step| step.phase == StepPhase::Waiting)
    }
}

impl Lane {
    /// Takes in a run, of which a target may have several: the last decides.
    fn add(&mut self, name: &str, run: &LaneRead) {
        let status = &run.status;
        let counted = match status.phase {
            RunPhase::Succeeded => &mut self.succeeded,
            RunPhase::Failed | RunPhase::Cancelled => &mut self.failed,
            _ if run.waits() => &mut self.waiting,
            _ => &mut self.running,
        };
        *counted += 1;
        self.targets += 1;
        let start: Option<Time> = status.start_time.map(Into::into);
        self.start_time = self.start_time.into_iter().chain(start).min();
        self.end_time = self.end_time.max(status.completion_time.map(Into::into));
        if self.runs.len() < RUNS_MAX {
            self.runs.push(LaneRun {
                target: run.target().to_owned(),
                run: name.to_owned(),
                phase: format!("{:?}", status.phase),
            });
        }
    }
}

impl Campaign {
    async fn drawn(&self, moment: &Moment) -> Result<Vec<Lane>, Error> {
        let own = LabelRequirement::In(CAMPAIGN.into(), vec![self.stored.name().into()]);
        let query = ListQuery {
            kind: kinds::Run::info(),
            namespace: Some(self.stored.namespace()),
            labels: &LabelSelector(vec![own]),
            fields: &quarterdeck_model::FieldSelector::default(),
            after: None,
            limit: Some(READ_MAX),
        };
        let found = moment.world.list(&query).items;
        let mut last: BTreeMap<String, (Arc<Stored>, Arc<LaneRead>)> = BTreeMap::new();
        for stored in moment.seen(found) {
            moment.charge(1).await?;
            if !stored.owners().any(|owner| owner == self.stored.uid()) {
                continue;
            }
            let Some(run) = moment.indexes.runs.read(&stored) else { continue };
            let created = run.metadata.creation_timestamp;
            let known = last.get(run.target());
            if known.is_none_or(|(_, known)| known.metadata.creation_timestamp <= created) {
                last.insert(run.target().to_owned(), (stored, run));
            }
        }
        let mut lanes: BTreeMap<(bool, String), Lane> = BTreeMap::new();
        let mut domains = Domains::default();
        for (target, (stored, run)) in last {
            let canary = self.campaign.status.canaries.contains(&target);
            let name = match canary {
                true => CANARY.into(),
                false => self.domain(moment, &target, &mut domains),
            };
            if !lanes.contains_key(&(!canary, name.clone())) && lanes.len() >= LANES_MAX {
                continue;
            }
            let lane = lanes.entry((!canary, name.clone())).or_insert_with(|| Lane {
                name,
                canary,
                ..Lane::default()
            });
            lane.add(stored.name(), &run);
        }
        Ok(lanes.into_values().collect())
    }

    /// The place of a target that may not be disrupted at once with others.
    fn domain(&self, moment: &Moment, target: &str, of_racks: &mut Domains) -> String {
        let domain = self.campaign.spec.failure_domain;
        let server = match self.campaign.spec.targets.kind.as_str() {
            "Server" => Some(target.to_owned()),
            "Machine" => {
                let machine = moment.get(kinds::Machine::info(), self.stored.namespace(), target);
                machine.and_then(|machine| machine.field("status.server").map(Into::into))
            }
            "Rack" => return domain.of(target, rack(moment, target).as_ref()),
            _ => None,
        };
        let server = server.and_then(|server| moment.get(kinds::Server::info(), "", &server));
        let name = server.as_ref().and_then(|server| server.field("spec.location.rack"));
        match name.filter(|name| !name.is_empty()) {
            Some(name) => {
                if let Some(known) = of_racks.get(name) {
                    return known.clone();
                }
                let found = domain.of(name, rack(moment, name).as_ref());
                of_racks.insert(name.to_owned(), found.clone());
                found
            }
            None if domain == FailureDomain::None => String::new(),
            None => "no rack".into(),
        }
    }
}

/// The failure domain of each rack, so that none is read for each of its servers.
type Domains = HashMap<String, String>;

fn rack(moment: &Moment, name: &str) -> Option<RackSpec> {
    let rack = moment.get(kinds::Rack::info(), "", name)?;
    Some(rack.decode::<kinds::Rack>().ok()?.spec)
}
