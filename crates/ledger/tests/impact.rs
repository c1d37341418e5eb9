//! What is lost when something goes: by table, and against a count of everything anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use proptest::prelude::*;
use quarterdeck_ledger::{Book, Holder, Impact, PlaceName, Target, Verdict};
use quarterdeck_model::{
    Time,
    kinds::{Dependency, DisruptionBudget, RackSpec, ServiceDependency, ServiceSpec},
    share::Share,
};
use std::collections::BTreeMap;

fn service(budget: u32, uses: &[(&str, Dependency)]) -> ServiceSpec {
    let max_unavailable = Some(Share::Count(budget));
    let uses = uses.iter().map(|(name, kind)| {
        let (namespace, name) = name.split_once('/').unwrap();
        ServiceDependency { name: name.into(), namespace: Some(namespace.into()), kind: *kind }
    });
    ServiceSpec {
        owner: Some("shop".into()),
        disruption_budget: Some(DisruptionBudget { max_unavailable, min_available: None }),
        depends_on: uses.collect(),
        ..ServiceSpec::default()
    }
}

/// Two racks of two servers on feeds a and b; `shop/db` on the first rack alone, `shop/web` on both.
fn book() -> Book {
    let mut book = Book::default();
    for rack in ["r-0", "r-1"] {
        let power_feeds = vec!["a".into(), "b".into()];
        let spec = RackSpec { site: "fra1".into(), power_feeds, ..RackSpec::default() };
        book.set_rack(rack, &spec);
    }
    for number in 0..4 {
        book.set_server(&format!("s-{number}"), Some(&format!("r-{}", number / 2)));
    }
    book.set_service("shop/db", service(1, &[]));
    book.set_service("shop/web", service(1, &[("shop/db", Dependency::Hard)]));
    book.set_service("shop/search", service(0, &[("shop/db", Dependency::Soft)]));
    book.set_service("shop/mail", service(0, &[("shop/web", Dependency::Hard)]));
    for number in 0..2 {
        book.set_instance(
            &format!("shop/db-{number}"),
            "shop/db",
            &format!("s-{number}"),
            true,
            None,
        );
    }
    for number in 0..4 {
        book.set_instance(
            &format!("shop/web-{number}"),
            "shop/web",
            &format!("s-{number}"),
            true,
            None,
        );
    }
    book.set_instance("shop/search-0", "shop/search", "s-3", true, None);
    book.set_instance("shop/mail-0", "shop/mail", "s-3", true, None);
    book
}

fn verdicts(impact: &Impact) -> Vec<(&str, Verdict)> {
    impact.services.iter().map(|it| (&*it.service, it.verdict)).collect()
}

fn why<'i>(impact: &'i Impact, service: &str) -> &'i str {
    &impact.services.iter().find(|it| &*it.service == service).unwrap().why
}

#[test]
fn what_uses_something_that_is_down_is_down_or_does_less() {
    let impact = book().impact(&[Target::Place(PlaceName::Rack("r-0"))]);
    assert_eq!((impact.servers, impact.instances), (2, 4));
    assert_eq!(
        verdicts(&impact),
        [
            ("shop/db", Verdict::Down),
            ("shop/web", Verdict::Down),
            ("shop/mail", Verdict::Down),
            ("shop/search", Verdict::Degraded),
        ]
    );
    assert_eq!(impact.verdict(), Some(Verdict::Down));
    for (service, wanted) in [
        ("shop/db", "shop/db loses 2 of 2 instances and has none left"),
        (
            "shop/web",
            "shop/web is down because shop/db, which it cannot be without, is; shop/web loses 2 of 4 instances",
        ),
        ("shop/mail", "shop/mail is down because shop/web, which it cannot be without, is"),
        ("shop/search", "shop/search does less because shop/db, which it uses, is hit"),
    ] {
        assert_eq!(why(&impact, service), wanted);
    }
}

#[test]
fn one_that_is_enough_within_its_budget_hits_nobody() {
    let impact = book().impact(&[Target::Server("s-0")]);
    assert_eq!(
        verdicts(&impact),
        [("shop/db", Verdict::WithinBudget), ("shop/web", Verdict::WithinBudget)]
    );
    assert_eq!(
        why(&impact, "shop/web"),
        "shop/web loses 1 of 4 instances and has 3 left, which is enough: its budget asks for 3"
    );
    let impact = book().impact(&[Target::Instance("shop/web-1"), Target::Server("s-2")]);
    assert_eq!((impact.servers, impact.instances), (1, 2));
    assert_eq!(
        verdicts(&impact),
        [("shop/web", Verdict::UnderBudget), ("shop/mail", Verdict::Degraded)]
    );
    assert_eq!(
        why(&impact, "shop/web"),
        "shop/web loses 2 of 4 instances and has 2 left, where its budget asks for 3"
    );
}

#[test]
fn two_feeds_take_what_neither_takes_alone() {
    let feed = |name| Target::Place(PlaceName::PowerFeed("fra1", name));
    assert_eq!(book().impact(&[feed("a")]), Impact::default());
    assert_eq!(book().impact(&[feed("a"), feed("b")]).servers, 4);
    // What goes twice is counted once.
    let all = [
        Target::Place(PlaceName::Site("fra1")),
        Target::Server("s-0"),
        feed("a"),
        Target::Instance("shop/db-0"),
    ];
    let impact = book().impact(&all);
    assert_eq!((impact.servers, impact.instances), (4, 8));
}

