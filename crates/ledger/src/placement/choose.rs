//! The decision: on which machine is a wish met?

use super::{
    Fleet, Placed, Resources, Wish,
    fleet::{Machine, Workload},
    index::{Found, Index},
    random::Random,
    refusal::{Reason, Refusal},
    rules::Rules,
    view::{Places, View},
};
use crate::table::Number;
use quarterdeck_model::kinds::TopologyLevel;
use std::{collections::BTreeSet, sync::Arc};

/// Places that are drawn before the wish is held against every machine.
const PLACES_DRAWN_MAX: usize = 64;
/// Places in which a machine was found before the tightest of these is taken.
const PLACES_FOUND: usize = 3;

/// What is looked at for each machine: a wish, with all it is held against.
pub(super) struct Question<'f> {
    fleet: &'f Fleet,
    workload: Number,
    rules: Arc<Rules>,
    wanted: Resources,
    wish: &'f Wish<'f>,
    /// The fewest instances that a place of each level of the spread has.
    least: Vec<u32>,
}

impl Fleet {
    /// On which machine the wish is met. The same fleet and seed give the same answer. Nothing is noted: that is done
    /// with [`Fleet::set_instance`].
    ///
    /// # Errors
    /// Why on none.
    pub fn place(&mut self, wish: &Wish<'_>, seed: u64) -> Result<Placed, Box<Refusal>> {
        if let Some(quota) = self.over_quota(wish) {
            return Err(Box::new(Refusal { quota: Some(quota), ..Refusal::default() }));
        }
        let workload = self.workloads.entry(wish.workload, Workload::new);
        let view = self.prepare(workload);
        let least = self.least(workload, view);
        let rules = self.rules(workload);
        let question =
            Question { fleet: self, workload, rules, wanted: wish.requests, wish, least };
        let mut random = Random::new(seed);
        let found = self.views.get(view).and_then(|view| question.find(view, &mut random));
        let answer = match found.and_then(|number| self.machines.get(number)) {
            Some(machine) => Ok(Placed { machine: machine.name.clone() }),
            None => Err(Box::new(question.refusal())),
        };
        self.drop_workload(workload);
        answer
    }

    fn rules(&self, workload: Number) -> Arc<Rules> {
        self.workloads.get(workload).map(|it| it.rules.clone()).unwrap_or_default()
    }

    /// Has everything counted that a wish of the workload is held against; answers which view it is.
    fn prepare(&mut self, workload: Number) -> usize {
        let rules = self.rules(workload);
        let mut levels: BTreeSet<TopologyLevel> =
            rules.spread.iter().map(|(level, _)| *level).collect();
        levels.extend(rules.alone_in());
        for level in &levels {
            self.count_by(workload, *level);
        }
        for (other, level) in rules.near.iter().chain(&rules.away) {
            let other = match other {
                Some(other) => self.workloads.number(other),
                None => Some(workload),
            };
            if let Some(other) = other {
                self.count_by(other, *level);
            }
        }
        let repels = self.workloads.get(workload).map(|it| it.repels.clone()).unwrap_or_default();
        for (other, level) in repels {
            self.count_by(other, level);
        }
        levels.extend(rules.near.iter().map(|(_, level)| *level));
        self.view(&rules.class, &levels)
    }

    /// The fewest instances that a place has in which one could run, for each level of the spread.
    fn least(&mut self, workload: Number, view: usize) -> Vec<u32> {
        let Self { workloads, views, .. } = self;
        let (Some(workload), Some(view)) = (workloads.get_mut(workload), views.get(view)) else {
            return Vec::new();
        };
        let rules = workload.rules.clone();
        let least = |(level, _): &(TopologyLevel, u32)| {
            let counts = workload.counts.get_mut(level.number())?.as_mut()?;
            let places = view.places(*level)?;
            let seen = (view.id, places.version);
            if counts.by_place.len() < places.len() {
                return Some(0);
            }
            if counts.none_empty != Some(seen) {
                if places.iter().any(|place| counts.of(place) == 0) {
                    return Some(0);
                }
                counts.none_empty = Some(seen);
            }
            let there = |of: &BTreeSet<Number>| of.iter().any(|place| places.get(*place).is_some());
            counts.by_count.iter().find(|(_, of)| there(of)).map(|(count, _)| *count)
        };
        rules.spread.iter().map(least).map(Option::unwrap_or_default).collect()
    }

