//! The promise of the ledger against a model that counts everything anew: a permit is given exactly when no
//! budget and no limit would be exceeded, counting what is down by itself.

use jiff::Timestamp;
use proptest::prelude::*;
use quarterdeck_ledger::{Book, Holder, Request, Target};
use quarterdeck_model::{
    Time,
    kinds::{DisruptionBudget, FreezeSpec, ServiceSpec},
    share::Share,
};
use std::collections::{BTreeMap, BTreeSet};

const SERVICES: u8 = 4;
const SERVERS: u8 = 8;
const RACKS: u8 = 3;
const SITES: u8 = 2;

#[derive(Debug, Clone)]
enum Step {
    Service(u8, Option<(bool, Share)>),
    NoService(u8),
    Instance { name: u8, service: u8, server: u8, available: bool },
    NoInstance(u8),
    Server(u8, Option<u8>),
    NoServer(u8),
    Rack(u8, u8, Option<u32>),
    NoRack(u8),
    Site(u8, Option<u32>),
    Freeze(u8, Option<u8>),
    NoFreeze(u8),
    Ask { run: u8, target: (u8, u8) },
    Release(u8),
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![(0..4_u32).prop_map(Share::Count), (0..=100_u8).prop_map(Share::Percent)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..SERVICES, prop::option::of((any::<bool>(), share()))).prop_map(|(a, b)| Step::Service(a, b)),
        1 => (0..SERVICES).prop_map(Step::NoService),
        8 => (0..40_u8, 0..SERVICES, 0..SERVERS, prop::bool::weighted(0.9)).prop_map(
            |(name, service, server, available)| Step::Instance { name, service, server, available }
        ),
        1 => (0..40_u8).prop_map(Step::NoInstance),
        3 => (0..SERVERS, prop::option::weighted(0.9, 0..RACKS)).prop_map(|(a, b)| Step::Server(a, b)),
        1 => (0..SERVERS).prop_map(Step::NoServer),
        2 => (0..RACKS, 0..SITES, prop::option::of(0..4_u32)).prop_map(|(a, b, c)| Step::Rack(a, b, c)),
        1 => (0..RACKS).prop_map(Step::NoRack),
        1 => (0..SITES, prop::option::of(0..6_u32)).prop_map(|(a, b)| Step::Site(a, b)),
        1 => (0..2_u8, prop::option::of(0..RACKS)).prop_map(|(a, b)| Step::Freeze(a, b)),
        2 => (0..2_u8).prop_map(Step::NoFreeze),
        8 => (0..12_u8, prop_oneof![6 => (Just(0_u8), 0..SERVERS), 1 => (Just(1_u8), 0..RACKS), 1 => (Just(2_u8), 0..SITES)])
            .prop_map(|(run, target)| Step::Ask { run, target }),
        4 => (0..12_u8).prop_map(Step::Release),
    ]
}

/// Everything as it was said, and nothing counted.
#[derive(Default)]
struct Model {
    services: BTreeMap<u8, ServiceSpec>,
    instances: BTreeMap<u8, (u8, u8, bool)>,
    servers: BTreeMap<u8, Option<u8>>,
    racks: BTreeMap<u8, (u8, Option<u32>)>,
    sites: BTreeMap<u8, Option<u32>>,
    freezes: BTreeMap<u8, Option<u8>>,
    /// What each run may disrupt, and the servers that are that.
    permits: BTreeMap<u8, ((u8, u8), BTreeSet<u8>)>,
}

impl Model {
    /// Servers under a permit.
    fn disrupted(&self) -> BTreeSet<u8> {
        self.permits.values().flat_map(|(_, hosts)| hosts).copied().collect()
    }

    fn rack_of(&self, server: u8) -> Option<u8> {
        self.servers.get(&server).copied().flatten()
    }

    fn site_of(&self, server: u8) -> Option<u8> {
        Some(self.racks.get(&self.rack_of(server)?)?.0)
    }

    fn hosts(&self, (kind, name): (u8, u8)) -> BTreeSet<u8> {
        (0..SERVERS)
            .filter(|server| match kind {
                0 => *server == name,
                1 => self.rack_of(*server) == Some(name),
                _ => self.site_of(*server) == Some(name),
            })
            .collect()
    }

