//! Campaigns: a run for each target, a few at a time. What a campaign has done is seen from its runs, so nothing
//! is remembered, and its status stays small however many targets there are. What begins next is decided by
//! [`next_wave`], which is pure.

mod news;
mod preview;

pub(crate) use preview::preview;

use super::Controller;
use crate::{
    events::{self, Happening},
    objects::{EngineError, Objects},
};
use quarterdeck_ledger::{Halt, Item, Limits, Stage, Wave, next_wave};
use quarterdeck_model::{
    FieldSelector, Key, Kind as _, KindRef, LabelSelector, Object, ObjectMeta, OwnerReference,
    Time, condition, kinds,
    kinds::{
        Campaign, CampaignGroup, CampaignPhase, CampaignStatus, Namespace, Rack, Run, RunSpec,
        RunTarget, Server, StepPhase,
    },
    selector::LabelRequirement,
};
use quarterdeck_store::{ListQuery, Outcome, Precondition, World};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Label of a campaign's runs: its name.
pub(crate) const CAMPAIGN: &str = "quarterdeck.dev/campaign";
/// Label of a campaign's runs: which try this is for their target, from 1.
const TRY: &str = "quarterdeck.dev/try";
/// Changes are gathered for so long: all targets are looked at.
const GATHER: Duration = Duration::from_secs(1);
/// How soon a campaign looks again that could begin nothing of what it should.
const STUCK: Duration = Duration::from_secs(15);
/// How soon a campaign that has not ended looks again though nothing of it changed: what its targets are may be
/// another, as it follows from labels.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How soon a campaign that has more to begin goes on.
const SOON: Duration = Duration::from_millis(100);
/// Most runs created by one look.
const CREATED_AT_ONCE: usize = 256;
/// Runs that are read to say why targets failed or wait.
const READ_MAX: usize = 1_000;
/// Causes, and canaries, that a status names.
const NAMED_MAX: usize = 10;

/// Keeps campaigns.
pub(crate) struct Campaigns;

impl Controller for Campaigns {
    const NAME: &'static str = "campaigns";

    fn follows(&self) -> Vec<KindRef> {
        vec![Campaign::info(), Run::info()]
    }

