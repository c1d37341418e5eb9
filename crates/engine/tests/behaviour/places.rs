//! What places say of each other that is not so, whichever came first: admission refuses it, and two
//! writes at once or a later change bring it about all the same.

use crate::scenario::Plane;
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Provider, Rack, Server, Site},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the plane takes for what it does by itself.
const WHILE: Duration = Duration::from_secs(60);

/// `Reason: message` of a condition that does not hold.
fn complaint(plane: &Plane, kind: KindRef, name: &str, condition: &str) -> Option<String> {
    let object = plane.store.world().get(kind, "", name)?.value();
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == condition)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    (found["status"] == "False").then(|| format!("{}: {}", text("reason"), text("message")))
}

async fn until(plane: &Plane, kind: KindRef, name: &str, condition: &str, wanted: Option<&str>) {
    let what = format!("{condition} of {name} to be {wanted:?}");
    let look = || (complaint(plane, kind, name, condition).as_deref() == wanted).then_some(());
    plane.when(kind, &what, look).await;
}

async fn server(plane: &Plane, name: &str, location: Value) {
    let spec = json!({"bmc": {"address": "192.0.2.1"}, "location": location});
    plane.create(Server::info(), "", name, json!({"spec": spec})).await;
}

async fn move_to(plane: &Plane, name: &str, location: Value) {
    plane
        .patch(Server::info(), "", name, |server| server["spec"]["location"] = location.clone())
        .await;
}

#[tokio::test(start_paused = true)]
async fn servers_that_came_to_fill_one_unit_are_told_of_each_other_until_one_moves() {
    let plane = Plane::new().await;
    let complaint_of = async |name: &str, wanted: Option<&str>| {
        until(&plane, Server::info(), name, "UnitsFree", wanted).await;
    };
    // As after two creates at once, each of which saw a world without the other. The rack is not even there.
    server(&plane, "a", json!({"rack": "r", "unit": 5, "height": 4})).await;
    server(&plane, "b", json!({"rack": "r", "unit": 8})).await;
    server(&plane, "c", json!({"rack": "r", "unit": 9})).await;
    let with = |other: &str| {
        format!(
            "UnitTaken: Server {other} fills unit 8 of Rack r as well; correct spec.location of the one that is elsewhere."
        )
    };
    complaint_of("a", Some(&with("b"))).await;
    complaint_of("b", Some(&with("a"))).await;
    tokio::time::sleep(WHILE).await;
    complaint_of("c", None).await;
    // One that shrinks, goes to another rack, or is taken out of its rack.
    for elsewhere in [
        json!({"rack": "r", "unit": 5, "height": 2}),
        json!({"rack": "other", "unit": 8}),
        json!(null),
    ] {
        move_to(&plane, "a", elsewhere).await;
        complaint_of("a", None).await;
        complaint_of("b", None).await;
        move_to(&plane, "a", json!({"rack": "r", "unit": 8})).await;
        complaint_of("a", Some(&with("b"))).await;
        complaint_of("b", Some(&with("a"))).await;
    }
    plane.delete(Server::info(), "", "a").await;
    complaint_of("b", None).await;
}

#[tokio::test(start_paused = true)]
async fn a_rack_and_a_provider_are_told_what_became_of_their_site() {
    let plane = Plane::new().await;
    let rack = json!({"spec": {"site": "s", "hall": "north", "powerFeeds": ["a"]}});
    plane.create(Rack::info(), "", "r", rack).await;
    let provider = json!({"spec": {"type": "Metal", "metal": {"site": "s"}}});
    plane.create(Provider::info(), "", "p", provider).await;
    let links = async |wanted: Option<&str>| {
        until(&plane, Rack::info(), "r", "LinksFound", wanted).await;
    };
    let of_provider = async |wanted: Option<&str>| {
        until(&plane, Provider::info(), "p", "LinksFound", wanted).await;
    };
    let gone =
        "SiteNotFound: spec names Site s, which does not exist; create it or correct the name.";
    links(Some(gone)).await;
    of_provider(Some(gone)).await;
    let spec = json!({"region": "x", "halls": ["north", "south"], "powerFeeds": ["a"]});
    plane.create(Site::info(), "", "s", json!({"spec": spec})).await;
    links(None).await;
    of_provider(None).await;
    let declares = async |field: &str, names: Value| {
        plane.patch(Site::info(), "", "s", |site| site["spec"][field] = names.clone()).await;
    };
    declares("halls", json!(["south"])).await;
    links(Some(
        "HallNotDeclared: spec.hall is \"north\": Site s declares south; name one of those, or add it to spec.halls of the Site first.",
    ))
    .await;
    declares("halls", json!(["north"])).await;
    links(None).await;
    declares("powerFeeds", json!([])).await;
    links(Some(
        "PowerFeedNotDeclared: spec.powerFeeds[0] is \"a\": Site s declares no power feed; add it to spec.powerFeeds of the Site first.",
    ))
    .await;
    // The plane writes what it has counted; nothing more comes between after that.
    let seen = || {
        let site = plane.store.world().get(Site::info(), "", "s")?.value();
        (site["status"]["observedGeneration"] == site["metadata"]["generation"]).then_some(())
    };
    plane.when(Site::info(), "the site to be observed", seen).await;
    plane.delete(Site::info(), "", "s").await;
    links(Some(gone)).await;
    of_provider(Some(gone)).await;
}