    /// Instances of a service, and those of them that are down while `disrupted` may go.
    fn count(&self, service: u8, disrupted: &BTreeSet<u8>) -> (u32, u32) {
        let own = self.instances.values().filter(|(of, ..)| *of == service);
        let down = own.clone().filter(|(_, on, available)| !available || disrupted.contains(on));
        (own.count() as u32, down.count() as u32)
    }

    fn most_down(&self, service: u8, total: u32) -> u32 {
        self.services.get(&service).cloned().unwrap_or_default().most_down(total)
    }

    /// Whether a target may go too.
    fn allows(&self, target: (u8, u8)) -> bool {
        let hosts = self.hosts(target);
        let frozen = self.freezes.values().any(|rack| match rack {
            None => true,
            Some(rack) => hosts.iter().any(|host| self.rack_of(*host) == Some(*rack)),
        });
        let before = self.disrupted();
        let after: BTreeSet<u8> = before.union(&hosts).copied().collect();
        let grows = |of: &dyn Fn(u8) -> bool| {
            let count = |all: &BTreeSet<u8>| all.iter().filter(|host| of(**host)).count() as u32;
            (count(&before), count(&after))
        };
        let within = |limit: Option<u32>, of: &dyn Fn(u8) -> bool| {
            let (before, after) = grows(of);
            after == before || limit.is_none_or(|limit| after <= limit)
        };
        let racks = self
            .racks
            .iter()
            .all(|(rack, (_, limit))| within(*limit, &|host| self.rack_of(host) == Some(*rack)));
        let sites = self
            .sites
            .iter()
            .all(|(site, limit)| within(*limit, &|host| self.site_of(host) == Some(*site)));
        let budgets = (0..SERVICES).all(|service| {
            let (total, now) = self.count(service, &before);
            let (_, then) = self.count(service, &after);
            then == now || then <= self.most_down(service, total)
        });
        !frozen && racks && sites && budgets
    }
}

fn service_name(service: u8) -> String {
    format!("team/service-{service}")
}

fn target_name((kind, name): (u8, u8)) -> (&'static str, String) {
    match kind {
        0 => ("Server", format!("s-{name}")),
        1 => ("Rack", format!("r-{name}")),
        _ => ("Site", format!("site-{name}")),
    }
}

/// Whether a target may be disrupted.
fn ask(book: &Book, target: (u8, u8)) -> bool {
    let (kind, name) = target_name(target);
    let target = Target { kind, name: &name };
    book.ask(&Request { target, namespace: "ops", runbook: "patch", now: at() }).is_ok()
}

impl Model {
    /// A book that is told all of it, and nothing of how it came to be.
    fn book(&self) -> Book {
        let mut book = Book::default();
        for (site, limit) in &self.sites {
            book.set_site(&format!("site-{site}"), *limit);
        }
        for (rack, (site, limit)) in &self.racks {
            book.set_rack(&format!("r-{rack}"), &format!("site-{site}"), *limit);
        }
        for (server, rack) in &self.servers {
            let rack = rack.map(|rack| format!("r-{rack}"));
            book.set_server(&format!("s-{server}"), rack.as_deref());
        }
        for (service, spec) in &self.services {
            book.set_service(&service_name(*service), spec.clone());
        }
        for (name, (service, server, available)) in &self.instances {
            let (name, host) = (format!("team/i-{name}"), format!("s-{server}"));
            book.set_instance(&name, &service_name(*service), &host, *available, None);
        }
        for (name, rack) in &self.freezes {
            let racks = rack.map(|rack| format!("r-{rack}")).into_iter().collect();
            let spec = FreezeSpec { reason: "year end".into(), racks, ..FreezeSpec::default() };
            book.set_freeze(&format!("f-{name}"), spec);
        }
        for (run, (target, _)) in &self.permits {
            let uid = format!("u-{run}");
            let holder = Holder { uid: uid.as_str().into(), name: format!("ops/{run}") };
            let (kind, name) = target_name(*target);
            book.permit(holder, Target { kind, name: &name }, at());
        }
        book
    }
}

fn at() -> Time {
    Time::new(Timestamp::UNIX_EPOCH)
}