    fn affected(&self, object: &Object, _gone: bool) -> Vec<Key> {
        if object.kind == Campaign::info() {
            return vec![object.key.clone()];
        }
        let name = object.labels().find(|(name, _)| *name == CAMPAIGN).map(|(_, value)| value);
        name.map(|name| Key::new(Campaign::info(), object.namespace(), name)).into_iter().collect()
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    async fn reconcile(
        &self,
        objects: &Objects,
        key: &Key,
    ) -> Result<Option<Duration>, EngineError> {
        let Some((revision, mut campaign)) = objects.read::<Campaign>(&key.namespace, &key.name)?
        else {
            return Ok(None);
        };
        let within = objects.get(&Key::new(Namespace::info(), "", &key.namespace));
        let leaving = within.is_some_and(|namespace| namespace.deleting());
        if leaving || campaign.metadata.deletion_timestamp.is_some() {
            // Its runs belong to it, and are cancelled as they are deleted.
            return Ok(None);
        }
        let same = campaign.status.observed_generation == campaign.metadata.generation;
        if campaign.status.phase.ended() && same {
            // What gets its labels later is not for it, unless something else is asked of it.
            return Ok(None);
        }
        let world = objects.store().world();
        let now = objects.now();
        let Some(targets) = Targets::of(&world, &campaign) else { return Ok(None) };
        let wave = next_wave(&targets.items(), &targets.limits(&campaign));
        let mut mutations = Vec::new();
        let goes_on = !campaign.spec.paused && !campaign.spec.cancel && wave.halt.is_none();
        if campaign.spec.cancel {
            for run in targets.in_work() {
                mutations.extend(cancelled(objects, run));
            }
        } else if goes_on {
            for place in wave.start.iter().take(CREATED_AT_ONCE) {
                let Some(target) = targets.all.get(*place) else { continue };
                let run = new_run(&campaign, target, now);
                // Nothing else was asked of the campaign meanwhile, and it is still there.
                let seen = Some((key.clone(), revision));
                let precondition = Precondition::AbsentIf { seen, below: None };
                mutations.push(objects.put(&run, precondition)?);
            }
        }
        let (begins, mut told) = (mutations.len(), None);
        let status = status(&campaign, &targets, &wave, now);
        let again = (!status.phase.ended()).then_some(LOOK_AGAIN);
        if status != campaign.status {
            let news = news::news(&campaign.status, &status, wave.halt.is_some());
            if let Some((reason, warning)) = news
                && let Some(object) = objects.get(key)
            {
                let message = status.message.as_deref().unwrap_or_default();
                let (component, number, place) = (Self::NAME, object.revision.0, 0);
                let happening = Happening { component, reason, message, warning, number, place };
                told = Some(objects.tell(&events::about(&object, &happening, now))?);
            }
            campaign.status = status;
            mutations.push(objects.put(&campaign, Precondition::At(revision))?);
        }
        mutations.extend(told);
        if mutations.is_empty() {
            return Ok(again);
        }
        // Whoever came between made a change that brings us here again.
        let outcomes = objects.commit(mutations).await?;
        let begun = outcomes.iter().take(begins).any(|it| matches!(it, Outcome::Committed(_)));
        Ok(match (goes_on && begins > 0, begun) {
            (false, _) => again,
            (true, true) => Some(SOON),
            // A run of that name is there, and is not one of this campaign.
            (true, false) => Some(STUCK),
        })
    }
}

/// A target, and its newest run.
struct Target {
    name: String,
    domain: String,
    stage: Stage,
    run: Option<Arc<Object>>,
    tries: u32,
}

/// All targets of a campaign, in order of failure domain and name.
struct Targets {
    all: Vec<Target>,
}

impl Targets {
    /// None when what it names is not known.
    fn of(world: &World, campaign: &Campaign) -> Option<Self> {
        let spec = &campaign.spec;
        let kind = kinds::all().iter().copied().find(|kind| kind.kind == spec.targets.kind)?;
        let namespace = campaign.metadata.namespace.as_deref().unwrap_or_default();
        let labels = spec.targets.selector.selector()?;
        let found = world.list(&ListQuery {
            kind,
            namespace: kind.namespaced().then_some(namespace),
            labels: &labels,
            fields: &FieldSelector::default(),
            after: None,
            limit: None,
        });
        let own = LabelRequirement::In(CAMPAIGN.into(), vec![campaign.metadata.name.clone()]);
        let runs = world.list(&ListQuery {
            kind: Run::info(),
            namespace: Some(namespace),
            labels: &LabelSelector(vec![own]),
            fields: &FieldSelector::default(),
            after: None,
            limit: None,
        });
        let mut newest: HashMap<&str, (u32, &Arc<Object>)> = HashMap::new();
        for run in &runs.items {
            // One of a campaign of the same name that was there before is not its own.
            if !run.owners().any(|owner| *owner == *campaign.metadata.uid) {
                continue;
            }
            let Some(target) = run.field("spec.target.name") else { continue };
            let tries = run.labels().find(|(name, _)| *name == TRY);
            let tries = tries.and_then(|(_, number)| number.parse().ok()).unwrap_or(1);
            let known = newest.entry(target).or_insert((tries, run));
            if tries > known.0 {
                *known = (tries, run);
            }
        }
        let mut domains: HashMap<&str, String> = HashMap::new();
        let mut all: Vec<Target> = Vec::with_capacity(found.items.len());
        for object in &found.items {
            let rack = object.field("spec.location.rack").unwrap_or_default();
            let domain = || {
                let found = world.get(Rack::info(), "", rack);
                let found = found.and_then(|rack| rack.decode::<Rack>().ok());
                spec.failure_domain.of(rack, found.as_ref().map(|rack| &rack.spec))
            };
            let domain = match kind == Server::info() {
                true => domains.entry(rack).or_insert_with(domain).clone(),
                false => String::new(),
            };
            let (tries, run) = match newest.get(object.name()) {
                Some((tries, run)) => (*tries, Some(Arc::clone(run))),
                None => (0, None),
            };
            let stage = run.as_deref().map_or(Stage::Left, |run| stage(run, tries, spec.retries));
            all.push(Target { name: object.name().into(), domain, stage, run, tries });
        }
        // Those in work on what is no target any more still count, and can be cancelled.
        let selected: HashSet<&str> = found.items.iter().map(|object| object.name()).collect();
        for (name, (tries, run)) in newest.iter().filter(|(name, _)| !selected.contains(*name)) {
            let stage = stage(run, *tries, 0);
            if matches!(stage, Stage::Running | Stage::Waiting) {
                let (name, run) = ((*name).to_owned(), Some(Arc::clone(run)));
                all.push(Target { name, domain: String::new(), stage, run, tries: *tries });
            }
        }
        all.sort_by(|one, other| (&one.domain, &one.name).cmp(&(&other.domain, &other.name)));
        Some(Self { all })
    }

