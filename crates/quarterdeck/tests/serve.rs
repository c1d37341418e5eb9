//! The binary as a process: starting, being refused, stopping, saying what it is set to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{
    process::{CommandError, Process, run},
    user::RunAs,
};
use serde_json::Value;
use std::{net::TcpListener, process::Command, time::Duration};
use support::{DEADLINE, plane};

fn quarterdeck(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
    command.args(arguments);
    command
}

async fn refused(arguments: &[&str]) -> CommandError {
    let error = run(&quarterdeck(arguments), "").await.expect_err("a refusal");
    assert_eq!(error.code, Some(1), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_succeed_says_why() {
    let plane = plane().await;
    let used = plane.data_folder();
    let twice =
        refused(&["serve", "--data-dir", used.to_str().unwrap(), "--listen", "127.0.0.1:0"]).await;
    let said = &twice.reason;
    assert!(said.contains(used.to_str().unwrap()) && said.contains("another"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(&["serve", "--data-dir", data, "--listen", &address]).await.reason;
    assert!(
        said.contains(&format!("cannot listen on {address}")) && said.contains("--listen"),
        "{said}"
    );

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("data");
    let said = refused(&["serve", "--data-dir", below.to_str().unwrap()]).await.reason;
    assert!(said.contains(&format!("cannot create {}", below.display())), "{said}");
    let said = refused(&["serve", "--data-dir", data, "--store", "mysql://db"]).await.reason;
    assert!(said.contains("store"), "{said}");
    let said = refused(&[
        "serve",
        "--data-dir",
        data,
        "--load",
        "/no/such/folder",
        "--listen",
        "127.0.0.1:0",
    ])
    .await
    .reason;
    assert!(said.contains("/no/such/folder"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_says_where_it_is_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = [
        "serve",
        "--data-dir",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ];
    let log = folder.path().join("log");
    let mut plane = Process::start("quarterdeck", &quarterdeck(&arguments), RunAs::Caller, &log);
    let line = plane.wait_for_line("Quarterdeck is ready at https://127.0.0.1:", DEADLINE).await;
    let url = line.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    assert!(!url.ends_with(":0"), "{line}");
    let kubeconfig = data.join("kubeconfig");
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    assert!(text.contains(&format!("server: {url}\n")));

    let kubectl = async |arguments: &[&str]| {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("KUBECONFIG", &kubeconfig).env("HOME", folder.path());
        run(&command, "").await.unwrap().stdout
    };
    for probe in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(kubectl(&["get", "--raw", probe]).await, "ok");
    }
    check_metrics(&kubectl(&["get", "--raw", "/metrics"]).await);

    let status =
        plane.end(quarterdeck_testing::process::Signal::TERM, Duration::from_secs(20)).await;
    assert!(status.success(), "{status}");
    let output = plane.output();
    for line in output.lines().filter(|line| !line.starts_with("Quarterdeck is ready")) {
        let entry: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["timestamp"].is_string() && entry["level"].is_string(), "{line}");
    }
    assert!(output.contains("\"message\":\"stopped\""), "{output}");
}

/// Prometheus text format: each sample belongs to a family whose type was said before it, and names
/// follow its conventions.
fn check_metrics(text: &str) {
    let mut families = std::collections::BTreeMap::new();
    let mut samples = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["#", "TYPE", name, kind] => {
                assert!(
                    families.insert((*name).to_owned(), (*kind).to_owned()).is_none(),
                    "{name} stands twice"
                );
                assert!(name.starts_with("quarterdeck_"), "{name}");
            }
            ["#", ..] => {}
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                let name = series.split('{').next().unwrap();
                let family = families.iter().find(|(family, kind)| match kind.as_str() {
                    "counter" => {
                        name == format!("{family}_total")
                            || (name == *family && name.ends_with("_total"))
                    }
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| name == format!("{family}{end}")),
                    _ => name == *family,
                });
                assert!(family.is_some(), "{name} has no type that fits: {families:?}");
                samples += 1;
            }
        }
    }
    assert!(samples > 10, "{text}");
    for wanted in [
        "quarterdeck_store_revision ",
        "quarterdeck_store_objects{",
        "quarterdeck_api_requests_total{",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_with_their_origins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quarterdeck.toml");
    let config = file.to_str().unwrap();
    std::fs::write(&file, "log = \"debug\"\nlisten = \"127.0.0.1:7000\"\n").unwrap();
    let mut show = quarterdeck(&["config", "--config", config, "--data-dir", "/srv/quarterdeck"]);
    show.env("QUARTERDECK_LISTEN", "127.0.0.1:7001");
    let shown = run(&show, "").await.unwrap().stdout;
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    for (name, value, origin) in [
        ("data-dir", "/srv/quarterdeck", "flag --data-dir"),
        ("listen", "127.0.0.1:7001", "environment QUARTERDECK_LISTEN"),
        ("log ", "debug", config),
        ("log-format", "text", "default"),
    ] {
        let line = line(name);
        assert!(line.contains(value) && line.contains(origin), "{line}");
    }
    for (text, part) in [
        ("listn = \"127.0.0.1:1\"", "no setting \"listn\" (from "),
        ("listen = ", "quarterdeck.toml:1 is not TOML"),
        ("listen = \"nowhere\"", "listen is \"nowhere\" (from "),
        ("log-format = \"xml\"", "quarterdeck.toml:1); it must be text or json"),
    ] {
        std::fs::write(&file, text).unwrap();
        for verb in ["config", "serve"] {
            let said = refused(&[verb, "--config", config]).await.reason;
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    let said = refused(&["config", "--config", "/no/such.toml"]).await.reason;
    assert!(said.contains("/no/such.toml"), "{said}");
}
