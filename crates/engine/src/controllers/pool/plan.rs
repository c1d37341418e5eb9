//! Which machines of a pool are created, deleted and changed next. Pure: the same pool, machines and places give the
//! same plan.
//!
//! Machines on their way out are not counted among those there are, as Kubernetes does not count Pods that end: what
//! takes their place need not wait until they are wiped.

use crate::controllers::quotas::Limit;
use quarterdeck_model::{
    Time,
    kinds::{MachinePoolSpec, PoolDeletePolicy, PoolStrategyType},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// How long a machine looks for a server where it was put before it is put elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How soon such a machine is looked at again when there was no room elsewhere: nobody tells of that.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Most machines created, and most deleted or changed, by one look: together they fit one commit.
pub(super) const AT_ONCE: usize = 200;

/// A machine of the pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) created: Option<Time>,
    /// On its way out.
    pub(super) deleting: bool,
    /// Since when it is ready, if it is.
    pub(super) ready: Option<Time>,
    /// It is as the template says.
    pub(super) updated: bool,
    /// Only its image differs from the template.
    pub(super) in_place: bool,
    /// Since when it is not well, if it is not.
    pub(super) unhealthy: Option<Time>,
    /// Since when it looks for a server, if it has none.
    pub(super) looking: Option<Time>,
    /// Where it is, or was put; none when it may be anywhere.
    pub(super) domain: Option<String>,
    /// Somebody wants it to go before others.
    pub(super) first: bool,
    /// Why it is not ready, in one word and in a sentence, as it says itself.
    pub(super) reason: String,
    pub(super) message: String,
}

/// What is decided on.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) spec: &'a MachinePoolSpec,
    pub(super) members: &'a [Member],
    /// Free servers in each place.
    pub(super) free: &'a BTreeMap<String, usize>,
    /// No machine could be made now: what it needs is not there.
    pub(super) blocked: bool,
    /// The quota that limits how many machines may be made, if there is one.
    pub(super) quota: Option<&'a Limit>,
    pub(super) now: Time,
}

/// What to do. Machines are told by their place among the members.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Where each new machine is put; none when it may be anywhere.
    pub(super) create: Vec<Option<String>>,
    pub(super) delete: Vec<usize>,
    /// Those that get the template's image.
    pub(super) change: Vec<usize>,
    /// So many are not well that none is replaced.
    pub(super) too_many_unhealthy: bool,
    /// Machines that are wanted, and not made since a quota is used up.
    pub(super) over_quota: usize,
    /// When to look again, if nothing changes before.
    pub(super) again: Option<Duration>,
}

impl Plan {
    /// Something is to be done.
    pub(super) fn acts(&self) -> bool {
        !(self.create.is_empty() && self.delete.is_empty() && self.change.is_empty())
    }
}

/// Decides.
pub(super) fn plan(situation: &Situation<'_>) -> Plan {
    let mut planner = Planner::new(situation);
    if situation.spec.paused {
        return planner.plan;
    }
    if !situation.blocked {
        planner.replace_unhealthy();
        planner.move_stranded();
    }
    planner.scale_down();
    if !situation.blocked {
        planner.update_in_place();
        planner.replace_outdated();
        planner.create();
    }
    planner.plan
}

/// Whether a machine counts as available.
pub(super) fn available(spec: &MachinePoolSpec, member: &Member, now: Time) -> bool {
    let long = Duration::from_secs(spec.min_ready_seconds.into());
    member.ready.is_some_and(|since| left(since, long, now).is_none())
}

/// How much is left of a while that began then; none when it is over.
fn left(since: Time, long: Duration, now: Time) -> Option<Duration> {
    let passed = now.timestamp().duration_since(since.timestamp());
    let passed = Duration::try_from(passed).unwrap_or_default();
    long.checked_sub(passed).filter(|left| !left.is_zero())
}