    fn items(&self) -> Vec<Item<'_>> {
        self.all.iter().map(|it| Item { domain: &it.domain, stage: it.stage }).collect()
    }

    fn limits(&self, campaign: &Campaign) -> Limits {
        let spec = &campaign.spec;
        let all = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            canaries: size(spec.canaries(all)),
            concurrency: size(spec.concurrency),
            domains: spec.failure_domain.at_once(spec.domains_at_once),
            failures: size(spec.failures(all)),
            accepted: size(spec.accepted_failures),
        }
    }

    /// Runs that have not ended.
    fn in_work(&self) -> impl Iterator<Item = &Arc<Object>> {
        let open = |target: &&Target| matches!(target.stage, Stage::Running | Stage::Waiting);
        self.all.iter().filter(open).filter_map(|target| target.run.as_ref())
    }

    /// What targets at a stage have in common, the most first.
    fn groups(&self, wanted: Stage, why: impl Fn(&Run) -> Option<String>) -> Vec<CampaignGroup> {
        let mut groups: BTreeMap<String, CampaignGroup> = BTreeMap::new();
        let runs = self.all.iter().filter(|target| target.stage == wanted);
        for run in runs.filter_map(|target| target.run.as_ref()).take(READ_MAX) {
            let Ok(read) = run.decode::<Run>() else { continue };
            let Some(reason) = why(&read) else { continue };
            let example = run.name().to_owned();
            let new = CampaignGroup { reason: reason.clone(), targets: 0, example };
            groups.entry(reason).or_insert(new).targets += 1;
        }
        let mut groups: Vec<CampaignGroup> = groups.into_values().collect();
        groups
            .sort_by(|one, other| (other.targets, &one.reason).cmp(&(one.targets, &other.reason)));
        groups.truncate(NAMED_MAX);
        groups
    }
}

/// Whether a run does what the campaign would do, to one of its targets.
pub(crate) fn does_the_same(world: &World, campaign: &Campaign, run: &Run) -> bool {
    let (spec, wanted) = (&campaign.spec, &run.spec);
    let Some(target) = wanted.target.as_ref().filter(|target| target.part.is_whole()) else {
        return false;
    };
    let Some(kind) = kinds::all().iter().copied().find(|kind| kind.kind == target.kind) else {
        return false;
    };
    let namespace = run.metadata.namespace.as_deref().filter(|_| kind.namespaced());
    let object = world.get(kind, namespace.unwrap_or_default(), &target.name);
    let labels = spec.targets.selector.selector();
    let selected = object.zip(labels).is_some_and(|(object, labels)| labels.matches(&object));
    selected
        && target.kind == spec.targets.kind
        && wanted.runbook == spec.runbook
        && wanted.params == spec.params
}

/// Where a target is, by its newest run.
fn stage(run: &Object, tries: u32, retries: u32) -> Stage {
    match run.field("status.phase") {
        Some("Succeeded") => Stage::Succeeded,
        Some("Failed" | "Cancelled") if tries <= retries => Stage::Left,
        Some("Failed" | "Cancelled") => Stage::Failed,
        Some("Running") if waits(run) => Stage::Waiting,
        _ => Stage::Running,
    }
}

/// Whether a run waits for leave of the ledger.
fn waits(run: &Object) -> bool {
    run.decode::<Run>().is_ok_and(|run| refusal(&run).is_some())
}

/// Who blocks a run, without what else is said.
fn refusal(run: &Run) -> Option<String> {
    let refused = |reason: &Option<String>| reason.as_deref() == Some("DisruptionRefused");
    let steps = run.status.steps.iter();
    let step =
        steps.rev().find(|step| step.phase == StepPhase::Waiting && refused(&step.reason))?;
    let (_, why) = step.message.as_deref()?.split_once(": ")?;
    Some(why.split(';').next().unwrap_or(why).to_owned())
}

