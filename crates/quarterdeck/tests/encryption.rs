//! Secrets at rest: what an operator puts in is in no file of the plane, and keys can be changed while
//! it runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{process::run, wait::wait_for};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::{DEADLINE, apply_refusal, plane};

/// Found nowhere, neither as it is nor in base64.
const PASSWORD: &str = "correct-horse-battery-staple";
const ENCODED: &str = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";

/// Files below `folder` that hold one of `texts`.
fn holding(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_default();
            let holds = |text: &&str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            if texts.iter().any(holds) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_file_and_keys_can_be_changed() {
    let mut plane = plane().await;
    let literal = format!("--from-literal=password={PASSWORD}");
    plane.kubectl(&["create", "secret", "generic", "bmc", &literal]).await;
    // Whatever tells about it, and a value that is not base64, sent unencoded by mistake.
    let told = plane.kubectl(&["describe", "secret", "bmc"]).await;
    assert!(told.contains("password:  28 bytes") && !told.contains(PASSWORD), "{told}");
    plane.kubectl(&["annotate", "secret", "bmc", "note=changed"]).await;
    let mistaken = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: mistaken}}\ndata: {{password: {PASSWORD}}}"
    );
    let said = apply_refusal(&plane, &["--validate=false"], &mistaken).await;
    assert!(said.contains("must be base64") && !said.contains(PASSWORD), "{said}");

    // A new key, while the plane runs: soon nothing needs the old one.
    let keys = plane.data_folder().join("secrets.key");
    let old = fs::read_to_string(&keys).unwrap();
    let old = old.lines().find(|line| !line.starts_with('#')).unwrap();
    let data = plane.data_folder();
    let rotate = ["rotate-key", "--data-dir", data.to_str().unwrap()];
    let said = run(Command::new(env!("CARGO_BIN_EXE_quarterdeck")).args(rotate), "").await;
    assert!(said.unwrap().stdout.contains("is the first of"));
    wait_for(DEADLINE, "Secrets to be sealed with the new key", async || {
        let log = plane.process().unwrap().output();
        if log.contains("sealed with the newest key") { Ok(()) } else { Err(log) }
    })
    .await;
    plane.kill9();
    let all = plane.data_folder().parent().unwrap().to_path_buf();
    assert_eq!(holding(&all, &[PASSWORD, ENCODED]), Vec::<PathBuf>::new());
    assert_eq!(holding(&data, &["QDS1"]).len(), 1, "the search finds what is there");

    let text = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, text.replace(old, "")).unwrap();
    plane.restart().await;
    let data = ["get", "secret", "bmc", "--output", "jsonpath={.data.password}"];
    assert_eq!(plane.kubectl(&data).await, ENCODED);
}
