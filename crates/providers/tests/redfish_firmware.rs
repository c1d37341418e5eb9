//! `firmware.update` and `firmware.wait` against a BMC with an update service, and against sushy-tools' emulator, which
//! updates a system's BIOS and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use quarterdeck_providers::Reason;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{
    Caller,
    emulator::{Emulator, GUEST, Options},
    fake_bmc::{Act, FakeBmc, status},
    server,
    updating::{After, Firmware, start},
};

const IMAGE: &str = "http://images.example/bmc-5.00.bin";

fn parts() -> Firmware {
    Firmware {
        parts: vec![
            ("bmc", "BMC", "4.10".into()),
            ("bios", "BIOS", "2.6.0".into()),
            ("nic-1", "NIC", "20".into()),
            ("nic-2", "NIC", "22".into()),
        ],
        states: vec!["New", "Running", "Completed"],
        brings: "5.00",
        ..Firmware::default()
    }
}

fn machine(firmware: Firmware) -> (FakeBmc, Caller, Arc<Mutex<Firmware>>) {
    let (bmc, firmware) = start(firmware);
    let mut caller = Caller::new(server(&bmc.address(), json!({})));
    caller.deadline = Duration::from_secs(90);
    (bmc, caller, firmware)
}

fn wanted(component: &str, activation: &str) -> Value {
    json!({"component": component, "version": "5.00", "image": IMAGE, "activation": activation})
}

fn asked(firmware: &Mutex<Firmware>) -> Vec<Value> {
    firmware.lock().unwrap().asked.clone()
}

#[tokio::test]
async fn what_is_installed_is_not_sent_again() {
    let (_bmc, caller, firmware) = machine(parts());
    let done = caller.call("firmware.update", wanted("BMC", "Immediate")).await.unwrap();
    let updated = json!({"component": "BMC", "wanted": "5.00", "before": "4.10", "version": "5.00", "changed": true, "pending": false});
    assert_eq!(done, updated);
    assert_eq!(
        asked(&firmware),
        [json!({
            "ImageURI": IMAGE, "TransferProtocol": "HTTP",
            "Targets": ["/redfish/v1/UpdateService/FirmwareInventory/bmc"],
            "@Redfish.OperationApplyTime": "Immediate",
        })]
    );
    let again = caller.call("firmware.update", wanted("BMC", "Immediate")).await.unwrap();
    assert_eq!(again["changed"], false);
    assert_eq!(asked(&firmware).len(), 1);
    caller.call("firmware.wait", json!({"component": "BMC", "version": "5.00"})).await.unwrap();
}

#[tokio::test]
async fn of_two_of_a_name_the_one_that_is_behind_is_updated() {
    let (_bmc, caller, firmware) = machine(Firmware { brings: "22", ..parts() });
    let input = json!({"component": "NIC", "version": "22", "image": IMAGE});
    let done = caller.call("firmware.update", input).await.unwrap();
    assert_eq!(done["before"], "20");
    assert_eq!(
        asked(&firmware)[0]["Targets"],
        json!(["/redfish/v1/UpdateService/FirmwareInventory/nic-1"])
    );
}

#[tokio::test]
async fn a_bmc_is_reset_once_for_what_runs_after_that() {
    let (_bmc, caller, firmware) =
        machine(Firmware { after: Some(After::ManagerReset), ..parts() });
    let done = caller.call("firmware.update", wanted("BMC", "BMCReset")).await.unwrap();
    assert_eq!((&done["version"], &done["pending"]), (&json!("5.00"), &json!(false)));
    let firmware = firmware.lock().unwrap();
    assert_eq!((firmware.asked.len(), firmware.manager_resets), (1, 1));
}

#[tokio::test]
async fn what_waits_for_the_server_to_start_is_pending_and_found_again() {
    let (_bmc, caller, firmware) = machine(Firmware {
        after: Some(After::HostReset),
        states: vec!["New", "Pending"],
        ..parts()
    });
    let done = caller.call("firmware.update", wanted("BIOS", "HostReset")).await.unwrap();
    assert_eq!(
        done,
        json!({"component": "BIOS", "wanted": "5.00", "before": "2.6.0", "version": "2.6.0", "changed": true, "pending": true})
    );
    assert_eq!(asked(&firmware)[0]["@Redfish.OperationApplyTime"], "OnReset");
    // Another run finds it waiting, by what its task was asked for.
    let again = caller.call("firmware.update", wanted("BIOS", "HostReset")).await.unwrap();
    assert_eq!(again["pending"], true);
    assert_eq!(asked(&firmware).len(), 1, "it is not begun beside itself");
    firmware.lock().unwrap().host_starts();
    let wait = json!({"component": "BIOS", "version": "5.00"});
    caller.call("firmware.wait", wait).await.unwrap();
    let mut impatient = caller.clone();
    impatient.deadline = Duration::from_secs(2);
    let never = json!({"component": "BIOS", "version": "6.00"});
    let error = impatient.call("firmware.wait", never).await.unwrap_err();
    assert_eq!(error.reason, Reason::Timeout);
    assert!(error.message.contains("BIOS should be 6.00, and it is 5.00"), "{error}");
}

