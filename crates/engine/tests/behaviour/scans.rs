//! What becomes of BMCs that a scan has found.

use crate::scenario::Plane;
use quarterdeck_model::{
    Kind as _,
    kinds::{BMCScan, BMCScanResult, Server, Site},
};
use serde_json::{Value, json};

fn found(address: &str, serial: &str) -> Value {
    json!({"address": address, "serial": serial, "uuid": format!("u-{serial}"), "result": "Pending"})
}

async fn scan(plane: &Plane, found: Vec<Value>) {
    let spec = json!({
        "site": "ams", "ranges": ["10.0.0.0/24"], "allow": {"serials": ["*"]}, "tls": {"verify": "Skip"},
        "template": {"labels": {"hardware": "c410"}, "profile": "c410"},
    });
    if plane.store.world().get(BMCScan::info(), "", "hall-1").is_none() {
        plane.create(BMCScan::info(), "", "hall-1", json!({"spec": spec})).await;
    }
    plane
        .patch(BMCScan::info(), "", "hall-1", |scan| scan["status"] = json!({"found": found}))
        .await;
}

/// The results, in order, with the server that each names.
async fn decided(plane: &Plane) -> Vec<(BMCScanResult, String, String)> {
    let look = || {
        let scan = plane.store.world().get(BMCScan::info(), "", "hall-1").unwrap();
        let scan: BMCScan = scan.decode().unwrap();
        let all = scan.status.found.into_iter();
        let all: Vec<_> = all
            .map(|it| (it.result, it.server.unwrap_or_default(), it.message.unwrap_or_default()))
            .collect();
        all.iter().all(|(result, ..)| *result != BMCScanResult::Pending).then_some(all)
    };
    plane.when(BMCScan::info(), "all to be decided", look).await
}

#[tokio::test(start_paused = true)]
async fn what_is_allowed_becomes_a_server_once() {
    use BMCScanResult as R;
    let plane = Plane::new().await;
    let lends = json!({"credentialsSecretRef": {"namespace": "fleet", "name": "factory"}});
    plane.create(Site::info(), "", "ams", json!({"spec": {"region": "eu", "bmc": lends}})).await;
    let all = || {
        vec![found("10.0.0.1", "SN,1"), found("10.0.0.2:8443", "SN-2"), found("10.0.0.3", "SN,1")]
    };
    scan(&plane, all()).await;
    let results = decided(&plane).await;
    assert_eq!((results[0].0, results[0].1.as_str()), (R::Enrolled, "sn-1"));
    assert_eq!(results[1].0, R::Enrolled);
    assert_eq!(results[2].0, R::KnownElsewhere, "two addresses of one machine are not two servers");
    let made: Server =
        plane.store.world().get(Server::info(), "", "sn-1").unwrap().decode().unwrap();
    assert_eq!(made.spec.serial.as_deref(), Some("SN,1"));
    assert_eq!(made.spec.bmc.address, "10.0.0.1");
    assert_eq!(made.spec.bmc.credentials_secret_ref.unwrap().name, "factory");
    assert_eq!(made.metadata.labels["hardware"], "c410");
    assert_eq!(made.spec.profile.as_deref(), Some("c410"));
    // Looked again, nothing is made twice.
    scan(&plane, all()).await;
    assert_eq!(decided(&plane).await[0].0, R::Enrolled);
    assert_eq!(plane.store.world().count(Server::info()), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_is_told_and_left() {
    use BMCScanResult as R;
    let plane = Plane::new().await;
    let server = |address: &str, serial: Value| json!({"spec": {"serial": serial, "bmc": {"address": address}}});
    plane.create(Server::info(), "", "by-address", server("https://10.0.0.1/", json!(null))).await;
    plane.create(Server::info(), "", "moved", server("10.9.9.9", json!("SN-2"))).await;
    plane.create(Server::info(), "", "another", server("10.0.0.3", json!("other"))).await;
    plane.create(Server::info(), "", "sn-4", server("10.9.9.8", json!("other"))).await;
    let nameless = json!({"address": "10.0.0.5", "result": "Pending"});
    scan(
        &plane,
        vec![
            found("10.0.0.1", "SN-1"),
            found("10.0.0.2", "SN-2"),
            found("10.0.0.3", "SN-3"),
            found("10.0.0.4", "SN-4"),
            nameless,
            json!({"address": "10.0.0.6", "serial": "x", "result": "NotAllowed"}),
        ],
    )
    .await;
    let results = decided(&plane).await;
    let wanted = [
        (R::Known, "by-address", ""),
        (R::KnownElsewhere, "moved", "its spec.bmc.address is 10.9.9.9"),
        (R::Failed, "another", "is another machine by its serial"),
        (R::Failed, "sn-4", "a Server named sn-4 is there"),
        (R::Failed, "", "tells neither a serial number nor a UUID"),
        (R::NotAllowed, "", ""),
    ];
    for ((result, server, message), (wanted, name, says)) in results.iter().zip(wanted) {
        assert_eq!((*result, server.as_str()), (wanted, name), "{message}");
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(plane.store.world().count(Server::info()), 4);
}
