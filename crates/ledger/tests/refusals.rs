//! What people are told when the ledger says no, and who is told when it may say yes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use quarterdeck_ledger::{Blocker, Book, Holder, Request, Target};
use quarterdeck_model::{
    Time,
    kinds::{DisruptionBudget, FreezeExceptions, FreezeSpec, PermittedLoss, ServiceSpec},
    share::Share,
};

fn time(minute: u32) -> Time {
    Time::new(format!("2026-03-01T12:{minute:02}:00Z").parse().unwrap())
}

fn request(kind: &'static str, name: &'static str) -> Request<'static> {
    let target = Target { kind, name };
    Request { target, namespace: "ops", runbook: "patch-server", now: time(30) }
}

fn holder(uid: &str) -> Holder {
    Holder { uid: uid.into(), name: format!("ops/{uid}") }
}

/// Ten instances of `payments/api` on as many servers in two racks; one may be down.
fn payments() -> Book {
    let mut book = Book::default();
    book.set_site("fra1", None);
    for rack in ["r-0", "r-1"] {
        book.set_rack(rack, "fra1", None);
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
    book.permit(holder("one"), Target { kind: "Server", name: "m-1" }, time(20));
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
    book.permit(holder("one"), Target { kind: "Server", name: "m-0" }, time(30));
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
    book.set_site("fra1", Some(2));
    book.set_rack("r-0", "fra1", Some(1));
    for (server, rack) in [("a", "r-0"), ("b", "r-0"), ("c", "r-1"), ("d", "r-1")] {
        book.set_rack("r-1", "fra1", None);
        book.set_server(server, Some(rack));
    }
    book.permit(holder("one"), Target { kind: "Server", name: "a" }, time(0));
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
        except: Some(FreezeExceptions { runbooks: vec!["repair".into()], namespaces: vec![] }),
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
