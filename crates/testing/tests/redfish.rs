//! The Redfish helper over made-up systems.

use std::process::Command;
use std::time::Duration;

use quarterdeck_testing::process::run;
use quarterdeck_testing::redfish::{FakeSystem, PASSWORD, Redfish, USER};
use quarterdeck_testing::wait::wait_until;
use serde_json::{Value, json};

/// A power change of a made-up system shows up to 11 seconds later.
const POWER_DEADLINE: Duration = Duration::from_secs(30);

fn system(number: u8, on: bool) -> FakeSystem {
    FakeSystem {
        uuid: format!("00000000-0000-4000-8000-0000000000{number:02}"),
        name: format!("node-{number}"),
        mac: format!("52:54:00:00:00:{number:02}"),
        on,
    }
}

#[tokio::test]
async fn made_up_systems_change_power_and_survive_a_restart_of_their_bmc() {
    let systems = [system(1, true), system(2, false)];
    let mut bmc = Redfish::fake(&systems).await;
    let (status, all) = bmc.request("GET", "/redfish/v1/Systems", &Value::Null).await;
    assert_eq!((status, &all["Members@odata.count"]), (200, &json!(2)));

    let path = format!("/redfish/v1/Systems/{}", systems[1].uuid);
    let reset = format!("{path}/Actions/ComputerSystem.Reset");
    assert_eq!(bmc.request("POST", &reset, &json!({"ResetType": "On"})).await.0, 204);
    wait_until(POWER_DEADLINE, "node-2 to be on", async || {
        bmc.request("GET", &path, &Value::Null).await.1["PowerState"] == "On"
    })
    .await;

    bmc.restart().await;
    let (_, seen) = bmc.request("GET", &path, &Value::Null).await;
    assert_eq!((&seen["PowerState"], &seen["Name"]), (&json!("On"), &json!("node-2")));
}

#[tokio::test]
async fn the_service_wants_its_password_and_shows_its_certificate() {
    let mut bmc = Redfish::fake(&[system(1, true)]).await;
    let systems = format!("{}/redfish/v1/Systems", bmc.url());
    let status = async |user: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--output", "/dev/null", "--user", user]);
        curl.args(["--write-out", "%{http_code}", &systems]);
        run(&curl, "").await.map(|output| output.stdout)
    };
    assert_eq!(status(&format!("{USER}:{PASSWORD}")).await.unwrap(), "200");
    assert_eq!(status(&format!("{USER}:wrong")).await.unwrap(), "401");
    assert_eq!(status(&format!("nobody:{PASSWORD}")).await.unwrap(), "401");

    // The authority's certificate is not the service's: clients without it refuse.
    let mut untrusting = Command::new("curl");
    untrusting.args(["--silent", "--show-error", &systems]);
    assert_eq!(run(&untrusting, "").await.unwrap_err().code, Some(60));
    assert!(bmc.authority_pem().contains("BEGIN CERTIFICATE"));
    let fingerprint = bmc.fingerprint().await;
    assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));

    bmc.kill9();
    assert!(bmc.process().is_none());
    assert_eq!(status(&format!("{USER}:{PASSWORD}")).await.unwrap_err().code, Some(7));
}
