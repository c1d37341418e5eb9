//! Freezes: whether one holds for a request.

use crate::{
    book::Book,
    decide::Request,
    place::PlaceName,
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

    /// Who approved that a request in these places goes on in all freezes there are; or the freeze that ends last
    /// among those that hold for it.
    pub(crate) fn unfrozen(
        &self,
        request: &Request<'_>,
        places: &BTreeSet<Number>,
    ) -> Result<BTreeSet<String>, Refusal> {
        let (mut who, mut holding) = (BTreeSet::new(), None);
        for (name, freeze) in &self.freezes {
            if !holds_at(freeze, request.now)
                || excepts(freeze, request)
                || !self.covers(freeze, places)
            {
                continue;
            }
            let policy = freeze.except.as_ref().and_then(|it| it.approval_policy.as_ref());
            let wanted = match policy.map(|policy| request.approved(policy)) {
                Some(Ok(approved)) => {
                    who.extend(approved.into_iter().map(str::to_owned));
                    continue;
                }
                Some(Err(wanted)) => Some(wanted),
                None => None,
            };
            if holding.as_ref().is_none_or(|(_, last, _)| freeze.end >= *last) {
                holding = Some((name, freeze.end, (freeze, wanted)));
            }
        }
        match holding {
            Some((name, end, (freeze, wanted))) => {
                Err(Self::frozen(name, &freeze.reason, end, wanted.as_deref()))
            }
            None => Ok(who),
        }
    }

    /// Whether a freeze holds in one of these places.
    fn covers(&self, freeze: &FreezeSpec, places: &BTreeSet<Number>) -> bool {
        let racks = freeze.racks.iter().map(|rack| PlaceName::Rack(rack));
        let sites = freeze.sites.iter().map(|site| PlaceName::Site(site));
        let parts =
            freeze.site_parts.iter().map(|place| PlaceName::of_part(&place.site, &place.part));
        let mut named = racks.chain(sites).chain(parts).peekable();
        let here = |name| self.find_place(name).is_some_and(|place| places.contains(&place));
        named.peek().is_none() || named.any(here)
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
