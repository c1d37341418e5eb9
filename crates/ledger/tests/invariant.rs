//! The promise of the ledger against a model that counts everything anew: a permit is given exactly when no
//! budget and no limit would be exceeded, counting what is down by itself, nothing holds it up, and whoever wants to be
//! asked has agreed. Over random topologies of sites, halls, rows, racks, power feeds and servers.

use jiff::Timestamp;
use proptest::prelude::*;
use quarterdeck_ledger::{Book, Holder, PlaceName, Request, Target};
use quarterdeck_model::{
    ApprovalPolicy, Time,
    kinds::{
        Approval, DisruptionBudget, FreezePart, FreezeSpec, RackSpec, RunTarget, ServiceSpec,
        SiteLimit, SitePart, SiteSpec,
    },
    share::Share,
};
use std::collections::{BTreeMap, BTreeSet};

const SERVICES: u8 = 4;
const SERVERS: u8 = 8;
const RACKS: u8 = 4;
const SITES: u8 = 2;
/// Halls of a site, rows of a hall, and feeds of a site.
const PARTS: u8 = 2;

/// What a run is about, or where a freeze holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Server(u8),
    Rack(u8),
    Site(u8),
    Hall(u8, u8),
    Row(u8, Option<u8>, u8),
    Feed(u8, u8),
}

#[derive(Debug, Clone)]
struct Rack {
    site: u8,
    hall: Option<u8>,
    row: Option<u8>,
    feeds: BTreeSet<u8>,
    limit: Option<u32>,
    approval: bool,
}

#[derive(Debug, Clone, Default)]
struct Site {
    limit: Option<u32>,
    limits: BTreeMap<On, u32>,
    down: BTreeSet<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Service(u8, Option<(bool, Share)>, bool),
    NoService(u8),
    Instance { name: u8, service: u8, server: u8, available: bool },
    NoInstance(u8),
    Server(u8, Option<u8>),
    NoServer(u8),
    Rack(u8, Rack),
    NoRack(u8),
    Site(u8, Site),
    NoSite(u8),
    Freeze(u8, Option<On>),
    NoFreeze(u8),
    Ask { run: u8, target: On, approved: bool },
    Release(u8),
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![(0..4_u32).prop_map(Share::Count), (0..=100_u8).prop_map(Share::Percent)]
}

fn part(site: impl Strategy<Value = u8>) -> impl Strategy<Value = On> {
    (site, 0..3_u8, prop::option::of(0..PARTS), 0..PARTS).prop_map(|(site, what, hall, name)| {
        match what {
            0 => On::Hall(site, name),
            1 => On::Row(site, hall, name),
            _ => On::Feed(site, name),
        }
    })
}

fn place() -> impl Strategy<Value = On> {
    prop_oneof![
        2 => (0..RACKS).prop_map(On::Rack),
        1 => (0..SITES).prop_map(On::Site),
        4 => part(0..SITES),
    ]
}

fn rack() -> impl Strategy<Value = Rack> {
    let place = (0..SITES, prop::option::of(0..PARTS), prop::option::of(0..PARTS));
    let feeds = prop::collection::btree_set(0..PARTS, 0..=2);
    (place, feeds, prop::option::of(0..4_u32), prop::bool::weighted(0.1)).prop_map(
        |((site, hall, row), feeds, limit, approval)| Rack {
            site,
            hall,
            row,
            feeds,
            limit,
            approval,
        },
    )
}

fn site() -> impl Strategy<Value = Site> {
    (
        prop::option::of(0..6_u32),
        prop::collection::btree_map(part(Just(0)), 0..5_u32, 0..3),
        prop::collection::btree_set(0..PARTS, 0..2),
    )
        .prop_map(|(limit, limits, down)| Site { limit, limits, down })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..SERVICES, prop::option::of((any::<bool>(), share())), prop::bool::weighted(0.1))
            .prop_map(|(a, b, c)| Step::Service(a, b, c)),
        1 => (0..SERVICES).prop_map(Step::NoService),
        8 => (0..40_u8, 0..SERVICES, 0..SERVERS, prop::bool::weighted(0.9)).prop_map(
            |(name, service, server, available)| Step::Instance { name, service, server, available }
        ),
        1 => (0..40_u8).prop_map(Step::NoInstance),
        3 => (0..SERVERS, prop::option::weighted(0.9, 0..RACKS)).prop_map(|(a, b)| Step::Server(a, b)),
        1 => (0..SERVERS).prop_map(Step::NoServer),
        4 => (0..RACKS, rack()).prop_map(|(a, b)| Step::Rack(a, b)),
        1 => (0..RACKS).prop_map(Step::NoRack),
        2 => (0..SITES, site()).prop_map(|(a, b)| Step::Site(a, b)),
        1 => (0..SITES).prop_map(Step::NoSite),
        1 => (0..2_u8, prop::option::of(place())).prop_map(|(a, b)| Step::Freeze(a, b)),
        2 => (0..2_u8).prop_map(Step::NoFreeze),
        10 => (0..12_u8, prop_oneof![1 => (0..SERVERS).prop_map(On::Server), 1 => place()], any::<bool>())
            .prop_map(|(run, target, approved)| Step::Ask { run, target, approved }),
        4 => (0..12_u8).prop_map(Step::Release),
    ]
}

