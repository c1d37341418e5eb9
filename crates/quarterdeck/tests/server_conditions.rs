//! A server becomes ready, or says why not and what to do, and heals by itself when the cause is
//! mended: the real plane, kubectl, and sushy-tools' emulator with made-up systems.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

use std::net::TcpListener;
use std::time::Duration;

use quarterdeck_testing::plane::Plane;
use quarterdeck_testing::redfish::{FakeSystem, PASSWORD, Redfish, USER};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};

/// How long the plane may take to reach a server or to find that it cannot: an inspection that
/// fails is repeated after about 20 seconds.
const DEADLINE: Duration = Duration::from_secs(90);

const SYSTEM: &str = "27946b59-9e44-4fa7-8e91-f3527a1ef094";

fn system() -> FakeSystem {
    FakeSystem {
        uuid: SYSTEM.to_owned(),
        name: "node".to_owned(),
        mac: "00:5c:52:31:3a:9c".to_owned(),
        on: true,
    }
}

/// A Secret in the namespace `default`.
fn secret(name: &str, data: Value) -> Value {
    let metadata = json!({"name": name, "namespace": "default"});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
}

fn login(name: &str, password: &str) -> Value {
    secret(name, json!({"username": USER, "password": password}))
}

/// A server with its own login and authority, so that each can be wrong by itself.
fn server(name: &str, address: &str, more: Value) -> Value {
    let reference = |name: String| json!({"namespace": "default", "name": name});
    let mut spec = json!({"bmc": {
        "address": address,
        "credentialsSecretRef": reference(format!("{name}-login")),
        "tls": {"verify": "Full", "caSecretRef": reference(format!("{name}-ca"))},
    }});
    for (pointer, value) in more.as_object().unwrap() {
        match pointer.as_str() {
            "serial" => spec["serial"] = value.clone(),
            field => spec["bmc"][field] = value.clone(),
        }
    }
    json!({
        "apiVersion": "inventory.quarterdeck.dev/v1alpha1",
        "kind": "Server",
        "metadata": {"name": name},
        "spec": spec,
    })
}

async fn apply(plane: &Plane, objects: &[Value]) {
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    plane.apply(&documents.join("\n")).await;
}