fn apply(step: Step, book: &mut Book, model: &mut Model) -> Result<(), TestCaseError> {
    match step {
        Step::Service(service, budget) => {
            let budget = budget.map(|(most, share)| DisruptionBudget {
                max_unavailable: most.then_some(share),
                min_available: (!most).then_some(share),
            });
            let spec = ServiceSpec { disruption_budget: budget, ..ServiceSpec::default() };
            book.set_service(&service_name(service), spec.clone());
            model.services.insert(service, spec);
        }
        Step::NoService(service) => {
            book.remove_service(&service_name(service));
            model.services.remove(&service);
        }
        Step::Instance { name, service, server, available } => {
            book.set_instance(
                &format!("team/i-{name}"),
                &service_name(service),
                &format!("s-{server}"),
                available,
                None,
            );
            model.instances.insert(name, (service, server, available));
        }
        Step::NoInstance(name) => {
            book.remove_instance(&format!("team/i-{name}"));
            model.instances.remove(&name);
        }
        Step::Server(server, rack) => {
            let rack_name = rack.map(|rack| format!("r-{rack}"));
            book.set_server(&format!("s-{server}"), rack_name.as_deref());
            model.servers.insert(server, rack);
        }
        Step::NoServer(server) => {
            book.remove_server(&format!("s-{server}"));
            model.servers.remove(&server);
        }
        Step::Rack(rack, site, limit) => {
            book.set_rack(&format!("r-{rack}"), &format!("site-{site}"), limit);
            model.racks.insert(rack, (site, limit));
        }
        Step::NoRack(rack) => {
            book.remove_rack(&format!("r-{rack}"));
            model.racks.remove(&rack);
        }
        Step::Site(site, limit) => {
            book.set_site(&format!("site-{site}"), limit);
            model.sites.insert(site, limit);
        }
        Step::Freeze(name, rack) => {
            let racks = rack.map(|rack| format!("r-{rack}")).into_iter().collect();
            let spec = FreezeSpec { reason: "year end".into(), racks, ..FreezeSpec::default() };
            book.set_freeze(&format!("f-{name}"), spec);
            model.freezes.insert(name, rack);
        }
        Step::NoFreeze(name) => {
            book.remove_freeze(&format!("f-{name}"));
            model.freezes.remove(&name);
        }
        Step::Ask { run, target } => {
            let uid = format!("u-{run}");
            if book.permitted(&uid) {
                return Ok(());
            }
            let (kind, name) = target_name(target);
            let asked = Target { kind, name: &name };
            let request = Request { target: asked, namespace: "ops", runbook: "patch", now: at() };
            let answer = book.ask(&request);
            prop_assert_eq!(answer.is_ok(), model.allows(target), "{:?}: {:?}", target, answer);
            if answer.is_ok() {
                let holder = Holder { uid: uid.as_str().into(), name: format!("ops/{run}") };
                book.permit(holder, asked, at());
                model.permits.insert(run, (target, model.hosts(target)));
            }
        }
        Step::Release(run) => {
            let had = model.permits.remove(&run).is_some();
            prop_assert_eq!(book.release(&format!("u-{run}")), had);
            prop_assert!(!book.release(&format!("u-{run}")), "a permit is given back once");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_permit_is_given_exactly_when_nothing_would_be_exceeded(
        steps in prop::collection::vec(step(), 1..160)
    ) {
        let (mut book, mut model) = (Book::default(), Model::default());
        for step in steps {
            apply(step, &mut book, &mut model)?;
            // What comes into a place goes with it, and what leaves it no longer does.
            let now: Vec<_> =
                model.permits.iter().map(|(run, (target, _))| (*run, model.hosts(*target))).collect();
            for (run, hosts) in now {
                if let Some((_, known)) = model.permits.get_mut(&run) {
                    *known = hosts;
                }
            }
            let disrupted = model.disrupted();
            for service in 0..SERVICES {
                let (total, down) = model.count(service, &disrupted);
                let kept = book.numbers(&format!("team/service-{service}"));
                match kept {
                    Some((all, gone, _)) => prop_assert_eq!((all, gone), (total, down)),
                    None => prop_assert_eq!(total, 0),
                }
            }
        }
        let anew = model.book();
        for service in 0..SERVICES {
            let name = format!("team/service-{service}");
            prop_assert_eq!(
                anew.numbers(&name).map(|(all, gone, _)| (all, gone)).unwrap_or_default(),
                book.numbers(&name).map(|(all, gone, _)| (all, gone)).unwrap_or_default(),
                "a book made anew from what is stored counts the same"
            );
        }
        for (kind, names) in [(0, SERVERS), (1, RACKS), (2, SITES)] {
            for name in 0..names {
                let (live, made) = (ask(&book, (kind, name)), ask(&anew, (kind, name)));
                prop_assert_eq!(live, made, "a book made anew answers the same");
            }
        }
    }
}
