//! The Redfish actions against sushy-tools' emulator.
//!
//! Its fake driver lands a power change after 1 to 11 seconds, so these tests wait for states.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use quarterdeck_providers::Reason;
use serde_json::json;
use support::emulator::{Emulator, Options, SYSTEM};
use support::fake_bmc::{Act, FakeBmc};
use support::{Caller, Secrets, server};

const RESET: &str = "Actions/ComputerSystem.Reset";

fn plain(emulator: &Emulator) -> Caller {
    Caller::new(server(&format!("http://{}", emulator.address()), json!({})))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_is_set_once_and_observed() {
    let emulator = Emulator::start(&Options::default());
    let caller = plain(&emulator);
    let on = caller.call("power.set", json!({"state": "On"})).await.unwrap();
    assert_eq!(on, json!({"powerState": "On", "changed": true}));
    assert_eq!(emulator.count(RESET), 1, "the slow change was not sent again");
    let again = caller.call("power.set", json!({"state": "On"})).await.unwrap();
    assert_eq!(again, json!({"powerState": "On", "changed": false}));
    assert_eq!(emulator.count(RESET), 1);
    let off = caller.call("power.set", json!({"state": "Off"})).await.unwrap();
    assert_eq!(off, json!({"powerState": "Off", "changed": true}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_is_off_then_on() {
    let emulator = Emulator::start(&Options {
        config: &format!(
            "SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{SYSTEM}', 'name': 'node', \
             'power_state': 'On', 'external_notifier': False, 'nics': []}}]\n"
        ),
        ..Options::default()
    });
    let caller = plain(&emulator);
    let cycled = caller.call("power.reset", json!({"resetType": "PowerCycle"})).await.unwrap();
    assert_eq!(cycled["powerState"], "On");
    assert_eq!(emulator.count(RESET), 2);
    // A repetition finds it on and cannot tell: the emulator has no LastResetTime.
    let repeated = caller
        .call_as(&caller.context("key", 2), "power.reset", json!({"resetType": "PowerCycle"}))
        .await
        .unwrap_err();
    assert_eq!(repeated.reason, Reason::OutcomeUnknown);
    assert_eq!(emulator.count(RESET), 2);
    let restarted = caller.call("power.reset", json!({"resetType": "ForceRestart"})).await.unwrap();
    assert_eq!(restarted["powerState"], "On");
    assert_eq!(emulator.count(RESET), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_is_what_the_emulator_shows() {
    let emulator = Emulator::start(&Options::default());
    let caller = plain(&emulator);
    let output = caller.call("inventory.refresh", json!({})).await.unwrap();
    assert_eq!(output["powerState"], "Off");
    let seen = caller.seen().await.unwrap();
    assert_eq!(seen["powerState"], "Off");
    let inventory = &seen["inventory"];
    assert_eq!(inventory["manufacturer"], "Sushy Emulator");
    assert_eq!(inventory["uuid"], SYSTEM);
    assert_eq!(inventory["health"], "OK");
    assert_eq!(inventory["networkInterfaces"][0]["macAddress"], "00:5c:52:31:3a:9c");
    // Its fake driver answers 500 for storage: the part is told, not lost and not fatal.
    assert_eq!(output["unread"][0]["part"], "drives", "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_boot_is_chosen_and_taken_back() {
    let emulator = Emulator::start(&Options::default());
    let caller = plain(&emulator);
    let boot = || emulator.get(&format!("/redfish/v1/Systems/{SYSTEM}"))["Boot"].clone();
    assert_eq!(boot()["BootSourceOverrideTarget"], "Hdd");
    let network = json!({"device": "Network"});
    let chosen = caller.call("boot.next", network.clone()).await.unwrap();
    // The emulator keeps a choice for every start, and the output says so.
    assert_eq!(chosen, json!({"target": "Pxe", "changed": true, "stays": true}));
    assert_eq!(boot()["BootSourceOverrideTarget"], "Pxe");
    let again = caller.call("boot.next", network).await.unwrap();
    assert_eq!(again, json!({"target": "Pxe", "changed": false, "stays": true}));
    assert_eq!(emulator.count("PATCH "), 1, "what stands is not sent again");
    caller.call("boot.next", json!({"device": "Disk"})).await.unwrap();
    assert_eq!(boot()["BootSourceOverrideTarget"], "Hdd");
    let usb = caller.call("boot.next", json!({"device": "Usb"})).await.unwrap_err();
    assert_eq!(usb.reason, Reason::NotSupported);
    assert!(usb.message.contains("Pxe"), "it says what is there: {usb}");
    let uri = json!({"device": "Disk", "httpBootUri": "http://boot/a.efi"});
    assert_eq!(caller.call("boot.next", uri).await.unwrap_err().reason, Reason::InvalidInput);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_inserted_and_ejected() {
    let image = FakeBmc::start(|_request, _state| Act::Answer {
        status: 200,
        headers: vec![],
        body: "an image".to_owned(),
    });
    let emulator = Emulator::start(&Options::default());
    let caller = plain(&emulator);
    let drive = || emulator.get(&format!("/redfish/v1/Systems/{SYSTEM}/VirtualMedia/Cd"));
    let insert = json!({"image": format!("{}/install.iso", image.address())});
    let inserted = caller.call("media.insert", insert.clone()).await.unwrap();
    assert_eq!(inserted, json!({"slot": "Cd", "changed": true}));
    assert_eq!((drive()["Inserted"].clone(), image.count("GET", "install.iso")), (json!(true), 1));
    let again = caller.call("media.insert", insert).await.unwrap();
    assert_eq!(again, json!({"slot": "Cd", "changed": false}));
    assert_eq!(emulator.count("InsertMedia"), 1, "what is in is not put in again");
    let other = json!({"image": format!("{}/other.iso", image.address())});
    let other = caller.call("media.insert", other).await.unwrap();
    assert_eq!((other["changed"].clone(), image.count("GET", "other.iso")), (json!(true), 1));
    let ejected = caller.call("media.eject", json!({})).await.unwrap();
    assert_eq!(ejected, json!({"ejected": ["Cd"], "changed": true}));
    assert_eq!(drive()["Inserted"], false);
    let empty = caller.call("media.eject", json!({})).await.unwrap();
    assert_eq!(empty, json!({"ejected": [], "changed": false}));
    let nowhere = caller.call("media.eject", json!({"slot": "Z"})).await.unwrap_err();
    assert_eq!(nowhere.reason, Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systems_are_chosen_by_id_or_serial_and_never_guessed() {
    let other = "11111111-2222-3333-4444-555555555555";
    let emulator = Emulator::start(&Options {
        config: &format!(
            "SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{SYSTEM}', 'name': 'a', 'power_state': \
             'Off', 'external_notifier': False, 'nics': []}}, {{'uuid': '{other}', 'name': 'b', \
             'power_state': 'On', 'external_notifier': False, 'nics': []}}]\n"
        ),
        ..Options::default()
    });
    let mut caller = plain(&emulator);
    let plain_target = caller.target.clone();
    let guessed = caller.call("inventory.refresh", json!({})).await.unwrap_err();
    assert_eq!(guessed.reason, Reason::InvalidInput);
    assert!(guessed.message.contains(other), "{guessed}");

    caller.target["spec"]["bmc"]["systemId"] = json!(other);
    let by_id = caller.seen().await.unwrap();
    assert_eq!(by_id["inventory"]["uuid"], other);
    caller.target["spec"]["serial"] = json!(SYSTEM);
    let wrong = caller.call("power.set", json!({"state": "Off"})).await.unwrap_err();
    assert_eq!(wrong.reason, Reason::SerialMismatch);
    assert_eq!(emulator.count(RESET), 0, "a machine that is another one is not touched");

    caller.target = plain_target;
    caller.target["spec"]["serial"] = json!(other.to_uppercase());
    let by_serial = caller.seen().await.unwrap();
    assert_eq!(by_serial["inventory"]["uuid"], other);
    caller.target["spec"]["bmc"]["systemId"] = json!("nowhere");
    let missing = caller.call("inventory.refresh", json!({})).await.unwrap_err();
    assert_eq!(missing.reason, Reason::SystemNotFound);
    assert!(missing.message.contains(other), "it says which there are: {missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tls_policy_with_basic_login() {
    let own = certificate(&["127.0.0.1"]);
    let emulator = Emulator::start(&Options {
        tls: Some((&own.certificate, &own.key)),
        auth: true,
        ..Options::default()
    });
    let caller = |tls: serde_json::Value, secrets: Secrets| {
        let mut caller = Caller::new(server(&emulator.address(), json!({"tls": tls})));
        caller.secrets = secrets;
        caller
    };
    let login = || Secrets::with_bmc_login(support::PASSWORD);
    let with_ca =
        || json!({"verify": "Full", "caSecretRef": {"namespace": "fleet", "name": "bmc-ca"}});
    let other = certificate(&["127.0.0.1"]);
    let wrong_print = "00".repeat(32);
    for (what, tls, secrets, wanted) in [
        ("nothing verified", json!({"verify": "Skip"}), login(), None),
        ("pinned", json!({"verify": "Fingerprint", "sha256": own.sha256}), login(), None),
        ("in the bundle", with_ca(), login().and_ca(&own.certificate), None),
        (
            "another pinned",
            json!({"verify": "Fingerprint", "sha256": wrong_print}),
            login(),
            Some(Reason::CertificateInvalid),
        ),
        ("unknown to the system", json!({}), login(), Some(Reason::CertificateInvalid)),
        (
            "another in the bundle",
            with_ca(),
            login().and_ca(&other.certificate),
            Some(Reason::CertificateInvalid),
        ),
        (
            "wrong password",
            json!({"verify": "Skip"}),
            Secrets::with_bmc_login("guess"),
            Some(Reason::Unauthorized),
        ),
        ("no Secret", json!({"verify": "Skip"}), Secrets::default(), Some(Reason::SecretNotFound)),
    ] {
        let result = caller(tls, secrets).call("inventory.refresh", json!({})).await;
        assert_eq!(result.as_ref().err().map(|error| error.reason), wanted, "{what}: {result:?}");
    }
}

struct OwnCertificate {
    certificate: String,
    key: String,
    sha256: String,
}

fn certificate(names: &[&str]) -> OwnCertificate {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(made.cert.der());
    OwnCertificate {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        sha256: digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"),
    }
}