/// Everything as it was said, and nothing counted.
#[derive(Default)]
struct Model {
    services: BTreeMap<u8, ServiceSpec>,
    instances: BTreeMap<u8, (u8, u8, bool)>,
    servers: BTreeMap<u8, Option<u8>>,
    racks: BTreeMap<u8, Rack>,
    sites: BTreeMap<u8, Site>,
    freezes: BTreeMap<u8, Option<On>>,
    /// What each run may disrupt.
    permits: BTreeMap<u8, On>,
}

impl Model {
    fn rack_of(&self, server: u8) -> Option<u8> {
        self.servers.get(&server).copied().flatten()
    }

    /// Whether a rack stands in a place or hangs on it.
    fn is_in(&self, rack: u8, place: On) -> bool {
        let known = self.racks.get(&rack);
        let of = |site: u8, is: &dyn Fn(&Rack) -> bool| {
            known.is_some_and(|rack| rack.site == site && is(rack))
        };
        match place {
            On::Server(_) => false,
            On::Rack(name) => rack == name,
            On::Site(site) => of(site, &|_| true),
            On::Hall(site, hall) => of(site, &|rack| rack.hall == Some(hall)),
            On::Row(site, hall, row) => of(site, &|it| it.hall == hall && it.row == Some(row)),
            On::Feed(site, feed) => of(site, &|rack| rack.feeds.contains(&feed)),
        }
    }

    /// Whether a rack has power from nothing that may not go at any moment, and something that may was permitted to.
    fn is_dark(&self, rack: u8, permitted: &BTreeSet<On>) -> bool {
        let Some(rack) = self.racks.get(&rack) else { return false };
        let down = self.sites.get(&rack.site).map(|site| site.down.clone()).unwrap_or_default();
        let is_permitted = |feed: &u8| permitted.contains(&On::Feed(rack.site, *feed));
        rack.feeds.iter().any(is_permitted)
            && rack.feeds.iter().all(|feed| down.contains(feed) || is_permitted(feed))
    }

    /// Servers that may go when so much is permitted.
    fn disrupted(&self, permitted: &BTreeSet<On>) -> BTreeSet<u8> {
        let all = (0..SERVERS).filter(|server| {
            let rack = self.rack_of(*server);
            let within = |on: &On| match on {
                On::Server(name) => name == server,
                On::Feed(..) => false,
                place => rack.is_some_and(|rack| self.is_in(rack, *place)),
            };
            permitted.iter().any(within) || rack.is_some_and(|rack| self.is_dark(rack, permitted))
        });
        all.collect()
    }