    fn over_quota(&self, wish: &Wish<'_>) -> Option<String> {
        let wanted = self.used.plus(wish.requests);
        self.quotas.values().find_map(|quota| {
            let name = &quota.name;
            if let Some(most) = quota.cpu.filter(|most| wanted.cpu > *most && wish.requests.cpu > 0) {
                let (used, more) = (self.used.cpu, wish.requests.cpu);
                return Some(format!(
                    "quota {name} allows {most}m of requests.cpu in the namespace; {used}m are used, and this would take \
                     {more}m more"
                ));
            }
            let there = u64::try_from(self.instances.len()).unwrap_or(u64::MAX);
            if let Some(most) = quota.instances.filter(|most| there >= *most) {
                return Some(format!(
                    "quota {name} allows {most} instances in the namespace; there are {there}"
                ));
            }
            let most = quota.memory.filter(|it| wanted.memory > *it && wish.requests.memory > 0)?;
            let (used, more) = (self.used.memory, wish.requests.memory);
            Some(format!(
                "quota {name} allows {} MiB of requests.memory in the namespace; {} MiB are used, and this would take {} \
                 MiB more",
                most >> 20, used >> 20, more >> 20
            ))
        })
    }
}

impl<'f> Question<'f> {
    fn find(&self, view: &View, random: &mut Random) -> Option<Number> {
        let drawn = match self.driver(view) {
            Some(places) => self.in_places(&places, random),
            None => self.tightest(&view.all, random),
        };
        match drawn {
            Found::Machine(machine, _) => Some(machine),
            Found::Nothing => None,
            // However rare it is, it is found.
            Found::NotAmongDrawn => {
                let all = view.all.machines().filter_map(|it| Some((self.free(it)?, it)));
                all.min().map(|(_, machine)| machine)
            }
        }
    }

    fn tightest(&self, index: &Index, random: &mut Random) -> Found {
        index.tightest(self.wanted, random, |machine| self.free(machine))
    }

    /// What is free on a machine that meets the wish.
    fn free(&self, number: Number) -> Option<u64> {
        let machine = self.fleet.machines.get(number)?;
        self.unmet(machine).is_none().then(|| machine.free().weight())
    }

    /// The level by which machines are looked for, when it is by places: most machines do not do then.
    fn driver<'v>(&'v self, view: &'v View) -> Option<Driver<'v>> {
        let own = self.fleet.workloads.get(self.workload)?;
        if let Some((other, level)) = self.rules.near.first() {
            let other = self.other(other.as_deref());
            let near = other.and_then(|at| self.fleet.workloads.get(at)?.counts(*level));
            if let Some(near) = near.filter(|near| !near.by_place.is_empty()) {
                let among = near.by_place.keys().copied().collect();
                return Some(Driver { places: view.places(*level)?, among: Among::These(among) });
            }
        }
        if let (Some((level, skew)), Some(least)) = (self.rules.spread.first(), self.least.first())
        {
            let (places, counts) = (view.places(*level)?, own.counts(*level)?);
            return Some(Driver {
                places,
                among: Among::Counted(counts, *least, least + skew - 1),
            });
        }
        let level = self.rules.alone_in().filter(|level| *level > TopologyLevel::Server)?;
        Some(Driver {
            places: view.places(level)?,
            among: Among::Counted(own.counts(level)?, 0, 0),
        })
    }

    /// The tightest machine of the first few places that have one.
    fn in_places(&self, driver: &Driver<'_>, random: &mut Random) -> Found {
        let (mut best, mut found): (Option<(u64, Number)>, usize) = (None, 0);
        for _ in 0..PLACES_DRAWN_MAX {
            if found == PLACES_FOUND {
                break;
            }
            let Some(index) = driver.draw(random).and_then(|place| driver.places.get(place)) else {
                break;
            };
            if let Found::Machine(machine, free) = self.tightest(index, random) {
                found += 1;
                if best.is_none_or(|best| (free, machine) < best) {
                    best = Some((free, machine));
                }
            }
        }
        best.map_or(Found::NotAmongDrawn, |(free, machine)| Found::Machine(machine, free))
    }

    /// A workload that a rule names; this one, when it names none.
    fn other(&self, name: Option<&str>) -> Option<Number> {
        name.map_or(Some(self.workload), |name| self.fleet.workloads.number(name))
    }

    /// Whether a workload has an instance in the place of a machine.
    fn is_there(&self, workload: Option<Number>, level: TopologyLevel, machine: &Machine) -> bool {
        let counts = workload.and_then(|at| self.fleet.workloads.get(at)?.counts(level));
        let place = machine.place(level);
        counts.zip(place).is_some_and(|(counts, place)| counts.of(place) > 0)
    }

