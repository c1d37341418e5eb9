//! Services that use others: circles are refused with their way, what is not there is told, and what breaks is answered.

use crate::{hosts::machine, scenario::Plane};
use quarterdeck_engine::{Actions, Impacts, rules};
use quarterdeck_model::{
    Kind as _, Time, condition,
    kinds::{ImpactReportSpec, ImpactTarget, ImpactVerdict, Instance, RunTarget, Service},
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
