//! `quarterdeck restore` killed at any moment, and stores of older releases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

use quarterdeck_model::Key;
use quarterdeck_store::{Backend as _, Mutation, Precondition, Sqlite, Write};
use quarterdeck_testing::{
    plane::Plane,
    postgres::Postgres,
    process::{Process, run},
    random::Random,
    user::RunAs,
    wait::wait_for,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

const BINARY: &str = env!("CARGO_BIN_EXE_quarterdeck");
const DEADLINE: Duration = Duration::from_secs(60);

fn quarterdeck(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    command
}

/// A backup of some size, so that there is a while to be killed in.
async fn large_backup(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).unwrap();
    let mut random = Random::seeded(7);
    for batch in 0..8 {
        let put = |number| {
            let noise: Vec<u8> = (0..6_000).map(|_| b'a' + random.below(26) as u8).collect();
            let name = format!("image-{batch}-{number}");
            let body = format!(
                r#"{{"metadata":{{"name":"{name}","uid":"u"}},"note":"{}"}}"#,
                String::from_utf8(noise).unwrap()
            );
            Mutation {
                key: Key { kind: "things.example".into(), namespace: "".into(), name: name.into() },
                write: Write::Put(body.into()),
                precondition: Precondition::None,
                fence: None,
            }
        };
        let batch: Vec<Mutation> = (0..64).map(put).collect();
        store.commit(&batch).await.unwrap();
    }
    Sqlite::backup(folder.path(), file, SystemTime::now()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_is_never_taken_for_a_whole_one() {
    const KILLS: usize = 4;
    /// One that was done before the moment came does not count.
    const ROUNDS_MAX: usize = 60;
    let mut random = Random::new();
    let files = tempfile::tempdir().unwrap();
    let (file, log) = (files.path().join("backup"), files.path().join("log"));
    large_backup(&file).await;
    let server = Postgres::start().await;
    let mut longest = Duration::ZERO;
    for database in [false, true] {
        let mut killed = 0;
        for round in 0..ROUNDS_MAX {
            if killed == KILLS {
                break;
            }
            let folder = tempfile::tempdir().unwrap();
            let data = folder.path().join("data");
            let url = server.create_database(&format!("killed_{database}_{round}")).await;
            let mut arguments =
                vec!["restore", "--data-dir", data.to_str().unwrap(), file.to_str().unwrap()];
            if database {
                arguments.extend(["--store", &url]);
            }
            let begun = Instant::now();
            let mut restoring =
                Process::start("restore", &quarterdeck(&arguments), RunAs::Caller, &log);
            if round == 0 {
                // How long it takes, so that the others are killed on the way.
                restoring.wait_until_end(DEADLINE).await;
                longest = begun.elapsed();
                continue;
            }
            let kill_at = longest.mul_f64(random.below(100) as f64 / 100.0);
            wait_for(DEADLINE, "the moment to kill it", async || {
                if begun.elapsed() >= kill_at { Ok(()) } else { Err("not yet") }
            })
            .await;
            let ended = restoring.exit_status();
            restoring.kill();
            killed += usize::from(ended.is_none());
            if database {
                // Who is killed may have sent its commit, which the server goes on with.
                no_sessions(&url).await;
            }
            // Either all of it or nothing: what says that there is a store has one.
            let copy = files.path().join(format!("again-{database}-{round}"));
            let mut again =
                vec!["backup", "--data-dir", data.to_str().unwrap(), copy.to_str().unwrap()];
            if database {
                again.extend(["--store", &url]);
            }
            match run(&quarterdeck(&again), "").await {
                Ok(output) => assert!(output.stdout.contains(" 512 objects"), "{}", output.stdout),
                Err(error) => {
                    assert!(ended.is_none(), "{error}");
                    let said = &error.reason;
                    assert!(said.contains("cannot open") || said.contains("no store"), "{said}");
                    let done = run(&quarterdeck(&arguments), "").await.unwrap().stdout;
                    assert!(done.contains("512 objects"), "{done}");
                }
            }
        }
        assert_eq!(killed, KILLS, "how often it was killed on the way");
    }
}

/// Waits until nobody else is connected to the database.
async fn no_sessions(url: &str) {
    const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let mut ask = Command::new("psql");
    ask.args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", url, "--command", OTHERS]);
    wait_for(DEADLINE, "the server to be done with who was killed", async || {
        let count = run(&ask, "").await.map_err(|error| error.to_string())?.stdout;
        if count.trim() == "0" { Ok(()) } else { Err(format!("{} sessions", count.trim())) }
    })
    .await;
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What `tests/fixtures/README.md` says is in the stores of an older release.
async fn holds_what_the_older_release_wrote(plane: &Plane) {
    let list = async |kind: &str| -> Vec<Value> {
        let list = plane.kubectl(&["get", kind, "--all-namespaces", "--output", "json"]).await;
        serde_json::from_str::<Value>(&list).unwrap()["items"].as_array().unwrap().clone()
    };
    let names = |list: &[Value]| -> Vec<String> {
        list.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&list("sites").await), ["ams1", "fra1"]);
    let racks = list("racks").await;
    assert_eq!(names(&racks), ["ams1-n01", "ams1-s01"]);
    assert_eq!(racks[0]["spec"]["units"], 40, "the newest version of two");
    let secrets = list("secrets").await;
    let secret = secrets.iter().find(|secret| secret["metadata"]["name"] == "bmc").unwrap();
    assert_eq!(secret["data"]["password"], "b2xkLXNlY3JldA==");
    assert_eq!(secret["metadata"]["labels"]["from"], "older");
    let version: u64 = secret["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(version > 0);
    // It goes on as any store.
    plane.kubectl(&["label", "site", "fra1", "tier=gold"]).await;
    plane.kubectl(&["delete", "rack", "ams1-s01"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_of_the_oldest_format_is_brought_to_the_newest_and_keeps_everything() {
    let mut plane = Plane::prepare(BINARY, &[]);
    std::fs::create_dir_all(plane.data_folder()).unwrap();
    let file = plane.data_folder().join("quarterdeck.db");
    std::fs::copy(fixture("format-1.db"), &file).unwrap();
    let copy = plane.data_folder().join("backup");
    let backup =
        ["backup", "--data-dir", plane.data_folder().to_str().unwrap(), copy.to_str().unwrap()]
            .map(str::to_owned);
    let backup: Vec<&str> = backup.iter().map(String::as_str).collect();
    // The release that is there makes the backup before an upgrade.
    let refused = run(&quarterdeck(&backup), "").await.unwrap_err().reason;
    assert!(refused.contains("older release (format 1"), "{refused}");
    plane.restart().await;
    holds_what_the_older_release_wrote(&plane).await;
    plane.restart().await;
    assert_eq!(plane.kubectl(&["get", "rack", "--output", "name"]).await.lines().count(), 1);
    run(&quarterdeck(&backup), "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_database_of_the_oldest_format_keeps_everything() {
    let server = Postgres::start().await;
    let url = server.create_database_from("older", &fixture("format-1.sql")).await;
    let plane = Plane::start_with(BINARY, &["--store", &url]).await;
    holds_what_the_older_release_wrote(&plane).await;
}