#[test]
fn what_is_down_already_is_not_lost_again() {
    let mut book = book();
    book.set_instance("shop/web-0", "shop/web", "s-0", false, None);
    let impact = book.impact(&[Target::Server("s-0")]);
    let web = impact.services.iter().find(|it| &*it.service == "shop/web").unwrap();
    assert_eq!((web.total, web.lost, web.left), (4, 0, 3));
}

#[test]
fn services_that_use_each_other_are_all_hit_and_it_ends() {
    let mut book = Book::default();
    for (name, uses) in [("t/a", "t/c"), ("t/b", "t/a"), ("t/c", "t/b")] {
        book.set_service(name, service(0, &[(uses, Dependency::Hard)]));
        book.set_instance(&format!("{name}-0"), name, &format!("h-{name}"), true, None);
    }
    assert_eq!(book.impact(&[Target::Server("h-t/a")]).services.len(), 3);
    // A service that nobody declares any more is still one that others depend on.
    book.remove_service("t/a");
    book.remove_instance("t/a-0");
    assert_eq!(book.impact(&[Target::Server("h-t/a")]), Impact::default());
}

#[test]
fn a_workload_that_surges_may_lose_what_it_has_more() {
    let mut book = Book::default();
    book.set_service("t/a", service(0, &[]));
    book.set_workload("t/w", "t/a", 2);
    let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
    let instance = |book: &mut Book, name: &str, up: bool| {
        book.set_instance(name, "t/a", "m", up, None);
        book.manage(name);
    };
    instance(&mut book, "t/1", true);
    // One that is missing is down.
    assert_eq!(book.numbers("t/a"), Some((1, 0, 0)));
    instance(&mut book, "t/2", true);
    let request = |target| quarterdeck_ledger::Request {
        target,
        namespace: "t",
        runbook: "rollout",
        approvals: &[],
        requester: None,
        own_change: true,
        now,
    };
    let ask = |book: &Book, name| book.ask(&request(Target::Instance(name))).map(|it| it.instances);
    assert!(ask(&book, "t/1").is_err());
    instance(&mut book, "t/3", false);
    assert!(ask(&book, "t/1").is_err(), "the one more is not up yet");
    assert_eq!(ask(&book, "t/3"), Ok(1), "nothing is lost with one that is not up");
    instance(&mut book, "t/3", true);
    assert_eq!(ask(&book, "t/1"), Ok(1));
    let holder = Holder { uid: "u".into(), name: "t/instance.1".into() };
    book.permit(holder, Target::Instance("t/1"), now);
    let refusal = ask(&book, "t/2").unwrap_err();
    assert_eq!(
        refusal.message,
        "t/a allows 1 of 3 down; 1 is: 1 on m (its workload stops it since 1970-01-01T00:00:00Z); this would take 1 more; \
         its owner is shop"
    );
    book.remove_instance("t/1");
    assert!(book.release("u"));
    assert_eq!(book.numbers("t/a"), Some((2, 0, 0)));
    book.remove_workload("t/w");
    assert_eq!(book.numbers("t/a"), Some((2, 0, 0)));
}

proptest! {
    /// The closure over what is used: what is down takes with it all that cannot be without it.
    #[test]
    fn who_is_down_is_who_cannot_be_without_what_is_down(
        edges in prop::collection::vec((0..8_u8, 0..8_u8, any::<bool>()), 0..24),
        gone in prop::collection::btree_set(0..8_u8, 0..4),
    ) {
        let mut uses: BTreeMap<u8, BTreeMap<u8, Dependency>> = BTreeMap::new();
        for (from, to, hard) in edges {
            if from != to {
                let kind = if hard { Dependency::Hard } else { Dependency::Soft };
                uses.entry(from).or_default().insert(to, kind);
            }
        }
        let mut book = Book::default();
        let names: Vec<String> = (0..8).map(|number| format!("t/s-{number}")).collect();
        for (number, name) in (0..8_u8).zip(&names) {
            let uses = uses.get(&number).cloned().unwrap_or_default();
            let uses: Vec<(&str, Dependency)> =
                uses.iter().map(|(to, kind)| (&*names[usize::from(*to)], *kind)).collect();
            book.set_service(name, service(0, &uses));
            book.set_instance(&format!("{name}-0"), name, &format!("h-{number}"), true, None);
        }
        let hosts: Vec<String> = gone.iter().map(|number| format!("h-{number}")).collect();
        let targets: Vec<Target<'_>> = hosts.iter().map(|host| Target::Server(host)).collect();
        let mut down = gone.clone();
        loop {
            let before = down.len();
            for (from, to) in &uses {
                if to.iter().any(|(to, kind)| *kind == Dependency::Hard && down.contains(to)) {
                    down.insert(*from);
                }
            }
            if down.len() == before {
                break;
            }
        }
        let impact = book.impact(&targets);
        let found: Vec<&str> = {
            let down = impact.services.iter().filter(|it| it.verdict == Verdict::Down);
            let mut names: Vec<&str> = down.map(|it| &*it.service).collect();
            names.sort_unstable();
            names
        };
        let wanted: Vec<&str> = down.iter().map(|number| &*names[usize::from(*number)]).collect();
        prop_assert_eq!(found, wanted);
        for hit in impact.services.iter().filter(|it| it.verdict == Verdict::Degraded) {
            let number: u8 = hit.service.strip_prefix("t/s-").unwrap().parse().unwrap();
            prop_assert!(!down.contains(&number) && uses.contains_key(&number));
        }
    }
}
