//! Clients of Redfish that others have written, at a simulated BMC over HTTPS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what is not as expected must fail the test")]

mod support;

use quarterdeck_sim::{Fleet, Latency};
use quarterdeck_testing::process::run;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::Served;

/// Where `scripts/setup-tests.sh` puts them.
fn python() -> PathBuf {
    let folder = env::var_os("QUARTERDECK_REDFISH_CLIENTS").map_or_else(
        || Path::new(&env::var_os("HOME").unwrap()).join(".cache/quarterdeck/redfish-clients"),
        PathBuf::from,
    );
    folder.join("bin/python")
}

async fn drive_with(script: &str) -> String {
    let served = Served::one(1, Latency::Realistic { speed: 300.0 });
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    let secret = |(namespace, name): (&str, &str), key: &str| {
        let all = &served.secrets.0;
        let found = all.get(&(namespace.to_owned(), name.to_owned())).unwrap();
        String::from_utf8(found.get(key).unwrap().clone()).unwrap()
    };
    fs::write(&authority, secret(Fleet::AUTHORITY, "ca.crt")).unwrap();
    let account = ("default", "bmc-ams1");
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command.arg(format!("https://{}", served.address(0))).arg(&authority);
    command.arg(secret(account, "username")).arg(secret(account, "password"));
    run(&command, "").await.unwrap_or_else(|error| panic!("{error}")).stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn openstacks_client_drives_it() {
    let said = drive_with("with_sushy.py").await;
    assert!(said.contains("sushy is done"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dmtfs_client_drives_it() {
    let said = drive_with("with_dmtf.py").await;
    assert!(said.contains("DMTF's client is done"), "{said}");
}
