//! Two thousand BMCs at once. One server stands for all of them: each is another client, as each has
//! another user. What is shown is that all together keep their bounds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what is not as expected must fail the test")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use support::fake_bmc::{FakeBmc, well_behaved};
use support::{Caller, Secrets, server};

/// More than may be asked at once.
const BMCS: usize = 2_000;

/// Memory of one client with its login, connection and documents, and the server's thread for it:
/// 146 KB were measured without optimisation.
const BYTES_EACH_MAX: u64 = 256 << 10;

/// The most memory that this process has had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn all_bmcs_together_are_asked_within_the_bounds() {
    let bmc = FakeBmc::start(well_behaved);
    bmc.delay(Duration::from_millis(20));
    let first = Caller::new(server(&bmc.address(), json!({})));
    let callers: Vec<Caller> = (0..BMCS)
        .map(|number| {
            let mut secrets = Secrets::with_bmc_login(support::PASSWORD);
            let login = secrets.0.get_mut("fleet/bmc").unwrap();
            login.insert("username".to_owned(), format!("admin-{number}").into_bytes());
            Caller { secrets, ..first.clone() }
        })
        .collect();
    let before = peak_bytes();
    let calls = callers.iter().map(|caller| caller.call("power.set", json!({"state": "On"})));
    for result in join_all(calls).await {
        let on = result.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(on, json!({"powerState": "On", "changed": false}));
    }
    assert_eq!(bmc.count("POST", "/Sessions"), BMCS, "each is a client of its own");
    let most = bmc.most_at_once();
    assert!((100..=512).contains(&most), "{most} requests at once");
    // The server's threads are in this process too, so the bound is a generous one.
    let each = peak_bytes().saturating_sub(before) / BMCS as u64;
    assert!(each <= BYTES_EACH_MAX, "{each} bytes each");
}
