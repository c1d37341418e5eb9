//! What objects may not say of each other: two servers in one rack unit, a rack where its site has no hall.
//! It is refused through the API, whoever asks and however, or told of when it came about all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use futures_util::future::join_all;
use kube::{
    Api, Error,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use quarterdeck_testing::{plane::Plane, wait::wait_for};
use serde_json::{Value, json};
use support::{DEADLINE, SITE, client, object, plane};

async fn api(plane: &Plane, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("inventory.quarterdeck.dev", "v1alpha1", kind);
    Api::all_with(client(plane).await, &ApiResource::from_gvk(&kind))
}

fn written(kind: &str, name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

fn server(name: &str, location: Value) -> DynamicObject {
    // Nothing answers there; whether a server can be reached is not what is asked here.
    written("Server", name, json!({"bmc": {"address": "127.0.0.1:9"}, "location": location}))
}

/// The Status of what must be refused.
fn refused(result: Result<DynamicObject, Error>) -> Value {
    match result {
        Err(Error::Api(status)) => serde_json::to_value(status).unwrap(),
        other => panic!("not refused: {other:?}"),
    }
}

/// The Status of an object with these mistakes: field and message of each.
fn invalid(kind: &str, name: &str, mistakes: &[(&str, &str)]) -> Value {
    let causes: Vec<Value> = mistakes
        .iter()
        .map(|(field, message)| {
            json!({"reason": "FieldValueInvalid", "message": message, "field": field})
        })
        .collect();
    let texts: Vec<String> =
        mistakes.iter().map(|(field, message)| format!("{field}: {message}")).collect();
    let text = match texts.as_slice() {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    json!({
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
        "message": format!("{kind}.inventory.quarterdeck.dev {name:?} is invalid: {text}"),
        "metadata": {},
        "details": {
            "group": "inventory.quarterdeck.dev", "kind": kind, "name": name, "causes": causes,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_a_rack_is_one_servers() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let servers = api(&plane, "Server").await;
    let create = async |name: &str, location: Value| {
        servers.create(&PostParams::default(), &server(name, location)).await
    };
    let merge = async |name: &str, patch: Value| {
        servers.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    };
    create("a", json!({"rack": "ams1-n01", "unit": 7, "height": 2})).await.unwrap();
    create("b", json!({"rack": "ams1-n01", "unit": 9})).await.unwrap();
    create("elsewhere", json!({"rack": "ams1-s01", "unit": 7})).await.unwrap();
    create("somewhere", json!({"rack": "ams1-n01"})).await.unwrap();

    let taken = |name: &str, unit: u16, by: &str, at: u16| {
        let why = format!(
            "Invalid value: {unit}: Server {by} fills unit {at} of Rack ams1-n01; choose free units, or move Server {by} first"
        );
        invalid("Server", name, &[("spec.location.unit", &why)])
    };
    let at = |unit: u16| json!({"rack": "ams1-n01", "unit": unit});
    assert_eq!(refused(create("c", at(7)).await), taken("c", 7, "a", 7));
    assert_eq!(refused(create("c", at(8)).await), taken("c", 8, "a", 8));
    let tall = json!({"rack": "ams1-n01", "unit": 5, "height": 5});
    assert_eq!(refused(create("c", tall).await), taken("c", 5, "a", 7));
    let moved = json!({"spec": {"location": {"unit": 8}}});
    assert_eq!(refused(merge("b", moved).await), taken("b", 8, "a", 8));
    let applied = Patch::Apply(server("c", at(9)));
    let applied = servers.patch("c", &PatchParams::apply("me").force(), &applied).await;
    assert_eq!(refused(applied), taken("c", 9, "b", 9));
    let mut replaced = servers.get("b").await.unwrap();
    replaced.data["spec"]["location"]["unit"] = json!(7);
    let replaced = servers.replace("b", &PostParams::default(), &replaced).await;
    assert_eq!(refused(replaced), taken("b", 7, "a", 7));
    let high = json!({"rack": "ams1-n01", "unit": 20, "height": 49});
    let why = "Invalid value: 49: must be between 1 and 48";
    assert_eq!(
        refused(create("c", high).await),
        invalid("Server", "c", &[("spec.location.height", why)])
    );

    // It may stay where it is, grow where there is room, and go where another has left.
    merge("a", json!({"metadata": {"labels": {"tier": "gold"}}})).await.unwrap();
    merge("a", json!({"spec": {"location": {"unit": 6, "height": 3}}})).await.unwrap();
    merge("b", json!({"spec": {"location": {"unit": 10}}})).await.unwrap();
    create("c", at(9)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_servers_created_at_once_in_one_unit_each_that_passed_is_told() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let servers = api(&plane, "Server").await;
    for round in 0..5 {
        let names: Vec<String> = (0..8).map(|number| format!("r{round}-{number}")).collect();
        let location = json!({"rack": "ams1-n01", "unit": round + 1});
        let parameters = PostParams::default();
        let objects: Vec<DynamicObject> =
            names.iter().map(|name| server(name, location.clone())).collect();
        let created =
            join_all(objects.iter().map(|object| servers.create(&parameters, object))).await;
        let (made, others): (Vec<_>, Vec<_>) = created.into_iter().partition(Result::is_ok);
        for other in others {
            assert_eq!(refused(other)["reason"], "Invalid");
        }
        assert!(!made.is_empty(), "one of them is the first");
        let passed: Vec<String> =
            made.into_iter().map(|made| made.unwrap().metadata.name.unwrap()).collect();
        for name in &passed {
            let told = async || {
                let seen = object(&plane, &["server", name]).await;
                let conditions = seen["status"]["conditions"].as_array().cloned();
                let mut conditions = conditions.into_iter().flatten();
                conditions.find(|found| found["type"] == "UnitsFree")
            };
            if passed.len() > 1 {
                let found = wait_for(DEADLINE, &format!("{name} to be told"), async || {
                    told().await.ok_or("no condition")
                })
                .await;
                assert_eq!(
                    (&found["status"], &found["reason"]),
                    (&json!("False"), &json!("UnitTaken"))
                );
                let message = found["message"].as_str().unwrap();
                let others = passed.iter().filter(|other| *other != name);
                assert!(
                    others.clone().any(|other| message.contains(&format!("Server {other} fills"))),
                    "{message}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rack_is_where_its_site_has_halls_and_power() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let racks = api(&plane, "Rack").await;
    let create = async |name: &str, spec: Value| {
        racks.create(&PostParams::default(), &written("Rack", name, spec)).await
    };
    let hall = "Invalid value: \"cellar\": Site ams1 declares north, south, east; name one of those, or add it to spec.halls of the Site first";
    let feed = "Invalid value: \"c\": Site ams1 declares a, b; name one of those, or add it to spec.powerFeeds of the Site first";
    let wrong = json!({"site": "ams1", "hall": "cellar", "powerFeeds": ["a", "c"]});
    let mistakes = [("spec.hall", hall), ("spec.powerFeeds[1]", feed)];
    assert_eq!(refused(create("r", wrong).await), invalid("Rack", "r", &mistakes));
    // A site that is not there yet is no mistake: a folder of objects comes in any order.
    create("r", json!({"site": "later", "hall": "x"})).await.unwrap();
    let patch = async |patch: Value| {
        racks.patch("ams1-n01", &PatchParams::default(), &Patch::Merge(patch)).await
    };
    let moved = patch(json!({"spec": {"hall": "cellar"}})).await;
    assert_eq!(refused(moved), invalid("Rack", "ams1-n01", &mistakes[..1]));

    // The site drops a hall: the rack in it is told, can still be changed, but not moved to where nothing is.
    let sites = api(&plane, "Site").await;
    let dropped = json!({"spec": {"halls": ["south"]}});
    sites.patch("ams1", &PatchParams::default(), &Patch::Merge(dropped)).await.unwrap();
    let found = wait_for(DEADLINE, "the rack to be told", async || {
        let seen = object(&plane, &["rack", "ams1-n01"]).await;
        let links = seen["status"]["conditions"].as_array().into_iter().flatten();
        let mut links = links.filter(|found| found["type"] == "LinksFound");
        links.find(|found| found["status"] == "False").cloned().ok_or_else(|| seen.to_string())
    })
    .await;
    assert_eq!(found["reason"], "HallNotDeclared");
    assert_eq!(
        found["message"],
        "spec.hall is \"north\": Site ams1 declares south; name one of those, or add it to spec.halls of the Site first."
    );
    patch(json!({"spec": {"units": 44}})).await.unwrap();
    let moved = patch(json!({"spec": {"hall": "east"}})).await;
    assert_eq!(refused(moved)["details"]["causes"][0]["field"], "spec.hall");
    patch(json!({"spec": {"hall": "south"}})).await.unwrap();
}
