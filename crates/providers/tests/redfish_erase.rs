//! `disk.erase` against a BMC with disks: what is erased, what is waited for, and what must not pass for clean.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod support;

use quarterdeck_providers::Reason;
use serde_json::json;
use std::sync::{Arc, Mutex};
use support::{
    Caller,
    fake_bmc::{Disk, FakeBmc, well_behaved},
    server,
};

/// A machine with these disks, and what becomes of them.
fn machine(disks: Vec<Disk>) -> (FakeBmc, Caller, Arc<Mutex<Vec<Disk>>>) {
    let seen = Arc::new(Mutex::new(disks.clone()));
    let bmc = FakeBmc::start({
        let seen = seen.clone();
        move |request, state| {
            state.disks.clone_from(&seen.lock().unwrap());
            let act = well_behaved(request, state);
            seen.lock().unwrap().clone_from(&state.disks);
            act
        }
    });
    let caller = Caller::new(server(&bmc.address(), json!({})));
    (bmc, caller, seen)
}

fn erased(seen: &Mutex<Vec<Disk>>) -> Vec<u32> {
    seen.lock().unwrap().iter().map(|disk| disk.erased).collect()
}

#[tokio::test]
async fn every_disk_is_erased_and_waited_for() {
    let (_bmc, caller, seen) = machine(vec![Disk::default(), Disk::default()]);
    let done = caller.call("disk.erase", json!({})).await.unwrap();
    assert_eq!(done, json!({"erased": ["disk-0", "disk-1"]}));
    assert_eq!(erased(&seen), [1, 1]);
    assert!(seen.lock().unwrap().iter().all(|disk| disk.busy == 0), "none is busy any more");
}

#[tokio::test]
async fn what_is_under_way_is_waited_for_and_not_begun_again() {
    let (_bmc, caller, seen) = machine(vec![Disk { busy: 3, ..Disk::default() }]);
    caller.call("disk.erase", json!({})).await.unwrap();
    assert_eq!(erased(&seen), [0]);
}

#[tokio::test]
async fn a_machine_that_cannot_be_erased_is_not_called_clean() {
    let cannot = Disk { cannot_be_erased: true, ..Disk::default() };
    let broken = Disk { health: Some("Critical"), ..Disk::default() };
    for (disks, reason, says) in [
        (vec![], Reason::NotSupported, "shows no disk"),
        (vec![Disk::default(), cannot], Reason::NotSupported, "cannot erase disk-1"),
        (vec![broken], Reason::BmcError, "disk-0 report Critical"),
    ] {
        let some_cannot = disks.iter().any(|disk| disk.cannot_be_erased);
        let (_bmc, caller, seen) = machine(disks);
        let error = caller.call("disk.erase", json!({})).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert!(error.message.contains(says), "{error}");
        assert!(!some_cannot || erased(&seen).iter().all(|times| *times == 0), "all or none");
    }
}

#[tokio::test]
async fn a_disk_that_is_erased_later_is_waited_for_by_its_task() {
    let later = Disk { task: vec!["New", "Running", "Completed"], ..Disk::default() };
    let (_bmc, caller, seen) = machine(vec![later]);
    caller.call("disk.erase", json!({})).await.unwrap();
    assert_eq!(erased(&seen), [1]);
    assert_eq!(seen.lock().unwrap()[0].task, ["Completed"], "it looked until then");

    let fails = Disk { task: vec!["Running", "Exception"], ..Disk::default() };
    let (_bmc, caller, _) = machine(vec![Disk::default(), fails]);
    let error = caller.call("disk.erase", json!({})).await.unwrap_err();
    assert!(error.message.contains("disk disk-1 was not erased: task 1 is Exception"), "{error}");
}
