//! The machines that meet what one or more workloads want of a machine, found by what is free on them and by the place
//! they stand in. Kept with each change.

use super::{Resources, index::Index, rules::Class};
use crate::table::Number;
use quarterdeck_model::kinds::TopologyLevel;
use std::collections::{BTreeSet, HashMap};

/// The places of one level in which there is a machine of the view.
#[derive(Debug, Default)]
pub(super) struct Places {
    indexes: HashMap<Number, Index>,
    list: Vec<Number>,
    at: HashMap<Number, usize>,
    /// Changes when a place comes or goes.
    pub(super) version: u64,
}

/// Where a machine is, and what is free on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) free: Resources,
    pub(super) places: [Option<Number>; TopologyLevel::ALL.len()],
}

#[derive(Debug)]
pub(super) struct View {
    /// Tells views apart, also those that are there no more.
    pub(super) id: u64,
    pub(super) class: Class,
    pub(super) all: Index,
    levels: [Option<Places>; TopologyLevel::ALL.len()],
    members: HashMap<Number, [Option<Number>; TopologyLevel::ALL.len()]>,
    /// When it was asked for last.
    pub(super) asked: u64,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, place: Number) -> Option<&Index> {
        self.indexes.get(&place)
    }

    /// One of them, by its place in no order.
    pub(super) fn nth(&self, at: usize) -> Option<Number> {
        self.list.get(at).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Number> + '_ {
        self.list.iter().copied()
    }

    fn set(&mut self, place: Number, machine: Number, free: Resources) {
        let index = self.indexes.entry(place).or_default();
        if index.len() == 0 {
            self.version += 1;
            self.at.insert(place, self.list.len());
            self.list.push(place);
        }
        index.set(machine, free);
    }

    fn remove(&mut self, place: Number, machine: Number) {
        let Some(index) = self.indexes.get_mut(&place) else { return };
        index.remove(machine);
        if index.len() > 0 {
            return;
        }
        self.indexes.remove(&place);
        self.version += 1;
        let Some(at) = self.at.remove(&place) else { return };
        self.list.swap_remove(at);
        if let Some(moved) = self.list.get(at) {
            self.at.insert(*moved, at);
        }
    }
}

impl View {
    pub(super) fn new(id: u64, class: Class) -> Self {
        let levels = [const { None }; TopologyLevel::ALL.len()];
        Self { id, class, all: Index::default(), levels, members: HashMap::new(), asked: 0 }
    }

    /// Notes a machine that is one of it, or no longer is.
    pub(super) fn set(&mut self, machine: Number, standing: Option<Standing>) {
        let before = self.members.get(&machine).copied();
        let Some(Standing { free, places }) = standing else {
            if let Some(before) = before {
                self.leave(machine, before);
                self.all.remove(machine);
                self.members.remove(&machine);
            }
            return;
        };
        if let Some(before) = before.filter(|before| *before != places) {
            self.leave(machine, before);
        }
        self.members.insert(machine, places);
        self.all.set(machine, free);
        for (level, place) in self.levels.iter_mut().zip(places) {
            if let (Some(level), Some(place)) = (level, place) {
                level.set(place, machine, free);
            }
        }
    }

    fn leave(&mut self, machine: Number, places: [Option<Number>; TopologyLevel::ALL.len()]) {
        for (level, place) in self.levels.iter_mut().zip(places) {
            if let (Some(level), Some(place)) = (level, place) {
                level.remove(place, machine);
            }
        }
    }

    pub(super) fn places(&self, level: TopologyLevel) -> Option<&Places> {
        self.levels.get(level.number())?.as_ref()
    }

    /// Keeps machines by places of these levels, too, from now on.
    pub(super) fn keep(
        &mut self,
        levels: &BTreeSet<TopologyLevel>,
        free: impl Fn(Number) -> Resources,
    ) {
        for level in levels {
            let Some(kept) = self.levels.get_mut(level.number()) else { continue };
            if kept.is_some() {
                continue;
            }
            let mut places = Places::default();
            // In an order that does not depend on how it was come to.
            let mut members: Vec<_> = self.members.iter().collect();
            members.sort_unstable_by_key(|(machine, _)| **machine);
            for (machine, standing) in members {
                if let Some(Some(place)) = standing.get(level.number()) {
                    places.set(*place, *machine, free(*machine));
                }
            }
            *kept = Some(places);
        }
    }
}