/// Why a run failed, so that those that failed alike are one group.
fn cause(run: &Run) -> Option<String> {
    let complete = condition::find(&run.status.conditions, "Complete");
    let failed = run.status.steps.iter().rev().find(|step| step.phase == StepPhase::Failed);
    let reason = failed.and_then(|step| step.reason.clone());
    let reason = reason.or_else(|| complete.map(|complete| complete.reason.clone()));
    let step = failed.map_or_else(String::new, |step| format!("step {}: ", step.name));
    Some(format!("{step}{}", reason.unwrap_or_else(|| "Failed".into())))
}

/// Asks a run to stop.
fn cancelled(objects: &Objects, run: &Object) -> Option<quarterdeck_store::Mutation> {
    let mut value = run.value();
    if value.pointer("/spec/cancel") == Some(&Value::Bool(true)) {
        return None;
    }
    value.get_mut("spec")?.as_object_mut()?.insert("cancel".into(), true.into());
    if let Some(generation) = value.pointer_mut("/metadata/generation") {
        *generation = (generation.as_i64().unwrap_or(0) + 1).into();
    }
    Some(objects.put_value(run, &value))
}

/// The next run of a target.
fn new_run(campaign: &Campaign, target: &Target, now: Time) -> Run {
    let (of, tries) = (&campaign.metadata, target.tries + 1);
    Run {
        metadata: ObjectMeta {
            name: run_name(&of.name, &of.uid, &target.name, tries),
            namespace: of.namespace.clone(),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            labels: BTreeMap::from([
                (CAMPAIGN.to_owned(), of.name.clone()),
                (TRY.to_owned(), tries.to_string()),
            ]),
            owner_references: vec![OwnerReference {
                api_version: Campaign::info().api_version(),
                kind: Campaign::KIND.into(),
                name: of.name.clone(),
                uid: of.uid.clone(),
                controller: Some(true),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: RunSpec {
            runbook: campaign.spec.runbook.clone(),
            target: Some(RunTarget::new(&campaign.spec.targets.kind, &target.name)),
            params: campaign.spec.params.clone(),
            requested_by: campaign.spec.requested_by.clone(),
            ..RunSpec::default()
        },
        ..Run::default()
    }
}

/// The same for the same try, so that none is made twice; and another for a campaign of the same name that comes
/// later.
fn run_name(campaign: &str, uid: &str, target: &str, tries: u32) -> String {
    let mark = Sha256::digest(format!("{uid}/{target}/{tries}").as_bytes());
    let mark: String = mark.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let short = target.get(..150).unwrap_or(target).trim_end_matches(['.', '-']);
    format!("{campaign}-{short}-{mark}")
}

fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn status(campaign: &Campaign, targets: &Targets, wave: &Wave, now: Time) -> CampaignStatus {
    let (before, spec) = (&campaign.status, &campaign.spec);
    let counts = wave.counts;
    let begun = counts.targets - counts.left;
    let in_work = counts.running + counts.waiting;
    let done = counts.succeeded + counts.failed;
    let start_time = before.start_time.or_else(|| (begun > 0).then_some(now));
    let over = counts.left == 0 && in_work == 0 && counts.targets > 0;
    let phase = match wave.halt {
        _ if spec.cancel && in_work == 0 => CampaignPhase::Cancelled,
        _ if over && counts.failed == 0 => CampaignPhase::Succeeded,
        _ if over => CampaignPhase::Failed,
        _ if spec.paused && begun == 0 => CampaignPhase::Planned,
        _ if spec.paused || spec.cancel => CampaignPhase::Paused,
        Some(_) => CampaignPhase::Paused,
        None if wave.trying => CampaignPhase::Canary,
        None => CampaignPhase::Running,
    };
    let waits_for = match counts.waiting {
        0 => Vec::new(),
        _ => targets.groups(Stage::Waiting, refusal),
    };
    let failures = match counts.failed {
        0 => Vec::new(),
        _ => targets.groups(Stage::Failed, cause),
    };
    let message = message(campaign, phase, wave, &waits_for, &failures);
    let canaries = wave.canaries.iter().take(NAMED_MAX).filter_map(|at| targets.all.get(*at));
    let expected_end = (!phase.ended() && matches!(phase, CampaignPhase::Running))
        .then(|| expected_end(start_time?, now, done, counts.targets))
        .flatten();
    CampaignStatus {
        observed_generation: campaign.metadata.generation,
        phase,
        message: Some(message),
        targets: number(counts.targets),
        left: number(counts.left),
        running: number(counts.running),
        waiting: number(counts.waiting),
        succeeded: number(counts.succeeded),
        failed: number(counts.failed),
        progress: Some(format!("{done}/{}", counts.targets)),
        canaries: canaries.map(|target| target.name.clone()).collect(),
        domains: number(counts.domains),
        waits_for,
        failures,
        plan: None,
        start_time,
        // Said anew only when a target more is done and it moves: each time it is said leads to another look.
        expected_end: match (before.expected_end, expected_end) {
            (Some(said), Some(_)) if number(done) == before.succeeded + before.failed => Some(said),
            (Some(said), Some(end)) if about_the_same(said, end, now) => Some(said),
            (_, end) => end,
        },
        completion_time: phase.ended().then(|| before.completion_time.unwrap_or(now)),
        conditions: before.conditions.clone(),
    }
}

/// Whether two ends say the same to whoever waits for them: they are less than a minute apart, or less than a tenth
/// of the time until then. An end that is past says nothing.
fn about_the_same(said: Time, end: Time, now: Time) -> bool {
    let seconds = |from: Time, to: Time| to.timestamp().duration_since(from.timestamp()).as_secs();
    let allowed = (seconds(now, end) / 10).max(60);
    said.timestamp() > now.timestamp() && seconds(said, end).abs() < allowed
}

/// When all are done if each takes as long as those until now.
fn expected_end(start: Time, now: Time, done: usize, all: usize) -> Option<Time> {
    let took = now.timestamp().duration_since(start.timestamp()).as_secs_f64();
    if done == 0 || took <= 0.0 {
        return None;
    }
    let left = u32::try_from(all.saturating_sub(done)).ok()?;
    let seconds = took / f64::from(u32::try_from(done).ok()?) * f64::from(left);
    let left = Duration::try_from_secs_f64(seconds).ok()?;
    now.timestamp().checked_add(left).ok().map(Time::seconds)
}

fn message(
    campaign: &Campaign,
    phase: CampaignPhase,
    wave: &Wave,
    waits_for: &[CampaignGroup],
    failures: &[CampaignGroup],
) -> String {
    let (spec, counts) = (&campaign.spec, wave.counts);
    let first = |groups: &[CampaignGroup]| {
        groups.first().map_or_else(String::new, |group| {
            format!("; {} of them: {}", group.targets, group.reason)
        })
    };
    match (phase, wave.halt) {
        (CampaignPhase::Planned, _) => format!(
            "would try {} of {} targets first, then {} failure domains, {} at once and at most {} runs; set spec.paused \
             to false to begin",
            wave.canaries.len(),
            counts.targets,
            counts.domains,
            spec.domains_at_once,
            spec.concurrency
        ),
        (CampaignPhase::Paused, Some(Halt::Canaries(failed))) => format!(
            "paused itself: {failed} of {} canaries failed{}; raise spec.retries to try them again, or \
             spec.acceptedFailures to go on",
            wave.canaries.len(),
            first(failures)
        ),
        (CampaignPhase::Paused, Some(Halt::Failures(failed))) => format!(
            "paused itself: {failed} targets failed, more than spec.failureLimit{}; raise spec.retries to try them \
             again, or spec.acceptedFailures to go on",
            first(failures)
        ),
        (CampaignPhase::Paused, None) if spec.cancel => {
            format!("is being cancelled: {} runs still end", counts.running + counts.waiting)
        }
        (CampaignPhase::Paused, None) => {
            "starts no further run until spec.paused is false; what runs goes on to its end".into()
        }
        (CampaignPhase::Failed, _) => format!(
            "{} of {} targets failed{}; raise spec.retries to try them again",
            counts.failed,
            counts.targets,
            first(failures)
        ),
        (CampaignPhase::Succeeded, _) => format!("all {} targets are done", counts.targets),
        (CampaignPhase::Cancelled, _) => {
            format!("cancelled with {} of {} targets done", counts.succeeded, counts.targets)
        }
        _ if counts.targets == 0 => "no target has these labels".into(),
        _ if counts.waiting > 0 => {
            let (runs, wait) =
                if counts.waiting == 1 { ("run", "waits") } else { ("runs", "wait") };
            let whom = first(waits_for);
            format!("{} {runs} {wait} for leave to disrupt{whom}", counts.waiting)
        }
        (CampaignPhase::Canary, _) => {
            format!("tries {} targets before all others", wave.canaries.len())
        }
        _ => format!("{} runs in work, {} targets left", counts.running, counts.left),
    }
}
