//! What people are told when the ledger says no, and who is told when it may say yes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use quarterdeck_ledger::{Blocker, Book, Holder, PlaceName, Request, Target};
use quarterdeck_model::{
    ApprovalPolicy, Time,
    kinds::{
        Approval, Decision, DisruptionBudget, DisruptionHook, FreezeExceptions, FreezePart,
        FreezeSpec, PermittedLoss, RackSpec, ServiceSpec, SiteLimit, SitePart, SiteSpec,
    },
    share::Share,
};

fn time(minute: u32) -> Time {
    Time::new(format!("2026-03-01T12:{minute:02}:00Z").parse().unwrap())
}

fn request(kind: &'static str, name: &'static str) -> Request<'static> {
    let target = match kind {
        "Server" => Target::Server(name),
        "Rack" => Target::Place(PlaceName::Rack(name)),
        _ => Target::Place(PlaceName::Site(name)),
    };
    on(target)
}

fn on(target: Target<'static>) -> Request<'static> {
    Request {
        target,
        namespace: "ops",
        runbook: "patch-server",
        approvals: &[],
        requester: Some("ann"),
        own_change: false,
        now: time(30),
    }
}

fn site(limit: Option<u32>) -> SiteSpec {
    SiteSpec { max_disrupted_servers: limit, ..SiteSpec::default() }
}

fn rack(limit: Option<u32>) -> RackSpec {
    RackSpec { site: "fra1".into(), max_disrupted_servers: limit, ..RackSpec::default() }
}

fn holder(uid: &str) -> Holder {
    Holder { uid: uid.into(), name: format!("ops/{uid}") }
}

/// Ten instances of `payments/api` on as many servers in two racks; one may be down.
fn payments() -> Book {
    let mut book = Book::default();
    book.set_site("fra1", &site(None));
    for rack in ["r-0", "r-1"] {
        book.set_rack(rack, &self::rack(None));
    }
    let budget =
        DisruptionBudget { max_unavailable: Some(Share::Percent(10)), ..Default::default() };
    let spec = ServiceSpec {
        owner: Some("payments".into()),
        contacts: vec!["#payments".into(), "+49 30 1".into(), "pay@example.com".into()],
        disruption_budget: Some(budget),
        ..ServiceSpec::default()
    };
    book.set_service("payments/api", spec);
    for number in 0..10 {
        let server = format!("m-{number}");
        book.set_server(&server, Some(if number < 5 { "r-0" } else { "r-1" }));
        let name = format!("payments/api-{number}");
        book.set_instance(&name, "payments/api", &server, true, Some(time(0)));
    }
    book
}

fn refused(book: &Book, request: &Request<'_>) -> String {
    book.ask(request).unwrap_err().message
}

#[test]
fn a_budget_says_who_is_down_since_when_and_whom_to_ask() {
    let mut book = payments();
    book.set_instance("payments/api-7", "payments/api", "m-7", false, Some(time(27)));
    assert_eq!(
        refused(&book, &request("Server", "m-1")),
        "payments/api allows 1 of 10 down; 1 is: api-7 on m-7 (not available since 2026-03-01T12:27:00Z); this would take 1 more; \
         its owner is payments (#payments, +49 30 1)"
    );
    // What is down already takes nothing from the service.
    assert!(book.ask(&request("Server", "m-7")).is_ok());
    assert_eq!(
        refused(&book, &request("Rack", "r-0")),
        "payments/api allows 1 of 10 down; 1 is: api-7 on m-7 (not available since 2026-03-01T12:27:00Z); this would take 5 more; \
         its owner is payments (#payments, +49 30 1)"
    );
}

#[test]
fn a_permit_counts_until_it_is_given_back() {
    let mut book = payments();
    let grant = book.ask(&request("Server", "m-1")).unwrap();
    assert_eq!((grant.servers, grant.instances), (1, 1));
    assert_eq!(grant.services, [PermittedLoss { service: "payments/api".into(), instances: 1 }]);
    book.permit(holder("one"), Target::Server("m-1"), time(20));
    assert_eq!(
        refused(&book, &request("Server", "m-2")),
        "payments/api allows 1 of 10 down; 1 is: api-1 on m-1 (run ops/one may disrupt it since 2026-03-01T12:20:00Z); this would \
         take 1 more; its owner is payments (#payments, +49 30 1)"
    );
    let blocker = book.ask(&request("Server", "m-2")).unwrap_err().blocker;
    book.take_gave_way();
    assert!(book.release("one"));
    assert!(book.take_gave_way().contains(&blocker), "whoever waits for it is told");
    assert!(book.ask(&request("Server", "m-2")).is_ok());
    assert!(!book.release("one"), "once");
}

#[test]
fn a_service_without_a_budget_or_a_declaration_may_lose_one() {
    let mut book = Book::default();
    for number in 0..3 {
        let (name, server) = (format!("shop/web-{number}"), format!("m-{number}"));
        book.set_instance(&name, "shop/web", &server, true, None);
    }
    assert!(book.ask(&request("Server", "m-0")).is_ok());
    book.permit(holder("one"), Target::Server("m-0"), time(30));
    assert_eq!(
        refused(&book, &request("Server", "m-1")),
        "shop/web allows 1 of 3 down; 1 is: web-0 on m-0 (run ops/one may disrupt it since 2026-03-01T12:30:00Z); this would take 1 more"
    );
    // Declared as one that can spare none.
    book.release("one");
    let budget =
        DisruptionBudget { min_available: Some(Share::Percent(100)), ..Default::default() };
    let spec = ServiceSpec { disruption_budget: Some(budget), ..ServiceSpec::default() };
    book.set_service("shop/web", spec);
    assert_eq!(
        refused(&book, &request("Server", "m-1")),
        "shop/web allows 0 of 3 down; 0 are; this would take 1 more"
    );
}

#[test]
fn places_have_limits() {
    let mut book = Book::default();
    book.set_site("fra1", &site(Some(2)));
    book.set_rack("r-0", &rack(Some(1)));
    for (server, rack) in [("a", "r-0"), ("b", "r-0"), ("c", "r-1"), ("d", "r-1")] {
        book.set_rack("r-1", &self::rack(None));
        book.set_server(server, Some(rack));
    }
    book.permit(holder("one"), Target::Server("a"), time(0));
    assert_eq!(
        refused(&book, &request("Server", "b")),
        "rack r-0 allows 1 of its servers to be disrupted at once; 1 is, and this would take 1 more \
         (maxDisruptedServers)"
    );
    assert_eq!(
        refused(&book, &request("Rack", "r-1")),
        "site fra1 allows 2 of its servers to be disrupted at once; 1 is, and this would take 2 more \
         (maxDisruptedServers)"
    );
    assert!(book.ask(&request("Server", "c")).is_ok());
    // A server that is moved takes what it counts along.
    book.set_server("a", Some("r-1"));
    assert!(book.ask(&request("Server", "b")).is_ok());
}

#[test]
fn freezes_hold_for_their_time_place_and_callers() {
    let mut book = payments();
    let freeze = FreezeSpec {
        reason: "year end".into(),
        start: Some(time(10)),
        end: Some(time(50)),
        racks: vec!["r-0".into()],
        except: Some(FreezeExceptions { runbooks: vec!["repair".into()], ..Default::default() }),
        ..FreezeSpec::default()
    };
    book.set_freeze("year-end", freeze);
    let refusal = book.ask(&request("Server", "m-1")).unwrap_err();
    assert_eq!(refusal.message, "freeze year-end holds until 2026-03-01T12:50:00Z: year end");
    assert_eq!(
        (refusal.blocker, refusal.until),
        (Blocker::Freeze("year-end".into()), Some(time(50)))
    );
    for allowed in [
        request("Server", "m-6"),
        Request { runbook: "repair", ..request("Server", "m-1") },
        Request { now: time(5), ..request("Server", "m-1") },
        Request { now: time(50), ..request("Server", "m-1") },
    ] {
        assert!(book.ask(&allowed).is_ok(), "{allowed:?}");
    }
    assert!(book.ask(&request("Site", "fra1")).is_err());
    book.take_gave_way();
    book.remove_freeze("year-end");
    assert!(book.take_gave_way().contains(&Blocker::Freeze("year-end".into())));
}

#[test]
fn a_service_is_disturbed_in_its_windows_alone() {
    let mut book = payments();
    let spec = |windows: serde_json::Value| -> ServiceSpec {
        serde_json::from_value(serde_json::json!({
            "owner": "payments", "disruptionBudget": {"maxUnavailable": 5},
            "maintenanceWindows": windows,
        }))
        .unwrap()
    };
    // 1 March 2026 is a Sunday; it is 12:30 by UTC, 13:30 in Berlin.
    let later =
        serde_json::json!({"start": "14:00", "duration": "1h", "timeZone": "Europe/Berlin"});
    let mondays = serde_json::json!({"days": ["Mon"], "start": "08:00", "duration": "1h"});
    book.set_service("payments/api", spec(serde_json::json!([mondays, later])));
    let refusal = book.ask(&request("Server", "m-1")).unwrap_err();
    assert_eq!(
        refusal.message,
        "payments/api is disturbed only in its maintenance windows; the next opens at 2026-03-01T13:00:00Z; its owner is payments"
    );
    assert_eq!(refusal.until.unwrap().to_string(), "2026-03-01T13:00:00Z");
    let then = Request { now: refusal.until.unwrap(), ..request("Server", "m-1") };
    assert!(book.ask(&then).is_ok());
    // What is down already is not disturbed.
    book.set_instance("payments/api-7", "payments/api", "m-7", false, Some(time(27)));
    assert!(book.ask(&request("Server", "m-7")).is_ok());
    // Its budget holds in the window, too.
    book.set_service("payments/api", {
        let open = serde_json::json!({"start": "12:00", "duration": "1h"});
        ServiceSpec { disruption_budget: None, ..spec(serde_json::json!([open])) }
    });
    assert!(refused(&book, &request("Server", "m-1")).contains("allows 1 of 10 down"));
    // Of two that are closed, the one that opens last is named.
    book.set_service("payments/api", spec(serde_json::json!([mondays])));
    book.set_service("payments/book", spec(serde_json::json!([later])));
    book.set_instance("payments/book-1", "payments/book", "m-1", true, None);
    assert!(refused(&book, &request("Server", "m-1")).contains("2026-03-02T08:00:00Z"));
}

/// Two racks of one row, each on the feeds that are given, with a server of `shop/web` in each.
fn row(feeds: [&[&str]; 2]) -> Book {
    let mut book = Book::default();
    for (number, feeds) in feeds.iter().enumerate() {
        let spec = RackSpec {
            hall: Some("north".into()),
            row: Some("3".into()),
            power_feeds: feeds.iter().map(|feed| (*feed).into()).collect(),
            ..rack(None)
        };
        let (name, server) = (format!("r-{number}"), format!("m-{number}"));
        book.set_rack(&name, &spec);
        book.set_server(&server, Some(&name));
        book.set_instance(&format!("shop/web-{number}"), "shop/web", &server, true, None);
    }
    book
}

const A: Target<'static> = Target::Place(PlaceName::PowerFeed("fra1", "A"));
const B: Target<'static> = Target::Place(PlaceName::PowerFeed("fra1", "B"));

#[test]
fn halls_and_rows_have_limits_and_say_so() {
    let mut book = row([&[], &[]]);
    let part = |hall: &str, row: Option<&str>| SitePart {
        hall: Some(hall.into()),
        row: row.map(Into::into),
        power_feed: None,
    };
    let limit = |part, most| SiteLimit { part, max_disrupted_servers: most };
    let limits = |limits| SiteSpec { limits, ..SiteSpec::default() };
    book.set_site("fra1", &limits(vec![limit(part("north", None), 1)]));
    let all = on(Target::Place(PlaceName::Row("fra1", Some("north"), "3")));
    assert_eq!(
        refused(&book, &all),
        "site fra1 allows 1 of its servers in hall north to be disrupted at once; 0 are, and this would take 2 more (limits)"
    );
    book.set_site("fra1", &limits(vec![limit(part("north", Some("3")), 0)]));
    assert_eq!(
        refused(&book, &request("Server", "m-0")),
        "site fra1 allows 0 of its servers in row 3 of hall north to be disrupted at once; 0 are, and this would take 1 more (limits)"
    );
    book.set_site("fra1", &limits(vec![]));
    assert!(book.ask(&request("Server", "m-0")).is_ok());
    assert!(refused(&book, &all).starts_with("shop/web allows 1 of 2 down"));
    // Another row of that name, in no hall, holds nothing.
    assert_eq!(book.loss(Target::Place(PlaceName::Row("fra1", None, "3"))).servers, 0);
}

#[test]
fn a_feed_takes_what_has_no_other() {
    let mut book = row([&["A", "B"], &["B"]]);
    assert_eq!((book.loss(A).servers, book.loss(B).servers), (0, 1));
    book.permit(holder("one"), A, time(20));
    assert_eq!(book.numbers("shop/web"), Some((2, 0, 1)), "they have power still");
    assert_eq!(
        refused(&book, &on(B)),
        "shop/web allows 1 of 2 down; 0 are; this would take 2 more"
    );
    assert!(book.release("one"));
    // The same when it failed by itself.
    let down = SiteSpec { power_feeds_down: vec!["A".into()], ..SiteSpec::default() };
    book.set_site("fra1", &down);
    assert!(refused(&book, &on(B)).contains("this would take 2 more"));
    book.set_site("fra1", &SiteSpec::default());
    assert_eq!(book.ask(&on(B)).unwrap().servers, 1);
    // What fails while the other is taken goes with it, and is counted.
    book.permit(holder("two"), B, time(20));
    assert_eq!(book.numbers("shop/web"), Some((2, 1, 1)));
    book.set_site("fra1", &down);
    assert_eq!(book.numbers("shop/web"), Some((2, 2, 1)));
    assert!(book.release("two"));
    assert_eq!(book.numbers("shop/web"), Some((2, 0, 1)));
    let limit = SiteLimit {
        part: SitePart { power_feed: Some("A".into()), ..SitePart::default() },
        max_disrupted_servers: 0,
    };
    book.set_site("fra1", &SiteSpec { limits: vec![limit], ..SiteSpec::default() });
    assert_eq!(
        refused(&book, &request("Server", "m-0")),
        "site fra1 allows 0 of its servers on power feed A to be disrupted at once; 0 are, and this would take 1 more (limits)"
    );
    assert!(book.ask(&request("Server", "m-1")).is_ok(), "it hangs on the other");
}

#[test]
fn a_freeze_of_a_part_holds_for_what_is_in_it_or_takes_its_power() {
    let mut book = row([&["A", "B"], &["B"]]);
    let part = SitePart { hall: Some("north".into()), ..SitePart::default() };
    let site_parts = vec![FreezePart { site: "fra1".into(), part }];
    let freeze = FreezeSpec { reason: "cabling".into(), site_parts, ..FreezeSpec::default() };
    book.set_freeze("cabling", freeze);
    assert_eq!(refused(&book, &request("Server", "m-0")), "freeze cabling holds: cabling");
    // It takes no server, and what they have to fall back on.
    assert_eq!(refused(&book, &on(A)), "freeze cabling holds: cabling");
    assert!(book.ask(&on(Target::Place(PlaceName::Hall("fra1", "south")))).is_ok());
}

fn said(by: &str, decision: Decision) -> Approval {
    Approval { by: Some(by.into()), decision, ..Approval::default() }
}

#[test]
fn who_wants_to_be_asked_says_whose_approval_is_missing() {
    let mut book = payments();
    let policy = ApprovalPolicy {
        users: vec!["bob".into(), "ann".into()],
        required: Some(1),
        exclude_requester: true,
        ..ApprovalPolicy::default()
    };
    let spec = ServiceSpec { approval_policy: Some(policy.clone()), ..ServiceSpec::default() };
    book.set_service("payments/api", spec);
    let ask = request("Server", "m-1");
    let how = "add {decision: Approved} to spec.approvals of the run, or of its campaign";
    assert_eq!(
        refused(&book, &ask),
        format!(
            "payments/api wants approval by 1 of user bob, user ann (not the requester); nobody has approved yet; {how}"
        )
    );
    let own = [said("ann", Decision::Approved)];
    assert!(book.ask(&Request { approvals: &own, ..ask }).is_err(), "she asked for it herself");
    let no = [Approval { note: Some("peak".into()), ..said("bob", Decision::Rejected) }];
    assert_eq!(
        refused(&book, &Request { approvals: &no, ..ask }),
        "payments/api wants approval by 1 of user bob, user ann (not the requester); bob has rejected it: peak"
    );
    let step = [Approval { step: "ask".into(), ..said("bob", Decision::Approved) }];
    assert!(book.ask(&Request { approvals: &step, ..ask }).is_err(), "of a step alone");
    let yes = [said("bob", Decision::Approved)];
    let grant = book.ask(&Request { approvals: &yes, ..ask }).unwrap();
    assert_eq!(grant.approved_by, ["bob"]);
    // What takes nothing of it needs nobody's word.
    book.set_instance("payments/api-1", "payments/api", "m-1", false, None);
    assert!(book.ask(&ask).is_ok());
    book.set_rack("r-0", &RackSpec { approval_policy: Some(policy.clone()), ..rack(None) });
    assert!(refused(&book, &ask).starts_with("rack r-0 wants approval by 1 of user bob"));
    let except = FreezeExceptions { approval_policy: Some(policy), ..Default::default() };
    let freeze =
        FreezeSpec { reason: "year end".into(), except: Some(except), ..FreezeSpec::default() };
    book.set_freeze("year-end", freeze);
    assert!(refused(&book, &ask).starts_with(
        "freeze year-end holds: year end; to go on it wants approval by 1 of user bob"
    ));
    assert!(book.ask(&Request { approvals: &yes, ..ask }).is_ok());
}

#[test]
fn a_hook_is_to_be_asked_about_what_would_be_lost() {
    let mut book = payments();
    let hook = DisruptionHook { url: "https://hooks.example/".into(), ..Default::default() };
    let spec = ServiceSpec { disruption_hook: Some(hook.clone()), ..ServiceSpec::default() };
    book.set_service("payments/api", spec);
    let grant = book.ask(&request("Server", "m-1")).unwrap();
    let [concern] = grant.hooks.as_slice() else { panic!("{grant:?}") };
    assert_eq!((&*concern.service, &concern.hook, concern.lost), ("payments/api", &hook, 1));
    assert_eq!(concern.instances, ["api-1"]);
    book.set_instance("payments/api-1", "payments/api", "m-1", false, None);
    assert_eq!(book.ask(&request("Server", "m-1")).unwrap().hooks, [], "it is lost already");
}

#[test]
fn a_few_services_in_the_way_are_named() {
    let mut book = Book::default();
    for number in 0..7 {
        let budget =
            DisruptionBudget { max_unavailable: Some(Share::Count(0)), ..Default::default() };
        let spec = ServiceSpec { disruption_budget: Some(budget), ..ServiceSpec::default() };
        let service = format!("shop/s-{number}");
        book.set_service(&service, spec);
        book.set_instance(&format!("shop/i-{number}"), &service, "m-0", true, None);
    }
    assert_eq!(
        refused(&book, &request("Server", "m-0")),
        "shop/s-0 allows 0 of 1 down; 0 are; this would take 1 more (in the way are also shop/s-1, shop/s-2, shop/s-3, shop/s-4 and 2 more)"
    );
}
