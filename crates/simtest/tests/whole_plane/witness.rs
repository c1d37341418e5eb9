//! What must hold after every commit and at every effect, checked the moment it happens: by a model of its
//! own, brought along from the log, and by what the simulated machines saw. It only looks.

use crate::{
    clock::Clock,
    facts::{Asked, Copy, Facts},
    promises::Promises,
    story,
    trace::Trace,
};
use jiff::SignedDuration;
use quarterdeck_model::{
    Key, Kind, Revision,
    kinds::{
        Campaign, Freeze, Instance, InstancePhase, Machine, MachinePool, Permit, Rack, Run,
        RunPhase, RunTarget, Server, Service, Site, StepPhase, StepStatus,
    },
};
use quarterdeck_sim::{Cause, Effect, Simulation};
use quarterdeck_store::Change;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// Runbooks that change nothing, so that they need not hold their target.
const HARMLESS: [&str; 1] = ["inspect-server"];
/// What the ledger decided on can be so old when its permit is durable: a permit waits for the commit under
/// way, and takes the longest way to the disk itself.
const DECIDED_WITHIN: Duration = Duration::from_millis(400);
/// An action ends this long after its run at the latest: the run's driver has to hear of the end first.
const STOPPED_WITHIN: Duration = Duration::from_millis(400);
/// Once power is back, a machine that turns on by itself does so within this time.
const RESTORED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// A permit as the store has it.
struct Held {
    uid: String,
    permit: Permit,
    /// Servers that are its target.
    hosts: BTreeSet<String>,
}

/// All that is known.
pub(crate) struct Witness {
    clock: Clock,
    trace: Trace,
    simulation: Simulation,
    /// Servers by the address of their BMC, and the other way round.
    machines: BTreeMap<String, String>,
    addresses: BTreeMap<String, String>,
    head: Revision,
    /// What the store holds.
    pub(crate) bodies: BTreeMap<Key, Revision>,
    pub(crate) runs: BTreeMap<Key, Run>,
    /// The same by their uid.
    by_uid: BTreeMap<String, Key>,
    /// Those that act, by what they act on.
    acting: BTreeMap<(String, String), BTreeSet<Key>>,
    /// When each run was seen to end.
    ended: BTreeMap<String, Duration>,
    permits: BTreeMap<Key, Held>,
    campaigns: BTreeMap<String, Campaign>,
    promises: Promises,
    /// How many disruptive actions of a run are under way, in whatever replica.
    under_way: BTreeMap<String, usize>,
    /// Until when an outage decides whether a machine is on, by the address of its BMC.
    dark: BTreeMap<String, Duration>,
    pub(crate) facts: Facts,
    /// What the facts were, and until when.
    before: VecDeque<(Duration, Facts)>,
    /// How often power was changed.
    pub(crate) disruptions: usize,
    /// How many permits were given, and questions refused.
    pub(crate) given: usize,
}

/// A target as runs name it.
fn target(run: &Run) -> Option<(&str, &str)> {
    run.spec.target.as_ref().map(|target| (target.kind.as_str(), target.name.as_str()))
}

/// Whether a run holds its target.
fn acts(run: &Run) -> bool {
    use RunPhase::{Compensating, Running, Suspended};
    matches!(run.status.phase, Running | Suspended | Compensating)
        && !run.spec.dry_run
        && !HARMLESS.contains(&run.spec.runbook.as_str())
}

fn read<K: Kind>(change: &Change) -> Option<K> {
    let body = change.body.as_ref()?;
    Some(serde_json::from_slice(body).unwrap_or_else(|why| panic!("{}: {why}", change.key)))
}