/// Waits until a server's condition has a reason, and answers the condition's message.
async fn wait_for_reason(plane: &Plane, name: &str, kind: &str, reason: &str) -> String {
    let what = format!("{kind} of {name} to be {reason}");
    let found = wait_for(DEADLINE, &what, async || {
        let text = plane.try_kubectl(&["get", "server", name, "--output", "json"]).await;
        let seen: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        let conditions = seen["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind);
        match found {
            Some(found) if found["reason"] == reason => Ok(found),
            _ => Err(format!("{:#}", seen["status"])),
        }
    });
    found.await["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_server_says_why_it_is_not_ready_and_heals_by_itself() {
    let plane = Plane::start(env!("CARGO_BIN_EXE_quarterdeck")).await;
    let bmc = Redfish::fake(&[system()]).await;
    let mut other = Redfish::fake(&[system()]).await;
    other.kill9();
    let (url, authority) = (bmc.url(), bmc.authority_pem());
    let ca = |name: &str, pem: &str| secret(&format!("{name}-ca"), json!({ "ca.crt": pem }));
    let good =
        |name: &str| [login(&format!("{name}-login"), PASSWORD), ca(name, &authority)].to_vec();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let mut objects = Vec::new();
    for (name, address, more) in [
        ("well", url.as_str(), json!({})),
        ("nobody", &nobody.to_string(), json!({})),
        ("serial", &url, json!({"serial": "SN-4711"})),
        ("system", &url, json!({"systemId": "node-9"})),
        (
            "pinned",
            &url,
            json!({"tls": {"verify": "Fingerprint", "sha256": bmc.fingerprint().await}}),
        ),
        ("skipped", &url, json!({"tls": {"verify": "Skip"}})),
    ] {
        objects.extend(good(name));
        objects.push(server(name, address, more));
    }
    objects.extend([login("password-login", "guess"), ca("password", &authority)]);
    objects.push(server("password", &url, json!({})));
    objects.extend([login("authority-login", PASSWORD), ca("authority", &other.authority_pem())]);
    objects.push(server("authority", &url, json!({})));
    objects.extend([ca("secretless", &authority), server("secretless", &url, json!({}))]);
    objects.extend([login("late-login", PASSWORD), ca("late", &other.authority_pem())]);
    objects.push(server("late", &other.url(), json!({})));
    apply(&plane, &objects).await;

    // Each says what is wrong with it and what to do.
    for (name, reason, says) in [
        ("well", "Inspected", "was reached"),
        ("nobody", "Unreachable", "check the address"),
        ("serial", "SerialMismatch", "correct spec.serial or spec.bmc.address"),
        ("system", "SystemNotFound", SYSTEM),
        ("pinned", "Inspected", "was reached"),
        ("skipped", "Inspected", "was reached"),
        ("password", "Unauthorized", "correct the Secret"),
        ("authority", "CertificateInvalid", "correct the BMC's certificate or spec.bmc.tls"),
        (
            "secretless",
            "SecretNotFound",
            "Secret default/secretless-login does not exist; create it",
        ),
        ("late", "Unreachable", "check the address"),
    ] {
        let message = wait_for_reason(&plane, name, "Ready", reason).await;
        assert!(message.contains(says), "{name}: {message}");
        assert!(!message.contains("guess"), "{name}: {message}");
    }
    wait_for_reason(&plane, "skipped", "BMCTrusted", "NotVerified").await;
    let unread = wait_for_reason(&plane, "well", "InventoryComplete", "PartsUnread").await;
    assert!(unread.contains("could not show drives"), "the emulator answers 500: {unread}");
    let phases = plane.kubectl(&["get", "servers", "--no-headers"]).await;
    let inspecting = phases.lines().filter(|line| line.contains("Inspecting")).count();
    assert_eq!(inspecting, 7, "{phases}");

    // What is mended is looked at again without being asked.
    let mut mended = vec![login("password-login", PASSWORD), login("secretless-login", PASSWORD)];
    mended.push(ca("authority", &authority));
    mended.extend([
        server("serial", &url, json!({})),
        server("system", &url, json!({"systemId": SYSTEM})),
    ]);
    apply(&plane, &mended).await;
    other.restart().await;
    for name in ["password", "secretless", "authority", "serial", "system", "late"] {
        wait_for_reason(&plane, name, "Ready", "Inspected").await;
    }
    let told = plane.kubectl(&["describe", "server", "password"]).await;
    let events = told.split_once("Events:").unwrap().1;
    let place = |reason: &str| events.find(reason).unwrap_or_else(|| panic!("{reason}: {told}"));
    assert!(place("Inspecting") < place("Unauthorized"), "{told}");
    assert!(place("Unauthorized") < place("Inspected"), "{told}");
}

#[tokio::test]
async fn a_server_deleted_while_it_is_inspected_takes_its_run_along() {
    // A BMC that takes connections and never answers.
    let wedged = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", wedged.local_addr().unwrap());
    let plane = Plane::start(env!("CARGO_BIN_EXE_quarterdeck")).await;
    let objects = [login("gone-login", PASSWORD), server("gone", &address, json!({"tls": {}}))];
    apply(&plane, &objects).await;
    let run =
        ["get", "run", "inspect-gone", "--namespace", "quarterdeck-system", "--output", "name"];
    wait_for(DEADLINE, "the inspection", async || plane.try_kubectl(&run).await).await;
    plane.kubectl(&["delete", "server", "gone"]).await;
    wait_for(DEADLINE, "the inspection to be gone", async || match plane.try_kubectl(&run).await {
        Ok(found) => Err(found),
        Err(error) if error.to_string().contains("NotFound") => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .await;
    let servers = plane.kubectl(&["get", "servers", "--output", "name"]).await;
    assert_eq!(servers, "");
}
