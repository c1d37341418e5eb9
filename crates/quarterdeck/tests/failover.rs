//! Two replicas share the work on one PostgreSQL server; when one is killed, the other goes on with its part.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

use quarterdeck_testing::{plane::Plane, postgres::Postgres, wait::wait_for};
use serde_json::Value;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_quarterdeck");
const DEADLINE: Duration = Duration::from_secs(90);
/// Enough that each replica drives some of them.
const RUNS: usize = 48;
/// How long a replica that was killed may hold its work up.
const MOVED_WITHIN: Duration = Duration::from_secs(10);
/// How long each step takes by itself.
const STEP: Duration = Duration::from_secs(2);

const RUNBOOK: &str = "
apiVersion: workflows.quarterdeck.dev/v1alpha1
kind: Runbook
metadata: {name: walk}
spec:
  steps:
    - {name: s1, pause: 2s}
    - {name: s2, pause: 2s}
    - {name: s3, pause: 2s}
    - {name: s4, pause: 2s}
    - {name: s5, pause: 2s}
    - {name: s6, pause: 2s}
";

async fn runs(plane: &Plane) -> Vec<Value> {
    let list = plane.kubectl(&["get", "runs", "--output", "json"]).await;
    let list: Value = serde_json::from_str(&list).expect("it is JSON");
    list["items"].as_array().expect("it is a list").clone()
}

fn time(step: &Value, field: &str) -> jiff::Timestamp {
    step[field].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{step}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_replica_that_is_killed_goes_on_within_ten_seconds() {
    let server = Postgres::start().await;
    let url = server.url();
    let mut first = Plane::start_with(BINARY, &["--store", &url]).await;
    let mut second = Plane::start_beside(&first, BINARY, &["--store", &url]).await;
    let half = "shards=8 of=16";
    for plane in [&mut first, &mut second] {
        let process = plane.process().expect("it runs");
        wait_for(DEADLINE, "the shards to be shared", async || match process.output() {
            output if output.contains(half) => Ok(()),
            output => Err(output),
        })
        .await;
    }
    let all: Vec<String> = (0..RUNS)
        .map(|number| {
            format!(
                "apiVersion: workflows.quarterdeck.dev/v1alpha1\nkind: Run\nmetadata: {{name: r{number}}}\nspec: {{runbook: \
                 walk}}\n---\n"
            )
        })
        .collect();
    second.apply(RUNBOOK).await;
    second.apply(&all.concat()).await;
    wait_for(DEADLINE, "all to be at work", async || {
        let begun = runs(&second).await;
        let begun = begun.iter().filter(|run| run["status"]["phase"] == "Running").count();
        if begun == RUNS { Ok(()) } else { Err(begun) }
    })
    .await;
    first.kill9();
    let ended = wait_for(DEADLINE, "all to end", async || {
        let runs = runs(&second).await;
        let going = runs.iter().filter(|run| run["status"]["phase"] != "Succeeded").count();
        if going == 0 { Ok(runs) } else { Err(going) }
    })
    .await;
    let mut longest = Duration::ZERO;
    for run in &ended {
        let steps = run["status"]["steps"].as_array().expect("it has steps");
        let names: Vec<&str> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
        assert_eq!(
            names,
            ["s1", "s2", "s3", "s4", "s5", "s6"],
            "none is lost, none is there twice"
        );
        assert!(steps.iter().all(|step| step["attempts"] == 1), "{run}");
        for step in steps {
            let took = time(step, "endTime").duration_since(time(step, "startTime"));
            longest = longest.max(Duration::try_from(took).expect("it ended after it began"));
        }
    }
    let late = longest - STEP;
    assert!(late > Duration::from_secs(2), "the replica that was killed had work: {late:?}");
    assert!(late <= MOVED_WITHIN, "{late:?}");
    assert!(second.stop().await.success());
}
