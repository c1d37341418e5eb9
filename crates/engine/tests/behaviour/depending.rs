//! Services that use others: circles are refused with their way, what is not there is told, and what breaks is answered.

use crate::{hosts::machine, scenario::Plane};
use quarterdeck_engine::{Actions, Impacts, rules};
use quarterdeck_model::{
    Kind as _, Time, condition,
    kinds::{
        ImpactReportSpec, ImpactTarget, ImpactVerdict, Instance, Rack, RunTarget, Service, Site,
        SitePart,
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

fn uses(names: &[(&str, &str)]) -> Value {
    let all: Vec<Value> =
        names.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    json!({"spec": {"owner": "shop", "dependsOn": all}})
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_hard_dependencies_is_refused_with_its_way() {
    let plane = Plane::new().await;
    plane.create(Service::info(), "shop", "b", uses(&[("c", "Hard")])).await;
    plane.create(Service::info(), "shop", "c", uses(&[("a", "Hard"), ("d", "Soft")])).await;
    plane.create(Service::info(), "shop", "d", uses(&[("a", "Hard")])).await;
    let actions = Arc::new(Actions::new(plane.outside.catalog()));
    let rules = rules(&actions);
    let ask = |name: &str, fields: Value| {
        let mut object = fields;
        object["metadata"] = json!({"name": name, "namespace": "shop"});
        let of_services = rules.iter().filter(|(kind, _)| *kind == Service::info());
        let errors = of_services.flat_map(|(_, rule)| rule(&plane.store.world(), &object, None));
        errors.map(|error| error.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        ask("a", uses(&[("b", "Hard")])),
        [
            "spec.dependsOn: Invalid value: \"shop/b\": shop/a cannot be without shop/b cannot be without shop/c cannot be without \
          shop/a: none of them could begin; make one of these dependencies Soft"
        ]
    );
    assert_eq!(ask("a", uses(&[("b", "Soft"), ("d", "Soft")])), [""; 0]);
    assert_eq!(ask("e", uses(&[("b", "Hard")])), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_is_told_until_it_is() {
    let plane = Plane::new().await;
    plane.create(Service::info(), "shop", "web", uses(&[("db", "Hard")])).await;
    let says = |wanted: Option<&str>| {
        let object = plane.store.world().get(Service::info(), "shop", "web").unwrap();
        let service: Service = object.decode().unwrap();
        let found = condition::find(&service.status.conditions, "LinksFound");
        (found.map(|found| found.message.as_str()) == wanted).then_some(())
    };
    let missing = "spec.dependsOn names Service shop/db, which does not exist; create it, or correct the name.";
    plane.when(Service::info(), "it to be told", || says(Some(missing))).await;
    plane.create(Service::info(), "shop", "db", uses(&[])).await;
    plane.when(Service::info(), "it to be taken back", || says(None)).await;
    plane.delete(Service::info(), "shop", "db").await;
    plane.when(Service::info(), "it to be told again", || says(Some(missing))).await;
    // Written at once from two sides, a circle is not refused.
    plane.create(Service::info(), "shop", "db", uses(&[("web", "Hard")])).await;
    let told = || {
        let object = plane.store.world().get(Service::info(), "shop", "db")?;
        let service: Service = object.decode().unwrap();
        condition::find(&service.status.conditions, "DependenciesAcyclic").map(|_| ())
    };
    plane.when(Service::info(), "the circle to be told", told).await;
}

#[tokio::test(start_paused = true)]
async fn what_breaks_is_answered_from_what_is_so_now() {
    let plane = Plane::new().await;
    machine(&plane, "m-0", "r-0").await;
    plane.create(Service::info(), "shop", "db", uses(&[])).await;
    plane.create(Service::info(), "shop", "web", uses(&[("db", "Hard")])).await;
    let impacts = Impacts::new(plane.store.clone());
    let now = Time::new(plane.now());
    let ask = |kind: &str, namespace: Option<&str>, name: &str| {
        let target = RunTarget::new(kind, name);
        let target = ImpactTarget { namespace: namespace.map(str::to_owned), target };
        impacts.report(&ImpactReportSpec { targets: vec![target] }, now)
    };
    assert_eq!(ask("Rack", None, "r-0").unwrap().services_hit, 0);
    let host = json!({"kind": "Machine", "name": "m-0"});
    let instance = json!({"spec": {"service": "db", "host": host}, "status": {"phase": "Ready"}});
    plane.create(Instance::info(), "shop", "db-0", instance).await;
    for (kind, namespace, name) in [
        ("Rack", None, "r-0"),
        ("Server", None, "s-m-0"),
        ("Machine", Some("shop"), "m-0"),
        ("Instance", Some("shop"), "db-0"),
    ] {
        let report = ask(kind, namespace, name).unwrap();
        let hit: Vec<(&str, ImpactVerdict)> =
            report.services.iter().map(|it| (it.service.as_str(), it.verdict)).collect();
        assert_eq!(
            hit,
            [("shop/db", ImpactVerdict::Down), ("shop/web", ImpactVerdict::Down)],
            "{kind}"
        );
        assert_eq!((report.instances, report.verdict), (1, Some(ImpactVerdict::Down)));
    }
    let refused = ask("Rack", None, "r-1").unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "spec.targets[0].name: Invalid value: \"r-1\": there is no Rack of this name; correct it"
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_declared_is_no_answer_but_a_refusal() {
    let plane = Plane::new().await;
    let site = json!({"spec": {"region": "eu-west", "halls": ["north"], "powerFeeds": ["a"]}});
    plane.create(Site::info(), "", "lhr1", site).await;
    let rack = json!({"spec": {"site": "lhr1", "hall": "north", "row": "r1", "powerFeeds": ["a"]}});
    plane.create(Rack::info(), "", "lhr1-a01", rack).await;
    let impacts = Impacts::new(plane.store.clone());
    let ask = |hall: Option<&str>, row: Option<&str>, power_feed: Option<&str>| {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let part = SitePart { hall: owned(hall), row: owned(row), power_feed: owned(power_feed) };
        let target = RunTarget { part, ..RunTarget::new("Site", "lhr1") };
        let target = ImpactTarget { namespace: None, target };
        let spec = ImpactReportSpec { targets: vec![target] };
        let told = impacts.report(&spec, Time::new(plane.now()));
        told.err().into_iter().flatten().map(|error| error.to_string()).collect::<Vec<_>>()
    };
    for answered in [
        ask(Some("north"), None, None),
        ask(Some("north"), Some("r1"), None),
        ask(None, None, Some("a")),
    ] {
        assert_eq!(answered, [""; 0]);
    }
    assert_eq!(
        ask(Some("east"), Some("r1"), None),
        [
            "spec.targets[0].hall: Invalid value: \"east\": Site lhr1 declares north; name one of those, or add it to spec.halls \
          of the Site first"
        ]
    );
    assert_eq!(
        ask(None, None, Some("b")),
        [
            "spec.targets[0].powerFeed: Invalid value: \"b\": Site lhr1 declares a; name one of those, or add it to \
          spec.powerFeeds of the Site first"
        ]
    );
    // A row is of the hall that is named with it.
    for (hall, place) in [(Some("north"), "row r2 of hall north"), (None, "row r2")] {
        let told = ask(hall, Some("r2"), None);
        assert_eq!(
            told,
            [format!(
                "spec.targets[0].row: Invalid value: \"r2\": no Rack of Site lhr1 stands in {place}; correct it"
            )]
        );
    }
    assert_eq!(ask(None, Some("r1"), None).len(), 1);
}