    fn permitted(&self) -> BTreeSet<On> {
        self.permits.values().copied().collect()
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

    /// Whether anything speaks of a rack.
    fn is_known(&self, rack: u8) -> bool {
        self.racks.contains_key(&rack)
            || self.servers.values().any(|of| *of == Some(rack))
            || self.permits.values().any(|on| *on == On::Rack(rack))
    }

    /// Racks that a disruption of a target is about.
    fn concerned(&self, target: On) -> BTreeSet<u8> {
        match target {
            On::Server(server) => self.rack_of(server).into_iter().collect(),
            place => {
                let is = |rack: &u8| self.is_known(*rack) && self.is_in(*rack, place);
                (0..RACKS).filter(is).collect()
            }
        }
    }

    /// Whether a target may go too.
    fn allows(&self, target: On, approved: bool) -> bool {
        let permitted = self.permitted();
        let with: BTreeSet<On> = permitted.iter().copied().chain([target]).collect();
        let (before, after) = (self.disrupted(&permitted), self.disrupted(&with));
        let concerned = self.concerned(target);
        let frozen = self.freezes.values().any(|place| {
            place.is_none_or(|place| concerned.iter().any(|rack| self.is_in(*rack, place)))
        });
        let within = |limit: u32, place: On| {
            let of = |server: &&u8| self.rack_of(**server).is_some_and(|it| self.is_in(it, place));
            let count = |all: &BTreeSet<u8>| all.iter().filter(of).count() as u32;
            count(&after) == count(&before) || count(&after) <= limit
        };
        let racks = self.racks.iter();
        let racks = racks.filter_map(|(name, rack)| Some((On::Rack(*name), rack.limit?)));
        let sites = self.sites.iter();
        let sites = sites.filter_map(|(name, site)| Some((On::Site(*name), site.limit?)));
        let parts = self.sites.iter().flat_map(|(name, site)| {
            site.limits.iter().map(|(part, limit)| (on_site(*part, *name), *limit))
        });
        let limits = racks.chain(sites).chain(parts).all(|(place, limit)| within(limit, place));
        let mut asked = concerned.iter().any(|it| self.racks.get(it).is_some_and(|it| it.approval));
        let budgets = (0..SERVICES).all(|service| {
            let (total, now) = self.count(service, &before);
            let (_, then) = self.count(service, &after);
            let spec = self.services.get(&service);
            asked |= then != now && spec.is_some_and(|spec| spec.approval_policy.is_some());
            then == now || then <= self.most_down(service, total)
        });
        !frozen && limits && budgets && (approved || !asked)
    }
}

fn on_site(part: On, site: u8) -> On {
    match part {
        On::Hall(_, hall) => On::Hall(site, hall),
        On::Row(_, hall, row) => On::Row(site, hall, row),
        On::Feed(_, feed) => On::Feed(site, feed),
        other => other,
    }
}

fn site_part(part: On) -> SitePart {
    let name = |name: u8| Some(name.to_string());
    match part {
        On::Hall(_, hall) => SitePart { hall: name(hall), ..SitePart::default() },
        On::Row(_, hall, row) => {
            SitePart { hall: hall.and_then(name), row: name(row), power_feed: None }
        }
        On::Feed(_, feed) => SitePart { power_feed: name(feed), ..SitePart::default() },
        _ => SitePart::default(),
    }
}

fn service_name(service: u8) -> String {
    format!("team/service-{service}")
}

/// A target as a run names it.
fn run_target(on: On) -> RunTarget {
    match on {
        On::Server(name) => RunTarget::new("Server", format!("s-{name}")),
        On::Rack(name) => RunTarget::new("Rack", format!("r-{name}")),
        On::Site(site) | On::Hall(site, _) | On::Row(site, ..) | On::Feed(site, _) => {
            RunTarget { part: site_part(on), ..RunTarget::new("Site", format!("site-{site}")) }
        }
    }
}

fn policy(wanted: bool) -> Option<ApprovalPolicy> {
    wanted.then(|| ApprovalPolicy { users: vec!["ann".into()], ..ApprovalPolicy::default() })
}

fn rack_spec(rack: &Rack) -> RackSpec {
    RackSpec {
        site: format!("site-{}", rack.site),
        hall: rack.hall.map(|hall| hall.to_string()),
        row: rack.row.map(|row| row.to_string()),
        power_feeds: rack.feeds.iter().map(u8::to_string).collect(),
        max_disrupted_servers: rack.limit,
        approval_policy: policy(rack.approval),
        ..RackSpec::default()
    }
}

fn site_spec(site: &Site) -> SiteSpec {
    let limit = |(part, most): (&On, &u32)| SiteLimit {
        part: site_part(*part),
        max_disrupted_servers: *most,
    };
    SiteSpec {
        max_disrupted_servers: site.limit,
        limits: site.limits.iter().map(limit).collect(),
        power_feeds_down: site.down.iter().map(u8::to_string).collect(),
        ..SiteSpec::default()
    }
}

fn freeze_spec(place: Option<On>) -> FreezeSpec {
    let mut spec = FreezeSpec { reason: "year end".into(), ..FreezeSpec::default() };
    match place {
        None | Some(On::Server(_)) => {}
        Some(On::Rack(rack)) => spec.racks.push(format!("r-{rack}")),
        Some(On::Site(site)) => spec.sites.push(format!("site-{site}")),
        Some(part @ (On::Hall(site, _) | On::Row(site, ..) | On::Feed(site, _))) => {
            let (site, part) = (format!("site-{site}"), site_part(part));
            spec.site_parts.push(FreezePart { site, part });
        }
    }
    spec
}

/// Whether a target may be disrupted.
fn ask(book: &Book, target: On, approved: bool) -> bool {
    let target = run_target(target);
    let given = [Approval { by: Some("ann".into()), ..Approval::default() }];
    let request = Request {
        target: Target::from(&target),
        namespace: "ops",
        runbook: "patch",
        approvals: if approved { &given } else { &[] },
        requester: None,
        own_change: false,
        now: at(),
    };
    book.ask(&request).is_ok()
}

fn permit(book: &mut Book, run: u8, target: On) {
    let (uid, target) = (format!("u-{run}"), run_target(target));
    let holder = Holder { uid: uid.as_str().into(), name: format!("ops/{run}") };
    book.permit(holder, Target::from(&target), at());
}

impl Model {
    /// A book that is told all of it, and nothing of how it came to be.
    fn book(&self) -> Book {
        let mut book = Book::default();
        for (site, spec) in &self.sites {
            book.set_site(&format!("site-{site}"), &site_spec(spec));
        }
        for (rack, spec) in &self.racks {
            book.set_rack(&format!("r-{rack}"), &rack_spec(spec));
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
        for (name, place) in &self.freezes {
            book.set_freeze(&format!("f-{name}"), freeze_spec(*place));
        }
        for (run, target) in &self.permits {
            permit(&mut book, *run, *target);
        }
        book
    }
}

fn at() -> Time {
    Time::new(Timestamp::UNIX_EPOCH)
}

fn apply(step: Step, book: &mut Book, model: &mut Model) -> Result<(), TestCaseError> {
    match step {
        Step::Service(service, budget, approval) => {
            let budget = budget.map(|(most, share)| DisruptionBudget {
                max_unavailable: most.then_some(share),
                min_available: (!most).then_some(share),
            });
            let spec = ServiceSpec {
                disruption_budget: budget,
                approval_policy: policy(approval),
                ..ServiceSpec::default()
            };
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
        Step::Rack(rack, spec) => {
            book.set_rack(&format!("r-{rack}"), &rack_spec(&spec));
            model.racks.insert(rack, spec);
        }
        Step::NoRack(rack) => {
            book.remove_rack(&format!("r-{rack}"));
            model.racks.remove(&rack);
        }
        Step::Site(site, spec) => {
            book.set_site(&format!("site-{site}"), &site_spec(&spec));
            model.sites.insert(site, spec);
        }
        Step::NoSite(site) => {
            book.remove_site(&format!("site-{site}"));
            model.sites.remove(&site);
        }
        Step::Freeze(name, place) => {
            book.set_freeze(&format!("f-{name}"), freeze_spec(place));
            model.freezes.insert(name, place);
        }
        Step::NoFreeze(name) => {
            book.remove_freeze(&format!("f-{name}"));
            model.freezes.remove(&name);
        }
        Step::Ask { run, target, approved } => {
            if book.permitted(&format!("u-{run}")) {
                return Ok(());
            }
            let answer = ask(book, target, approved);
            prop_assert_eq!(answer, model.allows(target, approved), "{:?} {}", target, approved);
            if answer {
                permit(book, run, target);
                model.permits.insert(run, target);
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
            let disrupted = model.disrupted(&model.permitted());
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
        let servers = (0..SERVERS).map(On::Server);
        let racks = (0..RACKS).map(On::Rack);
        let parts = (0..SITES).flat_map(|site| {
            let halls = (0..PARTS).map(move |hall| On::Hall(site, hall));
            let feeds = (0..PARTS).map(move |feed| On::Feed(site, feed));
            halls.chain(feeds).chain([On::Site(site), On::Row(site, Some(0), 1), On::Row(site, None, 0)])
        });
        for target in servers.chain(racks).chain(parts) {
            for approved in [false, true] {
                let (live, made) = (ask(&book, target, approved), ask(&anew, target, approved));
                prop_assert_eq!(live, made, "a book made anew answers the same: {:?}", target);
            }
        }
        for run in 0..12 {
            book.release(&format!("u-{run}"));
        }
        for server in 0..SERVERS {
            book.remove_server(&format!("s-{server}"));
        }
        for rack in 0..RACKS {
            book.remove_rack(&format!("r-{rack}"));
        }
        for site in 0..SITES {
            book.remove_site(&format!("site-{site}"));
        }
        prop_assert_eq!(book.places(), 0, "nothing is kept of places that nobody speaks of");
    }
}

#[test]
fn names_of_places_are_told_apart() {
    // Whatever people call their halls and rows.
    let mut book = Book::default();
    let rack = |hall: &str, row: &str| RackSpec {
        site: "s".into(),
        hall: Some(hall.into()),
        row: Some(row.into()),
        ..RackSpec::default()
    };
    book.set_rack("one", &rack("a/b", "c"));
    book.set_rack("two", &rack("a", "b/c"));
    for (server, rack) in [("m-1", "one"), ("m-2", "two")] {
        book.set_server(server, Some(rack));
    }
    for row in [PlaceName::Row("s", Some("a/b"), "c"), PlaceName::Row("s", Some("a"), "b/c")] {
        assert_eq!(book.loss(Target::Place(row)).servers, 1, "{row:?}");
    }
}