/// Whether a task says what it is about or not, and whether it goes on or has ended, a call that may have begun it
/// finds it.
#[tokio::test]
async fn an_update_whose_answer_was_lost_is_not_begun_twice() {
    for hides_payloads in [false, true] {
        for states in [vec!["Running", "Running", "Completed"], vec!["Completed"]] {
            let firmware = Firmware { loses_answers: true, hides_payloads, states, ..parts() };
            let (_bmc, caller, firmware) = machine(firmware);
            let first = caller.context("key", 1);
            let began = first.first_attempt_at;
            let input = || wanted("BMC", "Immediate");
            let lost = caller.call_as(&first, "firmware.update", input()).await.unwrap_err();
            assert!(lost.is_retryable(), "{lost}");
            let mut second = caller.context("key", 2);
            second.first_attempt_at = began;
            let done = caller.call_as(&second, "firmware.update", input()).await.unwrap();
            assert_eq!(done["version"], "5.00");
            assert_eq!(asked(&firmware).len(), 1, "hides: {hides_payloads}");
        }
    }
}

#[tokio::test]
async fn a_task_named_by_location_alone_is_followed_and_one_that_fails_says_why() {
    let (_bmc, caller, firmware) = machine(Firmware { answers_location: true, ..parts() });
    caller.call("firmware.update", wanted("BMC", "Immediate")).await.unwrap();
    firmware.lock().unwrap().states = vec!["Running", "Exception"];
    let input = json!({"component": "BIOS", "version": "2.7.2", "image": IMAGE});
    let error = caller.call("firmware.update", input).await.unwrap_err();
    assert_eq!(error.reason, Reason::BmcError);
    let says = "firmware BIOS was not updated to 2.7.2: task 1 is Exception (the image is not for this part)";
    assert!(error.message.contains(says), "{error}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_sent() {
    let (_bmc, caller, firmware) = machine(parts());
    for (change, reason, says) in [
        (json!({"component": "GPU"}), Reason::NotFound, "it shows BMC, BIOS, NIC, NIC"),
        (json!({"image": "ftp://h/a"}), Reason::NotSupported, "by HTTP, HTTPS, not FTP"),
        (json!({"image": "file:///a"}), Reason::InvalidInput, "image must begin with http://"),
        (json!({"image": "http://u:pass@h/a"}), Reason::InvalidInput, "user or password"),
        (json!({"version": " "}), Reason::InvalidInput, "version is empty"),
        (json!({"checksum": "md5:1"}), Reason::InvalidInput, "checksum must be sha256"),
    ] {
        let mut input = wanted("BMC", "Immediate");
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = caller.call("firmware.update", input).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert!(error.message.contains(says) && !error.message.contains("pass@"), "{error}");
    }
    assert_eq!(asked(&firmware).len(), 0);
}

#[tokio::test]
async fn an_image_that_is_another_is_not_written_and_one_is_read_once_for_many() {
    let images = FakeBmc::start(|request, _| match request.path.as_str() {
        "/good.bin" => Act::Answer { status: 200, headers: vec![], body: "firmware".into() },
        _ => status(404),
    });
    let digest = |text: &str| -> String {
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let input = |file: &str, digest: String| {
        json!({"component": "BMC", "version": "5.00", "checksum": format!("sha256:{digest}"),
               "image": format!("{}/{file}?token=hush", images.address())})
    };
    let good = || {
        json!({"component": "BMC", "version": "5.00", "checksum": format!("sha256:{}", digest("firmware")),
                         "image": format!("{}/good.bin", images.address())})
    };
    let (_bmc, mut caller, firmware) = machine(parts());
    let mut wrong = good();
    wrong["checksum"] = json!(format!("sha256:{}", digest("other")));
    let error = caller.call("firmware.update", wrong).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidInput);
    assert!(error.message.contains(&digest("firmware")), "{error}");
    let error = caller.call("firmware.update", input("gone", digest("x"))).await.unwrap_err();
    assert!(error.message.contains("404") && !error.message.contains("hush"), "{error}");
    assert_eq!(asked(&firmware).len(), 0);
    let before = images.requests().len();
    caller.call("firmware.update", good()).await.unwrap();
    let (_bmc, another) = start(parts());
    caller.target = server(&_bmc.address(), json!({}));
    caller.call("firmware.update", good()).await.unwrap();
    assert_eq!(asked(&another).len(), 1);
    assert_eq!(images.requests().len() - before, 1, "the second takes the word of the first");
    caller.call("firmware.update", good()).await.unwrap();
    assert_eq!(images.requests().len() - before, 1, "what is installed is not looked for");
}

/// The emulator updates the BIOS at once, by one in its second number, and knows no other firmware.
#[tokio::test]
async fn the_bios_of_an_emulated_system_is_updated() {
    let emulator = Emulator::start(&Options { libvirt: true, ..Options::default() });
    let path = format!("/redfish/v1/Systems/{GUEST}");
    let version = || emulator.get(&path)["BiosVersion"].as_str().unwrap().to_owned();
    let before = version();
    let mut numbers: Vec<u32> = before.split('.').map(|it| it.parse().unwrap()).collect();
    numbers[1] += 1;
    let next = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    let address = format!("http://{}", emulator.address());
    let caller = Caller::new(server(&address, json!({"systemId": GUEST})));
    let input =
        || json!({"component": "BIOS", "version": next, "image": "http://images.example/bios.bin"});
    let done = caller.call("firmware.update", input()).await.unwrap();
    assert_eq!(
        done,
        json!({"component": "BIOS", "wanted": next, "before": before, "version": next, "changed": true, "pending": false})
    );
    assert_eq!(version(), next);
    let again = caller.call("firmware.update", input()).await.unwrap();
    assert_eq!(again["changed"], false);
    assert_eq!(emulator.count("SimpleUpdate"), 1);
}
