//! Freezes: whether one holds for a request.

use crate::{
    book::{Book, PlaceKind},
    decide::Request,
    refusal::{Blocker, Refusal},
    table::Number,
};
use quarterdeck_model::{Time, kinds::FreezeSpec};
use std::collections::BTreeSet;

impl Book {
    /// Notes a freeze.
    pub fn set_freeze(&mut self, name: &str, spec: FreezeSpec) {
        self.freezes.insert(name.into(), spec);
        self.gave_way(Blocker::Freeze(name.into()));
    }

    /// Forgets a freeze.
    pub fn remove_freeze(&mut self, name: &str) {
        if self.freezes.remove(name).is_some() {
            self.gave_way(Blocker::Freeze(name.into()));
        }
    }

    /// The freeze that ends last among those that hold for a request about `hosts`.
    pub(crate) fn frozen_by(&self, request: &Request<'_>, hosts: &[Number]) -> Option<Refusal> {
        let mut holding = self
            .freezes
            .iter()
            .filter(|(_, freeze)| holds_at(freeze, request.now) && !excepts(freeze, request))
            .peekable();
        // Nearly always there is none; then nobody asks where the servers are.
        holding.peek()?;
        let places = self.places_of(hosts);
        let covers = |freeze: &FreezeSpec| {
            (freeze.sites.is_empty() && freeze.racks.is_empty())
                || freeze.racks.iter().any(|rack| places.contains(&(PlaceKind::Rack, rack)))
                || freeze.sites.iter().any(|site| places.contains(&(PlaceKind::Site, site)))
        };
        let (name, freeze) =
            holding.filter(|(_, freeze)| covers(freeze)).max_by_key(|(_, freeze)| freeze.end)?;
        Some(Self::frozen(name, &freeze.reason, freeze.end))
    }

    /// Racks and sites that servers stand in.
    fn places_of(&self, hosts: &[Number]) -> BTreeSet<(PlaceKind, &str)> {
        let mut names = BTreeSet::new();
        for host in hosts.iter().filter_map(|host| self.hosts.get(*host)) {
            let mut next = host.rack;
            while let Some(place) = next.and_then(|number| self.places.get(number)) {
                names.insert((place.kind, place.short_name()));
                next = place.within;
            }
        }
        names
    }
}

fn holds_at(freeze: &FreezeSpec, now: Time) -> bool {
    freeze.start.is_none_or(|start| start <= now) && freeze.end.is_none_or(|end| now < end)
}

fn excepts(freeze: &FreezeSpec, request: &Request<'_>) -> bool {
    freeze.except.as_ref().is_some_and(|except| {
        except.runbooks.iter().any(|name| name == request.runbook)
            || except.namespaces.iter().any(|name| name == request.namespace)
    })
}