struct Planner<'a> {
    situation: &'a Situation<'a>,
    replicas: usize,
    surge: usize,
    /// Fewer than this are not made available by what is decided here.
    least: usize,
    /// Machines that stay, as far as is decided.
    live: Vec<usize>,
    /// Available machines that will not be, since they are changed.
    changing: usize,
    /// Places where a machine has looked for a server for long.
    in_vain: HashSet<&'a str>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let spec = situation.spec;
        let replicas = size(spec.replicas);
        let live = situation.members.iter().enumerate().filter(|(_, member)| !member.deleting);
        let live = live.map(|(at, _)| at).collect();
        let least = replicas.saturating_sub(size(spec.unavailable()));
        let mut planner = Self {
            situation,
            replicas,
            surge: size(spec.surge()),
            least,
            live,
            changing: 0,
            in_vain: HashSet::new(),
            plan: Plan::default(),
        };
        planner.in_vain = planner
            .members()
            .filter(|(_, member)| {
                member.looking.is_some_and(|since| left(since, PATIENCE, situation.now).is_none())
            })
            .filter_map(|(_, member)| member.domain.as_deref())
            .collect();
        // Those of the newest template that are on their way out were so a moment ago, or were too many: a cause that
        // all share must not go through the pool in rounds.
        let going = situation.members.iter();
        let going = going.filter(|it| it.deleting && it.updated && it.ready.is_none()).count();
        let unhealthy = going + planner.count(|member| member.unhealthy.is_some());
        planner.plan.too_many_unhealthy =
            spec.unhealthy.is_some() && unhealthy > size(spec.unhealthy_accepted());
        planner.wake_for_ready();
        planner
    }

    fn members(&self) -> impl Iterator<Item = (usize, &'a Member)> + '_ {
        self.live.iter().filter_map(|at| Some((*at, self.situation.members.get(*at)?)))
    }

    fn count(&self, which: impl Fn(&Member) -> bool) -> usize {
        self.members().filter(|(_, member)| which(member)).count()
    }

    fn available(&self, member: &Member) -> bool {
        available(self.situation.spec, member, self.situation.now)
    }

    /// How many that are available may go.
    fn spare(&self) -> usize {
        let available = self.count(|member| self.available(member));
        available.saturating_sub(self.changing).saturating_sub(self.least)
    }

    /// It is to make way for one that is as the template says.
    fn to_replace(&self, member: &Member) -> bool {
        !member.updated
            && match self.situation.spec.strategy.kind {
                PoolStrategyType::RollingUpdate => true,
                PoolStrategyType::OnDelete => false,
                PoolStrategyType::InPlace => !member.in_place,
            }
    }

    fn delete(&mut self, at: usize) {
        self.plan.delete.push(at);
        self.live.retain(|other| *other != at);
    }

    fn again(&mut self, after: Duration) {
        let sooner = self.plan.again.map_or(after, |known| known.min(after));
        self.plan.again = Some(sooner);
    }

    fn full(&self) -> bool {
        self.plan.delete.len() + self.plan.change.len() >= AT_ONCE
    }

    /// Ready machines become available without anybody telling of it.
    fn wake_for_ready(&mut self) {
        let long = Duration::from_secs(self.situation.spec.min_ready_seconds.into());
        let now = self.situation.now;
        let waits = self.members().filter_map(|(_, member)| left(member.ready?, long, now));
        if let Some(soonest) = waits.min() {
            self.again(soonest);
        }
    }

    /// Machines that have not been well for too long. None of them is available, so nothing is lost with them.
    fn replace_unhealthy(&mut self) {
        let Some(unhealthy) = self.situation.spec.unhealthy else { return };
        if self.plan.too_many_unhealthy {
            return;
        }
        let after = unhealthy.after.as_std();
        let sick: Vec<(usize, Time)> =
            self.members().filter_map(|(at, member)| Some((at, member.unhealthy?))).collect();
        for (at, since) in sick {
            match left(since, after, self.situation.now) {
                Some(wait) => self.again(wait),
                None if !self.full() => self.delete(at),
                None => {}
            }
        }
    }

    /// Machines that found no server where they were put go when there is room elsewhere: nothing was written to any.
    fn move_stranded(&mut self) {
        let looking: Vec<(usize, Time)> = self
            .members()
            .filter(|(_, member)| member.domain.is_some())
            .filter_map(|(at, member)| Some((at, member.looking?)))
            .collect();
        if looking.is_empty() || self.live.len() > self.wanted() {
            return;
        }
        let mut places = self.places();
        // Those that are missing already have the first of what is free.
        let missing = self.wanted() - self.live.len();
        let mut room = (0..missing).all(|_| places.take_free());
        for (at, since) in looking {
            if let Some(wait) = left(since, PATIENCE, self.situation.now) {
                self.again(wait);
                continue;
            }
            self.again(LOOK_AGAIN);
            room = room && !self.full() && places.take_free();
            if room {
                self.delete(at);
            }
        }
    }

    /// How many machines there are to be now: while some are to make way, a few more than were asked for.
    fn wanted(&self) -> usize {
        self.replicas + self.surge.min(self.count(|member| self.to_replace(member)))
    }

    /// More machines than wanted: some go.
    fn scale_down(&mut self) {
        let mut excess = self.live.len().saturating_sub(self.wanted());
        let mut spare = self.spare();
        while excess > 0 && !self.full() {
            let Some((at, available)) = self.next_to_go(spare > 0, |_| true) else { return };
            spare -= usize::from(available);
            excess -= 1;
            self.delete(at);
        }
    }

    /// Who goes next of some; only those that are not available, when none of those may.
    fn next_to_go(&self, spare: bool, which: impl Fn(&Member) -> bool) -> Option<(usize, bool)> {
        let mut in_domain: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, member) in self.members() {
            *in_domain.entry(member.domain.as_deref().unwrap_or_default()).or_default() += 1;
        }
        let oldest = self.situation.spec.delete_policy == PoolDeletePolicy::Oldest;
        let may = self.members().map(|(at, member)| (at, member, self.available(member)));
        let may = may.filter(|(_, member, available)| (spare || !available) && which(member));
        let first = may.min_by_key(|(_, member, available)| {
            let crowd = in_domain.get(member.domain.as_deref().unwrap_or_default());
            let age = member.created.map(Time::timestamp);
            (
                !member.first,
                *available,
                member.ready.is_some(),
                member.updated,
                Reverse(crowd.copied()),
                if oldest { (age, None) } else { (None, Some(Reverse(age))) },
                &member.name,
            )
        });
        first.map(|(at, _, available)| (at, available))
    }

    /// Machines that only need another image get it, a few at once.
    fn update_in_place(&mut self) {
        let spec = self.situation.spec;
        if spec.strategy.kind != PoolStrategyType::InPlace {
            return;
        }
        let in_work = self.count(|member| member.updated && !self.available(member));
        let mut may = size(spec.unavailable()).saturating_sub(in_work);
        let mut spare = self.spare();
        let mut outdated: Vec<(bool, usize)> = self
            .members()
            .filter(|(_, member)| !member.updated && member.in_place)
            .map(|(at, member)| (self.available(member), at))
            .collect();
        outdated.sort_unstable();
        for (available, at) in outdated {
            if may == 0 || self.full() || available && spare == 0 {
                return;
            }
            may -= 1;
            spare -= usize::from(available);
            self.changing += usize::from(available);
            self.plan.change.push(at);
        }
    }

    /// Machines that are not as the template says go as far as others are available.
    fn replace_outdated(&mut self) {
        let new_ones = self.count(|member| member.updated && !self.available(member));
        let new_ones = new_ones + self.plan.change.len();
        // New machines that are not available may never be: as many as are missed stay.
        let mut may = self.live.len().saturating_sub(self.least).saturating_sub(new_ones);
        // Those that wait for leave to go hold the update back: each has a server as long.
        let members = self.situation.members.iter();
        let going = |it: &&Member| it.deleting && !it.updated && it.unhealthy.is_none();
        let going = members.filter(going).count();
        let most = (self.surge + self.replicas.saturating_sub(self.least)).max(1);
        may = may.min(most.saturating_sub(going));
        let mut spare = self.spare();
        while may > 0 && !self.full() {
            let next = self.next_to_go(spare > 0, |member| self.to_replace(member));
            let Some((at, available)) = next else { return };
            may -= 1;
            spare -= usize::from(available);
            self.delete(at);
        }
    }

    /// New machines: as many as are missed, and while others are to make way a few more.
    fn create(&mut self) {
        let more = self.wanted().saturating_sub(self.live.len());
        let room = self
            .situation
            .quota
            .map_or(usize::MAX, |quota| usize::try_from(quota.room()).unwrap_or(usize::MAX));
        self.plan.over_quota = more.saturating_sub(room);
        let mut places = self.places();
        self.plan.create = (0..more.min(room).min(AT_ONCE)).map(|_| places.take()).collect();
    }

    /// The places as they are with what is decided until now.
    fn places(&self) -> Places {
        let mut all: BTreeMap<String, Place> = BTreeMap::new();
        for (domain, free) in self.situation.free {
            all.entry(domain.clone()).or_default().free = *free;
        }
        for (_, member) in self.members() {
            let Some(domain) = &member.domain else { continue };
            let place = all.entry(domain.clone()).or_default();
            place.all += 1;
            // Those that make way are not counted among those that will be there.
            place.stay += usize::from(!self.to_replace(member));
            if member.looking.is_some() {
                place.free = place.free.saturating_sub(1);
            }
        }
        for domain in &self.in_vain {
            if let Some(place) = all.get_mut(*domain) {
                place.free = 0;
            }
        }
        all.retain(|_, place| place.all > 0 || place.free > 0);
        Places { all, most_skew: self.situation.spec.spread.max_skew.map(size) }
    }
}

