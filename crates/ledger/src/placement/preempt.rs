//! Who would make way for whom: when nothing else helps, instances of a lower priority. It only proposes; the ledger decides.

use super::{
    Fleet, Resources, Wish,
    choose::Question,
    fleet::{Instance, Machine},
    rules::Rules,
};
use std::sync::Arc;

/// Machines on which it is tried. Which these are does not matter: with so many there are hardly better ones.
const TRIED_MAX: usize = 2_000;

impl Question<'_> {
    /// The machine on which the fewest and least important instances would make way, and these.
    pub(super) fn victims(
        &self,
        fleet: &Fleet,
        rules: &Rules,
        wish: &Wish<'_>,
    ) -> Option<(Arc<str>, Vec<Arc<str>>)> {
        let could = |machine: &&Machine| {
            let host = machine.host.as_ref();
            host.is_some_and(|host| {
                host.allocatable.fits(wish.requests) && rules.class.unmet(host).is_none()
            })
        };
        let machines = fleet.declared().map(|(_, machine)| machine).filter(could);
        let tried = machines.take(TRIED_MAX).filter(|machine| self.misplaced(machine).is_none());
        let proposals = tried.filter_map(|machine| Some((victims(fleet, machine, wish)?, machine)));
        let cost = |victims: &[&Instance]| {
            let highest = victims.iter().map(|victim| victim.priority).max();
            (highest, victims.len())
        };
        let best = proposals.min_by(|(one, at), (other, there)| {
            cost(one).cmp(&cost(other)).then_with(|| at.name.cmp(&there.name))
        });
        best.map(|(victims, machine)| {
            (machine.name.clone(), victims.iter().map(|victim| victim.name.clone()).collect())
        })
    }
}

/// Those that would make way on one machine: no more than must.
fn victims<'f>(fleet: &'f Fleet, machine: &Machine, wish: &Wish<'_>) -> Option<Vec<&'f Instance>> {
    let instances = machine.instances.iter().filter_map(|at| fleet.instances.get(*at));
    let mut lower: Vec<&Instance> =
        instances.filter(|instance| instance.priority < wish.priority).collect();
    let takes = |victim: &Instance| victim.ports.iter().any(|port| wish.ports.contains(port));
    let allowed =
        |port| !machine.ports.contains(port) || lower.iter().any(|it| it.ports.contains(port));
    if lower.is_empty() || !wish.ports.iter().all(allowed) {
        return None;
    }
    // Whoever has a port must go; then the least important first, and of those the larger ones.
    lower.sort_by(|one, other| {
        let key =
            |it: &Instance| (!takes(it), it.priority, std::cmp::Reverse(it.requests.weight()));
        key(one).cmp(&key(other)).then_with(|| one.name.cmp(&other.name))
    });
    // From what is used: more of it than there is may be taken already.
    let all = machine.host.as_ref().map(|host| host.allocatable).unwrap_or_default();
    let fits = |used: Resources| all.minus(used).fits(wish.requests);
    let (mut used, mut chosen) = (machine.used, Vec::new());
    for victim in lower {
        if fits(used) && !takes(victim) {
            break;
        }
        used = used.minus(victim.requests);
        chosen.push(victim);
    }
    if !fits(used) {
        return None;
    }
    // Those that were taken before it was seen that the others are enough stay after all, the most important first.
    let mut at = chosen.len();
    while at > 0 {
        at -= 1;
        let Some(victim) = chosen.get(at) else { break };
        let with = used.plus(victim.requests);
        if fits(with) && !takes(victim) {
            used = with;
            chosen.remove(at);
        }
    }
    Some(chosen)
}
