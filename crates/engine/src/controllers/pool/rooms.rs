//! Where free servers for a pool are. Reads one world and changes nothing.
//!
//! Servers are counted by an index. Whether one fits is seen only by reading it, so that is done for places that a plan
//! would use, and no others.

use super::super::machine::choose;
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{Machine, MachineClass, Rack, SpreadDomain},
};
use quarterdeck_store::World;
use std::{collections::BTreeMap, sync::Arc};

/// Most servers that are read by one look. A plan that needs more to be read puts its machines anywhere.
const READ_MAX: usize = 4_000;

/// Free servers of a class, by place.
pub(super) struct Rooms<'a> {
    world: &'a World,
    class: &'a MachineClass,
    /// A machine as it would be created.
    like: Machine,
    servers: BTreeMap<String, Vec<Arc<Object>>>,
    /// How many of each place may fit: all, until it is seen that fewer do.
    free: BTreeMap<String, usize>,
    /// Of how many of each place it was seen that they fit.
    fit: BTreeMap<String, usize>,
    read: usize,
}

impl<'a> Rooms<'a> {
    /// Of the places that a machine like this may be in.
    pub(super) fn of(
        world: &'a World,
        class: &'a MachineClass,
        like: Machine,
        domain: SpreadDomain,
    ) -> Self {
        let mut servers: BTreeMap<String, Vec<Arc<Object>>> = BTreeMap::new();
        for (rack, there) in choose::free_by_rack(world, &like, class) {
            if let Some(place) = place(world, &rack, domain) {
                servers.entry(place).or_default().extend(there);
            }
        }
        let free = servers.iter().map(|(place, there)| (place.clone(), there.len())).collect();
        Self { world, class, like, servers, free, fit: BTreeMap::new(), read: 0 }
    }

    pub(super) fn free(&self) -> &BTreeMap<String, usize> {
        &self.free
    }

    /// Sees whether so many servers of a place fit. True when that is not so and was not known: then whoever counted
    /// on them has to plan anew.
    pub(super) fn learn(&mut self, place: &str, wanted: usize) -> bool {
        if self.fit.get(place).is_some_and(|known| *known >= wanted) {
            return false;
        }
        let there = self.servers.get(place).map_or(&[][..], Vec::as_slice);
        let mut fit = 0;
        for server in there {
            if fit == wanted || self.read == READ_MAX {
                break;
            }
            self.read += 1;
            fit += usize::from(choose::fits(self.world, &self.like, self.class, server));
        }
        self.fit.insert(place.to_owned(), fit);
        if self.read == READ_MAX {
            let known = !self.free.is_empty();
            self.free.clear();
            return known;
        }
        fit < wanted && self.free.insert(place.to_owned(), fit).unwrap_or_default() != fit
    }
}

/// The place that a rack is, or is in; none when that cannot be told.
pub(super) fn place(world: &World, rack: &str, domain: SpreadDomain) -> Option<String> {
    let named = match domain {
        SpreadDomain::Rack => rack.to_owned(),
        SpreadDomain::Site => {
            world.get(Rack::info(), "", rack)?.field("spec.site").unwrap_or_default().to_owned()
        }
    };
    Some(named).filter(|name| !name.is_empty())
}