    /// Why a machine that meets the class does not do.
    fn unmet(&self, machine: &Machine) -> Option<Reason> {
        let Resources { cpu, memory } = machine.free();
        match (self.wanted.cpu > cpu, self.wanted.memory > memory) {
            (true, true) => return Some(Reason::CpuAndMemory),
            (true, false) => return Some(Reason::Cpu),
            (false, true) => return Some(Reason::Memory),
            (false, false) => {}
        }
        if let Some(port) = self.wish.ports.iter().find(|port| machine.ports.contains(port)) {
            return Some(Reason::Port(port.port));
        }
        self.misplaced(machine)
    }

    /// Why a machine does not do by where others are.
    pub(super) fn misplaced(&self, machine: &Machine) -> Option<Reason> {
        let own = self.fleet.workloads.get(self.workload)?;
        for (level, _) in &self.rules.spread {
            if machine.place(*level).is_none() {
                return Some(Reason::NoPlace(*level));
            }
        }
        let named = |other: &Option<String>| -> Arc<str> {
            other.as_deref().map_or_else(|| own.name.clone(), Into::into)
        };
        for (other, level) in &self.rules.away {
            if self.is_there(self.other(other.as_deref()), *level, machine) {
                return Some(Reason::Away(named(other), *level));
            }
        }
        let repels =
            own.repels.iter().filter(|(at, level)| self.is_there(Some(*at), *level, machine));
        // Always the same one is named, however it came to its number.
        let repels =
            repels.filter_map(|(at, level)| Some((&self.fleet.workloads.get(*at)?.name, *level)));
        if let Some((other, level)) = repels.min() {
            return Some(Reason::KeptAwayBy(other.clone(), level));
        }
        for (other, level) in &self.rules.near {
            // The first of those that are to be near each other may be anywhere.
            let first = other.is_none() && own.instances.is_empty();
            if !first && !self.is_there(self.other(other.as_deref()), *level, machine) {
                return Some(Reason::Near(named(other), *level));
            }
        }
        for ((level, skew), least) in self.rules.spread.iter().zip(&self.least) {
            let count = own.counts(*level).zip(machine.place(*level));
            let count = count.map_or(0, |(counts, place)| counts.of(place));
            if count.saturating_add(1).saturating_sub(*least) > *skew {
                return Some(Reason::Spread(*level));
            }
        }
        None
    }

    pub(super) fn refusal(&self) -> Refusal {
        let mut refusal = Refusal::default();
        for (_, machine) in self.fleet.declared() {
            let Some(host) = &machine.host else { continue };
            refusal.machines += 1;
            let reason = self.rules.class.unmet(host).or_else(|| self.unmet(machine));
            if let Some(reason) = reason {
                *refusal.reasons.entry(reason).or_default() += 1;
            }
        }
        refusal.victims = self.victims(self.fleet, &self.rules, self.wish);
        refusal
    }
}

/// The places that are looked at, and in which order.
struct Driver<'v> {
    places: &'v Places,
    among: Among<'v>,
}

enum Among<'v> {
    These(Vec<Number>),
    /// Those with the fewest instances, and then any that have at most so many.
    Counted(&'v super::fleet::Counts, u32, u32),
}

impl Driver<'_> {
    fn draw(&self, random: &mut Random) -> Option<Number> {
        let (counts, least, most) = match &self.among {
            Among::These(places) => return places.get(random.below(places.len())).copied(),
            Among::Counted(counts, least, most) => (*counts, *least, *most),
        };
        if least > 0 && least == most {
            // All of them are known.
            let pivot = self.places.nth(random.below(self.places.len()))?;
            let fewest = counts.by_count.get(&least)?;
            return fewest.range(pivot..).next().or_else(|| fewest.first()).copied();
        }
        let mut second = None;
        for _ in 0..PLACES_DRAWN_MAX {
            let place = self.places.nth(random.below(self.places.len()))?;
            match counts.of(place) {
                count if count == least => return Some(place),
                count if count <= most => second = Some(place),
                _ => {}
            }
        }
        let from = random.below(self.places.len());
        let around = (0..self.places.len()).map(|by| (from + by) % self.places.len());
        let fewest = around.filter_map(|at| self.places.nth(at)).find(|it| counts.of(*it) == least);
        fewest.or(second)
    }
}