fn full(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

impl Witness {
    pub(crate) fn new(clock: Clock, trace: Trace, simulation: Simulation) -> Self {
        Self {
            clock,
            trace,
            simulation,
            machines: BTreeMap::new(),
            addresses: BTreeMap::new(),
            head: Revision::ZERO,
            bodies: BTreeMap::new(),
            runs: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            acting: BTreeMap::new(),
            ended: BTreeMap::new(),
            permits: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            promises: Promises::default(),
            under_way: BTreeMap::new(),
            dark: BTreeMap::new(),
            facts: Facts::default(),
            before: VecDeque::new(),
            disruptions: 0,
            given: 0,
        }
    }

    /// A batch was committed.
    pub(crate) fn committed(&mut self, changes: &[Change]) {
        let mut touched = BTreeSet::new();
        for change in changes {
            self.trace.count(&change.revision.0.to_le_bytes());
            self.trace.count(change.body.as_deref().unwrap_or_default());
            if change.revision != self.head.next() {
                let message = format!("revision {} follows {}", change.revision, self.head);
                self.trace.broken(message);
            }
            self.head = change.revision;
            match change.body {
                Some(_) => self.bodies.insert(change.key.clone(), change.revision),
                None => self.bodies.remove(&change.key),
            };
            touched.extend(self.note(change));
        }
        self.one_run_acts_on_each(&touched);
    }

    /// Notes a change; answers what a run acts on since then.
    fn note(&mut self, change: &Change) -> Option<(String, String)> {
        let kind = &*change.key.kind;
        let is = |info: quarterdeck_model::KindRef| *kind == *info.resource_name();
        if is(Run::info()) {
            self.run(change);
            return self.acts_from_now_on(&change.key);
        } else if is(Permit::info()) {
            self.permit(change);
        } else if is(Campaign::info()) {
            put(&mut self.campaigns, full(&change.key), read::<Campaign>(change));
        } else if is(Machine::info()) {
            let broken = self.promises.machine(&change.key, read(change));
            self.promised(broken);
            self.tell(change);
        } else if is(MachinePool::info()) {
            if let Some(pool) = read::<MachinePool>(change) {
                self.promises.pool(pool, self.clock.elapsed(), DECIDED_WITHIN);
            }
            self.tell(change);
        } else {
            self.fact(change);
        }
        None
    }

    fn promised(&self, broken: Option<String>) {
        if let Some(why) = broken {
            self.trace.broken(why);
        }
    }

    fn tell(&self, change: &Change) {
        if let Some(line) = story::of_fact(change) {
            self.trace.say(line);
        }
    }

    /// Brings along who acts on what, after a run has changed.
    fn acts_from_now_on(&mut self, key: &Key) -> Option<(String, String)> {
        let run = self.runs.get(key)?;
        let (kind, name) = target(run)?;
        let (on, acts) = ((kind.to_owned(), name.to_owned()), acts(run));
        if acts {
            self.acting.entry(on.clone()).or_default().insert(key.clone());
            return Some(on);
        }
        self.acts_no_more(&on, key);
        None
    }

    fn acts_no_more(&mut self, on: &(String, String), key: &Key) {
        if let Some(acting) = self.acting.get_mut(on) {
            acting.remove(key);
            if acting.is_empty() {
                self.acting.remove(on);
            }
        }
    }

    /// Something the ledger must know, perhaps.
    fn fact(&mut self, change: &Change) {
        let (key, name) = (full(&change.key), change.key.name.to_string());
        let kind = &*change.key.kind;
        let is = |info: quarterdeck_model::KindRef| *kind == *info.resource_name();
        let facts = &mut self.facts;
        let before = if is(Service::info()) {
            swap(facts, |it| &mut it.services, key, read::<Service>(change).map(|it| it.spec))
        } else if is(Instance::info()) {
            let copy = read::<Instance>(change).map(|it| Copy {
                service: format!("{}/{}", change.key.namespace, it.spec.service),
                host: it.spec.host.name,
                ready: it.status.phase == InstancePhase::Ready,
            });
            swap(facts, |it| &mut it.instances, key, copy)
        } else if is(Server::info()) {
            let server = read::<Server>(change);
            if let Some(server) = &server {
                if let Some(why) = self.promises.server(server) {
                    self.trace.broken(why);
                }
                let address = &server.spec.bmc.address;
                self.machines.insert(address.clone(), name.clone());
                self.addresses.insert(name.clone(), address.clone());
            }
            let rack = server.map(|it| it.spec.location.map(|it| it.rack));
            swap(facts, |it| &mut it.servers, name, rack)
        } else if is(Rack::info()) {
            let rack = read::<Rack>(change);
            let rack = rack.map(|it| (it.spec.site, it.spec.max_disrupted_servers));
            swap(facts, |it| &mut it.racks, name, rack)
        } else if is(Site::info()) {
            let limit = read::<Site>(change).map(|it| it.spec.max_disrupted_servers);
            swap(facts, |it| &mut it.sites, name, limit)
        } else if is(Freeze::info()) {
            swap(facts, |it| &mut it.freezes, name, read::<Freeze>(change).map(|it| it.spec))
        } else {
            return;
        };
        let Some(before) = before else { return };
        let now = self.clock.elapsed();
        self.before.push_back((now, before));
        self.forget(now);
        // What comes into a place goes with it, and what leaves it no longer does.
        for held in self.permits.values_mut() {
            held.hosts = self.facts.hosts(&held.permit.spec.target);
        }
        self.tell(change);
    }

    fn forget(&mut self, now: Duration) {
        while self.before.front().is_some_and(|(until, _)| *until + DECIDED_WITHIN < now) {
            self.before.pop_front();
        }
    }

    /// Servers that may be disrupted at any moment.
    pub(crate) fn disrupted(&self) -> BTreeSet<String> {
        self.permits.values().flat_map(|held| &held.hosts).cloned().collect()
    }

    fn permit(&mut self, change: &Change) {
        let Some(permit) = read::<Permit>(change) else {
            if let Some(held) = self.permits.remove(&change.key) {
                self.trace.say(format!("permit {} is taken back", full(&change.key)));
                let run = self.run_of(&held.uid);
                let name = full(&change.key);
                if run.is_some_and(|run| !run.status.phase.ended()) {
                    self.trace.broken(format!("permit {name} is taken back while its run goes on"));
                }
                if self.under_way.contains_key(&held.uid) {
                    self.trace
                        .broken(format!("permit {name} is taken back while something acts on it"));
                }
            }
            return;
        };
        // One that is only asked for takes nothing.
        if !permit.is_granted() || self.permits.contains_key(&change.key) {
            return;
        }
        let (uid, name) = (permit.spec.run_uid.clone(), full(&change.key));
        let on = format!("{} {}", permit.spec.target.kind, permit.spec.target.name);
        self.trace.say(format!("permit {name} is given, to disrupt {on}"));
        self.given += 1;
        if let Some(why) = self.may_not(&permit, &change.key) {
            self.trace.broken(format!("permit {name} to disrupt {on} is one too many: {why}"));
        }
        let hosts = self.facts.hosts(&permit.spec.target);
        self.permits.insert(change.key.clone(), Held { uid, permit, hosts });
    }

    /// Why a permit should not have been given: at no moment of late was it within all budgets.
    fn may_not(&mut self, permit: &Permit, key: &Key) -> Option<String> {
        self.forget(self.clock.elapsed());
        let disrupted = self.disrupted();
        let runbook = self.run_of(&permit.spec.run_uid).map(|run| run.spec.runbook.clone());
        let asked = Asked {
            target: &permit.spec.target,
            runbook: &runbook.unwrap_or_default(),
            namespace: &key.namespace,
            at: permit.status.granted.map_or_else(|| self.clock.now(), |at| at.timestamp()),
        };
        let why = self.facts.refuse(&asked, &disrupted)?;
        let earlier = self.before.iter().any(|(_, then)| then.refuse(&asked, &disrupted).is_none());
        (!earlier).then_some(why)
    }

    pub(crate) fn run_of(&self, uid: &str) -> Option<&Run> {
        self.runs.get(self.by_uid.get(uid)?)
    }

    fn run(&mut self, change: &Change) {
        let Some(run) = read::<Run>(change) else {
            if let Some(gone) = self.runs.remove(&change.key) {
                self.by_uid.remove(&gone.metadata.uid);
                if let Some((kind, name)) = target(&gone) {
                    self.acts_no_more(&(kind.to_owned(), name.to_owned()), &change.key);
                }
                self.trace.say(format!("run {} is gone", full(&change.key)));
                if acts(&gone) {
                    let name = full(&change.key);
                    self.trace.broken(format!("run {name} is removed while it acts"));
                }
            }
            return;
        };
        let before = self.runs.get(&change.key);
        let before = before.filter(|before| before.metadata.uid == run.metadata.uid).cloned();
        if let Some(line) = story::of_run(&change.key, before.as_ref(), &run) {
            self.trace.say(line);
        }
        if run.status.phase.ended() {
            let now = self.clock.elapsed();
            self.ended.entry(run.metadata.uid.clone()).or_insert(now);
        } else {
            self.ended.remove(&run.metadata.uid);
        }
        if before.is_none() {
            self.campaign_has_room(&change.key, &run);
            let broken = self.promises.run(&change.key, &run);
            self.promised(broken);
        }
        self.waits_with_a_deadline(&change.key, &run);
        self.what_is_recorded_was_done(&change.key, before.as_ref(), &run);
        self.by_uid.insert(run.metadata.uid.clone(), change.key.clone());
        self.runs.insert(change.key.clone(), run);
    }

    /// A run that has begun has a deadline; a step that waits says since when, and until when.
    fn waits_with_a_deadline(&self, key: &Key, run: &Run) {
        if run.status.start_time.is_none() || run.status.phase.ended() {
            return;
        }
        if run.status.deadline.is_none() {
            self.trace.broken(format!("run {} has begun without a deadline", full(key)));
        }
        for step in run.status.steps.iter().filter(|step| step.phase == StepPhase::Waiting) {
            let message = step.message.as_deref().unwrap_or_default();
            if !(message.contains(" since ") && message.contains(" until ")) {
                let name = full(key);
                self.trace.broken(format!(
                    "step {} of run {name} does not say since and until when it waits: {message:?}",
                    step.name
                ));
            }
        }
    }

    /// Power that a step is recorded to have set is set, at that moment: nobody else may act.
    fn what_is_recorded_was_done(&self, key: &Key, before: Option<&Run>, run: &Run) {
        let done = |step: &&StepStatus| step.phase == StepPhase::Succeeded;
        let known: BTreeSet<&str> = before
            .into_iter()
            .flat_map(|run| run.status.steps.iter().filter(done))
            .map(|step| step.name.as_str())
            .collect();
        let new = run.status.steps.iter().filter(done).filter(|_| !run.spec.dry_run);
        for step in new.filter(|step| !known.contains(step.name.as_str())) {
            let wanted = step.input.as_ref().and_then(|input| input.get("state"));
            let Some(wanted) = wanted.and_then(|state| state.as_str()) else { continue };
            let address = target(run).and_then(|(_, server)| self.addresses.get(server));
            let Some(address) = address else { continue };
            // What was done may be undone by an outage before it is recorded.
            if self.dark.get(address).is_some_and(|until| self.clock.elapsed() <= *until) {
                continue;
            }
            let on = self.simulation.is_on(address);
            if on != Some(wanted == "On") {
                self.trace.broken(format!(
                    "step {} of run {} is recorded to have turned the power {wanted}, and it is not",
                    step.name,
                    full(key)
                ));
            }
        }
    }

    fn one_run_acts_on_each(&self, touched: &BTreeSet<(String, String)>) {
        for on in touched {
            let mut acting = self.acting.get(on).into_iter().flatten().map(full);
            if let (Some(one), Some(other)) = (acting.next(), acting.next()) {
                let message = format!("runs {one} and {other} both act on {} {}", on.0, on.1);
                self.trace.broken(message);
            }
        }
    }

    /// Something was done to a machine.
    pub(crate) fn done(&mut self, effect: &Effect<'_>) {
        let Some(server) = self.machines.get(effect.address).cloned() else { return };
        let (uid, step) = effect.key.split_once('/').unwrap_or((effect.key, ""));
        let name = self.by_uid.get(uid).map_or_else(|| format!("which is gone ({uid})"), full);
        self.trace
            .say(format!("machine {server} takes {:?}, of run {name}, {step}", effect.request));
        if !effect.disrupts {
            return;
        }
        self.disruptions += 1;
        if !self.permits.values().any(|held| held.uid == uid && held.hosts.contains(&server)) {
            self.trace
                .broken(format!("machine {server} is disrupted by run {name} without a permit"));
        }
        let now = self.clock.elapsed();
        match self.run_of(uid) {
            None => {
                self.trace.broken(format!("machine {server} is disrupted by a run that is gone"))
            }
            Some(run) if !acts(run) => {
                let just = self.ended.get(uid).is_some_and(|at| *at + STOPPED_WITHIN >= now);
                if !just {
                    self.trace.broken(format!("run {name} acts on {server} after its end"));
                }
            }
            Some(_) => {}
        }
        let acting = self.acting.get(&("Server".to_owned(), server.clone()));
        for other in
            acting.into_iter().flatten().filter(|other| self.by_uid.get(uid) != Some(*other))
        {
            let other = &other.name;
            self.trace.broken(format!("run {name} acts on {server}, which run {other} holds"));
        }
    }

    /// A disruptive action of a run begins.
    pub(crate) fn begins_to_act(&mut self, uid: &str) {
        *self.under_way.entry(uid.to_owned()).or_default() += 1;
    }

    /// It has ended, or was dropped.
    pub(crate) fn acts_no_longer(&mut self, uid: &str) {
        if let Some(actions) = self.under_way.get_mut(uid) {
            *actions -= 1;
            if *actions == 0 {
                self.under_way.remove(uid);
            }
        }
    }

    /// What a machine shares with others is away for `time`. One feed takes no power, and no second one is ever cut.
    pub(crate) fn power_fails(&mut self, cause: Cause, address: &str, time: Duration) {
        let rack = |address: &str| address.split_once('.').map(|(_, rack)| rack.to_owned());
        let until = self.clock.elapsed() + time + RESTORED_WITHIN;
        let with = |it: &&String| match cause {
            Cause::RackPower => rack(it) == rack(address),
            Cause::PowerFeed | Cause::BmcSwitch => false,
        };
        for it in self.machines.keys().filter(with) {
            let dark = self.dark.entry(it.clone()).or_default();
            *dark = until.max(*dark);
        }
    }

    /// A rack is worked on.
    pub(crate) fn worked_on(&mut self, rack: &str, key: &str) {
        let uid = key.split_once('/').map_or(key, |(uid, _)| uid);
        self.trace.say(format!("rack {rack} is worked on"));
        self.disruptions += 1;
        let on = RunTarget::new("Rack", rack);
        let servers = self.facts.hosts(&on);
        let held = self.permits.values().find(|held| held.uid == uid);
        if !held.is_some_and(|held| servers.is_subset(&held.hosts)) {
            self.trace.broken(format!("rack {rack} is worked on without a permit"));
        }
    }

    /// Whether a campaign may begin this run: it is not held up, and has room.
    fn campaign_has_room(&self, key: &Key, run: &Run) {
        let owners = |run: &Run| -> Vec<String> {
            run.metadata.owner_references.iter().map(|owner| owner.uid.clone()).collect()
        };
        let of = owners(run);
        let Some(campaign) = self.campaigns.values().find(|it| of.contains(&it.metadata.uid))
        else {
            return;
        };
        let (spec, name) = (&campaign.spec, full(key));
        if spec.paused || spec.cancel {
            self.trace.broken(format!("run {name} is begun by a campaign that is held up"));
        }
        // A person may have retried one.
        let open = |it: &&Run| !it.status.phase.ended() && it.status.retries == 0;
        let open = self.runs.values().filter(open).filter(|it| owners(it) == of).count();
        if open >= usize::try_from(spec.concurrency).unwrap() {
            let most = spec.concurrency;
            self.trace.broken(format!("run {name} is begun while {open} go on, of {most} at once"));
        }
    }

    /// Permits whose run has ended or is gone, by name.
    pub(crate) fn orphans(&self) -> Vec<String> {
        let over = |held: &&Held| self.run_of(&held.uid).is_none_or(|run| run.status.phase.ended());
        let orphans = self.permits.values().filter(over);
        orphans.map(|held| held.permit.metadata.name.clone()).collect()
    }

    /// A run that goes on though its time is over, whatever the clocks said meanwhile, or that says nothing.
    pub(crate) fn overdue(&self, allowance: SignedDuration) -> Option<String> {
        let now = self.clock.now() - self.clock.jumped() - allowance;
        self.runs.iter().find_map(|(key, run)| {
            let message = run.status.message.as_deref().unwrap_or_default();
            let (name, status) = (full(key), &run.status);
            match status.phase {
                RunPhase::Pending | RunPhase::Queued => {
                    let created = run.metadata.creation_timestamp?;
                    let silent = created.timestamp() < now && !message.contains(" since ");
                    silent
                        .then(|| format!("run {name} waits and does not say for what: {message:?}"))
                }
                RunPhase::Running | RunPhase::Suspended => {
                    let deadline = status.deadline.filter(|it| it.timestamp() < now)?;
                    Some(format!("run {name} goes on past its deadline {deadline}: {message}"))
                }
                _ => None,
            }
        })
    }
}

fn put<V>(map: &mut BTreeMap<String, V>, key: String, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// The facts as they were before one of them is another; nothing when it is not.
fn swap<V: PartialEq>(
    facts: &mut Facts,
    of: impl Fn(&mut Facts) -> &mut BTreeMap<String, V>,
    key: String,
    value: Option<V>,
) -> Option<Facts> {
    if of(facts).get(&key) == value.as_ref() {
        return None;
    }
    let before = facts.clone();
    put(of(facts), key, value);
    Some(before)
}
