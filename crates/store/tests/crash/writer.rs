//! The process that writes until it is killed, and says what it was told about each write.

use super::random::Random;
use bytes::Bytes;
use quarterdeck_model::{Key, Revision, kinds, object::encode};
use quarterdeck_store::{
    Backend, Mutation, Outcome, Postgres, Precondition, Sqlite, Store, StoreError, Write,
};
use quarterdeck_testing::{process::Process, user::RunAs};
use serde_json::{Value, json};
use std::{path::Path, process::Command, sync::Arc};
use tokio::task::JoinSet;

const PLACE: &str = "QUARTERDECK_TEST_PLACE";
const SEED: &str = "QUARTERDECK_TEST_WRITER_SEED";
const CHECKED: &str = "QUARTERDECK_TEST_CHECKED";
/// Writers in the process: enough that commits are of several.
const TASKS: u64 = 6;
/// Few keys, so that writers meet on them.
const KEYS: u64 = 24;

/// Starts a process that writes to `place`: a folder, or a URL. It forgets nothing after `checked`.
pub(crate) fn start(place: &str, seed: u64, checked: Revision, log: &Path) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::writer::writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(PLACE, place)
        .env(SEED, seed.to_string())
        .env(CHECKED, checked.to_string());
    Process::start("the writer", &command, RunAs::Caller, log)
}

/// What the writer was told about one write, by the write's own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Committed(Revision),
    /// It must not exist.
    Failed,
    /// It may exist.
    Unknown,
}

/// Reads what a writer has printed.
pub(crate) fn told(output: &str) -> Vec<(String, Told)> {
    let whole_lines = output.rfind('\n').map_or("", |end| &output[..end]);
    let tell = |line: &str| {
        let (told, text) = line.strip_prefix("told ")?.split_once(' ')?;
        let told = match told {
            "failed" => Told::Failed,
            "unknown" => Told::Unknown,
            revision => Told::Committed(Revision(revision.parse().ok()?)),
        };
        Some((text.to_owned(), told))
    };
    whole_lines.lines().filter_map(tell).collect()
}

/// The text that a body carries.
pub(crate) fn text_of(body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap();
    object["metadata"]["annotations"]["text"].as_str().unwrap().to_owned()
}

fn mutation(random: &mut Random, text: &str, seen: Option<Revision>) -> Mutation {
    let kind = kinds::by_resource_name("namespaces").unwrap();
    let name = format!("key-{}", random.below(KEYS));
    let padding = "x".repeat(usize::try_from(random.below(6_000)).unwrap());
    let value = json!({"metadata": {
        "name": name,
        "uid": name,
        "annotations": {"text": text, "padding": padding},
    }});
    let precondition = match random.below(4) {
        0 => Precondition::Absent,
        1 => seen.map_or(Precondition::None, Precondition::At),
        _ => Precondition::None,
    };
    let write = Write::Put(Bytes::from(encode(kind, &value)));
    Mutation { key: Key::new(kind, "", &name), write, precondition, fence: None }
}

async fn write(store: Store, seed: u64) {
    let mut random = Random::seeded(seed);
    let mut seen = None;
    for batch in 0.. {
        let count = 1 + random.below(4);
        let texts: Vec<String> =
            (0..count).map(|number| format!("{seed:x}-{batch}-{number}")).collect();
        let mutations = texts.iter().map(|text| mutation(&mut random, text, seen)).collect();
        let lines: Vec<String> = match store.commit(mutations).await {
            Ok(outcomes) => texts
                .iter()
                .zip(outcomes)
                .map(|(text, outcome)| match outcome {
                    Outcome::Committed(revision) => {
                        seen = Some(revision);
                        format!("told {} {text}", revision.0)
                    }
                    _ => format!("told failed {text}"),
                })
                .collect(),
            Err(StoreError::OutcomeUnknown(_)) => {
                texts.iter().map(|text| format!("told unknown {text}")).collect()
            }
            Err(_) => texts.iter().map(|text| format!("told failed {text}")).collect(),
        };
        println!("{}", lines.join("\n"));
    }
}

/// Forgets old history again and again, so that kills come in the middle of that too.
async fn compact(store: Store, until: Revision) {
    for before in (0..until.0).step_by(40) {
        if let Err(error) = store.compact(Revision(before)).await {
            println!("compaction: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that crash tests start and kill"]
async fn writes_until_it_is_killed() {
    let place = std::env::var(PLACE).unwrap();
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let backend: Arc<dyn Backend> = if place.starts_with("postgres://") {
        Arc::new(Postgres::open(&place).await.unwrap().fold_after(50))
    } else {
        Arc::new(Sqlite::open(Path::new(&place)).unwrap())
    };
    let checked = Revision(std::env::var(CHECKED).unwrap().parse().unwrap());
    let store = Store::open(backend).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(compact(store.clone(), checked));
    for task in 0..TASKS {
        tasks.spawn(write(store.clone(), seed.wrapping_add(task)));
    }
    tasks.join_all().await;
}