/// A place, as a pool sees it.
#[derive(Debug, Clone, Default)]
struct Place {
    /// Machines of the pool.
    all: usize,
    /// Those of them that stay.
    stay: usize,
    /// Free servers.
    free: usize,
}

/// Where machines can be put.
struct Places {
    all: BTreeMap<String, Place>,
    most_skew: Option<usize>,
}

impl Places {
    /// Puts one more machine: where the fewest are of those that have a free server. Where none has, it may be
    /// anywhere, unless that could be too uneven: then it waits where the fewest are.
    fn take(&mut self) -> Option<String> {
        let place = self.best(true).or_else(|| self.most_skew.and_then(|_| self.best(false)))?;
        self.put(&place);
        Some(place)
    }

    /// The same, only where there is a free server; false when there is none.
    fn take_free(&mut self) -> bool {
        let place = self.best(true);
        if let Some(place) = &place {
            self.put(place);
        }
        place.is_some()
    }

    fn put(&mut self, name: &str) {
        if let Some(place) = self.all.get_mut(name) {
            place.all += 1;
            place.stay += 1;
            place.free = place.free.saturating_sub(1);
        }
    }

    fn best(&self, free: bool) -> Option<String> {
        let fewest = self.all.values().map(|place| place.stay).min()?;
        let fits = |place: &Place| {
            let even = self.most_skew.is_none_or(|most| place.stay < fewest + most);
            even && (!free || place.free > 0)
        };
        let places = self.all.iter().filter(|(_, place)| fits(place));
        let best = places.min_by_key(|(_, place)| (place.stay, place.all, Reverse(place.free)));
        best.map(|(name, _)| name.clone())
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How many free servers a plan counts on in each place it uses: one for each new machine, and for each that looks
/// for one there.
pub(super) fn wants(plan: &Plan, members: &[Member]) -> BTreeMap<String, usize> {
    let mut wants: BTreeMap<String, usize> = BTreeMap::new();
    for place in plan.create.iter().flatten() {
        *wants.entry(place.clone()).or_default() += 1;
    }
    for member in members.iter().filter(|member| !member.deleting && member.looking.is_some()) {
        if let Some(wanted) = member.domain.as_ref().and_then(|place| wants.get_mut(place)) {
            *wanted += 1;
        }
    }
    wants
}
